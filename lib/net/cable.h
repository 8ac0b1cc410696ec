/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a cable: a pair in front of each netdev, and queues of our own where a guest would have its.
 *
 *     netdev 0 -> pair 0's receive queue -> way 0 -> pair 1's transmit queue -> netdev 1
 *     netdev 0 <- pair 0's transmit queue <- way 1 <- pair 1's receive queue <- netdev 1
 *
 *     cable.c        its life
 *     cable_queue.c  the queues: who takes from where, and who is told
 *
 * All that the queues do is the loop's thread's.
 */
#ifndef VDB_NET_CABLE_H
#define VDB_NET_CABLE_H

#include <vdb/cable.h>

#include "base/list.h"
#include "net/pair.h"
#include "queue/queue.h"

/* Of each buffer: no packet is longer, nor what a tap reads to see that one is. Whole pages, an odd number of
 * them: what is at the beginning of all is spread over the cache. */
#define VDB__CABLE_BUFFER 0x11000u

struct vdb__cable_way;

struct vdb__cable_buf {
	struct vdb__list link;
	uint32_t len; /* of the packet in it */
};

struct vdb__cable_queue {
	struct vdb_queue base; /* first */
	struct vdb__cable_way *way;
	struct vdb__cable_queue *other; /* has work when this one has completed some */
	struct vdb_lane *lane;
	bool armed; /* its lane sleeps until it is told */
};

/* From a netdev to the other one. */
struct vdb__cable_way {
	struct vdb__cable_queue in, out;
	struct vdb__list empty; /* struct vdb__cable_buf; the last one used first, it is still in the cache */
	struct vdb__list filled; /* in order */
	struct vdb__cable_buf *bufs;
	vdb_gpa_t gpa; /* of the first */
};

/* Buffers from `gpa` on in `mem`. fini() also undoes an init() that failed; the lanes are gone. */
int vdb__cable_way_init(struct vdb__cable_way *way, struct vdb_mem *mem, vdb_gpa_t gpa, uint32_t buffers);
void vdb__cable_way_fini(struct vdb__cable_way *way);

#endif
