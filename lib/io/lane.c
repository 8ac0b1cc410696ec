/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a lane is served. A visit is: take up the memory map, let the queue shake
 * hands, pop and start, work on what is inline, publish once, interrupt once.
 * What completes between visits is published once per batch.
 */
#include "io/lane.h"

#include "base/atomic.h"

/* Bytes of inline work between two pops: a long FILL shall not keep the requests behind it from their disk.
 */
#define SLICE (64u * 1024)

/* What each further segment of a request counts for, and a slice at least, in bytes: a thousand of one byte
 * each are work, too. */
#define SEGMENT_COST 256u

/* So many completions are shown at once, though the visit goes on, to a guest that has not much more in its
 * queue: it works on them meanwhile, on its own CPU. */
#define EARLY 16u

static struct vdb_lane *lane_of(struct vdb__source *source)
{
	return (struct vdb_lane *)source;
}

/* Not now, but when a completion or the backend says so: looking at the queue meanwhile would be spinning. */
static bool is_waiting(const struct vdb_lane *lane)
{
	return (lane->shut && lane->inflight) || !vdb__lane_has_room(lane) || !vdb__lane_wanted(lane);
}

static bool lane_pending(struct vdb__source *source)
{
	struct vdb_lane *lane = lane_of(source);

	if (!vdb__list_empty(&lane->inlined))
		return true;
	return lane->phase == VDB__LANE_OPEN && !is_waiting(lane) && lane->queue->ops->pending(lane->queue);
}

static bool lane_arm(struct vdb__source *source)
{
	struct vdb_lane *lane = lane_of(source);

	if (!vdb__list_empty(&lane->inlined))
		return true;
	lane->waits = is_waiting(lane);
	if (lane->waits) {
		if (vdb__lane_crowded(lane))
			vdb__tenant_crowded(source);
		if (lane->phase == VDB__LANE_OPEN && !vdb__lane_wanted(lane))
			lane->queue->ops->disarm(lane->queue); /* nobody would answer */
		return false;
	}
	return lane->phase == VDB__LANE_OPEN && lane->queue->ops->arm(lane->queue);
}

static void lane_disarm(struct vdb__source *source)
{
	struct vdb_lane *lane = lane_of(source);

	if (lane->phase == VDB__LANE_OPEN)
		lane->queue->ops->disarm(lane->queue);
}

static void lane_kicked(struct vdb__source *source)
{
	struct vdb_lane *lane = lane_of(source);

	vdb__count(&lane->stats.kicks, 1);
	lane->belled = true;
}

/* ---- Publishing ---- */

static void watch_state(struct vdb_lane *lane)
{
	const struct vdb_queue *queue = lane->queue;

	vdb__store(&lane->stats.resets, queue->resets);
	vdb__store(&lane->stats.state, queue->state);
	/* By count: between two looks it may have been reset, and be broken again. */
	if (queue->breaks == lane->stats.broken)
		return;
	vdb__count(&vdb__account(lane->tenant)->stats.broken, queue->breaks - lane->stats.broken);
	vdb__store(&lane->stats.broken, queue->breaks);
	if (lane->broken)
		lane->broken(lane->broken_arg, queue->reason);
}

/* True: the guest is to be interrupted. */
static bool show(struct vdb_lane *lane)
{
	vdb__count(&lane->stats.completions, lane->staged);
	lane->staged = 0;
	return lane->queue->ops->publish(lane->queue);
}

void vdb__lane_publish(struct vdb_lane *lane)
{
	bool any = lane->staged || lane->shown, wanted = lane->wanted;

	lane->shown = lane->wanted = false;
	vdb__store(&lane->stats.inflight, lane->inflight);
	wanted |= show(lane);
	if (any && !wanted)
		vdb__count(&lane->stats.suppressed, 1);
	vdb__lane_notify(lane, wanted);
	vdb__tenant_freed(lane->tenant);
	watch_state(lane);
}

/* In the middle of a visit: the guest may go on with these while we do with the rest. It is interrupted at
 * the end. */
static void show_early(struct vdb_lane *lane)
{
	lane->shown = true;
	lane->wanted |= show(lane);
}

void vdb__lane_completed(struct vdb_lane *lane)
{
	/* Between visits the first one of a batch has queued it. */
	if (!lane->staged++ && !lane->visiting)
		vdb__loop_batch(lane->loop, &lane->batch);
}

void vdb__lane_batch_fn(struct vdb__batch *batch)
{
	struct vdb_lane *lane = vdb__container(batch, struct vdb_lane, batch);

	vdb__source_answered(&lane->source);
	lane->source.owed = lane->inflight;
	vdb__lane_publish(lane);
	if (vdb__lane_drains(lane)) {
		vdb__lane_drained(lane);
	} else if (lane->phase == VDB__LANE_OPEN && lane->waits && !is_waiting(lane)) {
		vdb__source_ready(&lane->source);
	}
}

/* ---- A visit ---- */

/* The view is about to let go of the map that these were mapped in. */
static void keep_regions(void *arg)
{
	struct vdb_lane *lane = arg;

	for (uint32_t i = 0; i < lane->nrequests; i++)
		vdb__request_hold(&lane->requests[i]);
}

void vdb__lane_refresh(struct vdb_lane *lane)
{
	if (!vdb__view_refresh(&lane->queue->view))
		return;
	lane->queue->ops->remap(lane->queue);
	if (lane->registered)
		vdb__lane_remember(lane);
}

