/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translation: every address and length that a guest may name, against regions
 * whose host memory has unreachable pages on both sides.
 */
#include <check.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "mem/view.h"
#include "suite.h"

#define PAGE UINT64_C(4096)
#define LAST (UINT64_MAX & ~(PAGE - 1)) /* the page that no region can have */

/* A lies before B without a gap, C behind a hole, D is read-only behind C, TOP at the very end. */
enum { A, B, C, D, TOP, REGIONS };

static const struct {
	vdb_gpa_t gpa;
	uint64_t pages;
	uint32_t flags;
} plan[REGIONS] = {
        [A] = {0x10000, 2, 0},       [B] = {0x12000, 3, 0},
        [C] = {0x20000, 1, 0},       [D] = {0x21000, 1, VDB_REGION_READONLY},
        [TOP] = {LAST - PAGE, 1, 0},
};

struct space {
	struct vdb_mem *mem;
	struct vdb__view view;
	unsigned char *host[REGIONS];
};

/* Memory between two guard pages: a byte too far is a SIGSEGV. */
static void *guarded(uint64_t len)
{
	char *all = mmap(NULL, len + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(all, MAP_FAILED);
	ck_assert_int_eq(mprotect(all + PAGE, len, PROT_READ | PROT_WRITE), 0);
	return all + PAGE;
}

static struct space make(void)
{
	struct space s;
	struct vdb_region_config config = {.size = sizeof(config), .backing = VDB_MEM_HOST};

	ck_assert_int_eq(vdb_mem_create(&s.mem), 0);
	for (int i = REGIONS - 1; i >= 0; i--) {
		s.host[i] = guarded(plan[i].pages * PAGE);
		config.gpa = plan[i].gpa;
		config.len = plan[i].pages * PAGE;
		config.flags = plan[i].flags;
		config.host = s.host[i];
		ck_assert_int_eq(vdb_mem_add(s.mem, &config), 0);
	}
	ck_assert_int_eq(vdb__view_init(&s.view, s.mem), 0);
	return s;
}

static void end(struct space *s)
{
	vdb__view_drop(&s->view);
	vdb__view_drop(&s->view);
	ck_assert_int_eq(vdb_mem_destroy(s->mem), 0);
	for (int i = 0; i < REGIONS; i++)
		munmap(s->host[i] - PAGE, (plan[i].pages + 2) * PAGE);
}

/* The same by the book: which region has all of it? */
static void *expected(const struct space *s, vdb_gpa_t gpa, uint64_t len, enum vdb__access access)
{
	unsigned __int128 last = (unsigned __int128)gpa + len;

	for (int i = 0; i < REGIONS && len; i++) {
		if (gpa >= plan[i].gpa && last <= plan[i].gpa + plan[i].pages * PAGE &&
		    !(access == VDB__WRITE && plan[i].flags & VDB_REGION_READONLY))
			return s->host[i] + (gpa - plan[i].gpa);
	}
	return NULL;
}

/* Around every edge, and lengths around every distance between edges. */
START_TEST(one_pointer_never_leaves_a_region)
{
	struct space s = make();
	vdb_gpa_t gpas[REGIONS * 2 * 5 + 6] = {0, 1, UINT64_MAX, UINT64_MAX - 1, LAST, INT64_MAX};
	uint64_t lens[] = {0,
	                   1,
	                   2,
	                   PAGE - 1,
	                   PAGE,
	                   PAGE + 1,
	                   2 * PAGE,
	                   3 * PAGE,
	                   5 * PAGE,
	                   0x10000,
	                   UINT64_C(1) << 32,
	                   UINT64_MAX,
	                   LAST,
	                   LAST + 1,
	                   UINT64_MAX - 0x12000,
	                   0 - UINT64_C(0x12000),
	                   0 - UINT64_C(0x11fff)};
	size_t n = 6, hits = 0;

	for (size_t i = 0; i < REGIONS; i++) {
		for (uint64_t d = 0; d < 5; d++) {
			gpas[n++] = plan[i].gpa + d - 2;
			gpas[n++] = plan[i].gpa + plan[i].pages * PAGE + d - 2;
		}
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < sizeof(lens) / sizeof(lens[0]); j++) {
			for (int w = 0; w < 2; w++) {
				void *want = expected(&s, gpas[i], lens[j], (enum vdb__access)w);
				void *got = vdb__view_ptr(&s.view, gpas[i], lens[j], (enum vdb__access)w);

				ck_assert_msg(got == want, "%#llx+%#llx", (unsigned long long)gpas[i],
				              (unsigned long long)lens[j]);
				if (got && w)
					memset(got, 1, lens[j]);
				hits += !!got;
			}
		}
	}
	ck_assert_uint_gt(hits, 50);
	end(&s);
}
END_TEST

