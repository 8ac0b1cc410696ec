/* SPDX-License-Identifier: Apache-2.0 */
/* Regions: what backs them, what is refused, and that nothing is left behind. */
/* WRAP: calloc malloc mmap memfd_create ftruncate fstat fcntl madvise */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "fail.h"
#include "leak.h"
#include "mem/view.h"
#include "suite.h"

#define PAGE UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)

#define REGION(...) (&(struct vdb_region_config){.size = sizeof(struct vdb_region_config), __VA_ARGS__})

static struct vdb_mem *new_mem(void)
{
	struct vdb_mem *mem;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	return mem;
}

static void *host_at(struct vdb_mem *mem, vdb_gpa_t gpa)
{
	struct vdb__view view;
	void *host;

	ck_assert_int_eq(vdb__view_init(&view, mem), 0);
	host = vdb__view_ptr(&view, gpa, 1, VDB__READ);
	ck_assert_ptr_nonnull(host);
	vdb__view_drop(&view);
	return host;
}

static int new_memfd(uint64_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
	return fd;
}

START_TEST(every_kind_holds_data)
{
	struct vdb_mem *mem = new_mem();
	int fd = new_memfd(4 * PAGE);
	char data[3 * PAGE], back[3 * PAGE];
	void *host = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(data, 0x42, sizeof(data));
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 0, .len = 3 * PAGE)), 0);
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = MIB, .len = 3 * PAGE, .backing = VDB_MEM_MEMFD)), 0);
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 2 * MIB, .len = 3 * PAGE, .backing = VDB_MEM_FD,
	                                         .fd = fd, .fd_offset = PAGE)),
	                 0);
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 3 * MIB, .len = 3 * PAGE, .backing = VDB_MEM_HOST,
	                                         .host = host)),
	                 0);
	for (vdb_gpa_t gpa = 0; gpa < 4 * MIB; gpa += MIB) {
		ck_assert_int_eq(vdb_mem_read(mem, gpa, back, sizeof(back)), 0);
		ck_assert_int_eq(back[0] | back[sizeof(back) - 1], 0);
		ck_assert_int_eq(vdb_mem_write(mem, gpa, data, sizeof(data)), 0);
		ck_assert_int_eq(vdb_mem_read(mem, gpa, back, sizeof(back)), 0);
		ck_assert_mem_eq(back, data, sizeof(data));
	}
	/* The file has it from its second page on, and the caller's mapping is the memory. */
	ck_assert_int_eq(pread(fd, back, 3 * PAGE, (off_t)PAGE), 3 * PAGE);
	ck_assert_mem_eq(back, data, sizeof(data));
	ck_assert_mem_eq(host, data, sizeof(data));
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	/* The caller's things stay the caller's. */
	ck_assert_mem_eq(host, data, sizeof(data));
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	munmap(host, 3 * PAGE);
	close(fd);
	ck_assert_int_eq(vdb_mem_destroy(NULL), 0);
}
END_TEST

START_TEST(one_file_behind_two_regions)
{
	struct vdb_mem *mem = new_mem(), *other = new_mem();
	int fd = new_memfd(2 * PAGE);
	uint64_t value = 0;

	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 0, .len = PAGE, .backing = VDB_MEM_FD, .fd = fd)), 0);
	ck_assert_int_eq(
	        vdb_mem_add(mem, REGION(.gpa = MIB, .len = 2 * PAGE, .backing = VDB_MEM_FD, .fd = fd)), 0);
	ck_assert_int_eq(vdb_mem_add(other, REGION(.gpa = 0, .len = PAGE, .backing = VDB_MEM_FD, .fd = fd,
	                                           .flags = VDB_REGION_PRIVATE)),
	                 0);
	close(fd);
	ck_assert_int_eq(vdb_mem_store64(mem, 8, 77), 0);
	ck_assert_int_eq(vdb_mem_load64(mem, MIB + 8, &value), 0);
	ck_assert_uint_eq(value, 77);
	/* The private one sees the file until it writes, and then nobody sees that. */
	ck_assert_int_eq(vdb_mem_load64(other, 8, &value), 0);
	ck_assert_uint_eq(value, 77);
	ck_assert_int_eq(vdb_mem_store64(other, 8, 78), 0);
	ck_assert_int_eq(vdb_mem_load64(mem, 8, &value), 0);
	ck_assert_uint_eq(value, 77);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	ck_assert_int_eq(vdb_mem_destroy(other), 0);
}
END_TEST

