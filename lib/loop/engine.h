/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine waits for file descriptors and does host I/O: io_uring, or epoll and
 * a thread pool. It reports to the loop by the functions at the end.
 */
#ifndef VDB_LOOP_ENGINE_H
#define VDB_LOOP_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/io.h>
#include <vdb/loop.h>

#include "base/list.h"
#include "loop/source.h"

#define VDB__IO_DONE 1u /* has its result, waits for done() */

/* The library's part of struct vdb_io. */
struct vdb__io {
	struct vdb__list link; /* the loop's inflight, backlog or done list */
	struct vdb__post post; /* epoll: the pool's way back */
	int64_t result;
	uint16_t flags; /* the engine's */
	uint16_t state; /* VDB__IO_* */
	uint32_t retries;
} __attribute__((may_alias)); /* it is seen as uint64_t by its owner */
_Static_assert(sizeof(struct vdb__io) <= sizeof(((struct vdb_io *)0)->opaque), "fits into struct vdb_io");

static inline struct vdb__io *vdb__io_own(struct vdb_io *io)
{
	return (struct vdb__io *)(void *)io->opaque;
}

static inline struct vdb_io *vdb__io_of(struct vdb__io *own)
{
	return vdb__container(own, struct vdb_io, opaque);
}

struct vdb__engine {
	const struct vdb__engine_ops *ops;
	struct vdb_loop *loop;
	bool blind; /* what arrives may not show in ready(): it is to be waited for, not looked for */
};

struct vdb__engine_ops {
	uint32_t kind; /* VDB_ENGINE_* */
	void (*destroy)(struct vdb__engine *engine);

	/* The calling thread is the one that uses the engine from now on. Before, nobody
	 * did, or park() was called. `stays`: until park(). */
	int (*bind)(struct vdb__engine *engine, bool stays);
	/* After it no request is in the kernel's hands, so that the thread may end. Those that
	 * were wait in the loop's backlog for the next bind(). */
	int (*park)(struct vdb__engine *engine);
	/* Requests in the kernel's hands. */
	unsigned (*inflight)(const struct vdb__engine *engine);

	int (*fd)(const struct vdb__engine *engine); /* to sleep on, if loop->nested */
	int (*watch)(struct vdb__engine *engine, struct vdb__watch *watch);
	/* Ends with vdb__watch_gone(), perhaps at once. */
	void (*unwatch)(struct vdb__engine *engine, struct vdb__watch *watch);
	void (*submit)(struct vdb__engine *engine, struct vdb_io *io);
	void (*cancel)(struct vdb__engine *engine, struct vdb_io *io);

	/* The slot's file from now on; -1 = none. True if I/O may go by the index. NULL: never. */
	bool (*file)(struct vdb__engine *engine, uint32_t index, int fd);
	/* The same for being polled for. */
	bool (*polls)(struct vdb__engine *engine, uint32_t index, int fd);
	/* The same for memory, NULL = none. */
	bool (*buffer)(struct vdb__engine *engine, uint32_t index, void *base, uint64_t len);

	/* An eventfd is to be written with what is queued. False: there is no room, or it cannot. NULL:
	 * never. */
	bool (*signal)(struct vdb__engine *engine, int fd);
	/* What of that is still queued is written now. */
	void (*unsignal)(struct vdb__engine *engine, int fd);

	/* Hands to the kernel what is queued; waits for an event if `wait`. */
	int (*enter)(struct vdb__engine *engine, bool wait);
	/* Reports what has arrived, without a system call if possible. Returns how much. */
	unsigned (*reap)(struct vdb__engine *engine);
	/* Something has arrived? Memory is looked at, nothing else. */
	bool (*ready)(const struct vdb__engine *engine);
	/* Something is queued that only the next enter() starts? */
	bool (*queued)(const struct vdb__engine *engine);
};

int vdb__uring_create(struct vdb_loop *loop, struct vdb__engine **out);
int vdb__epoll_create(struct vdb_loop *loop, struct vdb__engine **out);

/* A VDB_IO_NOWAIT is done here, by a system call of its own. */
int64_t vdb__io_at_once(struct vdb_loop *loop, const struct vdb_io *io);

/* The io's done() is called, now or at the end of the reaping. */
void vdb__io_done(struct vdb_io *io, int64_t result);
void vdb__io_done_later(struct vdb_loop *loop, struct vdb_io *io, int64_t result);

/* The engine will not touch the watch any more. */
void vdb__watch_gone(struct vdb__watch *watch);

#endif
