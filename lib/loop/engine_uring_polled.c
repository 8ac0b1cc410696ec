/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VDB_LOOP_IOPOLL: a ring of its own for reads and writes that are polled for with their device. It
 * takes nothing else, and tells of nothing by itself: while something is in flight there, every
 * turn looks. Files get there by number only, so that what is learnt of one is forgotten with it.
 */
#include <errno.h>

#include "loop/engine_uring.h"

void vdb__uring_polled_open(struct uring *u)
{
	if (!(u->engine.loop->config.flags & VDB_LOOP_IOPOLL))
		return;
	u->has_polled = !vdb__uring_open_polled(u->engine.loop, &u->polled);
	if (u->has_polled && !vdb__uring_restrict(&u->polled, true))
		vdb__uring_has(u, VDB_LOOP_HAS_RESTRICTIONS, false); /* of both, or none */
	vdb__uring_has(u, VDB_LOOP_HAS_IOPOLL, u->has_polled);
}

void vdb__uring_polled_close(struct uring *u)
{
	if (!u->has_polled)
		return;
	io_uring_queue_exit(&u->polled);
	u->has_polled = u->polled_buffers = false;
	u->polled_files = u->polling = 0;
}

void vdb__uring_polled_enable(struct uring *u)
{
	if (!u->has_polled || !(u->polled.flags & IORING_SETUP_R_DISABLED) || !vdb__uring_enable(&u->polled))
		return;
	vdb__uring_polled_close(u);
	vdb__uring_has(u, VDB_LOOP_HAS_IOPOLL, false);
}

bool vdb__uring_polls(struct vdb__engine *engine, uint32_t index, int fd)
{
	struct uring *u = vdb__uring_of(engine);

	if (u->failed || !u->has_polled)
		return false;
	if (!u->polled_files)
		u->polled_files = vdb__uring_open_files(&u->polled);
	return index < u->polled_files && io_uring_register_files_update(&u->polled, index, &fd, 1) == 1;
}

struct io_uring_sqe *vdb__uring_polled_sqe(struct uring *u, struct vdb_io *io)
{
	const struct vdb__file_slot *slot = vdb__file_known(&u->engine.loop->files, io->file);
	struct vdb__io *own = vdb__io_own(io);
	struct io_uring_sqe *sqe;

	if (!(io->flags & VDB_IO_DIRECT) || !slot || !slot->pollable || own->flags & IO_WAITING)
		return NULL;
	if (io->op != VDB_IO_READV && io->op != VDB_IO_WRITEV)
		return NULL;
	sqe = io_uring_get_sqe(&u->polled);
	if (!sqe) {
		(void)vdb__uring_poll(u);
		sqe = io_uring_get_sqe(&u->polled);
	}
	if (!sqe)
		return NULL;
	own->flags |= IO_POLLED;
	u->polling++;
	return sqe;
}

int vdb__uring_poll(struct uring *u)
{
	vdb__count(&u->engine.loop->stats.enters, 1);
	return io_uring_submit_and_get_events(&u->polled);
}

bool vdb__uring_unpolled(struct uring *u, const struct vdb_io *io, int res)
{
	struct vdb__file_slot *slot;

	if (res != -EOPNOTSUPP) {
		vdb__count(&u->engine.loop->stats.polled, 1);
		return false;
	}
	slot = vdb__file_known(&u->engine.loop->files, io->file);
	if (slot)
		slot->pollable = false;
	return slot;
}