START_TEST(the_fd_behind_a_region)
{
	struct vdb_mem *mem = new_mem();
	int fd = new_memfd(4 * PAGE), got;
	uint64_t offset = 5, value = 0;

	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 0, .len = PAGE)), 0);
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = MIB, .len = PAGE, .backing = VDB_MEM_MEMFD)), 0);
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 2 * MIB, .len = 2 * PAGE, .backing = VDB_MEM_FD,
	                                         .fd = fd, .fd_offset = 2 * PAGE)),
	                 0);
	ck_assert_int_eq(vdb_mem_fd(mem, 0, &offset), -EBADF);
	ck_assert_int_eq(vdb_mem_fd(mem, PAGE, &offset), -ENOENT);
	ck_assert_uint_eq(offset, 5);
	ck_assert_int_ne(vdb_mem_fd(mem, 2 * MIB, NULL), fd);
	ck_assert_int_ge(vdb_mem_fd(mem, 2 * MIB + PAGE + 3, &offset), 0);
	ck_assert_uint_eq(offset, 3 * PAGE + 3);
	got = vdb_mem_fd(mem, MIB + 16, &offset);
	ck_assert_int_eq(vdb_mem_store64(mem, MIB + 16, 99), 0);
	ck_assert_int_eq(pread(got, &value, 8, (off_t)offset), 8);
	ck_assert_uint_eq(value, 99);
	ck_assert_int_eq(fcntl(got, F_GETFD), FD_CLOEXEC);
	/* Nobody who gets it can take the memory away. */
	ck_assert_int_ne(ftruncate(got, 0), 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	close(fd);
}
END_TEST

START_TEST(read_only_is_read_only)
{
	struct vdb_mem *mem = new_mem();
	int fd = new_memfd(PAGE), ro;
	char path[64];
	uint64_t value = 5;
	struct iovec iov[1];
	struct vdb_mem_pin *pin;

	ck_assert_int_eq(pwrite(fd, &value, 8, 0), 8);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(ro, 0);
	/* Shared and writable is not to be had of it, and the message says how else. */
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 0, .len = PAGE, .backing = VDB_MEM_FD, .fd = ro)),
	                 -EACCES);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "VDB_REGION_READONLY"));
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 0, .len = PAGE, .backing = VDB_MEM_FD, .fd = ro,
	                                         .flags = VDB_REGION_READONLY | VDB_REGION_PREFAULT)),
	                 0);
	value = 0;
	ck_assert_int_eq(vdb_mem_load64(mem, 0, &value), 0);
	ck_assert_uint_eq(value, 5);
	ck_assert_int_eq(vdb_mem_store64(mem, 0, 6), -EFAULT);
	ck_assert_int_eq(vdb_mem_store32(mem, 0, 6), -EFAULT);
	ck_assert_int_eq(vdb_mem_write(mem, 0, &value, 1), -EFAULT);
	ck_assert_int_eq(vdb_mem_pin(mem, 0, 8, 1, iov, 1, &pin), -EFAULT);
	ck_assert_int_eq(vdb_mem_pin(mem, 0, 8, 0, iov, 1, &pin), 1);
	vdb_mem_unpin(pin);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	close(ro);
	close(fd);
}
END_TEST

