/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SEQPACKET (virtio 1.2, 5.10.6.6): messages of the guest's may come in many packets, and go to the host in
 * one piece; those of the host's come in one piece, and may need many packets. Neither is ever longer than
 * the window, so that what the guest may send, by its credit, is what has room here.
 *
 * What the host does not take at once is in the FIFO, where a bit for each byte says whether a message ends
 * there: it costs an eighth, however short they are.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "virtio/vsock.h"

#define MESSAGES 64u     /* that are sent in one turn */
#define SOCKET_OWN 4096u /* what the kernel needs of a socket's buffer for itself: some ten bytes, really */
#define BITS 64u

/* ---- The bound ---- */

static bool is_wide(int fd, uint32_t bytes)
{
	int have = 0;
	socklen_t len = sizeof(have);

	return !getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &have, &len) && (uint32_t)have >= bytes + SOCKET_OWN;
}

/* A Unix socket refuses a message that is longer than its buffer. Not by force: privileges may be gone later.
 */
int vdb__vsock_widen(int fd, uint32_t bytes)
{
	int wanted = (int)(bytes + SOCKET_OWN);

	if (!is_wide(fd, bytes))
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
	return is_wide(fd, bytes) ? 0 : -EMSGSIZE;
}

/* ---- From the guest ---- */

/* The last byte that is in the FIFO ends a message. */
static void mark_end(struct vdb__vconn *c)
{
	size_t last = (c->fifo.head + c->fifo.count - 1) % c->fifo.size;

	c->ends[last / BITS] |= 1ull << last % BITS;
	c->whole = (uint32_t)c->fifo.count;
}

/* Of the first message in the FIFO; there is one. Its size is a multiple of BITS. */
static uint32_t first_len(const struct vdb__vconn *c)
{
	size_t i = c->fifo.head / BITS, words = c->fifo.size / BITS, last;
	uint64_t word = c->ends[i] & ~0ull << c->fifo.head % BITS;

	while (!word) {
		i = (i + 1) % words;
		word = c->ends[i];
	}
	last = i * BITS + (unsigned)__builtin_ctzll(word);
	return (uint32_t)((last + c->fifo.size - c->fifo.head) % c->fifo.size) + 1;
}

static void message_gone(struct vdb__vconn *c, uint32_t len)
{
	size_t last = (c->fifo.head + len - 1) % c->fifo.size;

	c->ends[last / BITS] &= ~(1ull << last % BITS);
	c->whole -= len;
	vdb__vconn_flushed(c, len);
	vdb__count(&c->vsock->stats.messages_to_host, 1);
}

/* False: the host takes none, for now or for ever. */
static bool send_first(struct vdb__vconn *c)
{
	struct iovec iov[2];
	uint32_t len = first_len(c);
	ssize_t n;

	(void)vdb__fifo_peek(&c->fifo, iov);
	if (iov[0].iov_len > len)
		iov[0].iov_len = len;
	iov[1].iov_len = len - iov[0].iov_len;
	n = vdb__vconn_send(c, iov, iov[1].iov_len ? 2 : 1);
	if (n < 0 && n != -EAGAIN) {
		memset(c->ends, 0, c->fifo.size / 8);
		vdb__vconn_deafen(c, 0);
	}
	if (n < 0)
		return false;
	message_gone(c, len);
	return true;
}

static void send_some(struct vdb__vconn *c)
{
	for (unsigned i = 0; i < MESSAGES && c->whole; i++)
		if (!send_first(c))
			return;
}

void vdb__vmessage_flush(struct vdb__vconn *c)
{
	if (!c->whole)
		return;
	send_some(c);
	vdb__vconn_credit(c);
	vdb__vconn_end_host(c);
}

/* A whole one, straight from guest memory: 0, or -EAGAIN if that cannot be now. */
static int send_straight(struct vdb__vconn *c, const struct iovec *iov, const struct vdb__cursor *at,
                         uint32_t len)
{
	struct iovec to[VDB__VSOCK_PIECES];
	uint32_t part = len;
	unsigned niov = vdb__vconn_pieces(iov, *at, to, &part);
	ssize_t n = part == len ? vdb__vconn_send(c, to, niov) : -EAGAIN;

	if (n < 0)
		return (int)n;
	c->credit.forwarded += len;
	vdb__count(&c->vsock->stats.messages_to_host, 1);
	return 0;
}

