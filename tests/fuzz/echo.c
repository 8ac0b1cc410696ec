/* SPDX-License-Identifier: Apache-2.0 */
#include "echo.h"

#include <errno.h>

#include "device.h"

#define ID 42u
#define REFUSED (1ull << 6)

static int start(void *ctx, struct vdb_req *req)
{
	struct echo *echo = ctx;

	fuzz_check(req->op >= VDB_OP_USER && req->readable <= req->len);
	if (!echo->hold || echo->count == ECHO_HELD) {
		vdb_req_complete(req, (int32_t)((req->len - req->readable) & 0xffff));
		return VDB_REQ_PENDING;
	}
	echo->held[echo->count++] = req;
	return VDB_REQ_PENDING;
}

void fuzz_echo_release(struct echo *echo)
{
	while (echo->count)
		vdb_req_complete(echo->held[--echo->count], 0);
}

/* Somebody waits for its end. */
static void cancel(void *ctx, struct vdb_req *req)
{
	struct echo *echo = ctx;

	for (uint32_t i = 0; i < echo->count; i++) {
		if (echo->held[i] != req)
			continue;
		echo->held[i] = echo->held[--echo->count];
		vdb_req_complete(req, -ECANCELED);
		return;
	}
	fuzz_failed(__FILE__, __LINE__, "it is held");
}

static struct vdb_backend *backend_of(void *ctx, uint32_t index)
{
	fuzz_check(index < ECHO_QUEUES);
	return ((struct echo *)ctx)->backend;
}

static int negotiate(void *ctx, uint64_t features)
{
	(void)ctx;
	return features & REFUSED ? -EINVAL : 0;
}

static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	fuzz_check(offset + len <= sizeof(((struct echo *)ctx)->config));
	memcpy(data, ((struct echo *)ctx)->config + offset, len);
}

static void config_write(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
	struct echo *echo = ctx;

	fuzz_check(offset + len <= sizeof(echo->config));
	memcpy(echo->config + offset, data, len);
	if (!offset)
		vdb_virtio_config_changed(echo->device);
}

void fuzz_echo_open(struct echo *echo, struct vdb_mem *mem, struct vdb_loop *loop, uint32_t queue_size)
{
	static const struct vdb_backend_ops backend_ops = {
	        .size = sizeof(backend_ops), .name = "echo", .start = start, .cancel = cancel};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};
	static const struct vdb_virtio_ops ops = {.size = sizeof(ops),
	                                          .device_id = ID,
	                                          .name = "echo",
	                                          .config_read = config_read,
	                                          .config_write = config_write,
	                                          .negotiate = negotiate,
	                                          .backend = backend_of};
	const struct vdb_virtio_config config = {.size = sizeof(config),
	                                         .mem = mem,
	                                         .loop = loop,
	                                         .features = 1u << 5 | REFUSED,
	                                         .queues = ECHO_QUEUES,
	                                         .queue_size = queue_size,
	                                         .config_len = sizeof(echo->config)};

	memset(echo, 0, sizeof(*echo));
	fuzz_check(vdb_backend_create(&backend_ops, echo, &info, &echo->backend) == 0);
	fuzz_check(vdb_virtio_create(&ops, echo, &config, &echo->device) == 0);
}

static void on_gone(void *arg)
{
	((struct echo *)arg)->gone++;
}

void fuzz_echo_close(struct echo *echo)
{
	vdb_virtio_destroy(echo->device, on_gone, echo);
	for (int i = 0; !echo->gone; i++) {
		fuzz_turn();
		fuzz_check(i < 20000);
	}
	fuzz_check(!echo->count);
	vdb_backend_destroy(echo->backend);
	fuzz_settle();
}
