/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: clock_gettime timerfd_settime */
/* Sources that are limited, at a clock that the test sets: how much, in which order, and at which cost. */
#include <check.h>
#include <errno.h>
#include <vdb/error.h>
#include <vdb/limit.h>

#include "fake_clock.h"
#include "run.h"
#include "source.h"
#include "turn.h"

#define SECOND ((uint64_t)1000000000)
#define MS ((uint64_t)1000000)
#define MANY (1u << 20)

static struct vdb_loop *loop;
static struct vdb_limit *limit;

static void setup(void)
{
	struct vdb_loop_config config = test_loop_config();

	config.poll_mode = VDB_POLL_NEVER; /* its end is a time, and ours stands still */
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	test_settle(loop);
}

static void teardown(void)
{
	vdb_limit_destroy(limit);
	test_loop_end(loop);
}

static struct vdb_limit *make(uint64_t bytes, uint64_t bytes_burst, uint64_t ops, uint64_t ops_burst)
{
	struct vdb_limit_config config = {.size = sizeof(config),
	                                  .bytes_per_s = bytes,
	                                  .bytes_burst = bytes_burst,
	                                  .ops_per_s = ops,
	                                  .ops_burst = ops_burst};
	struct vdb_limit *made;

	ck_assert_msg(vdb_limit_create(&config, &made) == 0, "%s", vdb_errmsg());
	return made;
}

static void set(uint64_t bytes, uint64_t ops)
{
	struct vdb_limit_config config = {.size = sizeof(config), .bytes_per_s = bytes, .ops_per_s = ops};

	ck_assert_int_eq(vdb_limit_set(limit, &config), 0);
}

static struct vdb_limit_stats stats(void)
{
	struct vdb_limit_stats now = {.size = sizeof(now)};

	ck_assert_int_eq(vdb_limit_stats(limit, &now), 0);
	return now;
}

static void add(struct fake *fake, struct vdb_tenant *tenant, int kick)
{
	fake->source.limit = limit;
	fake_add(loop, fake, tenant, kick);
}

static void leave(struct fake *fake)
{
	fake_remove(fake);
	while (!fake->gone)
		ck_assert_int_ge(vdb_loop_step(loop), 0);
}

/* For so long: as often as the loop asks to be woken, `late` each time. */
static void run_for(uint64_t ns, uint64_t late)
{
	uint64_t end = clock_now + ns;

	test_settle(loop);
	while (clock_alarm && clock_alarm + late <= end) {
		clock_ring(late);
		test_settle(loop);
	}
	clock_now = end;
}

/* ---- How much ---- */

/* Operations: one burst, then the rate to the last one. */
START_TEST(ops_are_exact)
{
	struct fake fake = {.work = MANY, .bytes = 4096};

	limit = make(0, 0, 1000, 50);
	add(&fake, NULL, 0);
	test_settle(loop);
	ck_assert_uint_eq(fake.served, 50);
	run_for(10 * SECOND, 0);
	ck_assert_uint_eq(fake.served, 50 + 10 * 1000);
	ck_assert_uint_eq(stats().ops, fake.served);
	ck_assert_uint_eq(stats().bytes, fake.served * 4096);
	leave(&fake);
	ck_assert_uint_eq(stats().ops, 50 + 10 * 1000);
}
END_TEST

/* Bytes: a request may take more than there is, once; the rate stays. */
START_TEST(bytes_are_exact)
{
	static const uint64_t sizes[] = {64, 512, 4096, 65536, 1 << 20, 1 << 30};
	const uint64_t rate = 10 << 20, burst = 1 << 20;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct fake fake = {.work = MANY * 16, .bytes = sizes[i]};
		uint64_t seconds = sizes[i] >> 30 ? 1000 : 1, bound = burst + rate * seconds, served;

		limit = make(rate, burst, 0, 0);
		add(&fake, NULL, 0);
		run_for(seconds * SECOND, 0);
		served = fake.served * sizes[i];
		ck_assert_uint_lt(served, bound + sizes[i]);
		ck_assert_uint_ge(served + rate / 500, bound); /* the last portion is still on its way */
		leave(&fake);
		vdb_limit_destroy(limit);
	}
	limit = NULL;
}
END_TEST

