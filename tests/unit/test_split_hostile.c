/* SPDX-License-Identifier: Apache-2.0 */
/* What a hostile guest writes into a split virtqueue, and what becomes of it. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "base/atomic.h"
#include "run.h"
#include "virtq_pair.h"

#define N 8u
#define LONGEST 128u /* table: max_segments */
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

static struct virtq_pair p;

static void setup_with(uint32_t flags)
{
	virtq_pair_open(&p, &(struct vdb_virtq_config){.entries = N, .flags = flags});
}

static void setup(void)
{
	setup_with(VDB_VIRTQ_INDIRECT);
}

static void teardown(void)
{
	virtq_pair_close(&p);
}

static void breaks(void)
{
	virtq_pair_breaks(&p, VDB_REASON_CHAIN);
}

static void one_good(uint32_t head)
{
	virtq_pair_desc(&p, head, PAIR_DATA, 64, WRITE, 0);
	virtq_pair_offer(&p, head);
}

/* An indirect descriptor for a table of `bytes` at head 0. */
static void indirect(vdb_gpa_t table, uint32_t bytes, uint32_t more_flags)
{
	virtq_pair_desc(&p, 0, table, bytes, INDIRECT | more_flags, 1);
	virtq_pair_offer(&p, 0);
}

START_TEST(g27_avail_jump)
{
	virtq_avail(&p.d)->idx = N + 1;
	virtq_pair_breaks(&p, VDB_REASON_SQ_INDEX);
}
END_TEST

START_TEST(g28_avail_backwards)
{
	for (uint32_t i = 0; i < 3; i++)
		one_good(i);
	ck_assert(virtq_pair_pop(&p) && virtq_pair_pop(&p));
	virtq_avail(&p.d)->idx = 1;    /* behind what is in flight */
	ck_assert(virtq_pair_pop(&p)); /* seen before */
	virtq_pair_breaks(&p, VDB_REASON_SQ_INDEX);
}
END_TEST

/* However far it runs, no more is taken than there are descriptors. */
START_TEST(g29_avail_runs_on)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < N; i++)
		virtq_pair_desc(&p, i, PAIR_DATA, 64, WRITE, 0);
	virtq_pair_offer(&p, 0);
	for (; virtq_pair_pop(&p); n++)
		virtq_pair_offer(&p, (n + 1) % N);
	ck_assert_uint_eq(n, N);
	virtq_pair_breaks(&p, VDB_REASON_SQ_INDEX);
}
END_TEST

START_TEST(g30_head_out_of_range)
{
	static const uint32_t heads[] = {N, N + 1, 0x7fff, 0xffff};

	virtq_pair_offer(&p, heads[_i]);
	breaks();
}
END_TEST

START_TEST(g31_next_out_of_range)
{
	static const uint32_t next[] = {N, 0xffff};

	virtq_pair_desc(&p, 0, PAIR_DATA, 64, NEXT, next[_i]);
	virtq_pair_offer(&p, 0);
	breaks();
}
END_TEST

START_TEST(g32_loops)
{
	for (uint32_t i = 0; i < N; i++)
		virtq_pair_desc(&p, i, PAIR_DATA, 64, NEXT, _i ? (i + 1) % N : i);
	virtq_pair_offer(&p, 0);
	breaks();
}
END_TEST

/* A loop of empty descriptors, too. */
START_TEST(g32_loop_of_nothing)
{
	virtq_pair_desc(&p, 3, PAIR_DATA, 0, NEXT, 3);
	virtq_pair_offer(&p, 3);
	breaks();
}
END_TEST

START_TEST(g33_the_longest_chain)
{
	for (uint32_t i = 0; i < N; i++)
		virtq_pair_desc(&p, i, PAIR_DATA, 64, i + 1 < N ? NEXT : 0, i + 1);
	virtq_pair_offer(&p, 0);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_uint_eq(p.elem.nseg, N);
	ck_assert_uint_eq(p.elem.steps, N);
}
END_TEST

START_TEST(g34_head_twice_in_flight)
{
	one_good(2);
	ck_assert(virtq_pair_pop(&p));
	virtq_pair_offer(&p, 2);
	breaks();
	/* What was in flight ends somewhere, and nothing is written. */
	virtq_pair_complete(&p, 2, 5);
	ck_assert(!virtq_pair_publish(&p));
	ck_assert_uint_eq(virtq_used(&p.d)->idx, 0);
}
END_TEST

