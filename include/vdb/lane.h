/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane joins one queue to one loop and one backend. It is kicked by an
 * eventfd and interrupts by a trigger; where those come from (a doorbell, an
 * irqfd, a vhost-user peer, a test) it does not know.
 */
#ifndef VDB_LANE_H
#define VDB_LANE_H

#include <vdb/backend.h>
#include <vdb/limit.h>
#include <vdb/loop.h>
#include <vdb/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_lane;

struct vdb_lane_config {
	uint32_t size;
	int32_t kick_fd; /* eventfd, duplicated, never read; -1 or 0 = none, see vdb_lane_kick() */
	int32_t call_fd; /* eventfd, duplicated, made O_NONBLOCK; written 1 to interrupt; -1 or 0 = none */
	/* Requests that the backend has at once; 0 = 128. Each that has more than 4 pieces takes
	 * up to 26 KiB (24 bytes a piece, by the ring's max_segments), kept for later ones
	 * until the lane is destroyed. */
	uint32_t max_inflight;
	void (*trigger)(void *arg); /* instead of call_fd; loop's thread */
	void *trigger_arg;
	struct vdb_tenant *tenant; /* NULL: one of its own */
	/* The queue was stopped because of guest misconduct or host failure: VDB_REASON_*.
	 * Loop's thread. NULL: the guest is told all the same. */
	void (*broken)(void *arg, uint32_t reason);
	void *broken_arg;
	/* Of its own, or shared with others; its tenant's applies besides. Holds a reference. NULL: none. */
	struct vdb_limit *limit;
};

/*
 * Attaches queue and backend to the loop; takes the queue over on success only.
 * Returns before the loop has it: the first turn after that serves it. Any thread.
 */
VDB_MUST_CHECK int vdb_lane_create(struct vdb_loop *loop, struct vdb_queue *queue,
                                   struct vdb_backend *backend, const struct vdb_lane_config *config,
                                   struct vdb_lane **out);

/*
 * Takes no more requests; when those in flight are complete (and their completions
 * published) frees lane and queue and calls done(arg) (may be NULL) on the
 * loop's thread. What the loop itself works on (COPY, FILL, VDB_REQ_INLINE) is not gone
 * on with, here as in a reset by the guest: it ends with -ECANCELED. Any thread. NULL is
 * fine. When the loop was destroyed first, the lane has let go of everything already: it
 * is freed and done called here. Not while vdb_loop_destroy() runs on another thread:
 * before or after it, as the caller orders.
 */
void vdb_lane_destroy(struct vdb_lane *lane, vdb_done_fn done, void *arg);

/*
 * Moves a lane that is in use to another loop; its guest notices nothing. The lane takes no more requests;
 * when those in flight are complete, and published, the old loop lets go of the doorbell and the new one
 * serves the queue, at once: bells that rang meanwhile are not lost. Requests that wait for the outside
 * are cancelled, as by a virtio device's quiesce (see `cancel` in vdb/backend.h); what is INLINE is gone on
 * with. Counters go on.
 *
 * tenant: the lane's on the new loop, which it must be of. NULL: if the lane has a tenant of its own
 * that one moves along, with its counters; if it shares one, it gets one of its own, with the same
 * limit. The lane's own limit moves along.
 *
 * Returns 0, and done(arg, status) (may be NULL) comes once, from the loop that has the lane then:
 *   0            it is served by `loop` (also if it was before)
 *   -ESHUTDOWN   `loop` was destroyed meanwhile: the lane is where it was
 *   -ECANCELED   the lane has ended: it was destroyed, or the loop that had it
 *   other -errno `loop` could not take it (its engine has failed, ENOSPC, ...): the lane is where it was.
 *                If that loop has been destroyed since, its queue is broken, VDB_REASON_HOST.
 * -EBUSY: it is moving already; -EOPNOTSUPP: its backend is VDB_BACKEND_FIXED; -EINVAL; -ENOMEM;
 * -ECANCELED: its loop, or `loop`, has been destroyed. Any thread, but not after vdb_lane_destroy().
 */
VDB_MUST_CHECK int vdb_lane_move(struct vdb_lane *lane, struct vdb_loop *loop, struct vdb_tenant *tenant,
                                 void (*done)(void *arg, int status), void *arg);

/* As if the doorbell had rung. Any thread. Nothing happens once the loop is gone. */
void vdb_lane_kick(struct vdb_lane *lane);

/* Monotonic counters. Any thread, at no cost to the loop. */
struct vdb_lane_stats {
	uint32_t size;
	uint32_t state;       /* VDB_RING_* of the queue */
	uint64_t requests;    /* taken off the queue */
	uint64_t completions; /* published */
	uint64_t errors;      /* of those, with a negative result */
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t flushes; /* of these and the next two: served, without an error */
	uint64_t discards;
	uint64_t zeroes;     /* WRITE_ZEROES */
	uint64_t kicks;      /* doorbells that arrived */
	uint64_t visits;     /* times served */
	uint64_t poll_hits;  /* visits that found requests which no doorbell had announced */
	uint64_t triggers;   /* interrupts raised */
	uint64_t suppressed; /* batches published without one, since the guest did not ask */
	uint64_t resets;
	uint64_t broken;
	uint32_t inflight;  /* now */
	uint32_t poll_ns;   /* now: how long after its last use the loop looks at it */
	uint64_t coalesced; /* interrupts that were one with one held back */
	uint64_t moves;     /* to another loop */
};
VDB_MUST_CHECK int vdb_lane_stats(const struct vdb_lane *lane, struct vdb_lane_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
