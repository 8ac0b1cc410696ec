/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To the guest. Its buffers stay in the queue until the netdev says that there are packets; then some are
 * fetched, and wait in a FIFO for the moment between two steps in which the netdev is called. A room is made
 * of those at its head, as many as a packet needs if the driver has agreed to that (MRG_RXBUF), else of one;
 * what a packet left over goes back there.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/export.h"
#include "io/lane.h"
#include "net/copy.h"
#include "net/pair.h"
#include "net/vnet.h"

#define NUM_BUFFERS offsetof(struct virtio_net_hdr_v1, num_buffers)
#define SHORTEST (VDB_NET_HDR + VDB__NET_FRAME_MIN) /* packet that there is */

_Static_assert(sizeof(struct vdb__net_buf) <= sizeof(((struct vdb_req *)0)->scratch), "scratch");

/* ---- Buffers ---- */

static struct vdb__net_buf *buf_of(struct vdb_req *req)
{
	return (struct vdb__net_buf *)(void *)req->scratch;
}

static struct vdb__net_buf *first(struct vdb__list *list)
{
	return vdb__container(list->next, struct vdb__net_buf, link);
}

static struct vdb_req *req_of(struct vdb__net_buf *buf)
{
	return vdb__container(buf, struct vdb_req, scratch);
}

static void put_in(struct vdb__net_rx *rx, struct vdb__list *before, struct vdb__net_buf *buf)
{
	buf->room = NULL;
	vdb__list_append(before, &buf->link);
	rx->count++;
	rx->bytes += req_of(buf)->len;
}

static void take_out(struct vdb__net_rx *rx, struct vdb__net_buf *buf)
{
	vdb__list_remove(&buf->link);
	rx->count--;
	rx->bytes -= req_of(buf)->len;
}

/* ---- When the netdev is called ---- */

/* Besides what is in `out` rooms, all that the queue can have is in the FIFO. */
static bool is_all(const struct vdb__net_rx *rx, uint32_t out)
{
	return rx->lane && rx->lane->inflight == rx->lane->max_inflight && rx->out == out;
}

/* All that was asked for, or something at least. */
static bool has_enough(const struct vdb__net_rx *rx, bool all)
{
	if (!rx->free || !rx->count)
		return false;
	if (is_all(rx, 0))
		return true;
	return rx->bytes >= rx->need && (!all || (rx->count >= rx->expected && rx->bytes >= rx->ahead));
}

static uint32_t rx_wants(void *ctx)
{
	const struct vdb_net_pair *pair = ctx;
	const struct vdb__net_rx *rx = &pair->rx;

	return rx->call != VDB__NET_QUIET && !has_enough(rx, true) && rx->free;
}

/* Called when the CQEs of a turn have been reaped, and again after serving: what is fresh waits for the
 * second time, so that the queue has been looked at. */
static void call_netdev(struct vdb__batch *batch)
{
	struct vdb_net_pair *pair = vdb__container(batch, struct vdb_net_pair, rx.batch);
	const struct vdb_netdev *netdev = pair->net->netdev;
	struct vdb__net_rx *rx = &pair->rx;

	if (rx->call == VDB__NET_QUIET || !vdb__net_pair_works(pair))
		return;
	if (has_enough(rx, rx->call == VDB__NET_FRESH)) {
		rx->call = VDB__NET_QUIET;
		rx->need = 0;
		rx->growing = NULL;
		netdev->ops.receive(netdev->ctx, pair->index);
	} else if (rx->call == VDB__NET_FRESH) {
		rx->call = VDB__NET_LOOKED;
		vdb__loop_batch(pair->loop, batch);
		/* There was enough when it asked, but it has taken of that since. */
		vdb_backend_wake(pair->backends[VDB__NET_RX]);
	} else if (rx->call == VDB__NET_LOOKED && rx->free) {
		rx->call = VDB__NET_STALLED;
		vdb__count(&pair->stats.rx_stalls, 1);
	}
}

void vdb__net_rx_quiet(struct vdb_net_pair *pair)
{
	struct vdb__net_rx *rx = &pair->rx;

	rx->call = VDB__NET_QUIET;
	rx->need = rx->ahead = 0;
	rx->growing = NULL;
}

