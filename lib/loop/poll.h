/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking instead of sleeping, and for how long. Loop's thread only.
 *
 * Every source has two budgets: so long after it was last active it is worth looking for a
 * request of the guest's (poll_ns), and so long for the host's answer to one (wait_ns). They are
 * learnt from the waits that went beyond them: one that a look could have bridged doubles the
 * budget, one that it could not have halves it, down to nothing. What is found within its budget
 * changes nothing. So a ring that is used all the time is looked at, one that is not costs no look.
 */
#ifndef VDB_LOOP_POLL_H
#define VDB_LOOP_POLL_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/loop.h>

#include "base/list.h"
#include "loop/source.h"

struct vdb__polling {
	uint32_t max_ns; /* of either budget; 0 = never */
	bool fixed;      /* every budget is max_ns, whatever it brings */
	uint32_t percent;
	int64_t credit;    /* ns that may be spent looking, if there is a cap: percent < 100 */
	uint64_t credited; /* up to when it has been given */
	uint32_t any_ns;   /* budget of the loop itself: so soon there is something, of one ring or another */
	uint64_t quiet;    /* ns, since when there has been nothing; 0 = there is, or it is not known */
	uint64_t now;      /* the clock, if it has been read in this turn; else 0 */
	struct vdb__list held; /* struct vdb__hold, in order of holding */
};

/* Pure: what a budget becomes by a wait of `gap`. */
uint32_t vdb__poll_adapt(uint32_t ns, uint64_t gap, uint32_t max);

/* Pure: what there is to spend after `elapsed`, if it was `credit`. */
int64_t vdb__poll_credit(int64_t credit, uint64_t elapsed, uint32_t percent);

void vdb__poll_init(struct vdb_loop *loop);

/* The clock, read once a turn at most, and once each time that the looks look at it. */
uint64_t vdb__poll_now(struct vdb_loop *loop);

/* A source was idle, and something came: a bell, or the host's answer. */
void vdb__poll_rang(struct vdb__source *source);

/* The source has been drained. */
void vdb__poll_start(struct vdb__source *source);

/* It is not worth another look. */
bool vdb__poll_over(struct vdb__source *source);

/* Looks at hot sources and for what arrives in memory until something is found: true. False: no
 * source is worth it any more. */
bool vdb__poll(struct vdb_loop *loop);

/* Lets those go that are due; all of them if nobody will look again soon. */
void vdb__holds_release(struct vdb_loop *loop, bool all);

#endif
