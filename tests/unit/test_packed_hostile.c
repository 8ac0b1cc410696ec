/* SPDX-License-Identifier: Apache-2.0 */
/* What a hostile guest writes into a packed virtqueue, and what becomes of it. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "base/atomic.h"
#include "run.h"
#include "virtq_pair.h"

#define N 5u
#define LONGEST 128u /* table: max_segments */
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)

static struct virtq_pair p;

static void setup_with(uint32_t flags, uint32_t entries)
{
	virtq_pair_open(&p,
	                &(struct vdb_virtq_config){.entries = entries, .flags = VDB_VIRTQ_PACKED | flags});
}

static void setup(void)
{
	setup_with(VDB_VIRTQ_INDIRECT, N);
}

static void teardown(void)
{
	virtq_pair_close(&p);
}

static void breaks(void)
{
	virtq_pair_breaks(&p, VDB_REASON_CHAIN);
}

static void good(uint32_t i, uint32_t id, bool wrap)
{
	virtq_pair_packed(&p, i, PAIR_DATA, 64, id, WRITE, wrap);
}

/* ---- G52, G53: flags ---- */

START_TEST(g52_neither_or_both)
{
	vdb__store(&virtq_packed_desc(&p.d, 0)->flags, (uint16_t)(_i ? AVAIL | USED : 0));
	for (int i = 0; i < 100; i++) {
		ck_assert(!p.queue->ops->pending(p.queue));
		ck_assert(!virtq_pair_pop(&p));
		ck_assert(!virtq_pair_arm(&p)); /* it sleeps */
	}
	ck_assert_uint_eq(p.queue->state, VDB_RING_READY);
}
END_TEST

START_TEST(g52_next_for_ever)
{
	for (uint32_t i = 0; i < N; i++)
		virtq_pair_packed(&p, i, PAIR_DATA, 64, 0, NEXT, true);
	breaks();
}
END_TEST

/* The whole ring is with the device: nothing may be added, whatever the flags say. */
START_TEST(g52_more_than_a_ring)
{
	for (uint32_t i = 0; i < N; i++)
		good(i, i, true);
	for (uint32_t i = 0; i < N; i++)
		ck_assert(virtq_pair_pop(&p));
	good(0, _i ? N - 1 : 0, false);
	breaks();
}
END_TEST

START_TEST(g53_stale_wrap)
{
	for (uint32_t i = 0; i < N; i++)
		good(i, i, true);
	ck_assert_uint_eq(virtq_pair_serve(&p), N);
	good(0, 0, true); /* last lap's */
	ck_assert(!virtq_pair_pop(&p));
	ck_assert_uint_eq(p.queue->state, VDB_RING_READY);
	good(0, 0, false);
	ck_assert_uint_eq(virtq_pair_serve(&p), 1);
}
END_TEST

/* ---- G54: ids ---- */

START_TEST(g54_id_out_of_range)
{
	static const uint32_t ids[] = {N, N + 1, 0x8000, 0xffff};

	good(0, ids[_i], true);
	breaks();
}
END_TEST

START_TEST(g54_id_twice_in_flight)
{
	good(0, 3, true);
	good(1, 3, true);
	ck_assert(virtq_pair_pop(&p));
	breaks();
	virtq_pair_complete(&p, 3, 9);
	ck_assert(!virtq_pair_publish(&p));
	ck_assert_uint_eq(virtq_packed_desc(&p.d, 0)->len, 64);
}
END_TEST

/* Only the last of a chain has the id that counts. */
START_TEST(g54_the_last_id_counts)
{
	virtq_pair_packed(&p, 1, PAIR_DATA, 64, 2, WRITE, true);
	virtq_pair_packed(&p, 0, PAIR_DATA, 64, 0xffff, NEXT, true);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_uint_eq(p.elem.cookie, 2);
}
END_TEST

/* ---- G55: lengths ---- */

START_TEST(g55_chain_into_what_is_in_flight)
{
	good(0, 0, true);
	ck_assert(virtq_pair_pop(&p));
	for (uint32_t i = 1; i < N; i++)
		virtq_pair_packed(&p, i, PAIR_DATA, 64, 1, NEXT, true);
	breaks();
}
END_TEST

/* With an id that is free. */
START_TEST(g55_chain_longer_than_what_is_free)
{
	good(0, 0, true);
	ck_assert(virtq_pair_pop(&p));
	virtq_pair_packed(&p, 0, PAIR_DATA, 64, 2, WRITE, false);
	for (uint32_t i = 1; i < N; i++)
		virtq_pair_packed(&p, i, PAIR_DATA, 64, 1, NEXT, true);
	breaks();
}
END_TEST

