/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connected sockets of the host. None of these calls waits, and none raises SIGPIPE. Readiness is an epoll
 * fd's affair, one shot for each wish, since its events are exactly those that were asked for: io_uring's
 * own polls end by EPOLLRDHUP, too, which a socket that is half closed is for ever. The loop polls that one
 * fd.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/vsock.h"

#define EVENTS 64 /* of one turn, at most */

/* ---- Readiness ---- */

/* Data of the host's is of use to the guest. */
static bool reads(const struct vdb__vconn *c)
{
	return c->state == VDB__VCONN_OPEN && !c->host_eof && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* Events to wait for; negative: none. 0: only the end of both directions, which is always told. */
static int wanted(const struct vdb__vconn *c)
{
	int events = vdb__vconn_pending(c) ? EPOLLOUT : 0;

	if (c->state == VDB__VCONN_HELLO)
		return EPOLLIN;
	if (c->state != VDB__VCONN_OPEN)
		return events ? events : -1;
	if (reads(c)) {
		if (!(c->owes & VDB__OWES_DATA) && !c->stalled)
			events |= EPOLLIN;
		return events ? events : -1;
	}
	return events;
}

bool vdb__vconn_watch(struct vdb__vconn *c)
{
	struct epoll_event event = {.data.ptr = c};
	int events = c->fd < 0 ? -1 : wanted(c);

	if (events < 0 || (c->armed && !((uint32_t)events & ~c->events)))
		return true;
	event.events = (uint32_t)events | EPOLLONESHOT;
	if (epoll_ctl(c->vsock->epoll_fd, c->known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event))
		return false;
	c->known = c->armed = true;
	c->events = (uint32_t)events;
	return true;
}

void vdb__vconn_close_fd(struct vdb__vconn *c)
{
	struct vdb_vsock_stats *stats = &c->vsock->stats;

	if (c->fd < 0)
		return;
	if (c->known) /* a child of the process may have a copy of it */
		(void)epoll_ctl(c->vsock->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
	close(c->fd);
	c->fd = -1;
	c->known = c->armed = false;
	vdb__store(&stats->buffered, stats->buffered - c->fifo.count);
	free(c->fifo.data);
	c->fifo = (struct vdb__fifo){0};
	vdb__vmessage_free(c);
}

/* ---- From the guest ---- */

ssize_t vdb__vconn_send(struct vdb__vconn *c, struct iovec *iov, unsigned niov)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = niov};
	ssize_t n;

	do
		n = sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

unsigned vdb__vconn_pieces(const struct iovec *iov, struct vdb__cursor at, struct iovec *to, uint32_t *len)
{
	uint32_t left = *len;
	unsigned n = 0;

	for (; left && n < VDB__VSOCK_PIECES; n++) {
		to[n] = vdb__cursor_piece(&at, iov, left);
		left -= (uint32_t)to[n].iov_len;
		vdb__cursor_pass(&at, iov, to[n].iov_len);
	}
	*len -= left;
	return n;
}

/* What it has not taken is as good as taken, and the guest is told to stop. */
void vdb__vconn_deafen(struct vdb__vconn *c, uint32_t lost)
{
	struct vdb_vsock_stats *stats = &c->vsock->stats;

	c->credit.forwarded += lost + (uint32_t)c->fifo.count;
	vdb__store(&stats->buffered, stats->buffered - c->fifo.count);
	c->fifo.count = 0;
	c->whole = 0;
	c->host_deaf = true;
	if (c->state != VDB__VCONN_OPEN) {
		vdb__vconn_close_fd(c);
	} else if (c->host_eof) {
		vdb__vconn_host_gone(c);
	} else {
		c->host_shut |= VIRTIO_VSOCK_SHUTDOWN_RCV;
		c->owes |= VDB__OWES_SHUTDOWN;
	}
}

int vdb__vconn_keep(struct vdb__vconn *c, const struct iovec *iov, struct vdb__cursor *at, uint32_t len)
{
	struct vdb_vsock_stats *stats = &c->vsock->stats;
	struct iovec piece;

	if (!c->fifo.data) {
		c->fifo.size = c->credit.window;
		c->fifo.data = malloc(c->fifo.size);
		if (!c->fifo.data)
			return -ENOMEM;
	}
	vdb__store(&stats->buffered, stats->buffered + len);
	for (; len; len -= (uint32_t)piece.iov_len) {
		piece = vdb__cursor_piece(at, iov, len);
		(void)vdb__fifo_put(&c->fifo, piece.iov_base, piece.iov_len); /* within the window */
		vdb__cursor_pass(at, iov, piece.iov_len);
	}
	return 0;
}

/* What the host takes at once; *len: what is left. */
static int put_now(struct vdb__vconn *c, const struct iovec *iov, struct vdb__cursor *at, uint32_t *len)
{
	struct iovec to[VDB__VSOCK_PIECES];
	uint32_t part;
	unsigned niov;
	ssize_t n;

	do {
		part = *len;
		niov = vdb__vconn_pieces(iov, *at, to, &part);
		n = vdb__vconn_send(c, to, niov);
		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		vdb__cursor_skip(at, iov, (uint64_t)n);
		c->credit.forwarded += (uint32_t)n;
		*len -= (uint32_t)n;
	} while ((uint32_t)n == part && *len);
	return 0;
}

int vdb__vconn_put(struct vdb__vconn *c, const struct iovec *iov, struct vdb__cursor *at, uint32_t len)
{
	if (c->host_deaf) {
		c->credit.forwarded += len;
	} else if (!c->fifo.count && put_now(c, iov, at, &len)) {
		vdb__vconn_deafen(c, len);
	} else if (len) {
		if (!c->fifo.count)
			vdb__count(&c->vsock->stats.host_stalls, 1);
		return vdb__vconn_keep(c, iov, at, len);
	}
	return 0;
}

void vdb__vconn_flushed(struct vdb__vconn *c, uint32_t n)
{
	struct vdb_vsock_stats *stats = &c->vsock->stats;

	vdb__fifo_drop(&c->fifo, n);
	vdb__store(&stats->buffered, stats->buffered - n);
	c->credit.forwarded += n;
}

static void flush(struct vdb__vconn *c)
{
	struct iovec iov[2];
	int niov = vdb__fifo_peek(&c->fifo, iov);
	ssize_t n;

	if (!niov)
		return;
	n = vdb__vconn_send(c, iov, (unsigned)niov);
	if (n == -EAGAIN)
		return;
	if (n < 0) {
		vdb__vconn_deafen(c, 0);
		return;
	}
	vdb__vconn_flushed(c, (uint32_t)n);
	vdb__vconn_credit(c);
	vdb__vconn_end_host(c);
}

void vdb__vconn_end_host(struct vdb__vconn *c)
{
	if (c->shut_down || vdb__vconn_pending(c) || !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) ||
	    c->fd < 0)
		return;
	vdb__vmessage_drop(c);
	c->shut_down = true;
	(void)shutdown(c->fd, SHUT_WR);
	if (c->host_eof && c->state == VDB__VCONN_OPEN)
		vdb__vconn_host_gone(c);
}

