/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Inflate and deflate: what goes back to the host, what stays, and lists that are none. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "balloon_rig.h"
#include "run.h"

#define V1 VRIG_V1

static struct balloon_rig b;

static void setup(void)
{
	balloon_rig_open(&b, NULL, NULL);
	virtio_rig_up(&b.rig, V1, 2);
}

static void teardown(void)
{
	balloon_rig_close(&b);
}

static void inflate(const uint32_t *pages, uint32_t n)
{
	balloon_rig_list(&b, BALLOON_INFLATE, pages, n);
}

/* Page numbers from `first` of the region on. */
static void number(uint32_t *pages, uint32_t first, uint32_t n, int by)
{
	for (uint32_t i = 0; i < n; i++)
		pages[i] = (uint32_t)((int64_t)BALLOON_PAGE + first + (int64_t)i * by);
}

static void expect(uint64_t discarded, uint64_t kept, uint64_t wrong)
{
	struct vdb_balloon_info info = balloon_rig_info(&b);

	ck_assert_uint_eq(info.discarded, discarded * VDB_PAGE_SIZE);
	ck_assert_uint_eq(info.kept, kept * VDB_PAGE_SIZE);
	ck_assert_uint_eq(info.wrong, wrong);
	ck_assert_uint_eq(info.failed, 0);
}

static void expect_gone(uint64_t page, uint64_t n)
{
	ck_assert_uint_eq(balloon_rig_resident(&b, page, n), 0);
	ck_assert(balloon_rig_all(&b, page, n, 0));
}

START_TEST(pages_go_back_and_come_as_zeroes)
{
	uint32_t pages[256];

	number(pages, 100, 256, 1);
	inflate(pages, 256);
	expect(256, 0, 0);
	expect_gone(100, 256);
	ck_assert(balloon_rig_all(&b, 0, 100, BALLOON_FILL));
	ck_assert(balloon_rig_all(&b, 356, b.len / VDB_PAGE_SIZE - 356, BALLOON_FILL));
	balloon_rig_list(&b, BALLOON_DEFLATE, pages, 256);
	ck_assert_uint_eq(balloon_rig_info(&b).inflated, 256 * VDB_PAGE_SIZE);
	ck_assert_uint_eq(balloon_rig_info(&b).deflated, 256 * VDB_PAGE_SIZE);
}
END_TEST

START_TEST(in_any_order)
{
	uint32_t pages[300];

	number(pages, 299, 100, -1); /* 200..299 */
	number(pages + 100, 0, 50, 2);
	for (uint32_t i = 0; i < 50; i++) /* each twice */
		pages[150 + 2 * i] = pages[151 + 2 * i] = (uint32_t)BALLOON_PAGE + 400 + i;
	number(pages + 250, 600, 50, 7);
	inflate(pages, 300);
	expect_gone(200, 100);
	expect_gone(400, 50);
	for (uint32_t i = 0; i < 50; i++) {
		expect_gone(2 * i, 1);
		ck_assert(balloon_rig_all(&b, 2 * i + 1, 1, BALLOON_FILL));
		expect_gone(600 + 7 * i, 1);
		ck_assert(balloon_rig_all(&b, 601 + 7 * i, 1, BALLOON_FILL));
	}
	expect(250, 0, 0);
}
END_TEST

/* G74. */
START_TEST(g74_pages_that_are_no_memory)
{
	const uint32_t end = (uint32_t)(BALLOON_PAGE + b.len / VDB_PAGE_SIZE);
	const uint32_t pages[] = {
	        UINT32_MAX, UINT32_MAX - 1, (uint32_t)BALLOON_PAGE - 1, (uint32_t)BALLOON_PAGE, end - 1, end,
	        end + 1,    0x80000000u,    (uint32_t)BALLOON_PAGE + 7};

	inflate(pages, 9);
	expect(3, 0, 6);
	expect_gone(0, 1);
	expect_gone(b.len / VDB_PAGE_SIZE - 1, 1);
	expect_gone(7, 1);
}
END_TEST

/* The rings and their buffers, too, lie in memory that nobody said may go. */
START_TEST(g74_memory_that_may_not_go_stays)
{
	const uint32_t pages[] = {0, 1, 2, 8, (uint32_t)BALLOON_PAGE};

	inflate(pages, 5);
	expect(1, 4, 0);
	ck_assert_uint_eq(balloon_rig_info(&b).inflated, 5 * VDB_PAGE_SIZE);
}
END_TEST