/* Iovecs cover exactly the bytes, in order, or nothing happens. */
START_TEST(iovecs_span_neighbours)
{
	struct space s = make();
	struct iovec iov[8];
	struct vdb__region *hold[8];
	uint32_t n = 0;

	ck_assert_int_eq(vdb__view_iov(&s.view, 0x10800, 0x2000, VDB__WRITE, iov, hold, &n, 8), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_ptr_eq(iov[0].iov_base, s.host[A] + 0x800);
	ck_assert_uint_eq(iov[0].iov_len, 0x1800);
	ck_assert_ptr_eq(iov[1].iov_base, s.host[B]);
	ck_assert_uint_eq(iov[1].iov_len, 0x800);
	/* Appends; all of both. */
	ck_assert_int_eq(vdb__view_iov(&s.view, 0x10000, 5 * PAGE, VDB__WRITE, iov, hold, &n, 8), 0);
	ck_assert_uint_eq(n, 4);
	ck_assert_uint_eq(iov[2].iov_len + iov[3].iov_len, 5 * PAGE);
	ck_assert_ptr_eq(hold[1], hold[3]);
	/* Length 0 is nothing, wherever it is. */
	ck_assert_int_eq(vdb__view_iov(&s.view, 0, 0, VDB__WRITE, iov, hold, &n, 8), 0);
	ck_assert_uint_eq(n, 4);
	/* Reading may go from C into the read-only D. */
	ck_assert_int_eq(vdb__view_iov(&s.view, 0x20fff, 2, VDB__READ, iov, hold, &n, 8), 0);
	ck_assert_uint_eq(n, 6);
	end(&s);
}
END_TEST

START_TEST(a_failed_iovec_leaves_nothing)
{
	static const struct {
		vdb_gpa_t gpa;
		uint64_t len;
		uint32_t max;
		int err;
	} bad[] = {
	        {0x0ffff, 2, 8, -EFAULT},
	        {0x10000, 5 * PAGE + 1, 8, -EFAULT},
	        {0x10000, UINT64_MAX, 8, -EFAULT},
	        {0x10000, 0 - UINT64_C(0x10000), 8, -EFAULT},
	        {LAST - PAGE, PAGE + 1, 8, -EFAULT},
	        {LAST - PAGE, UINT64_MAX, 8, -EFAULT},
	        {LAST, 1, 8, -EFAULT},
	        {UINT64_MAX, 1, 8, -EFAULT},
	        {UINT64_MAX, UINT64_MAX, 8, -EFAULT},
	        {0x20000, PAGE + 1, 8, -EFAULT}, /* into the read-only one */
	        {0x21000, 1, 8, -EFAULT},
	        {0x10000, 5 * PAGE, 1, -E2BIG},
	        {0x10000, 1, 0, -E2BIG},
	};
	struct space s = make();
	struct iovec iov[8];
	struct vdb__region *hold[8];
	uint32_t n = 0;

	(void)vdb__fail(0, "%s", "");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(vdb__view_iov(&s.view, bad[i].gpa, bad[i].len, VDB__WRITE, iov, hold, &n,
		                            bad[i].max) == bad[i].err,
		              "%zu", i);
		ck_assert_uint_eq(n, 0);
	}
	/* A guest's mistakes are not the program's. */
	ck_assert_str_eq(vdb_errmsg(), "");
	end(&s);
}
END_TEST

