/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of rate limits, at a clock that the test sets: counts are exact, from 1 a second to 2^60. */
#include <stdlib.h>

#include "loop/flow.h"
#include "run.h"

#define SECOND ((uint64_t)1000000000)
#define MS ((uint64_t)1000000)
#define GB SECOND
#define MAX VDB__FLOW_MAX

__extension__ typedef unsigned __int128 wide;

/* ---- A flow and what has been given of it, with a clock ---- */

struct tap {
	struct vdb__flow flow;
	uint64_t given, now, moves;
	wide total;
};

static void tap_open(struct tap *tap, uint64_t rate, uint64_t burst, uint64_t now)
{
	*tap = (struct tap){.flow = vdb__flow_begin(rate, burst, now), .now = now};
	tap->given = vdb__flow_full(&tap->flow, now);
}

/* Moves the origin, where that is due. */
static void come_near(struct tap *tap)
{
	bool full = vdb__flow_level(&tap->flow, tap->given, tap->now) == tap->flow.burst;

	if (!vdb__flow_far(&tap->flow, tap->now))
		return;
	tap->flow = vdb__flow_change(&tap->flow, tap->flow.rate, tap->flow.burst, tap->now);
	if (full)
		tap->given = vdb__flow_full(&tap->flow, tap->now);
	tap->moves++; /* each can lose a unit */
}

static uint64_t level(const struct tap *tap)
{
	return vdb__flow_level(&tap->flow, tap->given, tap->now);
}

static void give(struct tap *tap, uint64_t amount)
{
	tap->given = vdb__flow_give(&tap->flow, tap->given, amount, tap->now);
	tap->total += amount;
}

/* One request, as soon as there is anything: the clock goes on to that moment. */
static void take(struct tap *tap, uint64_t size)
{
	uint64_t when = vdb__flow_when(&tap->flow, tap->given + 1);

	if (!level(tap)) {
		ck_assert_uint_gt(when, tap->now);
		tap->now = when - 1;
		ck_assert_uint_eq(level(tap), 0);
		tap->now = when;
	}
	come_near(tap);
	ck_assert_uint_gt(level(tap), 0);
	give(tap, size);
}

/* ---- Rates ---- */

static const struct rate {
	uint64_t rate, burst, size;
	unsigned requests;
} rates[] = {
        {1, 1, 1, 100},
        {1, 1, 4096, 100},
        {3, 0, 1, 1000},
        {7, 100, 13, 1000},
        {1000, 1, 1, 1000},
        {999983, 0, 4096, 1000},
        {10 * 1000 * 1000, 0, 4096, 1000},
        {GB, 1 << 20, 65536, 1000},
        {100 * GB, 0, 4096, 2000},
        {100 * GB, 0, 1, 2000},
        {MAX, 0, 1 << 20, 2000},
        {MAX, MAX, MAX / 3, 50},
        {1, 1, 1 << 30, 8}, /* 272 years */
};

static const uint64_t starts[] = {1, SECOND, 86400 * SECOND, 1ull << 63, (1ull << 63) + 17};

/* Whoever takes all that there is has taken, at each moment, the burst and what has flowed since: and the
 * last request's overdraft. */
static void check_rate(const struct rate *r, uint64_t start)
{
	wide flowed;
	struct tap tap;

	tap_open(&tap, r->rate, r->burst, start);
	for (unsigned i = 0; i < r->requests; i++) {
		wide before = tap.total;

		take(&tap, r->size);
		flowed = (wide)(tap.now - start) * r->rate / SECOND;
		/* There was one unit left at least; the moment before there was none, unless it was the
		 * first. */
		ck_assert(before < flowed + tap.flow.burst);
		flowed = tap.now == start ? 0 : (wide)(tap.now - start - 1) * r->rate / SECOND;
		ck_assert_msg(tap.now == start || before + tap.moves >= flowed + tap.flow.burst,
		              "%llu a second from %llu on: late at %llu", (unsigned long long)r->rate,
		              (unsigned long long)start, (unsigned long long)tap.now);
	}
}

START_TEST(test_rates)
{
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		for (size_t j = 0; j < sizeof(starts) / sizeof(starts[0]); j++)
			check_rate(&rates[i], starts[j]);
}
END_TEST

/* Below the burst nothing waits; what was not used in a rest does not add up. */
START_TEST(test_burst)
{
	struct tap tap;

	tap_open(&tap, 1000, 50, 5 * SECOND);
	ck_assert_uint_eq(level(&tap), 50);
	give(&tap, 20);
	ck_assert_uint_eq(level(&tap), 30);
	give(&tap, 30);
	ck_assert_uint_eq(level(&tap), 0);
	tap.now += 10 * MS;
	ck_assert_uint_eq(level(&tap), 10);
	tap.now += 3600 * SECOND;
	ck_assert_uint_eq(level(&tap), 50);
	give(&tap, 50);
	ck_assert_uint_eq(level(&tap), 0);
}
END_TEST

START_TEST(test_defaults)
{
	ck_assert_uint_eq(vdb__flow_begin(100000, 0, 0).burst, 1000); /* 10 ms */
	ck_assert_uint_eq(vdb__flow_begin(100000, 1, 0).burst, 100);  /* 1 ms at least */
	ck_assert_uint_eq(vdb__flow_begin(100000, 12345678, 0).burst, 12345678);
	ck_assert_uint_eq(vdb__flow_begin(1, 0, 0).burst, 1);
	ck_assert_uint_eq(vdb__flow_begin(MAX, 1, 0).burst, MAX / 1000);
	for (uint64_t rate = 1; rate < MAX; rate = rate * 3 + 1) {
		struct vdb__flow flow = vdb__flow_begin(rate, 0, 0);
		uint64_t portion = vdb__flow_portion(&flow);

		ck_assert_uint_ge(portion, 1);
		ck_assert_uint_le(portion, flow.burst);
		ck_assert_uint_le(portion, rate / 500 ? rate / 500 : 1);
	}
}
END_TEST

