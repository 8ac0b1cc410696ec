/* SPDX-License-Identifier: Apache-2.0 */
/* What a loaded kernel finds in memory, and where. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/boot.h>
#include <vdb/error.h>

#include "image.h"
#include "kernels.h"
#include "suite.h"

#define MIB 0x100000ull
#define GIB (1024 * MIB)

static unsigned char code[700];
static struct kernel k;
static char kernel_path[64], initrd_path[64];
static struct vdb_mem *mem;
static struct vdb_boot_info info;

/* Memory that is written before: a loader must not rely on zeroes. */
static void add(vdb_gpa_t gpa, uint64_t len)
{
	const struct vdb_region_config region = {.size = sizeof(region), .gpa = gpa, .len = len};
	unsigned char junk[64];

	memset(junk, 0xa5, sizeof(junk));
	ck_assert_int_eq(vdb_mem_add(mem, &region), 0);
	for (uint64_t at = 0; at < len && at < 4 * MIB; at += sizeof(junk))
		ck_assert_int_eq(vdb_mem_write(mem, gpa + at, junk, sizeof(junk)), 0);
}

static void begin(void)
{
	for (size_t i = 0; i < sizeof(code); i++)
		code[i] = (unsigned char)(i * 7 + 1);
	ck_assert_int_eq(vdb_mem_create(&mem), 0);
}

static void try_load(struct vdb_boot_config config)
{
	config.size = sizeof(config);
	config.kernel = kernel_path;
	kernel_write(&k, kernel_path);
	info.size = sizeof(info);
	ck_assert_msg(!vdb_boot_load(mem, &config, &info), "%s", vdb_errmsg());
	kernel_remove(kernel_path);
}

static void check_bytes(vdb_gpa_t gpa, const void *bytes, size_t len)
{
	unsigned char *now = malloc(len);

	ck_assert_ptr_nonnull(now);
	ck_assert_int_eq(vdb_mem_read(mem, gpa, now, len), 0);
	ck_assert_mem_eq(now, bytes, len);
	free(now);
}

static void check_each(vdb_gpa_t gpa, size_t len, unsigned char byte)
{
	unsigned char now;

	for (size_t i = 0; i < len; i++) {
		ck_assert_int_eq(vdb_mem_read(mem, gpa + i, &now, 1), 0);
		ck_assert_msg(now == byte, "%#llx: %#x", (unsigned long long)(gpa + i), now);
	}
}

static void end(void)
{
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}

static struct boot_params zero_page(void)
{
	struct boot_params page;

	ck_assert_int_eq(vdb_mem_read(mem, info.info, &page, sizeof(page)), 0);
	return page;
}

static void make_initrd(size_t len)
{
	image_store(initrd_path, code, sizeof(code));
	ck_assert_int_eq(truncate(initrd_path, (off_t)len), 0);
}

START_TEST(an_elf_file_lies_where_it_says_and_its_bss_is_zero)
{
	begin();
	add(0, 4 * MIB);
	kernel_elf(&k, code, sizeof(code));
	try_load((struct vdb_boot_config){0});
	ck_assert_uint_eq(info.kernel, KERNEL_GPA);
	ck_assert_uint_eq(info.kernel_len, k.load->p_memsz);
	ck_assert_uint_eq(info.entry, KERNEL_GPA);
	ck_assert_uint_eq(info.cmdline_max, 2047);
	ck_assert_uint_eq(info.initrd, 0);
	check_bytes(KERNEL_GPA, code, sizeof(code));
	check_each(KERNEL_GPA + k.load->p_filesz, 0x1000, 0);
	check_each(KERNEL_GPA + k.load->p_memsz, 0x100, 0xa5);
	check_each(KERNEL_GPA - 0x1000, 0x1000, 0xa5);
	check_each(0, 0x1000, 0xa5);
	end();
}
END_TEST

START_TEST(across_regions_too)
{
	begin();
	add(0, KERNEL_GPA + 0x1000);
	for (unsigned i = 1; i < 16; i++)
		add(KERNEL_GPA + i * 0x1000u, 0x1000);
	kernel_elf(&k, code, sizeof(code));
	k.load->p_paddr += 0xf00;
	k.note[17] = 0x0f;
	try_load((struct vdb_boot_config){0});
	check_bytes(KERNEL_GPA + 0xf00, code, sizeof(code));
	check_each(KERNEL_GPA + 0xf00 + k.load->p_filesz, 0x1000, 0);
	end();
}
END_TEST

/* Two notes of others before, one with a name whose padding matters; aligned to 4 and to 8. */
static void put_notes(uint64_t align)
{
	const uint32_t other[3] = {5, 3, 18}, mine[3] = {4, 8, 18};
	const uint64_t entry = KERNEL_GPA;
	size_t step = (size_t)align, at = 0x200;

	for (unsigned i = 0; i < 2; i++) {
		memcpy(k.bytes + at, other, sizeof(other));
		memcpy(k.bytes + at + 12, "Xenon", 5);
		at = (at + 12 + 5 + step - 1) & ~(step - 1);
		at = (at + 3 + step - 1) & ~(step - 1);
	}
	memcpy(k.bytes + at, mine, sizeof(mine));
	memcpy(k.bytes + at + 12, "Xen", 4);
	memcpy(k.bytes + at + 16, &entry, sizeof(entry));
	k.notes->p_align = align;
	k.notes->p_filesz = at + 24 - 0x200;
}

START_TEST(the_pvh_note_is_found_behind_others)
{
	begin();
	add(0, 4 * MIB);
	for (uint64_t align = 4; align <= 8; align += 4) {
		kernel_elf(&k, code, sizeof(code));
		put_notes(align);
		try_load((struct vdb_boot_config){0});
		ck_assert_uint_eq(info.protocol, VDB_BOOT_PVH);
		ck_assert_uint_eq(info.entry, KERNEL_GPA);
	}
	end();
}
END_TEST