/* A loop that comes late makes up for it, as long as the bucket had room. */
START_TEST(lateness_costs_nothing)
{
	struct fake fake = {.work = MANY, .bytes = 4096};

	limit = make(0, 0, 10000, 0); /* 10 ms are 100 */
	add(&fake, NULL, 0);
	run_for(10 * SECOND, 7 * MS);
	ck_assert_uint_le(fake.served, 100 + 10 * 10000);
	ck_assert_uint_ge(fake.served, 10 * 10000 - 100);
	leave(&fake);
}
END_TEST

/* Both at once: the stricter one says it. */
START_TEST(the_stricter_one_counts)
{
	struct fake fake = {.work = MANY, .bytes = 1000};

	limit = make(1000000, 1000, 100, 1); /* ops */
	add(&fake, NULL, 0);
	run_for(10 * SECOND, 0);
	ck_assert_uint_eq(fake.served, 1 + 10 * 100);
	leave(&fake);
	vdb_limit_destroy(limit);

	fake = (struct fake){.work = MANY, .bytes = 1000};
	limit = make(50000, 1000, 100, 1); /* bytes */
	add(&fake, NULL, 0);
	run_for(10 * SECOND, 0);
	ck_assert_uint_eq(fake.served, 1 + 10 * 50);
	leave(&fake);
}
END_TEST

/* A device's and its VM's: two devices, of which one is slower than its share. */
START_TEST(device_and_vm)
{
	struct vdb_limit *vm = make(0, 0, 1000, 10);
	struct fake slow = {.work = MANY, .bytes = 512}, fast = {.work = MANY, .bytes = 512};
	struct vdb_tenant *tenant;

	limit = make(0, 0, 100, 1);
	ck_assert_int_eq(vdb_tenant_create(loop, &tenant), 0);
	ck_assert_int_eq(vdb_tenant_limit(tenant, vm), 0);
	vdb_limit_destroy(vm); /* the tenant has it */
	add(&slow, tenant, 0);
	ck_assert_int_eq(vdb_tenant_limit(tenant, NULL), -EBUSY);
	fake_add(loop, &fast, tenant, 0);
	run_for(10 * SECOND, 0);
	ck_assert_uint_le(slow.served, 1 + 10 * 100);
	ck_assert_uint_ge(slow.served, 10 * 98);
	ck_assert_uint_le(slow.served + fast.served, 10 + 10 * 1000);
	ck_assert_uint_ge(slow.served + fast.served, 10 * 1000 - 2);
	leave(&slow);
	leave(&fast);
	vdb_tenant_destroy(tenant);
}
END_TEST

START_TEST(the_same_twice_counts_once)
{
	struct fake fake = {.work = MANY, .bytes = 512};
	struct vdb_tenant *tenant;

	limit = make(0, 0, 1000, 10);
	ck_assert_int_eq(vdb_tenant_create(loop, &tenant), 0);
	ck_assert_int_eq(vdb_tenant_limit(tenant, limit), 0);
	add(&fake, tenant, 0);
	run_for(SECOND, 0);
	ck_assert_uint_eq(fake.served, 10 + 1000);
	ck_assert_uint_eq(stats().ops, fake.served);
	leave(&fake);
	vdb_tenant_destroy(tenant);
}
END_TEST

/* What a backend says later that it has moved is paid for, too. */
START_TEST(charged_later)
{
	struct fake fake = {.work = 1};

	limit = make(1000000, 1000, 0, 0);
	add(&fake, NULL, 1);
	test_settle(loop);
	ck_assert_uint_eq(fake.served, 1);
	vdb__source_charge(&fake.source, 501000);
	ck_assert_uint_eq(stats().bytes, 501000);
	fake.work = 1;
	fake_ring(&fake);
	test_turn(loop);
	test_settle(loop);
	ck_assert_uint_eq(fake.served, 1);
	ck_assert_uint_ge(clock_alarm, clock_now + SECOND / 2);
	ck_assert_uint_le(clock_alarm, clock_now + SECOND / 2 + 2 * MS);
	clock_ring(0);
	test_settle(loop);
	ck_assert_uint_eq(fake.served, 2);
	leave(&fake);
}
END_TEST