START_TEST(g55_a_chain_of_the_whole_ring)
{
	for (int lap = 0; lap < 4; lap++) {
		for (uint32_t i = N; i-- > 0;)
			virtq_pair_packed(&p, i, PAIR_DATA, 64, 1, i + 1 < N ? NEXT : 0, lap % 2 == 0);
		ck_assert(virtq_pair_pop(&p));
		ck_assert_uint_eq(p.elem.nseg, N);
		virtq_pair_complete(&p, 1, 0);
		(void)virtq_pair_publish(&p);
		ck_assert_uint_eq(vdb_virtq_position(p.queue), lap % 2 == 0 ? 0 : 0x80008000);
	}
}
END_TEST

START_TEST(g55_rings_of_every_size)
{
	struct virtq_buf bufs[] = {{PAIR_DATA, 8, false}, {PAIR_DATA + 64, 8, true}};
	uint32_t entries = (uint32_t)_i, n, len;
	uint64_t cookie;

	teardown();
	setup_with(0, entries);
	for (uint64_t i = 0; i < 100; i++) {
		for (n = 0; virtq_add(&p.d, bufs, 1 + (n & 1), i); n++)
			;
		(void)virtq_publish(&p.d);
		ck_assert_uint_eq(virtq_pair_serve(&p), n);
		for (; n; n--) {
			ck_assert(virtq_reap(&p.d, &cookie, &len));
			ck_assert_uint_eq(cookie, i);
		}
	}
}
END_TEST

/* ---- G56: indirect ---- */

static void indirect(vdb_gpa_t table, uint32_t bytes, uint32_t more_flags)
{
	virtq_pair_packed(&p, 0, table, bytes, 0, INDIRECT | more_flags, true);
}

START_TEST(g56_only_write_counts_inside)
{
	virtq_pair_entry(&p, PAIR_TABLE, 0, PAIR_DATA, 64, AVAIL | USED | NEXT | INDIRECT, 0);
	virtq_pair_entry(&p, PAIR_TABLE, 1, PAIR_DATA, 32, WRITE | INDIRECT, 0);
	indirect(PAIR_TABLE, 32, WRITE);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_uint_eq(p.elem.nseg, 2);
	ck_assert_uint_eq(p.elem.nread, 1);
}
END_TEST

START_TEST(g56_table_of_odd_size)
{
	static const uint32_t bytes[] = {0, 1, 15, 17, 16 * (LONGEST + 1), 0xfffffff0, 0xffffffff};

	indirect(PAIR_TABLE, bytes[_i], 0);
	breaks();
}
END_TEST

START_TEST(g56_table_longer_than_the_ring)
{
	for (uint32_t i = 0; i < LONGEST; i++)
		virtq_pair_entry(&p, PAIR_TABLE, i, PAIR_DATA + 64 * i, 64, WRITE, 0);
	indirect(PAIR_TABLE, 16 * LONGEST, 0);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_int_eq(p.elem.error, 0);
	ck_assert_uint_eq(p.elem.nseg, LONGEST);
}
END_TEST

START_TEST(g56_indirect_with_next)
{
	virtq_pair_entry(&p, PAIR_TABLE, 0, PAIR_DATA, 64, 0, 0);
	good(1, 1, true);
	indirect(PAIR_TABLE, 16, NEXT);
	breaks();
}
END_TEST

START_TEST(g56_indirect_not_negotiated)
{
	teardown();
	setup_with(0, N);
	virtq_pair_entry(&p, PAIR_TABLE, 0, PAIR_DATA, 64, 0, 0);
	indirect(PAIR_TABLE, 16, 0);
	breaks();
}
END_TEST

START_TEST(g39_packed_table_outside_memory)
{
	static const vdb_gpa_t gpa[] = {PAIR_RAM, PAIR_RAM - 16, ~15ull, ~31ull, 1ull << 63};

	indirect(gpa[_i], 32, 0);
	breaks();
}
END_TEST

START_TEST(g42_packed_buffer_wraps)
{
	virtq_pair_packed(&p, 0, ~63ull, 65, 0, WRITE, true);
	breaks();
}
END_TEST

START_TEST(g50_packed_readable_after_writable)
{
	virtq_pair_packed(&p, 1, PAIR_DATA, 64, 0, 0, true);
	virtq_pair_packed(&p, 0, PAIR_DATA, 64, 0, WRITE | NEXT, true);
	breaks();
}
END_TEST

/* ---- G57: event suppression ---- */

