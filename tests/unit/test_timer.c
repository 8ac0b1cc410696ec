/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
#include <check.h>
#include <stdlib.h>
#include <time.h>

#include "run.h"
#include "turn.h"

#define MS ((uint64_t)1000000)

static struct vdb_loop *loop;

static void setup(void)
{
	loop = test_loop_new();
}

static void teardown(void)
{
	test_loop_end(loop);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 * MS + (uint64_t)ts.tv_nsec;
}

struct alarm {
	struct vdb_timer *timer;
	uint64_t due; /* never before */
	int fired, *order, place;
	int again; /* times to arm it anew from its callback */
};

static void ring(void *arg)
{
	struct alarm *alarm = arg;

	ck_assert_uint_ge(now(), alarm->due);
	alarm->fired++;
	if (alarm->order)
		alarm->place = (*alarm->order)++;
	if (alarm->again-- > 0)
		vdb_timer_arm(alarm->timer, 0);
}

static void make(struct alarm *alarm)
{
	ck_assert_int_eq(vdb_timer_create(loop, ring, alarm, &alarm->timer), 0);
}

static void arm(struct alarm *alarm, uint64_t ns)
{
	alarm->due = now() + ns;
	vdb_timer_arm(alarm->timer, ns);
}

static void await(struct alarm *alarm, int fired)
{
	while (alarm->fired < fired)
		test_turn(loop);
	ck_assert_int_eq(alarm->fired, fired);
}

START_TEST(fires_once_and_not_early)
{
	struct alarm a = {0}, never = {0};

	make(&a);
	make(&never);
	for (int i = 1; i <= 20; i++) {
		arm(&a, (unsigned)i % 4 * MS);
		await(&a, i);
	}
	ck_assert(!test_turn_within(loop, 20));
	ck_assert_int_eq(a.fired, 20);
	ck_assert_uint_eq(test_loop_stats(loop).timers, 20);
	vdb_timer_destroy(a.timer);
	vdb_timer_destroy(never.timer);
	vdb_timer_destroy(NULL);
}
END_TEST

START_TEST(fire_in_order_of_deadlines)
{
	struct alarm alarms[100] = {0};
	uint64_t delay[100];
	int order = 0;

	srandom(1);
	for (int i = 0; i < 100; i++) {
		alarms[i].order = &order;
		make(&alarms[i]);
		delay[i] = (uint64_t)(random() % 20) * MS;
		arm(&alarms[i], delay[i]);
	}
	for (int i = 0; i < 100; i += 3) { /* an earlier setting is replaced */
		delay[i] = (uint64_t)(random() % 20) * MS;
		arm(&alarms[i], delay[i]);
	}
	for (int i = 0; i < 100; i++)
		await(&alarms[i], 1);
	for (int i = 0; i < 100; i++)
		for (int j = 0; j < 100; j++)
			if (alarms[i].due + 5 * MS < alarms[j].due) /* the test's own clock is read before */
				ck_assert_int_lt(alarms[i].place, alarms[j].place);
	for (int i = 0; i < 100; i++)
		vdb_timer_destroy(alarms[i].timer);
}
END_TEST

START_TEST(a_disarmed_one_does_not_fire)
{
	struct alarm alarms[30] = {0}, last = {0};

	for (int i = 0; i < 30; i++) {
		make(&alarms[i]);
		arm(&alarms[i], (unsigned)i % 5 * MS);
	}
	for (int i = 0; i < 30; i += 2)
		vdb_timer_disarm(alarms[i].timer);
	for (int i = 1; i < 30; i += 4)
		vdb_timer_destroy(alarms[i].timer);
	make(&last);
	arm(&last, 10 * MS);
	await(&last, 1);
	for (int i = 0; i < 30; i++)
		ck_assert_int_eq(alarms[i].fired, i % 4 == 3);
	for (int i = 0; i < 30; i++)
		if (i % 4 != 1)
			vdb_timer_destroy(alarms[i].timer);
	vdb_timer_destroy(last.timer);
}
END_TEST

START_TEST(armed_from_its_callback_it_waits_a_turn)
{
	struct alarm a = {.again = 3};

	make(&a);
	arm(&a, 0);
	await(&a, 1);
	await(&a, 2);
	await(&a, 3);
	await(&a, 4);
	ck_assert(!test_turn_within(loop, 10));
	vdb_timer_destroy(a.timer);
}
END_TEST

static void destroy_self(void *arg)
{
	struct alarm *alarm = arg;

	vdb_timer_destroy(alarm->timer);
	alarm->fired++;
}

static struct alarm pair[2];

static void destroy_other(void *arg)
{
	struct alarm *alarm = arg, *other = &pair[alarm == &pair[0]];

	alarm->fired++;
	vdb_timer_destroy(other->timer);
	other->timer = NULL;
}

START_TEST(may_be_destroyed_by_callbacks)
{
	struct alarm self = {0};

	ck_assert_int_eq(vdb_timer_create(loop, destroy_self, &self, &self.timer), 0);
	arm(&self, MS);
	await(&self, 1);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(vdb_timer_create(loop, destroy_other, &pair[i], &pair[i].timer), 0);
		vdb_timer_arm(pair[i].timer, 0);
	}
	while (!pair[0].fired)
		test_turn(loop);
	ck_assert_int_eq(pair[0].fired + pair[1].fired, 1); /* both were due */
	vdb_timer_destroy(pair[0].timer);
	vdb_timer_destroy(pair[1].timer);
}
END_TEST

START_TEST(the_far_future_does_not_come)
{
	struct alarm far = {0}, near = {0};

	make(&far);
	make(&near);
	vdb_timer_arm(far.timer, UINT64_MAX);
	arm(&near, MS);
	await(&near, 1);
	ck_assert_int_eq(far.fired, 0);
	vdb_timer_destroy(far.timer);
	vdb_timer_destroy(near.timer);
}
END_TEST

START_TEST(one_may_outlive_the_loop)
{
	struct alarm a = {0};

	make(&a);
	arm(&a, 0);
	test_loop_end(loop);
	vdb_timer_arm(a.timer, 5);
	vdb_timer_disarm(a.timer);
	vdb_timer_destroy(a.timer);
	ck_assert_int_eq(a.fired, 0);
	loop = test_loop_new();
}
END_TEST

static void stop(void *arg)
{
	(void)arg;
	vdb_loop_stop(loop);
}

START_TEST(ends_a_sleep_of_run)
{
	struct vdb_timer *timer;

	ck_assert_int_eq(vdb_timer_create(loop, stop, NULL, &timer), 0);
	vdb_timer_arm(timer, 20 * MS);
	ck_assert_int_eq(vdb_loop_run(loop), 0);
	ck_assert_uint_ge(test_loop_stats(loop).sleeps, 1);
	ck_assert_uint_le(test_loop_stats(loop).sleeps, 5);
	vdb_timer_destroy(timer);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("timer");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, fires_once_and_not_early);
	tcase_add_test(tc, fire_in_order_of_deadlines);
	tcase_add_test(tc, a_disarmed_one_does_not_fire);
	tcase_add_test(tc, armed_from_its_callback_it_waits_a_turn);
	tcase_add_test(tc, may_be_destroyed_by_callbacks);
	tcase_add_test(tc, the_far_future_does_not_come);
	tcase_add_test(tc, one_may_outlive_the_loop);
	tcase_add_test(tc, ends_a_sleep_of_run);
	return test_run("timer", tc);
}
