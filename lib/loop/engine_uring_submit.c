/* SPDX-License-Identifier: Apache-2.0 */
/* The io_uring engine's submissions. What finds no room in the SQ waits in a list. */
#include <poll.h>

#include "base/error.h"
#include "loop/engine_uring.h"

#define MAX_TRANSFER 0x7ffff000u
#define EARLY 8u        /* ios: about as long as what the call costs, and what wakes a device */
#define EARLY_GROWTH 4u /* a device's worth of work that is gone while so much is prepared: never */

/* The kernel's thread, while awake, sees for itself what is submitted. */
static bool needs_call(const struct uring *u)
{
	return !(u->ring.flags & IORING_SETUP_SQPOLL) ||
	       IO_URING_READ_ONCE(*u->ring.sq.kflags) & IORING_SQ_NEED_WAKEUP;
}

int vdb__uring_hand_over(struct uring *u, unsigned wait)
{
	bool kernel_work = vdb__uring_kernel_flags(u), call = needs_call(u);
	int ret;

	u->fresh = 0;
	if (wait)
		ret = io_uring_submit_and_wait(&u->ring, wait);
	else if (kernel_work)
		ret = io_uring_submit_and_get_events(&u->ring);
	else if (vdb__uring_unsent(u))
		ret = io_uring_submit(&u->ring);
	else
		return 0;
	if (!vdb__uring_unsent(u))
		u->signals = 0;
	vdb__count(&u->engine.loop->stats.enters, wait || kernel_work || call);
	/* IORING_SQ_TASKRUN may outlive its work (Linux 6.18 leaves it set when more comes while it runs what
	 * is left of more than 20) until there is other work. Waiting does not go by it. */
	u->engine.blind = !io_uring_cq_ready(&u->ring) && vdb__uring_kernel_flags(u) & IORING_SQ_TASKRUN;
	return ret;
}

/* NULL: the kernel takes no more for now; the caller keeps it for later. */
static struct io_uring_sqe *get_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (sqe || !u->enabled)
		return sqe;
	(void)vdb__uring_hand_over(u, 0); /* an error comes again, where it can be told */
	return io_uring_get_sqe(&u->ring);
}

static bool arm(struct uring *u, struct vdb__watch *watch)
{
	struct io_uring_sqe *sqe = get_sqe(u);

	if (!sqe)
		return false;
	io_uring_prep_poll_multishot(sqe, watch->fd, POLLIN);
	io_uring_sqe_set_data(sqe, tagged(watch, TAG_WATCH));
	watch->armed = true;
	return true;
}

static bool disarm(struct uring *u, struct vdb__watch *watch)
{
	struct io_uring_sqe *sqe = get_sqe(u);

	if (!sqe)
		return false;
	io_uring_prep_cancel(sqe, tagged(watch, TAG_WATCH), 0);
	io_uring_sqe_set_data(sqe, tagged(NULL, TAG_NONE));
	return true;
}

static bool send_cancel(struct uring *u, struct vdb_io *io)
{
	struct io_uring_sqe *sqe = get_sqe(u);

	if (!sqe)
		return false;
	io_uring_prep_cancel(sqe, tagged(io, TAG_IO), 0);
	io_uring_sqe_set_data(sqe, tagged(NULL, TAG_NONE));
	return true;
}

static unsigned short poll_for(const struct vdb_io *io)
{
	return io->op == VDB_IO_WRITEV ? POLLOUT : POLLIN;
}

/* As much as any transfer moves; the rest is a short one. */
static unsigned one_length(const struct vdb_io *io)
{
	return io->iov->iov_len < MAX_TRANSFER ? (unsigned)io->iov->iov_len : MAX_TRANSFER;
}

/* One piece needs no iovec, which the kernel would copy; and no pages to be looked up, where they are known.
 */
