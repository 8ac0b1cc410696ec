/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue without a lane: a program of what the guest writes and what the lane does, in any order. Checked:
 * a head is in flight once at most, segments are within bounds, completions are as many as requests.
 */
#ifndef FUZZ_PLAY_H
#define FUZZ_PLAY_H

#include "queue/queue.h"
#include "ram.h"

#define PLAY_SEGS 64u
#define PLAY_INFLIGHT 256u

struct play {
	struct vdb_queue *queue;
	struct vdb__elem elem;
	struct vdb__seg segs[PLAY_SEGS];
	uint64_t inflight[PLAY_INFLIGHT]; /* cookies */
	uint32_t count;
	bool unique; /* a cookie names a head */
	bool open;   /* ready() has said so */
	uint64_t popped, completed, published;
};

/* max_segments of the queue is at most PLAY_SEGS, and it has at most PLAY_INFLIGHT requests. */
void play_open(struct play *p, struct vdb_queue *queue, bool unique);
/* Completes what is left, and destroys the queue. */
void play_close(struct play *p);

enum play_step {
	PLAY_POP,
	PLAY_COMPLETE,
	PLAY_PUBLISH,
	PLAY_ARM,
	PLAY_DISARM,
	PLAY_PENDING,
	PLAY_REMAP,
	PLAY_SERVE, /* all of it, as a lane does */
	PLAY_FAIL,
	PLAY_STEPS
};

void play_step(struct play *p, enum play_step step, struct fuzz_input *in);

#endif