static uint64_t resident(void *host, uint64_t len)
{
	unsigned char pages[256];
	uint64_t count = 0;

	ck_assert_int_eq(mincore(host, len, pages), 0);
	for (uint64_t i = 0; i < len / PAGE; i++)
		count += pages[i] & 1;
	return count;
}

START_TEST(prefault_populates)
{
	static const uint32_t kinds[] = {VDB_MEM_ANON, VDB_MEM_MEMFD};
	struct vdb_mem *mem = new_mem();

	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 0, .len = MIB, .backing = kinds[i])), 0);
		ck_assert_uint_eq(resident(host_at(mem, 0), MIB), 0);
		ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = MIB, .len = MIB, .backing = kinds[i],
		                                         .flags = VDB_REGION_PREFAULT)),
		                 0);
		ck_assert_uint_eq(resident(host_at(mem, MIB), MIB), MIB / PAGE);
		ck_assert_int_eq(vdb_mem_remove(mem, 0, NULL, NULL), 0);
		ck_assert_int_eq(vdb_mem_remove(mem, MIB, NULL, NULL), 0);
	}
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

/* Memory that cannot be had is an error here, where it would be a SIGBUS on first use. */
START_TEST(prefault_fails_instead_of_sigbus)
{
	struct vdb_mem *mem = new_mem();
	int fd = new_memfd(PAGE);
	void *host = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ck_assert_int_eq(vdb_mem_add(mem, REGION(.len = 2 * PAGE, .backing = VDB_MEM_HOST, .host = host,
	                                         .flags = VDB_REGION_PREFAULT)),
	                 -ENOMEM);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	munmap(host, 2 * PAGE);
	close(fd);
}
END_TEST

START_TEST(no_huge_pages_is_said)
{
	static const uint32_t kinds[] = {VDB_MEM_ANON, VDB_MEM_MEMFD};
	struct vdb_mem *mem = new_mem();

	/* No test machine has a tebibyte of them. */
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(vdb_mem_add(mem, REGION(.len = UINT64_C(1) << 40, .backing = kinds[i],
		                                         .hugetlb_log2 = 21)),
		                 -ENOMEM);
		ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "hugepages-2048kB/nr_hugepages"));
		ck_assert_int_eq(vdb_mem_add(mem, REGION(.len = UINT64_C(1) << 40, .backing = kinds[i],
		                                         .hugetlb_log2 = 13)),
		                 -EINVAL);
	}
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

