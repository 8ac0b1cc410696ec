/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* One limit, two loops on two threads, and a third thread that changes it meanwhile. */
#include <check.h>
#include <time.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/limit.h>

#include "base/atomic.h"
#include "run.h"
#include "source.h"
#include "turn.h"

#define LOOPS 2
#define EACH 4
#define RATE 20000u
#define BURST 100u

static struct vdb_loop *loops[LOOPS];
static struct fake fakes[LOOPS][EACH];
static struct vdb_tenant *tenants[LOOPS];
static struct vdb_limit *limit;
static uint64_t born; /* ns: the limit not before that */

static void set(uint64_t ops)
{
	struct vdb_limit_config config = {
	        .size = sizeof(config), .ops_per_s = ops, .ops_burst = ops ? BURST : 0};

	ck_assert_int_eq(vdb_limit_set(limit, &config), 0);
}

static int plug(void *arg)
{
	int i = *(int *)arg;

	for (int j = 0; j < EACH; j++) {
		fakes[i][j] = (struct fake){.work = 1u << 30, .bytes = 512};
		if (j % 2)
			fakes[i][j].source.limit = limit;
		fake_add(loops[i], &fakes[i][j], tenants[i], 0);
	}
	return 0;
}

static int unplug(void *arg)
{
	int i = *(int *)arg;

	for (int j = 0; j < EACH; j++)
		fake_remove(&fakes[i][j]);
	return 0;
}

static int gone(void *arg)
{
	int i = *(int *)arg, n = 0;

	for (int j = 0; j < EACH; j++)
		n += fakes[i][j].gone;
	return n;
}

/* How many have been served something. */
static int served_some(void *arg)
{
	int i = *(int *)arg, n = 0;

	for (int j = 0; j < EACH; j++)
		n += fakes[i][j].served > 0;
	return n;
}

static struct vdb_limit_stats stats(void)
{
	struct vdb_limit_stats now = {.size = sizeof(now)};

	ck_assert_int_eq(vdb_limit_stats(limit, &now), 0);
	return now;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void setup(void)
{
	struct vdb_loop_config config = test_loop_config();

	born = now_ns();
	ck_assert_int_eq(vdb_limit_create(NULL, &limit), 0);
	set(RATE);
	for (int i = 0; i < LOOPS; i++) {
		ck_assert_int_eq(vdb_loop_create(&config, &loops[i]), 0);
		ck_assert_int_eq(vdb_tenant_create(loops[i], &tenants[i]), 0);
		ck_assert_int_eq(vdb_tenant_limit(tenants[i], limit), 0);
		ck_assert_int_eq(vdb_loop_start(loops[i], -1, NULL), 0);
		ck_assert_int_eq(vdb_loop_call(loops[i], plug, &i), 0);
	}
}

static void unplug_all(void)
{
	for (int i = 0; i < LOOPS; i++)
		ck_assert_int_eq(vdb_loop_call(loops[i], unplug, &i), 0);
	for (int i = 0; i < LOOPS; i++)
		while (vdb_loop_call(loops[i], gone, &i) != EACH)
			usleep(100);
}

static void teardown(void)
{
	unplug_all();
	for (int i = 0; i < LOOPS; i++) {
		ck_assert_int_eq(vdb_loop_join(loops[i]), 0);
		vdb_tenant_destroy(tenants[i]);
		test_loop_end(loops[i]);
	}
	vdb_limit_destroy(limit);
}

/* Never more than has flowed, however slow the machine; and everybody gets something. */
START_TEST(one_limit_for_two_loops)
{
	uint64_t flowed, served = 0;

	while (stats().ops < RATE / 2)
		usleep(1000);
	for (int i = 0; i < LOOPS; i++)
		while (vdb_loop_call(loops[i], served_some, &i) != EACH)
			usleep(1000);
	unplug_all();
	flowed = (now_ns() - born) / 1000 * RATE / 1000000;
	for (int i = 0; i < LOOPS; i++) {
		for (int j = 0; j < EACH; j++) {
			served += fakes[i][j].served;
			fakes[i][j].gone = 0;
		}
	}
	ck_assert_uint_eq(served, stats().ops);
	ck_assert_uint_le(served, BURST + flowed + 1);
	for (int i = 0; i < LOOPS; i++)
		ck_assert_int_eq(vdb_loop_call(loops[i], plug, &i), 0);
}
END_TEST

START_TEST(changed_all_the_time)
{
	static const uint64_t rates[] = {1, 100, RATE, 1u << 20, 0, 1, 3};

	for (int i = 0; i < 2000; i++)
		set(rates[i % 7]);
	set(1u << 30);
	for (uint64_t before = stats().ops; stats().ops < before + 1000;)
		usleep(100);
	set(1);
	ck_assert_uint_le(stats().waiting, LOOPS * EACH);
}
END_TEST

/* Those who wait go while it is changed. */
START_TEST(changed_while_they_go)
{
	set(1);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < LOOPS; i++)
			ck_assert_int_eq(vdb_loop_call(loops[i], unplug, &i), 0);
		set((uint64_t)round + 1);
		for (int i = 0; i < LOOPS; i++) {
			while (vdb_loop_call(loops[i], gone, &i) != EACH)
				set(2);
			ck_assert_int_eq(vdb_loop_call(loops[i], plug, &i), 0);
		}
		set((uint64_t)round + 3);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("limit_loops");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, one_limit_for_two_loops);
	tcase_add_test(tc, changed_all_the_time);
	tcase_add_test(tc, changed_while_they_go);
	return test_run("limit_loops", tc);
}
