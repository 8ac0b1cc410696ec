/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: vdb__now */
/* How long rings are looked at, by a clock of the test's: it goes on by itself each time it is read. */
#include <check.h>

#include "loop/poll.h"
#include "run.h"
#include "source.h"
#include "turn.h"

#define MAX 50000u
#define TICK 100u /* ns that pass between two looks at the clock */

uint64_t __wrap_vdb__now(void);

static uint64_t fake_now = 1000000;
static uint64_t clock_looks;
static struct vdb_loop *loop;

uint64_t __wrap_vdb__now(void)
{
	clock_looks++;
	return fake_now += TICK;
}

static void open_loop(uint32_t mode, uint32_t poll_cpu)
{
	struct vdb_loop_config config = test_loop_config();

	config.poll_ns = MAX;
	config.poll_mode = mode;
	config.poll_cpu = poll_cpu;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
}

/* Until it sleeps, and its source is idle. */
static void settle(const struct fake *fake)
{
	test_settle(loop);
	ck_assert_int_eq(fake->source.state, VDB__IDLE);
}

/* A request that comes with a bell, `gap` after the last use. */
static void ring_after(struct fake *fake, uint64_t gap)
{
	uint64_t served = fake->served;

	fake_now = fake->source.since + gap - TICK;
	fake_produce(fake, 1);
	while (fake->served == served)
		test_turn(loop);
	settle(fake);
}

/* ---- What is learnt: pure ---- */

START_TEST(a_budget_doubles_and_halves)
{
	ck_assert_uint_eq(vdb__poll_adapt(0, 100, MAX), 4096);
	ck_assert_uint_eq(vdb__poll_adapt(0, 0, MAX), 4096);
	ck_assert_uint_eq(vdb__poll_adapt(4096, 4097, MAX), 8192);
	ck_assert_uint_eq(vdb__poll_adapt(32768, 40000, MAX), MAX);
	ck_assert_uint_eq(vdb__poll_adapt(MAX, MAX, MAX), MAX);
	/* It was enough. */
	ck_assert_uint_eq(vdb__poll_adapt(8192, 8192, MAX), 8192);
	ck_assert_uint_eq(vdb__poll_adapt(8192, 0, MAX), 8192);
	/* No look would have bridged that. */
	ck_assert_uint_eq(vdb__poll_adapt(MAX, MAX + 1, MAX), MAX / 2);
	ck_assert_uint_eq(vdb__poll_adapt(8192, UINT64_MAX, MAX), 4096);
	ck_assert_uint_eq(vdb__poll_adapt(4096, UINT64_MAX, MAX), 0);
	ck_assert_uint_eq(vdb__poll_adapt(0, UINT64_MAX, MAX), 0);
}
END_TEST

START_TEST(a_budget_keeps_to_any_limit)
{
	static const uint32_t limits[] = {1, 100, 4096, 5000, INT32_MAX, UINT32_MAX};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		uint32_t ns = 0;

		for (int times = 0; times < 64; times++) {
			ns = vdb__poll_adapt(ns, limits[i], limits[i]);
			ck_assert_uint_le(ns, limits[i]);
			ck_assert_uint_gt(ns, 0);
		}
		ck_assert_uint_eq(ns, limits[i]);
		for (int times = 0; times < 64; times++)
			ns = vdb__poll_adapt(ns, UINT64_MAX, limits[i]);
		ck_assert_uint_eq(ns, 0);
	}
}
END_TEST

START_TEST(credit_is_a_share_of_time_and_not_hoarded)
{
	ck_assert_int_eq(vdb__poll_credit(0, 1000, 10), 100);
	ck_assert_int_eq(vdb__poll_credit(-500, 1000, 10), -400);
	ck_assert_int_eq(vdb__poll_credit(0, UINT64_MAX, 10), 1000000);
	ck_assert_int_eq(vdb__poll_credit(1000000, 1000000, 10), 1000000);
}
END_TEST

/* ---- A source among others ---- */

START_TEST(a_ring_that_is_used_often_is_looked_at)
{
	struct fake fake = {0};

	open_loop(VDB_POLL_ADAPTIVE, 0);
	fake_add(loop, &fake, NULL, 1);
	settle(&fake);
	ck_assert_uint_eq(fake.source.poll_ns, 0);
	ring_after(&fake, 3000);
	ck_assert_uint_eq(fake.source.poll_ns, 4096);
	ring_after(&fake, 20000);
	ck_assert_uint_eq(fake.source.poll_ns, 8192);
	ring_after(&fake, 9000);
	ck_assert_uint_eq(fake.source.poll_ns, 16384);
	/* It was looked at so long, each time, and then armed. */
	ck_assert_uint_eq(test_loop_stats(loop).poll_misses, 3);
	ck_assert_uint_gt(test_loop_stats(loop).poll_time_ns, 4096 + 8192 + 16384 - 6 * TICK);
	ck_assert_uint_lt(test_loop_stats(loop).poll_time_ns, 4096 + 8192 + 16384 + 6 * TICK);
	fake_remove(&fake);
	test_loop_end(loop);
}
END_TEST

