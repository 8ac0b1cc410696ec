/* SPDX-License-Identifier: Apache-2.0 */
/* Host memory as a disk. Copies are inline work, so that they are done in slices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/backend.h>

#include "base/error.h"
#include "base/export.h"
#include "io/cursor.h"

/* What a request has got to, in req->scratch. */
struct progress {
	uint64_t done;
	struct vdb__cursor at;
};
_Static_assert(sizeof(struct progress) <= sizeof(((struct vdb_req *)0)->scratch), "scratch");

static struct progress *progress_of(struct vdb_req *req)
{
	return (struct progress *)(void *)req->scratch;
}

static int memory_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	*progress_of(req) = (struct progress){0};
	switch (req->op) {
	case VDB_OP_READ:
	case VDB_OP_WRITE:
	case VDB_OP_WRITE_ZEROES:
		return VDB_REQ_INLINE;
	case VDB_OP_FLUSH:   /* as stable as memory gets */
	case VDB_OP_DISCARD: /* advice */
		return VDB_REQ_DONE;
	default:
		return -EOPNOTSUPP;
	}
}

static uint64_t zero(unsigned char *disk, const struct vdb_req *req, uint64_t done, uint64_t max)
{
	uint64_t n = req->len - done < max ? req->len - done : max;

	memset(disk, 0, n);
	return n;
}

static uint64_t move(unsigned char *disk, const struct vdb_req *req, struct vdb__cursor *at, uint64_t max)
{
	struct iovec piece = vdb__cursor_piece(at, req->iov, max);

	/* The guest's memory and the disk may be one and the same. */
	if (req->op == VDB_OP_READ)
		memmove(piece.iov_base, disk, piece.iov_len);
	else
		memmove(disk, piece.iov_base, piece.iov_len);
	vdb__cursor_pass(at, req->iov, piece.iov_len);
	return piece.iov_len;
}

static int64_t memory_step(void *ctx, struct vdb_req *req, uint64_t max)
{
	struct progress *p = progress_of(req);
	unsigned char *disk = (unsigned char *)ctx + req->offset + p->done;
	uint64_t n;

	if (req->op == VDB_OP_WRITE_ZEROES)
		n = zero(disk, req, p->done, max);
	else
		n = move(disk, req, &p->at, max);
	p->done += n;
	return (int64_t)n;
}

VDB_EXPORT int vdb_backend_memory(void *memory, uint64_t len, struct vdb_backend **out)
{
	static const struct vdb_backend_ops ops = {
	        .size = sizeof(ops),
	        .name = "memory",
	        .start = memory_start,
	        .step = memory_step,
	};
	struct vdb_backend_info info = {
	        .size = sizeof(info),
	        .capacity = len,
	        .ops = 1u << VDB_OP_READ | 1u << VDB_OP_WRITE | 1u << VDB_OP_FLUSH | 1u << VDB_OP_DISCARD |
	               1u << VDB_OP_WRITE_ZEROES,
	};

	if (!memory || !len)
		return vdb__fail(EINVAL, "memory backend: %p, %llu bytes; give it some", memory,
		                 (unsigned long long)len);
	return vdb_backend_create(&ops, memory, &info, out);
}
