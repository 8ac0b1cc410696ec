/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: malloc calloc fstat */
/* Each call of the system's that loading makes fails once: an error, and no file left open. */
#include <check.h>
#include <string.h>
#include <vdb/boot.h>

#include "fail.h"
#include "kernels.h"
#include "suite.h"

static const unsigned char code[64] = {0xf4};
static struct kernel k;
static char path[64];
static struct vdb_mem *mem;

static int load(void *arg)
{
	const struct vdb_boot_config config = {
	        .size = sizeof(config), .kernel = path, .initrd = path, .cmdline = "quiet"};
	struct vdb_boot_info info = {.size = sizeof(info)};

	(void)arg;
	return vdb_boot_load(mem, &config, &info);
}

START_TEST(every_call_may_fail)
{
	const struct vdb_region_config region = {.size = sizeof(region), .len = 0x400000};

	kernel_elf(&k, code, sizeof(code));
	kernel_write(&k, path);
	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	ck_assert_int_eq(vdb_mem_add(mem, &region), 0);
	ck_assert_uint_ge(fail_sweep(load, NULL), 5);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	kernel_remove(path);
}
END_TEST

SUITE("boot_fail", every_call_may_fail)
