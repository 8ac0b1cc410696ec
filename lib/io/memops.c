/* SPDX-License-Identifier: Apache-2.0 */
/* Requests inside the VM's own memory. Both sides are the guest's: what it does to them meanwhile is its own
 * affair, so nothing here is looked at, only moved. */
#include <string.h>

#include "io/request.h"

/* Where COPY is in its source: no backend sees such a request, so its scratch is ours. */
static struct vdb__cursor *from_of(struct vdb__request *r)
{
	_Static_assert(sizeof(struct vdb__cursor) <= sizeof(r->pub.scratch), "scratch");
	return (struct vdb__cursor *)(void *)r->pub.scratch;
}

void vdb__memop_begin(struct vdb__request *r)
{
	*from_of(r) = (struct vdb__cursor){0, 0};
}

static uint64_t fill_step(struct vdb__request *r, uint64_t max)
{
	struct iovec to = vdb__cursor_piece(&r->to, r->pub.iov, max);

	memset(to.iov_base, (int)(r->pub.offset & 0xff), to.iov_len);
	return to.iov_len;
}

static uint64_t copy_step(struct vdb__request *r, uint64_t max)
{
	const struct iovec *source = r->pub.iov + r->pub.niov;
	struct iovec to = vdb__cursor_piece(&r->to, r->pub.iov, max);
	struct iovec from = vdb__cursor_piece(from_of(r), source, to.iov_len);

	/* The guest promised no overlap; if it lied, the bytes are its own, but ours is no undefined
	 * behaviour. */
	memmove(to.iov_base, from.iov_base, from.iov_len);
	vdb__cursor_pass(from_of(r), source, from.iov_len);
	return from.iov_len;
}

uint64_t vdb__memop_step(struct vdb__request *r, uint64_t max)
{
	return r->pub.op == VDB_OP_COPY ? copy_step(r, max) : fill_step(r, max);
}
