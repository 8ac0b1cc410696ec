/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A netdev on a socket of datagrams, one for each packet: from and to where the guest has them.
 *
 * How long a datagram is nobody knows before it has been read. So behind each room in the guest there is
 * memory of ours for what does not fit; then the room is made larger, and that is copied. Rooms are of the
 * size of ordinary packets, or of the largest, by what has come last.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/export.h"
#include "io/cursor.h"
#include "net/copy.h"
#include "net/netsock.h"
#include "net/vnet.h"

#define BURST VDB__NETSOCK_BURST
#define FRAME_MIN 14u
#define ORDINARY (VDB_NET_HDR + 1518u)
#define PIECES \
	(BURST + 2 * VDB_NET_ROOM_IOV) /* of all messages of a burst, and a long one fits into half of it */

struct dgram {
	struct vdb__netsock sock;
	uint32_t guess; /* how many the next burst will bring */
	bool large;     /* the last one had packets that are */

	/* One burst, either way. */
	struct mmsghdr msg[BURST];
	struct vdb_net_room *room[BURST];
	uint8_t header[BURST][VDB_NET_HDR];
	struct iovec iov[PIECES];

	/* What did not fit. Most of it is never touched. */
	uint32_t held; /* bytes of a packet that waits for room, the first of all */
	uint8_t hold[VDB_NET_MAX];
	uint8_t spill[BURST][VDB_NET_MAX];
};

static struct dgram *dgram_of(struct vdb__netsock *sock)
{
	return (struct dgram *)sock;
}

static bool has_header(const struct dgram *d)
{
	return d->sock.config.flags & VDB_NET_SOCKET_HEADER;
}

/* There is no way back: of these sockets a new peer has another one. */
static bool is_end(const struct vdb__netsock *sock, int err)
{
	return sock->domain == AF_UNIX &&
	       (err == ECONNREFUSED || err == ECONNRESET || err == EPIPE || err == ENOTCONN);
}

/* ---- To the socket ---- */

static unsigned gather(struct dgram *d)
{
	const struct vdb__list *link = d->sock.waiting.next;
	uint32_t skip = has_header(d) ? 0 : 1; /* the first piece is the header */
	unsigned n = 0;

	for (; link != &d->sock.waiting && n < BURST; link = link->next) {
		const struct vdb_req *packet = vdb__netsock_packet((struct vdb__list *)(uintptr_t)link);

		d->msg[n++] = (struct mmsghdr){
		        .msg_hdr.msg_iov = (struct iovec *)(uintptr_t)packet->iov + skip,
		        .msg_hdr.msg_iovlen = packet->niov - skip,
		};
	}
	return n;
}

/* False: no more for now. */
static bool not_sent(struct vdb__netsock *sock, int err)
{
	if (err == EINTR)
		return true;
	if (err == EAGAIN) {
		vdb__netsock_stuck(sock);
		return false;
	}
	if (is_end(sock, err)) {
		vdb__netsock_lose(sock, err);
		return false;
	}
	vdb__netsock_sent(sock, vdb__netsock_first(sock), -err);
	return true;
}

static void dgram_send(struct vdb__netsock *sock)
{
	struct dgram *d = dgram_of(sock);
	bool going = true;
	unsigned n;
	int sent;

	while (going && (n = gather(d))) {
		sent = sendmmsg(sock->fd->fd, d->msg, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0)
			going = not_sent(sock, errno);
		for (; sent > 0; sent--)
			vdb__netsock_sent(sock, vdb__netsock_first(sock), 0);
	}
}

/* ---- From the socket ---- */

/* The header is looked at before the guest has it, so it goes by way of ours. */
static bool prepare(struct dgram *d, unsigned n, uint32_t *used)
{
	const struct vdb_net_room *room = d->room[n];
	struct iovec *iov = &d->iov[*used];
	struct vdb__cursor at = {0};
	uint32_t count = 0;

	if (*used + room->niov + 2 > PIECES)
		return false;
	if (has_header(d))
		iov[count++] = (struct iovec){d->header[n], VDB_NET_HDR};
	vdb__cursor_skip(&at, room->iov, VDB_NET_HDR);
	while (at.index < room->niov) {
		iov[count] = vdb__cursor_piece(&at, room->iov, SIZE_MAX);
		vdb__cursor_pass(&at, room->iov, iov[count++].iov_len);
	}
	iov[count++] = (struct iovec){d->spill[n], VDB_NET_MAX - VDB_NET_HDR};
	d->msg[n] = (struct mmsghdr){.msg_hdr.msg_iov = iov, .msg_hdr.msg_iovlen = count};
	*used += count;
	return true;
}

static unsigned take_rooms(struct dgram *d)
{
	uint32_t used = 0, len = d->large || !vdb__load(&d->sock.offloads) ? 0 : ORDINARY;
	unsigned n = 0;
	int rc = 0;

	while (!rc && n < BURST && n < d->guess) {
		rc = vdb_net_take(d->sock.pair, len, &d->room[n]);
		if (!rc && !prepare(d, n, &used)) {
			vdb_net_deliver(d->room[n], 0);
			break;
		}
		n += !rc;
	}
	return n;
}

