/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that is limited: what it may take in a visit, and its wait when that is nothing.
 *
 *     open      before a visit: takes from each limit, says in the source how far serve() may go
 *     close     after it: gives back what was not used, or charges what was overdrawn
 *     hold      work is left, but nothing to be had: reserves a portion, takes the source off every list;
 *               a timer brings it back when the portion has flowed
 *
 * A portion that is reserved has been given out: who comes later stands behind it, on whatever loop. So
 * those that wait are served in order, without a list that they would share. Loop's thread only, unless
 * said otherwise.
 */
#ifndef VDB_LOOP_THROTTLE_H
#define VDB_LOOP_THROTTLE_H

#include "loop/limit.h"
#include "loop/state.h"

struct vdb__throttle;

/* One source at one limit. */
struct vdb__permit {
	struct vdb__throttle *throttle;
	struct vdb_limit *limit; /* holds a reference */
	struct vdb__list link;   /* in limit->permits */
	uint64_t taken[VDB__UNITS];
	uint64_t portion[VDB__UNITS]; /* reserved, 0 = none */
	uint64_t position[VDB__UNITS];
	uint64_t since; /* when it began to wait, ns; 0 = it does not */
	/* One writer, any reader. */
	uint64_t bytes, ops, throttled, waited_ns;
};

#define VDB__PERMITS 2u /* its own limit and its tenant's */

struct vdb__throttle {
	struct vdb__source *source; /* NULL: it has gone, the post is still on its way */
	struct vdb_loop *loop;
	struct vdb_timer *timer;
	unsigned count;
	struct vdb__permit permits[VDB__PERMITS];

	/* Any thread. */
	uint32_t refs; /* the source's, and one of the post while that is queued */
	uint32_t told; /* it is */
	struct vdb__post post;
};

/* For a source that is being added: its throttle, if anything limits it. -ENOMEM. */
int vdb__throttle_add(struct vdb__source *source);
void vdb__throttle_remove(struct vdb__source *source);

void vdb__throttle_open(struct vdb__throttle *throttle, uint64_t budget);
void vdb__throttle_close(struct vdb__throttle *throttle, uint64_t requests, uint64_t bytes);

/* True: it is held back, on no list. */
bool vdb__throttle_hold(struct vdb__throttle *throttle);

/* It wants nothing now. */
void vdb__throttle_rest(struct vdb__throttle *throttle);

/* Served outside a visit. */
void vdb__throttle_charge(struct vdb__throttle *throttle, uint64_t bytes);

/* Its limit has changed. Any thread, the limit's lock is held. */
void vdb__permit_changed(struct vdb__permit *permit);

/* Adds what it has counted. Any thread, as above. */
void vdb__permit_count(const struct vdb__permit *permit, struct vdb_limit_stats *to);

#endif
