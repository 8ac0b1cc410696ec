/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* A split ring whose indices and links lie, on a loop with a neighbour: G27..G35, G41, G51. */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "arena.h"
#include "base/atomic.h"
#include "raw_queue.h"
#include "run.h"

#define N RAW_ENTRIES
#define DATA VRIG_DATA
#define W VRING_DESC_F_WRITE
#define NEXT VRING_DESC_F_NEXT

static struct raw_queue q;
static struct rig_hold hold;

static void setup(void)
{
	raw_open(&q, VDB_VIRTQ_INDIRECT, NULL);
	arena_begin(q.v.rig.loop);
}

/* Requests stay in flight until the test ends them. */
static void setup_held(void)
{
	raw_open(&q, VDB_VIRTQ_INDIRECT | VDB_VIRTQ_EVENT_IDX, rig_hold_open(&hold));
	arena_begin(q.v.rig.loop);
}

static void teardown(void)
{
	while (hold.n)
		rig_hold_end(&hold, 0, 0);
	arena_end();
	raw_close(&q);
}

static void desc(uint32_t i, uint32_t flags, uint32_t next)
{
	*virtq_desc(&q.v.d, i) = (struct vring_desc){
	        .addr = DATA + 64 * i, .len = 64, .flags = (uint16_t)flags, .next = (uint16_t)next};
}

static void show(uint16_t idx)
{
	vdb__store_release(&virtq_avail(&q.v.d)->idx, idx);
	raw_ring(&q);
}

static void offer(uint32_t head)
{
	virtq_avail(&q.v.d)->ring[q.shown % N] = (uint16_t)head;
	q.chains++;
	show(++q.shown);
}

static void breaks(void)
{
	q.chains = UINT32_MAX; /* nothing is used */
	raw_breaks(&q, VDB_REASON_CHAIN);
}

START_TEST(g27_the_index_jumps)
{
	static const uint16_t by[] = {N + 1, 2 * N, 0x7fff, 0x8000, 0xffff};

	for (unsigned i = 0; i < 3; i++)
		raw_goes_on(&q);
	show((uint16_t)(q.shown + by[_i]));
	q.chains = UINT32_MAX;
	raw_breaks(&q, VDB_REASON_SQ_INDEX);
	arena_goes_on();
}
END_TEST

START_TEST(g28_the_index_goes_back)
{
	for (unsigned i = 0; i < 5; i++)
		raw_goes_on(&q);
	show((uint16_t)(q.shown - 1 - _i));
	q.chains = UINT32_MAX;
	raw_breaks(&q, VDB_REASON_SQ_INDEX);
}
END_TEST

/* ---- G29: another vCPU moves it on while it is served ---- */

static uint32_t stop;

static void *run_on(void *arg)
{
	struct vring_avail *avail = virtq_avail(&q.v.d);
	const struct vring_used *used = virtq_used(&q.v.d);

	(void)arg;
	while (!vdb__load(&stop))
		vdb__store_release(&avail->idx, (uint16_t)(vdb__load(&used->idx) + N));
	return NULL;
}

/* However much there always is, a neighbour has its turns: the arena counts them. */
START_TEST(g29_the_index_runs_on)
{
	pthread_t thread;

	for (uint32_t i = 0; i < N; i++) {
		desc(i, W, 0);
		virtq_avail(&q.v.d)->ring[i] = (uint16_t)i;
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, run_on, NULL), 0);
	for (unsigned i = 0; i < 5; i++) {
		raw_ring(&q);
		arena_goes_on();
	}
	ck_assert_uint_gt(vrig_stats(&q.v).completions, 0);
	vdb__store(&stop, 1u);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(g30_heads_that_are_not_there)
{
	static const uint32_t heads[] = {N, N + 1, 0x7fff, 0xffff};

	raw_goes_on(&q);
	offer(heads[_i]);
	breaks();
}
END_TEST

START_TEST(g31_links_to_nowhere)
{
	static const uint32_t next[] = {N, N + 1, 0x8000, 0xffff};

	desc(0, NEXT, next[_i]);
	offer(0);
	breaks();
}
END_TEST

/* To itself, round the table, round a part of it, round nothing. */
START_TEST(g32_links_that_come_back)
{
	for (uint32_t i = 0; i < N; i++)
		desc(i, NEXT, _i == 0 ? i : _i == 1 ? (i + 1) % N : 2 + (i + 1) % 3);
	for (uint32_t i = 0; i < N && _i == 3; i++)
		virtq_desc(&q.v.d, i)->len = 0;
	offer(0);
	breaks();
	arena_goes_on();
}
END_TEST

