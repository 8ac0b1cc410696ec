/* SPDX-License-Identifier: Apache-2.0 */
#include "outside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/backend.h>
#include <vdb/error.h>

#include "nic_rig.h"

/* ---- A queue ---- */

static struct outside_packet *push(struct outside_queue *q, uint32_t len)
{
	struct outside_packet *packet = &q->at[q->tail++ % OUTSIDE_PACKETS];

	ck_assert_uint_le(q->tail - q->head, OUTSIDE_PACKETS);
	packet->len = len;
	packet->bytes = calloc(1, len);
	ck_assert_ptr_nonnull(packet->bytes);
	return packet;
}

static struct outside_packet *front(struct outside_queue *q)
{
	return q->head == q->tail ? NULL : &q->at[q->head % OUTSIDE_PACKETS];
}

static void pop(struct outside_queue *q)
{
	free(front(q)->bytes);
	q->head++;
}

/* ---- The netdev ---- */

static int offload(void *ctx, uint32_t offloads)
{
	struct outside *o = ctx;

	o->offloads = offloads;
	return o->offload_fails;
}

static void wake(struct outside *o)
{
	vdb_net_wake(o->pair, o->flood ? VDB_NET_ROOMS : o->out.tail - o->out.head);
}

static int open_pair(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	struct outside *o = ctx;

	(void)index, (void)loop;
	if (o->open_fails)
		return o->open_fails;
	o->opens++;
	o->pair = pair;
	wake(o);
	return 0;
}

static void close_pair(void *ctx, uint32_t index)
{
	struct outside *o = ctx;

	(void)index;
	ck_assert_uint_eq(o->nheld, 0);
	o->pair = NULL;
}

static void keep(struct outside *o, const struct vdb_req *packet)
{
	uint8_t *to;

	o->taken++;
	if (o->discards)
		return;
	to = push(&o->got, (uint32_t)packet->readable)->bytes;
	for (uint32_t i = 0; i < packet->niov; i++) {
		memcpy(to, packet->iov[i].iov_base, packet->iov[i].iov_len);
		to += packet->iov[i].iov_len;
	}
}

static int transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	struct outside *o = ctx;

	(void)index;
	if (!o->holds) {
		keep(o, packet);
		return VDB_REQ_DONE;
	}
	ck_assert_uint_lt(o->nheld, OUTSIDE_PACKETS);
	o->held[o->nheld++] = packet;
	return VDB_REQ_PENDING;
}

static void cancel(void *ctx, uint32_t index, struct vdb_req *packet)
{
	struct outside *o = ctx;
	uint32_t i = 0;

	(void)index;
	while (o->held[i] != packet)
		ck_assert_uint_lt(++i, o->nheld);
	o->held[i] = o->held[--o->nheld];
	vdb_net_sent(o->pair, packet, -ECANCELED);
}

static void receive(void *ctx, uint32_t index)
{
	struct outside *o = ctx;
	struct outside_packet *packet;

	(void)index;
	o->receives++;
	while (o->pair && (packet = front(&o->out))) {
		const struct iovec iov = {packet->bytes, packet->len};

		if (vdb_net_put(o->pair, &iov, 1, packet->len) == -EAGAIN)
			break;
		o->given++;
		if (!o->flood)
			pop(&o->out);
	}
	if (o->pair)
		wake(o);
}

static void destroy(void *ctx)
{
	struct outside *o = ctx;

	o->destroyed++;
}

void outside_open(struct outside *o, uint32_t offloads)
{
	static const struct vdb_netdev_ops ops = {.size = sizeof(ops),
	                                          .name = "outside",
	                                          .offload = offload,
	                                          .open = open_pair,
	                                          .close = close_pair,
	                                          .transmit = transmit,
	                                          .cancel = cancel,
	                                          .receive = receive,
	                                          .destroy = destroy};
	const struct vdb_netdev_info info = {.size = sizeof(info), .offloads = offloads};

	memset(o, 0, sizeof(*o));
	ck_assert_msg(!vdb_netdev_create(&ops, o, &info, &o->netdev), "%s", vdb_errmsg());
}

void outside_close(struct outside *o)
{
	vdb_netdev_destroy(o->netdev);
	ck_assert_uint_eq(o->destroyed, 1);
	while (front(&o->got))
		pop(&o->got);
	while (front(&o->out))
		pop(&o->out);
}

/* ---- The test ---- */

void outside_send(struct outside *o, const uint8_t *header, const void *frame, uint32_t len)
{
	uint8_t *packet = push(&o->out, VDB_NET_HDR + len)->bytes;

	if (header)
		memcpy(packet, header, VDB_NET_HDR);
	memcpy(packet + VDB_NET_HDR, frame, len);
	if (o->pair)
		wake(o);
}

uint32_t outside_take(struct outside *o, uint8_t *packet)
{
	const struct outside_packet *first = front(&o->got);
	uint32_t len;

	if (!first)
		return 0;
	len = first->len;
	memcpy(packet, first->bytes, len);
	pop(&o->got);
	return len;
}

void outside_expect(struct outside *o, struct vdb_loop *loop, const uint8_t *header, const void *frame,
                    uint32_t len)
{
	static const uint8_t zeroes[VDB_NET_HDR];
	uint8_t packet[VDB_NET_MAX];
	uint32_t got = 0;

	nic_until(loop, (got = outside_take(o, packet)));
	ck_assert_uint_eq(got, VDB_NET_HDR + len);
	ck_assert_mem_eq(packet, header ? header : zeroes, VDB_NET_HDR - 2);
	ck_assert_mem_eq(packet + VDB_NET_HDR, frame, len);
}

void outside_release(struct outside *o)
{
	while (o->nheld) {
		struct vdb_req *packet = o->held[0];

		memmove(o->held, o->held + 1, --o->nheld * sizeof(packet));
		keep(o, packet);
		vdb_net_sent(o->pair, packet, 0);
	}
}
