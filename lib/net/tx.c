/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the guest: each chain is a packet. What cannot be sent is dropped and counted, as a wire would; the
 * driver gets its buffers back all the same (virtio 1.2, 5.1.6.2).
 */
#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/export.h"
#include "net/pair.h"

_Static_assert(sizeof(struct virtio_net_hdr_v1) == VDB_NET_HDR, "the header of a packet");
_Static_assert(VDB_NET_HDR <= VDB_NET_SCRATCH * sizeof(uint64_t), "the header is in scratch");

static struct virtio_net_hdr_v1 *header_of(struct vdb_req *req)
{
	return (struct virtio_net_hdr_v1 *)(void *)req->scratch;
}

/* Takes the header out of the guest's memory, byte by byte once, and puts ours in its place: in the last
 * iovec that had nothing else, or in the one ahead of all. There are at least so many bytes. */
static void take_header(struct vdb__request *r)
{
	struct iovec *iov = vdb__request_iov(r);
	uint8_t *to = (uint8_t *)r->pub.scratch;
	size_t left = VDB_NET_HDR, part;
	uint32_t i = 0;

	for (; left; i += part == iov[i].iov_len) {
		part = iov[i].iov_len < left ? iov[i].iov_len : left;
		memcpy(to, iov[i].iov_base, part);
		to += part;
		left -= part;
		if (part == iov[i].iov_len)
			continue;
		iov[i].iov_base = (char *)iov[i].iov_base + part;
		iov[i].iov_len -= part;
		break;
	}
	/* The guest may change it meanwhile; what counts is the copy, which nobody makes twice. */
	__asm__ __volatile__("" ::: "memory");
	iov += i;
	iov[-1] = (struct iovec){r->pub.scratch, VDB_NET_HDR};
	r->pub.iov = iov - 1;
	r->pub.niov = r->nmapped - i + 1;
}

/* What a chain may be that is a packet, and then what its header may say. */
static bool can_be_sent(struct vdb_net_pair *pair, struct vdb__request *r)
{
	struct vdb_req *req = &r->pub;

	if (req->readable != req->len || req->readable < VDB_NET_HDR + VDB__NET_FRAME_MIN ||
	    req->readable > VDB_NET_MAX)
		return false;
	take_header(r);
	return vdb__net_header_check(header_of(req), (uint32_t)req->readable - VDB_NET_HDR,
	                             pair->net->offloads);
}

static void count(struct vdb_net_pair *pair, const struct vdb_req *packet, int32_t result)
{
	if (result < 0) {
		vdb__count(&pair->stats.tx_dropped, 1);
		return;
	}
	vdb__count(&pair->stats.tx_packets, 1);
	vdb__count(&pair->stats.tx_bytes, packet->readable - VDB_NET_HDR);
}

static int transmit(struct vdb_net_pair *pair, struct vdb_req *req)
{
	const struct vdb_netdev *netdev = pair->net->netdev;
	int rc;

	pair->busy++;
	rc = netdev->ops.transmit(netdev->ctx, pair->index, req);
	if (rc == VDB_REQ_PENDING) /* may be sent already */
		return rc;
	count(pair, req, rc == VDB_REQ_DONE || rc < 0 ? rc : -EIO);
	vdb__net_pair_rest(pair);
	return VDB_REQ_DONE;
}

static int tx_start(void *ctx, struct vdb_req *req)
{
	struct vdb__request *r = (struct vdb__request *)req;
	struct vdb_net_pair *pair = ctx;

	pair->tx_lane = r->lane;
	if (!can_be_sent(pair, r)) {
		vdb__count(&pair->stats.tx_bad, 1);
		vdb__request_misdeed(r);
	} else if (!vdb__net_pair_works(pair) || vdb__net_is_down(pair->net)) {
		vdb__count(&pair->stats.tx_dropped, 1);
	} else {
		return transmit(pair, req);
	}
	/* Nothing was written, whatever there was to be. */
	vdb_req_complete(req, 0);
	return VDB_REQ_PENDING;
}

VDB_EXPORT void vdb_net_sent(struct vdb_net_pair *pair, struct vdb_req *packet, int32_t result)
{
	count(pair, packet, result);
	vdb_req_complete(packet, 0);
	vdb__net_pair_rest(pair);
}

static void tx_cancel(void *ctx, struct vdb_req *req)
{
	struct vdb_net_pair *pair = ctx;
	const struct vdb_netdev *netdev = pair->net->netdev;

	if (netdev->ops.cancel)
		netdev->ops.cancel(netdev->ctx, pair->index, req);
}

static void tx_opened(void *ctx, struct vdb_loop *loop)
{
	vdb__net_pair_opened(ctx, loop);
}

static void tx_closed(void *ctx)
{
	struct vdb_net_pair *pair = ctx;

	pair->tx_lane = NULL;
	vdb__net_pair_closed(pair);
}

const struct vdb_backend_ops vdb__net_tx_ops = {
        .size = sizeof(vdb__net_tx_ops),
        .name = "net transmit",
        .start = tx_start,
        .cancel = tx_cancel,
        .opened = tx_opened,
        .closed = tx_closed,
};
