/* SPDX-License-Identifier: Apache-2.0 */
/* A loop for tests, turned by hand as an embedder with a loop of its own does it. */
#ifndef VDB_TESTS_TURN_H
#define VDB_TESTS_TURN_H

#include <check.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>
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

/* The same, to be slept on with poll(2) by test_turn_nested(). */
static inline struct vdb_loop *test_loop_new_nested(void)
{
	struct vdb_loop *loop = test_loop_new();

	ck_assert_int_ge(vdb_loop_fd(loop), 0);
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

/* Waits until a step did something, at most ms. False: nothing came. */
static inline bool test_turn_within(struct vdb_loop *loop, int ms)
{
	int did, tries = 0, idle;

	do {
		did = vdb_loop_step(loop);
		ck_assert_int_ge(did, 0);
		idle = vdb_loop_prepare(loop);
		ck_assert_int_ge(idle, 0);
		if (idle && !did && ms)
			usleep(200);
	} while (!did && (!idle || tries++ < 5 * ms));
	return did;
}

/* Sleeps in poll(2) if the loop agrees, as its embedder would; then one step. */
static inline void test_turn_nested(struct vdb_loop *loop)
{
	struct pollfd fd = {.events = POLLIN};
	int idle = vdb_loop_prepare(loop);

	ck_assert_int_ge(idle, 0);
	fd.fd = vdb_loop_fd(loop);
	ck_assert_int_ge(fd.fd, 0);
	if (idle)
		ck_assert_msg(poll(&fd, 1, 20000) == 1, "nothing made the loop's fd readable");
	ck_assert_int_ge(vdb_loop_step(loop), 0);
}

/* The same, where something must come. */
static inline void test_turn(struct vdb_loop *loop)
{
	ck_assert_msg(test_turn_within(loop, 20000), "nothing came");
}

/* Until nothing is due any more. */
static inline void test_settle(struct vdb_loop *loop)
{
	while (test_turn_within(loop, 0))
		;
}

#endif