VDB_EXPORT void vdb_net_wake(struct vdb_net_pair *pair, uint32_t packets)
{
	struct vdb__net_rx *rx = &pair->rx;

	rx->expected = packets < VDB_NET_ROOMS ? packets : VDB_NET_ROOMS;
	rx->call = packets && pair->open ? VDB__NET_FRESH : VDB__NET_QUIET;
	if (rx->call == VDB__NET_QUIET)
		return;
	vdb__loop_batch(pair->loop, &rx->batch);
	if (!has_enough(rx, true))
		vdb_backend_wake(pair->backends[VDB__NET_RX]);
}

/* ---- The backend ---- */

/* What a driver may give: to be written, not in more pieces than a room has. */
static bool can_be_used(const struct vdb_req *req)
{
	return !req->readable && req->len && req->len <= UINT32_MAX && req->niov <= VDB_NET_ROOM_IOV;
}

static int rx_start(void *ctx, struct vdb_req *req)
{
	struct vdb_net_pair *pair = ctx;
	struct vdb__net_rx *rx = &pair->rx;

	rx->lane = ((struct vdb__request *)req)->lane;
	if (!can_be_used(req)) {
		vdb__count(&pair->stats.rx_bad, 1);
		vdb_req_complete(req, 0);
		return VDB_REQ_PENDING;
	}
	put_in(rx, &rx->fifo, buf_of(req));
	vdb__loop_batch(pair->loop, &rx->batch);
	return VDB_REQ_PENDING;
}

/* Those that the netdev has come back by themselves. */
static void rx_cancel(void *ctx, struct vdb_req *req)
{
	struct vdb_net_pair *pair = ctx;

	if (buf_of(req)->room)
		return;
	take_out(&pair->rx, buf_of(req));
	vdb_req_complete(req, -ECANCELED);
}

static void rx_opened(void *ctx, struct vdb_loop *loop)
{
	vdb__net_pair_opened(ctx, loop);
}

static void rx_closed(void *ctx)
{
	struct vdb_net_pair *pair = ctx;

	pair->rx.lane = NULL;
	vdb__net_pair_closed(pair);
}

const struct vdb_backend_ops vdb__net_rx_ops = {
        .size = sizeof(vdb__net_rx_ops),
        .name = "net receive",
        .start = rx_start,
        .cancel = rx_cancel,
        .wants = rx_wants,
        .opened = rx_opened,
        .closed = rx_closed,
};

/* ---- Rooms ---- */

/* In the order in which they were, ahead of what is there. Who waits for their end gets them. */
static void give_back(struct vdb__net_rx *rx, struct vdb__net_room *room)
{
	struct vdb__net_buf *buf;

	while (!vdb__list_empty(&room->bufs)) {
		buf = vdb__container(room->bufs.prev, struct vdb__net_buf, link);
		vdb__list_remove(&buf->link);
		if (((struct vdb__request *)req_of(buf))->cancelled)
			vdb_req_complete(req_of(buf), -ECANCELED);
		else
			put_in(rx, rx->fifo.next, buf);
	}
}

/* One buffer more. Its iovecs are where they are as long as it is the only one. */
static void add(struct vdb__net_rx *rx, struct vdb__net_room *room, struct vdb__net_buf *buf)
{
	const struct vdb_req *req = req_of(buf);

	take_out(rx, buf);
	buf->room = room;
	if (vdb__list_empty(&room->bufs)) {
		room->pub.iov = req->iov;
	} else {
		if (room->pub.iov != room->own)
			memcpy(room->own, room->pub.iov, room->pub.niov * sizeof(room->own[0]));
		room->pub.iov = room->own;
		memcpy(room->own + room->pub.niov, req->iov, req->niov * sizeof(room->own[0]));
	}
	vdb__list_append(&room->bufs, &buf->link);
	room->pub.niov += req->niov;
	room->pub.len += (uint32_t)req->len;
}

/* Until it has `len` bytes. -EMSGSIZE: there are too many pieces. */
static int gather(struct vdb__net_rx *rx, struct vdb__net_room *room, uint64_t len)
{
	struct vdb__net_buf *buf;

	while (room->pub.len < len) {
		if (vdb__list_empty(&rx->fifo))
			return -EAGAIN;
		buf = first(&rx->fifo);
		if (room->pub.niov + req_of(buf)->niov > VDB_NET_ROOM_IOV ||
		    room->pub.len + req_of(buf)->len > UINT32_MAX)
			return -EMSGSIZE;
		add(rx, room, buf);
	}
	return 0;
}