static bool interrupts(uint32_t event)
{
	static uint32_t at;
	static bool wrap = true;

	vdb__store(virtq_driver_event(&p.d), event);
	good(at, at, wrap);
	if (++at == N) {
		at = 0;
		wrap = !wrap;
	}
	ck_assert(virtq_pair_pop(&p));
	virtq_pair_complete(&p, p.elem.cookie, 1);
	return virtq_pair_publish(&p);
}

START_TEST(g57_nonsense_means_enabled)
{
	static const uint32_t events[] = {0,       0x30000, 0x3ffff, 0xffff0000, 0x20000 | (N + 1),
	                                  0x2ffff, 0x20000};

	if (_i) {
		teardown();
		setup_with(VDB_VIRTQ_EVENT_IDX, N);
	}
	for (int lap = 0; lap < 8; lap++) {
		/* The last, DESC, counts with EVENT_IDX only. */
		for (uint32_t i = 0; i < (_i ? 6 : 7); i++)
			ck_assert(interrupts(events[i]));
		ck_assert(!interrupts(0x10000));
	}
}
END_TEST

/* ---- G49: a second vCPU changes everything while it is read ---- */

static uint32_t stop;

static void *flip(void *arg)
{
	uint64_t x = 88172645463325252ull;
	uint64_t *words = arg;
	static const uint32_t flags[] = {0, NEXT, WRITE, NEXT | WRITE, INDIRECT, INDIRECT | NEXT};

	while (!vdb__load(&stop)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		vdb__store(&words[2 * ((x >> 8 & 0xff) % N)], x >> 60 ? PAIR_TABLE + (x >> 40 & 0xff) : x);
		/* len, id, flags of one lap or the other */
		vdb__store(&words[2 * ((x >> 8 & 0xff) % N) + 1],
		           (x >> 20 & 0x30) | (x >> 50 & (x >> 62 ? 3 : 7)) << 32 |
		                   (uint64_t)(flags[(x >> 24 & 0xff) % 6] | (x >> 33 & 1 ? AVAIL : USED))
		                           << 48);
	}
	return NULL;
}

START_TEST(g49_packed_flips)
{
	struct vdb_queue *queue = NULL;
	uint64_t popped = 0;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, flip, virtq_packed_desc(&p.d, 0)), 0);
	for (unsigned round = 0; test_goes_on(round, 5000) || popped < 1000; round++) {
		(void)sched_yield(); /* the other one must get on, whoever else wants the CPUs */
		ck_assert_int_eq(vdb_virtq_create(p.ram.mem, &p.d.config, &queue), 0);
		vdb_queue_destroy(p.queue);
		p.queue = queue;
		queue->ops->attach(queue, &(struct vdb__queue_identity){0});
		for (int i = 0; i < 64 && queue->state == VDB_RING_READY; i++) {
			if (!virtq_pair_pop(&p))
				continue;
			popped++;
			ck_assert_uint_le(p.elem.nread, p.elem.nseg);
			ck_assert_uint_le(p.elem.nseg, LONGEST);
			ck_assert_uint_lt(p.elem.cookie, N);
			if (i & 1)
				virtq_pair_complete(&p, p.elem.cookie, 1);
			(void)virtq_pair_publish(&p);
		}
	}
	vdb__store(&stop, 1u);
	pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("packed_hostile");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g52_neither_or_both, 0, 2);
	tcase_add_test(tc, g52_next_for_ever);
	tcase_add_loop_test(tc, g52_more_than_a_ring, 0, 2);
	tcase_add_test(tc, g53_stale_wrap);
	tcase_add_loop_test(tc, g54_id_out_of_range, 0, 4);
	tcase_add_test(tc, g54_id_twice_in_flight);
	tcase_add_test(tc, g54_the_last_id_counts);
	tcase_add_test(tc, g55_chain_into_what_is_in_flight);
	tcase_add_test(tc, g55_chain_longer_than_what_is_free);
	tcase_add_test(tc, g55_a_chain_of_the_whole_ring);
	tcase_add_loop_test(tc, g55_rings_of_every_size, 1, 20);
	tcase_add_test(tc, g56_only_write_counts_inside);
	tcase_add_loop_test(tc, g56_table_of_odd_size, 0, 7);
	tcase_add_test(tc, g56_table_longer_than_the_ring);
	tcase_add_test(tc, g56_indirect_with_next);
	tcase_add_test(tc, g56_indirect_not_negotiated);
	tcase_add_loop_test(tc, g39_packed_table_outside_memory, 0, 5);
	tcase_add_test(tc, g42_packed_buffer_wraps);
	tcase_add_test(tc, g50_packed_readable_after_writable);
	tcase_add_loop_test(tc, g57_nonsense_means_enabled, 0, 2);
	tcase_add_test(tc, g49_packed_flips);
	return test_run("packed_hostile", tc);
}