/* The array of one list over several buffers, cut anywhere; and what is left over. */
START_TEST(g74_lists_of_any_shape)
{
	struct virtq_buf bufs[] = {{ready_rig_data(0, 0), 3, false},
	                           {ready_rig_data(0, 3), 1, false},
	                           {ready_rig_data(0, 4), 6, false},
	                           {ready_rig_data(0, 10), 9, false}};
	uint32_t pages[5];

	number(pages, 10, 5, 3);
	memcpy(mock_at(&b.rig.ram, bufs[0].gpa), pages, sizeof(pages));
	balloon_rig_send(&b, BALLOON_INFLATE, bufs, 4);
	expect(4, 0, 1); /* three bytes are no number */
	for (unsigned i = 0; i < 4; i++)
		expect_gone(10 + 3 * i, 1);
	bufs[0].len = 2;
	balloon_rig_send(&b, BALLOON_INFLATE, bufs, 1);
	expect(4, 0, 2);
}
END_TEST

START_TEST(g74_buffers_to_be_written_are_none_of_its)
{
	uint32_t page = (uint32_t)BALLOON_PAGE;
	struct virtq_buf bufs[] = {{ready_rig_data(0, 0), 4, false}, {ready_rig_data(0, 64), 4, true}};

	memcpy(mock_at(&b.rig.ram, bufs[0].gpa), &page, 4);
	balloon_rig_send(&b, BALLOON_INFLATE, bufs, 2);
	balloon_rig_send(&b, BALLOON_INFLATE, bufs + 1, 1);
	balloon_rig_send(&b, BALLOON_DEFLATE, bufs, 2);
	expect(0, 0, 3);
	ck_assert_uint_eq(balloon_rig_info(&b).inflated, 0);
	inflate(&page, 1);
	expect(1, 0, 3);
}
END_TEST

/* ---- What is behind the region ---- */

struct kind {
	struct vdb_region_config region;
	bool goes;
};

static void check_kind(const struct kind *kind)
{
	uint64_t before = balloon_rig_info(&b).discarded;
	uint32_t pages[32];

	balloon_rig_region(&b, &kind->region);
	number(pages, 8, 32, 1);
	inflate(pages, 32);
	ck_assert_uint_eq(balloon_rig_info(&b).discarded - before, kind->goes ? 32 * VDB_PAGE_SIZE : 0);
	ck_assert_uint_eq(balloon_rig_info(&b).failed, 0);
	if (!kind->goes)
		ck_assert(balloon_rig_all(&b, 0, 64, b.host[0]));
	else if (kind->region.flags & VDB_REGION_PRIVATE) /* the file's own page is there still */
		ck_assert(balloon_rig_all(&b, 8, 32, 0));
	else
		expect_gone(8, 32);
}

START_TEST(each_kind_of_memory)
{
	static const struct kind kinds[] = {
	        {{.backing = VDB_MEM_ANON}, false},
	        {{.backing = VDB_MEM_ANON, .flags = VDB_REGION_DISCARDABLE}, true},
	        {{.backing = VDB_MEM_ANON, .flags = VDB_REGION_DISCARDABLE | VDB_REGION_READONLY}, false},
	        {{.backing = VDB_MEM_MEMFD}, false},
	        {{.backing = VDB_MEM_MEMFD, .flags = VDB_REGION_DISCARDABLE}, true},
	        {{.backing = VDB_MEM_MEMFD, .flags = VDB_REGION_DISCARDABLE | VDB_REGION_PRIVATE}, true},
	        {{.backing = VDB_MEM_MEMFD, .flags = VDB_REGION_DISCARDABLE | VDB_REGION_READONLY}, false},
	};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		check_kind(&kinds[i]);
}
END_TEST

static void check_file(int fd, uint32_t flags, bool goes)
{
	const struct kind kind = {{.backing = VDB_MEM_FD,
	                           .fd = fd,
	                           .fd_offset = VDB_PAGE_SIZE,
	                           .len = 64 * VDB_PAGE_SIZE,
	                           .flags = VDB_REGION_DISCARDABLE | flags},
	                          goes};

	check_kind(&kind);
}

/* The caller's memfd is memory; of a private view of it the file's bytes would come back. */
START_TEST(a_memfd_of_the_callers)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	uint8_t byte = 0;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 66 * VDB_PAGE_SIZE), 0);
	check_file(fd, 0, true);
	/* At its offset in the file, and not beside it. */
	ck_assert_int_eq(pread(fd, &byte, 1, 9 * VDB_PAGE_SIZE - 1), 1);
	ck_assert_uint_eq(byte, BALLOON_FILL);
	ck_assert_int_eq(pread(fd, &byte, 1, 9 * VDB_PAGE_SIZE), 1);
	ck_assert_uint_eq(byte, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, 41 * VDB_PAGE_SIZE), 1);
	ck_assert_uint_eq(byte, BALLOON_FILL);
	check_file(fd, VDB_REGION_PRIVATE, false);
	close(fd);
}
END_TEST

