/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of a rate limit, without clock and without state: units flow at a rate, a
 * line on them says how many have been given out.
 *
 * Both are positions on one axis of units that never ends: what has flowed until a moment, and
 * `given`. As long as less has been given than has flowed there is something to take; what nobody
 * takes is lost but for the burst, that is, `given` is never farther behind. A position does not change
 * when the rate does: who waits for one waits for the same one.
 *
 * Positions are modulo 2^64. Differences stay far below 2^63: debts end at VDB__FLOW_DEBT, and the
 * origin is moved after it has been left behind by 2^62. All is exact but for one unit at each
 * change: no rate is too small, none too large.
 */
#ifndef VDB_LOOP_FLOW_H
#define VDB_LOOP_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#define VDB__FLOW_MAX (1ull << 60)  /* of rate and burst */
#define VDB__FLOW_DEBT (1ull << 61) /* more is forgiven */

struct vdb__flow {
	uint64_t rate;  /* units a second; 0 = no limit */
	uint64_t burst; /* units */
	uint64_t base;  /* the origin: so far it had flowed */
	uint64_t since; /* at that time, ns */
};

/* With `rate` and `burst` as given by the user, valid: 0 = the default. */
struct vdb__flow vdb__flow_begin(uint64_t rate, uint64_t burst, uint64_t now);

/* The same flow with other numbers from now on. */
struct vdb__flow vdb__flow_change(const struct vdb__flow *flow, uint64_t rate, uint64_t burst, uint64_t now);

/* Where it is now. */
uint64_t vdb__flow_at(const struct vdb__flow *flow, uint64_t now);

/* The origin is so far away that it has to be moved: vdb__flow_change() does. */
bool vdb__flow_far(const struct vdb__flow *flow, uint64_t now);

/* `given` when all of the burst is there. */
uint64_t vdb__flow_full(const struct vdb__flow *flow, uint64_t now);

/* Units that can be had now; UINT64_MAX without a limit. */
uint64_t vdb__flow_level(const struct vdb__flow *flow, uint64_t given, uint64_t now);

/* `given` when `amount` more have been, whether they are there or not. */
uint64_t vdb__flow_give(const struct vdb__flow *flow, uint64_t given, uint64_t amount, uint64_t now);

/* What one of several that wait gets at a time: at least 1. */
uint64_t vdb__flow_portion(const struct vdb__flow *flow);

/* The moment when `position` is reached, ns; 0 = long since. */
uint64_t vdb__flow_when(const struct vdb__flow *flow, uint64_t position);

#endif
