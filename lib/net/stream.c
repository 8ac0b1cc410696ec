/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A netdev on a stream of frames, each preceded by its length: what QEMU's `-netdev stream` and passt speak.
 *
 * Sending gathers frames where the guest has them. What has been begun must be finished, or the peer would
 * take the next frame for the rest of it: if the guest takes a packet back that is half sent, the other half
 * is copied. Receiving reads much at once into memory of ours, and copies frame by frame as the
 * guest has room; there is no reading meanwhile.
 *
 * Both halves outlive the pair: the stream goes on in the middle of a frame when a driver comes back.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/export.h"
#include "io/cursor.h"
#include "net/copy.h"
#include "net/netsock.h"

#define PREFIX 4u /* bytes of a length */
#define FRAME_MIN 14u
#define FRAME_MAX (VDB_NET_MAX - VDB_NET_HDR)
#define BURST VDB__NETSOCK_BURST
#define PIECES 1024u /* UIO_MAXIOV */
#define BUFFER (256u * 1024)

struct stream {
	struct vdb__netsock sock;

	/* To the socket. */
	uint32_t begun; /* bytes of the first packet that are sent, its length's included */
	uint32_t tail_at, tail_len;
	uint8_t tail[PREFIX + FRAME_MAX]; /* the rest of one that was taken back: goes first */
	uint32_t prefix[BURST];
	struct iovec iov[1 + PIECES];

	/* From the socket: [at, end) has been read and not handed on. */
	uint32_t at, end;
	uint8_t buffer[BUFFER];
};

static struct stream *stream_of(struct vdb__netsock *sock)
{
	return (struct stream *)sock;
}

/* ---- To the socket ---- */

static uint32_t frame_len(const struct vdb_req *packet)
{
	return (uint32_t)packet->readable - VDB_NET_HDR;
}

/* The frame's bytes from `skip` on, as far as there is room for pieces. Returns how many pieces there are
 * then. */
static uint32_t add_frame(struct stream *s, uint32_t n, const struct vdb_req *packet, uint64_t skip)
{
	const struct iovec *iov = packet->iov + 1;
	struct vdb__cursor at = {0};

	vdb__cursor_skip(&at, iov, skip);
	while (at.index < packet->niov - 1 && n < PIECES) {
		struct iovec piece = vdb__cursor_piece(&at, iov, SIZE_MAX);

		s->iov[n++] = piece;
		vdb__cursor_pass(&at, iov, piece.iov_len);
	}
	return n;
}

/* It may end within a packet: of the others the stream hears later. */
static uint32_t gather(struct stream *s)
{
	const struct vdb__list *link = s->sock.waiting.next;
	uint32_t skip = s->begun, n = 0;

	if (s->tail_len)
		s->iov[n++] = (struct iovec){s->tail + s->tail_at, s->tail_len};
	for (unsigned i = 0; link != &s->sock.waiting && i < BURST && n < PIECES; link = link->next, i++) {
		const struct vdb_req *packet = vdb__netsock_packet((struct vdb__list *)(uintptr_t)link);

		s->prefix[i] = htonl(frame_len(packet));
		if (skip < PREFIX)
			s->iov[n++] = (struct iovec){(uint8_t *)&s->prefix[i] + skip, PREFIX - skip};
		n = add_frame(s, n, packet, skip < PREFIX ? 0 : skip - PREFIX);
		skip = 0;
	}
	return n;
}

static uint64_t length_of(const struct iovec *iov, uint32_t n)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

static void sent_some(struct stream *s, uint64_t sent)
{
	uint32_t part = sent < s->tail_len ? (uint32_t)sent : s->tail_len;

	s->tail_at += part;
	s->tail_len -= part;
	sent -= part;
	while (sent) {
		struct vdb_req *packet = vdb__netsock_first(&s->sock);
		uint32_t left = PREFIX + frame_len(packet) - s->begun;

		if (sent < left) {
			s->begun += (uint32_t)sent;
			return;
		}
		sent -= left;
		s->begun = 0;
		vdb__netsock_sent(&s->sock, packet, 0);
	}
}

/* False: no more for now. */
static bool send_once(struct stream *s, uint32_t pieces)
{
	struct msghdr msg = {.msg_iov = s->iov, .msg_iovlen = pieces};
	uint64_t all = length_of(s->iov, pieces);
	ssize_t sent = sendmsg(s->sock.fd->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && errno == EINTR)
		return true;
	if (sent < 0 && errno != EAGAIN) {
		vdb__netsock_lose(&s->sock, errno);
		return false;
	}
	if (sent > 0)
		sent_some(s, (uint64_t)sent);
	if (sent < 0 || (uint64_t)sent < all) {
		vdb__netsock_stuck(&s->sock);
		return false;
	}
	return true;
}

static void stream_send(struct vdb__netsock *sock)
{
	struct stream *s = stream_of(sock);
	uint32_t pieces;

	while ((pieces = gather(s)) && send_once(s, pieces))
		;
}

