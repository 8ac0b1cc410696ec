/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/flow.h"

#define SECOND 1000000000u
#define FAR (1ull << 62)
#define END (3ull << 61) /* farther than that is all the same */

#define BURST_TIME (SECOND / 100)
#define BURST_TIME_MIN (SECOND / 1000)
#define PORTION_TIME (SECOND / 500)

__extension__ typedef unsigned __int128 wide;
__extension__ typedef __int128 difference;

/* Units that flow in `ns`, less than a second; and the part of a unit beyond them, in billionths. */
static uint64_t part(uint64_t rate, uint64_t ns, uint64_t *rest)
{
	uint64_t product = ns * rate;

	if (rate >> 34) { /* more than 64 bits; a division of that is slow */
		*rest = (uint64_t)((wide)ns * rate % SECOND);
		return (uint64_t)((wide)ns * rate / SECOND);
	}
	*rest = product % SECOND;
	return product / SECOND;
}

/* Since the origin. Clocks of other threads may have been read later than `now`. */
static uint64_t passed(const struct vdb__flow *flow, uint64_t now, uint64_t *rest)
{
	uint64_t ns = now > flow->since ? now - flow->since : 0, whole;

	*rest = 0;
	if (__builtin_mul_overflow(ns / SECOND, flow->rate, &whole) || whole >= END)
		return END;
	whole += part(flow->rate, ns % SECOND, rest);
	return whole < END ? whole : END;
}

static uint64_t burst_of(uint64_t rate, uint64_t burst)
{
	uint64_t rest, least = part(rate, BURST_TIME_MIN, &rest);

	if (!burst)
		burst = part(rate, BURST_TIME, &rest);
	if (burst < least)
		burst = least;
	return burst ? burst : 1;
}

struct vdb__flow vdb__flow_begin(uint64_t rate, uint64_t burst, uint64_t now)
{
	return (struct vdb__flow){.rate = rate, .burst = burst_of(rate, burst), .since = now};
}

/* The part of a unit that has flowed goes along, as the time that it takes at the new rate: who changes
 * limits often shall not stop them. */
struct vdb__flow vdb__flow_change(const struct vdb__flow *flow, uint64_t rate, uint64_t burst, uint64_t now)
{
	uint64_t rest, units = passed(flow, now, &rest);

	if (now < flow->since)
		now = flow->since;
	return (struct vdb__flow){
	        .rate = rate,
	        .burst = burst_of(rate, burst),
	        .base = flow->base + units,
	        .since = rate && rest / rate < now ? now - rest / rate : now,
	};
}

uint64_t vdb__flow_at(const struct vdb__flow *flow, uint64_t now)
{
	uint64_t rest;

	return flow->base + passed(flow, now, &rest);
}

bool vdb__flow_far(const struct vdb__flow *flow, uint64_t now)
{
	uint64_t rest;

	return passed(flow, now, &rest) >= FAR;
}

uint64_t vdb__flow_full(const struct vdb__flow *flow, uint64_t now)
{
	return vdb__flow_at(flow, now) - flow->burst;
}

/* How far `given` is behind; negative: it is ahead, which is debt. From the origin: what has flowed since
 * then may be any number. */
static difference behind(const struct vdb__flow *flow, uint64_t given, uint64_t now)
{
	uint64_t rest;

	return (difference)passed(flow, now, &rest) - (int64_t)(given - flow->base);
}

uint64_t vdb__flow_level(const struct vdb__flow *flow, uint64_t given, uint64_t now)
{
	difference level;

	if (!flow->rate)
		return UINT64_MAX;
	level = behind(flow, given, now);
	if (level <= 0)
		return 0;
	return level < (difference)flow->burst ? (uint64_t)level : flow->burst;
}

uint64_t vdb__flow_give(const struct vdb__flow *flow, uint64_t given, uint64_t amount, uint64_t now)
{
	difference room, level = behind(flow, given, now);

	if (level >= (difference)flow->burst)
		return vdb__flow_full(flow, now) + amount;
	room = level + (difference)VDB__FLOW_DEBT;
	if (room < (difference)amount)
		amount = room > 0 ? (uint64_t)room : 0;
	return given + amount;
}

uint64_t vdb__flow_portion(const struct vdb__flow *flow)
{
	uint64_t rest, portion = part(flow->rate, PORTION_TIME, &rest);

	if (portion > flow->burst)
		portion = flow->burst;
	return portion ? portion : 1;
}

uint64_t vdb__flow_when(const struct vdb__flow *flow, uint64_t position)
{
	int64_t ahead = (int64_t)(position - flow->base);
	wide ns;

	if (!flow->rate || ahead <= 0)
		return 0;
	ns = ((wide)ahead * SECOND + flow->rate - 1) / flow->rate + flow->since;
	return ns < UINT64_MAX ? (uint64_t)ns : UINT64_MAX;
}