START_TEST(refresh_takes_up_the_current_map)
{
	struct space s = make();
	struct vdb_region_config config = {.size = sizeof(config), .gpa = 0x30000, .len = PAGE};

	ck_assert(!vdb__view_refresh(&s.view));
	ck_assert_ptr_nonnull(vdb__view_ptr(&s.view, 0x20000, 1, VDB__READ));
	ck_assert_int_eq(vdb_mem_add(s.mem, &config), 0);
	ck_assert_ptr_null(vdb__view_ptr(&s.view, 0x30000, 1, VDB__READ));
	ck_assert(vdb__view_refresh(&s.view));
	ck_assert(!vdb__view_refresh(&s.view));
	ck_assert_ptr_nonnull(vdb__view_ptr(&s.view, 0x30000, 1, VDB__READ));
	/* The last hit is the entry that goes away. */
	ck_assert_int_eq(vdb_mem_remove(s.mem, 0x30000, NULL, NULL), 0);
	ck_assert_ptr_nonnull(vdb__view_ptr(&s.view, 0x30000, 1, VDB__READ));
	ck_assert(vdb__view_refresh(&s.view));
	ck_assert_ptr_null(vdb__view_ptr(&s.view, 0x30000, 1, VDB__READ));
	ck_assert_ptr_eq(vdb__view_ptr(&s.view, 0x12000, 1, VDB__READ), s.host[B]);
	end(&s);
}
END_TEST

/* Last hits are of no use when every look-up is for another region: it is found all the same, by halving. */
#define MANY 1000u

START_TEST(many_regions_by_turns)
{
	struct vdb_region_config config = {.size = sizeof(config), .len = PAGE, .backing = VDB_MEM_HOST};
	unsigned char *host = guarded(MANY * PAGE);
	struct vdb__region *region[2];
	struct vdb__view view;
	struct iovec iov[2];
	struct vdb_mem *mem;
	uint32_t n, at;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	for (uint32_t i = 0; i < MANY; i++) {
		config.gpa = i * 2 * PAGE;
		config.host = host + i * PAGE;
		ck_assert_int_eq(vdb_mem_add(mem, &config), 0);
	}
	ck_assert_int_eq(vdb__view_init(&view, mem), 0);
	for (uint32_t i = 0; i < 20 * MANY; i++) {
		at = i * 617u % MANY;
		n = 0;
		ck_assert(vdb__view_piece(&view, at * 2 * PAGE + 8, 8, VDB__WRITE, iov, region));
		ck_assert_ptr_eq(iov[0].iov_base, host + at * PAGE + 8);
		ck_assert(!vdb__view_piece(&view, at * 2 * PAGE + PAGE, 8, VDB__WRITE, iov, region));
		ck_assert(!vdb__view_piece(&view, at * 2 * PAGE + PAGE - 1, 2, VDB__WRITE, iov, region));
		ck_assert_ptr_eq(vdb__view_ptr(&view, (MANY - 1 - at) * 2 * PAGE, PAGE, VDB__READ),
		                 host + (MANY - 1 - at) * PAGE);
		ck_assert_int_eq(vdb__view_iov(&view, at * 2 * PAGE, PAGE, VDB__READ, iov, region, &n, 2), 0);
		ck_assert_ptr_eq(iov[0].iov_base, host + at * PAGE);
		ck_assert_uint_eq(n, 1);
	}
	vdb__view_drop(&view);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	munmap(host - PAGE, (MANY + 2) * PAGE);
}
END_TEST

START_TEST(an_empty_memory_has_nothing)
{
	struct vdb_mem *mem;
	struct vdb__view view;
	struct iovec iov[1];
	struct vdb__region *hold[1];
	uint32_t n = 0;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	ck_assert_int_eq(vdb__view_init(&view, mem), 0);
	ck_assert_ptr_null(vdb__view_ptr(&view, 0, 1, VDB__READ));
	ck_assert_int_eq(vdb__view_iov(&view, 0, 1, VDB__READ, iov, hold, &n, 1), -EFAULT);
	vdb__view_mark(&view, 0, 1);
	vdb__view_drop(&view);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

SUITE("view", one_pointer_never_leaves_a_region, iovecs_span_neighbours, a_failed_iovec_leaves_nothing,
      refresh_takes_up_the_current_map, many_regions_by_turns, an_empty_memory_has_nothing)