/* It waits for more room than there is; the others behind it, if there are any, go first. */
static int64_t hold(struct dgram *d, unsigned n, uint32_t len)
{
	const struct vdb_net_room *room = d->room[n];

	if (d->held)
		return -ENOBUFS;
	memcpy(d->hold, d->header[n], VDB_NET_HDR);
	vdb__iov_get(room->iov, VDB_NET_HDR, d->hold + VDB_NET_HDR, room->len - VDB_NET_HDR);
	memcpy(d->hold + room->len, d->spill[n], len - room->len);
	d->held = len;
	return 0;
}

/* What of the packet is not in its room gets there. Returns what vdb_net_deliver() is to be told. */
static int64_t complete(struct dgram *d, unsigned n, uint32_t len)
{
	struct vdb_net_room *room = d->room[n];
	uint32_t had = room->len;
	int rc = len > had ? vdb_net_grow(room, len) : 0;

	if (rc == -EAGAIN)
		return hold(d, n, len);
	if (rc)
		return rc;
	if (len > had)
		vdb__iov_put(room->iov, had, d->spill[n], len - had);
	vdb__iov_put(room->iov, 0, d->header[n], VDB_NET_HDR);
	return len;
}

/* Its length with the header, or why it is none. */
static int64_t packet_of(struct dgram *d, unsigned n)
{
	uint32_t len = d->msg[n].msg_len + (has_header(d) ? 0 : VDB_NET_HDR);

	if (d->msg[n].msg_hdr.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	if (len < VDB_NET_HDR + FRAME_MIN)
		return -EINVAL;
	if (!has_header(d))
		memset(d->header[n], 0, VDB_NET_HDR);
	else if (!vdb__vnet_fits(d->header[n], len - VDB_NET_HDR, vdb__load(&d->sock.offloads)))
		return -EPROTO;
	d->large |= len > ORDINARY;
	return complete(d, n, len);
}

static bool is_last(const struct dgram *d, unsigned n)
{
	return d->sock.type == SOCK_SEQPACKET && !d->msg[n].msg_len;
}

/* Returns how many there were. */
static unsigned hand_out(struct dgram *d, unsigned rooms, int got)
{
	unsigned n, packets = got > 0 ? (unsigned)got : 0;
	bool end = false;

	d->large = false;
	for (n = 0; n < packets && !end; n++) {
		end = is_last(d, n);
		vdb_net_deliver(d->room[n], end ? 0 : packet_of(d, n));
	}
	for (; n < rooms; n++)
		vdb_net_deliver(d->room[n], 0);
	if (end)
		vdb__netsock_lose(&d->sock, 0);
	return packets;
}

/* There is more, or so it seems; or else that will be told. */
static void go_on(struct dgram *d, bool more)
{
	if (d->sock.broken || !d->sock.pair)
		return;
	vdb_net_wake(d->sock.pair, more ? d->guess : 0);
	if (!more)
		vdb__netsock_listen(&d->sock);
}

/* False: it still has to wait. */
static bool release(struct dgram *d)
{
	const struct iovec packet = {d->hold, d->held};

	if (d->held && vdb_net_put(d->sock.pair, &packet, 1, d->held) == -EAGAIN)
		return false;
	d->held = 0;
	return true;
}

static void dgram_receive(void *ctx, uint32_t index)
{
	struct dgram *d = ctx;
	unsigned rooms, packets;
	int got, err;

	(void)index;
	if (d->sock.broken)
		return;
	rooms = release(d) ? take_rooms(d) : 0;
	if (!rooms) {
		go_on(d, true);
		return;
	}
	got = recvmmsg(d->sock.fd->fd, d->msg, rooms, MSG_DONTWAIT, NULL);
	err = got < 0 ? errno : 0;
	packets = hand_out(d, rooms, got);
	if (is_end(&d->sock, err))
		vdb__netsock_lose(&d->sock, err);
	if (packets == rooms)
		d->guess = packets < BURST / 2 ? 2 * packets : BURST;
	else
		d->guess = packets ? packets : 1;
	go_on(d, packets == rooms || d->held);
}

static void dgram_readable(struct vdb__netsock *sock)
{
	go_on(dgram_of(sock), true);
}

/* ---- Life ---- */

static void dgram_destroy(void *ctx)
{
	struct dgram *d = ctx;

	vdb__netsock_fini(&d->sock);
	free(d);
}

static const struct vdb__netsock_ops dgram_ops = {
        .netdev =
                {
                        .size = sizeof(struct vdb_netdev_ops),
                        .name = "dgram",
                        .offload = vdb__netsock_offload,
                        .open = vdb__netsock_open,
                        .close = vdb__netsock_close,
                        .transmit = vdb__netsock_transmit,
                        .cancel = vdb__netsock_cancel,
                        .receive = dgram_receive,
                        .destroy = dgram_destroy,
                },
        .what = "netdev dgram",
        .types = {SOCK_DGRAM, SOCK_SEQPACKET},
        .send = dgram_send,
        .readable = dgram_readable,
        .opened = vdb__netsock_listen,
};

VDB_EXPORT int vdb_netdev_dgram(const struct vdb_net_socket_config *config, struct vdb_netdev **out)
{
	struct dgram *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return vdb__fail(ENOMEM, "netdev dgram: no memory");
	d->guess = 1;
	rc = vdb__netsock_init(&d->sock, &dgram_ops, config);
	if (!rc)
		rc = vdb__netsock_netdev(&d->sock, out);
	if (rc)
		dgram_destroy(d);
	return rc;
}
