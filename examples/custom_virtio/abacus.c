/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The abacus: this one file is the device, whatever its transport. Its queue is served by a
 * backend on the loop's thread, its registers are read on vCPU threads.
 */
#include "abacus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/virtio.h>

struct abacus {
	struct vdb_backend *backend;
	uint64_t sums; /* atomic */
};

/* ---- The queue ---- */

static uint64_t sum(const struct iovec *iov)
{
	const unsigned char *bytes = iov->iov_base;
	uint64_t total = 0;

	for (size_t i = 0; i < iov->iov_len; i++)
		total += bytes[i];
	return total;
}

/* `readable` bytes are to be read; what comes after them, and ends with an iovec too, is to be written. */
static int start(void *ctx, struct vdb_req *req)
{
	struct abacus *abacus = ctx;
	uint64_t total = 0, read = 0;
	uint32_t i;

	for (i = 0; i < req->niov && read < req->readable; i++) {
		total += sum(&req->iov[i]);
		read += req->iov[i].iov_len;
	}
	if (i == req->niov || req->iov[i].iov_len < sizeof(total))
		return -EINVAL; /* there is no place for the answer: its used length is 0 */
	memcpy(req->iov[i].iov_base, &total, sizeof(total));
	__atomic_fetch_add(&abacus->sums, 1, __ATOMIC_RELAXED);
	vdb_req_complete(req, sizeof(total));
	return VDB_REQ_PENDING;
}

/* ---- The device ---- */

static struct vdb_backend *backend(void *ctx, uint32_t index)
{
	(void)index; /* there is one queue */
	return ((struct abacus *)ctx)->backend;
}

/* [offset, +len) is inside the configuration. */
static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	struct abacus *abacus = ctx;
	struct abacus_config config = {.sums = __atomic_load_n(&abacus->sums, __ATOMIC_RELAXED)};

	memcpy(data, (const char *)&config + offset, len);
}

static void reset(void *ctx)
{
	__atomic_store_n(&((struct abacus *)ctx)->sums, 0, __ATOMIC_RELAXED);
}

static void destroy(void *ctx)
{
	vdb_backend_destroy(((struct abacus *)ctx)->backend);
	free(ctx);
}

int abacus_create(struct vdb_mem *mem, struct vdb_loop *loop, struct vdb_virtio **out)
{
	static const struct vdb_backend_ops serve = {.size = sizeof(serve), .name = "abacus", .start = start};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};
	static const struct vdb_virtio_ops ops = {
	        .size = sizeof(ops),
	        .device_id = ABACUS_ID,
	        .name = "abacus",
	        .config_read = config_read,
	        .backend = backend,
	        .reset = reset,
	        .destroy = destroy,
	};
	const struct vdb_virtio_config config = {.size = sizeof(config),
	                                         .mem = mem,
	                                         .loop = loop,
	                                         .queues = 1,
	                                         .config_len = sizeof(struct abacus_config)};
	struct abacus *abacus = calloc(1, sizeof(*abacus));
	int err = abacus ? vdb_backend_create(&serve, abacus, &info, &abacus->backend) : -ENOMEM;

	if (!err)
		err = vdb_virtio_create(&ops, abacus, &config, out);
	if (err && abacus)
		destroy(abacus);
	return err;
}
