/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a request: forms, flags, segment tables, limits, completions. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mock.h"

#define RING 0x1000
#define TABLE 0x4000
#define ALL (VDB_F_EVENT_IDX | VDB_F_SG | VDB_F_MEMOPS)
#define MAX_LEN 65536u
#define MAX_SEGS 16u

static struct mock_ram ram;
static struct mock m;
static struct vdb__seg segs[MOCK_MAX_SEGS];
static struct vdb__elem elem;

static void open_with(uint64_t features)
{
	mock_open(&m, &ram,
	          &(struct vdb_ring_config){.gpa = RING,
	                                    .sq_entries = 4,
	                                    .cq_entries = 8,
	                                    .max_segments = MAX_SEGS,
	                                    .max_len = MAX_LEN});
	mock_connect(&m, features);
}

static void setup(void)
{
	mock_ram_open(&ram, 0, 1 << 20);
	open_with(ALL);
}

static void teardown(void)
{
	mock_close(&m);
	mock_ram_close(&ram);
}

/* Pops what was prepared last, and completes it as a device would. */
static void fetch(void)
{
	(void)vdb_guest_submit(&m.g);
	ck_assert(mock_ready(&m));
	ck_assert(mock_take(&m, &elem, segs));
	mock_done(&m, elem.cookie, elem.error);
	mock_publish(&m);
	mock_expect(&m, elem.cookie, elem.error);
}

static struct vdb_sqe *prepare(uint8_t op, vdb_gpa_t addr, uint32_t len)
{
	struct vdb_sqe *sqe = vdb_guest_sqe(&m.g);

	ck_assert_ptr_nonnull(sqe);
	sqe->op = op;
	sqe->addr = addr;
	sqe->len = len;
	sqe->offset = 0x1122334455667788;
	sqe->user_data = 0xfedcba9876543210;
	return sqe;
}

static void expect_error(int32_t error)
{
	fetch();
	ck_assert_int_eq(elem.error, error);
	ck_assert_uint_eq(elem.nseg, 0);
	ck_assert_uint_eq(elem.len, 0);
}

static void table(vdb_gpa_t gpa, unsigned n, uint32_t len)
{
	struct vdb_seg *seg = mock_at(&ram, gpa);
	unsigned i;

	for (i = 0; i < n; i++)
		seg[i] = (struct vdb_seg){.addr = 0x10000 * i, .len = len + i};
}

static void prepare_sg(uint8_t op, vdb_gpa_t gpa, unsigned n, uint32_t len)
{
	struct vdb_sqe *sqe = prepare(op, gpa, len);

	sqe->flags = VDB_SQE_SG;
	sqe->segments = (uint16_t)n;
}

START_TEST(data_has_one_segment)
{
	static const uint8_t ops[] = {VDB_OP_READ, VDB_OP_WRITE, VDB_OP_COPY, VDB_OP_FILL,
	                              VDB_OP_USER, 200,          255};
	unsigned i;

	for (i = 0; i < sizeof(ops); i++) {
		prepare(ops[i], 0xfffffffffffff000, 4096);
		fetch();
		ck_assert_int_eq(elem.error, 0);
		ck_assert_uint_eq(elem.op, ops[i]);
		ck_assert_uint_eq(elem.nseg, 1);
		ck_assert_uint_eq(segs[0].gpa, 0xfffffffffffff000); /* translated later, by the lane */
		ck_assert_uint_eq(segs[0].len, 4096);
		ck_assert_uint_eq(elem.len, 4096);
		ck_assert_uint_eq(elem.offset, 0x1122334455667788);
		ck_assert_uint_eq(elem.cookie, 0xfedcba9876543210);
	}
}
END_TEST

