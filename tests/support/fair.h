/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 64 tenants whose rings are never empty, of very different demand: requests of
 * 128 KiB beside requests of 512 bytes, and one tenant with 16 rings.
 */
#ifndef VDB_TESTS_FAIR_H
#define VDB_TESTS_FAIR_H

#include <check.h>
#include <stdint.h>
#include <string.h>

#include "source.h"
#include "turn.h"

#define FAIR_TENANTS 64
#define FAIR_RINGS (FAIR_TENANTS + 15)

struct fair {
	struct vdb_loop *loop;
	struct vdb_tenant *tenants[FAIR_TENANTS];
	struct fake rings[FAIR_RINGS];
};

static inline unsigned fair_tenant_of(unsigned ring)
{
	return ring < FAIR_TENANTS ? ring : FAIR_TENANTS - 1;
}

static inline void fair_setup(struct fair *fair)
{
	memset(fair, 0, sizeof(*fair));
	fair->loop = test_loop_new();
	for (unsigned i = 0; i < FAIR_TENANTS; i++)
		ck_assert_int_eq(vdb_tenant_create(fair->loop, &fair->tenants[i]), 0);
	for (unsigned i = 0; i < FAIR_RINGS; i++) {
		struct fake *fake = &fair->rings[i];

		fake->bytes = i % 3 == 0 ? 128 << 10 : i % 3 == 1 ? 512 : 5000 + 77 * i;
		fake->refill = i % 3 == 0 ? 1024 : 8; /* a visit takes no more than there was */
		fake_add(fair->loop, fake, fair->tenants[fair_tenant_of(i)], 0);
	}
}

/* What the tenant served most is ahead of the one served least, in bytes with request costs. */
static inline uint64_t fair_spread(const struct fair *fair)
{
	uint64_t cost[FAIR_TENANTS] = {0}, least = UINT64_MAX, most = 0;

	for (unsigned i = 0; i < FAIR_RINGS; i++)
		cost[fair_tenant_of(i)] += fair->rings[i].cost;
	for (unsigned i = 0; i < FAIR_TENANTS; i++) {
		least = cost[i] < least ? cost[i] : least;
		most = cost[i] > most ? cost[i] : most;
	}
	ck_assert_uint_gt(least, 0);
	return most - least;
}

static inline void fair_turns(struct fair *fair, int turns)
{
	uint64_t before = test_loop_stats(fair->loop).turns;

	for (int i = 0; i < turns; i++)
		ck_assert_int_eq(vdb_loop_step(fair->loop), 1);
	ck_assert_uint_eq(test_loop_stats(fair->loop).turns - before, (uint64_t)turns);
}

static inline void fair_end(struct fair *fair)
{
	for (unsigned i = 0; i < FAIR_RINGS; i++)
		fake_remove(&fair->rings[i]);
	for (unsigned i = 0; i < FAIR_TENANTS; i++)
		vdb_tenant_destroy(fair->tenants[i]);
	test_loop_end(fair->loop);
}

#endif
