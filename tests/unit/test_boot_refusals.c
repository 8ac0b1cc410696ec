/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that cannot be loaded are refused, and the message says why. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vdb/boot.h>
#include <vdb/error.h>

#include "image.h"
#include "kernels.h"
#include "suite.h"

#define RAM 0x400000u

static const unsigned char code[64] = {0xf4};
static struct kernel k;
static char path[64];

/* What vdb_boot_load() says to this configuration; config.kernel NULL: k. */
static int load_into(uint64_t ram, struct vdb_boot_config config, struct vdb_boot_info *info)
{
	const struct vdb_region_config region = {.size = sizeof(region), .len = ram};
	struct vdb_mem *mem;
	int rc;

	config.size = sizeof(config);
	info->size = sizeof(*info);
	if (!config.kernel) {
		kernel_write(&k, path);
		config.kernel = path;
	}
	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	ck_assert_int_eq(vdb_mem_add(mem, &region), 0);
	rc = vdb_boot_load(mem, &config, info);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	if (config.kernel == path)
		kernel_remove(path);
	return rc;
}

static void refused(int err, const char *words, struct vdb_boot_config config)
{
	struct vdb_boot_info info;

	ck_assert_int_eq(load_into(RAM, config, &info), -err);
	ck_assert_msg(strstr(vdb_errmsg(), words), "'%s' is not in: %s", words, vdb_errmsg());
}

#define REFUSED(err, words) refused(err, words, (struct vdb_boot_config){0})

static void taken(void)
{
	struct vdb_boot_info info;

	ck_assert_msg(!load_into(RAM, (struct vdb_boot_config){0}, &info), "%s", vdb_errmsg());
}

static void bzimage(void)
{
	kernel_bzimage(&k, code, sizeof(code));
}

static void elf(void)
{
	kernel_elf(&k, code, sizeof(code));
}

START_TEST(what_is_no_kernel)
{
	memset(&k, 0, sizeof(k));
	k.len = 0;
	REFUSED(ENOEXEC, "neither");
	k.len = 3;
	REFUSED(ENOEXEC, "neither");
	k.len = 0x1000;
	REFUSED(ENOEXEC, "neither");
	refused(EINVAL, "no regular file", (struct vdb_boot_config){.kernel = "/tmp"});
	refused(EINVAL, "no regular file", (struct vdb_boot_config){.kernel = "/dev/zero"});
	refused(ENOENT, "/nonexistent", (struct vdb_boot_config){.kernel = "/nonexistent"});
}
END_TEST

START_TEST(a_fifo_is_not_waited_for)
{
	char fifo[64];

	image_store(fifo, "", 0);
	kernel_remove(fifo);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	refused(EINVAL, "no regular file", (struct vdb_boot_config){.kernel = fifo});
	kernel_remove(fifo);
}
END_TEST

START_TEST(configurations_that_are_wrong)
{
	const struct vdb_e820 untyped = {.gpa = 0x1000, .len = 0x1000};
	const struct vdb_e820 low = {.gpa = 0x2000, .len = 0x1000, .type = VDB_E820_RESERVED};

	bzimage();
	refused(EINVAL, "protocol", (struct vdb_boot_config){.protocol = 3});
	refused(EINVAL, "reserved", (struct vdb_boot_config){.reserved_count = 1});
	refused(EINVAL, "type", (struct vdb_boot_config){.reserved = &untyped, .reserved_count = 1});
	refused(ENOSPC, "RAM", (struct vdb_boot_config){.reserved = &low, .reserved_count = 1});
}
END_TEST

START_TEST(bzimages_of_other_kinds)
{
	bzimage();
	taken();
	refused(ENOEXEC, "PVH", (struct vdb_boot_config){.protocol = VDB_BOOT_PVH});
	k.setup->version = 0x20b;
	REFUSED(ENOEXEC, "2.11 is too old");
	bzimage();
	k.setup->xloadflags = 0;
	REFUSED(ENOEXEC, "32 bits only");
	bzimage();
	k.setup->loadflags = 0;
	REFUSED(ENOEXEC, "zImage");
	bzimage();
	k.setup->header++;
	REFUSED(ENOEXEC, "neither");
}
END_TEST

