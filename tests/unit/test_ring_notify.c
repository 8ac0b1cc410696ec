/* SPDX-License-Identifier: Apache-2.0 */
/* Bells, interrupts, index arithmetic across the wrap, and dirty marks. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "mock.h"
#include "queue/index.h"

#define RING 0x1000
#define ENTRIES 8u
#define ALL (VDB_F_EVENT_IDX | VDB_F_SG | VDB_F_MEMOPS)

static struct mock_ram ram;
static struct mock m;
static struct vdb_ring *shared;

static void open_at(vdb_gpa_t gpa, uint64_t features)
{
	mock_open(&m, &ram, &(struct vdb_ring_config){.gpa = gpa, .sq_entries = ENTRIES});
	shared = mock_at(&ram, gpa);
	mock_connect(&m, features);
	m.bells = m.interrupts = 0;
}

static void setup(void)
{
	mock_ram_open(&ram, 0, 1 << 20);
	open_at(RING, ALL);
}

static void teardown(void)
{
	mock_close(&m);
	mock_ram_close(&ram);
}

static void nop(uint64_t user_data)
{
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, user_data));
}

/* Where indices start: at zero, and so that every one of them wraps within a test. */
static const uint32_t starts[] = {0, UINT32_MAX - 20, UINT32_MAX - 3, UINT32_MAX - 1, UINT32_MAX, 0x7ffffffe};
#define STARTS ((int)(sizeof(starts) / sizeof(starts[0])))

START_TEST(bells)
{
	uint32_t i;

	mock_jump(&m, starts[_i]);
	for (i = 0; i < 40; i++) {
		ck_assert(!m.queue->ops->arm(m.queue));
		nop(1); /* armed: rings */
		ck_assert_uint_eq(m.bells, i + 1);
		nop(2); /* rung once is enough */
		nop(3);
		ck_assert_uint_eq(m.bells, i + 1);
		ck_assert(m.queue->ops->arm(m.queue)); /* the look again */
		ck_assert_uint_eq(mock_serve(&m), 3);
		nop(4); /* awake: does not ring */
		ck_assert_uint_eq(m.bells, i + 1);
		ck_assert_uint_eq(mock_serve(&m), 1);
		mock_expect(&m, 1, 0);
		mock_expect(&m, 2, 0);
		mock_expect(&m, 3, 0);
		mock_expect(&m, 4, 0);
	}
	ck_assert_uint_eq(m.g.suppressed, 40 * 3);
}
END_TEST

/* Armed in the middle of a batch that the driver publishes as one. */
START_TEST(bell_for_a_batch)
{
	int i;

	mock_jump(&m, starts[_i]);
	ck_assert(!m.queue->ops->arm(m.queue));
	for (i = 0; i < 5; i++)
		ck_assert(mock_prepare(&m, VDB_OP_NOP, 0, 0, 0, 1));
	ck_assert_int_eq(vdb_guest_submit(&m.g), 1);
	ck_assert_int_eq(vdb_guest_submit(&m.g), 0);
	ck_assert_uint_eq(m.bells, 1);
	ck_assert_uint_eq(mock_serve(&m), 5);
}
END_TEST

START_TEST(interrupts)
{
	uint32_t i;

	mock_jump(&m, starts[_i]);
	for (i = 0; i < 40; i++) {
		ck_assert_int_eq(vdb_guest_arm(&m.g), 0);
		nop(1);
		nop(2);
		mock_serve(&m);
		ck_assert_uint_eq(m.interrupts, i + 1); /* one for the batch */
		nop(3);
		mock_serve(&m);
		ck_assert_uint_eq(m.interrupts, i + 1); /* not asked for again */
		ck_assert_int_eq(vdb_guest_arm(&m.g), 1);
		mock_expect(&m, 1, 0);
		mock_expect(&m, 2, 0);
		mock_expect(&m, 3, 0);
	}
	/* Disarmed, and nothing to tell. */
	ck_assert_int_eq(vdb_guest_arm(&m.g), 0);
	vdb_guest_disarm(&m.g);
	nop(1);
	mock_serve(&m);
	ck_assert_uint_eq(m.interrupts, 40);
	ck_assert(!mock_publish(&m));
}
END_TEST

