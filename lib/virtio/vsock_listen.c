/* SPDX-License-Identifier: Apache-2.0 */
/* How connections come about: a host program says CONNECT, or the guest is connected to a host program. */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtio/vsock.h"

#define ACCEPTS 16u                  /* in one turn */
#define SHORTAGE_NS (100 * 1000000u) /* accept() failed: not before that again */

/* ---- CONNECT ---- */

static void refuse_client(struct vdb__vconn *c)
{
	vdb__count(&c->vsock->stats.failed, 1);
	c->state = VDB__VCONN_GONE;
	vdb__vconn_close_fd(c);
}

/* "CONNECT <port>\n", in any case, and with a carriage return if it likes. */
static bool parse_line(const char *line, uint32_t len, uint32_t *port)
{
	static const char word[] = "connect ";
	uint64_t number = 0;
	uint32_t at = 0, digits;

	for (; at < sizeof(word) - 1; at++)
		if (at >= len || (line[at] | (word[at] & 0x20)) != word[at])
			return false;
	for (digits = 0; at < len && line[at] >= '0' && line[at] <= '9' && digits < 10; at++, digits++)
		number = number * 10 + (unsigned)(line[at] - '0');
	if (at < len && line[at] == '\r')
		at++;
	*port = (uint32_t)number;
	return digits && at + 1 == len && line[at] == '\n' && number < VDB__VSOCK_ANY_PORT;
}

static void ask_guest(struct vdb__vconn *c, uint32_t port)
{
	c->guest_port = port;
	c->host_port = vdb__vsock_free_port(c->vsock, port);
	c->state = VDB__VCONN_ASKED;
	vdb__vconn_enter(c);
	c->owes |= VDB__OWES_REQUEST;
	vdb__vconn_hurry(c);
}

/* Takes no byte behind the line: those are for the guest. A line may come in pieces. */
static void hello_line(struct vdb__vconn *c)
{
	struct iovec rest = {c->line + c->line_len, sizeof(c->line) - c->line_len};
	ssize_t n = recv(c->fd, rest.iov_base, rest.iov_len, MSG_PEEK | MSG_DONTWAIT);
	const char *end;
	uint32_t port;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		refuse_client(c);
		return;
	}
	end = memchr(rest.iov_base, '\n', (size_t)n);
	rest.iov_len = end ? (size_t)(end + 1 - (const char *)rest.iov_base) : (size_t)n;
	n = vdb__vconn_get(c, &rest, 1);
	c->line_len += n > 0 ? (uint32_t)n : 0;
	if (end && n == (ssize_t)rest.iov_len && parse_line(c->line, c->line_len, &port))
		ask_guest(c, port);
	else if (end || c->line_len == sizeof(c->line))
		refuse_client(c);
}

/* The first message is the line. */
static void hello_message(struct vdb__vconn *c)
{
	struct iovec all = {c->line, sizeof(c->line)};
	ssize_t n = vdb__vconn_get(c, &all, 1);
	uint32_t port;

	if (n == -EAGAIN)
		return;
	if (n > 0 && parse_line(c->line, (uint32_t)n, &port))
		ask_guest(c, port);
	else
		refuse_client(c);
}

void vdb__vconn_hello(struct vdb__vconn *c)
{
	if (c->seqpacket)
		hello_message(c);
	else
		hello_line(c);
}

/* ---- The listening sockets ---- */

/* One of its own connections may be what ends, or one of another device of the same VM. */
static void wait_for_room(struct vdb__vsock *v)
{
	if (v->tenant && !vdb__tenant_has_fd(v->tenant))
		vdb__tenant_fd_await(v->tenant, &v->fd_wait);
}

static void room_again(struct vdb__fd_wait *wait)
{
	vdb__vsock_watch_listener(vdb__container(wait, struct vdb__vsock, fd_wait));
}

void vdb__vsock_listen_init(struct vdb__vsock *v)
{
	vdb__list_init(&v->fd_wait.link);
	v->fd_wait.again = room_again;
}