/* Where the host has some; the lab gives itself some. */
START_TEST(huge_pages_where_there_are_any)
{
	static const uint32_t kinds[] = {VDB_MEM_ANON, VDB_MEM_MEMFD};
	struct vdb_mem *mem = new_mem();
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	unsigned count = 0;
	uint64_t value;

	if (file) {
		ck_assert_int_le(fscanf(file, "%u", &count), 1);
		fclose(file);
	}
	for (size_t i = 0; i < 2 && count; i++) {
		ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 2 * MIB, .len = 2 * MIB, .backing = kinds[i],
		                                         .hugetlb_log2 = 21, .flags = VDB_REGION_PREFAULT)),
		                 0);
		ck_assert_int_eq(vdb_mem_store64(mem, 4 * MIB - 8, 3), 0);
		ck_assert_int_eq(vdb_mem_load64(mem, 4 * MIB - 8, &value), 0);
		ck_assert_uint_eq(value, 3);
		ck_assert_int_eq(vdb_mem_remove(mem, 2 * MIB, NULL, NULL), 0);
		ck_assert_int_eq(vdb_mem_reap(mem), 0);
	}
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(bad_configs_are_refused)
{
	struct vdb_mem *mem = new_mem();
	int fd = new_memfd(2 * PAGE), fds, lines;
	char *host = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t mapped;
	const struct {
		int err;
		struct vdb_region_config c;
	} bad[] = {
	        {-EINVAL, {.len = 0}},
	        {-EINVAL, {.len = 100}},
	        {-EINVAL, {.len = PAGE, .gpa = 100}},
	        {-EINVAL, {.len = PAGE, .gpa = -PAGE}},
	        {-EINVAL, {.len = 2 * PAGE, .gpa = -PAGE}},
	        {-EINVAL, {.len = -PAGE, .gpa = 0}},
	        {-EINVAL, {.len = -PAGE, .gpa = -PAGE}},
	        {-ENOMEM, {.len = UINT64_C(1) << 60, .gpa = UINT64_C(1) << 40}},
	        {-EINVAL, {.len = PAGE, .flags = 32}},
	        {-EINVAL, {.len = PAGE, .reserved = 1}},
	        {-EINVAL, {.len = PAGE, .backing = 4}},
	        {-EINVAL, {.len = PAGE, .hugetlb_log2 = 21}},
	        {-EINVAL, {.len = PAGE, .hugetlb_log2 = 12}},
	        {-EINVAL, {.len = PAGE, .hugetlb_log2 = 64}},
	        {-EBADF, {.len = PAGE, .backing = VDB_MEM_FD, .fd = -1}},
	        {-EBADF, {.len = PAGE, .backing = VDB_MEM_FD, .fd = 999}},
	        {-EINVAL, {.len = 3 * PAGE, .backing = VDB_MEM_FD, .fd = fd}},
	        {-EINVAL, {.len = PAGE, .backing = VDB_MEM_FD, .fd = fd, .fd_offset = 2 * PAGE}},
	        {-EINVAL, {.len = PAGE, .backing = VDB_MEM_FD, .fd = fd, .fd_offset = 1}},
	        {-EINVAL, {.len = PAGE, .backing = VDB_MEM_FD, .fd = fd, .fd_offset = -PAGE}},
	        {-EINVAL, {.len = PAGE, .backing = VDB_MEM_FD, .fd = fd, .fd_offset = INT64_MAX - PAGE + 1}},
	        {-EINVAL, {.len = 2 * MIB, .backing = VDB_MEM_FD, .fd = fd, .hugetlb_log2 = 21}},
	        {-EINVAL, {.len = PAGE, .backing = VDB_MEM_HOST}},
	        {-EINVAL, {.len = PAGE, .backing = VDB_MEM_HOST, .host = host + 1}},
	        {-EINVAL, {.len = 1024 * MIB, .backing = VDB_MEM_HOST, .host = host}},
	        {-EINVAL, {.len = PAGE, .backing = VDB_MEM_HOST, .host = (void *)-PAGE}},
	        {-EINVAL, {.len = PAGE, .backing = VDB_MEM_HOST, .host = host, .flags = VDB_REGION_PRIVATE}},
	        {-EEXIST, {.len = PAGE, .gpa = 16 * MIB}},
	        {-EEXIST, {.len = PAGE, .gpa = 17 * MIB - PAGE}},
	        {-EEXIST, {.len = 2 * PAGE, .gpa = 16 * MIB - PAGE}},
	        {-EEXIST, {.len = 64 * MIB, .gpa = 0}},
	        {-EEXIST, {.len = PAGE, .gpa = 16 * MIB + 5 * PAGE}},
	};

	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 16 * MIB, .len = MIB)), 0);
	fds = leak_fds();
	mapped = leak_mapped(&lines);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vdb_region_config c = bad[i].c;

		c.size = sizeof(c);
		(void)vdb__fail(0, "%s", "");
		ck_assert_msg(vdb_mem_add(mem, &c) == bad[i].err, "config %zu: %s", i, vdb_errmsg());
		ck_assert_str_ne(vdb_errmsg(), "");
		ck_assert_int_eq(leak_fds(), fds);
	}
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.len = PAGE, .reserved = 7)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "reserved is 0x7"));
	ck_assert_uint_lt(leak_mapped(&lines), mapped + MIB);
	/* Neighbours do not overlap. */
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 16 * MIB - PAGE, .len = PAGE)), 0);
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = 17 * MIB, .len = PAGE)), 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	munmap(host, 2 * PAGE);
	close(fd);
}
END_TEST