START_TEST(g33_one_more_than_the_ring)
{
	for (uint32_t i = 0; i < N; i++)
		desc(i, i + 1 < N ? NEXT : 0, i + 1);
	raw_entry(&q, RAW_TABLE, 0, DATA, 64, 0, 0);
	offer(0);
	ck_assert_uint_eq(raw_used(&q), 0); /* as many as there are is a chain */
	desc(N - 1, NEXT, 0);
	offer(0);
	breaks();
}
END_TEST

START_TEST(g34_a_head_in_flight_again)
{
	desc(2, W, 0);
	offer(2);
	RIG_UNTIL(&q.v.rig, hold.n == 1);
	offer(2);
	breaks();
	ck_assert_uint_eq(hold.n, 1); /* the second was not submitted */
	rig_hold_end(&hold, 0, 0);
	rig_turns(&q.v.rig, 3);
	ck_assert_uint_eq(virtq_used(&q.v.d)->idx, 0);
}
END_TEST

START_TEST(g35_nothing_but_one_head)
{
	desc(1, W, 0);
	for (unsigned i = 0; i < 1000; i++) {
		offer(1);
		(void)raw_used(&q);
	}
	ck_assert_uint_eq(vrig_stats(&q.v).completions, 1000);
}
END_TEST

START_TEST(g35_one_head_in_all_entries)
{
	desc(1, W, 0);
	for (uint32_t i = 0; i < N; i++)
		virtq_avail(&q.v.d)->ring[i] = 1;
	show(N);
	RIG_UNTIL(&q.v.rig, q.v.broken);
	ck_assert_uint_eq(q.v.broken, VDB_REASON_CHAIN);
	ck_assert_uint_eq(hold.n, 1);
}
END_TEST

START_TEST(g41_a_loop_in_a_table)
{
	raw_entry(&q, RAW_TABLE, 0, DATA, 64, NEXT, 1);
	raw_entry(&q, RAW_TABLE, 1, DATA, 64, NEXT, (uint32_t)(_i == 0 ? 0 : _i == 1 ? 1 : 2));
	raw_put(&q, &(struct raw_piece){RAW_TABLE, 32, VRING_DESC_F_INDIRECT}, 1);
	breaks();
}
END_TEST

/* ---- G51: what the device wrote, and what it is told of interrupts ---- */

START_TEST(g51_the_used_ring_scribbled)
{
	struct vring_used *used = virtq_used(&q.v.d);

	for (uint32_t i = 0; i < 100; i++) {
		memset(used, 0xa5, 6 + 8 * N);
		desc(i % N, W, 0);
		offer(i % N);
		RIG_UNTIL(&q.v.rig, vdb__load_acquire(&used->idx) == (uint16_t)(i + 1));
		ck_assert_uint_eq(used->ring[i % N].id, i % N);
	}
}
END_TEST

static void one_request(uint32_t i, uint16_t event)
{
	virtq_avail(&q.v.d)->ring[N] = event; /* used_event */
	virtq_avail(&q.v.d)->flags = (uint16_t)(event * 31);
	desc(i % N, W, 0);
	offer(i % N);
	RIG_UNTIL(&q.v.rig, hold.n == 1);
	rig_hold_end(&hold, 0, 0);
	(void)raw_used(&q);
}

/* Whatever is asked for, there is an interrupt a batch at most; and who asks well is told. */
START_TEST(g51_events_of_garbage)
{
	uint32_t x = 12345, i;

	for (i = 0; i < 2000; i++) {
		x = x * 1664525 + 1013904223;
		one_request(i, (uint16_t)(x >> 16));
		ck_assert_uint_le(q.v.triggers, i + 1);
	}
	for (uint64_t before = q.v.triggers; i < 2010; i++, before++) {
		one_request(i, q.shown);
		ck_assert_uint_eq(q.v.triggers, before + 1);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("split"), *held = tcase_create("held");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g27_the_index_jumps, 0, 5);
	tcase_add_loop_test(tc, g28_the_index_goes_back, 0, 4);
	tcase_add_test(tc, g29_the_index_runs_on);
	tcase_add_loop_test(tc, g30_heads_that_are_not_there, 0, 4);
	tcase_add_loop_test(tc, g31_links_to_nowhere, 0, 4);
	tcase_add_loop_test(tc, g32_links_that_come_back, 0, 4);
	tcase_add_test(tc, g33_one_more_than_the_ring);
	tcase_add_test(tc, g35_nothing_but_one_head);
	tcase_add_loop_test(tc, g41_a_loop_in_a_table, 0, 3);
	tcase_add_test(tc, g51_the_used_ring_scribbled);
	tcase_add_checked_fixture(held, setup_held, teardown);
	tcase_add_test(held, g34_a_head_in_flight_again);
	tcase_add_test(held, g35_one_head_in_all_entries);
	tcase_add_test(held, g51_events_of_garbage);
	return test_run_all("split", 2, (TCase *[]){tc, held});
}
