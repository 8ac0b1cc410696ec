/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine. user_data is a pointer with a tag in its low bits.
 *
 * Doorbells are multishot polls: one CQE per edge, the eventfd is never read. A poll
 * that ends (a full CQ ends them) is armed anew, and arming reports at once what is
 * readable already, so no ring is lost. What finds no room in the SQ waits in a list.
 */
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "loop/state.h"
#include "loop/uring.h"

enum {
	TAG_WATCH = 0,
	TAG_IO = 1,
	TAG_NONE = 2, /* the result of a cancellation: what was cancelled reports itself */
	TAG_MASK = 7,
};

/* Flags of an io. */
enum {
	IO_CANCEL = 1,      /* cancelled by its owner */
	IO_SENT = 2,        /* in the SQ or in the kernel */
	IO_WAITING = 4,     /* a poll stands for it, since it gave EAGAIN */
	IO_UNCANCELLED = 8, /* the cancellation has yet to be sent */
};

#define MAX_TRANSFER 0x7ffff000u
#define MAX_RETRIES 4096u   /* of one io, then it fails */
#define MAX_POLL_ERRORS 16u /* of one watch in a row, then the engine has failed */

struct uring {
	struct vdb__engine engine;
	struct io_uring ring;
	struct vdb__list unarmed; /* watches to be armed */
	struct vdb__list unsent;  /* watches whose removal found no room */
	unsigned inflight;        /* ios in the kernel's hands */
	unsigned uncancelled;     /* ios with IO_UNCANCELLED */
	unsigned barren;          /* submissions in a row that the kernel had no resources for */
	int event_fd;             /* for those who nest the loop */
	bool nested;
	bool enabled;
	bool parked; /* nothing new is started */
	int failed;
};

static struct uring *uring_of(const struct vdb__engine *engine)
{
	return (struct uring *)(uintptr_t)engine;
}

static void *tagged(void *pointer, uintptr_t tag)
{
	return (void *)((uintptr_t)pointer | tag);
}

/* ---- Failure for good ---- */

static int fail(struct uring *u, int err)
{
	struct vdb_loop *loop = u->engine.loop;
	struct vdb__list *entry, *next;

	if (u->failed)
		return vdb__fail_sys(-u->failed, "loop: io_uring had failed; destroy the loop");
	u->failed = err;
	io_uring_queue_exit(&u->ring);
	vdb__list_splice(&loop->inflight, &loop->backlog);
	for (entry = loop->inflight.next; entry != &loop->inflight; entry = next) {
		next = entry->next;
		vdb__io_done_later(loop, vdb__io_of(vdb__container(entry, struct vdb__io, link)), err);
	}
	for (entry = loop->watches.next; entry != &loop->watches; entry = entry->next) {
		struct vdb__watch *watch = vdb__container(entry, struct vdb__watch, all);

		watch->armed = false;
		if (watch->closing)
			vdb__watch_gone(watch);
	}
	return vdb__fail_sys(-err, "loop: io_uring_enter; destroy the loop");
}

/* ---- Submission ---- */