/* An image on a disk must not get holes from a guest's balloon. */
START_TEST(a_file_on_a_disk_is_never_punched)
{
	char path[] = "balloon-image-XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(ftruncate(fd, 66 * VDB_PAGE_SIZE), 0);
	check_file(fd, 0, false);
	check_file(fd, VDB_REGION_PRIVATE, false);
	close(fd);
}
END_TEST

#define HUGE (UINT64_C(2) << 20)

/* A page number at a time is never all of a huge page, unless they come together. */
START_TEST(huge_pages_go_whole)
{
	struct vdb_region_config region = {.len = 2 * HUGE,
	                                   .hugetlb_log2 = 21,
	                                   .backing = (uint32_t)_i,
	                                   .flags = VDB_REGION_DISCARDABLE};
	void *probe = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
	                   -1, 0);
	uint32_t pages[600];

	if (probe == MAP_FAILED) {
		test_skipped_part("huge pages", "the host has no two that are free (vm.nr_hugepages)");
		return;
	}
	munmap(probe, 2 * HUGE);
	balloon_rig_region(&b, &region);
	number(pages, 0, 511, 1);
	inflate(pages, 511);
	expect(0, 511, 0);
	number(pages, 1111, 600, -1); /* 512..1111 */
	inflate(pages, 600);
	expect(512, 511, 88); /* the last ones are beyond the region */
	ck_assert(balloon_rig_all(&b, 512, 512, 0));
	ck_assert(balloon_rig_all(&b, 0, 512, BALLOON_FILL));
}
END_TEST

/* ---- Life ---- */

/* What the host wrote, and a page that has become zeroes is one, is on the harvester's list. */
START_TEST(discarded_pages_are_dirty)
{
	uint64_t bits[16] = {0};
	uint32_t pages[40];

	ck_assert_int_eq(vdb_mem_dirty_start(b.rig.ram.mem), 0);
	number(pages, 60, 40, 1);
	inflate(pages, 40);
	ck_assert_int_eq(vdb_mem_dirty_harvest(b.rig.ram.mem, BALLOON_GPA, 1024 * VDB_PAGE_SIZE, bits), 40);
	ck_assert_uint_eq(bits[0], UINT64_C(0xf) << 60);
	ck_assert_uint_eq(bits[1], (UINT64_C(1) << 36) - 1);
	vdb_mem_dirty_stop(b.rig.ram.mem);
}
END_TEST

START_TEST(g74_a_region_that_goes_while_the_balloon_is_up)
{
	uint32_t pages[2];

	number(pages, 1, 2, 1);
	inflate(pages, 2);
	balloon_rig_region(
	        &b, &(struct vdb_region_config){.len = VDB_PAGE_SIZE, .flags = VDB_REGION_DISCARDABLE});
	inflate(pages, 2);
	expect(2, 0, 2);
}
END_TEST

START_TEST(after_a_reset)
{
	uint32_t pages[3];

	number(pages, 1, 3, 5);
	inflate(pages, 3);
	virtio_rig_up(&b.rig, V1 | VRIG_BIT(VIRTIO_F_RING_PACKED), 2);
	number(pages, 2, 3, 5);
	inflate(pages, 3);
	expect(6, 0, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("balloon");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, pages_go_back_and_come_as_zeroes);
	tcase_add_test(tc, in_any_order);
	tcase_add_test(tc, g74_pages_that_are_no_memory);
	tcase_add_test(tc, g74_memory_that_may_not_go_stays);
	tcase_add_test(tc, g74_lists_of_any_shape);
	tcase_add_test(tc, g74_buffers_to_be_written_are_none_of_its);
	tcase_add_test(tc, each_kind_of_memory);
	tcase_add_test(tc, a_memfd_of_the_callers);
	tcase_add_test(tc, a_file_on_a_disk_is_never_punched);
	tcase_add_loop_test(tc, huge_pages_go_whole, VDB_MEM_ANON, VDB_MEM_MEMFD + 1);
	tcase_add_test(tc, discarded_pages_are_dirty);
	tcase_add_test(tc, g74_a_region_that_goes_while_the_balloon_is_up);
	tcase_add_test(tc, after_a_reset);
	return test_run("balloon", tc);
}
