/* SPDX-License-Identifier: Apache-2.0 */
/* A loop for tests, turned by hand as an embedder with a loop of its own does it. */
#ifndef VDB_TESTS_TURN_H
#define VDB_TESTS_TURN_H

#include <check.h>
#include <poll.h>
#include <stdbool.h>
#include <vdb/loop.h>

#include "engine.h"

/* Of the engine that the test is for. */
static inline struct vdb_loop *test_loop_new(void)
{
	struct vdb_loop_config config = test_loop_config();
	struct vdb_loop *loop;

	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	return loop;
}

static inline void test_loop_end(struct vdb_loop *loop)
{
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
}

static inline struct vdb_loop_stats test_loop_stats(const struct vdb_loop *loop)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_loop_stats(loop, &stats), 0);
	return stats;
}

/* Sleeps in poll(2) if the loop agrees, at most ms; then one step. False: nothing came. */
static inline bool test_turn_within(struct vdb_loop *loop, int ms)
{
	struct pollfd fd = {.events = POLLIN};
	int idle = vdb_loop_prepare(loop), came = 1;

	ck_assert_int_ge(idle, 0);
	fd.fd = vdb_loop_fd(loop);
	if (idle)
		came = poll(&fd, 1, ms);
	ck_assert_int_ge(came, 0);
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	return came;
}

/* The same, where something must come. */
static inline void test_turn(struct vdb_loop *loop)
{
	ck_assert_msg(test_turn_within(loop, 20000), "nothing made the loop's fd readable");
}

/* Until nothing is due any more. */
static inline void test_settle(struct vdb_loop *loop)
{
	while (test_turn_within(loop, 0))
		;
}

#endif
