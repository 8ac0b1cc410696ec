/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels: by PVH, or Linux's vmlinux by the 64-bit boot protocol. */
#include "boot/elf.h"

#include <elf.h>
#include <string.h>

#include "base/error.h"
#include "boot/load.h"

#define LINUX_CMDLINE 2047u              /* COMMAND_LINE_SIZE - 1: the rest it would cut off silently */
#define LINUX_INITRD_END 0x80000000ull   /* its initrd_addr_max + 1 */
#define LINUX_TEXT 0xffffffff80000000ull /* where its code is linked, or above */

#define refuse(err, boot, fmt, ...) vdb__fail(err, "kernel %s: " fmt, (boot)->kernel.path, ##__VA_ARGS__)

bool vdb__elf_is(const struct vdb__image *kernel)
{
	char magic[SELFMAG];

	return kernel->len >= SELFMAG && !vdb__image_read(kernel, "magic", 0, magic, SELFMAG) &&
	       !memcmp(magic, ELFMAG, SELFMAG);
}

/* Whether address `entry` is in a loaded segment of the file, not beyond. */
static bool has(const struct vdb__elf *elf, uint64_t entry)
{
	for (uint32_t i = 0; i < elf->count; i++) {
		const struct vdb__segment *s = &elf->segments[i];

		if (s->type == PT_LOAD && entry >= s->gpa && entry - s->gpa < s->file_len)
			return true;
	}
	return false;
}

/* Without being told, only what is linked like Linux is taken for it. */
static bool looks_like_linux(const struct vdb__elf *elf)
{
	for (uint32_t i = 0; i < elf->count; i++) {
		if (elf->segments[i].type == PT_LOAD && elf->segments[i].vaddr >= LINUX_TEXT)
			return true;
	}
	return false;
}

static int choose(struct vdb__boot *boot, const struct vdb__elf *elf)
{
	struct vdb_boot_info *info = &boot->info;
	uint32_t wish = boot->config->protocol;

	if (wish == VDB_BOOT_PVH || (wish == VDB_BOOT_AUTO && elf->pvh_entry)) {
		if (!elf->pvh_entry)
			return refuse(ENOEXEC, boot, "has no PVH entry (note 18 of Xen); is it a kernel?");
		info->protocol = VDB_BOOT_PVH;
		info->entry = elf->pvh_entry;
	} else {
		if (elf->bits == 32)
			return refuse(ENOEXEC, boot, "is for 32 bits only, without a PVH entry");
		if (wish == VDB_BOOT_AUTO && !looks_like_linux(elf))
			return refuse(ENOEXEC, boot,
			              "has no PVH entry and does not look like Linux; is it a kernel?");
		info->protocol = VDB_BOOT_LINUX;
		info->entry = elf->entry;
	}
	if (!has(elf, info->entry))
		return refuse(EINVAL, boot, "malformed: its entry %#llx is in no segment",
		              (unsigned long long)info->entry);
	return 0;
}

static int check_place(const struct vdb__boot *boot, const struct vdb__segment *s)
{
	unsigned long long from = s->gpa, len = s->len;

	if (s->gpa < VDB__INFO_END && s->gpa + s->len > VDB_BOOT_TABLES)
		return refuse(EINVAL, boot,
		              "a segment of %#llx bytes at %#llx lies upon the page tables or the boot "
		              "information at %#x..%#x; link it elsewhere",
		              len, from, VDB_BOOT_TABLES, VDB__INFO_END);
	if (s->gpa + s->len > VDB__4G)
		return refuse(EINVAL, boot, "a segment of %#llx bytes at %#llx lies above 4 GiB", len, from);
	if (!vdb__e820_is_ram(&boot->map, s->gpa, s->len))
		return refuse(ENOSPC, boot,
		              "a segment of %llu bytes at %#llx does not lie in RAM, of which %llu bytes "
		              "are below 4 GiB; give the guest more memory",
		              len, from,
		              (unsigned long long)vdb__e820_ram(&boot->map, (struct vdb__span){0, VDB__4G}));
	return 0;
}

static int zero(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t len)
{
	static const unsigned char zeroes[0x10000];
	int err = 0;

	for (uint64_t n; len && !err; len -= n, gpa += n) {
		n = len < sizeof(zeroes) ? len : sizeof(zeroes);
		err = vdb_mem_write(mem, gpa, zeroes, n);
	}
	return err;
}

static int load_segment(struct vdb__boot *boot, const struct vdb__segment *s)
{
	int err = vdb__image_load(&boot->kernel, "an ELF segment", s->offset, s->file_len, boot->mem, s->gpa);

	return err ? err : zero(boot->mem, s->gpa + s->file_len, s->len - s->file_len);
}

/* Checks all before it writes any; the kernel is what lies from the first to the last. */
static int load_segments(struct vdb__boot *boot, const struct vdb__elf *elf)
{
	vdb_gpa_t from = UINT64_MAX, to = 0;
	int err = 0;

	for (uint32_t i = 0; i < elf->count && !err; i++) {
		const struct vdb__segment *s = &elf->segments[i];

		if (s->type != PT_LOAD || !s->len)
			continue;
		err = check_place(boot, s);
		from = s->gpa < from ? s->gpa : from;
		to = s->gpa + s->len > to ? s->gpa + s->len : to;
	}
	for (uint32_t i = 0; i < elf->count && !err; i++) {
		if (elf->segments[i].type == PT_LOAD)
			err = load_segment(boot, &elf->segments[i]);
	}
	boot->info.kernel = from;
	boot->info.kernel_len = to - from;
	return err;
}

/* What a bzImage's header would say. */
static void describe(struct vdb__boot *boot)
{
	boot->info.cmdline_max = LINUX_CMDLINE;
	boot->initrd_end = LINUX_INITRD_END;
	boot->setup = (struct setup_header){
	        .boot_flag = 0xaa55,
	        .header = 0x53726448,
	        .version = 0x020f,
	        .loadflags = LOADED_HIGH,
	        .xloadflags = XLF_KERNEL_64,
	        .cmdline_size = LINUX_CMDLINE,
	        .initrd_addr_max = (uint32_t)(LINUX_INITRD_END - 1),
	        .kernel_alignment = 0x1000000,
	};
}

int vdb__elf_load(struct vdb__boot *boot)
{
	struct vdb__elf elf;
	int err = vdb__elf_parse(&elf, &boot->kernel);

	if (!err)
		err = vdb__elf_find_pvh(&elf);
	if (!err)
		err = choose(boot, &elf);
	if (!err)
		err = load_segments(boot, &elf);
	if (!err)
		describe(boot);
	return err;
}
