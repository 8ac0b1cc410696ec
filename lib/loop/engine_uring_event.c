/* SPDX-License-Identifier: Apache-2.0 */
/* What the io_uring engine hears from the kernel. */
#include <errno.h>

#include "loop/engine_uring.h"

#define MAX_RETRIES 4096u   /* of one io, then it fails */
#define MAX_POLL_ERRORS 16u /* of one watch in a row, then the engine has failed */

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
		(void)vdb__uring_fail(u, cqe->res);
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
	else if (res == -EAGAIN && io->flags & VDB_IO_NOWAIT)
		return false;
	else if (res == -EAGAIN && (io->op == VDB_IO_READV || io->op == VDB_IO_WRITEV))
		own->flags |= IO_WAITING;
	else if (res != -EINTR && res != -EAGAIN && !parked)
		return false;
	if (!parked && ++own->retries > MAX_RETRIES)
		return false;
	vdb__uring_start(u, io);
	return true;
}

/* The kernel cannot do it without waiting, as it says of each file; a system call of a file that does not
 * block can. */
static int64_t not_so(struct uring *u, const struct vdb_io *io)
{
	struct vdb__file_slot *slot = vdb__file_known(&u->engine.loop->files, io->file);

	if (slot)
		slot->waits = true;
	return vdb__io_at_once(u->engine.loop, io);
}

static void io_event(struct uring *u, struct vdb_io *io, int res)
{
	struct vdb__io *own = vdb__io_own(io);

	u->inflight--;
	if (own->flags & IO_UNCANCELLED)
		u->uncancelled--;
	own->flags &= (uint16_t) ~(IO_SENT | IO_UNCANCELLED);
	if (own->flags & IO_POLLED) {
		u->polling--;
		own->flags &= (uint16_t)~IO_POLLED;
		if (vdb__uring_unpolled(u, io, res))
			res = -EINTR; /* to be done again */
	}
	if (again(u, io, res))
		return;
	if (own->flags & IO_CANCEL && (res == -EINTR || res == -EAGAIN || own->flags & IO_WAITING))
		res = -ECANCELED;
	vdb__io_done(io, io->flags & VDB_IO_NOWAIT && res == -EOPNOTSUPP ? not_so(u, io) : res);
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
static unsigned reap_ring(struct uring *u, struct io_uring *ring)
{
	unsigned count = io_uring_cq_ready(ring);

	for (unsigned i = 0; i < count && !u->failed; i++) {
		struct io_uring_cqe *next = NULL, cqe;

		if (io_uring_peek_cqe(ring, &next) || !next)
			break;
		cqe = *next;
		io_uring_cq_advance(ring, 1);
		event(u, &cqe);
	}
	return count;
}

unsigned vdb__uring_reap(struct vdb__engine *engine)
{
	struct uring *u = vdb__uring_of(engine);
	unsigned count;

	if (u->failed)
		return 0;
	if (io_uring_cq_has_overflow(&u->ring))
		engine->loop->rescan = true;
	count = reap_ring(u, &u->ring);
	if (u->polling && !u->failed)
		count += reap_ring(u, &u->polled);
	vdb__count(&engine->loop->stats.events, count);
	return count;
}

bool vdb__uring_ready(const struct vdb__engine *engine)
{
	struct uring *u = vdb__uring_of(engine);

	return u->failed || u->polling || io_uring_cq_ready(&u->ring) ||
	       vdb__uring_kernel_flags(u) & (engine->blind ? IORING_SQ_CQ_OVERFLOW : ~0u);
}

bool vdb__uring_queued(const struct vdb__engine *engine)
{
	return !vdb__uring_of(engine)->failed && vdb__uring_unsent(vdb__uring_of(engine));
}