START_TEST(g35_the_same_head_again_and_again)
{
	virtq_pair_desc(&p, 2, PAIR_DATA, 64, WRITE, 0);
	for (int i = 0; i < 100000; i++) { /* more than an index goes round */
		virtq_pair_offer(&p, 2);
		ck_assert_uint_eq(virtq_pair_serve(&p), 1);
	}
	ck_assert_uint_eq(virtq_used(&p.d)->idx, 100000 % 65536);
	virtq_pair_offer(&p, 2);
	virtq_pair_offer(&p, 2);
	ck_assert(virtq_pair_pop(&p));
	breaks();
}
END_TEST

START_TEST(g36_indirect_not_negotiated)
{
	teardown();
	setup_with(0);
	virtq_pair_entry(&p, PAIR_TABLE, 0, PAIR_DATA, 64, 0, 0);
	indirect(PAIR_TABLE, 16, 0);
	breaks();
}
END_TEST

START_TEST(g37_nested_indirect)
{
	virtq_pair_entry(&p, PAIR_TABLE, 0, PAIR_TABLE + 64, 16, INDIRECT, 0);
	virtq_pair_entry(&p, PAIR_TABLE + 64, 0, PAIR_DATA, 64, 0, 0);
	indirect(PAIR_TABLE, 16, 0);
	breaks();
}
END_TEST

/* INDIRECT|NEXT is how a second table would come, too. */
START_TEST(g37_indirect_with_next)
{
	virtq_pair_entry(&p, PAIR_TABLE, 0, PAIR_DATA, 64, 0, 0);
	virtq_pair_desc(&p, 1, PAIR_TABLE, 16, INDIRECT, 0);
	indirect(PAIR_TABLE, 16, NEXT);
	breaks();
}
END_TEST

/* 2.7.5.3.2: ordinary descriptors may come before the table. */
START_TEST(g37_indirect_at_the_end)
{
	virtq_pair_entry(&p, PAIR_TABLE, 0, PAIR_DATA + 64, 32, WRITE, 0);
	virtq_pair_desc(&p, 4, PAIR_DATA, 64, NEXT, 5);
	virtq_pair_desc(&p, 5, PAIR_TABLE, 16, INDIRECT, 0);
	virtq_pair_offer(&p, 4);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_uint_eq(p.elem.nseg, 2);
	ck_assert_uint_eq(p.elem.nread, 1);
	ck_assert_uint_eq(p.elem.len, 96);
}
END_TEST

START_TEST(g38_table_of_odd_size)
{
	static const uint32_t bytes[] = {0, 1, 15, 17, 16 * (LONGEST + 1), 0xfffffff0, 0xffffffff};

	indirect(PAIR_TABLE, bytes[_i], 0);
	breaks();
}
END_TEST

/* A driver that got a smaller ring than it asked for still fills tables up to max_segments. */
START_TEST(g38_table_longer_than_the_ring)
{
	for (uint32_t i = 0; i < LONGEST; i++)
		virtq_pair_entry(&p, PAIR_TABLE, i, PAIR_DATA + 64 * i, 64, i + 1 < LONGEST ? NEXT : 0,
		                 i + 1);
	indirect(PAIR_TABLE, 16 * LONGEST, 0);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_int_eq(p.elem.error, 0);
	ck_assert_uint_eq(p.elem.nseg, LONGEST);
	ck_assert_uint_eq(p.elem.steps, LONGEST);
}
END_TEST

START_TEST(g39_table_outside_memory)
{
	static const vdb_gpa_t gpa[] = {PAIR_RAM, PAIR_RAM - 16, ~15ull, ~31ull, 1ull << 63};

	indirect(gpa[_i], 32, 0);
	if (gpa[_i] == PAIR_RAM - 16)
		virtq_pair_entry(&p, PAIR_RAM - 16, 0, PAIR_DATA, 64, NEXT, 1);
	breaks();
}
END_TEST

START_TEST(g39_table_anywhere)
{
	vdb_gpa_t table = PAIR_TABLE + (unsigned)_i;

	virtq_pair_entry(&p, table, 0, PAIR_DATA, 64, NEXT, 1);
	virtq_pair_entry(&p, table, 1, PAIR_DATA + 64, 32, WRITE, 0);
	indirect(table, 32, 0);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_int_eq(p.elem.error, 0);
	ck_assert_uint_eq(p.elem.nseg, 2);
	ck_assert_uint_eq(p.elem.len, 96);
	ck_assert_uint_eq(p.segs[1].gpa, PAIR_DATA + 64);
}
END_TEST

