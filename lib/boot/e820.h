/* SPDX-License-Identifier: Apache-2.0 */
/* The memory map that a guest is told: sorted, disjoint, neighbours of one type merged. */
#ifndef VDB_BOOT_E820_H
#define VDB_BOOT_E820_H

#include <stdbool.h>
#include <vdb/boot.h>

#define VDB__E820_MAX 128u /* what fits the zero page */

struct vdb__e820 {
	uint32_t count;
	struct vdb_e820 entries[VDB__E820_MAX];
};

/* Bytes [from, to), if from < to. */
struct vdb__span {
	vdb_gpa_t from, to;
};

/* Makes [gpa, gpa + len) be of `type`, whatever was there. -EINVAL: wraps round, or is empty; -ENOSPC:
 * too many entries; nothing has changed then. */
int vdb__e820_put(struct vdb__e820 *map, vdb_gpa_t gpa, uint64_t len, uint32_t type);

/* The writable regions of `mem` are RAM, what a PC has between base memory and 1 MiB is not. */
int vdb__e820_init(struct vdb__e820 *map, struct vdb_mem *mem);

bool vdb__e820_is_ram(const struct vdb__e820 *map, vdb_gpa_t gpa, uint64_t len);

/* Bytes of RAM inside `span`, all pieces together. */
uint64_t vdb__e820_ram(const struct vdb__e820 *map, struct vdb__span span);

/* The lowest, or the highest, multiple of `align` (a power of two) inside `span` with `len` bytes of RAM
 * behind it that touch nothing of `used`. False: there is none. */
bool vdb__e820_lowest(const struct vdb__e820 *map, struct vdb__span span, uint64_t len, uint64_t align,
                      vdb_gpa_t *gpa);
bool vdb__e820_highest(const struct vdb__e820 *map, struct vdb__span span, struct vdb__span used,
                       uint64_t len, uint64_t align, vdb_gpa_t *gpa);

#endif