static void stream_cancel(void *ctx, uint32_t index, struct vdb_req *packet)
{
	struct stream *s = ctx;

	if (packet != vdb__netsock_first(&s->sock) || !s->begun) {
		vdb__netsock_cancel(ctx, index, packet);
		return;
	}
	s->prefix[0] = htonl(frame_len(packet));
	memcpy(s->tail, s->prefix, PREFIX);
	vdb__iov_get(packet->iov + 1, 0, s->tail + PREFIX, frame_len(packet));
	s->tail_at = s->begun;
	s->tail_len = PREFIX + frame_len(packet) - s->begun;
	s->begun = 0;
	vdb__netsock_sent(&s->sock, packet, 0);
}

/* ---- From the socket ---- */

/* The first frame's length, if it is there as a whole; -EAGAIN: it is not; -EPROTO: it never will be. */
static int64_t frame_at(const struct stream *s, uint32_t at)
{
	uint32_t len;

	if (s->end - at < PREFIX)
		return -EAGAIN;
	memcpy(&len, s->buffer + at, PREFIX);
	len = ntohl(len);
	if (!len || len > FRAME_MAX)
		return -EPROTO;
	return s->end - at - PREFIX < len ? -EAGAIN : (int64_t)len;
}

/* How many frames are there, but no more than one burst. */
static uint32_t frames(const struct stream *s)
{
	uint32_t at = s->at, n = 0;
	int64_t len;

	while (n < BURST && (len = frame_at(s, at)) >= 0) {
		at += PREFIX + (uint32_t)len;
		n++;
	}
	return n;
}

static int hand_on(struct stream *s, uint32_t len)
{
	uint8_t header[VDB_NET_HDR] = {0};
	const struct iovec packet[] = {{header, sizeof(header)}, {s->buffer + s->at + PREFIX, len}};

	if (len < FRAME_MIN) {
		vdb_net_dropped(s->sock.pair, 1);
		return 0;
	}
	return vdb_net_put(s->sock.pair, packet, 2, VDB_NET_HDR + len);
}

/* What has been read is handed on as the guest has room; then there is more to be read. */
static void go_on(struct stream *s)
{
	uint32_t n = frames(s);

	vdb_net_wake(s->sock.pair, n);
	if (n)
		return;
	if (frame_at(s, s->at) == -EPROTO)
		vdb__netsock_lose(&s->sock, EPROTO);
	else
		vdb__netsock_listen(&s->sock);
}

static void stream_receive(void *ctx, uint32_t index)
{
	struct stream *s = ctx;
	int64_t len = -EAGAIN;

	(void)index;
	if (s->sock.broken)
		return;
	/* Any of these calls may close the pair. */
	while (s->sock.pair && (len = frame_at(s, s->at)) >= 0 && hand_on(s, (uint32_t)len) != -EAGAIN)
		s->at += PREFIX + (uint32_t)len;
	if (s->sock.pair)
		go_on(s);
}

/* A frame of any length fits behind what is there. */
static void make_room(struct stream *s)
{
	if (s->at < s->end && BUFFER - s->end >= PREFIX + FRAME_MAX)
		return;
	memmove(s->buffer, s->buffer + s->at, s->end - s->at);
	s->end -= s->at;
	s->at = 0;
}

static void stream_opened(struct vdb__netsock *sock)
{
	struct stream *s = stream_of(sock);

	if (s->tail_len)
		stream_send(sock);
	go_on(s);
}

static void stream_readable(struct vdb__netsock *sock)
{
	struct stream *s = stream_of(sock);
	ssize_t n;

	make_room(s);
	n = recv(sock->fd->fd, s->buffer + s->end, BUFFER - s->end, MSG_DONTWAIT);
	if (n > 0)
		s->end += (uint32_t)n;
	else if (!n || (errno != EAGAIN && errno != EINTR))
		vdb__netsock_lose(sock, n ? errno : 0);
	if (!sock->broken)
		go_on(s);
}

/* ---- Life ---- */

static void stream_destroy(void *ctx)
{
	struct stream *s = ctx;

	vdb__netsock_fini(&s->sock);
	free(s);
}

static const struct vdb__netsock_ops stream_ops = {
        .netdev =
                {
                        .size = sizeof(struct vdb_netdev_ops),
                        .name = "stream",
                        .open = vdb__netsock_open,
                        .close = vdb__netsock_close,
                        .transmit = vdb__netsock_transmit,
                        .cancel = stream_cancel,
                        .receive = stream_receive,
                        .destroy = stream_destroy,
                },
        .what = "netdev stream",
        .types = {SOCK_STREAM},
        .send = stream_send,
        .readable = stream_readable,
        .opened = stream_opened,
};

VDB_EXPORT int vdb_netdev_stream(const struct vdb_net_socket_config *config, struct vdb_netdev **out)
{
	struct stream *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return vdb__fail(ENOMEM, "netdev stream: no memory");
	rc = vdb__netsock_init(&s->sock, &stream_ops, config);
	if (!rc && s->sock.config.flags)
		rc = vdb__fail(EINVAL, "netdev stream: flags %#x; its frames have no header",
		               s->sock.config.flags);
	if (!rc)
		rc = vdb__netsock_netdev(&s->sock, out);
	if (rc)
		stream_destroy(s);
	return rc;
}
