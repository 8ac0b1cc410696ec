/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* A packed ring whose flags, ids and events lie, on a loop with a neighbour: G52..G57. */
#include <string.h>

#include "arena.h"
#include "base/atomic.h"
#include "raw_queue.h"
#include "run.h"

#define N RAW_ENTRIES
#define DATA VRIG_DATA
#define TABLE RAW_TABLE
#define W VRING_DESC_F_WRITE
#define NEXT VRING_DESC_F_NEXT
#define INDIRECT VRING_DESC_F_INDIRECT
#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)

static struct raw_queue q;
static struct rig_hold hold;

static void setup(void)
{
	raw_open(&q, VDB_VIRTQ_PACKED | VDB_VIRTQ_INDIRECT, NULL);
	arena_begin(q.v.rig.loop);
}

static void open_held(uint32_t flags)
{
	raw_open(&q, VDB_VIRTQ_PACKED | VDB_VIRTQ_INDIRECT | flags, rig_hold_open(&hold));
	arena_begin(q.v.rig.loop);
}

static void setup_held(void)
{
	open_held(0);
}

static void setup_event(void)
{
	open_held(VDB_VIRTQ_EVENT_IDX);
}

static void teardown(void)
{
	while (hold.n)
		rig_hold_end(&hold, 0, 0);
	arena_end();
	raw_close(&q);
}

/* Flags as they are given. */
static void desc(uint32_t i, uint32_t id, uint32_t flags)
{
	struct vring_packed_desc *d = virtq_packed_desc(&q.v.d, i);

	d->addr = DATA + 64 * i;
	d->len = 64;
	d->id = (uint16_t)id;
	vdb__store_release(&d->flags, (uint16_t)flags);
}

static void nothing_is_taken(void)
{
	uint64_t before = vrig_stats(&q.v).requests;

	for (unsigned i = 0; i < 20; i++) {
		raw_ring(&q);
		rig_turns(&q.v.rig, 2);
	}
	ck_assert_uint_eq(vrig_stats(&q.v).requests, before);
	ck_assert_uint_eq(q.v.broken, 0);
	arena_goes_on();
}

/* Waits for it, though it was never used. */
static void breaks(void)
{
	raw_ring(&q);
	RIG_UNTIL(&q.v.rig, q.v.broken);
	ck_assert_uint_eq(q.v.broken, VDB_REASON_CHAIN);
	arena_goes_on();
}

START_TEST(g52_available_and_used_at_once)
{
	raw_goes_on(&q); /* two descriptors */
	desc(2, 0, _i ? AVAIL | USED : 0);
	nothing_is_taken();
	desc(2, 2, W | AVAIL);
	raw_ring(&q);
	RIG_UNTIL(&q.v.rig, vrig_stats(&q.v).completions == 2);
}
END_TEST

/* All of the ring is there, and more is to follow. */
START_TEST(g52_more_to_follow_on_a_full_ring)
{
	for (uint32_t i = N; i-- > 0;)
		desc(i, i, NEXT | AVAIL);
	breaks();
}
END_TEST

START_TEST(g53_the_lap_before)
{
	raw_goes_on(&q);
	desc(2, 2, USED);
	nothing_is_taken();
}
END_TEST

/* A chain that ends exactly where the ring does, and one that goes over its end. */
START_TEST(g53_over_the_end_of_the_ring)
{
	const struct raw_piece chain[] = {{DATA, 32, 0}, {DATA + 64, 32, 0}, {DATA + 128, 32, 0},
	                                  {DATA, 32, W}, {DATA + 64, 32, W}, {DATA + 128, 32, W}};

	for (unsigned i = 0; i < 40; i++) {
		raw_put(&q, chain, 6);
		ck_assert_uint_eq(raw_used(&q), 96);
		raw_goes_on(&q);
	}
	for (unsigned i = 0; i < 20; i++) {
		const struct raw_piece all[N] = {{DATA, 64, 0}, [7] = {DATA + 64, 64, W}};

		raw_put(&q, all, N);
		ck_assert_uint_eq(raw_used(&q), 64);
	}
}
END_TEST

START_TEST(g54_ids_that_are_not_there)
{
	static const uint32_t ids[] = {N, N + 1, 0x8000, 0xffff};

	raw_goes_on(&q);
	desc(2, ids[_i], W | AVAIL);
	breaks();
}
END_TEST

