/* SPDX-License-Identifier: Apache-2.0 */
/* TIMEOUT: 300 */
/*
 * Kernels with some bytes at random: loaded or refused, but nothing is read or written out of bounds
 * (the sanitizers watch), and what is loaded lies in RAM, apart from what the loader puts there itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/boot.h>
#include <vdb/error.h>

#include "image.h"
#include "kernels.h"
#include "suite.h"

#define RAM 0x200000u
#define ROUNDS 7000u
#define CMDLINE 0x20000u
#define NOTE 0x200u /* of the ELF files: 20 bytes */

static const unsigned char code[64] = {0xf4};
static struct kernel good, k;
static struct vdb_mem *mem;
static unsigned seed;
static unsigned loaded, refused;

static unsigned pick(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

/* Values that are limits of something are more telling than others. */
static void spoil(void)
{
	static const uint64_t edges[] = {0,          1,          0xff,      0x7fffffff,
	                                 0x80000000, UINT32_MAX, INT64_MAX, UINT64_MAX - 7};
	size_t head = good.len < 0x500 ? good.len : 0x500;

	memcpy(&k, &good, sizeof(k));
	for (unsigned n = 1 + pick(3); n; n--) {
		size_t at = pick((unsigned)head), len = (size_t)1 << pick(4);
		uint64_t value = pick(2) ? edges[pick(8)] : (uint64_t)pick(RAM) << pick(12);

		if (good.setup)
			at = KERNEL_SETUP + pick(sizeof(struct setup_header));
		else if (pick(2))
			at = pick(0x40 + 2 * 56) & ~3u; /* the ELF headers */
		else if (pick(2))
			at = NOTE + (pick(20) & ~3u), value = pick(32);
		memcpy(k.bytes + at, &value, len);
	}
	k.len = pick(8) ? good.len : pick((unsigned)good.len + 1);
}

static void check_info(const struct vdb_boot_info *info)
{
	vdb_gpa_t end = info->kernel + info->kernel_len;
	char cmdline[2];

	ck_assert_int_eq(vdb_mem_read(mem, CMDLINE, cmdline, sizeof(cmdline)), 0);
	ck_assert_str_eq(cmdline, "x");
	ck_assert_uint_le(end, RAM);
	ck_assert_uint_le(info->kernel, end);
	ck_assert(info->entry >= info->kernel && info->entry < end);
	ck_assert(info->initrd >= end || info->initrd + info->initrd_len <= info->kernel);
	ck_assert_uint_le(info->initrd + info->initrd_len, RAM);
}

static void round_with(const char *path, int fd, const char *initrd)
{
	const struct vdb_boot_config config = {.size = sizeof(config),
	                                       .protocol = pick(3),
	                                       .kernel = path,
	                                       .initrd = initrd,
	                                       .cmdline = "x"};
	struct vdb_boot_info info = {.size = sizeof(info)};
	int rc;

	spoil();
	ck_assert_int_eq(ftruncate(fd, (off_t)k.len), 0);
	ck_assert_int_eq(pwrite(fd, k.bytes, k.len, 0), (ssize_t)k.len);
	rc = vdb_boot_load(mem, &config, &info);
	if (rc) {
		refused++;
		ck_assert_msg(rc == -ENOEXEC || rc == -EINVAL || rc == -ENOSPC, "%d: %s", rc, vdb_errmsg());
	} else {
		loaded++;
		check_info(&info);
	}
}

static void rounds(unsigned from)
{
	const struct vdb_region_config region = {.size = sizeof(region), .len = RAM};
	char path[64], initrd[64];
	int fd;

	seed = from;
	kernel_write(&good, path);
	image_store(initrd, code, sizeof(code));
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	ck_assert_int_eq(vdb_mem_add(mem, &region), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		round_with(path, fd, initrd);
	ck_assert_uint_gt(loaded, ROUNDS / 100);
	ck_assert_uint_gt(refused, ROUNDS / 10);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	(void)close(fd);
	kernel_remove(path);
	kernel_remove(initrd);
}

START_TEST(bzimages)
{
	kernel_bzimage(&good, code, sizeof(code));
	rounds(1);
}
END_TEST

START_TEST(elf_files)
{
	kernel_elf(&good, code, sizeof(code));
	rounds(2);
}
END_TEST

START_TEST(elf_files_of_32_bits)
{
	kernel_elf32(&good, code, sizeof(code));
	rounds(3);
}
END_TEST

SUITE("boot_mutations", bzimages, elf_files, elf_files_of_32_bits)