START_TEST(a_ring_that_is_used_seldom_is_not)
{
	struct fake fake = {0};
	uint64_t looks;

	open_loop(VDB_POLL_ADAPTIVE, 0);
	fake_add(loop, &fake, NULL, 1);
	settle(&fake);
	for (int i = 0; i < 6; i++)
		ring_after(&fake, MAX);
	ck_assert_uint_eq(fake.source.poll_ns, MAX);
	for (int i = 0; i < 6; i++)
		ring_after(&fake, 1000000);
	ck_assert_uint_eq(fake.source.poll_ns, 0);
	/* Once it is drained, once when it has been armed, a few in passing; not hundreds. */
	looks = fake.looks;
	ring_after(&fake, 1000000);
	ck_assert_uint_lt(fake.looks - looks, 10);
	fake_remove(&fake);
	test_loop_end(loop);
}
END_TEST

/* It rings after a pause of the loop's own; by itself it has been silent for long. */
static void ring_after_pause(struct fake *fake, uint64_t pause)
{
	fake_now += pause;
	fake_produce(fake, 1);
	while (fake->work)
		test_turn(loop);
	settle(fake);
}

/* A thousand rings, each used seldom: each would be armed, and have to ring, though the loop never rests. */
START_TEST(rings_that_follow_each_other_keep_the_loop_looking)
{
	struct fake one = {0}, other = {0};
	uint64_t spent;

	open_loop(VDB_POLL_ADAPTIVE, 0);
	fake_add(loop, &one, NULL, 1);
	fake_add(loop, &other, NULL, 1);
	settle(&one);
	settle(&other);
	ring_after_pause(&one, 1000000);
	ck_assert_uint_eq(test_loop_stats(loop).poll_time_ns, 0);
	ring_after_pause(&other, 1000);
	ck_assert_uint_eq(other.source.poll_ns, 0);
	ck_assert_uint_gt(test_loop_stats(loop).poll_time_ns, 4096 - 3 * TICK);
	/* And when they do not, not. */
	ring_after_pause(&one, 1000000);
	spent = test_loop_stats(loop).poll_time_ns;
	ring_after_pause(&other, 1000000);
	ck_assert_uint_eq(test_loop_stats(loop).poll_time_ns, spent);
	fake_remove(&one);
	fake_remove(&other);
	test_loop_end(loop);
}
END_TEST

START_TEST(an_idle_ring_is_not_looked_at_while_another_is)
{
	struct fake busy = {0}, idle = {0};
	uint64_t looks;

	open_loop(VDB_POLL_ADAPTIVE, 0);
	fake_add(loop, &busy, NULL, 1);
	fake_add(loop, &idle, NULL, 1);
	settle(&busy);
	settle(&idle);
	looks = idle.looks;
	for (int i = 0; i < 20; i++)
		ring_after(&busy, MAX);
	ck_assert_uint_gt(busy.looks, 1000);
	ck_assert_uint_eq(idle.looks, looks);
	fake_remove(&busy);
	fake_remove(&idle);
	test_loop_end(loop);
}
END_TEST

START_TEST(what_is_found_by_a_look_needs_no_bell)
{
	struct fake fake = {0};
	uint64_t kicks;

	open_loop(VDB_POLL_ADAPTIVE, 0);
	fake_add(loop, &fake, NULL, 1);
	settle(&fake);
	ring_after(&fake, 3000);
	kicks = fake.kicks;
	fake_produce(&fake, 1); /* rings: it is armed */
	fake.finds_at_look = fake.looks + 40;
	while (fake.served < 3)
		test_turn(loop);
	ck_assert_uint_eq(fake.kicks, kicks + 1);
	ck_assert_uint_ge(test_loop_stats(loop).poll_hits, 1);
	fake_remove(&fake);
	test_loop_end(loop);
}
END_TEST

START_TEST(always_means_all_of_it_for_every_ring)
{
	struct fake fake = {0};

	open_loop(VDB_POLL_ALWAYS, 0);
	fake_add(loop, &fake, NULL, 1);
	settle(&fake);
	ring_after(&fake, 1000000);
	ring_after(&fake, 1000000);
	ck_assert_uint_gt(test_loop_stats(loop).poll_time_ns, 3 * (MAX - 2 * TICK));
	ck_assert_uint_eq(test_loop_stats(loop).poll_misses, 3);
	fake_remove(&fake);
	test_loop_end(loop);
}
END_TEST

