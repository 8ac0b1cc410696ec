/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory of a request: mapped at the start, marked and let go at the end. */
#include "io/request.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/export.h"
#include "io/lane.h"

static enum vdb__access access_of(uint8_t op)
{
	return op == VDB_OP_WRITE ? VDB__READ : VDB__WRITE;
}

/* Of USER's segments the first `nread` are only to be read. */
static int map_segs(struct vdb__request *r, const struct vdb__elem *elem, const struct vdb__seg *segs,
                    uint32_t max)
{
	struct vdb__view *view = &r->lane->queue->view;
	enum vdb__access access = access_of(elem->op);
	struct vdb__region **region = vdb__request_regions(r);
	struct iovec *iov = vdb__request_iov(r);
	int rc = 0;

	for (uint32_t i = 0; i < elem->nseg && !rc; i++) {
		if (segs[i].len)
			rc = vdb__view_iov(view, segs[i].gpa, segs[i].len,
			                   i < elem->nread ? VDB__READ : access, iov, region, &r->nmapped,
			                   max);
		if (i < elem->nread)
			r->nread = r->nmapped;
	}
	r->pub.niov = r->nmapped;
	return rc;
}

/* COPY's source lies behind its data, and does not count as data. */
static int map_source(struct vdb__request *r, uint32_t max)
{
	if (r->pub.op != VDB_OP_COPY)
		return 0;
	return vdb__view_iov(&r->lane->queue->view, r->pub.offset, r->pub.len, VDB__READ, vdb__request_iov(r),
	                     vdb__request_regions(r), &r->nmapped, max);
}

static int map_into(struct vdb__request *r, const struct vdb__elem *elem, const struct vdb__seg *segs,
                    uint32_t max, uint32_t max_all)
{
	int rc = map_segs(r, elem, segs, max);

	if (!rc)
		rc = map_source(r, max_all);
	if (rc)
		r->nread = r->nmapped = r->pub.niov = 0;
	return rc;
}

/* The backend is promised exactly len bytes, the first `readable` of them to be read. */
static bool adds_up(const struct vdb__elem *elem, const struct vdb__seg *segs, uint64_t *readable)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < elem->nseg; i++) {
		if (__builtin_add_overflow(sum, segs[i].len, &sum))
			return false;
		if (i < elem->nread)
			*readable = sum;
	}
	return sum == elem->len;
}

static int map_pieces(struct vdb__request *r, const struct vdb__elem *elem, const struct vdb__seg *segs)
{
	uint32_t max = r->lane->max_pieces;
	int rc;

	if (!adds_up(elem, segs, &r->pub.readable))
		return -EINVAL;
	if (elem->nseg <= VDB__IOV_OWN) {
		rc = map_into(r, elem, segs, VDB__IOV_OWN, VDB__IOV_OWN);
		if (rc != -E2BIG)
			return rc;
	}
	r->pieces = vdb__lane_take_pieces(r->lane);
	if (!r->pieces)
		return -ENOMEM;
	r->pub.iov = vdb__request_iov(r);
	return map_into(r, elem, segs, max, max + VDB__IOV_EXTRA);
}

int vdb__request_map(struct vdb__request *r, const struct vdb__elem *elem, const struct vdb__seg *segs)
{
	enum vdb__access access = access_of(elem->op);

	r->host_writes = access == VDB__WRITE;
	/* Most have one segment, where the one before had its own. */
	if (elem->nseg == 1 && !elem->nread && segs->len == elem->len && elem->op != VDB_OP_COPY &&
	    vdb__view_piece(&r->lane->queue->view, segs->gpa, segs->len, access, vdb__request_iov(r),
	                    r->own_region)) {
		r->pub.niov = r->nmapped = 1;
		return 0;
	}
	return map_pieces(r, elem, segs);
}

void vdb__request_hold(struct vdb__request *r)
{
	if (r->state == VDB__REQ_FREE || r->held)
		return;
	vdb__region_hold(vdb__request_regions(r), r->nmapped);
	r->held = true;
}

void vdb__request_mark(struct vdb__request *r, uint64_t bytes)
{
	struct vdb__region **region = vdb__request_regions(r);
	struct iovec piece;

	for (; bytes; bytes -= piece.iov_len) {
		piece = vdb__cursor_piece(&r->to, r->pub.iov, bytes);
		if (r->to.index >= r->nread)
			vdb__region_mark(&region[r->to.index], &piece, 1, piece.iov_len);
		vdb__cursor_pass(&r->to, r->pub.iov, piece.iov_len);
	}
}

/* On failure and short I/O too: every page that may have been touched. A memop's have been marked as it
 * went on. */