START_TEST(g39_table_across_regions)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = PAIR_RAM, .len = 4096, .backing = VDB_MEM_ANON};
	struct vring_desc second = {.addr = PAIR_DATA + 64, .len = 32, .flags = WRITE};

	ck_assert_int_eq(vdb_mem_add(p.ram.mem, &region), 0);
	p.queue->ops->remap(p.queue);
	/* Eight bytes of the second lie here, eight there. */
	virtq_pair_entry(&p, PAIR_RAM - 24, 0, PAIR_DATA, 64, NEXT, 1);
	ck_assert_int_eq(vdb_mem_write(p.ram.mem, PAIR_RAM - 8, &second, 16), 0);
	indirect(PAIR_RAM - 24, 32, 0);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_uint_eq(p.elem.nseg, 2);
	ck_assert_uint_eq(p.segs[1].gpa, PAIR_DATA + 64);
	ck_assert_uint_eq(p.segs[1].len, 32);
}
END_TEST

START_TEST(g40_write_with_indirect_is_ignored)
{
	virtq_pair_entry(&p, PAIR_TABLE, 0, PAIR_DATA, 64, 0, 0);
	indirect(PAIR_TABLE, 16, WRITE);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_uint_eq(p.elem.nread, 1);
}
END_TEST

START_TEST(g41_loop_inside_a_table)
{
	virtq_pair_entry(&p, PAIR_TABLE, 0, PAIR_DATA, 64, NEXT, 1);
	virtq_pair_entry(&p, PAIR_TABLE, 1, PAIR_DATA, 64, NEXT, _i ? 2 : 0); /* or out of it */
	indirect(PAIR_TABLE, 32, 0);
	breaks();
}
END_TEST

START_TEST(g42_buffer_wraps)
{
	virtq_pair_desc(&p, 0, ~63ull, 65, WRITE, 0);
	virtq_pair_offer(&p, 0);
	breaks();
}
END_TEST

START_TEST(g44_empty_buffers_are_skipped)
{
	virtq_pair_desc(&p, 0, ~0ull, 0, NEXT, 1);
	virtq_pair_desc(&p, 1, PAIR_DATA, 5, NEXT, 2);
	virtq_pair_desc(&p, 2, 0, 0, NEXT | WRITE, 3);
	virtq_pair_desc(&p, 3, PAIR_DATA, 7, WRITE, 0);
	virtq_pair_desc(&p, 4, 0, 0, 0, 0);
	virtq_pair_offer(&p, 0);
	virtq_pair_offer(&p, 4);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_uint_eq(p.elem.nseg, 2);
	ck_assert_uint_eq(p.elem.nread, 1);
	ck_assert_uint_eq(p.elem.len, 12);
	ck_assert_uint_eq(p.elem.steps, 4);
	ck_assert(virtq_pair_pop(&p)); /* all of it empty: a request all the same */
	ck_assert_uint_eq(p.elem.len, 0);
}
END_TEST

START_TEST(g45_more_than_fits)
{
	for (uint32_t i = 0; i < N; i++)
		virtq_pair_desc(&p, i, PAIR_DATA, UINT32_MAX, i + 1 < N ? NEXT | WRITE : WRITE, i + 1);
	virtq_pair_offer(&p, 0);
	ck_assert(virtq_pair_pop(&p));
	ck_assert_int_eq(p.elem.error, -E2BIG);
	ck_assert_uint_eq(p.elem.nseg, 0);
	ck_assert_uint_eq(p.elem.steps, N);
	virtq_pair_complete(&p, 0, 0);
	(void)virtq_pair_publish(&p);
	ck_assert_uint_eq(virtq_used(&p.d)->idx, 1);
	ck_assert_uint_eq(virtq_used(&p.d)->ring[0].len, 0);
}
END_TEST

START_TEST(g50_readable_after_writable)
{
	virtq_pair_desc(&p, 0, PAIR_DATA, 8, WRITE | NEXT, 1);
	virtq_pair_desc(&p, 1, PAIR_DATA, _i ? 8 : 0, 0, 0);
	virtq_pair_offer(&p, 0);
	breaks();
}
END_TEST