/* Operations without memory carry their length; unknown ones are for the lane to refuse. */
START_TEST(others_have_no_segment)
{
	static const uint8_t ops[] = {VDB_OP_NOP, VDB_OP_FLUSH, VDB_OP_DISCARD, VDB_OP_WRITE_ZEROES, 8, 127};
	unsigned i;

	table(TABLE, 1, 512);
	for (i = 0; i < sizeof(ops); i++) {
		prepare(ops[i], 0x123, UINT32_MAX);
		fetch();
		ck_assert_int_eq(elem.error, 0);
		ck_assert_uint_eq(elem.op, ops[i]);
		ck_assert_uint_eq(elem.nseg, 0);
		ck_assert_uint_eq(elem.len, UINT32_MAX);
		prepare_sg(ops[i], TABLE, 1, 0);
		expect_error(-EINVAL);
	}
}
END_TEST

START_TEST(no_length_no_segment)
{
	prepare(VDB_OP_USER + 3, 0x123, 0);
	fetch();
	ck_assert_int_eq(elem.error, 0);
	ck_assert_uint_eq(elem.nseg, 0);
}
END_TEST

START_TEST(unknown_flags)
{
	unsigned flags;

	for (flags = 2; flags < 256; flags++) {
		prepare(VDB_OP_NOP, 0, 0)->flags = (uint8_t)flags;
		expect_error(-EINVAL);
	}
}
END_TEST

START_TEST(length_limit)
{
	prepare(VDB_OP_READ, 0, MAX_LEN);
	fetch();
	ck_assert_int_eq(elem.error, 0);
	prepare(VDB_OP_READ, 0, MAX_LEN + 1);
	expect_error(-E2BIG);
	prepare(VDB_OP_USER, 0, UINT32_MAX);
	expect_error(-E2BIG);
	prepare(VDB_OP_FILL, 0, UINT32_MAX);
	fetch();
	ck_assert_int_eq(elem.error, 0);
	ck_assert_uint_eq(elem.len, UINT32_MAX);
}
END_TEST

START_TEST(features_not_accepted)
{
	mock_close(&m);
	open_with(VDB_F_EVENT_IDX);
	prepare(VDB_OP_READ, TABLE, 0)->flags = VDB_SQE_SG;
	expect_error(-EINVAL);
	prepare(VDB_OP_FILL, 0, 16);
	expect_error(-EOPNOTSUPP);
	prepare(VDB_OP_COPY, 0, 16);
	expect_error(-EOPNOTSUPP);
	prepare(VDB_OP_READ, 0, 16);
	fetch();
	ck_assert_int_eq(elem.error, 0);
}
END_TEST

/* ---- Segment tables ---- */

START_TEST(sg_gathers)
{
	unsigned i;

	table(TABLE, MAX_SEGS, 100);
	prepare_sg(VDB_OP_WRITE, TABLE, MAX_SEGS, 0);
	fetch();
	ck_assert_int_eq(elem.error, 0);
	ck_assert_uint_eq(elem.nseg, MAX_SEGS);
	ck_assert_uint_eq(elem.len, 100 * MAX_SEGS + MAX_SEGS * (MAX_SEGS - 1) / 2);
	for (i = 0; i < MAX_SEGS; i++) {
		ck_assert_uint_eq(segs[i].gpa, 0x10000 * i);
		ck_assert_uint_eq(segs[i].len, 100 + i);
	}
	prepare_sg(VDB_OP_WRITE, TABLE, 2, 201);
	fetch();
	ck_assert_int_eq(elem.error, 0);
	prepare_sg(VDB_OP_WRITE, TABLE, 2, 202);
	expect_error(-EINVAL);
}
END_TEST

