/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/net/tx.c lib/net/copy.c */
/* BROKEN: no_header lib/net/tx.c s/^\ttake_header(r);// */
/* BROKEN: no_least lib/net/tx.c s/ || req->readable < VDB_NET_HDR + VDB__NET_FRAME_MIN// */
/* BROKEN: no_writable lib/net/tx.c s/req->readable != req->len ||// */
/* BROKEN: no_part lib/net/tx.c s/iov.i..iov_len -= part;// */
/*
 * Chains as packets, cut anywhere: what a netdev is given is a header of ours, and behind it a frame, all of
 * which can be read; and what a switch takes of that, its beginning.
 */
#include "net/copy.h"
#include "net/pair.h"
#include "stubs.h"

#define FRAME_MAX (VDB__NET_FRAME_MIN + 1)
#define READABLE_MAX (VDB_NET_HDR + FRAME_MAX)
#include "request.h"

static struct vdb_netdev netdev;
static struct vdb__net net = {.netdev = &netdev};
static struct vdb_net_pair pair = {.net = &net};

/* ---- What it calls ---- */

/* header.c has its own proof. */
bool vdb__net_header_check(struct virtio_net_hdr_v1 *header, uint32_t len, uint32_t offloads)
{
	CLAIM(header == (struct virtio_net_hdr_v1 *)(void *)request.pub.scratch);
	CLAIM(len >= VDB__NET_FRAME_MIN && len + VDB_NET_HDR == request.pub.readable);
	CLAIM(header->flags + header->num_buffers >= 0);
	CLAIM(offloads == net.offloads);
	return any & 1;
}

void vdb__request_misdeed(const struct vdb__request *r)
{
	CLAIM(r == &request);
	REACHED(bad);
}

void vdb_req_complete(struct vdb_req *req, int32_t result)
{
	CLAIM(req == &request.pub && result == 0);
}

void vdb__net_pair_look(struct vdb_net_pair *p)
{
	p->open = any & 1;
	p->closing = any & 1;
}

void vdb__net_pair_opened(struct vdb_net_pair *p, struct vdb_loop *loop)
{
	(void)p;
	(void)loop;
}

void vdb__net_pair_closed(struct vdb_net_pair *p)
{
	(void)p;
}

/* ---- The netdev ---- */

static int transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	static uint8_t frame[FRAME_MAX]; /* who reads beyond finds no memory */
	uint32_t len = (uint32_t)packet->readable - VDB_NET_HDR;
	uint64_t sum = 0;

	CLAIM(!ctx && index == pair.index);
	CLAIM(packet->iov[0].iov_len == VDB_NET_HDR &&
	      packet->iov[0].iov_base == (void *)request.pub.scratch);
	CLAIM(packet->niov >= 2 && packet->niov <= 3);
	for (uint32_t i = 1; i < packet->niov; i++)
		sum += packet->iov[i].iov_len;
	CLAIM(sum == len);
	vdb__iov_get(packet->iov + 1, 0, frame, VDB__NET_FRAME_MIN);
	vdb__iov_get(packet->iov + 1, VDB__NET_FRAME_MIN, frame + sizeof(frame) - (len - VDB__NET_FRAME_MIN),
	             len - VDB__NET_FRAME_MIN);
	REACHED(sent);
	return Frama_C_interval(-1, 2);
}

int main(void)
{
	uint64_t readable;

	netdev.ops.transmit = transmit;
	net.in_use = any;
	net.down = any;
	pair.queues = any;
	pair.open = any & 1;
	readable = any_readable(READABLE_MAX - 2, READABLE_MAX);
	CLAIM(vdb__net_tx_ops.start(&pair, any_request(readable, any_cut(readable), any & 1)) >= 0);
	return 0;
}