/* ---- Fairness ---- */

#define CROWD 16

START_TEST(those_that_wait_are_served_in_turn)
{
	struct fake crowd[CROWD] = {0};
	uint64_t total = 0;

	limit = make(0, 0, 8000, 1); /* a portion is 16 */
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = (struct fake){.work = MANY, .bytes = 100};
		add(&crowd[i], NULL, 0);
	}
	run_for(10 * SECOND, 0);
	for (int i = 0; i < CROWD; i++) {
		total += crowd[i].served;
		ck_assert_uint_le(crowd[i].served, 10 * 8000 / CROWD + 2 * 16);
		ck_assert_uint_ge(crowd[i].served, 10 * 8000 / CROWD - 2 * 16);
	}
	ck_assert_uint_le(total, 10 * 8000 + 16);
	ck_assert_uint_ge(total, 10 * 8000 - 16);
	ck_assert_uint_eq(stats().waiting, CROWD);
	for (int i = 0; i < CROWD; i++)
		leave(&crowd[i]);
	ck_assert_uint_eq(stats().waiting, 0);
}
END_TEST

/* One has little to do, the others never stop: it waits for them once, not for ever. */
START_TEST(nobody_starves)
{
	struct fake crowd[CROWD] = {0}, small = {.bytes = 100};

	limit = make(0, 0, 1000, 1);
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = (struct fake){.work = MANY, .bytes = 100};
		add(&crowd[i], NULL, 0);
	}
	add(&small, NULL, 1);
	run_for(SECOND, 0);
	for (unsigned n = 1; n <= 20; n++) {
		fake_produce(&small, 1);
		fake_ring(&small);
		run_for((CROWD + 2) * 2 * MS, 0);
		ck_assert_uint_eq(small.served, n);
	}
	for (int i = 0; i < CROWD; i++)
		leave(&crowd[i]);
	leave(&small);
}
END_TEST

/* ---- What a wait costs ---- */

/* It is on no list: no look, no visit, no bell is asked for; the timer is set once for each portion. */
START_TEST(a_wait_costs_nothing)
{
	struct fake fake = {.work = MANY, .bytes = 4096}, other = {0};
	uint64_t looks, serves, arms, settings;

	limit = make(0, 0, 10, 1);
	add(&fake, NULL, 1);
	test_settle(loop);
	ck_assert_uint_eq(fake.served, 1);
	ck_assert_int_eq(fake.source.state, VDB__HELD);
	ck_assert_uint_eq(clock_alarm, clock_now + SECOND / 10);
	looks = fake.looks;
	serves = fake.serves;
	arms = fake.arms;
	settings = clock_settings;
	fake_add(loop, &other, NULL, 1);
	for (int i = 0; i < 100; i++) { /* others keep the loop awake */
		fake_produce(&other, 1);
		fake_ring(&other);
		test_settle(loop);
	}
	ck_assert_uint_eq(fake.looks, looks);
	ck_assert_uint_eq(fake.serves, serves);
	ck_assert_uint_eq(fake.arms, arms);
	ck_assert_uint_eq(clock_settings, settings);
	clock_ring(0);
	test_settle(loop);
	ck_assert_uint_eq(fake.served, 2);
	ck_assert_uint_eq(fake.serves, serves + 1);
	ck_assert_uint_eq(clock_settings, settings + 1);
	leave(&fake);
	leave(&other);
}
END_TEST

/* Thousands that are woken in the same turn set the timer once. */
START_TEST(a_crowd_sets_the_timer_once)
{
	struct fake crowd[256] = {0};
	uint64_t settings;

	limit = make(0, 0, 1, 1);
	for (int i = 0; i < 256; i++) {
		crowd[i].work = 1;
		crowd[i].bytes = 1;
		add(&crowd[i], NULL, 0);
	}
	settings = clock_settings;
	test_settle(loop);
	ck_assert_uint_le(clock_settings, settings + 1);
	for (int i = 0; i < 256; i++)
		leave(&crowd[i]);
}
END_TEST

