/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: mmap memfd_create ftruncate madvise fcntl calloc malloc */
/* Files that are cut off, replaced or have holes, and memory that is not to be had: F6 and F16. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vdb/error.h>

#include "fail.h"
#include "image.h"
#include "leak.h"
#include "rig.h"
#include "run.h"

#define SIZE (1u << 20)
#define PAGE 4096u
#define REGION(...) (&(struct vdb_region_config){.size = sizeof(struct vdb_region_config), __VA_ARGS__})

static char path[64];
static unsigned char bytes[SIZE];
static struct vdb_backend *backend;
static struct rig rig;
static struct rig_guest guest;

static void setup(void)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = path};

	image_make(path, SIZE, 5);
	image_pattern(bytes, SIZE, 5);
	ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
}

static void teardown(void)
{
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
	unlink(path);
}

static int32_t ask(uint8_t op, uint32_t len, uint64_t offset)
{
	return rig_do(&guest, op, RIG_DATA, len, offset);
}

/* ---- F6: the image ---- */

/* What is gone is an error, and stays within the capacity: nothing makes up bytes for it. */
START_TEST(f6_an_image_that_was_cut_off)
{
	setup();
	ck_assert_int_eq(truncate(path, 8192), 0);
	ck_assert_int_eq(ask(VDB_OP_READ, 16384, 0), -EIO);
	ck_assert_int_eq(ask(VDB_OP_READ, 512, SIZE - 512), -EIO);
	ck_assert_int_eq(ask(VDB_OP_READ, 8192, 0), 8192);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA), bytes, 8192);
	ck_assert_int_eq(ask(VDB_OP_WRITE, 512, SIZE), -ERANGE);
	/* What the owner has seen to holds. */
	ck_assert_int_eq(vdb_backend_file_resize(backend), 8192);
	ck_assert_int_eq(ask(VDB_OP_READ, 512, 8192), -ERANGE);
	teardown();
}
END_TEST

/* Another file under its name: the one that was opened is the disk. */
START_TEST(f6_an_image_that_was_replaced)
{
	char other[64];

	setup();
	image_make(other, SIZE / 2, 9);
	ck_assert_int_eq(rename(other, path), 0);
	ck_assert_int_eq(ask(VDB_OP_READ, 4096, SIZE - 4096), 4096);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA), bytes + SIZE - 4096, 4096);
	ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, 0), 4096);
	ck_assert_int_eq(ask(VDB_OP_FLUSH, 0, 0), 0);
	image_pattern(bytes, SIZE / 2, 9);
	image_check(path, 0, bytes, SIZE / 2);
	teardown();
}
END_TEST

START_TEST(f6_holes_read_as_zeroes)
{
	static const unsigned char zeroes[65536];
	int fd;

	setup();
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 65536)) {
		test_skipped_part("holes", "the file system of /tmp makes none");
	} else {
		ck_assert_int_eq(ask(VDB_OP_READ, 65536, 65536), 65536);
		ck_assert_mem_eq(rig_at(&guest, RIG_DATA), zeroes, 65536);
		ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, 65536), 4096);
		ck_assert_int_eq(ask(VDB_OP_READ, 8192, 65536 - 4096), 8192);
		ck_assert_mem_eq(rig_at(&guest, RIG_DATA), bytes + 65536 - 4096, 4096);
	}
	close(fd);
	teardown();
}
END_TEST

/* ---- F6: the guest's memory ---- */

/* Of a guest whose memory is a file of the caller's, as long as it is whole. */
static int add_file(uint32_t flags, unsigned seals, int *fd)
{
	*fd = memfd_create("faults", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(ftruncate(*fd, 16 * PAGE), 0);
	if (seals)
		ck_assert_int_eq(fcntl(*fd, F_ADD_SEALS, seals), 0);
	return vdb_mem_add(guest.ram.mem, REGION(.gpa = RIG_RAM, .len = 16 * PAGE, .backing = VDB_MEM_FD,
	                                         .fd = *fd, .flags = flags));
}

/* I/O into pages that are gone: the kernel says EFAULT, to that request. */
START_TEST(f6_io_into_memory_that_is_gone_fails_that_request)
{
	int fd;

	setup();
	ck_assert_int_eq(add_file(0, 0, &fd), 0);
	rig_turns(&rig, 2); /* the loop takes up the new map */
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_RAM, 4096, 0), 4096);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_lt(rig_do(&guest, VDB_OP_READ, RIG_RAM, 4096, 0), 0);
	ck_assert_int_lt(rig_do(&guest, VDB_OP_WRITE, RIG_RAM + PAGE, 4096, 0), 0);
	ck_assert_int_lt(rig_do(&guest, VDB_OP_READ, RIG_RAM - PAGE, 8192, 0), 0);
	ck_assert_int_eq(ask(VDB_OP_READ, 4096, 4096), 4096);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA), bytes + 4096, 4096);
	close(fd);
	teardown();
}
END_TEST