START_TEST(bzimages_that_are_cut_off)
{
	bzimage();
	k.len--;
	REFUSED(EINVAL, "truncated");
	bzimage();
	k.setup->setup_sects = 200;
	REFUSED(EINVAL, "truncated");
	bzimage();
	k.setup->syssize = UINT32_MAX;
	REFUSED(EINVAL, "truncated");
	bzimage();
	k.setup->syssize = 0;
	REFUSED(EINVAL, "malformed");
	bzimage();
	k.setup->jump = 0x10eb;
	REFUSED(EINVAL, "ends at 0x212");
}
END_TEST

START_TEST(bzimages_that_fit_nowhere)
{
	bzimage();
	k.setup->init_size = RAM;
	REFUSED(ENOSPC, "needs 4194304 bytes in one piece at 0x100000 or above");
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "3145728 bytes"));
	bzimage();
	k.setup->pref_address = RAM;
	REFUSED(ENOSPC, "ends with 0 bytes");
	k.setup->pref_address = 0x1000;
	REFUSED(EINVAL, "malformed");
	k.setup->pref_address = UINT64_MAX;
	REFUSED(EINVAL, "malformed");
	bzimage();
	k.setup->kernel_alignment = 0x3000;
	REFUSED(EINVAL, "alignment");
	k.setup->kernel_alignment = 0;
	REFUSED(EINVAL, "alignment");
	bzimage();
	k.setup->kernel_alignment = 0x400000;
	REFUSED(ENOSPC, "or above");
	k.setup->relocatable_kernel = 0; /* it lies where it says */
	taken();
	k.setup->init_size = RAM;
	REFUSED(ENOSPC, "at 0x100000,");
}
END_TEST

START_TEST(elf_files_of_other_kinds)
{
	elf();
	taken();
	k.elf->e_machine = EM_AARCH64;
	REFUSED(ENOEXEC, "machine 183");
	elf();
	k.elf->e_machine = EM_386; /* 64-bit class */
	REFUSED(ENOEXEC, "machine 3");
	elf();
	k.elf->e_type = ET_REL;
	REFUSED(ENOEXEC, "type 1");
	elf();
	k.bytes[EI_DATA] = ELFDATA2MSB;
	REFUSED(ENOEXEC, "big-endian");
	elf();
	k.bytes[EI_CLASS] = 7;
	REFUSED(EINVAL, "class 7");
	elf();
	k.notes->p_type = PT_INTERP;
	REFUSED(ENOEXEC, "program for Linux");
	elf();
	k.notes->p_type = PT_NULL;
	REFUSED(ENOEXEC, "no PVH entry");
	refused(ENOEXEC, "no PVH entry", (struct vdb_boot_config){.protocol = VDB_BOOT_PVH});
	k.load->p_vaddr = 0xffffffff81000000;
	taken();
	kernel_elf32(&k, code, sizeof(code));
	taken();
	refused(ENOEXEC, "32 bits only", (struct vdb_boot_config){.protocol = VDB_BOOT_LINUX});
}
END_TEST

START_TEST(elf_headers_that_lie)
{
	elf();
	k.len = 40;
	REFUSED(EINVAL, "ELF header should be 64 bytes");
	elf();
	k.elf->e_phoff = UINT64_MAX - 8;
	REFUSED(EINVAL, "program headers");
	elf();
	k.elf->e_phoff = k.len;
	REFUSED(EINVAL, "program headers");
	elf();
	k.elf->e_phentsize = 8;
	REFUSED(EINVAL, "of 8 bytes");
	elf();
	k.elf->e_phnum = 0;
	REFUSED(EINVAL, "0 program headers");
	k.elf->e_phnum = 0xffff;
	REFUSED(EINVAL, "65535 program headers");
	elf();
	k.note[16] = 0x80; /* beyond what the file fills */
	REFUSED(EINVAL, "in no segment");
	elf();
	k.elf->e_entry = 0;
	refused(EINVAL, "in no segment", (struct vdb_boot_config){.protocol = VDB_BOOT_LINUX});
}
END_TEST

