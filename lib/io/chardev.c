/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two FIFOs between a device, on any thread, and the host's side, on the loop's:
 *
 *     device   put() -> out -> write_out() -> out_fd or output()
 *     device   get() <- in  <- stash <- filter() <- in_fd
 *
 * Whoever changes a FIFO so that the loop has something to do posts to it, once however many do.
 * The fds never block: each is written or read until it gives EAGAIN, then polled.
 */
#include <errno.h>
#include <poll.h>

#include "base/error.h"
#include "base/export.h"
#include "io/chardev_state.h"

void vdb__chardev_wake(struct vdb_chardev *c)
{
	if (c->posted || c->dead)
		return;
	c->posted = true;
	vdb__loop_post(c->loop, &c->work);
}

static void locked_wake(struct vdb_chardev *c)
{
	pthread_mutex_lock(&c->lock);
	vdb__chardev_wake(c);
	pthread_mutex_unlock(&c->lock);
}

static void submit(struct vdb_chardev *c, struct vdb__chardev_side *side)
{
	side->busy = true;
	vdb_io_submit(c->loop, &side->io);
}

static void poll_for(struct vdb_chardev *c, struct vdb__chardev_side *side, int events,
                     void (*done)(struct vdb_io *io, int64_t result))
{
	side->io = (struct vdb_io){
	        .op = VDB_IO_POLL,
	        .fd = side->stream.fd,
	        .mode = events,
	        .done = done,
	};
	submit(c, side);
}

/*
 * Whether a poll that ended so asks to try the transfer. -EINVAL does, too: that is how io_uring
 * ends a poll of a terminal whose settings are changed meanwhile (tcsetattr() wakes those who wait, with
 * nothing there; Linux 6.1 to 6.18 at least).
 */
static bool poll_says_try(const struct vdb_io *io, int64_t result)
{
	return io->op == VDB_IO_POLL && (result > 0 || result == -EINVAL);
}

static void transfer(struct vdb_chardev *c, struct vdb__chardev_side *side, uint32_t op, int niov,
                     void (*done)(struct vdb_io *io, int64_t result))
{
	side->io = (struct vdb_io){
	        .op = op,
	        .fd = side->stream.fd,
	        .iov = side->iov,
	        .niov = (uint32_t)niov,
	        .offset = UINT64_MAX,
	        .done = done,
	};
	submit(c, side);
}

static void say_closed(struct vdb_chardev *c, int output, int64_t result)
{
	if (c->closed && !c->closing && result != -ECANCELED)
		c->closed(c->arg, output, (int)-result);
}

/* ---- Output ---- */

static int peek_out(struct vdb_chardev *c)
{
	int n;

	pthread_mutex_lock(&c->lock);
	n = vdb__fifo_peek(&c->out, c->tx.iov);
	pthread_mutex_unlock(&c->lock);
	return n;
}

static void drop_out(struct vdb_chardev *c, size_t len)
{
	pthread_mutex_lock(&c->lock);
	vdb__fifo_drop(&c->out, len);
	pthread_mutex_unlock(&c->lock);
}

static void set_waits(struct vdb_chardev *c, bool waits)
{
	pthread_mutex_lock(&c->lock);
	c->waits = waits;
	pthread_mutex_unlock(&c->lock);
}

/* Nobody will ever read it: a guest that goes on writing must not wait for ever. */
static void lose_sink(struct vdb_chardev *c, int64_t result)
{
	pthread_mutex_lock(&c->lock);
	c->sinkless = true;
	vdb__fifo_drop(&c->out, c->out.count);
	pthread_mutex_unlock(&c->lock);
	say_closed(c, 1, result);
}

static void output_done(struct vdb_io *io, int64_t result)
{
	struct vdb_chardev *c = vdb__container(io, struct vdb_chardev, tx.io);

	c->tx.busy = false;
	set_waits(c, false);
	if (result < 0 && !poll_says_try(io, result))
		lose_sink(c, result);
	else if (io->op == VDB_IO_WRITEV)
		drop_out(c, (size_t)result);
	if (!c->closing)
		vdb__chardev_pump(c);
	else if (result > 0 && io->op == VDB_IO_WRITEV)
		vdb__chardev_flush(c); /* the rest of what a disk takes */
	vdb__chardev_settled(c);
}

/* `stuck` first: vdb_chardev_writable() may come while output() has not yet returned. */
static ssize_t hand_out(struct vdb_chardev *c)
{
	size_t taken;

	pthread_mutex_lock(&c->lock);
	c->stuck = true;
	pthread_mutex_unlock(&c->lock);
	taken = c->output(c->arg, c->tx.iov[0].iov_base, c->tx.iov[0].iov_len);
	if (taken >= c->tx.iov[0].iov_len) {
		taken = c->tx.iov[0].iov_len;
		pthread_mutex_lock(&c->lock);
		c->stuck = false;
		pthread_mutex_unlock(&c->lock);
	}
	return taken ? (ssize_t)taken : -EAGAIN;
}

static bool is_stuck(struct vdb_chardev *c)
{
	bool stuck;

	pthread_mutex_lock(&c->lock);
	stuck = c->stuck;
	pthread_mutex_unlock(&c->lock);
	return stuck;
}