START_TEST(never_asks_for_no_time)
{
	struct fake fake = {0};

	open_loop(VDB_POLL_NEVER, 0);
	fake_add(loop, &fake, NULL, 1);
	clock_looks = 0;
	settle(&fake);
	for (int i = 0; i < 100; i++) {
		fake_produce(&fake, 1);
		settle(&fake);
	}
	ck_assert_uint_eq(clock_looks, 0);
	ck_assert_uint_eq(test_loop_stats(loop).poll_time_ns, 0);
	ck_assert_uint_eq(test_loop_stats(loop).poll_misses, 0);
	fake_remove(&fake);
	test_loop_end(loop);
}
END_TEST

START_TEST(a_cap_holds_whatever_the_rings_want)
{
	struct fake fake = {0};
	uint64_t start;

	open_loop(VDB_POLL_ALWAYS, 10);
	fake_add(loop, &fake, NULL, 1);
	settle(&fake);
	start = fake_now;
	/* As often as it could be looked at for half the time. */
	for (int i = 0; i < 2000; i++)
		ring_after(&fake, 2ull * MAX);
	ck_assert_uint_gt(fake_now - start, 2000ull * MAX);
	/* A tenth of that, what was saved at the beginning, and one overdraft of a tick or so. */
	ck_assert_uint_le(test_loop_stats(loop).poll_time_ns, (fake_now - start) / 10 + 1000000 + 10 * TICK);
	ck_assert_uint_gt(test_loop_stats(loop).poll_time_ns, (fake_now - start) / 20);
	fake_remove(&fake);
	test_loop_end(loop);
}
END_TEST

/* ---- What waits a little ---- */

struct held {
	struct vdb__hold hold;
	int released;
};

static void release(struct vdb__hold *hold)
{
	vdb__container(hold, struct held, hold)->released++;
}

static struct held late = {.hold = {.release = release}}, soon = {.hold = {.release = release}};

static void hold_both(struct fake *fake)
{
	if (fake->serves != 2)
		return;
	vdb__loop_hold(loop, &late.hold, fake_now + 1000000000);
	vdb__loop_hold(loop, &soon.hold, 0);
}

START_TEST(what_is_held_goes_before_the_loop_sleeps)
{
	struct fake fake = {.on_serve = hold_both};

	open_loop(VDB_POLL_ADAPTIVE, 0);
	fake_add(loop, &fake, NULL, 1);
	settle(&fake);
	fake_produce(&fake, 1);
	settle(&fake);
	ck_assert_int_eq(late.released, 1);
	ck_assert_int_eq(soon.released, 1);
	fake_remove(&fake);
	test_loop_end(loop);
}
END_TEST

static void hold_and_stop(struct fake *fake)
{
	hold_both(fake);
	if (fake->serves == 5) {
		ck_assert_int_eq(soon.released, 1);
		ck_assert_int_eq(late.released, 0);
		ck_assert(vdb__loop_unhold(&late.hold));
		ck_assert(!vdb__loop_unhold(&late.hold));
		vdb_loop_stop(loop);
	}
}

START_TEST(what_is_held_for_a_turn_goes_in_the_next)
{
	struct fake fake = {.on_serve = hold_and_stop, .refill = 1, .bytes = 1 << 30};

	open_loop(VDB_POLL_ADAPTIVE, 0);
	fake_add(loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_run(loop), 0);
	ck_assert_int_eq(late.released, 0);
	fake_remove(&fake);
	test_loop_end(loop);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("poll");

	tcase_add_test(tc, a_budget_doubles_and_halves);
	tcase_add_test(tc, a_budget_keeps_to_any_limit);
	tcase_add_test(tc, credit_is_a_share_of_time_and_not_hoarded);
	tcase_add_test(tc, a_ring_that_is_used_often_is_looked_at);
	tcase_add_test(tc, a_ring_that_is_used_seldom_is_not);
	tcase_add_test(tc, an_idle_ring_is_not_looked_at_while_another_is);
	tcase_add_test(tc, rings_that_follow_each_other_keep_the_loop_looking);
	tcase_add_test(tc, what_is_found_by_a_look_needs_no_bell);
	tcase_add_test(tc, always_means_all_of_it_for_every_ring);
	tcase_add_test(tc, never_asks_for_no_time);
	tcase_add_test(tc, a_cap_holds_whatever_the_rings_want);
	tcase_add_test(tc, what_is_held_goes_before_the_loop_sleeps);
	tcase_add_test(tc, what_is_held_for_a_turn_goes_in_the_next);
	return test_run("poll", tc);
}