START_TEST(a_bzimage_lies_where_it_would_like_to_be)
{
	struct boot_params page;

	begin();
	add(0, 4 * MIB);
	kernel_bzimage(&k, code, sizeof(code));
	try_load((struct vdb_boot_config){.cmdline = "quiet", .rsdp = 0xe0000});
	ck_assert_uint_eq(info.kernel, KERNEL_GPA);
	ck_assert_uint_eq(info.kernel_len, 0x10000);
	ck_assert_uint_eq(info.entry, KERNEL_GPA + 0x200);
	check_bytes(KERNEL_GPA + 0x200, code, sizeof(code));
	page = zero_page();
	ck_assert_uint_eq(page.hdr.boot_flag, 0xaa55);
	ck_assert_uint_eq(page.hdr.init_size, 0x10000);
	ck_assert_uint_eq(page.hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(page.sentinel, 0);
	ck_assert_uint_eq(page.acpi_rsdp_addr, 0xe0000);
	check_bytes(page.hdr.cmd_line_ptr, "quiet", 6);
	end();
}
END_TEST

START_TEST(or_above_if_it_may)
{
	const struct vdb_e820 taken = {.gpa = KERNEL_GPA + 0x8000, .len = 0x1000, .type = VDB_E820_RESERVED};
	struct boot_params page;

	begin();
	add(0, 4 * MIB);
	kernel_bzimage(&k, code, sizeof(code));
	k.setup->kernel_alignment = 0x40000;
	try_load((struct vdb_boot_config){.reserved = &taken, .reserved_count = 1});
	ck_assert_uint_eq(info.kernel, KERNEL_GPA + 0x40000);
	page = zero_page();
	ck_assert_uint_eq(page.hdr.code32_start, info.kernel);
	ck_assert_uint_eq(page.e820_entries, 5);
	ck_assert_uint_eq(page.e820_table[3].addr, taken.gpa);
	ck_assert_uint_eq(page.e820_table[3].size, taken.len);
	ck_assert_uint_eq(page.e820_table[3].type, VDB_E820_RESERVED);
	end();
}
END_TEST

/* Of fields that it does not know itself, an older kernel finds zeroes. */
START_TEST(only_the_kernels_own_header_is_copied)
{
	begin();
	add(0, 4 * MIB);
	kernel_bzimage(&k, code, sizeof(code));
	k.setup->handover_offset = 0x77777777;
	k.setup->jump = 0x62eb;
	try_load((struct vdb_boot_config){0});
	ck_assert_uint_eq(zero_page().hdr.handover_offset, 0);
	ck_assert_uint_eq(zero_page().hdr.init_size, 0x10000);
	end();
}
END_TEST

START_TEST(an_initrd_lies_as_high_as_it_may)
{
	begin();
	add(0, 4 * MIB);
	add(2 * GIB - 4 * MIB, 4 * MIB);
	add(3 * GIB - 4 * MIB, 4 * MIB);
	add(4 * GIB, 4 * MIB);
	make_initrd(0x12345);
	kernel_bzimage(&k, code, sizeof(code));
	try_load((struct vdb_boot_config){.initrd = initrd_path});
	ck_assert_uint_eq(info.initrd, 2 * GIB - 0x13000);
	check_bytes(info.initrd, code, sizeof(code));
	k.setup->xloadflags |= XLF_CAN_BE_LOADED_ABOVE_4G;
	try_load((struct vdb_boot_config){.initrd = initrd_path});
	ck_assert_uint_eq(info.initrd, 3 * GIB - 0x13000);
	ck_assert_uint_eq(zero_page().hdr.ramdisk_image, info.initrd);
	ck_assert_uint_eq(zero_page().hdr.ramdisk_size, 0x12345);
	kernel_remove(initrd_path);
	end();
}
END_TEST

START_TEST(above_4_gib_if_there_is_no_room_below)
{
	begin();
	add(0, 4 * MIB);
	add(4 * GIB, 16 * MIB);
	make_initrd(8 * MIB);
	kernel_bzimage(&k, code, sizeof(code));
	k.setup->xloadflags |= XLF_CAN_BE_LOADED_ABOVE_4G;
	try_load((struct vdb_boot_config){.initrd = initrd_path});
	ck_assert_uint_eq(info.initrd, 4 * GIB + 8 * MIB);
	ck_assert_uint_eq(zero_page().hdr.ramdisk_image, 8 * MIB);
	ck_assert_uint_eq(zero_page().ext_ramdisk_image, 1);
	check_bytes(info.initrd, code, sizeof(code));
	kernel_remove(initrd_path);
	end();
}
END_TEST

/* The kernel is in the way at the top: below it, then. */
START_TEST(never_upon_the_kernel)
{
	begin();
	add(0, 4 * MIB);
	make_initrd(MIB);
	kernel_bzimage(&k, code, sizeof(code));
	k.setup->pref_address = 2 * MIB + MIB / 2;
	k.setup->init_size = MIB;
	try_load((struct vdb_boot_config){.initrd = initrd_path});
	ck_assert_uint_eq(info.initrd, MIB + MIB / 2);
	kernel_remove(initrd_path);
	end();
}
END_TEST

SUITE("boot_load", an_elf_file_lies_where_it_says_and_its_bss_is_zero, across_regions_too,
      the_pvh_note_is_found_behind_others, a_bzimage_lies_where_it_would_like_to_be, or_above_if_it_may,
      only_the_kernels_own_header_is_copied, an_initrd_lies_as_high_as_it_may,
      above_4_gib_if_there_is_no_room_below, never_upon_the_kernel)
