/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng (5.4): each chain is filled from the host's generator, as far as 64 KiB go. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <vdb/rng.h>

#include "base/error.h"
#include "base/export.h"
#include "io/cursor.h"
#include "virtio/ready.h"

#define MAX_REQUEST (64u * 1024)

/* One request is what a generator makes in a tenth of a millisecond or two, and is paid for with all of its
 * length. Before the host's generator is ready (in the first seconds after boot) there is nothing: better
 * than a loop that waits, or than what can be guessed. */
static int start(void *ctx, struct vdb_req *req)
{
	uint64_t room = req->len - req->readable, done = 0;
	struct vdb__cursor at = {0, 0};
	struct iovec piece;
	ssize_t n = 1;

	(void)ctx;
	if (room > MAX_REQUEST)
		room = MAX_REQUEST;
	vdb__cursor_skip(&at, req->iov, req->readable);
	while (done < room && n > 0) {
		piece = vdb__cursor_piece(&at, req->iov, room - done);
		n = getrandom(piece.iov_base, piece.iov_len, GRND_NONBLOCK);
		if (n > 0) {
			vdb__cursor_pass(&at, req->iov, (size_t)n);
			done += (uint64_t)n;
		} else if (n < 0 && errno == EINTR) {
			n = 1;
		}
	}
	vdb_req_complete(req, (int32_t)done);
	return VDB_REQ_PENDING;
}

static struct vdb_backend *backend(void *ctx, uint32_t index)
{
	(void)index;
	return ctx;
}

static void destroy(void *ctx)
{
	vdb_backend_destroy(ctx);
}

static int make_source(struct vdb_backend **out)
{
	static const struct vdb_backend_ops ops = {.size = sizeof(ops), .name = "rng", .start = start};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};

	return vdb_backend_create(&ops, NULL, &info, out);
}

VDB_EXPORT int vdb_rng_create(const struct vdb_virtio_config *at, struct vdb_virtio **out)
{
	static const struct vdb_virtio_ops ops = {
	        .size = sizeof(ops),
	        .device_id = 4,
	        .name = "rng",
	        .backend = backend,
	        .destroy = destroy,
	};
	struct vdb_backend *source = NULL;
	struct vdb_virtio_config own;
	int rc = vdb__virtio_at(&own, at, "rng");

	if (rc)
		return rc;
	own.queues = 1;
	rc = make_source(&source);
	if (!rc)
		rc = vdb_virtio_create(&ops, source, &own, out);
	if (rc)
		vdb_backend_destroy(source);
	return rc;
}