static void prep_transfer(struct uring *u, struct io_uring_sqe *sqe, struct vdb_io *io)
{
	struct vdb_loop *loop = u->engine.loop;
	bool reads = io->op == VDB_IO_READV;
	const struct vdb__buffer *buffer = NULL;
	const void *at = io->iov;
	unsigned len = io->niov, op = reads ? IORING_OP_READV : IORING_OP_WRITEV;

	if (io->niov != 1) {
		io_uring_prep_rw((int)op, sqe, io->fd, at, len, io->offset);
		return;
	}
	at = io->iov->iov_base;
	len = one_length(io);
	if (!(vdb__io_own(io)->flags & IO_POLLED) || u->polled_buffers)
		buffer = vdb__memory_find(&loop->memory, at, len);
	op = reads ? IORING_OP_READ : IORING_OP_WRITE;
	if (buffer) {
		op = reads ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED;
		vdb__count(&loop->stats.fixed_buffers, 1);
	}
	io_uring_prep_rw((int)op, sqe, io->fd, at, len, io->offset);
	if (buffer)
		sqe->buf_index = (uint16_t)buffer->index;
}

static bool prep_op(struct uring *u, struct io_uring_sqe *sqe, struct vdb_io *io)
{
	switch (io->op) {
	case VDB_IO_READV:
	case VDB_IO_WRITEV:
		prep_transfer(u, sqe, io);
		if (io->flags & VDB_IO_NOWAIT)
			sqe->rw_flags = RWF_NOWAIT;
		return true;
	case VDB_IO_FDATASYNC:
		io_uring_prep_fsync(sqe, io->fd, IORING_FSYNC_DATASYNC);
		return true;
	case VDB_IO_FALLOCATE:
		io_uring_prep_fallocate(sqe, io->fd, io->mode, (off_t)io->offset, (off_t)io->len);
		return true;
	case VDB_IO_POLL:
		io_uring_prep_poll_add(sqe, io->fd, (unsigned)io->mode);
		return true;
	default:
		return false;
	}
}

/* By number, if the ring knows the file. */
static void name_file(struct uring *u, struct io_uring_sqe *sqe, const struct vdb_io *io)
{
	if (!vdb__file_known(&u->engine.loop->files, io->file))
		return;
	sqe->fd = (int)io->file - 1;
	sqe->flags |= IOSQE_FIXED_FILE;
	vdb__count(&u->engine.loop->stats.fixed_files, 1);
}

/*
 * What is handed over together, the kernel holds back until the last of it is prepared, a microsecond or so
 * each: all the while a device that has little else to do stands idle. So as soon as there is several times
 * what it has, it gets that; the more it has, the longer what follows may wait to go in one call.
 */
static void hand_over_early(struct uring *u)
{
	unsigned theirs = u->inflight - u->fresh;

	if (u->enabled && u->fresh >= EARLY && u->fresh >= EARLY_GROWTH * theirs)
		(void)vdb__uring_hand_over(u, 0); /* an error comes again, where it can be told */
}

static struct io_uring_sqe *sqe_for(struct uring *u, struct vdb_io *io)
{
	struct io_uring_sqe *sqe;

	if (u->parked)
		return NULL;
	sqe = u->has_polled ? vdb__uring_polled_sqe(u, io) : NULL;
	return sqe ? sqe : get_sqe(u);
}

static bool start(struct uring *u, struct vdb_io *io)
{
	struct vdb__io *own = vdb__io_own(io);
	struct io_uring_sqe *sqe = sqe_for(u, io);

	if (!sqe)
		return false;
	if (own->flags & IO_WAITING)
		io_uring_prep_poll_add(sqe, io->fd, poll_for(io));
	else
		(void)prep_op(u, sqe, io);
	name_file(u, sqe, io);
	io_uring_sqe_set_data(sqe, tagged(io, TAG_IO));
	own->flags |= IO_SENT;
	u->inflight++;
	if (io->flags & VDB_IO_DIRECT && !(own->flags & IO_POLLED)) {
		u->fresh++;
		hand_over_early(u);
	}
	return true;
}

void vdb__uring_start(struct uring *u, struct vdb_io *io)
{
	struct vdb_loop *loop = u->engine.loop;
	struct vdb__io *own = vdb__io_own(io);

	if (vdb__list_empty(&loop->backlog) && start(u, io))
		return;
	vdb__list_remove(&own->link);
	vdb__list_append(&loop->backlog, &own->link);
}

/* Learnt of the file: not here, unless by a system call. */
static bool waits(const struct uring *u, const struct vdb_io *io)
{
	const struct vdb__file_slot *slot = vdb__file_known(&u->engine.loop->files, io->file);

	return io->flags & VDB_IO_NOWAIT && slot && slot->waits;
}