static int wait_for(struct vdb__net_rx *rx, uint32_t len, const struct vdb__net_room *growing)
{
	rx->need = len;
	rx->growing = growing;
	return -EAGAIN;
}

static int too_long(struct vdb_net_pair *pair)
{
	vdb__count(&pair->stats.rx_oversized, 1);
	return -EMSGSIZE;
}

/* The first `n` go back unused. */
static void reject(struct vdb_net_pair *pair, uint32_t n)
{
	struct vdb__net_buf *buf;

	for (; n; n--) {
		buf = first(&pair->rx.fifo);
		take_out(&pair->rx, buf);
		vdb__count(&pair->stats.rx_bad, 1);
		vdb_req_complete(req_of(buf), 0);
	}
}

/* The first `n` buffers have no room for a packet without offloads: no driver may give such, and with them at
 * the head the netdev would be called for ever. */
static int hopeless(struct vdb_net_pair *pair, uint32_t len, uint32_t n)
{
	if (len <= pair->net->usual)
		reject(pair, n);
	return too_long(pair);
}

/* Netdevs rely on a room for any to have one for the headers: what cannot be that is not made one. */
static void reject_shortest(struct vdb_net_pair *pair)
{
	struct vdb__net_rx *rx = &pair->rx;

	if (pair->net->mergeable && is_all(rx, 0) && rx->bytes < SHORTEST)
		reject(pair, rx->count);
	while (!pair->net->mergeable && rx->count && req_of(first(&rx->fifo))->len < SHORTEST)
		reject(pair, 1);
}

/* Into an empty room; `len` is not 0. */
static int take_sized(struct vdb_net_pair *pair, struct vdb__net_room *room, uint32_t len)
{
	struct vdb__net_rx *rx = &pair->rx;
	int rc;

	if (!pair->net->mergeable) {
		if (!rx->count)
			return wait_for(rx, len, NULL);
		if (req_of(first(&rx->fifo))->len < len)
			return hopeless(pair, len, 1);
	} else if (rx->bytes < len) {
		return is_all(rx, 0) ? hopeless(pair, len, rx->count) : wait_for(rx, len, NULL);
	}
	rc = gather(rx, room, len);
	return rc == -EMSGSIZE ? too_long(pair) : rc;
}

/* The longest, or what there is if that is worth it. */
static int take_any(struct vdb_net_pair *pair, struct vdb__net_room *room)
{
	const struct vdb__net *net = pair->net;
	struct vdb__net_rx *rx = &pair->rx;

	rx->ahead = net->mergeable ? net->longest : 0;
	reject_shortest(pair);
	if (!rx->count || (net->mergeable && rx->bytes < net->usual && !is_all(rx, 0)))
		return wait_for(rx, net->mergeable ? net->usual : 1, NULL);
	if (net->mergeable)
		(void)gather(rx, room, net->longest);
	else
		add(rx, room, first(&rx->fifo));
	return 0;
}

static struct vdb__net_room *empty_room(const struct vdb_net_pair *pair, struct vdb__net_room *room)
{
	room->pub.loop = pair->loop;
	room->pub.niov = room->pub.len = 0;
	vdb__list_init(&room->bufs);
	return room;
}

VDB_EXPORT int vdb_net_take(struct vdb_net_pair *pair, uint32_t len, struct vdb_net_room **out)
{
	struct vdb__net_rx *rx = &pair->rx;
	struct vdb__net_room *room;
	int rc;

	if (!rx->free || !vdb__net_pair_works(pair))
		return -EAGAIN;
	room = empty_room(pair, rx->free);
	rc = len ? take_sized(pair, room, len) : take_any(pair, room);
	if (rc) {
		give_back(rx, room);
		return rc;
	}
	rx->free = room->next;
	rx->out++;
	pair->busy++;
	*out = &room->pub;
	return 0;
}