static void mark_rest(struct vdb__request *r)
{
	if (vdb__is_memop(r->pub.op) || !r->pub.niov || !vdb__view_tracked(&r->lane->queue->view))
		return;
	if (r->sliced)
		vdb__request_mark(r, r->pub.len - r->done);
	else
		/* Not pub.iov: of what is read a backend of ours may have made something else. */
		vdb__region_mark(vdb__request_regions(r) + r->nread, vdb__request_iov(r) + r->nread,
		                 r->nmapped - r->nread, r->pub.len - r->pub.readable);
}

static void let_go(struct vdb__request *r)
{
	if (r->host_writes)
		mark_rest(r);
	if (r->held)
		vdb__region_release(vdb__request_regions(r), r->nmapped);
	if (r->pieces)
		vdb__lane_put_pieces(r->lane, r->pieces);
}

static void count_error(struct vdb_lane *lane)
{
	vdb__count(&lane->stats.errors, 1);
	vdb__count(&vdb__account(lane->tenant)->stats.errors, 1);
}

static void count(struct vdb_lane *lane, const struct vdb__request *r, int64_t result)
{
	struct vdb_lane_stats *stats = &lane->stats;

	if (result < 0)
		count_error(lane);
	else if (r->pub.op == VDB_OP_READ)
		vdb__count(&stats->bytes_read, r->pub.len);
	else if (r->pub.op == VDB_OP_WRITE)
		vdb__count(&stats->bytes_written, r->pub.len);
	else if (r->pub.op == VDB_OP_FLUSH)
		vdb__count(&stats->flushes, 1);
	else if (r->pub.op == VDB_OP_DISCARD)
		vdb__count(&stats->discards, 1);
	else if (r->pub.op == VDB_OP_WRITE_ZEROES)
		vdb__count(&stats->zeroes, 1);
}

/* Bytes that are in the guest's buffers now: all that may be, but a USER's backend that completes says it. */
static uint64_t written(const struct vdb__request *r, int64_t result)
{
	if (!r->host_writes || result < 0)
		return 0;
	if (r->pub.op >= VDB_OP_USER && !r->whole)
		return (uint64_t)result;
	return r->pub.len - r->pub.readable;
}

/* The FLUSH behind a request has ended: what is completed is the request. */
static int64_t stabilized(struct vdb__request *r, int64_t result)
{
	r->pub.op = r->stable_op;
	r->pub.len = r->stable_len;
	return result < 0 || r->pub.op != VDB_OP_WRITE ? result : (int64_t)r->pub.len;
}

void vdb__request_finish(struct vdb__request *r, int64_t result)
{
	struct vdb_lane *lane = r->lane;

	if (r->stable && result >= 0) {
		vdb__request_stabilize(r);
		return;
	}
	if (r->stable_op != VDB_OP_NOP)
		result = stabilized(r, result);
	let_go(r);
	count(lane, r, result);
	lane->queue->ops->complete(lane->queue, r->cookie, result, written(r, result));
	vdb__lane_put_request(lane, r);
	vdb__lane_completed(lane);
}

void vdb__request_misdeed(const struct vdb__request *r)
{
	vdb__count(&vdb__account(r->lane->tenant)->stats.dropped, 1);
}

/* What the guest is told, by what the backend said. */
static int64_t settle(const struct vdb_req *req, int64_t result)
{
	if (result < 0 || req->op >= VDB_OP_USER)
		return result;
	if (req->op != VDB_OP_READ && req->op != VDB_OP_WRITE)
		return 0;
	return (uint64_t)result == req->len ? result : -EIO;
}

VDB_EXPORT void vdb_req_complete(struct vdb_req *req, int32_t result)
{
	struct vdb__request *r = (struct vdb__request *)req;

	assert(r->state == VDB__REQ_STARTED && "completed twice, or not pending");
	if (r->state == VDB__REQ_STARTED)
		vdb__request_finish(r, settle(req, result));
}

static void complete_posted(struct vdb__post *post, int status)
{
	struct vdb__request *r = vdb__container(post, struct vdb__request, post);

	(void)status; /* a loop that ends waits for its requests: this is how it gets them */
	vdb_req_complete(&r->pub, r->posted);
}

VDB_EXPORT void vdb_req_complete_post(struct vdb_req *req, int32_t result)
{
	struct vdb__request *r = (struct vdb__request *)req;

	vdb__store(&r->returned, 1u);
	r->posted = result;
	r->post.fn = complete_posted;
	vdb__loop_post(r->lane->loop, &r->post);
}

void vdb__request_costs(struct vdb__request *r, uint64_t cost)
{
	struct vdb_lane *lane = r->lane;

	if (lane->visiting)
		lane->costs += cost;
	else
		vdb__tenant_charge(lane->source.tenant, cost, 0, 0);
}

VDB_EXPORT void vdb_req_charge(struct vdb_req *req, uint64_t bytes)
{
	struct vdb_lane *lane = ((struct vdb__request *)req)->lane;

	if (lane->visiting)
		lane->charged += bytes;
	else
		vdb__source_charge(&lane->source, bytes);
}
