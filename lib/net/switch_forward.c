/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a packet. Its first bytes are read once, and are what everybody goes by, the receiver too; the
 * rest is copied when a receiver has room. Until then it waits, in the order of sending, in the receiver's
 * queue: there is one entry for each receiver, out of the sender's own stock.
 */
#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "loop/poll.h"
#include "net/copy.h"
#include "net/switch.h"

#define TICK 50000000ull /* ns: what waits goes at the second one */

/* A packet's entries: it is sent when there is none any more. */
static struct vdb__wait **waits_of(struct vdb_req *packet)
{
	return (struct vdb__wait **)(void *)&packet->scratch[VDB_NET_SCRATCH];
}

static uint32_t frame_len(const struct vdb_req *packet)
{
	return (uint32_t)packet->readable - VDB_NET_HDR;
}

/* ---- Into the receiver's memory ---- */

static int give_as_it_is(struct vdb__port *to, const struct vdb_req *packet, const uint8_t *eth)
{
	uint32_t len = frame_len(packet);
	uint8_t head[VDB_NET_HDR + VDB__ETH_HEADER];
	struct vdb_net_room *room;
	int rc = vdb_net_take(to->pair, VDB_NET_HDR + len, &room);

	if (rc)
		return rc;
	memcpy(head, packet->iov->iov_base, VDB_NET_HDR);
	memcpy(head + VDB_NET_HDR, eth, VDB__ETH_HEADER);
	vdb__iov_put(room->iov, 0, head, sizeof(head));
	vdb__iov_copy(room->iov, sizeof(head), packet->iov + 1, VDB__ETH_HEADER, len - VDB__ETH_HEADER);
	vdb_net_deliver(room, VDB_NET_HDR + len);
	return 0;
}

static int load_segments(struct vdb__segment *segment, struct vdb_req *packet, const uint8_t *eth)
{
	uint32_t len = frame_len(packet);

	segment->vnet = vdb__vnet_get(packet->iov->iov_base);
	segment->len = len;
	memcpy(segment->frame, eth, VDB__ETH_HEADER);
	vdb__iov_get(packet->iov + 1, VDB__ETH_HEADER, segment->frame + VDB__ETH_HEADER,
	             len - VDB__ETH_HEADER);
	vdb_req_charge(packet, len);
	return vdb__segment_begin(segment);
}

/* Those from *begun on. */
static int give_segments(struct vdb__port *to, struct vdb_req *packet, const uint8_t *eth, uint32_t *begun)
{
	static const uint8_t header[VDB_NET_HDR];
	struct vdb__segment *segment = &to->sw->segment;
	struct iovec iov[3] = {{(void *)(uintptr_t)header, sizeof(header)}};
	int rc = load_segments(segment, packet, eth);

	for (; !rc && *begun < segment->count; *begun += 1) {
		uint32_t len = vdb__segment_get(segment, *begun, iov + 1);

		rc = vdb_net_put(to->pair, iov, 3, VDB_NET_HDR + len);
		if (rc == -EAGAIN)
			return rc;
		vdb__count(&to->stats.segments, 1);
	}
	return rc;
}

static bool fits(const struct vdb__port *to, const struct vdb_req *packet)
{
	return vdb__vnet_fits(packet->iov->iov_base, frame_len(packet), vdb__load(&to->offloads));
}

/* -EAGAIN: there is no room now; else it is done with. */
static int give(struct vdb__port *to, struct vdb_req *packet, const uint8_t *eth, uint32_t *begun)
{
	int rc = fits(to, packet) ? give_as_it_is(to, packet, eth) : give_segments(to, packet, eth, begun);

	if (!rc)
		vdb__count(&to->stats.received, 1);
	return rc;
}

/* ---- Waiting ---- */

static struct vdb__wait *first(struct vdb__port *port)
{
	return vdb__list_empty(&port->queue) ? NULL
	                                     : vdb__container(port->queue.next, struct vdb__wait, link);
}

/* Whatever became of it. The packet may stay for its other receivers. */
static void end_wait(struct vdb__wait *wait)
{
	struct vdb__wait **at = waits_of(wait->packet);

	while (*at != wait)
		at = &(*at)->other;
	*at = wait->other;
	wait->to->queued--;
	wait->to->sw->queued--;
	wait->from->waiting[wait->to->index]--;
	vdb__list_remove(&wait->link);
	vdb__list_append(&wait->from->spare, &wait->link);
	wait->from->nspare++;
}

static void pass(struct vdb__wait *wait)
{
	struct vdb_req *packet = wait->packet;
	struct vdb__port *from = wait->from;

	end_wait(wait);
	if (!*waits_of(packet))
		vdb_net_sent(from->pair, packet, 0);
}

static void start_ticking(struct vdb_switch *sw)
{
	if (sw->ticking)
		return;
	sw->ticking = true;
	vdb_timer_arm(sw->timer, TICK);
}

static void is_full(struct vdb__port *port)
{
	vdb__count(&port->stats.full, 1);
	vdb_net_dropped(port->pair, 1);
}

static struct vdb__wait *spare_for(struct vdb__port *from, const struct vdb__port *to)
{
	uint32_t waiting = from->waiting[to->index];

