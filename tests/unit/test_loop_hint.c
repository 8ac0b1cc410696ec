/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: io_uring_submit io_uring_submit_and_wait io_uring_submit_and_get_events */
/*
 * The kernel's hint that it has work (IORING_SQ_TASKRUN) may outlive that work: Linux 6.18 leaves
 * it set when more comes while it runs what is left of more than 20. A loop that goes by it alone
 * never sleeps again. Here the hint is left over after every call.
 */
#include <check.h>
#include <errno.h>
#include <liburing.h>
#include <sched.h>
#include <time.h>

#include "run.h"
#include "source.h"
#include "turn.h"

#define ROUNDS 100u

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);
int __real_io_uring_submit_and_get_events(struct io_uring *ring);
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring);

static int leave_hint(struct io_uring *ring, int ret)
{
	(void)__atomic_fetch_or(ring->sq.kflags, IORING_SQ_TASKRUN, __ATOMIC_SEQ_CST);
	return ret;
}

int __wrap_io_uring_submit(struct io_uring *ring)
{
	return leave_hint(ring, __real_io_uring_submit(ring));
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait)
{
	return leave_hint(ring, __real_io_uring_submit_and_wait(ring, wait));
}

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
	return leave_hint(ring, __real_io_uring_submit_and_get_events(ring));
}

static void await_sleep(const struct vdb_loop *loop, uint64_t sleeps)
{
	time_t end = time(NULL) + 20;

	while (test_loop_stats(loop).sleeps <= sleeps) {
		ck_assert_msg(time(NULL) < end, "a loop with nothing to do does not sleep");
		sched_yield();
	}
}

static void rings_and_sleeps(uint32_t poll_ns)
{
	struct vdb_loop_config config = {
	        .size = sizeof(config), .engine = VDB_ENGINE_URING, .poll_ns = poll_ns};
	struct fake fake = {0};
	struct vdb_loop *loop;
	uint64_t sleeps;

	if (vdb_loop_create(&config, &loop))
		return; /* no io_uring here, no hint */
	fake_add(loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	await_sleep(loop, 0);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		sleeps = test_loop_stats(loop).sleeps;
		fake_ring(&fake);
		await_sleep(loop, sleeps);
	}
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_uint_gt(fake.kicks, 0); /* bells may merge */
	fake_remove(&fake);
	test_loop_end(loop);
}

START_TEST(a_loop_with_nothing_to_do_sleeps)
{
	rings_and_sleeps(0);
}
END_TEST

START_TEST(so_does_one_that_polls_first)
{
	rings_and_sleeps(1000);
}
END_TEST

START_TEST(an_embedder_may_sleep_too)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};
	struct fake fake = {0};
	struct vdb_loop *loop;

	if (vdb_loop_create(&config, &loop))
		return;
	ck_assert_int_ge(vdb_loop_fd(loop), 0);
	fake_add(loop, &fake, NULL, 1);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		fake_ring(&fake);
		while (fake.kicks < i)
			test_turn_nested(loop);
		test_settle(loop);
		ck_assert_int_eq(vdb_loop_prepare(loop), 1);
	}
	fake_remove(&fake);
	test_loop_end(loop);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("hint");

	tcase_add_test(tc, a_loop_with_nothing_to_do_sleeps);
	tcase_add_test(tc, so_does_one_that_polls_first);
	tcase_add_test(tc, an_embedder_may_sleep_too);
	return test_run("hint", tc);
}