/* Bells meanwhile: it is looked at, as a reset may be what it is rung for, but nothing is served. */
START_TEST(bells_do_not_help)
{
	struct fake fake = {.work = MANY, .bytes = 4096};
	uint64_t serves, alarm;

	limit = make(0, 0, 10, 1);
	add(&fake, NULL, 1);
	test_settle(loop);
	alarm = clock_alarm;
	for (int i = 0; i < 10; i++) {
		serves = fake.serves;
		clock_pass(MS);
		fake_ring(&fake);
		test_turn(loop);
		test_settle(loop);
		ck_assert_uint_eq(fake.served, 1);
		ck_assert_uint_eq(fake.serves, serves + 1);
		ck_assert_int_eq(fake.source.state, VDB__HELD);
		ck_assert_uint_eq(clock_alarm, alarm); /* its place is kept */
	}
	ck_assert_uint_eq(stats().throttled, 1);
	clock_ring(0);
	test_settle(loop);
	ck_assert_uint_eq(fake.served, 2);
	ck_assert_uint_eq(stats().waited_ns, SECOND / 10);
	leave(&fake);
}
END_TEST

/* The work that it waited to do has gone: what it had reserved is there for others. */
START_TEST(what_is_not_used_is_given_back)
{
	struct fake fake = {.work = 1 + 200, .bytes = 1}, next = {.work = MANY, .bytes = 1};

	limit = make(0, 0, 100000, 200); /* a portion is 200 */
	add(&fake, NULL, 1);
	test_settle(loop);
	ck_assert_uint_eq(fake.served, 200);
	ck_assert_uint_eq(stats().waiting, 1);
	fake.work = 0;
	fake_ring(&fake);
	test_turn(loop);
	test_settle(loop);
	ck_assert_uint_eq(stats().waiting, 0);
	clock_pass(2 * MS);
	add(&next, NULL, 0);
	test_settle(loop);
	ck_assert_uint_eq(next.served, 200);
	leave(&fake);
	leave(&next);
}
END_TEST

/* ---- Changes ---- */

static struct fake held;

static void hold(uint64_t ops)
{
	held = (struct fake){.work = MANY, .bytes = 1};
	limit = make(0, 0, ops, 1);
	add(&held, NULL, 0);
	test_settle(loop);
	ck_assert_uint_eq(held.served, 1);
	ck_assert_uint_eq(clock_alarm, clock_now + SECOND / ops);
}

START_TEST(raised_while_waiting)
{
	hold(1);
	clock_pass(SECOND / 2);
	set(0, 100);
	test_turn(loop);
	test_settle(loop);
	ck_assert_uint_eq(held.served, 1);
	ck_assert_uint_le(clock_alarm, clock_now + SECOND / 100);
	run_for(10 * SECOND, 0);
	ck_assert_uint_ge(held.served, 1 + 10 * 100);
	ck_assert_uint_le(held.served, 1 + 10 * 100 + 1);
	leave(&held);
}
END_TEST

START_TEST(lowered_while_waiting)
{
	hold(100);
	clock_pass(5 * MS);
	set(0, 1);
	test_turn(loop);
	test_settle(loop);
	ck_assert_uint_eq(held.served, 1);
	ck_assert_uint_ge(clock_alarm, clock_now + SECOND / 2);
	ck_assert_uint_le(clock_alarm, clock_now + SECOND);
	run_for(10 * SECOND, 0);
	ck_assert_uint_ge(held.served, 1 + 10);
	ck_assert_uint_le(held.served, 1 + 11);
	leave(&held);
}
END_TEST

START_TEST(removed_while_waiting)
{
	hold(1);
	set(0, 0);
	for (int i = 0; i < 1000 && held.work; i++)
		ck_assert_int_ge(vdb_loop_step(loop), 0);
	ck_assert_uint_gt(held.served, 1000);
	ck_assert_uint_eq(stats().waiting, 0);
	/* And back: it starts with a full bucket. */
	set(0, 1000);
	held.work = MANY;
	held.served = 0;
	run_for(SECOND, 0);
	ck_assert_uint_le(held.served, 10 + 1000);
	ck_assert_uint_ge(held.served, 1000);
	leave(&held);
}
END_TEST