START_TEST(f6_a_memfd_of_the_library_cannot_shrink)
{
	struct vdb_mem *mem;
	int fd;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.len = 4 * PAGE, .backing = VDB_MEM_MEMFD,
	                                         .flags = VDB_REGION_SEALED)),
	                 0);
	fd = vdb_mem_fd(mem, 0, NULL);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 0), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(ftruncate(fd, 8 * PAGE), -1);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(f6_who_asks_for_it_gets_no_file_that_could_shrink)
{
	static unsigned char host[PAGE] __attribute__((aligned(PAGE)));
	int fd, file;

	setup();
	ck_assert_int_eq(add_file(VDB_REGION_SEALED, 0, &fd), -EPERM);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "F_SEAL_SHRINK"));
	close(fd);
	ck_assert_int_eq(add_file(VDB_REGION_SEALED, F_SEAL_GROW, &fd), -EPERM);
	close(fd);
	file = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(
	        vdb_mem_add(guest.ram.mem, REGION(.gpa = RIG_RAM, .len = PAGE, .fd = file,
	                                          .backing = VDB_MEM_FD, .flags = VDB_REGION_SEALED)),
	        -EPERM);
	close(file);
	ck_assert_int_eq(
	        vdb_mem_add(guest.ram.mem, REGION(.gpa = RIG_RAM, .len = PAGE, .host = host,
	                                          .backing = VDB_MEM_HOST, .flags = VDB_REGION_SEALED)),
	        -EINVAL);
	ck_assert_int_eq(add_file(VDB_REGION_SEALED, F_SEAL_SHRINK, &fd), 0);
	ck_assert_int_eq(ftruncate(fd, 0), -1);
	close(fd);
	teardown();
}
END_TEST

/* ---- F16 ---- */

static const uint32_t kinds[] = {VDB_MEM_ANON, VDB_MEM_MEMFD};

static int add_all(void *arg)
{
	struct vdb_mem *mem;
	int err = vdb_mem_create(&mem);

	(void)arg;
	if (err)
		return err;
	for (int i = 0; i < 2 && !err; i++)
		err = vdb_mem_add(mem, REGION(.gpa = (uint64_t)i * SIZE, .len = SIZE, .backing = kinds[i],
		                              .flags = VDB_REGION_PREFAULT));
	fail_check(!vdb_mem_destroy(mem));
	return err;
}

/* Wherever the host has no more: -errno with a word, no mapping and no fd left. */
START_TEST(f16_no_memory_is_an_error_when_it_is_added)
{
	ck_assert_uint_ge(fail_sweep(add_all, NULL), 8);
}
END_TEST

static void add_too_much(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2; i++) {
		struct vdb_mem *mem;

		ck_assert_int_eq(vdb_mem_create(&mem), 0);
		/* A tebibyte of huge pages, and more than the address space has. */
		ck_assert_int_eq(vdb_mem_add(mem, REGION(.len = UINT64_C(1) << 40, .backing = kinds[i],
		                                         .hugetlb_log2 = 21)),
		                 -ENOMEM);
		ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "nr_hugepages"));
		ck_assert_int_lt(vdb_mem_add(mem, REGION(.len = UINT64_C(1) << 52, .backing = kinds[i])), 0);
		ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "region at"));
		ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	}
}

START_TEST(f16_more_than_the_host_has_is_an_error)
{
	leak_check(add_too_much, NULL, SIZE);
}
END_TEST

/* Huge pages are set aside when they are asked for, not at the first use, where their want were a SIGBUS; so
 * are those of a file that is too short. */
START_TEST(f16_prefaulted_memory_is_there)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	struct vdb_mem *mem;
	void *host;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	ck_assert_int_eq(ftruncate(fd, PAGE), 0);
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.len = 2 * PAGE, .backing = VDB_MEM_FD, .fd = fd)), -EINVAL);
	host = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_int_eq(vdb_mem_add(mem, REGION(.len = 2 * PAGE, .backing = VDB_MEM_HOST, .host = host,
	                                         .flags = VDB_REGION_PREFAULT)),
	                 -ENOMEM);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	munmap(host, 2 * PAGE);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("memory");

	tcase_add_test(tc, f6_an_image_that_was_cut_off);
	tcase_add_test(tc, f6_an_image_that_was_replaced);
	tcase_add_test(tc, f6_holes_read_as_zeroes);
	tcase_add_test(tc, f6_io_into_memory_that_is_gone_fails_that_request);
	tcase_add_test(tc, f6_a_memfd_of_the_library_cannot_shrink);
	tcase_add_test(tc, f6_who_asks_for_it_gets_no_file_that_could_shrink);
	tcase_add_test(tc, f16_no_memory_is_an_error_when_it_is_added);
	tcase_add_test(tc, f16_more_than_the_host_has_is_an_error);
	tcase_add_test(tc, f16_prefaulted_memory_is_there);
	return test_run("faults_memory", tc);
}
