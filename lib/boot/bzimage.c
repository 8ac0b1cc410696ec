/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bzImage by the 64-bit boot protocol (Linux, Documentation/arch/x86/boot.rst): real-mode code that is
 * skipped, but for the header in it, then a kernel that unpacks itself.
 */
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "boot/load.h"

#define SECTOR 512u
#define SETUP offsetof(struct boot_params, hdr) /* the same offset in file and zero page */
#define JUMP_END 0x202u                         /* the header ends where the jump in front of it goes to */
#define BOOT_FLAG 0xaa55u
#define MAGIC 0x53726448u /* HdrS */
#define VERSION 0x020cu   /* the first with xloadflags */
#define ENTRY64 0x200u

#define refuse(err, boot, fmt, ...) vdb__fail(err, "kernel %s: " fmt, (boot)->kernel.path, ##__VA_ARGS__)

static int check_magic(const struct vdb__boot *boot)
{
	const struct setup_header *setup = &boot->setup;

	if (setup->boot_flag != BOOT_FLAG || setup->header != MAGIC)
		return refuse(ENOEXEC, boot, "is neither an ELF file nor a bzImage");
	if (boot->config->protocol == VDB_BOOT_PVH)
		return refuse(ENOEXEC, boot,
		              "a bzImage has no PVH entry; take the vmlinux, or another protocol");
	if (setup->version < VERSION)
		return refuse(ENOEXEC, boot,
		              "boot protocol %u.%02u is too old, 2.12 (Linux 3.8) is the least",
		              setup->version >> 8, setup->version & 0xffu);
	if (!(setup->xloadflags & XLF_KERNEL_64))
		return refuse(ENOEXEC, boot, "is for 32 bits only; take one for x86-64");
	if (!(setup->loadflags & LOADED_HIGH))
		return refuse(ENOEXEC, boot, "is a zImage, which loads below 1 MiB; take a bzImage");
	return 0;
}

/* Reads as much of the header as this kernel has, the rest is zeroes. */
static int read_setup(struct vdb__boot *boot)
{
	unsigned char start[SETUP + sizeof(boot->setup)];
	size_t end;
	int err;

	if (boot->kernel.len < sizeof(start))
		return refuse(ENOEXEC, boot, "has %llu bytes and is neither an ELF file nor a bzImage",
		              (unsigned long long)boot->kernel.len);
	err = vdb__image_read(&boot->kernel, "setup header", 0, start, sizeof(start));
	if (err)
		return err;
	memcpy(&boot->setup, start + SETUP, sizeof(boot->setup));
	err = check_magic(boot);
	if (err)
		return err;
	end = JUMP_END + start[JUMP_END - 1];
	if (end < SETUP + offsetof(struct setup_header, handover_offset))
		return refuse(EINVAL, boot, "malformed: its setup header ends at %#zx", end);
	if (end < sizeof(start))
		memset((char *)&boot->setup + (end - SETUP), 0, sizeof(start) - end);
	return 0;
}

/* The lowest place from where it would like to be on; from there it moves only upwards. */
static int place(struct vdb__boot *boot)
{
	const struct setup_header *setup = &boot->setup;
	struct vdb__span span = {.from = setup->pref_address, .to = VDB__4G};
	uint64_t align = setup->relocatable_kernel ? setup->kernel_alignment : 1;
	uint64_t len = boot->info.kernel_len;

	if (!align || align & (align - 1))
		return refuse(EINVAL, boot, "malformed: its alignment is %#llx", (unsigned long long)align);
	if (span.from < VDB__HIGH || span.from >= VDB__4G)
		return refuse(EINVAL, boot, "malformed: it would like to lie at %#llx",
		              (unsigned long long)span.from);
	if (!setup->relocatable_kernel)
		span.to = span.from + len;
	if (vdb__e820_lowest(&boot->map, span, len, align, &boot->info.kernel))
		return 0;
	return refuse(
	        ENOSPC, boot,
	        "needs %llu bytes in one piece at %#llx%s, guest memory below 4 GiB ends with %llu bytes "
	        "from there; give it more",
	        (unsigned long long)len, (unsigned long long)span.from,
	        setup->relocatable_kernel ? " or above" : "",
	        (unsigned long long)vdb__e820_ram(&boot->map, (struct vdb__span){span.from, VDB__4G}));
}

static void describe(struct vdb__boot *boot)
{
	const struct setup_header *setup = &boot->setup;

	boot->info.protocol = VDB_BOOT_LINUX;
	boot->info.entry = boot->info.kernel + ENTRY64;
	boot->info.cmdline_max = setup->cmdline_size;
	boot->initrd_anywhere = setup->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G;
	boot->initrd_end = boot->initrd_anywhere ? VDB__4G : setup->initrd_addr_max + 1ull;
}

int vdb__bzimage_load(struct vdb__boot *boot)
{
	int err = read_setup(boot);
	uint64_t skip, len;

	if (err)
		return err;
	/* 0 means 4, for the oldest. */
	skip = (1u + (boot->setup.setup_sects ? boot->setup.setup_sects : 4u)) * SECTOR;
	len = boot->setup.syssize * 16ull;
	err = vdb__image_has(&boot->kernel, "protected-mode code", skip, len);
	if (err)
		return err;
	if (len <= ENTRY64)
		return refuse(EINVAL, boot, "malformed: %llu bytes of code", (unsigned long long)len);
	boot->info.kernel_len = boot->setup.init_size > len ? boot->setup.init_size : len;
	err = place(boot);
	if (err)
		return err;
	describe(boot);
	return vdb__image_load(&boot->kernel, "protected-mode code", skip, len, boot->mem, boot->info.kernel);
}
