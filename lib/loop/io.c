/* SPDX-License-Identifier: Apache-2.0 */
/* Host I/O, whatever the engine. */
#include <errno.h>
#include <sys/stat.h>

#include "base/export.h"
#include "loop/pool.h"
#include "loop/state.h"

static bool flags_fit(const struct vdb_io *io)
{
	if (io->flags & VDB_IO_NOWAIT)
		return io->flags == VDB_IO_NOWAIT && (io->op == VDB_IO_READV || io->op == VDB_IO_WRITEV);
	return !(io->flags & ~VDB_IO_DIRECT);
}

VDB_EXPORT void vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io)
{
	struct vdb__io *own = vdb__io_own(io);

	*own = (struct vdb__io){0};
	vdb__list_append(&loop->inflight, &own->link);
	vdb__count(&loop->stats.ios, 1);
	if (!flags_fit(io))
		vdb__io_done_later(loop, io, -EINVAL);
	else if (loop->closing && vdb__io_endless(io))
		vdb__io_done_later(loop, io, -ECANCELED);
	else
		loop->engine->ops->submit(loop->engine, io);
	vdb__loop_nudge(loop);
}

bool vdb__io_batches(const struct vdb_loop *loop)
{
	return loop->engine->ops->kind == VDB_ENGINE_URING;
}

bool vdb__io_shares(const struct vdb_loop *loop)
{
	return vdb__io_batches(loop) && loop->engine->ops->queued(loop->engine);
}

int64_t vdb__io_now(struct vdb_loop *loop, int fd, const struct iovec *iov, uint32_t niov, uint64_t offset)
{
	ssize_t n = preadv2(fd, iov, (int)niov, (off_t)offset, RWF_NOWAIT);

	vdb__count(&loop->stats.nowaits, 1);
	if (n > 0)
		vdb__count(&loop->stats.nowait_hits, 1);
	return n < 0 ? -errno : n;
}

int64_t vdb__io_at_once(struct vdb_loop *loop, const struct vdb_io *io)
{
	int64_t n;

	do
		n = vdb__io_try(io);
	while (n == -EINTR);
	vdb__count(&loop->stats.nowaits, 1);
	if (n > 0)
		vdb__count(&loop->stats.nowait_hits, 1);
	return n;
}

VDB_EXPORT void vdb_io_cancel(struct vdb_loop *loop, struct vdb_io *io)
{
	if (!(vdb__io_own(io)->state & VDB__IO_DONE))
		loop->engine->ops->cancel(loop->engine, io);
	vdb__loop_nudge(loop);
}

void vdb__io_done(struct vdb_io *io, int64_t result)
{
	vdb__list_remove(&vdb__io_own(io)->link);
	io->done(io, result);
}

void vdb__io_done_later(struct vdb_loop *loop, struct vdb_io *io, int64_t result)
{
	struct vdb__io *own = vdb__io_own(io);

	own->result = result;
	own->state |= VDB__IO_DONE;
	vdb__list_remove(&own->link);
	vdb__list_append(&loop->done, &own->link);
}

/* One round: what the callbacks complete is the next turn's. */
unsigned vdb__ios_done(struct vdb_loop *loop)
{
	struct vdb__list round, *entry;
	unsigned count = 0;

	vdb__list_init(&round);
	vdb__list_splice(&round, &loop->done);
	while ((entry = vdb__list_pop(&round))) {
		struct vdb__io *own = vdb__container(entry, struct vdb__io, link);

		vdb__io_of(own)->done(vdb__io_of(own), own->result);
		count++;
	}
	return count;
}

/* Disk I/O ends by itself; what waits for a peer may not. */
bool vdb__io_endless(const struct vdb_io *io)
{
	struct stat st;

	if (io->op == VDB_IO_POLL)
		return true;
	return !fstat(io->fd, &st) && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode);
}

static void cancel_list(struct vdb_loop *loop, struct vdb__list *list, bool all)
{
	struct vdb__list *entry = list->next, *next;

	for (; entry != list; entry = next) {
		struct vdb_io *io = vdb__io_of(vdb__container(entry, struct vdb__io, link));

		next = entry->next;
		if (all || vdb__io_endless(io))
			loop->engine->ops->cancel(loop->engine, io);
	}
}

void vdb__ios_cancel(struct vdb_loop *loop, bool all)
{
	cancel_list(loop, &loop->backlog, all);
	cancel_list(loop, &loop->inflight, all);
}