/* One write of what there is. True: some of it was taken, and there may be more. */
static bool write_out(struct vdb_chardev *c)
{
	int niov = c->tx.busy || is_stuck(c) ? 0 : peek_out(c);
	ssize_t n;

	if (!niov)
		return false;
	if (!c->output && c->tx.stream.kind == VDB__STREAM_DISK) {
		set_waits(c, true);
		transfer(c, &c->tx, VDB_IO_WRITEV, niov, output_done);
		return false;
	}
	n = c->output ? hand_out(c) : vdb__stream_write(&c->tx.stream, c->tx.iov, niov);
	if (n > 0) {
		drop_out(c, (size_t)n);
	} else if (n != -EAGAIN) {
		lose_sink(c, n ? n : -EIO);
	} else if (!c->output && !c->closing) {
		set_waits(c, true);
		poll_for(c, &c->tx, POLLOUT, output_done);
	}
	return n > 0;
}

void vdb__chardev_flush(struct vdb_chardev *c)
{
	while (write_out(c))
		;
}

/* ---- Input ---- */

/* True: it is all in the FIFO. */
static bool unstash(struct vdb_chardev *c)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = vdb__fifo_put(&c->in, c->stash + c->stash_at, c->stash_len - c->stash_at);
	c->stash_at += n;
	c->stalled = c->stash_at < c->stash_len;
	pthread_mutex_unlock(&c->lock);
	return c->stash_at == c->stash_len;
}

static void end_input(struct vdb_chardev *c, int64_t result)
{
	c->eof = true;
	say_closed(c, 0, result);
}

static void took(struct vdb_chardev *c, int64_t result)
{
	size_t len;

	if (result == -EAGAIN)
		return;
	if (result <= 0) {
		end_input(c, result);
		return;
	}
	len = (size_t)result;
	if (c->filter) {
		len = c->filter(c->arg, c->stash, len);
		if (len > (size_t)result)
			len = (size_t)result;
	}
	c->stash_at = 0;
	c->stash_len = len;
}

static void input_done(struct vdb_io *io, int64_t result)
{
	struct vdb_chardev *c = vdb__container(io, struct vdb_chardev, rx.io);

	c->rx.busy = false;
	if (poll_says_try(io, result) && !c->closing)
		result = vdb__stream_read(&c->rx.stream, c->stash, sizeof(c->stash));
	if (!c->closing) {
		took(c, result);
		vdb__chardev_pump(c);
	}
	vdb__chardev_settled(c);
}

static void read_in(struct vdb_chardev *c)
{
	if (c->rx.busy || !unstash(c) || c->eof || c->rx.stream.fd < 0)
		return;
	c->rx.iov[0] = (struct iovec){c->stash, sizeof(c->stash)};
	if (c->rx.stream.kind == VDB__STREAM_DISK)
		transfer(c, &c->rx, VDB_IO_READV, 1, input_done);
	else
		poll_for(c, &c->rx, POLLIN, input_done);
}

/* ---- The device ---- */

static void tell_user(struct vdb_chardev *c)
{
	bool readable, writable;

	pthread_mutex_lock(&c->user_lock);
	if (c->bound) {
		pthread_mutex_lock(&c->lock);
		readable = c->in.count && !c->told_input;
		c->told_input |= readable;
		writable = c->wants_room && (c->sinkless || c->out.count < c->out.size);
		c->wants_room &= !writable;
		pthread_mutex_unlock(&c->lock);
		if (readable && c->user.readable)
			c->user.readable(c->user.arg);
		if (writable && c->user.writable)
			c->user.writable(c->user.arg);
	}
	pthread_mutex_unlock(&c->user_lock);
}

/* One write a turn: other threads may fill as fast as this one empties. */
void vdb__chardev_pump(struct vdb_chardev *c)
{
	if (write_out(c) && peek_out(c))
		locked_wake(c);
	read_in(c);
	tell_user(c);
}

struct vdb_loop *vdb__chardev_loop(const struct vdb_chardev *c)
{
	return c->loop;
}

int vdb__chardev_bind(struct vdb_chardev *c, const struct vdb__chardev_user *user)
{
	bool was;

	pthread_mutex_lock(&c->user_lock);
	was = c->bound;
	if (!was) {
		c->bound = true;
		c->user = *user;
		pthread_mutex_lock(&c->lock);
		c->told_input = c->wants_room = false;
		vdb__chardev_wake(c); /* input may have been waiting for a device */
		pthread_mutex_unlock(&c->lock);
	}
	pthread_mutex_unlock(&c->user_lock);
	return was ? vdb__fail(EBUSY, "chardev: another device has it; make one for each") : 0;
}

void vdb__chardev_unbind(struct vdb_chardev *c)
{
	pthread_mutex_lock(&c->user_lock);
	c->bound = false;
	pthread_mutex_unlock(&c->user_lock);
}

size_t vdb__chardev_put(struct vdb_chardev *c, const void *data, size_t len)
{
	size_t n = len;

	pthread_mutex_lock(&c->lock);
	if (!c->sinkless) {
		n = vdb__fifo_put(&c->out, data, len);
		c->wants_room |= n < len;
		if (n && !c->waits && !c->stuck)
			vdb__chardev_wake(c);
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}

size_t vdb__chardev_get(struct vdb_chardev *c, void *data, size_t max)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = vdb__fifo_get(&c->in, data, max);
	if (!c->in.count)
		c->told_input = false;
	if (n && c->stalled)
		vdb__chardev_wake(c);
	pthread_mutex_unlock(&c->lock);
	return n;
}

/* ---- The embedder ---- */

VDB_EXPORT size_t vdb_chardev_input(struct vdb_chardev *c, const void *data, size_t len)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = vdb__fifo_put(&c->in, data, len);
	if (n)
		vdb__chardev_wake(c);
	pthread_mutex_unlock(&c->lock);
	return n;
}

VDB_EXPORT void vdb_chardev_writable(struct vdb_chardev *c)
{
	pthread_mutex_lock(&c->lock);
	c->stuck = false;
	vdb__chardev_wake(c);
	pthread_mutex_unlock(&c->lock);
}