/* Why the kernel wants to be entered although nothing is submitted. */
static unsigned kernel_flags(const struct uring *u)
{
	return IO_URING_READ_ONCE(*u->ring.sq.kflags) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

static int submit(struct uring *u, unsigned wait)
{
	bool kernel_work = kernel_flags(u);
	int ret;

	if (wait)
		ret = io_uring_submit_and_wait(&u->ring, wait);
	else if (kernel_work)
		ret = io_uring_submit_and_get_events(&u->ring);
	else if (io_uring_sq_ready(&u->ring))
		ret = io_uring_submit(&u->ring);
	else
		return 0;
	vdb__count(&u->engine.loop->stats.enters, 1);
	/* IORING_SQ_TASKRUN may outlive its work (Linux 6.18 leaves it set when more comes while it runs what
	 * is left of more than 20) until there is other work. Waiting does not go by it. */
	u->engine.blind = !io_uring_cq_ready(&u->ring) && kernel_flags(u) & IORING_SQ_TASKRUN;
	return ret;
}

/* NULL: the kernel takes no more for now; the caller keeps it for later. */
static struct io_uring_sqe *get_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (sqe || !u->enabled)
		return sqe;
	(void)submit(u, 0); /* an error comes again, where it can be told */
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

/* One piece needs no iovec, which the kernel would copy. */
static bool prep_op(struct io_uring_sqe *sqe, const struct vdb_io *io)
{
	switch (io->op) {
	case VDB_IO_READV:
		if (io->niov == 1)
			io_uring_prep_read(sqe, io->fd, io->iov->iov_base, one_length(io), io->offset);
		else
			io_uring_prep_readv(sqe, io->fd, io->iov, io->niov, io->offset);
		return true;
	case VDB_IO_WRITEV:
		if (io->niov == 1)
			io_uring_prep_write(sqe, io->fd, io->iov->iov_base, one_length(io), io->offset);
		else
			io_uring_prep_writev(sqe, io->fd, io->iov, io->niov, io->offset);
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

static bool start(struct uring *u, struct vdb_io *io)
{
	struct vdb__io *own = vdb__io_own(io);
	struct io_uring_sqe *sqe = u->parked ? NULL : get_sqe(u);

	if (!sqe)
		return false;
	if (own->flags & IO_WAITING)
		io_uring_prep_poll_add(sqe, io->fd, poll_for(io));
	else
		(void)prep_op(sqe, io);
	io_uring_sqe_set_data(sqe, tagged(io, TAG_IO));
	own->flags |= IO_SENT;
	u->inflight++;
	return true;
}

static void start_or_queue(struct uring *u, struct vdb_io *io)
{
	struct vdb_loop *loop = u->engine.loop;
	struct vdb__io *own = vdb__io_own(io);

	if (vdb__list_empty(&loop->backlog) && start(u, io))
		return;
	vdb__list_remove(&own->link);
	vdb__list_append(&loop->backlog, &own->link);
}

static void uring_submit(struct vdb__engine *engine, struct vdb_io *io)
{
	struct uring *u = uring_of(engine);

	if (u->failed)
		vdb__io_done_later(engine->loop, io, u->failed);
	else if (io->op < VDB_IO_READV || io->op > VDB_IO_POLL)
		vdb__io_done_later(engine->loop, io, -EINVAL);
	else
		start_or_queue(u, io);
}

static void uring_cancel(struct vdb__engine *engine, struct vdb_io *io)
{
	struct uring *u = uring_of(engine);
	struct vdb__io *own = vdb__io_own(io);

	if (own->flags & IO_CANCEL)
		return;
	own->flags |= IO_CANCEL;
	if (!(own->flags & IO_SENT)) {
		vdb__io_done_later(engine->loop, io, -ECANCELED);
	} else if (!send_cancel(u, io)) {
		own->flags |= IO_UNCANCELLED;
		u->uncancelled++;
	}
}

static int uring_watch(struct vdb__engine *engine, struct vdb__watch *watch)
{
	struct uring *u = uring_of(engine);

	if (u->failed)
		return vdb__fail_sys(-u->failed, "loop: io_uring had failed");
	if (!arm(u, watch))
		vdb__list_append(&u->unarmed, &watch->link);
	return 0;
}

static void uring_unwatch(struct vdb__engine *engine, struct vdb__watch *watch)
{
	struct uring *u = uring_of(engine);

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
	unsigned flags = kernel_flags(u), ready = io_uring_cq_ready(&u->ring);
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

static bool waiting_for_room(const struct uring *u)
{
	return !vdb__list_empty(&u->unarmed) || !vdb__list_empty(&u->unsent) || u->uncancelled ||
	       (!u->parked && !vdb__list_empty(&u->engine.loop->backlog));
}

static void flush(struct uring *u)
{
	if (!waiting_for_room(u))
		return;
	flush_watches(u);
	flush_cancels(u);
	flush_ios(u);
}

/* ---- Waiting ---- */

static void nap(void)
{
	const struct timespec millisecond = {.tv_nsec = 1000000};

	(void)nanosleep(&millisecond, NULL);
}

/* EINTR, EAGAIN (no memory just now), EBUSY (the CQ must be reaped first): go on. */
static int judge(struct uring *u, int ret)
{
	if (ret >= 0 || ret == -EINTR || ret == -ETIME) {
		u->barren = 0;
		return 0;
	}
	if (ret == -EAGAIN || ret == -EBUSY) {
		if (!io_uring_cq_ready(&u->ring) && ++u->barren > 1)
			nap();
		return 0;
	}
	return fail(u, ret);
}

static int uring_enter(struct vdb__engine *engine, bool wait)
{
	struct uring *u = uring_of(engine);

	if (u->failed) {
		if (wait)
			nap(); /* only others' posts can help now */
		return fail(u, u->failed);
	}
	flush(u);
	if (wait && !waiting_for_room(u) && !io_uring_cq_ready(&u->ring)) {
		vdb__count(&engine->loop->stats.sleeps, 1);
		return judge(u, submit(u, 1));
	}
	return judge(u, submit(u, 0));
}

/* ---- Events ---- */

static void watch_event(struct uring *u, struct vdb__watch *watch, const struct io_uring_cqe *cqe)
{
	struct vdb_loop *loop = u->engine.loop;

	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		watch->armed = false;
		vdb__list_remove(&watch->link);
		if (watch->closing) {
			vdb__watch_gone(watch);
			return;
		}
		vdb__count(&loop->stats.rearms, 1);
		vdb__list_append(&u->unarmed, &watch->link);
	}
	if (watch->closing)
		return;
	watch->errors = cqe->res < 0 ? watch->errors + 1 : 0;
	if (watch->errors > MAX_POLL_ERRORS)
		(void)fail(u, cqe->res);
	else
		watch->rang(watch); /* after an error too: nobody knows what was missed */
}

/* What must be done again: true if it was. A pipe that gave EAGAIN is waited for. */
static bool again(struct uring *u, struct vdb_io *io, int res)
{
	struct vdb__io *own = vdb__io_own(io);
	bool parked = u->parked && (res == -ECANCELED || res == -EINTR || res == -EAGAIN);

	if (own->flags & IO_CANCEL)
		return false;
	if (own->flags & IO_WAITING && res >= 0)
		own->flags &= (uint16_t)~IO_WAITING;
	else if (res == -EAGAIN && (io->op == VDB_IO_READV || io->op == VDB_IO_WRITEV))
		own->flags |= IO_WAITING;
	else if (res != -EINTR && res != -EAGAIN && !parked)
		return false;
	if (!parked && ++own->retries > MAX_RETRIES)
		return false;
	start_or_queue(u, io);
	return true;
}

static void io_event(struct uring *u, struct vdb_io *io, int res)
{
	struct vdb__io *own = vdb__io_own(io);

	u->inflight--;
	if (own->flags & IO_UNCANCELLED)
		u->uncancelled--;
	own->flags &= (uint16_t) ~(IO_SENT | IO_UNCANCELLED);
	if (again(u, io, res))
		return;
	if (own->flags & IO_CANCEL && (res == -EINTR || res == -EAGAIN || own->flags & IO_WAITING))
		res = -ECANCELED;
	vdb__io_done(io, res);
}

static void event(struct uring *u, const struct io_uring_cqe *cqe)
{
	void *pointer = (void *)(uintptr_t)(cqe->user_data & ~(uint64_t)TAG_MASK);

	switch (cqe->user_data & TAG_MASK) {
	case TAG_WATCH:
		watch_event(u, pointer, cqe);
		break;
	case TAG_IO:
		io_event(u, pointer, cqe->res);
		break;
	default:
		break;
	}
}

/* Each CQE is copied and its slot given back before its handler runs: that may submit. */
static unsigned uring_reap(struct vdb__engine *engine)
{
	struct uring *u = uring_of(engine);
	unsigned count;

	if (u->failed)
		return 0;
	if (io_uring_cq_has_overflow(&u->ring))
		engine->loop->rescan = true;
	count = io_uring_cq_ready(&u->ring);
	for (unsigned i = 0; i < count && !u->failed; i++) {
		struct io_uring_cqe *next = NULL, cqe;

		if (io_uring_peek_cqe(&u->ring, &next) || !next)
			break;
		cqe = *next;
		io_uring_cq_advance(&u->ring, 1);
		event(u, &cqe);
	}
	vdb__count(&engine->loop->stats.events, count);
	return count;
}

static bool uring_ready(const struct vdb__engine *engine)
{
	struct uring *u = uring_of(engine);

	return u->failed || io_uring_cq_ready(&u->ring) ||
	       kernel_flags(u) & (engine->blind ? IORING_SQ_CQ_OVERFLOW : ~0u);
}

static bool uring_queued(const struct vdb__engine *engine)
{
	return !uring_of(engine)->failed && io_uring_sq_ready(&uring_of(engine)->ring);
}

/* ---- Which thread ---- */

static int uring_bind(struct vdb__engine *engine)
{
	struct uring *u = uring_of(engine);
	int err;

	if (u->failed)
		return 0; /* enter() says so */
	if (!u->enabled && u->ring.flags & IORING_SETUP_R_DISABLED) {
		err = vdb__uring_enable(&u->ring);
		if (err)
			return vdb__fail_sys(err, "loop: enable the io_uring");
	}
	u->enabled = true;
	u->parked = false;
	return 0;
}

static unsigned uring_inflight(const struct vdb__engine *engine)
{
	return uring_of(engine)->inflight;
}

/* Cancelled here, what is in flight goes to the backlog (again()). What cannot be cancelled
 * ends by itself, and is reported. Each cancellation is sent when it finds room, while what
 * has arrived is reaped: a full CQ would take no more. */
static int uring_park(struct vdb__engine *engine)
{
	struct uring *u = uring_of(engine);
	struct vdb__list *entry, *list = &engine->loop->inflight;
	int err = 0;

	u->parked = true;
	u->uncancelled = 0;
	for (entry = list->next; entry != list; entry = entry->next, u->uncancelled++)
		vdb__container(entry, struct vdb__io, link)->flags |= IO_UNCANCELLED;
	while (!err && u->inflight) {
		err = uring_enter(engine, true);
		vdb__loop_reap(engine->loop);
	}
	return err;
}

static int uring_fd(const struct vdb__engine *engine)
{
	return uring_of(engine)->failed ? -1 : uring_of(engine)->ring.ring_fd;
}

static void uring_destroy(struct vdb__engine *engine)
{
	struct uring *u = uring_of(engine);

	if (!u->failed)
		io_uring_queue_exit(&u->ring);
	free(u);
}

static const struct vdb__engine_ops uring_ops = {
        .kind = VDB_ENGINE_URING,
        .destroy = uring_destroy,
        .bind = uring_bind,
        .park = uring_park,
        .inflight = uring_inflight,
        .fd = uring_fd,
        .watch = uring_watch,
        .unwatch = uring_unwatch,
        .submit = uring_submit,
        .cancel = uring_cancel,
        .enter = uring_enter,
        .reap = uring_reap,
        .ready = uring_ready,
        .queued = uring_queued,
};

/* ---- Creation ---- */

int vdb__uring_create(struct vdb_loop *loop, struct vdb__engine **out)
{
	struct uring *u = calloc(1, sizeof(*u));
	unsigned flags = 0;
	int err;

	if (!u)
		return vdb__fail(ENOMEM, "loop: no memory");
	err = vdb__uring_open(loop, &u->ring, &flags);
	if (err) {
		free(u);
		return err;
	}
	u->engine.ops = &uring_ops;
	u->engine.loop = loop;
	vdb__list_init(&u->unarmed);
	vdb__list_init(&u->unsent);
	vdb__store(&loop->stats.uring_flags, flags);
	*out = &u->engine;
	return 0;
}
