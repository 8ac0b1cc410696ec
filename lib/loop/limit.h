/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a rate limit: two flows, and how much of each has been given out, shared by all
 * that are attached, whatever loop they are on. No lock on the way of a request: what is given is one word
 * each; the flows are read from one of two copies, of which only the other one is ever written.
 */
#ifndef VDB_LOOP_LIMIT_H
#define VDB_LOOP_LIMIT_H

#include <pthread.h>
#include <vdb/limit.h>

#include "base/list.h"
#include "loop/flow.h"

enum {
	VDB__BYTES,
	VDB__OPS,
	VDB__UNITS, /* how many there are */
};

struct vdb_limit {
	uint32_t refs; /* any thread */
	/* Of the flows: the copy in use is number `generation` % 2. */
	uint32_t generation;
	struct vdb__flow flows[2][VDB__UNITS];
	_Alignas(64) uint64_t given[VDB__UNITS]; /* any thread */
	uint32_t waiting;                        /* any thread */

	/* Under the lock, for those who attach, change and ask. */
	_Alignas(64) pthread_mutex_t lock;
	struct vdb__list permits;
	struct vdb_limit_stats past; /* of those that have gone */
};

/* ---- limit.c: any thread ---- */

struct vdb_limit *vdb__limit_ref(struct vdb_limit *limit); /* NULL is fine */
void vdb__limit_unref(struct vdb_limit *limit);            /* NULL is fine */

/* Takes at most `want` of what is there: how much; UINT64_MAX: there is no limit, and nothing was taken. */
uint64_t vdb__limit_take(struct vdb_limit *limit, unsigned unit, uint64_t want, uint64_t now);

/* Something is there. */
bool vdb__limit_open(struct vdb_limit *limit, unsigned unit, uint64_t now);

/* Gives out a portion that is not there yet: returns it, and when to have it. */
uint64_t vdb__limit_reserve(struct vdb_limit *limit, unsigned unit, uint64_t now, uint64_t *position);

/* The moment when a position is reached, ns. */
uint64_t vdb__limit_when(const struct vdb_limit *limit, unsigned unit, uint64_t position);

/* More was used than had been given, or less. */
void vdb__limit_charge(struct vdb_limit *limit, unsigned unit, uint64_t amount, uint64_t now);
void vdb__limit_refund(struct vdb_limit *limit, unsigned unit, uint64_t amount);

#endif