/* What the device wrote there it never reads. */
START_TEST(g51_used_ring_scribbled)
{
	for (uint32_t i = 0; i < 20; i++) {
		one_good(i % N);
		ck_assert(virtq_pair_pop(&p));
		memset(virtq_used(&p.d), 0xa5, 6 + 8 * N);
		virtq_pair_complete(&p, p.elem.cookie, 3);
		ck_assert(virtq_pair_publish(&p));
		ck_assert_uint_eq(virtq_used(&p.d)->idx, i + 1);
		ck_assert_uint_eq(virtq_used(&p.d)->ring[i % N].id, i % N);
		ck_assert_uint_eq(virtq_used(&p.d)->ring[i % N].len, 3);
	}
}
END_TEST

/* ---- G49: a second vCPU changes everything while it is read ---- */

static uint32_t stop;

static void *flip(void *arg)
{
	uint64_t x = 88172645463325252ull;
	uint64_t *words = arg;
	struct vring_avail *avail = virtq_avail(&p.d);
	static const uint32_t flags[] = {0, NEXT, WRITE, NEXT | WRITE, INDIRECT, INDIRECT | NEXT};

	while (!vdb__load(&stop)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* addr, then len, flags, next: mostly what could be true */
		vdb__store(&words[2 * (x >> 8 & 7)], x >> 60 ? PAIR_TABLE + (x >> 40 & 0xff) : x);
		vdb__store(&words[2 * (x >> 8 & 7) + 1], (x >> 20 & 0x30) |
		                                                 (uint64_t)flags[(x >> 24 & 0xff) % 6] << 32 |
		                                                 (x >> 50 & 7) << 48);
		vdb__store(&avail->ring[x & 7], (uint16_t)(x >> 3 & (x >> 62 ? 7 : 0xffff)));
		vdb__store(&avail->idx, (uint16_t)(vdb__load(&virtq_used(&p.d)->idx) + (x >> 33 & 7)));
	}
	return NULL;
}

START_TEST(g49_flips)
{
	struct vdb_queue *queue = NULL;
	uint64_t popped = 0;
	pthread_t thread;

	p.d.config.flags |= VDB_VIRTQ_RESUME;
	ck_assert_int_eq(pthread_create(&thread, NULL, flip, virtq_desc(&p.d, 0)), 0);
	for (unsigned round = 0; test_goes_on(round, 5000) || popped < 1000; round++) {
		(void)sched_yield(); /* the other one must get on, whoever else wants the CPUs */
		p.d.config.position = vdb__load(&virtq_used(&p.d)->idx);
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
			for (uint32_t s = 0; s < p.elem.nseg; s++)
				ck_assert_uint_gt(p.segs[s].len, 0);
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
	TCase *tc = tcase_create("split_hostile");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, g27_avail_jump);
	tcase_add_test(tc, g28_avail_backwards);
	tcase_add_test(tc, g29_avail_runs_on);
	tcase_add_loop_test(tc, g30_head_out_of_range, 0, 4);
	tcase_add_loop_test(tc, g31_next_out_of_range, 0, 2);
	tcase_add_loop_test(tc, g32_loops, 0, 2);
	tcase_add_test(tc, g32_loop_of_nothing);
	tcase_add_test(tc, g33_the_longest_chain);
	tcase_add_test(tc, g34_head_twice_in_flight);
	tcase_add_test(tc, g35_the_same_head_again_and_again);
	tcase_add_test(tc, g36_indirect_not_negotiated);
	tcase_add_test(tc, g37_nested_indirect);
	tcase_add_test(tc, g37_indirect_with_next);
	tcase_add_test(tc, g37_indirect_at_the_end);
	tcase_add_loop_test(tc, g38_table_of_odd_size, 0, 7);
	tcase_add_test(tc, g38_table_longer_than_the_ring);
	tcase_add_loop_test(tc, g39_table_outside_memory, 0, 5);
	tcase_add_loop_test(tc, g39_table_anywhere, 0, 17);
	tcase_add_test(tc, g39_table_across_regions);
	tcase_add_test(tc, g40_write_with_indirect_is_ignored);
	tcase_add_loop_test(tc, g41_loop_inside_a_table, 0, 2);
	tcase_add_test(tc, g42_buffer_wraps);
	tcase_add_test(tc, g44_empty_buffers_are_skipped);
	tcase_add_test(tc, g45_more_than_fits);
	tcase_add_loop_test(tc, g50_readable_after_writable, 0, 2);
	tcase_add_test(tc, g51_used_ring_scribbled);
	tcase_add_test(tc, g49_flips);
	return test_run("split_hostile", tc);
}
