/* SPDX-License-Identifier: Apache-2.0 */
/* The host's ends of conversations. None of them waits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/atomic.h"
#include "vsock_rig.h"
#include "vsock_talk.h"

#define MOST 4096u
#define SMALL 4608 /* bytes of a socket's buffer: Linux has a little of it for itself */

static void shrink(int fd)
{
	int size = SMALL;

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void gone(struct stress *s, struct talk *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	t->host_state = HOST_GONE;
	s->progress++;
}

/* ---- How it comes about ---- */

int host_answer(void *stress, uint32_t port)
{
	struct talk *t = stress_find(stress, port - HOST_LISTENS);
	int fds[2];

	if (!t || t->nobody)
		return -ECONNREFUSED;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds))
		return -errno;
	shrink(fds[0]);
	shrink(fds[1]);
	vdb__store_release(&t->offered, fds[0] + 1); /* pairs with the load in wait_for_guest() */
	return fds[1];
}

static void wait_for_guest(struct stress *s, struct talk *t)
{
	int offered = vdb__load_acquire(&t->offered);

	if (offered) {
		t->fd = offered - 1;
		t->host_state = HOST_OPEN;
		s->progress++;
	} else if (t->guest_state == GUEST_GONE) {
		gone(s, t); /* it was refused */
	}
}

static void call(struct stress *s, struct talk *t)
{
	char line[32];
	int len;

	if (t->fd < 0) {
		t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (t->fd < 0)
			stress_wrong(t, "socket");
		shrink(t->fd);
	}
	if (connect(t->fd, (const struct sockaddr *)&s->calls_to, s->calls_to_len)) {
		if (errno != EAGAIN) /* too many wait to be accepted */
			stress_wrong(t, "connect");
		return;
	}
	len = snprintf(line, sizeof(line), "CONNECT %u\n", t->guest_port);
	if (send(t->fd, line, (size_t)len, MSG_NOSIGNAL) != len)
		stress_wrong(t, "CONNECT");
	t->host_state = HOST_HELLO;
	s->progress++;
}

/* A byte at a time: what comes behind the line is the guest's. */
static void hear_ok(struct stress *s, struct talk *t)
{
	char byte;
	ssize_t n;

	while ((n = recv(t->fd, &byte, 1, 0)) == 1) {
		s->progress++;
		if (t->line < 3 && byte != "OK "[t->line])
			stress_wrong(t, "CONNECT was not answered by OK");
		t->line++;
		if (byte != '\n')
			continue;
		t->host_state = HOST_OPEN;
		t->was_open = true;
		return;
	}
	if (n == 0 || (n < 0 && errno == ECONNRESET)) {
		s->refused++;
		gone(s, t);
	}
}

/* ---- What is said ---- */

static void send_some(struct stress *s, struct talk *t)
{
	struct talk_end *end = &t->host;
	uint8_t data[MOST];
	uint32_t n = end->total - end->sent;
	ssize_t sent;

	n = n < end->step ? n : end->step;
	n = n < MOST ? n : MOST;
	for (uint32_t i = 0; i < n; i++)
		data[i] = talk_byte(t, true, end->sent + i);
	sent = send(t->fd, data, n, MSG_NOSIGNAL);
	if (sent > 0) {
		end->sent += (uint32_t)sent;
		s->progress++;
	} else if (sent < 0 && errno != EAGAIN) {
		end->sent = end->total; /* nobody hears it any more */
		end->reset = true;
	}
}

static void read_some(struct stress *s, struct talk *t)
{
	struct talk_end *end = &t->host;
	uint8_t data[MOST];
	ssize_t n = recv(t->fd, data, end->step < MOST ? end->step : MOST, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	s->progress++;
	end->ended = n <= 0;
	end->reset |= n < 0;
	for (ssize_t i = 0; i < n; i++)
		if (data[i] != talk_byte(t, false, end->got + (uint32_t)i))
			stress_wrong(t, "the host was sent other bytes than the guest has said");
	if (n > 0) {
		end->got += (uint32_t)n;
		s->to_host += (uint64_t)n;
	}
}

static void converse(struct stress *s, struct talk *t)
{
	struct talk_end *end = &t->host;

	if (end->sent >= end->rude) {
		gone(s, t);
		return;
	}
	if (end->sent < end->total) {
		send_some(s, t);
	} else if (!end->said_end) {
		(void)shutdown(t->fd, SHUT_WR);
		end->said_end = true;
	}
	if (!end->ended)
		read_some(s, t);
	if (end->said_end && end->ended)
		gone(s, t);
}

void host_step(struct stress *s, struct talk *t)
{
	switch (t->host_state) {
	case HOST_WAITS:
		wait_for_guest(s, t);
		break;
	case HOST_CALLS:
		call(s, t);
		break;
	case HOST_HELLO:
		hear_ok(s, t);
		break;
	case HOST_OPEN:
		converse(s, t);
		break;
	default:
		break;
	}
}
