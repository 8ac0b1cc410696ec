/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* TIMEOUT: 300 */
/* A thousand lanes on one loop: all busy, none starves; idle, they cost nothing. */
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "rig.h"
#include "run.h"

#define LANES 1000u
#define FDS (4 * LANES + 100)
#define RAM (RIG_DATA + 0x10000u)
#define DEPTH 16u
#define BYTES 4096u
#define COST 8192u /* of such a request, with what each counts for */
#define A_TURN 4u  /* so many requests fill a quantum */
#define QUIET_MS 300u

static struct rig rig;
static struct rig_guest *guests;
static struct vdb_backend *backend;

static void setup(void)
{
	struct vdb_loop_config config = test_loop_config();

	config.quantum = A_TURN * (uint64_t)COST;
	rig_open(&rig, &config);
	ck_assert_int_eq(vdb_backend_null(1 << 20, &backend), 0);
	guests = calloc(LANES, sizeof(*guests));
	ck_assert_ptr_nonnull(guests);
}

static void teardown(void)
{
	free(guests);
	vdb_backend_destroy(backend);
}

static void join_all(void)
{
	for (unsigned i = 0; i < LANES; i++)
		rig_join(&rig, &guests[i],
		         &(struct rig_guest_config){.backend = backend, .ram = RAM, .entries = DEPTH});
}

static void leave_all(void)
{
	for (unsigned i = 0; i < LANES; i++)
		rig_leave(&guests[i]);
	rig_close(&rig);
}

static void settle(void)
{
	int ready;

	do {
		ready = vdb_loop_prepare(rig.loop);
		ck_assert_int_ge(ready, 0);
		if (!ready)
			rig_turns(&rig, 1);
	} while (!ready);
}

/* As many requests under way as there is room for. */
static void refill(struct rig_guest *guest)
{
	struct vdb_cqe cqe;

	while (vdb_guest_reap(&guest->m.g, &cqe))
		ck_assert_int_eq(cqe.result, BYTES);
	while (mock_prepare(&guest->m, VDB_OP_READ, RIG_DATA, BYTES, 0, 0))
		;
	(void)vdb_guest_submit(&guest->m.g);
}

static void count_all(uint64_t *requests)
{
	for (unsigned i = 0; i < LANES; i++)
		requests[i] = rig_stats(&guests[i]).requests;
}

/* Since then. */
static void most_and_least(const uint64_t *since, uint64_t *most, uint64_t *least)
{
	*most = 0;
	*least = UINT64_MAX;
	for (unsigned i = 0; i < LANES; i++) {
		uint64_t n = rig_stats(&guests[i]).requests - since[i];

		*most = n > *most ? n : *most;
		*least = n < *least ? n : *least;
	}
}

START_TEST(all_busy_all_are_served_alike)
{
	uint64_t most, least, start[LANES];

	join_all();
	for (unsigned turn = 0; turn < 22; turn++) {
		for (unsigned i = 0; i < LANES; i++)
			refill(&guests[i]);
		rig_turns(&rig, 1);
		/* Whose bells have yet to be heard, or who is found by a look, comes a turn later. */
		if (turn < 2)
			count_all(start);
		most_and_least(start, &most, &least);
		ck_assert_msg(most - least <= A_TURN, "turn %u: one has %llu requests, another %llu", turn,
		              (unsigned long long)most, (unsigned long long)least);
	}
	ck_assert_uint_ge(least, 10u * A_TURN);
	leave_all();
}
END_TEST

START_TEST(who_is_idle_is_not_visited)
{
	uint64_t *visits = calloc(LANES, sizeof(*visits));

	ck_assert_ptr_nonnull(visits);
	join_all();
	settle();
	for (unsigned i = 0; i < LANES; i++)
		visits[i] = rig_stats(&guests[i]).visits;
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(rig_do(&guests[7], VDB_OP_READ, RIG_DATA, BYTES, 0), BYTES);
	for (unsigned i = 0; i < LANES; i++) {
		if (i != 7)
			ck_assert_uint_eq(rig_stats(&guests[i]).visits, visits[i]);
	}
	ck_assert_uint_ge(rig_stats(&guests[7]).visits, visits[7] + 1000);
	leave_all();
	free(visits);
}
END_TEST

/* Nothing wakes it, nor is there anything to do when it is asked. */
START_TEST(all_idle_it_sleeps)
{
	struct vdb_loop_stats before = {.size = sizeof(before)}, after = before;
	struct pollfd pfd = {.fd = vdb_loop_fd(rig.loop), .events = POLLIN};

	join_all();
	settle();
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &before), 0);
	ck_assert_int_eq(poll(&pfd, 1, QUIET_MS), 0);
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &after), 0);
	ck_assert_uint_eq(after.events, before.events);
	ck_assert_uint_eq(after.turns, before.turns);
	ck_assert_uint_eq(after.enters, before.enters);
	ck_assert_int_eq(vdb_loop_prepare(rig.loop), 1);
	leave_all();
}
END_TEST

static bool enough_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return false;
	if (limit.rlim_cur < FDS)
		limit.rlim_cur = limit.rlim_max;
	return limit.rlim_cur >= FDS && setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

int main(void)
{
	TCase *tc = tcase_create("thousand");

	if (!enough_files()) {
		(void)fprintf(stderr, "skipped: a thousand lanes take %u open files (ulimit -Hn)\n", FDS);
		return 77;
	}
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, all_busy_all_are_served_alike);
	tcase_add_test(tc, who_is_idle_is_not_visited);
	tcase_add_test(tc, all_idle_it_sleeps);
	return test_run_within("lane_thousand", tc, 100);
}