START_TEST(sg_limits)
{
	struct vdb_seg *seg = mock_at(&ram, TABLE);

	table(TABLE, MAX_SEGS + 1, 100);
	prepare_sg(VDB_OP_READ, TABLE, 0, 0);
	expect_error(-EINVAL);
	prepare_sg(VDB_OP_READ, TABLE, MAX_SEGS + 1, 0);
	expect_error(-E2BIG);
	prepare_sg(VDB_OP_READ, TABLE, UINT16_MAX, 0);
	expect_error(-E2BIG);
	memcpy(mock_at(&ram, TABLE + 0x804), seg, sizeof(*seg));
	prepare_sg(VDB_OP_READ, TABLE + 0x804, 1, 0);
	expect_error(-EINVAL);
	seg[1].len = 0;
	prepare_sg(VDB_OP_READ, TABLE, 2, 0);
	expect_error(-EINVAL);
	seg[1].len = 1;
	seg[1].reserved = 1;
	prepare_sg(VDB_OP_READ, TABLE, 2, 0);
	expect_error(-EINVAL);
	seg[1].reserved = 0;
	seg[1].len = MAX_LEN - 99;
	prepare_sg(VDB_OP_READ, TABLE, 2, 0);
	expect_error(-E2BIG);
	seg[1].len = MAX_LEN - 100;
	prepare_sg(VDB_OP_READ, TABLE, 2, 0);
	fetch();
	ck_assert_int_eq(elem.error, 0);
	ck_assert_uint_eq(elem.len, MAX_LEN);
}
END_TEST

/* Sums that do not fit in 32 bits: too much data, but legal for an operation in memory. */
START_TEST(sg_beyond_32_bits)
{
	struct vdb_seg *seg = mock_at(&ram, TABLE);
	unsigned i;

	for (i = 0; i < MAX_SEGS; i++)
		seg[i] = (struct vdb_seg){.addr = 0, .len = UINT32_MAX};
	prepare_sg(VDB_OP_WRITE, TABLE, MAX_SEGS, 0);
	expect_error(-E2BIG);
	prepare_sg(VDB_OP_FILL, TABLE, MAX_SEGS, 0);
	fetch();
	ck_assert_int_eq(elem.error, 0);
	ck_assert_uint_eq(elem.len, (uint64_t)UINT32_MAX * MAX_SEGS);
	prepare_sg(VDB_OP_FILL, TABLE, MAX_SEGS, (uint32_t)((uint64_t)UINT32_MAX * MAX_SEGS));
	expect_error(-EINVAL);
}
END_TEST

START_TEST(sg_outside_memory)
{
	static const vdb_gpa_t bad[] = {1 << 20, (1 << 20) - 16, 1ull << 40, 0xfffffffffffffff0,
	                                0xfffffffffffffff8};
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		prepare_sg(VDB_OP_READ, bad[i], 2, 0);
		memset(ram.host + ram.len - 64, 1, 32); /* lengths must not be the reason */
		table((1 << 20) - 16, 1, 5);
		expect_error(-EFAULT);
	}
	/* The last table that fits. */
	table((1 << 20) - 32, 2, 5);
	prepare_sg(VDB_OP_READ, (1 << 20) - 32, 2, 0);
	fetch();
	ck_assert_int_eq(elem.error, 0);
}
END_TEST

/* A table may run from one region into the next, even inside an entry. */
START_TEST(sg_across_regions)
{
	struct vdb_region_config region = {.size = sizeof(region), .gpa = 1 << 20, .len = VDB_PAGE_SIZE};
	struct vdb_seg want[3] = {{.addr = 1, .len = 2}, {.addr = 3, .len = 4}, {.addr = 5, .len = 6}};
	vdb_gpa_t gpa = (1 << 20) - 24;

	ck_assert_int_eq(vdb_mem_add(ram.mem, &region), 0);
	ck_assert_int_eq(vdb_mem_write(ram.mem, gpa, want, sizeof(want)), 0);
	m.queue->ops->remap(m.queue);
	prepare_sg(VDB_OP_READ, gpa, 3, 12);
	fetch();
	ck_assert_int_eq(elem.error, 0);
	ck_assert_uint_eq(elem.nseg, 3);
	ck_assert_uint_eq(segs[1].gpa, 3);
	ck_assert_uint_eq(segs[1].len, 4);
	ck_assert_uint_eq(segs[2].len, 6);
	/* The end of memory lies inside the third entry. */
	gpa = (1 << 20) + VDB_PAGE_SIZE - 40;
	ck_assert_int_eq(vdb_mem_write(ram.mem, gpa, want, 40), 0);
	prepare_sg(VDB_OP_READ, gpa, 3, 0);
	expect_error(-EFAULT);
}
END_TEST

