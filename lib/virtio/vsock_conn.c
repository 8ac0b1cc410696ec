/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's states, and its end. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/vsock.h"

#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

/* ---- Life ---- */

/* What the guest may send on another connection. All that may still come are left their least; of the rest
 * each gets an eighth, if that is less than what it should have. */
static uint32_t next_window(const struct vdb__vsock *v)
{
	const struct vdb_vsock_config *config = &v->config;
	uint64_t most = config->buf_bytes - VDB_VSOCK_MIN_BUFFER;
	uint64_t least = (uint64_t)(config->max_connections - v->count) * VDB_VSOCK_MIN_BUFFER;
	uint64_t spare = (config->max_buffered - v->promised - least) / 8;

	return VDB_VSOCK_MIN_BUFFER + (uint32_t)(spare < most ? spare : most);
}

/* Messages are to have the same bound on each connection: it gets all of that, or is none. */
static bool has_room_for_messages(const struct vdb__vsock *v)
{
	const struct vdb_vsock_config *config = &v->config;
	uint64_t least = (uint64_t)(config->max_connections - v->count - 1) * VDB_VSOCK_MIN_BUFFER;

	return config->max_buffered - v->promised - least >= config->buf_bytes;
}

static struct vdb__vconn *make(struct vdb__vsock *v, int fd, bool seqpacket)
{
	struct vdb__vconn *c;

	if (seqpacket && (!has_room_for_messages(v) || vdb__vsock_widen(fd, v->message_max)))
		return NULL;
	c = vdb__vsock_timer(v, UINT64_MAX) ? calloc(1, sizeof(*c)) : NULL;
	if (!c)
		return NULL;
	c->seqpacket = seqpacket;
	c->promised = seqpacket ? v->config.buf_bytes : next_window(v);
	c->credit.window = seqpacket ? v->message_max : c->promised;
	return c;
}

struct vdb__vconn *vdb__vconn_new(struct vdb__vsock *v, int fd, bool seqpacket, enum vdb__vconn_state state)
{
	struct vdb__vconn *c = make(v, fd, seqpacket);

	if (!c) {
		close(fd);
		return NULL;
	}
	c->vsock = v;
	c->fd = fd;
	c->state = (uint8_t)state;
	vdb__list_init(&c->ready);
	vdb__list_init(&c->timed);
	vdb__list_append(&v->all, &c->all);
	v->promised += c->promised;
	v->count++;
	if (v->tenant)
		vdb__tenant_fd_take(v->tenant);
	vdb__store(&v->stats.connections, v->count);
	return c;
}

static void drop(struct vdb__vconn *c)
{
	struct vdb__vsock *v = c->vsock;

	vdb__list_remove(&c->all);
	vdb__list_remove(&c->ready);
	vdb__list_remove(&c->timed);
	v->promised -= c->promised;
	v->count--;
	vdb__store(&v->stats.connections, v->count);
	free(c);
	if (v->tenant)
		vdb__tenant_fd_give(v->tenant);
	vdb__vsock_watch_listener(v);
}

static void put_on_list(struct vdb__vconn *c)
{
	struct vdb__vsock *v = c->vsock;

	if (!c->owes) {
		vdb__list_remove(&c->ready);
	} else if (vdb__list_empty(&c->ready)) {
		vdb__list_append(&v->ready, &c->ready);
		vdb__vsock_go_on(v);
	}
}

void vdb__vconn_settle(struct vdb__vconn *c)
{
	if (!vdb__vconn_watch(c))
		vdb__vconn_reset(c);
	/* Who is gone for the guest is kept only as long as the host has something to take. */
	if (c->state >= VDB__VCONN_DYING && !vdb__vconn_pending(c))
		vdb__vconn_close_fd(c);
	if (c->state == VDB__VCONN_GONE && c->fd < 0)
		drop(c);
	else
		put_on_list(c);
}

void vdb__vconn_hurry(struct vdb__vconn *c)
{
	struct vdb__vsock *v = c->vsock;

	c->deadline = vdb__vsock_now() + v->config.timeout_ms * 1000000ull;
	vdb__list_remove(&c->timed);
	vdb__list_append(&v->timed, &c->timed);
	(void)vdb__vsock_timer(v, c->deadline); /* there is one, since there are connections */
}

/* ---- The guest's half ---- */

void vdb__vconn_forget(struct vdb__vconn *c)
{
	if (c->state != VDB__VCONN_HELLO && c->state != VDB__VCONN_GONE)
		vdb__vconn_leave(c);
	c->state = VDB__VCONN_GONE;
	c->owes = 0;
	if (vdb__vconn_pending(c))
		vdb__vconn_hurry(c);
}

static void die(struct vdb__vconn *c)
{
	c->state = VDB__VCONN_DYING;
	c->owes = VDB__OWES_RST;
	vdb__vconn_hurry(c);
}