START_TEST(g54_an_id_in_flight_again)
{
	desc(0, 3, W | AVAIL);
	raw_ring(&q);
	RIG_UNTIL(&q.v.rig, hold.n == 1);
	desc(1, 3, W | AVAIL);
	breaks();
	ck_assert_uint_eq(hold.n, 1);
}
END_TEST

/* Five are in flight; a chain of four does not fit any more. */
START_TEST(g55_more_than_is_free)
{
	const struct raw_piece five[] = {
	        {DATA, 64, 0}, {DATA, 64, 0}, {DATA, 64, 0}, {DATA, 64, 0}, {DATA, 64, W}};

	raw_put(&q, five, 5);
	RIG_UNTIL(&q.v.rig, hold.n == 1);
	for (uint32_t i = 3; i-- > 0;)
		desc(5 + i, 5 + i, NEXT | AVAIL);
	desc(0, 0, W | USED);
	breaks();
	ck_assert_uint_eq(hold.n, 1);
}
END_TEST

/* In a table only WRITE counts: no flag, no id, no order of links. */
START_TEST(g56_bits_in_a_table)
{
	raw_entry(&q, TABLE, 0, DATA, 64, AVAIL | USED | INDIRECT, 0);
	raw_entry(&q, TABLE, 1, DATA + 64, 64, W | INDIRECT | USED, 0);
	raw_put(&q, &(struct raw_piece){TABLE, 32, INDIRECT}, 1);
	ck_assert_uint_eq(raw_used(&q), 64);
}
END_TEST

START_TEST(g56_tables_of_odd_length)
{
	static const uint32_t bytes[] = {0, 8, 24, 0xffffffff};

	raw_put(&q, &(struct raw_piece){TABLE, bytes[_i], INDIRECT}, 1);
	breaks();
}
END_TEST

/* ---- G57: what the driver says of interrupts ---- */

static void one_request(void)
{
	static const struct raw_piece good = {DATA, 64, W};

	raw_put(&q, &good, 1);
	RIG_UNTIL(&q.v.rig, hold.n == 1);
	rig_hold_end(&hold, 0, 0);
	(void)raw_used(&q);
}

static void enabled_by(uint32_t event)
{
	uint64_t before = q.v.triggers;

	vdb__store_release(virtq_driver_event(&q.v.d), event);
	one_request();
	ck_assert_uint_eq(q.v.triggers, before + 1);
}

/* Reserved flags; DESC without EVENT_IDX. */
START_TEST(g57_flags_without_a_meaning)
{
	static const uint32_t flags[] = {2, 3, 0xfffc, 0xfffe, 0xffff};

	for (unsigned i = 0; i < 40; i++)
		enabled_by(flags[i % 5] << 16 | i * 977);
}
END_TEST

START_TEST(g57_events_beyond_the_ring)
{
	static const uint32_t places[] = {N, N + 1, 0x7fff, 0xffff, 0x8000 | N};

	for (unsigned i = 0; i < 40; i++)
		enabled_by(2u << 16 | places[i % 5]);
}
END_TEST

/* Anything at all: an interrupt a batch at most, and who asks well is told. */
START_TEST(g57_events_of_garbage)
{
	uint32_t x = 4711;

	for (unsigned i = 0; i < 2000; i++) {
		x = x * 1664525 + 1013904223;
		vdb__store_release(virtq_driver_event(&q.v.d), x);
		one_request();
		ck_assert_uint_le(q.v.triggers, i + 1);
	}
	enabled_by(0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("packed"), *held = tcase_create("held"), *event = tcase_create("event");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g52_available_and_used_at_once, 0, 2);
	tcase_add_test(tc, g52_more_to_follow_on_a_full_ring);
	tcase_add_test(tc, g53_the_lap_before);
	tcase_add_test(tc, g53_over_the_end_of_the_ring);
	tcase_add_loop_test(tc, g54_ids_that_are_not_there, 0, 4);
	tcase_add_test(tc, g56_bits_in_a_table);
	tcase_add_loop_test(tc, g56_tables_of_odd_length, 0, 4);
	tcase_add_checked_fixture(held, setup_held, teardown);
	tcase_add_test(held, g54_an_id_in_flight_again);
	tcase_add_test(held, g55_more_than_is_free);
	tcase_add_test(held, g57_flags_without_a_meaning);
	tcase_add_checked_fixture(event, setup_event, teardown);
	tcase_add_test(event, g57_events_beyond_the_ring);
	tcase_add_test(event, g57_events_of_garbage);
	return test_run_all("packed", 3, (TCase *[]){tc, held, event});
}
