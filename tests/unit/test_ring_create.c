/* SPDX-License-Identifier: Apache-2.0 */
/* What vdb_ring_create() takes and refuses. */
/* WRAP: calloc */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/error.h>

#include "mock.h"
#include "queue/queue.h"

static bool out_of_memory;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	if (out_of_memory) {
		errno = ENOMEM;
		return NULL;
	}
	return __real_calloc(n, size);
}

static struct mock_ram ram;
static struct vdb_ring_config good;
static struct vdb_queue *queue;

static void setup(void)
{
	mock_ram_open(&ram, 0x10000, 1 << 16);
	good = (struct vdb_ring_config){
	        .size = sizeof(good), .sq_entries = 16, .cq_entries = 64, .gpa = 0x10000};
	queue = NULL;
}

static void teardown(void)
{
	vdb_queue_destroy(queue);
	mock_ram_close(&ram);
}

/* Refused, with a message, and nothing made. */
static void refused(int err)
{
	ck_assert_int_eq(vdb_ring_create(ram.mem, &good, &queue), err);
	ck_assert_ptr_null(queue);
	ck_assert_str_ne(vdb_errmsg(), "");
}

static void taken(void)
{
	ck_assert_msg(vdb_ring_create(ram.mem, &good, &queue) == 0, "%s", vdb_errmsg());
}

START_TEST(defaults)
{
	good.cq_entries = 0;
	taken();
	ck_assert_uint_eq(queue->max_segments, 128);
	ck_assert_uint_eq(queue->max_len, 0x7ffff000);
	ck_assert_uint_eq(queue->state, VDB_RING_RESET);
	ck_assert_str_eq(queue->ops->name, "ring");
}
END_TEST

START_TEST(sq_entries)
{
	static const uint32_t bad[] = {0, 3, 24, 65536, UINT32_MAX, 0x80000000u};

	good.cq_entries = 0;
	good.sq_entries = bad[_i];
	refused(-EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "sq_entries"));
}
END_TEST

START_TEST(cq_entries)
{
	static const uint32_t bad[] = {8, 17, 48, 65536, UINT32_MAX};

	good.cq_entries = bad[_i];
	refused(-EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "cq_entries"));
}
END_TEST

START_TEST(address)
{
	/* misaligned; before, behind, across the end of memory; past 2^64 */
	static const vdb_gpa_t bad[] = {0x10020, 0, 0xffc0, 0x20000, 0x1ffc0, 1 << 30, 0xffffffffffffffc0};

	good.gpa = bad[_i];
	refused(_i == 0 ? -EINVAL : -EFAULT);
}
END_TEST

/* The very last place that fits, and one step further. */
START_TEST(end_of_memory)
{
	good.gpa = 0x20000 - VDB_RING_BYTES(16, 64);
	taken();
	vdb_queue_destroy(queue);
	queue = NULL;
	good.gpa += VDB_RING_ALIGN;
	refused(-EFAULT);
}
END_TEST

START_TEST(largest)
{
	struct vdb_region_config region = {.size = sizeof(region), .gpa = 1 << 20, .len = 2 << 20};

	ck_assert_int_eq(vdb_mem_add(ram.mem, &region), 0);
	good.gpa = 1 << 20;
	good.sq_entries = good.cq_entries = VDB_RING_MAX_ENTRIES;
	good.max_segments = 1024;
	taken();
}
END_TEST

START_TEST(read_only_memory)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = 1 << 20, .len = 1 << 16, .flags = VDB_REGION_READONLY};

	ck_assert_int_eq(vdb_mem_add(ram.mem, &region), 0);
	good.gpa = 1 << 20;
	refused(-EFAULT);
}
END_TEST

/* Two regions side by side are not one. */
START_TEST(across_regions)
{
	struct vdb_region_config region = {.size = sizeof(region), .gpa = 0x20000, .len = 1 << 16};

	ck_assert_int_eq(vdb_mem_add(ram.mem, &region), 0);
	good.gpa = 0x20000 - 64;
	refused(-EFAULT);
}
END_TEST

START_TEST(limits)
{
	switch (_i) {
	case 0:
		good.max_segments = 1025;
		break;
	case 1:
		good.max_len = 0x7ffff001;
		break;
	case 2:
		good.features = 1ull << 3;
		break;
	case 3:
		good.reserved = 1;
		break;
	default:
		good.size = 0;
		break;
	}
	refused(-EINVAL);
}
END_TEST

START_TEST(newer_caller)
{
	struct {
		struct vdb_ring_config known;
		uint32_t unknown[2];
	} newer = {.known = good};

	newer.known.size = sizeof(newer);
	ck_assert_int_eq(vdb_ring_create(ram.mem, &newer.known, &queue), 0);
	vdb_queue_destroy(queue);
	queue = NULL;
	newer.unknown[1] = 1;
	ck_assert_int_eq(vdb_ring_create(ram.mem, &newer.known, &queue), -E2BIG);
	ck_assert_ptr_null(queue);
}
END_TEST

START_TEST(no_memory)
{
	out_of_memory = true;
	refused(-ENOMEM);
	out_of_memory = false;
	taken();
}
END_TEST

START_TEST(destroy_nothing)
{
	vdb_queue_destroy(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring_create");
	TCase *tc = tcase_create("create");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, defaults);
	tcase_add_loop_test(tc, sq_entries, 0, 6);
	tcase_add_loop_test(tc, cq_entries, 0, 5);
	tcase_add_loop_test(tc, address, 0, 7);
	tcase_add_test(tc, end_of_memory);
	tcase_add_test(tc, largest);
	tcase_add_test(tc, read_only_memory);
	tcase_add_test(tc, across_regions);
	tcase_add_loop_test(tc, limits, 0, 5);
	tcase_add_test(tc, newer_caller);
	tcase_add_test(tc, no_memory);
	tcase_add_test(tc, destroy_nothing);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
