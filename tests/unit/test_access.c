/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory for the embedder: copies, shared words, pins. */
/* WRAP: malloc */
#include <check.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "fail.h"
#include "mem/view.h"
#include "suite.h"

#define PAGE UINT64_C(4096)
#define BASE UINT64_C(0x10000)

/* Two adjacent regions of two and three pages, then a hole, then a read-only page. */
static struct vdb_mem *make(void)
{
	struct vdb_region_config c = {.size = sizeof(c), .gpa = BASE, .len = 2 * PAGE};
	struct vdb_mem *mem;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	ck_assert_int_eq(vdb_mem_add(mem, &c), 0);
	c.gpa = BASE + 2 * PAGE;
	c.len = 3 * PAGE;
	ck_assert_int_eq(vdb_mem_add(mem, &c), 0);
	c.gpa = BASE + 6 * PAGE;
	c.len = PAGE;
	c.flags = VDB_REGION_READONLY;
	ck_assert_int_eq(vdb_mem_add(mem, &c), 0);
	return mem;
}

START_TEST(copies_span_regions)
{
	struct vdb_mem *mem = make();
	unsigned char out[5 * 4096], back[sizeof(out)];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 31 + i / 256);
	ck_assert_int_eq(vdb_mem_write(mem, BASE, out, sizeof(out)), 0);
	ck_assert_int_eq(vdb_mem_read(mem, BASE, back, sizeof(back)), 0);
	ck_assert_mem_eq(out, back, sizeof(out));
	ck_assert_int_eq(vdb_mem_read(mem, BASE + 2 * PAGE - 3, back, 6), 0);
	ck_assert_mem_eq(back, out + 2 * PAGE - 3, 6);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(all_or_nothing)
{
	static const struct {
		vdb_gpa_t gpa;
		uint64_t len;
	} bad[] = {
	        {BASE - 1, 2},
	        {BASE + 5 * PAGE - 1, 2},
	        {BASE, 5 * PAGE + 1},
	        {BASE + 4 * PAGE, 2 * PAGE},
	        {0, 1},
	        {UINT64_MAX, 1},
	        {BASE, UINT64_MAX},
	        {BASE, 0 - BASE},
	        {BASE + 6 * PAGE + 1, UINT64_MAX},
	};
	struct vdb_mem *mem = make();
	unsigned char out[6 * 4096], back[5 * 4096] = {0}, zero[5 * 4096] = {0};

	memset(out, 0xee, sizeof(out));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(vdb_mem_write(mem, bad[i].gpa, out, bad[i].len) == -EFAULT, "%zu", i);
		ck_assert_msg(vdb_mem_read(mem, bad[i].gpa, out, bad[i].len) == -EFAULT, "%zu", i);
	}
	ck_assert_uint_eq(out[0], 0xee);
	ck_assert_int_eq(vdb_mem_read(mem, BASE, back, 5 * PAGE), 0);
	ck_assert_mem_eq(back, zero, sizeof(zero));
	/* No bytes are fine anywhere. */
	ck_assert_int_eq(vdb_mem_read(mem, 0, NULL, 0), 0);
	ck_assert_int_eq(vdb_mem_write(mem, UINT64_MAX, NULL, 0), 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(words_are_aligned_and_inside)
{
	struct vdb_mem *mem = make();
	uint32_t v32 = 9;
	uint64_t v64 = 9;

	for (unsigned d = 1; d < 8; d++) {
		ck_assert_int_eq(vdb_mem_load64(mem, BASE + d, &v64), -EINVAL);
		ck_assert_int_eq(vdb_mem_store64(mem, BASE + d, 1), -EINVAL);
		ck_assert_int_eq(vdb_mem_load32(mem, BASE + d, &v32), d % 4 ? -EINVAL : 0);
		ck_assert_int_eq(vdb_mem_store32(mem, BASE + d, 0), d % 4 ? -EINVAL : 0);
	}
	v32 = 9;
	ck_assert_int_eq(vdb_mem_load64(mem, BASE - 8, &v64), -EFAULT);
	ck_assert_int_eq(vdb_mem_load32(mem, BASE + 5 * PAGE, &v32), -EFAULT);
	ck_assert_int_eq(vdb_mem_store32(mem, UINT64_MAX - 3, 1), -EFAULT);
	ck_assert_int_eq(vdb_mem_store64(mem, BASE + 6 * PAGE, 1), -EFAULT);
	ck_assert_uint_eq(v32, 9);
	ck_assert_uint_eq(v64, 9);
	ck_assert_int_eq(vdb_mem_store64(mem, BASE + 5 * PAGE - 8, UINT64_C(0x1122334455667788)), 0);
	ck_assert_int_eq(vdb_mem_load64(mem, BASE + 5 * PAGE - 8, &v64), 0);
	ck_assert_uint_eq(v64, UINT64_C(0x1122334455667788));
	ck_assert_int_eq(vdb_mem_store32(mem, BASE + 5 * PAGE - 4, 0xaabbccdd), 0);
	ck_assert_int_eq(vdb_mem_load32(mem, BASE + 5 * PAGE - 8, &v32), 0);
	ck_assert_uint_eq(v32, 0x55667788);
	ck_assert_int_eq(vdb_mem_load64(mem, BASE + 6 * PAGE, &v64), 0);
	ck_assert_uint_eq(v64, 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(a_pin_spans_and_holds)
{
	struct vdb_mem *mem = make();
	struct vdb_mem_pin *pin = NULL;
	struct iovec iov[4] = {{NULL, 0}};
	unsigned char back[8];

	ck_assert_int_eq(vdb_mem_pin(mem, BASE + 2 * PAGE - 4, 8, 1, iov, 4, &pin), 2);
	memset(iov[0].iov_base, 1, iov[0].iov_len);
	memset(iov[1].iov_base, 2, iov[1].iov_len);
	ck_assert_int_eq(vdb_mem_read(mem, BASE + 2 * PAGE - 4, back, 8), 0);
	ck_assert_mem_eq(back, "\1\1\1\1\2\2\2\2", 8);
	ck_assert_int_eq(vdb_mem_destroy(mem), -EBUSY);
	/* What the caller does to his iovecs is his. */
	memset(iov, 0xff, sizeof(iov));
	vdb_mem_unpin(pin);
	vdb_mem_unpin(NULL);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(pins_that_cannot_be)
{
	struct vdb_mem *mem = make();
	struct vdb_mem_pin *pin = NULL;
	struct iovec iov[4];

	ck_assert_int_eq(vdb_mem_pin(mem, BASE, 5 * PAGE, 0, iov, 1, &pin), -E2BIG);
	ck_assert_int_eq(vdb_mem_pin(mem, BASE, 1, 0, iov, 0, &pin), -E2BIG);
	ck_assert_int_eq(vdb_mem_pin(mem, BASE, 5 * PAGE + 1, 0, iov, 4, &pin), -EFAULT);
	ck_assert_int_eq(vdb_mem_pin(mem, BASE, UINT64_MAX, 0, iov, 4, &pin), -EFAULT);
	ck_assert_int_eq(vdb_mem_pin(mem, BASE + 6 * PAGE, 1, 1, iov, 4, &pin), -EFAULT);
	ck_assert_ptr_null(pin);
	/* A pin of nothing is one. */
	ck_assert_int_eq(vdb_mem_pin(mem, 0, 0, 1, NULL, 0, &pin), 0);
	ck_assert_ptr_nonnull(pin);
	vdb_mem_unpin(pin);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

static int pin_it(void *arg)
{
	struct vdb_mem_pin *pin;
	struct iovec iov[2];
	int n = vdb_mem_pin(arg, BASE, 3 * PAGE, 1, iov, 2, &pin);

	if (n < 0)
		return n;
	fail_check(n == 2);
	vdb_mem_unpin(pin);
	return 0;
}

START_TEST(no_memory_for_a_pin)
{
	struct vdb_mem *mem = make();

	ck_assert_uint_eq(fail_sweep(pin_it, mem), 1);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

SUITE("access", copies_span_regions, all_or_nothing, words_are_aligned_and_inside, a_pin_spans_and_holds,
      pins_that_cannot_be, no_memory_for_a_pin)
