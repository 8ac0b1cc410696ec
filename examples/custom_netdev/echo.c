/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a netdev must do, without a socket or a tap: transmit() is a packet from the guest, vdb_net_put()
 * one to it. Everything happens on the loop's thread. Build: link -lvdb; give the netdev to vdb_net_create().
 */
#include "echo.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/net.h>

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};

struct echo {
	struct vdb_net_pair *pair;
	uint8_t ip[4];
	uint32_t len;                       /* of the answer that waits for room; 0 = none */
	uint8_t packet[VDB_NET_HDR + 1514]; /* a header of zeroes, and the frame */
};

/* The frame from here on. */
static uint8_t *at(struct echo *echo, uint32_t offset)
{
	return echo->packet + VDB_NET_HDR + offset;
}

static void swap(uint8_t *a, uint8_t *b, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		uint8_t byte = a[i];

		a[i] = b[i];
		b[i] = byte;
	}
}

/* Who has our address? We do. */
static bool answer_arp(struct echo *echo, uint32_t len)
{
	static const uint8_t request[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};

	if (len < 42 || memcmp(at(echo, 12), request, sizeof(request)) != 0 ||
	    memcmp(at(echo, 38), echo->ip, 4) != 0)
		return false;
	*at(echo, 21) = 2; /* a reply */
	swap(at(echo, 22), at(echo, 32), 10);
	memcpy(at(echo, 22), our_mac, 6);
	return true;
}

/* Addresses change places, which no checksum sees; type 8 becomes 0, which ICMP's does. */
static bool answer_ping(struct echo *echo, uint32_t len)
{
	static const uint8_t ip4[] = {8, 0, 0x45};
	uint32_t sum;

	if (len < 42 || memcmp(at(echo, 12), ip4, sizeof(ip4)) != 0 || *at(echo, 23) != 1 ||
	    *at(echo, 34) != 8 || memcmp(at(echo, 30), echo->ip, 4) != 0)
		return false;
	swap(at(echo, 26), at(echo, 30), 4);
	*at(echo, 34) = 0;
	sum = (uint32_t)*at(echo, 36) << 8 | *at(echo, 37);
	sum += 0x0800;
	sum += sum >> 16;
	*at(echo, 36) = (uint8_t)(sum >> 8);
	*at(echo, 37) = (uint8_t)sum;
	return true;
}

/* The guest has room for it, or will have. */
static void receive(void *ctx, uint32_t index)
{
	struct echo *echo = ctx;
	const struct iovec packet = {echo->packet, echo->len};

	(void)index; /* there is one pair */
	if (!echo->len)
		return;
	if (vdb_net_put(echo->pair, &packet, 1, echo->len) != -EAGAIN)
		echo->len = 0;
	else if (echo->pair) /* which may have been closed just then */
		vdb_net_wake(echo->pair, 1);
}

static int transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	uint32_t len = (uint32_t)packet->readable - VDB_NET_HDR, done = 0;
	struct echo *echo = ctx;

	(void)index;
	if (echo->len || len > sizeof(echo->packet) - VDB_NET_HDR)
		return -EBUSY;                        /* one at a time: dropped, and counted */
	for (uint32_t i = 1; i < packet->niov; i++) { /* the first is the header */
		memcpy(at(echo, done), packet->iov[i].iov_base, packet->iov[i].iov_len);
		done += (uint32_t)packet->iov[i].iov_len;
	}
	if (!answer_arp(echo, len) && !answer_ping(echo, len))
		return VDB_REQ_DONE;
	memcpy(at(echo, 0), at(echo, 6), 6);
	memcpy(at(echo, 6), our_mac, 6);
	echo->len = VDB_NET_HDR + len;
	vdb_net_wake(echo->pair, 1);
	return VDB_REQ_DONE;
}

static int opened(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	struct echo *echo = ctx;

	(void)index;
	(void)loop;
	echo->pair = pair;
	return 0;
}

static void closed(void *ctx, uint32_t index)
{
	struct echo *echo = ctx;

	(void)index;
	echo->pair = NULL;
	echo->len = 0;
}

int echo_create(const uint8_t ip[4], struct vdb_netdev **out)
{
	static const struct vdb_netdev_ops ops = {
	        .size = sizeof(ops),
	        .name = "echo",
	        .open = opened,
	        .close = closed,
	        .transmit = transmit,
	        .receive = receive,
	        .destroy = free,
	};
	static const struct vdb_netdev_info info = {.size = sizeof(info), .mtu = 1500};
	struct echo *echo = calloc(1, sizeof(*echo));
	int err;

	if (!echo)
		return -ENOMEM;
	memcpy(echo->ip, ip, sizeof(echo->ip));
	err = vdb_netdev_create(&ops, echo, &info, out);
	if (err)
		free(echo);
	return err;
}
