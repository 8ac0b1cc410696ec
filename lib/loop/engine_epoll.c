/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epoll engine, for where io_uring is not to be had. Doorbells are edge-triggered
 * and never read. Disk I/O goes to the pool, or is done by enter() where there is none;
 * what waits for a peer is waited for with a duplicate of its descriptor, since epoll
 * takes each only once, and done when it is ready.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "loop/pool.h"
#include "loop/state.h"

#define EVENTS 256
#define TAG_IO 1u

/* Flags of an io. */
enum {
	IO_CANCEL = 1,  /* cancelled by its owner */
	IO_WAITING = 2, /* for readiness; own->result is the duplicate */
};

struct epoll {
	struct vdb__engine engine;
	struct vdb__pool *pool;
	int fd;
	int failed;
	unsigned count; /* events fetched and not yet reported */
	struct epoll_event events[EVENTS];
};

static struct epoll *epoll_of(const struct vdb__engine *engine)
{
	return (struct epoll *)(uintptr_t)engine;
}

/* ---- I/O that waits for readiness ---- */

static uint32_t events_for(const struct vdb_io *io)
{
	if (io->op == VDB_IO_POLL)
		return (uint32_t)io->mode;
	return io->op == VDB_IO_WRITEV ? EPOLLOUT : EPOLLIN;
}

static void stop_waiting(struct epoll *e, struct vdb_io *io)
{
	struct vdb__io *own = vdb__io_own(io);
	int fd = (int)own->result;

	own->flags &= (uint16_t)~IO_WAITING;
	(void)epoll_ctl(e->fd, EPOLL_CTL_DEL, fd, NULL); /* the file may live on without this number */
	close(fd);
}

