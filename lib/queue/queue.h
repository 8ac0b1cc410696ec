/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue, whatever its layout: where a driver in the guest leaves requests and
 * finds completions. Knows no fd, no loop, no irq. All calls come from one
 * thread, the loop's, after vdb_*_create().
 *
 * The three phases are the same for every kind: pop until empty; arm, full
 * fence, look again; publish once a batch and say whether to interrupt.
 */
#ifndef VDB_QUEUE_QUEUE_H
#define VDB_QUEUE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/ring.h>

#include "mem/view.h"

struct vdb_queue;

/* One piece of guest memory as the guest named it: not checked. */
struct vdb__seg {
	vdb_gpa_t gpa;
	uint64_t len;
};

/* A popped request: copied out of guest memory, each word once. */
struct vdb__elem {
	uint64_t cookie; /* names it in complete(): user_data, or a descriptor head */
	uint8_t op;
	uint8_t flags;
	uint16_t first; /* segs[first..first+nseg) are the data */
	uint32_t nseg;
	uint32_t nread; /* USER of a virtqueue: of these, the first that are only to be read */
	uint64_t offset;
	uint64_t len;   /* of all segments, or of the operation if it has no data */
	int32_t error;  /* the request is malformed: complete it with this, do nothing */
	bool stable;    /* WRITE, WRITE_ZEROES: complete when a FLUSH after it has succeeded */
	uint16_t more;  /* that are behind it already, as far as is known: at least 1 if there are any */
	uint32_t steps; /* descriptors read for it: empty ones, and those of a chain that is too long, cost,
	                   too */
};

/* What the device tells the driver about itself. */
struct vdb__queue_identity {
	uint64_t capacity;
	uint32_t block_size;
	uint32_t ops;
};

struct vdb__queue_ops {
	const char *name;
	bool in_band; /* the driver resets it by the queue itself, which must be looked at for that */
	/* Once, on the loop's thread, before anything else: writes the device's lines. */
	void (*attach)(struct vdb_queue *q, const struct vdb__queue_identity *identity);
	/* Something to do? A few loads, no side effect: requests waiting, a handshake, a reset (not
	 * while that waits for requests in flight: look again after the last complete()). */
	bool (*pending)(struct vdb_queue *q);
	/* Handshakes that the driver asked for. `inflight`: requests popped and not completed.
	 * True: the queue may be popped. False: not now (reset waits for inflight 0, broken, off).
	 * publish() either way: a state may have changed. */
	bool (*ready)(struct vdb_queue *q, uint32_t inflight);
	/* The next request; segs has room for queue->max_segments. False: none, or broken now. */
	bool (*pop)(struct vdb_queue *q, struct vdb__elem *elem, struct vdb__seg *segs);
	/* Stages a completion; there is always room. `written`: bytes put into the guest's buffers
	 * (of a USER request: its result).
	 * Exactly once for each popped request, also after fail() and during a reset (dropped then). */
	void (*complete)(struct vdb_queue *q, uint64_t cookie, int64_t result, uint64_t written);
	/* Makes staged completions and freed slots visible, once. True: interrupt the guest. */
	bool (*publish)(struct vdb_queue *q);
	/* Asks for a doorbell, then looks again. True: work came in meanwhile, do not sleep. */
	bool (*arm)(struct vdb_queue *q);
	/* After arm(): no doorbell after all, since somebody looks. One may come all the same. */
	void (*disarm)(struct vdb_queue *q);
	/* The memory map changed under it: takes up the new one, in `view` too. */
	void (*remap)(struct vdb_queue *q);
	/* Stops for good until a reset: VDB_REASON_*. The driver is told at the next publish. */
	void (*fail)(struct vdb_queue *q, uint32_t reason);
	void (*destroy)(struct vdb_queue *q);
};

/* First member of every kind. */
struct vdb_queue {
	const struct vdb__queue_ops *ops;
	struct vdb__view view;
	uint32_t max_segments;
	uint32_t max_len;
	uint64_t capacity; /* of what is behind it; kept current by the lane, told from a reset on */
	uint32_t state;    /* VDB_RING_* */
	uint32_t reason;   /* VDB_REASON_* of the last break */
	uint64_t resets;   /* completed */
	uint64_t breaks;   /* times it became BROKEN */
};

#endif
