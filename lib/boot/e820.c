/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/e820.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "boot/layout.h"
#include "mem/mem.h"

/* One entry cut in two and one put between: the most that a step adds. */
#define ROOM (VDB__E820_MAX + 2u)

struct scratch {
	uint32_t count;
	struct vdb_e820 entries[ROOM];
};

static vdb_gpa_t end_of(const struct vdb_e820 *entry)
{
	return entry->gpa + entry->len;
}

/* Appends, or lengthens the last one. */
static void append(struct scratch *to, vdb_gpa_t from, vdb_gpa_t end, uint32_t type)
{
	struct vdb_e820 *last = to->count ? &to->entries[to->count - 1] : NULL;

	if (from >= end)
		return;
	if (last && last->type == type && end_of(last) == from)
		last->len += end - from;
	else
		to->entries[to->count++] = (struct vdb_e820){.gpa = from, .len = end - from, .type = type};
}

int vdb__e820_put(struct vdb__e820 *map, vdb_gpa_t gpa, uint64_t len, uint32_t type)
{
	vdb_gpa_t end = gpa + len;
	struct scratch next = {0};
	uint32_t i = 0;

	if (!len || end < gpa)
		return vdb__fail(EINVAL, "memory map: %#llx bytes at %#llx are no range",
		                 (unsigned long long)len, (unsigned long long)gpa);
	for (; i < map->count && map->entries[i].gpa < gpa; i++) {
		const struct vdb_e820 *old = &map->entries[i];

		append(&next, old->gpa, end_of(old) < gpa ? end_of(old) : gpa, old->type);
		if (end_of(old) > end)
			break; /* its tail comes behind the new one */
	}
	append(&next, gpa, end, type);
	for (; i < map->count; i++) {
		const struct vdb_e820 *old = &map->entries[i];

		append(&next, old->gpa > end ? old->gpa : end, end_of(old), old->type);
	}
	if (next.count > VDB__E820_MAX)
		return vdb__fail(ENOSPC, "memory map: more than %u ranges; use fewer regions", VDB__E820_MAX);
	map->count = next.count;
	memcpy(map->entries, next.entries, next.count * sizeof(next.entries[0]));
	return 0;
}

static int put_regions(struct vdb__e820 *map, const struct vdb__map *regions)
{
	int err = 0;

	for (uint32_t i = 0; i < regions->count && !err; i++) {
		const struct vdb__map_entry *entry = &regions->entries[i];

		if (!entry->readonly)
			err = vdb__e820_put(map, entry->gpa, entry->len, VDB_E820_RAM);
	}
	return err;
}

int vdb__e820_init(struct vdb__e820 *map, struct vdb_mem *mem)
{
	struct vdb__map *regions = vdb__mem_map(mem);
	int err;

	map->count = 0;
	err = put_regions(map, regions);
	vdb__map_put(regions);
	if (err)
		return err;
	return vdb__e820_put(map, VDB__BASE_END, VDB__HIGH - VDB__BASE_END, VDB_E820_RESERVED);
}

bool vdb__e820_is_ram(const struct vdb__e820 *map, vdb_gpa_t gpa, uint64_t len)
{
	for (uint32_t i = 0; i < map->count; i++) {
		const struct vdb_e820 *entry = &map->entries[i];

		if (entry->type == VDB_E820_RAM && gpa >= entry->gpa && gpa < end_of(entry))
			return len <= end_of(entry) - gpa;
	}
	return false;
}

/* What of the entry is RAM inside the span. */
static struct vdb__span clip(const struct vdb_e820 *entry, struct vdb__span span)
{
	struct vdb__span ram = {.from = entry->gpa, .to = end_of(entry)};

	if (ram.from < span.from)
		ram.from = span.from;
	if (ram.to > span.to)
		ram.to = span.to;
	if (entry->type != VDB_E820_RAM || ram.to < ram.from)
		ram.to = ram.from;
	return ram;
}

uint64_t vdb__e820_ram(const struct vdb__e820 *map, struct vdb__span span)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < map->count; i++) {
		struct vdb__span ram = clip(&map->entries[i], span);

		sum += ram.to - ram.from;
	}
	return sum;
}

bool vdb__e820_lowest(const struct vdb__e820 *map, struct vdb__span span, uint64_t len, uint64_t align,
                      vdb_gpa_t *gpa)
{
	for (uint32_t i = 0; i < map->count; i++) {
		struct vdb__span ram = clip(&map->entries[i], span);
		uint64_t gap = -ram.from & (align - 1);

		if (ram.to - ram.from >= gap && ram.to - ram.from - gap >= len) {
			*gpa = ram.from + gap;
			return true;
		}
	}
	return false;
}

/* The highest place in [from, to). */
static bool top_of(vdb_gpa_t from, vdb_gpa_t to, uint64_t len, uint64_t align, vdb_gpa_t *gpa)
{
	if (to < from || to - from < len)
		return false;
	*gpa = (to - len) & ~(align - 1);
	return *gpa >= from;
}

bool vdb__e820_highest(const struct vdb__e820 *map, struct vdb__span span, struct vdb__span used,
                       uint64_t len, uint64_t align, vdb_gpa_t *gpa)
{
	for (uint32_t i = map->count; i-- > 0;) {
		struct vdb__span ram = clip(&map->entries[i], span);
		vdb_gpa_t above = used.to > ram.from ? used.to : ram.from;
		vdb_gpa_t below = used.from < ram.to ? used.from : ram.to;

		if (top_of(above, ram.to, len, align, gpa) || top_of(ram.from, below, len, align, gpa))
			return true;
	}
	return false;
}