VDB_EXPORT int vdb_net_grow(struct vdb_net_room *pub, uint32_t len)
{
	struct vdb__net_room *room = (struct vdb__net_room *)pub;
	struct vdb_net_pair *pair = pub->pair;
	struct vdb__net_rx *rx = &pair->rx;

	if (pub->len >= len)
		return 0;
	if (!pair->net->mergeable)
		return -EMSGSIZE;
	if (pub->len + rx->bytes < len) {
		if (is_all(rx, 1))
			return -EMSGSIZE;
		return wait_for(rx, len - pub->len, room);
	}
	return gather(rx, room, len);
}

/* ---- Packets ---- */

static bool is_wanted(const struct vdb_net_pair *pair, const struct vdb_net_room *room, uint32_t len)
{
	const struct vdb__net_filter *filter = &pair->net->filter;
	uint8_t frame[16] = {0};
	uint32_t n = len - VDB_NET_HDR < sizeof(frame) ? len - VDB_NET_HDR : (uint32_t)sizeof(frame);

	if (vdb__load(&filter->modes) & VDB__NET_PROMISC)
		return true;
	vdb__iov_get(room->iov, VDB_NET_HDR, frame, n);
	return vdb__net_filter_takes(filter, frame);
}

/* Somebody waits for it. */
static bool is_served(const struct vdb_net_pair *pair)
{
	return !pair->closing && pair->index < vdb__load(&pair->net->in_use) && !vdb__net_is_down(pair->net);
}

struct head {
	uint8_t flags, type;
};

static struct head head_of(const struct vdb_net_room *room)
{
	struct head head;

	if (room->iov->iov_len >= sizeof(head))
		memcpy(&head, room->iov->iov_base, sizeof(head));
	else
		vdb__iov_get(room->iov, 0, &head, sizeof(head));
	return head;
}

/* The netdev has been told, but what comes now the outside may have had before (5.1.6.4.1). That a checksum
 * is good a guest that takes none may not be told. 0, or why it is not to have the packet. */
static int check_head(const struct vdb__net *net, const struct vdb_net_room *room, uint32_t len)
{
	uint32_t sends = vdb__load(&net->sends);
	struct head head = head_of(room);

	if (head.type == VDB__VNET_GSO_NONE && net->most && len > net->most)
		return -EMSGSIZE;
	if (!head.flags && !head.type)
		return 0;
	if (!vdb__vnet_type_fits(head.type, sends))
		return -EPROTO;
	if (sends & VDB_NET_CSUM || !head.flags)
		return 0;
	if (head.flags & VDB__VNET_NEEDS_CSUM)
		return -EPROTO;
	head.flags = 0;
	vdb__iov_put(room->iov, 0, &head, sizeof(head));
	return 0;
}

/* Of the header, which may lie in pieces. */
static void tell_buffers(const struct vdb_net_room *room, uint16_t n)
{
	const uint16_t le = htole16(n);

	if (room->iov->iov_len >= VDB_NET_HDR)
		memcpy((char *)room->iov->iov_base + NUM_BUFFERS, &le, sizeof(le));
	else
		vdb__iov_put(room->iov, NUM_BUFFERS, &le, sizeof(le));
}

static uint16_t buffers_for(struct vdb__net_room *room, uint64_t len)
{
	struct vdb__list *link = room->bufs.next;
	uint64_t sum = req_of(first(&room->bufs))->len;
	uint16_t n = 1;

	for (; sum < len; n++) {
		link = link->next;
		sum += req_of(vdb__container(link, struct vdb__net_buf, link))->len;
	}
	return n;
}

static void hand_over(struct vdb_net_pair *pair, struct vdb__net_room *room, uint32_t len)
{
	struct vdb_req *req;
	uint32_t part;

	tell_buffers(&room->pub, buffers_for(room, len));
	vdb__source_charge(&pair->rx.lane->source, len);
	vdb__count(&pair->stats.rx_packets, 1);
	vdb__count(&pair->stats.rx_bytes, len - VDB_NET_HDR);
	for (; len; len -= part) {
		req = req_of(first(&room->bufs));
		part = req->len < len ? (uint32_t)req->len : len;
		vdb__list_remove(&buf_of(req)->link);
		vdb_req_complete(req, (int32_t)part);
	}
}

/* The same of a packet of this length, or its length. */
static int64_t judge(const struct vdb_net_pair *pair, const struct vdb_net_room *room, int64_t len)
{
	int rc;

	if (len < SHORTEST || len > room->len || !is_served(pair))
		return -EINVAL;
	rc = check_head(pair->net, room, (uint32_t)len);
	return rc ? rc : len;
}