void vdb__lane_cancel(struct vdb_lane *lane)
{
	const struct vdb_backend *backend = lane->backend;
	struct vdb__request *r;

	if (!backend->ops.cancel)
		return;
	for (uint32_t i = 0; i < lane->nrequests && lane->inflight; i++) {
		r = &lane->requests[i];
		if (r->state != VDB__REQ_STARTED || r->cancelled || vdb__load(&r->returned))
			continue;
		r->cancelled = true;
		backend->ops.cancel(backend->ctx, &r->pub);
	}
}

static bool open_queue(struct vdb_lane *lane)
{
	bool was_shut;

	if (lane->phase != VDB__LANE_OPEN)
		return false;
	/* A reset wipes the queue: what was completed before it must be out. */
	if (lane->staged)
		vdb__lane_publish(lane);
	vdb__lane_refresh(lane);
	lane->queue->capacity = vdb__backend_capacity(lane->backend);
	was_shut = lane->shut;
	lane->shut = !lane->queue->ops->ready(lane->queue, lane->inflight);
	if (lane->shut && !was_shut)
		vdb__lane_cancel(lane);
	return !lane->shut;
}

/* Besides the first. */
static uint32_t pieces_of(const struct vdb__elem *elem)
{
	uint32_t n = elem->nseg > elem->steps ? elem->nseg : elem->steps;

	return n ? n - 1 : 0;
}

/* What backends have charged in this visit: it counts at once, so that a budget holds work that the length of
 * a request does not show. */
static void pay(struct vdb_lane *lane, uint64_t *spent)
{
	lane->source.bytes += lane->charged;
	*spent += lane->charged + lane->costs;
	lane->charged = lane->costs = 0;
}

static bool take_one(struct vdb_lane *lane, uint64_t *spent)
{
	struct vdb__elem elem;
	uint64_t bytes;

	if (!vdb__lane_has_room(lane) || !vdb__lane_wanted(lane) || !vdb__source_may(&lane->source) ||
	    !lane->queue->ops->pop(lane->queue, &elem, lane->segs))
		return false;
	lane->more = elem.more;
	bytes = vdb__request_start(lane, &elem, lane->segs);
	lane->source.requests++;
	lane->source.bytes += bytes;
	*spent += lane->request_cost + bytes + pieces_of(&elem) * (uint64_t)SEGMENT_COST;
	pay(lane, spent);
	return true;
}

static bool work_inline(struct vdb_lane *lane, uint64_t budget, uint64_t *spent)
{
	uint64_t left = budget - *spent, bytes;

	if (vdb__list_empty(&lane->inlined) || (vdb__lane_serves(lane) && !vdb__source_may(&lane->source)))
		return false;
	bytes = vdb__request_slice(lane, left < SLICE ? left : SLICE);
	lane->source.bytes += bytes;
	*spent += bytes > SEGMENT_COST ? bytes : SEGMENT_COST;
	pay(lane, spent);
	return true;
}

/* What was taken, by bell or by looking: once a visit. */
static void count_taken(struct vdb_lane *lane, uint64_t taken)
{
	struct vdb_tenant_stats *all = &vdb__account(lane->tenant)->stats;

	vdb__count(&lane->stats.requests, taken);
	if (taken && !lane->belled)
		vdb__count(&lane->stats.poll_hits, 1);
	if (!taken && lane->belled)
		vdb__count(&all->bells_vain, 1);
	if (vdb__lane_crowded(lane))
		vdb__count(&all->crowded, 1);
	lane->belled = false;
}

static uint64_t lane_serve(struct vdb__source *source, uint64_t budget)
{
	struct vdb_lane *lane = lane_of(source);
	uint64_t spent = 0, before = source->requests;
	bool open, worked = false, busy = true;

	lane->visiting = true;
	lane->waits = false;
	vdb__count(&lane->stats.visits, 1);
	open = open_queue(lane);
	if (lane->inline_first)
		worked = work_inline(lane, budget, &spent);
	while (busy && spent < budget) {
		busy = open = open && take_one(lane, &spent);
		if (spent < budget && work_inline(lane, budget, &spent))
			busy = worked = true;
		if (lane->staged >= EARLY && lane->more < 2 * EARLY)
			show_early(lane);
	}
	/* One large request can use up a visit, and the next one the next. */
	lane->inline_first = !worked;
	lane->visiting = false;
	count_taken(lane, source->requests - before);
	lane->source.owed = lane->inflight;
	lane->source.ending = !vdb__lane_serves(lane);
	vdb__lane_publish(lane);
	if (vdb__lane_drains(lane))
		vdb__loop_batch(lane->loop, &lane->batch);
	return spent;
}

const struct vdb__source_ops vdb__lane_source_ops = {
        .pending = lane_pending,
        .serve = lane_serve,
        .arm = lane_arm,
        .disarm = lane_disarm,
        .kicked = lane_kicked,
};

void vdb__lane_attach_queue(struct vdb_lane *lane)
{
	const struct vdb_backend_info *info = &lane->backend->info;
	struct vdb__queue_identity identity = {
	        .capacity = vdb__backend_capacity(lane->backend),
	        .block_size = info->block_size,
	        .ops = info->ops | 1u << VDB_OP_NOP | 1u << VDB_OP_COPY | 1u << VDB_OP_FILL,
	};

	lane->queue->view.keep = keep_regions;
	lane->queue->view.keep_arg = lane;
	lane->queue->ops->attach(lane->queue, &identity);
}