static void watch(struct vdb__vsock *v, struct vdb__vsock_listener *l)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.ptr = l};

	if (l->fd < 0 || l->armed)
		return;
	if (!vdb__vsock_has_room(v)) {
		wait_for_room(v);
		return;
	}
	if (!epoll_ctl(v->epoll_fd, l->known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, l->fd, &event))
		l->known = l->armed = true;
}

void vdb__vsock_watch_listener(struct vdb__vsock *v)
{
	for (unsigned i = 0; i < VDB__VSOCK_LISTENERS && !v->closing && !v->listen_at; i++)
		watch(v, &v->listeners[i]);
}

static void close_listener(struct vdb__vsock *v, struct vdb__vsock_listener *l)
{
	if (l->fd < 0)
		return;
	if (l->known)
		(void)epoll_ctl(v->epoll_fd, EPOLL_CTL_DEL, l->fd, NULL);
	close(l->fd);
	l->fd = -1;
}

void vdb__vsock_close_listener(struct vdb__vsock *v)
{
	vdb__list_remove(&v->fd_wait.link);
	for (unsigned i = 0; i < VDB__VSOCK_LISTENERS; i++)
		close_listener(v, &v->listeners[i]);
}

/* Its connections wait in its backlog meanwhile. */
static void accept_later(struct vdb__vsock *v)
{
	uint64_t at = vdb__vsock_now() + SHORTAGE_NS;

	vdb__count(&v->stats.accept_errors, 1);
	if (vdb__vsock_timer(v, at))
		v->listen_at = at;
}

/* True: perhaps somebody else has come. */
static bool not_accepted(struct vdb__vsock *v, struct vdb__vsock_listener *listener, int err)
{
	if (err == ECONNABORTED || err == EINTR)
		return true;
	/* It is ready for ever then, and nobody will come. Of a Unix socket accept() says only that nobody is
	 * there. */
	if (err == EINVAL || (err == EAGAIN && listener->over))
		close_listener(v, listener);
	else if (err != EAGAIN)
		accept_later(v);
	return false;
}

/* False: no more, for now. */
static bool accept_one(struct vdb__vsock *v, struct vdb__vsock_listener *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct vdb__vconn *c;

	if (fd < 0)
		return not_accepted(v, listener, errno);
	c = vdb__vconn_new(v, fd, listener->seqpacket, VDB__VCONN_HELLO);
	if (!c) {
		vdb__count(&v->stats.failed, 1);
		return false;
	}
	vdb__vconn_hurry(c);
	vdb__vconn_hello(c); /* most have said it already, or will at once */
	vdb__vconn_settle(c);
	return true;
}

void vdb__vsock_accept(struct vdb__vsock *v, struct vdb__vsock_listener *listener, uint32_t events)
{
	listener->armed = false;
	listener->over |= (events & (EPOLLHUP | EPOLLRDHUP)) != 0;
	for (unsigned i = 0; i < ACCEPTS && vdb__vsock_has_room(v); i++)
		if (!accept_one(v, listener))
			break;
	vdb__vsock_watch_listener(v);
}

/* ---- For the guest ---- */

static int connect_path(const char *path, uint32_t port, int type)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd, rc;

	(void)snprintf(to.sun_path, sizeof(to.sun_path), "%s_%u", path, port);
	fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A Unix socket is connected at once, or not at all. */
	rc = connect(fd, (const struct sockaddr *)&to, sizeof(to)) ? -errno : 0;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

static int check_type(int fd, int wanted)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		return -errno;
	return type == wanted ? 0 : -EPROTOTYPE;
}

int vdb__vsock_connect(struct vdb__vsock *v, uint32_t port, bool seqpacket)
{
	int (*own)(void *, uint32_t) = seqpacket ? v->config.connect_seqpacket : v->config.connect;
	int fd, rc, type = seqpacket ? SOCK_SEQPACKET : SOCK_STREAM;

	if (!own)
		return v->config.path ? connect_path(v->config.path, port, type) : -ECONNREFUSED;
	fd = own(v->config.connect_arg, port);
	if (fd < 0)
		return fd;
	rc = check_type(fd, type);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}