bool vdb__vconn_say_ok(struct vdb__vconn *c)
{
	char line[VDB__VSOCK_LINE];
	int len = snprintf(line, sizeof(line), "OK %u\n", c->host_port);
	struct iovec iov = {line, (size_t)len};

	return vdb__vconn_send(c, &iov, 1) == len;
}

/* ---- For the guest ---- */

ssize_t vdb__vconn_get(struct vdb__vconn *c, struct iovec *iov, unsigned niov)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = niov}; /* no room for fds: the kernel drops them */
	ssize_t n;

	do
		n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n >= 0 && msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return n < 0 ? -errno : n;
}

/* ---- Events ---- */

static void on_event(struct vdb__vconn *c, uint32_t events)
{
	bool ended = events & (EPOLLHUP | EPOLLERR);

	c->armed = false;
	if (c->state == VDB__VCONN_HELLO) {
		vdb__vconn_hello(c);
	} else {
		if (ended || events & EPOLLOUT)
			c->seqpacket ? vdb__vmessage_flush(c) : flush(c);
		if (c->state == VDB__VCONN_OPEN && ended && !reads(c))
			vdb__vconn_host_gone(c);
		else if (reads(c) && !c->stalled && (ended || events & EPOLLIN))
			c->owes |= VDB__OWES_DATA;
	}
	vdb__vconn_settle(c);
}

/* NULL: it is a connection. */
static struct vdb__vsock_listener *listener_of(struct vdb__vsock *v, const void *ptr)
{
	for (unsigned i = 0; i < VDB__VSOCK_LISTENERS; i++)
		if (ptr == &v->listeners[i])
			return &v->listeners[i];
	return NULL;
}

static void take_events(struct vdb__vsock *v)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(v->epoll_fd, events, EVENTS, 0);

	for (int i = 0; i < n; i++) {
		struct vdb__vsock_listener *listener = listener_of(v, events[i].data.ptr);

		if (listener)
			vdb__vsock_accept(v, listener, events[i].events);
		else
			on_event(events[i].data.ptr, events[i].events);
	}
}

static void poll_done(struct vdb_io *io, int64_t result)
{
	struct vdb__vsock *v = vdb__container(io, struct vdb__vsock, io);

	v->polling = false;
	if (!v->closing && result >= 0) { /* else the loop's engine has failed for good */
		take_events(v);
		vdb__vsock_poll(v);
	}
	vdb__vsock_settled(v);
}

void vdb__vsock_poll(struct vdb__vsock *v)
{
	v->io = (struct vdb_io){.op = VDB_IO_POLL, .fd = v->epoll_fd, .mode = POLLIN, .done = poll_done};
	v->polling = true;
	vdb_io_submit(v->loop, &v->io);
}