START_TEST(overlaps_is_exact)
{
	struct vdb_mem *mem = new_mem();

	ck_assert(!vdb__mem_overlaps(mem, 0, UINT64_MAX));
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = MIB, .len = PAGE)), 0);
	ck_assert(!vdb__mem_overlaps(mem, 0, MIB));
	ck_assert(vdb__mem_overlaps(mem, 0, MIB + 1));
	ck_assert(vdb__mem_overlaps(mem, MIB + PAGE - 1, 1));
	ck_assert(!vdb__mem_overlaps(mem, MIB + PAGE, UINT64_MAX));
	ck_assert(!vdb__mem_overlaps(mem, MIB, 0));
	ck_assert(vdb__mem_overlaps(mem, MIB - 1, UINT64_MAX));
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(many_regions_in_any_order)
{
	struct vdb_mem *mem = new_mem();
	uint32_t value;

	for (uint64_t i = 0; i < 300; i++)
		ck_assert_int_eq(vdb_mem_add(mem, REGION(.gpa = i * 7 % 300 * 2 * PAGE, .len = PAGE)), 0);
	for (uint32_t i = 0; i < 300; i++)
		ck_assert_int_eq(vdb_mem_store32(mem, i * 2 * PAGE, i), 0);
	for (uint64_t i = 0; i < 300; i += 3)
		ck_assert_int_eq(vdb_mem_remove(mem, i * 2 * PAGE, NULL, NULL), 0);
	for (uint32_t i = 0; i < 300; i++) {
		ck_assert_int_eq(vdb_mem_load32(mem, i * 2 * PAGE, &value), i % 3 ? 0 : -EFAULT);
		ck_assert(i % 3 == 0 || value == i);
		ck_assert_int_eq(vdb_mem_load32(mem, (i * 2 + 1) * PAGE, &value), -EFAULT);
	}
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

/* Every kind, every step of it. */
static int make(void *arg)
{
	const int *fd = arg;
	struct vdb_mem *mem;
	int err = vdb_mem_create(&mem);

	if (err)
		return err;
	err = vdb_mem_add(mem, REGION(.len = MIB, .flags = VDB_REGION_PREFAULT));
	if (!err)
		err = vdb_mem_add(mem, REGION(.gpa = MIB, .len = MIB, .backing = VDB_MEM_MEMFD));
	if (!err)
		err = vdb_mem_add(mem, REGION(.gpa = 2 * MIB, .len = MIB, .backing = VDB_MEM_FD, .fd = *fd));
	if (!err)
		err = vdb_mem_remove(mem, MIB, NULL, NULL);
	if (!err)
		fail_check(vdb_mem_reap(mem) == 0);
	fail_check(vdb_mem_destroy(mem) == 0);
	return err;
}

START_TEST(any_failure_leaves_nothing)
{
	int fd = new_memfd(MIB);

	/* create 2; a region: 2 callocs, its map; and its backing. */
	ck_assert_uint_eq(fail_sweep(make, &fd), 2 + 3 * 3 + 2 + 4 + 3 + 1);
	close(fd);
}
END_TEST

static void make_well(void *arg)
{
	ck_assert_int_eq(make(arg), 0);
}

START_TEST(destroy_leaves_nothing)
{
	int fd = new_memfd(MIB);

	leak_check(make_well, &fd, MIB / 2);
	close(fd);
}
END_TEST

SUITE("mem", every_kind_holds_data, one_file_behind_two_regions, the_fd_behind_a_region,
      read_only_is_read_only, prefault_populates, prefault_fails_instead_of_sigbus, no_huge_pages_is_said,
      huge_pages_where_there_are_any, bad_configs_are_refused, overlaps_is_exact, many_regions_in_any_order,
      any_failure_leaves_nothing, destroy_leaves_nothing)