/* ---- Completions ---- */

START_TEST(results)
{
	static const int64_t given[] = {0, 77, -EIO, INT32_MAX, (int64_t)INT32_MAX + 1, INT64_MIN};
	static const int32_t seen[] = {0, 77, -EIO, INT32_MAX, INT32_MAX, INT32_MIN};
	unsigned i;

	for (i = 0; i < sizeof(seen) / sizeof(seen[0]); i++) {
		ck_assert(mock_submit(&m, VDB_OP_USER, 0, 0, 0, i));
		ck_assert(mock_ready(&m) && mock_take(&m, &elem, segs));
		mock_done(&m, elem.cookie, given[i]);
		mock_publish(&m);
		mock_expect(&m, i, seen[i]);
	}
}
END_TEST

START_TEST(completions_out_of_order)
{
	struct vdb__elem all[4];
	unsigned i;

	for (i = 0; i < 4; i++)
		ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, i));
	ck_assert(!mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 9)); /* all slots in use */
	ck_assert(mock_ready(&m));
	for (i = 0; i < 4; i++)
		ck_assert(mock_take(&m, &all[i], segs));
	mock_publish(&m);
	for (i = 4; i < 8; i++) /* taken: slots are free, completions still open */
		ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, i));
	ck_assert_uint_eq(vdb_guest_outstanding(&m.g), 8);
	for (i = 0; i < 4; i++)
		mock_done(&m, all[3 - i].cookie, (int64_t)i);
	ck_assert_uint_eq(mock_serve(&m), 4);
	for (i = 0; i < 4; i++)
		mock_expect(&m, 3 - i, (int32_t)i);
	for (i = 4; i < 8; i++)
		mock_expect(&m, i, 0);
	ck_assert_uint_eq(vdb_guest_outstanding(&m.g), 0);
}
END_TEST

/* Nothing is visible before publish, and then all of it. */
START_TEST(published_once)
{
	struct vdb_ring *shared = mock_at(&ram, RING);
	struct vdb_cqe cqe;

	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 1));
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 2));
	ck_assert(mock_ready(&m));
	while (mock_take(&m, &elem, segs))
		mock_done(&m, elem.cookie, 0);
	ck_assert_uint_eq(shared->sq_head.value, 0);
	ck_assert_uint_eq(shared->cq_tail.value, 0);
	ck_assert_int_eq(vdb_guest_reap(&m.g, &cqe), 0);
	mock_publish(&m);
	ck_assert_uint_eq(shared->sq_head.value, 2);
	ck_assert_uint_eq(shared->cq_tail.value, 2);
	mock_expect(&m, 1, 0);
	mock_expect(&m, 2, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring_requests");
	TCase *tc = tcase_create("requests");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, data_has_one_segment);
	tcase_add_test(tc, others_have_no_segment);
	tcase_add_test(tc, no_length_no_segment);
	tcase_add_test(tc, unknown_flags);
	tcase_add_test(tc, length_limit);
	tcase_add_test(tc, features_not_accepted);
	tcase_add_test(tc, sg_gathers);
	tcase_add_test(tc, sg_limits);
	tcase_add_test(tc, sg_beyond_32_bits);
	tcase_add_test(tc, sg_outside_memory);
	tcase_add_test(tc, sg_across_regions);
	tcase_add_test(tc, results);
	tcase_add_test(tc, completions_out_of_order);
	tcase_add_test(tc, published_once);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