START_TEST(elf_segments_that_lie)
{
	elf();
	k.load->p_offset = UINT64_MAX;
	REFUSED(EINVAL, "truncated");
	elf();
	k.load->p_filesz = UINT64_MAX;
	REFUSED(EINVAL, "truncated");
	elf();
	k.load->p_filesz += 1;
	REFUSED(EINVAL, "truncated");
	elf();
	k.load->p_memsz = k.load->p_filesz - 1;
	REFUSED(EINVAL, "malformed");
	elf();
	k.load->p_paddr = UINT64_MAX - 8;
	REFUSED(EINVAL, "wraps round");
	elf();
	*k.notes = *k.load;
	REFUSED(EINVAL, "overlap");
}
END_TEST

START_TEST(elf_segments_that_fit_nowhere)
{
	elf();
	k.load->p_memsz = RAM;
	REFUSED(ENOSPC, "4194304 bytes at 0x100000");
	elf();
	k.load->p_paddr = 0x9f000; /* into what is not RAM */
	k.load->p_memsz = 0x2000;
	REFUSED(EINVAL, "in no segment");
	k.note[17] = 0xf0, k.note[18] = 9;
	REFUSED(ENOSPC, "does not lie in RAM");
	elf();
	k.load->p_memsz = 0x100000000;
	REFUSED(EINVAL, "above 4 GiB");
	elf();
	k.load->p_paddr = 0;
	k.note[18] = 0, k.note[16] = 1;
	k.load->p_memsz = 0x1001;
	REFUSED(EINVAL, "page tables");
	k.load->p_memsz = 0x1000;
	taken();
}
END_TEST

START_TEST(notes_that_lie)
{
	elf();
	k.note[4] = 5;
	REFUSED(EINVAL, "longer than that");
	k.note[4] = 0xff, k.note[7] = 0xff;
	REFUSED(EINVAL, "longer than that");
	elf();
	k.note[0] = 0xff, k.note[3] = 0xff;
	REFUSED(EINVAL, "longer than that");
	elf();
	k.note[4] = 2;
	REFUSED(EINVAL, "PVH note has 2 bytes");
	elf();
	memset(k.note + 16, 0, 4);
	REFUSED(EINVAL, "PVH entry is 0");
	elf();
	k.notes->p_filesz = 0x10001;
	REFUSED(EINVAL, "truncated");
	elf();
	k.note[13] = 'y'; /* somebody else's */
	REFUSED(ENOEXEC, "no PVH entry");
}
END_TEST

START_TEST(command_lines_that_are_too_long)
{
	static char line[70000];

	memset(line, 'x', sizeof(line) - 1);
	bzimage();
	refused(EINVAL, "69999 bytes", (struct vdb_boot_config){.cmdline = line});
	line[256] = 0;
	refused(EINVAL, "takes 255", (struct vdb_boot_config){.cmdline = line});
	k.setup->cmdline_size = UINT32_MAX; /* but the room for it ends somewhere */
	memset(line, 'x', sizeof(line) - 1);
	refused(EINVAL, "takes 65535", (struct vdb_boot_config){.cmdline = line});
	elf();
	refused(EINVAL, "takes 2047", (struct vdb_boot_config){.cmdline = line});
}
END_TEST

START_TEST(initrds_that_are_not_there_or_too_large)
{
	char initrd[64];

	bzimage();
	refused(ENOENT, "initrd /nonexistent", (struct vdb_boot_config){.initrd = "/nonexistent"});
	refused(EINVAL, "no regular file", (struct vdb_boot_config){.initrd = "/tmp"});
	image_store(initrd, "", 0);
	refused(EINVAL, "empty", (struct vdb_boot_config){.initrd = initrd});
	ck_assert_int_eq(truncate(initrd, 0x2f0001), 0); /* memory is that and the kernel, but for a byte */
	refused(ENOSPC, "3080193 bytes fit nowhere", (struct vdb_boot_config){.initrd = initrd});
	k.setup->xloadflags |= XLF_CAN_BE_LOADED_ABOVE_4G;
	refused(ENOSPC, "fit nowhere", (struct vdb_boot_config){.initrd = initrd});
	kernel_remove(initrd);
}
END_TEST

SUITE("boot_refusals", what_is_no_kernel, a_fifo_is_not_waited_for, configurations_that_are_wrong,
      bzimages_of_other_kinds, bzimages_that_are_cut_off, bzimages_that_fit_nowhere, elf_files_of_other_kinds,
      elf_headers_that_lie, elf_segments_that_lie, elf_segments_that_fit_nowhere, notes_that_lie,
      command_lines_that_are_too_long, initrds_that_are_not_there_or_too_large)
