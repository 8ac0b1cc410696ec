/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane from one loop to another, while its guest goes on: it takes no more requests, those in flight
 * are completed and published where they were started, the engine lets go of the doorbell, and a post
 * takes the lane to the other loop, where it is served once, whatever has rung meanwhile.
 *
 * Until it has arrived the loop that it came from expects it back: where the other one cannot have it, or
 * ends, it returns.
 */
#include <errno.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/export.h"
#include "io/lane.h"

/* ---- On the loop's thread ---- */

void vdb__lane_told(struct vdb_lane *lane, int status)
{
	void (*moved)(void *arg, int status) = lane->moved;
	void *arg = lane->moved_arg;

	vdb__arrival_drop(&lane->arrival);
	vdb_tenant_destroy(lane->other);
	lane->other = NULL;
	lane->journey = VDB__LANE_STAYS;
	vdb__store_release(&lane->moving, 0u); /* pairs with the cas in vdb_lane_move() */
	if (moved)
		moved(arg, status);
}

void vdb__lane_depart(struct vdb_lane *lane)
{
	const struct vdb_loop *to = vdb__load(&lane->arrival.loop);

	if (lane->phase != VDB__LANE_OPEN || lane->doomed || lane->kept) {
		vdb__lane_told(lane, -ECANCELED);
	} else if (to == lane->loop && !lane->other) {
		vdb__lane_told(lane, 0);
	} else {
		lane->journey = VDB__LANE_MOVES;
		lane->failed = 0;
		lane->phase = VDB__LANE_MOVING;
		vdb__source_ending(&lane->source);
		vdb__lane_cancel(lane);
		vdb__loop_batch(lane->loop, &lane->batch);
	}
}

void vdb__lane_set_out(struct vdb_lane *lane)
{
	lane->phase = VDB__LANE_LEFT;
	if (!vdb__fetch_or(&lane->wake, VDB__WAKE_ATTACH))
		vdb__lane_hand_over(lane);
}

static void swap_tenants(struct vdb_lane *lane)
{
	struct vdb_tenant *tenant = lane->tenant;
	bool own = lane->own_tenant;

	if (!lane->other)
		return;
	lane->tenant = lane->other;
	lane->own_tenant = lane->own_other;
	lane->other = tenant;
	lane->own_other = own;
}

/* Nothing of the lane's is in any loop. */
static void change_loop(struct vdb_lane *lane, struct vdb_loop *to)
{
	struct vdb_loop *from = lane->loop;

	swap_tenants(lane);
	lane->loop = to;
	vdb__lane_pool_move(lane);
	if (lane->own_tenant)
		vdb__tenant_move(lane->tenant, to);
	/* On the way back nobody is left to go to. */
	if (!lane->failed && to != from)
		(void)vdb__loop_expect(from, &lane->arrival);
}

/* After the post it is another thread's, or gone. */
void vdb__lane_hand_over(struct vdb_lane *lane)
{
	struct vdb_loop *to = vdb__arrival_take(&lane->arrival);

	vdb__list_remove(&lane->batch.link);
	if (lane->member)
		vdb__loop_part_member(&lane->as_member);
	lane->member = false;
	lane->phase = VDB__LANE_NEW;
	if (to) {
		change_loop(lane, to);
		vdb__loop_post(to, &lane->wake_post);
		vdb__arrival_done(to);
		return;
	}
	lane->failed = lane->failed ? lane->failed : -ESHUTDOWN;
	vdb__loop_post(lane->loop, &lane->wake_post);
}

void vdb__lane_arrived(struct vdb_lane *lane)
{
	if (!lane->failed)
		vdb__count(&lane->stats.moves, 1);
	vdb__lane_told(lane, lane->failed);
}

/* ---- Any thread ---- */

static int check(const struct vdb_lane *lane, const struct vdb_loop *loop, const struct vdb_tenant *tenant)
{
	if (!loop)
		return vdb__fail(EINVAL, "lane: move to no loop");
	if (tenant && vdb__tenant_loop(tenant) != loop)
		return vdb__fail(EINVAL, "lane: move: the tenant is of another loop; make one there");
	if (lane->fixed)
		return vdb__fail(EOPNOTSUPP, "lane: its backend belongs to one loop (VDB_BACKEND_FIXED)");
	return 0;
}

static int ended(void)
{
	return vdb__fail(ECANCELED, "lane: move: a loop has been destroyed");
}

/* All that could fail on the way. */
static int take_other(struct vdb_lane *lane, struct vdb_loop *loop, struct vdb_tenant *tenant)
{
	int rc;

	lane->own_other = !tenant;
	if (tenant) {
		vdb__tenant_ref(tenant);
		lane->other = tenant;
		return 0;
	}
	lane->other = NULL;
	if (lane->own_tenant)
		return 0;
	rc = vdb_tenant_create(loop, &lane->other);
	if (!rc)
		vdb__tenant_inherit(lane->other, lane->tenant);
	return rc;
}

static int set_off(struct vdb_lane *lane, struct vdb_loop *loop, struct vdb_tenant *tenant)
{
	int rc = vdb__load(&lane->wake) & VDB__WAKE_DEAD ? ended() : take_other(lane, loop, tenant);

	if (rc)
		return rc;
	if (vdb__loop_expect(loop, &lane->arrival)) {
		if (!(vdb__lane_wake(lane, VDB__WAKE_MOVE) & VDB__WAKE_DEAD))
			return 0;
		vdb__arrival_drop(&lane->arrival);
	}
	vdb_tenant_destroy(lane->other);
	lane->other = NULL;
	return ended();
}

VDB_EXPORT int vdb_lane_move(struct vdb_lane *lane, struct vdb_loop *loop, struct vdb_tenant *tenant,
                             void (*done)(void *arg, int status), void *arg)
{
	int rc = check(lane, loop, tenant);

	if (rc)
		return rc;
	if (!vdb__cas(&lane->moving, 0u, 1u))
		return vdb__fail(EBUSY, "lane: it is moving already; wait for its done()");
	lane->moved = done;
	lane->moved_arg = arg;
	rc = set_off(lane, loop, tenant);
	if (rc)
		vdb__store_release(&lane->moving, 0u);
	return rc;
}