void vdb__vconn_reset(struct vdb__vconn *c)
{
	vdb__vconn_close_fd(c);
	if (c->state == VDB__VCONN_ASKED)
		vdb__count(&c->vsock->stats.failed, 1);
	if (c->state == VDB__VCONN_HELLO || (c->state == VDB__VCONN_ASKED && !c->asked))
		vdb__vconn_forget(c);
	else if (c->state != VDB__VCONN_GONE)
		die(c);
}

void vdb__vconn_opened(struct vdb__vconn *c)
{
	vdb__list_remove(&c->timed);
	c->state = VDB__VCONN_OPEN;
	if (!vdb__vconn_say_ok(c))
		vdb__vconn_reset(c);
	else
		vdb__count(&c->vsock->stats.opened_by_host, 1);
}

void vdb__vconn_shutdown(struct vdb__vconn *c, uint32_t flags)
{
	c->guest_shut |= (uint8_t)(flags & BOTH);
	if (c->guest_shut == BOTH) {
		die(c); /* an RST is how the guest hears that it is over */
		return;
	}
	if (c->state != VDB__VCONN_OPEN)
		return;
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		c->owes &= (uint8_t) ~(VDB__OWES_DATA | VDB__OWES_ASK);
		c->stalled = false;
		(void)shutdown(c->fd, SHUT_RD);
	}
	vdb__vconn_end_host(c);
}

/* ---- The host's half ---- */

static void tell_end(struct vdb__vconn *c, uint8_t flags)
{
	c->host_shut |= flags;
	c->owes |= VDB__OWES_SHUTDOWN;
	c->owes &= (uint8_t) ~(VDB__OWES_DATA | VDB__OWES_ASK);
	c->stalled = false;
}

void vdb__vconn_host_gone(struct vdb__vconn *c)
{
	vdb__vconn_close_fd(c);
	tell_end(c, BOTH);
	c->state = VDB__VCONN_CLOSING;
	vdb__vconn_hurry(c);
}

static bool is_closed(const struct vdb__vconn *c)
{
	struct pollfd fd = {.fd = c->fd};

	return poll(&fd, 1, 0) > 0 && fd.revents & (POLLHUP | POLLERR);
}

void vdb__vconn_host_eof(struct vdb__vconn *c)
{
	c->host_eof = true;
	if (c->host_deaf || c->shut_down || is_closed(c))
		vdb__vconn_host_gone(c);
	else
		tell_end(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
}

/* ---- Time ---- */

static void expire(struct vdb__vconn *c)
{
	vdb__count(&c->vsock->stats.timeouts, 1);
	if (c->state == VDB__VCONN_HELLO)
		vdb__count(&c->vsock->stats.failed, 1);
	if (c->state >= VDB__VCONN_DYING)
		vdb__vconn_close_fd(c); /* the RST is still to be told */
	else
		vdb__vconn_reset(c);
	vdb__vconn_settle(c);
}

/* The deadline of the first that has one; UINT64_MAX: none has. */
static uint64_t next_deadline(const struct vdb__vsock *v)
{
	if (vdb__list_empty(&v->timed))
		return UINT64_MAX;
	/* The analyzer does not see that one that was freed had left the list:
	 * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	return vdb__container(v->timed.next, struct vdb__vconn, timed)->deadline;
}

void vdb__vsock_timeout(struct vdb__vsock *v)
{
	uint64_t now = vdb__vsock_now();

	if (v->listen_at && v->listen_at <= now) {
		v->listen_at = 0;
		vdb__vsock_watch_listener(v);
	}
	if (v->replies_until && v->replies_until <= now)
		vdb__vsock_forget_replies(v);
	while (next_deadline(v) <= now)
		expire(vdb__container(vdb__list_pop(&v->timed), struct vdb__vconn, timed));
	(void)vdb__vsock_timer(v, next_deadline(v));
	if (v->listen_at)
		(void)vdb__vsock_timer(v, v->listen_at);
	if (v->replies_until)
		(void)vdb__vsock_timer(v, v->replies_until);
}

/* A driver has gone that had never heard of it: the next one may. */
static bool may_wait(const struct vdb__vconn *c)
{
	return c->state == VDB__VCONN_HELLO || (c->state == VDB__VCONN_ASKED && !c->asked);
}

void vdb__vsock_drop_all(struct vdb__vsock *v)
{
	struct vdb__list *entry = v->all.next, *next;

	for (; entry != &v->all; entry = next) {
		struct vdb__vconn *c = vdb__container(entry, struct vdb__vconn, all);

		next = entry->next;
		if (may_wait(c) && !v->closing)
			continue;
		if (c->state <= VDB__VCONN_ASKED)
			vdb__count(&v->stats.failed, 1);
		if (v->closing)
			vdb__vconn_close_fd(c);
		vdb__vconn_forget(c);
		vdb__vconn_settle(c);
	}
	v->reply_count = 0;
	v->replies_until = 0;
}