	if (waiting >= VDB__SWITCH_SHARE || waiting >= from->nspare)
		return NULL;
	from->nspare--;
	return vdb__container(vdb__list_pop(&from->spare), struct vdb__wait, link);
}

static void queue_up(struct vdb__port *from, struct vdb__port *to, struct vdb_req *packet, const uint8_t *eth)
{
	struct vdb__wait *wait = spare_for(from, to);

	if (!wait) {
		is_full(to);
		return;
	}
	wait->from = from;
	wait->to = to;
	wait->packet = packet;
	wait->other = *waits_of(packet);
	*waits_of(packet) = wait;
	wait->tick = to->sw->tick;
	wait->begun = 0;
	memcpy(wait->eth, eth, VDB__ETH_HEADER);
	vdb__list_append(&to->queue, &wait->link);
	from->waiting[to->index]++;
	to->queued++;
	to->sw->queued++;
	start_ticking(to->sw);
	vdb_net_wake(to->pair, to->queued);
}

void vdb__switch_receive(void *ctx, uint32_t index)
{
	struct vdb__port *port = ctx;
	struct vdb__wait *wait;

	(void)index;
	while ((wait = first(port))) {
		if (give(port, wait->packet, wait->eth, &wait->begun) == -EAGAIN)
			break;
		pass(wait);
	}
	if (port->pair)
		vdb_net_wake(port->pair, port->queued);
}

static void expire(struct vdb__port *port)
{
	struct vdb__wait *wait;

	while ((wait = first(port)) && port->sw->tick - wait->tick >= 2) {
		is_full(port);
		pass(wait);
	}
}

void vdb__switch_tick(void *arg)
{
	struct vdb_switch *sw = arg;
	sw->tick++;
	sw->ticking = false;
	for (uint32_t i = 0; i < sw->config.ports; i++) {
		if (sw->open[i])
			expire(sw->open[i]);
	}
	if (sw->queued)
		start_ticking(sw);
}

void vdb__switch_drain(struct vdb__port *port)
{
	struct vdb__wait *wait;

	while ((wait = first(port)))
		pass(wait);
}

void vdb__switch_cancel(void *ctx, uint32_t index, struct vdb_req *packet)
{
	struct vdb__port *port = ctx;

	(void)index;
	while (*waits_of(packet))
		end_wait(*waits_of(packet));
	vdb_net_sent(port->pair, packet, -ECANCELED);
}

/* ---- Where to ---- */

static bool may_exchange(const struct vdb__port *a, const struct vdb__port *b)
{
	return a != b && !(a->config.flags & b->config.flags & VDB_SWITCH_PORT_ISOLATED);
}

static void offer(struct vdb__port *from, struct vdb__port *to, struct vdb_req *packet, const uint8_t *eth)
{
	uint32_t begun = 0;

	/* Behind what waits already. What takes work is not begun before there is room. */
	if (!to->queued && fits(to, packet) && give(to, packet, eth, &begun) != -EAGAIN)
		return;
	if (to->pair) /* asked for room it may have been closed */
		queue_up(from, to, packet, eth);
}

static void flood(struct vdb__port *from, struct vdb_req *packet, const uint8_t *eth)
{
	const struct vdb_switch *sw = from->sw;

	vdb__count(&from->stats.flooded, 1);
	for (uint32_t i = 0; i < sw->config.ports; i++) {
		if (sw->open[i] && may_exchange(from, sw->open[i]))
			offer(from, sw->open[i], packet, eth);
	}
}

/* 01:80:c2:00:00:00 to :0f (IEEE 802.1Q, 8.6.3). */
static bool is_link_local(uint64_t mac)
{
	return (mac & 0xf0ffffffffffull) == 0xc28001ull;
}

static bool may_send(struct vdb__port *port, uint64_t source)
{
	if (port->config.flags & VDB_SWITCH_PORT_GUARD && source != vdb__switch_mac(port->config.mac))
		return false;
	return vdb__switch_learn(port, source);
}

static void forward(struct vdb__port *from, struct vdb_req *packet, const uint8_t *eth)
{
	uint64_t target = vdb__switch_mac(eth), source = vdb__switch_mac(eth + 6);
	struct vdb__port *to;

	if (!source || vdb__switch_is_group(source) || is_link_local(target)) {
		vdb__count(&from->stats.lost, 1);
		return;
	}
	if (!may_send(from, source)) {
		vdb__count(&from->stats.spoofed, 1);
		return;
	}
	to = vdb__switch_is_group(target) ? NULL : vdb__switch_find(from->sw, target);
	if (!to)
		flood(from, packet, eth);
	else if (may_exchange(from, to))
		offer(from, to, packet, eth);
	else
		vdb__count(&from->stats.lost, 1);
}

int vdb__switch_transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	struct vdb__port *port = ctx;
	uint8_t eth[VDB__ETH_HEADER];

	(void)index;
	port->sw->now = vdb__poll_now(port->sw->loop);
	*waits_of(packet) = NULL;
	vdb__iov_get(packet->iov + 1, 0, eth, sizeof(eth));
	/* What counts is this copy, which nobody makes twice. */
	__asm__ __volatile__("" ::: "memory");
	vdb__count(&port->stats.sent, 1);
	forward(port, packet, eth);
	return *waits_of(packet) ? VDB_REQ_PENDING : VDB_REQ_DONE;
}