static int keep(struct vdb__vconn *c, const struct iovec *iov, struct vdb__cursor *at, uint32_t len, bool end)
{
	bool waits = c->whole;
	int rc;

	if (!c->ends)
		c->ends = calloc(c->credit.window / BITS, sizeof(*c->ends));
	if (!c->ends)
		return -ENOMEM;
	rc = len ? vdb__vconn_keep(c, iov, at, len) : 0;
	if (rc || !end)
		return rc;
	mark_end(c);
	if (waits)
		return 0;
	send_some(c);
	vdb__count(&c->vsock->stats.host_stalls, c->whole ? 1 : 0);
	return 0;
}

int vdb__vmessage_put(struct vdb__vconn *c, const struct iovec *iov, struct vdb__cursor *at, uint32_t len,
                      bool end)
{
	int rc = -EAGAIN;

	c->begun = !end && (c->begun || len);
	if (c->host_deaf) {
		c->credit.forwarded += len;
		return 0;
	}
	if (end && !c->fifo.count)
		rc = send_straight(c, iov, at, len);
	if (rc == -EAGAIN)
		return keep(c, iov, at, len, end);
	if (rc < 0)
		vdb__vconn_deafen(c, len);
	return 0;
}

void vdb__vmessage_drop(struct vdb__vconn *c)
{
	struct vdb_vsock_stats *stats = &c->vsock->stats;
	uint32_t part;

	if (!c->seqpacket)
		return;
	part = (uint32_t)c->fifo.count - c->whole;
	c->fifo.count -= part;
	c->credit.forwarded += part;
	vdb__store(&stats->buffered, stats->buffered - part);
}

/* ---- For the guest ---- */

static ssize_t copy_rest(struct vdb__vconn *c, const struct iovec *iov, unsigned niov)
{
	struct vdb__vsock_rest *rest = &c->rest;
	size_t part, all = 0;

	for (unsigned i = 0; i < niov && rest->len; i++, all += part) {
		part = iov[i].iov_len < rest->len ? iov[i].iov_len : rest->len;
		memcpy(iov[i].iov_base, rest->data + rest->at, part);
		rest->at += (uint32_t)part;
		rest->len -= (uint32_t)part;
	}
	return (ssize_t)all;
}

static int keep_rest(struct vdb__vconn *c, uint32_t len)
{
	struct vdb__vsock_rest *rest = &c->rest;

	if (rest->size < len) {
		free(rest->data);
		*rest = (struct vdb__vsock_rest){.data = malloc(len)};
		if (!rest->data)
			return -ENOMEM;
		rest->size = len;
	}
	memcpy(rest->data, c->vsock->spill, len);
	rest->at = 0;
	rest->len = len;
	return 0;
}

/* Nothing was read: the end, or an empty message, which is left out. Behind one there may be more, though the
 * end has been said. */
static ssize_t end_or_empty(const struct vdb__vconn *c)
{
	struct pollfd fd = {.fd = c->fd, .events = POLLRDHUP};
	char byte;

	if (poll(&fd, 1, 0) <= 0 || !(fd.revents & (POLLRDHUP | POLLHUP | POLLERR)))
		return -EAGAIN;
	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0 ? -EAGAIN : 0;
}

/* It goes where it belongs as far as there is room, the rest to where it waits for more. */
static ssize_t read_message(struct vdb__vconn *c, struct iovec *iov, unsigned niov)
{
	uint32_t room = 0;
	ssize_t n;

	for (unsigned i = 0; i < niov; i++)
		room += (uint32_t)iov[i].iov_len;
	iov[niov] = (struct iovec){c->vsock->spill, c->vsock->message_max};
	n = vdb__vconn_get(c, iov, niov + 1);
	/* Somebody ended without having read all: that is said first, once, and what he had sent comes then.
	 */
	if (n == -ECONNRESET)
		n = vdb__vconn_get(c, iov, niov + 1);
	if (n <= 0)
		return n ? n : end_or_empty(c);
	if ((size_t)n > c->vsock->message_max || (size_t)n > c->credit.peer_alloc)
		return -EMSGSIZE;
	if ((size_t)n <= room)
		return n;
	return keep_rest(c, (uint32_t)n - room) ? -ENOMEM : (ssize_t)room;
}

ssize_t vdb__vmessage_get(struct vdb__vconn *c, struct iovec *iov, unsigned niov, bool *end)
{
	ssize_t n = c->rest.len ? copy_rest(c, iov, niov) : read_message(c, iov, niov);

	*end = !c->rest.len;
	if (n == -EMSGSIZE)
		vdb__count(&c->vsock->stats.messages_too_long, 1);
	else if (n > 0 && *end)
		vdb__count(&c->vsock->stats.messages_to_guest, 1);
	return n;
}

void vdb__vmessage_free(struct vdb__vconn *c)
{
	free(c->ends);
	c->ends = NULL;
	c->whole = 0;
	free(c->rest.data);
	c->rest = (struct vdb__vsock_rest){0};
}
