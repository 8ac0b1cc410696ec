/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's memory: two regions side by side, a hole, and a read-only one, which ends where addresses end, or
 * not. Small ones, so that Eva can go through every place in them. Who writes to the last finds a constant.
 */
#ifndef PROOF_SPACE_H
#define PROOF_SPACE_H

#include "mem/mem.h"

#define SPACE_REGIONS 3
#define SPACE_LOW (2 * VDB_PAGE_SIZE - SPACE_LEN) /* the border between the two is one of pages */
#ifndef SPACE_LEN
#define SPACE_LEN 8u
#endif
#define SPACE_LAST (0 - (uint64_t)SPACE_LEN)

#define SPACE_ALL (4 * SPACE_LEN)

static unsigned char space_ram0[SPACE_LEN], space_ram1[2 * SPACE_LEN];
static const unsigned char space_rom[SPACE_LEN];
static struct vdb__region space_region[SPACE_REGIONS];
static struct vdb_mem space_mem;
/* A struct vdb__map; Eva knows none that ends in an array of any size. */
static unsigned char space_bytes[sizeof(struct vdb__map) + SPACE_REGIONS * sizeof(struct vdb__map_entry)];

static struct vdb__map *space_map(void)
{
	return (struct vdb__map *)(void *)space_bytes;
}

static void space_enter(uint32_t i, vdb_gpa_t gpa, const unsigned char *host, uint64_t len, bool readonly)
{
	struct vdb__map *map = space_map();

	map->entries[i] = (struct vdb__map_entry){.gpa = gpa,
	                                          .len = len,
	                                          .host = (unsigned char *)host,
	                                          .region = &space_region[i],
	                                          .readonly = readonly};
	map->count = i + 1;
	if (!readonly)
		Frama_C_make_unknown((char *)host, len);
}

/* Its last hits are the first region, as in the beginning. */
static struct vdb__view space_view(void)
{
	struct vdb__map *map = space_map();

	space_enter(0, SPACE_LOW, space_ram0, sizeof(space_ram0), false);
	space_enter(1, SPACE_LOW + SPACE_LEN, space_ram1, sizeof(space_ram1), false);
	if (any & 1)
		space_enter(2, SPACE_LAST, space_rom, sizeof(space_rom), true);
	else /* there is something behind it */
		space_enter(2, SPACE_LAST / 2, space_rom, sizeof(space_rom), true);
	map->refs = 1;
	space_mem.current = map;
	return (struct vdb__view){.mem = &space_mem,
	                          .map = map,
	                          .tracking = &space_mem.tracking,
	                          .data = &map->entries[0],
	                          .word = &map->entries[0]};
}

/* Any range at all, shown to Eva hole by hole, and each place in a region, each length that may fit, by
 * itself: it knows no relation between a place and the room behind it. */
static vdb_gpa_t space_any_gpa(void)
{
	const vdb_gpa_t last = space_map()->entries[2].gpa;
	vdb_gpa_t gpa = any;

	if (gpa < SPACE_LOW)
		return gpa;
	if (gpa < SPACE_LOW + 3 * SPACE_LEN) {
		/*@ split gpa; */
		return gpa;
	}
	if (gpa < last)
		return gpa;
	if (gpa - last < SPACE_LEN) {
		/*@ split gpa; */
		return gpa;
	}
	return gpa;
}

static uint64_t space_any_len(void)
{
	uint64_t len = any;

	if (len <= SPACE_ALL) {
		/*@ split len; */
		return len;
	}
	return len;
}

/* ---- What the sources call, of it ---- */

bool vdb__dirty_wanted(struct vdb_mem *mem)
{
	(void)mem;
	return any & 1;
}

void vdb__dirty_mark(struct vdb__region *region, const void *host, uint64_t len)
{
	const unsigned char *p = host;

	(void)region;
	CLAIM(len > 0);
	CLAIM(p[0] + p[len - 1] >= 0);
}

struct vdb__map *vdb__mem_map(struct vdb_mem *mem)
{
	vdb__ref_get(&mem->current->refs);
	return mem->current;
}

void vdb__region_get(struct vdb__region *region)
{
	(void)region;
}

void vdb__region_put(struct vdb__region *region)
{
	(void)region;
}

#endif
