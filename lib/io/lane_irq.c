/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a lane interrupts its guest. While answers to more of its requests are on their way, at most
 * once a turn; and if it interrupts often, not even that, as long as the loop is awake. What has
 * been completed is published before, and at once: a guest that looks sees it.
 */
#include "io/lane.h"
#include "loop/poll.h"

static void raise_it(struct vdb_lane *lane)
{
	uint32_t coalesce_ns = vdb__loop_coalesce_ns(lane->loop);
	uint64_t now;

	lane->irq_turn = vdb__loop_turn(lane->loop);
	if (coalesce_ns) {
		now = vdb__poll_now(lane->loop);
		lane->irq_ns = vdb__poll_adapt(lane->irq_ns, now - lane->irq_at, coalesce_ns);
		lane->irq_at = now;
	}
	vdb__count(&lane->stats.triggers, 1);
	vdb__count(&vdb__account(lane->tenant)->stats.irqs, 1);
	if (lane->trigger) {
		lane->trigger(lane->trigger_arg);
	} else if (lane->call_fd >= 0) {
		vdb__loop_signal(lane->loop, lane->call_fd);
	}
}

void vdb__lane_irq_late(struct vdb__late *late)
{
	raise_it(vdb__container(late, struct vdb_lane, irq_late));
}

/* As soon as its VM's cap allows it. A lane that ends, or goes elsewhere, cannot wait for that. */
static void fire(struct vdb_lane *lane)
{
	if (lane->phase != VDB__LANE_OPEN)
		vdb__tenant_irq_now(lane->tenant, &lane->irq_late);
	else if (!vdb__tenant_irq(lane->tenant, &lane->irq_late))
		return;
	raise_it(lane);
}

void vdb__lane_irq_release(struct vdb__hold *hold)
{
	fire(vdb__container(hold, struct vdb_lane, irq_hold));
}

void vdb__lane_irq_flush(struct vdb_lane *lane)
{
	bool held = vdb__loop_unhold(&lane->irq_hold);

	if (held || !vdb__list_empty(&lane->irq_late.link))
		fire(lane);
}

/* Not later than this. 0: not now, but in the next turn. */
static bool may_wait(struct vdb_lane *lane, uint64_t *until)
{
	/* With nothing in flight there is nothing to wait for: at depth 1, none ever has. */
	if (!lane->inflight || lane->phase != VDB__LANE_OPEN)
		return false;
	*until = 0;
	if (lane->irq_turn == vdb__loop_turn(lane->loop))
		return true;
	*until = lane->irq_at + lane->irq_ns;
	return lane->irq_ns && vdb__poll_now(lane->loop) < *until;
}

void vdb__lane_notify(struct vdb_lane *lane, bool wanted)
{
	bool late = !vdb__list_empty(&lane->irq_late.link), held = vdb__loop_unhold(&lane->irq_hold);
	uint64_t until;

	if ((held || late) && wanted)
		vdb__count(&lane->stats.coalesced, 1);
	if (late && lane->phase == VDB__LANE_OPEN)
		return; /* it is to come already */
	if (!wanted && !held && !late)
		return;
	if (may_wait(lane, &until))
		vdb__loop_hold(lane->loop, &lane->irq_hold, until);
	else
		fire(lane);
}