void vdb__uring_submit(struct vdb__engine *engine, struct vdb_io *io)
{
	struct uring *u = vdb__uring_of(engine);

	if (u->failed)
		vdb__io_done_later(engine->loop, io, u->failed);
	else if (io->op < VDB_IO_READV || io->op > VDB_IO_POLL)
		vdb__io_done_later(engine->loop, io, -EINVAL);
	else if (waits(u, io))
		vdb__io_done_later(engine->loop, io, vdb__io_at_once(engine->loop, io));
	else
		vdb__uring_start(u, io);
}

void vdb__uring_cancel(struct vdb__engine *engine, struct vdb_io *io)
{
	struct uring *u = vdb__uring_of(engine);
	struct vdb__io *own = vdb__io_own(io);

	if (own->flags & IO_CANCEL)
		return;
	own->flags |= IO_CANCEL;
	if (!(own->flags & IO_SENT)) {
		vdb__io_done_later(engine->loop, io, -ECANCELED);
	} else if (own->flags & IO_POLLED) {
		return; /* ends by itself, soon */
	} else if (!send_cancel(u, io)) {
		own->flags |= IO_UNCANCELLED;
		u->uncancelled++;
	}
}

int vdb__uring_watch(struct vdb__engine *engine, struct vdb__watch *watch)
{
	struct uring *u = vdb__uring_of(engine);

	if (u->failed)
		return vdb__fail_sys(-u->failed, "loop: io_uring had failed");
	if (!arm(u, watch))
		vdb__list_append(&u->unarmed, &watch->link);
	return 0;
}

void vdb__uring_unwatch(struct vdb__engine *engine, struct vdb__watch *watch)
{
	struct uring *u = vdb__uring_of(engine);

	if (!watch->armed)
		vdb__watch_gone(watch); /* off the unarmed list */
	else if (!disarm(u, watch))
		vdb__list_append(&u->unsent, &watch->link);
}

/* ---- What found no room ---- */

/* Arming reports at once what ever rang. More of that than the CQ holds would end the
 * polls again, for ever. */
static unsigned room_for_arming(const struct uring *u)
{
	unsigned flags = vdb__uring_kernel_flags(u), ready = io_uring_cq_ready(&u->ring);
	unsigned room = (*u->ring.cq.kring_entries - ready) / 4;

	if (flags & IORING_SQ_CQ_OVERFLOW)
		return 0;
	return room || ready || flags & IORING_SQ_TASKRUN ? room : 1;
}

static void flush_watches(struct uring *u)
{
	unsigned room = room_for_arming(u);

	while (!vdb__list_empty(&u->unarmed) && room-- &&
	       arm(u, vdb__container(u->unarmed.next, struct vdb__watch, link)))
		vdb__list_remove(u->unarmed.next);
	while (!vdb__list_empty(&u->unsent) &&
	       disarm(u, vdb__container(u->unsent.next, struct vdb__watch, link)))
		vdb__list_remove(u->unsent.next);
}

static void flush_cancels(struct uring *u)
{
	struct vdb__list *list = &u->engine.loop->inflight, *entry;

	for (entry = list->next; u->uncancelled && entry != list; entry = entry->next) {
		struct vdb__io *own = vdb__container(entry, struct vdb__io, link);

		if (!(own->flags & IO_UNCANCELLED))
			continue;
		if (!send_cancel(u, vdb__io_of(own)))
			return;
		own->flags &= (uint16_t)~IO_UNCANCELLED;
		u->uncancelled--;
	}
}

static void flush_ios(struct uring *u)
{
	struct vdb_loop *loop = u->engine.loop;

	while (!vdb__list_empty(&loop->backlog)) {
		struct vdb__io *own = vdb__container(loop->backlog.next, struct vdb__io, link);

		if (!start(u, vdb__io_of(own)))
			return;
		vdb__list_remove(&own->link);
		vdb__list_append(&loop->inflight, &own->link);
	}
}

bool vdb__uring_waits_for_room(const struct uring *u)
{
	return !vdb__list_empty(&u->unarmed) || !vdb__list_empty(&u->unsent) || u->uncancelled ||
	       (!u->parked && !vdb__list_empty(&u->engine.loop->backlog));
}

void vdb__uring_flush(struct uring *u)
{
	if (!vdb__uring_waits_for_room(u))
		return;
	flush_watches(u);
	flush_cancels(u);
	flush_ios(u);
}
