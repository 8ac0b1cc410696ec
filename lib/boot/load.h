/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of vdb_boot_load(): what its steps hand on. */
#ifndef VDB_BOOT_LOAD_H
#define VDB_BOOT_LOAD_H

#include <asm/bootparam.h>

#include "boot/e820.h"
#include "boot/image.h"
#include "boot/layout.h"

struct vdb__boot {
	struct vdb_mem *mem;
	const struct vdb_boot_config *config;
	struct vdb__e820 map;
	struct vdb__image kernel, initrd;
	struct vdb_boot_info info;
	struct setup_header setup; /* LINUX: what the kernel says of itself, and is told */
	vdb_gpa_t initrd_end;      /* it ends here or below */
	bool initrd_anywhere;      /* or, if there is no room, above 4 GiB */
};

#define VDB__4G 0x100000000ull

/* What this file calls a kernel is at the start of it. */
bool vdb__elf_is(const struct vdb__image *kernel);

/* Loads the kernel: sets info's protocol, entry, kernel, kernel_len, cmdline_max; setup; initrd_*. */
int vdb__elf_load(struct vdb__boot *boot);
int vdb__bzimage_load(struct vdb__boot *boot);

/* Loads the initrd where the kernel may have it. */
int vdb__initrd_load(struct vdb__boot *boot);

/* Copies the command line, if the kernel takes one so long. */
int vdb__cmdline_load(struct vdb__boot *boot);

/* Writes what tells the kernel all that. */
int vdb__zero_page_write(struct vdb__boot *boot);
int vdb__pvh_write(struct vdb__boot *boot);

#endif
