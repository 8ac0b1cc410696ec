/* SPDX-License-Identifier: Apache-2.0 */
/* What matters of an ELF file, of either class, for booting it. */
#ifndef VDB_BOOT_ELF_H
#define VDB_BOOT_ELF_H

#include "boot/image.h"

#define VDB__ELF_SEGMENTS 64u /* program headers that are looked at; files with more are refused */

struct vdb__segment {
	uint32_t type; /* PT_* */
	uint64_t offset, file_len;
	uint64_t vaddr;
	vdb_gpa_t gpa; /* physical address */
	uint64_t len;  /* in memory */
	uint64_t align;
};

struct vdb__elf {
	const struct vdb__image *image;
	int bits; /* 32 or 64 */
	uint64_t entry;
	uint64_t pvh_entry; /* 0: none */
	uint32_t count;
	struct vdb__segment segments[VDB__ELF_SEGMENTS];
};

/* Reads the headers: all offsets and lengths are inside the file afterwards, and no address wraps round. */
int vdb__elf_parse(struct vdb__elf *elf, const struct vdb__image *image);

/* Finds the PVH entry among the notes. */
int vdb__elf_find_pvh(struct vdb__elf *elf);

#endif