static void deliver(struct vdb_net_pair *pair, struct vdb__net_room *room, int64_t len)
{
	if (!len)
		return;
	if (len > 0)
		len = judge(pair, &room->pub, len);
	if (len == -EMSGSIZE)
		(void)too_long(pair);
	else if (len < 0)
		vdb__count(&pair->stats.rx_dropped, 1);
	else if (!is_wanted(pair, &room->pub, (uint32_t)len))
		vdb__count(&pair->stats.rx_filtered, 1);
	else
		hand_over(pair, room, (uint32_t)len);
}

VDB_EXPORT void vdb_net_deliver(struct vdb_net_room *pub, int64_t len)
{
	struct vdb__net_room *room = (struct vdb__net_room *)pub;
	struct vdb_net_pair *pair = pub->pair;
	struct vdb__net_rx *rx = &pair->rx;
	uint64_t before;

	deliver(pair, room, len);
	before = rx->bytes;
	give_back(rx, room);
	/* It was to grow, and is to be made anew. */
	if (rx->growing == room)
		rx->need += (uint32_t)(rx->bytes - before);
	room->next = rx->free;
	rx->free = room;
	if (rx->call != VDB__NET_QUIET)
		vdb__loop_batch(pair->loop, &rx->batch);
	/* The only one: nothing was fetched meanwhile. */
	if (rx->out-- == VDB_NET_ROOMS && !has_enough(rx, true))
		vdb_backend_wake(pair->backends[VDB__NET_RX]);
	vdb__net_pair_rest(pair);
}

static void copy(const struct vdb_net_room *room, const struct iovec *from, uint32_t nfrom, uint32_t len)
{
	struct vdb__cursor a = {0, 0}, b = {0, 0};
	struct iovec src, dst;

	for (; len; len -= (uint32_t)dst.iov_len) {
		assert(a.index < nfrom && "a packet shorter than its length");
		(void)nfrom;
		src = vdb__cursor_piece(&a, from, len);
		dst = vdb__cursor_piece(&b, room->iov, src.iov_len);
		memcpy(dst.iov_base, src.iov_base, dst.iov_len);
		vdb__cursor_pass(&a, from, dst.iov_len);
		vdb__cursor_pass(&b, room->iov, dst.iov_len);
	}
}

VDB_EXPORT int vdb_net_put(struct vdb_net_pair *pair, const struct iovec *iov, uint32_t niov, uint32_t len)
{
	struct vdb_net_room *room;
	int rc = vdb_net_take(pair, len, &room);

	if (rc)
		return rc;
	copy(room, iov, niov, len);
	vdb_net_deliver(room, len);
	return 0;
}

VDB_EXPORT void vdb_net_dropped(struct vdb_net_pair *pair, uint32_t packets)
{
	vdb__count(&pair->stats.rx_dropped, packets);
}

/* ---- Life ---- */

/* The iovecs are touched by packets of more than one buffer, and then by the last one used first. */
int vdb__net_rx_init(struct vdb_net_pair *pair)
{
	struct vdb__net_rx *rx = &pair->rx;

	vdb__list_init(&rx->fifo);
	vdb__list_init(&rx->batch.link);
	rx->batch.fn = call_netdev;
	rx->rooms = calloc(VDB_NET_ROOMS, sizeof(*rx->rooms));
	rx->iov = malloc(sizeof(*rx->iov) * VDB_NET_ROOMS * VDB_NET_ROOM_IOV);
	if (!rx->rooms || !rx->iov)
		return vdb__fail(ENOMEM, "net: no memory for %u packets", VDB_NET_ROOMS);
	for (uint32_t i = VDB_NET_ROOMS; i-- > 0;) {
		rx->rooms[i].pub.pair = pair;
		rx->rooms[i].own = rx->iov + (size_t)i * VDB_NET_ROOM_IOV;
		rx->rooms[i].next = rx->free;
		rx->free = &rx->rooms[i];
	}
	return 0;
}

void vdb__net_rx_fini(struct vdb_net_pair *pair)
{
	free(pair->rx.rooms);
	free(pair->rx.iov);
}