/* 0, or -errno: EPERM where the file cannot be waited for. */
static int wait_for(struct epoll *e, struct vdb_io *io)
{
	struct vdb__io *own = vdb__io_own(io);
	struct epoll_event event = {.events = events_for(io) | EPOLLONESHOT};
	int fd = fcntl(io->fd, F_DUPFD_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	event.data.u64 = (uintptr_t)io | TAG_IO;
	if (epoll_ctl(e->fd, EPOLL_CTL_ADD, fd, &event)) {
		err = -errno;
		close(fd);
		return err;
	}
	own->result = fd;
	own->flags |= IO_WAITING;
	return 0;
}

static void wait_again(struct epoll *e, struct vdb_io *io)
{
	struct epoll_event event = {.events = events_for(io) | EPOLLONESHOT};

	event.data.u64 = (uintptr_t)io | TAG_IO;
	(void)epoll_ctl(e->fd, EPOLL_CTL_MOD, (int)vdb__io_own(io)->result, &event);
}

/* A pipe that is ready takes one page without waiting, as far as anybody promises. */
static ssize_t write_some(const struct vdb_io *io)
{
	struct iovec part = io->niov ? io->iov[0] : (struct iovec){0};
	struct stat st;

	if (fstat(io->fd, &st) || !S_ISFIFO(st.st_mode))
		return writev(io->fd, io->iov, (int)io->niov);
	if (part.iov_len > 4096)
		part.iov_len = 4096;
	return writev(io->fd, &part, 1);
}

static int64_t transfer_now(const struct vdb_io *io)
{
	bool read = io->op == VDB_IO_READV;
	int niov = (int)io->niov;
	ssize_t ret;

	do {
		ret = read ? preadv2(io->fd, io->iov, niov, -1, RWF_NOWAIT)
		           : pwritev2(io->fd, io->iov, niov, -1, RWF_NOWAIT);
		if (ret < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
			ret = read ? readv(io->fd, io->iov, niov) : write_some(io);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

static void io_event(struct epoll *e, struct vdb_io *io, uint32_t events)
{
	struct vdb__io *own = vdb__io_own(io);
	int64_t result = events;

	if (own->state & VDB__IO_DONE)
		return; /* cancelled since the event was fetched */
	if (io->op != VDB_IO_POLL)
		result = transfer_now(io);
	if (result == -EAGAIN) {
		wait_again(e, io);
		return;
	}
	stop_waiting(e, io);
	vdb__io_done_later(e->engine.loop, io, result);
}

/* ---- Submission ---- */

static void disk(struct epoll *e, struct vdb_io *io)
{
	struct vdb_loop *loop = e->engine.loop;

	if (e->pool) {
		vdb__pool_submit(e->pool, io);
		return;
	}
	vdb__list_remove(&vdb__io_own(io)->link);
	vdb__list_append(&loop->backlog, &vdb__io_own(io)->link);
}

static void ready_for_ever(struct epoll *e, struct vdb_io *io)
{
	if (io->op == VDB_IO_POLL)
		vdb__io_done_later(e->engine.loop, io,
		                   io->mode & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM));
	else
		disk(e, io);
}

static void epoll_submit(struct vdb__engine *engine, struct vdb_io *io)
{
	struct epoll *e = epoll_of(engine);
	bool data = io->op == VDB_IO_READV || io->op == VDB_IO_WRITEV;
	int err = 0;

	if (e->failed)
		err = e->failed;
	else if (io->op < VDB_IO_READV || io->op > VDB_IO_POLL)
		err = -EINVAL;
	else if (io->flags & VDB_IO_NOWAIT)
		vdb__io_done_later(engine->loop, io, vdb__io_at_once(engine->loop, io));
	else if (io->op == VDB_IO_POLL || (data && vdb__io_endless(io)))
		err = wait_for(e, io);
	else
		disk(e, io);
	if (err == -EPERM)
		ready_for_ever(e, io);
	else if (err)
		vdb__io_done_later(engine->loop, io, err);
}

static void epoll_cancel(struct vdb__engine *engine, struct vdb_io *io)
{
	struct epoll *e = epoll_of(engine);
	struct vdb__io *own = vdb__io_own(io);

	if (own->flags & IO_CANCEL)
		return;
	own->flags |= IO_CANCEL;
	if (own->flags & IO_WAITING)
		stop_waiting(e, io);
	else if (e->pool && !vdb__pool_withdraw(e->pool, io))
		return; /* a thread has it, and it ends by itself */
	vdb__io_done_later(engine->loop, io, -ECANCELED);
}

/* Without a pool: here, where nothing of the loop's is under way. */
static bool perform_backlog(struct vdb_loop *loop)
{
	struct vdb__list *entry;
	bool did = false;

	while ((entry = vdb__list_pop(&loop->backlog))) {
		struct vdb_io *io = vdb__io_of(vdb__container(entry, struct vdb__io, link));

		vdb__io_done_later(loop, io, vdb__io_perform(io));
		did = true;
	}
	return did;
}

/* ---- Watches ---- */

static int epoll_watch(struct vdb__engine *engine, struct vdb__watch *watch)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = watch};

	if (epoll_ctl(epoll_of(engine)->fd, EPOLL_CTL_ADD, watch->fd, &event))
		return vdb__fail_sys(errno, "loop: watch fd %d", watch->fd);
	watch->armed = true;
	return 0;
}

/* An event of it may have been fetched: it is freed only after all have been reported. */
static void epoll_unwatch(struct vdb__engine *engine, struct vdb__watch *watch)
{
	if (watch->armed)
		(void)epoll_ctl(epoll_of(engine)->fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->armed = false;
	vdb__watch_gone(watch);
}

/* ---- Waiting ---- */

/* What the pool has comes back by posts; what waits here never will. */
static int fail(struct epoll *e, int err)
{
	struct vdb_loop *loop = e->engine.loop;
	struct vdb__list *entry = loop->inflight.next, *next;

	e->failed = err;
	for (; entry != &loop->inflight; entry = next) {
		struct vdb__io *own = vdb__container(entry, struct vdb__io, link);

		next = entry->next;
		if (!(own->flags & IO_WAITING))
			continue;
		stop_waiting(e, vdb__io_of(own));
		vdb__io_done_later(loop, vdb__io_of(own), err);
	}
	return vdb__fail_sys(-err, "loop: epoll_wait; destroy the loop");
}

static int failed_before(struct epoll *e, bool wait)
{
	const struct timespec millisecond = {.tv_nsec = 1000000};

	if (wait)
		(void)nanosleep(&millisecond, NULL);
	return vdb__fail_sys(-e->failed, "loop: epoll had failed; destroy the loop");
}

static int epoll_enter(struct vdb__engine *engine, bool wait)
{
	struct epoll *e = epoll_of(engine);
	int count;

	if (perform_backlog(engine->loop))
		wait = false;
	if (e->failed)
		return failed_before(e, wait);
	if (e->count)
		return 0;
	if (wait)
		vdb__count(&engine->loop->stats.sleeps, 1);
	vdb__count(&engine->loop->stats.enters, 1);
	count = epoll_wait(e->fd, e->events, EVENTS, wait ? -1 : 0);
	if (count < 0)
		return errno == EINTR ? 0 : fail(e, -errno);
	e->count = (unsigned)count;
	return 0;
}

static unsigned epoll_reap(struct vdb__engine *engine)
{
	struct epoll *e = epoll_of(engine);
	unsigned count = e->count;

	for (unsigned i = 0; i < count; i++) {
		const struct epoll_event *event = &e->events[i];

		if (event->data.u64 & TAG_IO) {
			io_event(e, (struct vdb_io *)(uintptr_t)(event->data.u64 & ~(uint64_t)TAG_IO),
			         event->events);
		} else {
			struct vdb__watch *watch = event->data.ptr;

			if (!watch->closing)
				watch->rang(watch);
		}
	}
	e->count = 0;
	vdb__count(&engine->loop->stats.events, count);
	return count;
}

static bool epoll_ready(const struct vdb__engine *engine)
{
	return epoll_of(engine)->count || epoll_of(engine)->failed;
}

static bool epoll_queued(const struct vdb__engine *engine)
{
	return !vdb__list_empty(&engine->loop->backlog);
}

/* ---- Which thread: any ---- */

static int epoll_bind(struct vdb__engine *engine, bool stays)
{
	(void)stays;
	(void)engine;
	return 0;
}

static int epoll_park(struct vdb__engine *engine)
{
	(void)engine;
	return 0;
}

static unsigned epoll_inflight(const struct vdb__engine *engine)
{
	(void)engine;
	return 0;
}

static int epoll_fd(const struct vdb__engine *engine)
{
	return epoll_of(engine)->fd;
}

static void epoll_destroy(struct vdb__engine *engine)
{
	struct epoll *e = epoll_of(engine);

	vdb__pool_destroy(e->pool);
	if (e->fd >= 0)
		close(e->fd);
	free(e);
}

static const struct vdb__engine_ops epoll_ops = {
        .kind = VDB_ENGINE_EPOLL,
        .destroy = epoll_destroy,
        .bind = epoll_bind,
        .park = epoll_park,
        .inflight = epoll_inflight,
        .fd = epoll_fd,
        .watch = epoll_watch,
        .unwatch = epoll_unwatch,
        .submit = epoll_submit,
        .cancel = epoll_cancel,
        .enter = epoll_enter,
        .reap = epoll_reap,
        .ready = epoll_ready,
        .queued = epoll_queued,
};

int vdb__epoll_create(struct vdb_loop *loop, struct vdb__engine **out)
{
	struct epoll *e = calloc(1, sizeof(*e));
	int err = 0;

	if (!e)
		return vdb__fail(ENOMEM, "loop: no memory");
	e->engine.ops = &epoll_ops;
	e->engine.loop = loop;
	e->fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->fd < 0)
		err = vdb__fail_sys(errno, "loop: epoll_create1");
	else if (loop->config.pool_threads > 0)
		err = vdb__pool_create(loop, (unsigned)loop->config.pool_threads, &e->pool);
	if (err) {
		epoll_destroy(&e->engine);
		return err;
	}
	vdb__store(&loop->stats.uring_flags, 0);
	vdb__store(&loop->stats.features, e->pool && vdb__pool_placed(e->pool) ? VDB_LOOP_HAS_IO_CPUS : 0);
	*out = &e->engine;
	return 0;
}