START_TEST(without_event_index)
{
	struct vdb__seg segs[128];
	struct vdb__elem elem;
	uint32_t i;

	mock_close(&m);
	open_at(RING, VDB_F_SG);
	for (i = 1; i <= 20; i++) {
		vdb_guest_disarm(&m.g);
		nop(1);
		ck_assert_uint_eq(m.bells, i);
		mock_serve(&m);
		ck_assert_uint_eq(m.interrupts, i);
		ck_assert(!m.queue->ops->arm(m.queue));
		mock_expect(&m, 1, 0);
	}
	ck_assert(!mock_publish(&m));
	/* A freed slot is no completion. */
	nop(1);
	ck_assert(m.queue->ops->ready(m.queue, 0) && mock_take(&m, &elem, segs));
	ck_assert(!mock_publish(&m));
	ck_assert_uint_eq(shared->sq_head.value, 21);
	mock_done(&m, elem.cookie, 0);
	ck_assert(mock_publish(&m));
}
END_TEST

/* Full rings, in every alignment to the wrap. */
START_TEST(full_across_the_wrap)
{
	struct vdb_cqe cqe;
	uint32_t i, turn;

	mock_jump(&m, starts[_i]);
	for (turn = 0; turn < 20; turn++) {
		for (i = 0; i < ENTRIES; i++)
			nop(i);
		ck_assert_ptr_null(vdb_guest_sqe(&m.g));
		ck_assert_uint_eq(vdb_guest_outstanding(&m.g), ENTRIES);
		ck_assert_uint_eq(mock_serve(&m), ENTRIES);
		ck_assert_ptr_null(vdb_guest_sqe(&m.g)); /* no room for its completion */
		for (i = 0; i < ENTRIES; i++)
			mock_expect(&m, i, 0);
		ck_assert_int_eq(vdb_guest_reap(&m.g, &cqe), 0);
		nop(99);
		ck_assert_uint_eq(mock_serve(&m), 1);
		mock_expect(&m, 99, 0);
	}
	ck_assert_uint_eq(m.queue->state, VDB_RING_READY);
}
END_TEST

/* The pure functions against what they mean, counted out in 64 bits. */
START_TEST(index_functions)
{
	uint64_t base, old, tail, event;
	uint32_t entries = 8, n;

	for (base = (1ull << 32) - 12; base < (1ull << 32) + 4; base++) {
		for (n = 0; n <= entries; n++) {
			tail = base + n;
			ck_assert_uint_eq(vdb__index_count((uint32_t)base, (uint32_t)tail), n);
			ck_assert(vdb__index_tail_ok((uint32_t)base, (uint32_t)tail, entries));
			ck_assert(vdb__index_room((uint32_t)base, (uint32_t)tail, entries) == (n < entries));
			ck_assert_uint_eq(vdb__index_run((uint32_t)base, n, entries),
			                  n < entries - base % entries ? n : entries - base % entries);
			for (old = base - 3; old <= tail + 3; old++)
				ck_assert(vdb__index_head_ok((uint32_t)base, (uint32_t)old, (uint32_t)tail) ==
				          (old >= base && old <= tail));
			for (event = base - 3; event < tail + 3; event++) {
				ck_assert(vdb__index_wants((uint32_t)event, (uint32_t)base, (uint32_t)tail) ==
				          (event >= base && event < tail));
				ck_assert(vdb_guest_wants((uint32_t)event, (uint32_t)base, (uint32_t)tail) ==
				          (event >= base && event < tail));
			}
		}
		ck_assert(!vdb__index_tail_ok((uint32_t)base, (uint32_t)(base + entries + 1), entries));
		ck_assert(!vdb__index_tail_ok((uint32_t)base, (uint32_t)(base - 1), entries));
	}
}
END_TEST

/* ---- Dirty marks ---- */

