/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a native ring.
 *
 * Who writes what: the driver its line, sq_tail, cq_head, cq_event; the device
 * its line, sq_head, sq_event, cq_tail. The device keeps its own copies of what
 * it wrote here, in host memory, and never takes them from the guest's.
 *
 * Indices. `sq_head` counts requests taken, `cq_tail` completions staged. Each
 * request has exactly one completion and both start at zero, so
 *
 *     in flight            = sq_head - cq_tail
 *     cannot be overwritten = sq_head - cq_head    (in flight, staged or not reaped)
 *
 * Notification, both directions alike (driver to device; the other way read
 * cq_tail, cq_event, and "interrupt" for "ring"):
 *
 *     driver: store sq_tail; full fence; load sq_event; ring if it was passed
 *     device: store sq_event = sq_head; full fence; load sq_tail; sleep if equal
 *
 * One of the two fences comes first in the order of all fences. If the driver's, the
 * device sees the new sq_tail and does not sleep; if the device's, the driver sees
 * the new sq_event and rings. Without either fence both may see old values (the
 * stores still wait in the store buffers), and the request is left for ever.
 *
 * While the device is awake sq_event stays where it is, behind sq_tail, and no bell
 * rings. Handshakes always ring; state changes always interrupt.
 */
#ifndef VDB_QUEUE_RING_H
#define VDB_QUEUE_RING_H

#include "queue/queue.h"

struct vdb__ring {
	struct vdb_queue base;
	struct vdb_ring *shared; /* guest memory; NULL when that was removed */
	const uint64_t *sq;      /* guest memory, by words */
	uint64_t *cq;
	vdb_gpa_t gpa;
	uint32_t sq_entries;
	uint32_t cq_entries;
	uint64_t offered;
	struct vdb__queue_identity identity;

	uint32_t sq_head;      /* requests taken */
	uint32_t sq_published; /* of these, what the driver knows */
	uint32_t sq_tail;      /* the driver's, as last read and found good */
	uint32_t cq_tail;      /* completions staged */
	uint32_t cq_published; /* of these, what the driver may see */
	uint32_t cq_head;      /* the driver's, as last read and found good */

	uint32_t generation;
	uint32_t inflight; /* popped and not completed, of every generation */
	uint64_t accepted; /* features, latched when the driver got ready */
	bool resetting;    /* a reset waits for inflight 0 */
	bool changed;      /* the state did: the next publish interrupts */
};

static inline struct vdb__ring *vdb__ring(struct vdb_queue *q)
{
	return (struct vdb__ring *)(void *)q;
}

/* ring_handshake.c */
void vdb__ring_attach(struct vdb_queue *q, const struct vdb__queue_identity *identity);
bool vdb__ring_ready(struct vdb_queue *q, uint32_t inflight);
void vdb__ring_remap(struct vdb_queue *q);
void vdb__ring_break(struct vdb__ring *ring, uint32_t reason);
/* The driver asks for a reset, or gives its line: ready() has something to do. */
bool vdb__ring_beckons(const struct vdb__ring *ring);
/* Points `shared` and the arrays at guest memory again; false: that is not there. */
bool vdb__ring_translate(struct vdb__ring *ring);

/* ring_request.c: the request in slot sq_head, copied and checked. */
void vdb__ring_fetch(struct vdb__ring *ring, struct vdb__elem *elem, struct vdb__seg *segs);

#endif
