/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a chardev: what its files share. */
#ifndef VDB_IO_CHARDEV_STATE_H
#define VDB_IO_CHARDEV_STATE_H

#include <pthread.h>
#include <vdb/io.h>

#include "io/chardev.h"
#include "io/fifo.h"
#include "io/stream.h"
#include "loop/source.h"

#define VDB__STASH 4096u

/* One direction's host side. Loop's thread. */
struct vdb__chardev_side {
	struct vdb__stream stream;
	struct vdb_io io;
	struct iovec iov[2];
	bool busy; /* io is under way */
};

struct vdb_chardev {
	struct vdb_loop *loop;
	size_t (*output)(void *arg, const void *data, size_t len);
	size_t (*filter)(void *arg, char *data, size_t len);
	void (*closed)(void *arg, int output, int error);
	void *arg;

	/* Held for a copy, never for a call. */
	pthread_mutex_t lock;
	struct vdb__fifo out; /* only the loop drops from it: what lies in it lies still */
	struct vdb__fifo in;
	bool posted;     /* `work` is on its way */
	bool dead;       /* no post any more: the loop has let go */
	bool sinkless;   /* output goes nowhere: it is taken and forgotten */
	bool waits;      /* for the host to take output: no work to be woken for */
	bool stuck;      /* so, but for vdb_chardev_writable() */
	bool stalled;    /* the stash waits for room in `in` */
	bool told_input; /* readable() was called, and nobody has looked since */
	bool wants_room; /* put() did not fit */

	pthread_mutex_t user_lock; /* held during the calls to it; before `lock` */
	struct vdb__chardev_user user;
	bool bound;

	/* Loop's thread. */
	struct vdb__chardev_side tx, rx;
	char stash[VDB__STASH]; /* read, and not yet in `in` */
	size_t stash_at, stash_len;
	bool eof;     /* nothing more to read */
	bool closing; /* ends when no io and no post is under way */
	bool doomed;  /* vdb_chardev_destroy() was called */
	bool member;
	struct vdb__member as_member;
	struct vdb__post work, attach, destroy;
	uint32_t gone; /* released when the loop holds nothing of it */
	vdb_done_fn done;
	void *done_arg;
};

/* ---- chardev.c: bytes ---- */

/* Sees to it that the loop looks; with the lock held. */
void vdb__chardev_wake(struct vdb_chardev *chardev);

/* Takes both directions a step further and tells the device. Loop's thread. */
void vdb__chardev_pump(struct vdb_chardev *chardev);

/* Writes what it has as far as that does not block. Loop's thread. */
void vdb__chardev_flush(struct vdb_chardev *chardev);

/* ---- chardev_life.c ---- */

/* An io has ended: perhaps that was the last thing to wait for. */
void vdb__chardev_settled(struct vdb_chardev *chardev);

#endif