static uint64_t dirty(void)
{
	uint64_t bits[4];

	ck_assert_int_ge(vdb_mem_dirty_harvest(ram.mem, 0, 1 << 20, bits), 0);
	return bits[0];
}

/* The header in pages 4 and 5, the arrays up to page 6: every store of the device leaves a mark. */
START_TEST(marks)
{
	const vdb_gpa_t gpa = 0x5000 - 256, cq = gpa + VDB_RING_BYTES(128, 0);
	const uint64_t header = 3ull << 4, entry = 1ull << cq / VDB_PAGE_SIZE;

	mock_close(&m);
	mock_open(&m, &ram, &(struct vdb_ring_config){.gpa = gpa, .sq_entries = 128, .cq_entries = 128});
	ck_assert_uint_ne(entry, 1ull << 4);
	ck_assert_int_eq(vdb_mem_dirty_start(ram.mem), 0);
	mock_attach(&m);
	ck_assert_uint_eq(dirty(), header);
	mock_connect(&m, ALL);
	ck_assert_uint_eq(dirty(), header);
	nop(1);
	ck_assert_uint_eq(dirty(), 0); /* what the guest writes is in KVM's log */
	ck_assert_uint_eq(mock_serve(&m), 1);
	ck_assert_uint_eq(dirty(), header | entry);
	ck_assert(!mock_publish(&m));
	ck_assert_uint_eq(dirty(), 0);
	ck_assert(!m.queue->ops->arm(m.queue));
	ck_assert_uint_eq(dirty(), header);
	(m.queue->ops->fail)(m.queue, VDB_REASON_HOST);
	ck_assert_uint_eq(dirty(), header);
}
END_TEST

/* Harvests between the staging and the publishing lose nothing. */
START_TEST(marks_between_steps)
{
	struct vdb__seg segs[128];
	struct vdb__elem elem;

	ck_assert_int_eq(vdb_mem_dirty_start(ram.mem), 0);
	nop(1);
	ck_assert(mock_ready(&m) && mock_take(&m, &elem, segs));
	mock_done(&m, elem.cookie, 0);
	(void)dirty();
	mock_publish(&m);
	ck_assert_uint_eq(dirty(), 1ull << (RING / VDB_PAGE_SIZE));
}
END_TEST

/* A batch that wraps marks both ends of the completion array. */
START_TEST(marks_of_a_wrapped_batch)
{
	const uint32_t entries = 1024; /* 4 pages of completions */
	const vdb_gpa_t cq = RING + VDB_RING_BYTES(entries, 0);
	uint64_t bits;
	int i;

	mock_close(&m);
	mock_open(&m, &ram, &(struct vdb_ring_config){.gpa = RING, .sq_entries = entries});
	mock_connect(&m, ALL);
	mock_jump(&m, UINT32_MAX - 1);
	ck_assert_int_eq(vdb_mem_dirty_start(ram.mem), 0);
	for (i = 0; i < 4; i++)
		nop(1);
	ck_assert_uint_eq(mock_serve(&m), 4);
	bits = dirty();
	ck_assert(bits & 1ull << cq / VDB_PAGE_SIZE);
	ck_assert(bits & 1ull << (cq + (entries - 1) * sizeof(struct vdb_cqe)) / VDB_PAGE_SIZE);
	ck_assert(!(bits & 1ull << (cq / VDB_PAGE_SIZE + 2)));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring_notify");
	TCase *tc = tcase_create("notify");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, bells, 0, STARTS);
	tcase_add_loop_test(tc, bell_for_a_batch, 0, STARTS);
	tcase_add_loop_test(tc, interrupts, 0, STARTS);
	tcase_add_test(tc, without_event_index);
	tcase_add_loop_test(tc, full_across_the_wrap, 0, STARTS);
	tcase_add_test(tc, index_functions);
	tcase_add_test(tc, marks);
	tcase_add_test(tc, marks_between_steps);
	tcase_add_test(tc, marks_of_a_wrapped_batch);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
