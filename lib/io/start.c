/* SPDX-License-Identifier: Apache-2.0 */
/* How a request gets going: checked, mapped, handed to who does it. */
#include <assert.h>
#include <errno.h>

#include "base/atomic.h"
#include "io/lane.h"

/* FLUSH and NOP concern no bytes, whatever the guest left in their fields. */
static bool has_range(uint8_t op)
{
	return op != VDB_OP_NOP && op != VDB_OP_FLUSH;
}

static struct vdb__request *take(struct vdb_lane *lane, const struct vdb__elem *elem)
{
	/* take_one() has seen to it that there is one. */
	struct vdb__request *r = vdb__lane_take_request(lane);
	bool ranged = has_range(elem->op);

	r->pub.op = elem->op;
	r->pub.more = elem->more != 0;
	r->pub.niov = 0;
	r->pub.offset = ranged ? elem->offset : 0;
	r->pub.len = ranged ? elem->len : 0;
	r->pub.readable = 0;
	r->pub.file = lane->file;
	r->cookie = elem->cookie;
	r->pieces = NULL;
	r->pub.iov = vdb__request_iov(r);
	r->nread = r->nmapped = 0;
	r->state = VDB__REQ_TAKEN;
	r->stable_op = VDB_OP_NOP;
	r->stable = elem->stable;
	r->host_writes = r->held = r->sliced = r->cancelled = r->whole = false;
	vdb__store(&r->returned, 0u);
	return r;
}

static bool has_data(uint8_t op)
{
	return op - 1u < VDB_OP_WRITE || op >= VDB_OP_USER || vdb__is_memop(op);
}

/* Nothing to do is done. A USER request may mean something without data, FLUSH always does. */
static bool is_empty(const struct vdb_req *req)
{
	return req->op == VDB_OP_NOP || (!req->len && req->op != VDB_OP_FLUSH && req->op < VDB_OP_USER);
}

static void slice_later(struct vdb_lane *lane, struct vdb__request *r)
{
	r->state = VDB__REQ_SLICED;
	r->sliced = true;
	r->done = 0;
	r->to = (struct vdb__cursor){0, 0};
	vdb__list_init(&r->link);
	vdb__list_append(&lane->inlined, &r->link);
}

static int64_t good(const struct vdb_req *req)
{
	return req->op - 1u < VDB_OP_WRITE ? (int64_t)req->len : 0;
}

/* What start() said, if it is not PENDING. */
static uint64_t answered(struct vdb_lane *lane, struct vdb__request *r, int rc, uint64_t cost)
{
	switch (rc) {
	case VDB_REQ_INLINE:
		slice_later(lane, r);
		return 0;
	case VDB_REQ_DONE:
		r->whole = true;
		vdb__request_finish(r, good(&r->pub));
		return cost;
	default:
		vdb__request_finish(r, rc < 0 ? rc : -EIO);
		return 0;
	}
}

static inline uint64_t hand_over(struct vdb_lane *lane, struct vdb__request *r)
{
	struct vdb_backend *backend = lane->backend;
	uint8_t op = r->pub.op;
	/* A buffer that waits for the outside is charged for what comes. */
	uint64_t cost = has_data(op) && !lane->wants ? r->pub.len : 0;
	int rc;

	r->state = VDB__REQ_STARTED;
	rc = backend->ops.start(backend->ctx, &r->pub);
	if (rc == VDB_REQ_PENDING) /* may be complete already */
		return cost;
	/* Another op: the FLUSH behind it, which is not this answer's. */
	assert(r->state == VDB__REQ_STARTED && r->pub.op == op &&
	       "completed by start(), which did not return PENDING");
	if (r->state != VDB__REQ_STARTED || r->pub.op != op)
		return cost;
	return answered(lane, r, rc, cost);
}

void vdb__request_stabilize(struct vdb__request *r)
{
	r->stable = false;
	r->stable_op = r->pub.op;
	r->stable_len = r->pub.len;
	r->pub.op = VDB_OP_FLUSH;
	r->pub.len = 0;
	r->cancelled = false;
	vdb__store(&r->returned, 0u);
	(void)hand_over(r->lane, r);
	/* Who waits for the end has asked the others already. */
	if (!vdb__lane_serves(r->lane))
		vdb__lane_cancel(r->lane);
}

static int prepare(struct vdb__request *r, const struct vdb__elem *elem, const struct vdb__seg *segs)
{
	int rc = elem->error;

	if (!rc)
		rc = vdb__request_check(r->lane->backend, elem);
	if (!rc && elem->len && has_data(elem->op))
		rc = vdb__request_map(r, elem, segs + elem->first);
	return rc;
}

uint64_t vdb__request_start(struct vdb_lane *lane, const struct vdb__elem *elem, const struct vdb__seg *segs)
{
	struct vdb__request *r = take(lane, elem);
	int rc = prepare(r, elem, segs);

	if (rc)
		vdb__count(&vdb__account(lane->tenant)->stats.refused, 1);
	if (rc || is_empty(&r->pub)) {
		vdb__request_finish(r, rc);
		return 0;
	}
	if (!vdb__is_memop(r->pub.op))
		return hand_over(lane, r);
	vdb__memop_begin(r);
	slice_later(lane, r);
	return 0;
}

static int64_t step(struct vdb_lane *lane, struct vdb__request *r, uint64_t max)
{
	const struct vdb_backend *backend = lane->backend;
	uint64_t left = r->pub.len - r->done;
	int64_t n;

	if (max > left)
		max = left;
	if (vdb__is_memop(r->pub.op))
		return (int64_t)vdb__memop_step(r, max);
	if (!backend->ops.step)
		return -EIO;
	n = backend->ops.step(backend->ctx, &r->pub, max);
	/* Standing still would be for ever. */
	if (n == 0)
		return -EIO;
	return n > (int64_t)left ? (int64_t)left : n;
}

uint64_t vdb__request_slice(struct vdb_lane *lane, uint64_t max)
{
	struct vdb__request *r = vdb__request_of(lane->inlined.next);
	int64_t n = 0;

	if (!vdb__lane_works(lane))
		n = -ECANCELED; /* the whole could take hours, and somebody waits for the end */
	else if (r->pub.len)
		n = step(lane, r, max);
	if (n > 0) {
		/* Bit by bit: marking gigabytes at the end would hold the loop. */
		if (r->host_writes)
			vdb__request_mark(r, (uint64_t)n);
		r->done += (uint64_t)n;
		if (r->done < r->pub.len)
			return (uint64_t)n;
	}
	vdb__list_remove(&r->link);
	r->whole = n >= 0;
	vdb__request_finish(r, n < 0 ? n : good(&r->pub));
	return n > 0 ? (uint64_t)n : 0;
}