/* Many changes between two turns are one post each; a source that has gone hears of none. */
START_TEST(changed_and_gone)
{
	hold(1);
	for (int i = 0; i < 100; i++)
		set(0, 1);
	fake_remove(&held);
	set(0, 2);
	test_settle(loop);
	ck_assert_int_eq(held.gone, 1);
}
END_TEST

START_TEST(removed_from_the_loop_while_waiting)
{
	hold(1);
	ck_assert_uint_eq(stats().waiting, 1);
	leave(&held);
	ck_assert_uint_eq(stats().waiting, 0);
	test_settle(loop);
	ck_assert_uint_eq(clock_alarm, 0);
}
END_TEST

/* It ends: no limit holds it back. */
START_TEST(ending)
{
	hold(1);
	vdb__source_ending(&held.source);
	test_turn(loop);
	ck_assert_int_eq(held.source.state, VDB__READY);
	leave(&held);
}
END_TEST

/* ---- Extremes ---- */

/* After 2^63 ns, and after a rest in which more than 2^64 units flowed. */
START_TEST(late_in_the_world)
{
	struct fake fake = {.work = MANY, .bytes = 4096};

	clock_now = (1ull << 63) - 5 * SECOND / 2;
	limit = make(1ull << 60, 0, 1000, 1);
	add(&fake, NULL, 1);
	run_for(10 * SECOND, 0);
	ck_assert_uint_eq(fake.served, 1 + 10 * 1000);
	fake.work = 0;
	fake_ring(&fake);
	test_settle(loop);
	clock_pass(1ull << 60);
	fake.work = MANY;
	fake.served = 0;
	fake_ring(&fake);
	test_turn(loop);
	run_for(10 * SECOND, 0);
	ck_assert_uint_le(fake.served, 1 + 10 * 1000);
	ck_assert_uint_ge(fake.served, 10 * 1000);
	leave(&fake);
}
END_TEST

/* A gigabyte against a byte a second: it is served, and then it is paid for, or the limit is changed. */
START_TEST(huge_against_tiny)
{
	struct fake fake = {.work = 3, .bytes = 1u << 30};

	limit = make(1, 1, 0, 0);
	add(&fake, NULL, 0);
	test_settle(loop);
	ck_assert_uint_eq(fake.served, 1);
	ck_assert_uint_eq(clock_alarm, clock_now + (1ull << 30) * SECOND);
	set(1ull << 30, 0);
	test_turn(loop);
	run_for(2 * SECOND + 5 * MS, 0);
	ck_assert_uint_eq(fake.served, 3);
	leave(&fake);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("limit");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, ops_are_exact);
	tcase_add_test(tc, bytes_are_exact);
	tcase_add_test(tc, lateness_costs_nothing);
	tcase_add_test(tc, the_stricter_one_counts);
	tcase_add_test(tc, device_and_vm);
	tcase_add_test(tc, the_same_twice_counts_once);
	tcase_add_test(tc, charged_later);
	tcase_add_test(tc, those_that_wait_are_served_in_turn);
	tcase_add_test(tc, nobody_starves);
	tcase_add_test(tc, a_wait_costs_nothing);
	tcase_add_test(tc, a_crowd_sets_the_timer_once);
	tcase_add_test(tc, bells_do_not_help);
	tcase_add_test(tc, what_is_not_used_is_given_back);
	tcase_add_test(tc, raised_while_waiting);
	tcase_add_test(tc, lowered_while_waiting);
	tcase_add_test(tc, removed_while_waiting);
	tcase_add_test(tc, changed_and_gone);
	tcase_add_test(tc, removed_from_the_loop_while_waiting);
	tcase_add_test(tc, ending);
	tcase_add_test(tc, late_in_the_world);
	tcase_add_test(tc, huge_against_tiny);
	return test_run("limit_loop", tc);
}