START_TEST(test_unlimited)
{
	struct tap tap;

	tap_open(&tap, 0, 0, 77);
	for (int i = 0; i < 10; i++) {
		ck_assert_uint_eq(level(&tap), UINT64_MAX);
		give(&tap, MAX);
		tap.now += SECOND << i;
	}
	ck_assert_uint_eq(vdb__flow_when(&tap.flow, tap.given), 0);
}
END_TEST

/* A gigabyte at a byte a second is 34 years; debts end where they cannot harm the arithmetic. */
START_TEST(test_debt)
{
	struct tap tap;

	tap_open(&tap, 1, 1, 1000);
	give(&tap, 1u << 30);
	ck_assert_uint_eq(vdb__flow_when(&tap.flow, tap.given), 1000 + ((1u << 30) - 1) * SECOND);
	for (int i = 0; i < 100; i++)
		give(&tap, MAX);
	ck_assert_uint_eq(level(&tap), 0);
	ck_assert_uint_eq(tap.given - vdb__flow_at(&tap.flow, tap.now), VDB__FLOW_DEBT);
	ck_assert_uint_eq(vdb__flow_when(&tap.flow, tap.given), UINT64_MAX);
}
END_TEST

/* ---- Changes ---- */

/* The debt is the same in units, and is paid at the new rate. */
START_TEST(test_change)
{
	struct tap tap;

	tap_open(&tap, 1000, 100, SECOND);
	give(&tap, 1100);
	ck_assert_uint_eq(vdb__flow_when(&tap.flow, tap.given), 2 * SECOND);
	tap.now += SECOND / 2;
	tap.flow = vdb__flow_change(&tap.flow, 5000, 100, tap.now);
	ck_assert_uint_eq(vdb__flow_when(&tap.flow, tap.given), tap.now + SECOND / 10);
	tap.flow = vdb__flow_change(&tap.flow, 5, 100, tap.now);
	ck_assert_uint_eq(vdb__flow_when(&tap.flow, tap.given), tap.now + 100 * SECOND);
	tap.now += 110 * SECOND;
	ck_assert_uint_eq(level(&tap), 50);
	tap.flow = vdb__flow_change(&tap.flow, 5, 1000, tap.now); /* a larger bucket is not fuller */
	ck_assert_uint_eq(level(&tap), 50);
	tap.flow = vdb__flow_change(&tap.flow, 5, 20, tap.now);
	ck_assert_uint_eq(level(&tap), 20);
}
END_TEST

/* Who changes a limit all the time neither stops what flows nor adds to it. */
START_TEST(test_change_often)
{
	struct tap tap;

	tap_open(&tap, 10, 1000, 0);
	give(&tap, 1000);
	for (int i = 0; i < 10000; i++) {
		tap.now += 999983;
		tap.flow = vdb__flow_change(&tap.flow, i % 2 ? 10 : 20, 1000, tap.now);
	}
	/* 10000 times 0.999983 ms at 15 a second; fractions of a nanosecond are lost at each change. */
	ck_assert_uint_le(level(&tap), 149);
	ck_assert_uint_ge(level(&tap), 149 - 1);
	/* A fraction of a unit is no time: at a high rate it would be many. */
	tap_open(&tap, 1, 10, 0);
	give(&tap, 10);
	tap.now = SECOND - 1;
	tap.flow = vdb__flow_change(&tap.flow, MAX, MAX, tap.now);
	ck_assert_uint_le(level(&tap), 1);
}
END_TEST

/* Idle for ages, at every rate: the bucket is full, no more, no less. */
START_TEST(test_ages)
{
	for (uint64_t rate = 1; rate < MAX; rate *= 5) {
		struct tap tap;
		uint64_t burst;

		tap_open(&tap, rate, 0, 3);
		burst = tap.flow.burst;
		for (int i = 0; i < 64; i++) {
			tap.now = (1ull << i) + 3;
			come_near(&tap);
			ck_assert_uint_le(level(&tap), burst);
			give(&tap, level(&tap));
			ck_assert_uint_eq(level(&tap), 0);
		}
		tap.now = UINT64_MAX;
		ck_assert(vdb__flow_far(&tap.flow, tap.now) || level(&tap) == burst);
	}
}
END_TEST

/* Threads read their clocks one after the other, and arrive in another order. */
START_TEST(test_clock_behind)
{
	struct tap tap;

	tap_open(&tap, GB, 1000000, 100 * SECOND);
	tap.flow = vdb__flow_change(&tap.flow, 2 * GB, 2000000, 101 * SECOND);
	give(&tap, level(&tap));
	tap.now = 99 * SECOND;
	ck_assert_uint_eq(vdb__flow_at(&tap.flow, tap.now), tap.flow.base);
	tap.flow = vdb__flow_change(&tap.flow, GB, 1000000, tap.now);
	ck_assert_uint_eq(tap.flow.since, 101 * SECOND);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("flow");

	tcase_add_test(tc, test_rates);
	tcase_add_test(tc, test_burst);
	tcase_add_test(tc, test_defaults);
	tcase_add_test(tc, test_unlimited);
	tcase_add_test(tc, test_debt);
	tcase_add_test(tc, test_change);
	tcase_add_test(tc, test_change_often);
	tcase_add_test(tc, test_ages);
	tcase_add_test(tc, test_clock_behind);
	return test_run("limit_flow", tc);
}
