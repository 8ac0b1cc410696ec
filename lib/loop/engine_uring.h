/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the io_uring engine share. */
#ifndef VDB_LOOP_ENGINE_URING_H
#define VDB_LOOP_ENGINE_URING_H

#include "loop/state.h"
#include "loop/uring.h"

/* user_data is a pointer with a tag in its low bits. */
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
	IO_POLLED = 16,     /* on the ring that is polled */
};

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
	bool known;             /* to its thread, by number */
	unsigned fresh;         /* of inflight, O_DIRECT and not handed over yet */
	unsigned signals;       /* since the last of the queue was handed over */
	unsigned polling;       /* of inflight, on the ring that is polled */
	struct io_uring polled; /* VDB_LOOP_IOPOLL */
	bool has_polled;
	unsigned polled_files; /* room in its table */
	bool polled_buffers;   /* it has them all, too */
	bool asked_for_files;
	unsigned files; /* room in the ring's table */
	bool asked_for_buffers, has_buffers;
	bool parked; /* nothing new is started */
	int failed;
};

static inline struct uring *vdb__uring_of(const struct vdb__engine *engine)
{
	return (struct uring *)(uintptr_t)engine;
}

static inline void *tagged(void *pointer, uintptr_t tag)
{
	return (void *)((uintptr_t)pointer | tag);
}

/* What the kernel, or its thread, has yet to be told of. */
static inline bool vdb__uring_unsent(const struct uring *u)
{
	if (u->ring.flags & IORING_SETUP_SQPOLL)
		return *u->ring.sq.ktail != u->ring.sq.sqe_tail;
	return io_uring_sq_ready(&u->ring);
}

/* Why the kernel wants to be entered although nothing is submitted. */
static inline unsigned vdb__uring_kernel_flags(const struct uring *u)
{
	return IO_URING_READ_ONCE(*u->ring.sq.kflags) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

/* ---- engine_uring.c ---- */

/* The engine has failed for good; returns the error. */
int vdb__uring_fail(struct uring *u, int err);

/* VDB_LOOP_HAS_*, in the statistics. */
void vdb__uring_has(struct uring *u, uint64_t feature, bool has);

/* ---- engine_uring_submit.c ---- */

void vdb__uring_submit(struct vdb__engine *engine, struct vdb_io *io);
void vdb__uring_cancel(struct vdb__engine *engine, struct vdb_io *io);
int vdb__uring_watch(struct vdb__engine *engine, struct vdb__watch *watch);
void vdb__uring_unwatch(struct vdb__engine *engine, struct vdb__watch *watch);

/* Into the SQ, or the backlog. */
void vdb__uring_start(struct uring *u, struct vdb_io *io);

/* What found no room is tried again. */
void vdb__uring_flush(struct uring *u);
bool vdb__uring_waits_for_room(const struct uring *u);

/* The system call, if there is any reason for it; waits for so many events. */
int vdb__uring_hand_over(struct uring *u, unsigned wait);

/* ---- engine_uring_known.c ---- */

/* A table with all slots empty; how many, 0 = the kernel makes none. */
unsigned vdb__uring_open_files(struct io_uring *ring);

bool vdb__uring_file(struct vdb__engine *engine, uint32_t index, int fd);
bool vdb__uring_buffer(struct vdb__engine *engine, uint32_t index, void *base, uint64_t len);

/* ---- engine_uring_signal.c ---- */

bool vdb__uring_signals(const struct uring *u);
bool vdb__uring_signal(struct vdb__engine *engine, int fd);
void vdb__uring_unsignal(struct vdb__engine *engine, int fd);
/* The ring takes no more. */
void vdb__uring_signal_all(struct uring *u);

/* ---- engine_uring_polled.c ---- */

/* Without one all is as before. */
void vdb__uring_polled_open(struct uring *u);
void vdb__uring_polled_enable(struct uring *u);
void vdb__uring_polled_close(struct uring *u);

/* The file becomes one that can be polled for, or none. */
bool vdb__uring_polls(struct vdb__engine *engine, uint32_t index, int fd);

/* An SQE of that ring for the io, NULL: it is for the other one. */
struct io_uring_sqe *vdb__uring_polled_sqe(struct uring *u, struct vdb_io *io);

/* Hands over what is queued there, and looks for what is done. */
int vdb__uring_poll(struct uring *u);

/* Its result is that the device is not polled for: the next ones go the ordinary way. */
bool vdb__uring_unpolled(struct uring *u, const struct vdb_io *io, int res);

/* ---- engine_uring_event.c ---- */

unsigned vdb__uring_reap(struct vdb__engine *engine);
bool vdb__uring_ready(const struct vdb__engine *engine);
bool vdb__uring_queued(const struct vdb__engine *engine);

#endif
