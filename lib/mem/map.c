/* SPDX-License-Identifier: Apache-2.0 */
/* Versions of the map: sorted, immutable, each holding its regions. */
#include <stdlib.h>

#include "base/error.h"
#include "mem/mem.h"

static struct vdb__map *new_map(uint32_t count, uint64_t version)
{
	struct vdb__map *map = malloc(sizeof(*map) + count * sizeof(map->entries[0]));

	if (!map)
		return NULL;
	map->refs = 1;
	map->count = 0;
	map->version = version;
	return map;
}

static void append(struct vdb__map *map, struct vdb__region *region)
{
	struct vdb__map_entry *entry = &map->entries[map->count++];

	vdb__region_get(region);
	entry->gpa = region->gpa;
	entry->len = region->len;
	entry->host = region->host;
	entry->region = region;
	entry->readonly = region->readonly;
}

int vdb__map_empty(struct vdb__map **out)
{
	*out = new_map(0, 1);
	return *out ? 0 : vdb__fail(ENOMEM, "memory map: no memory");
}

int vdb__map_with(const struct vdb__map *from, struct vdb__region *region, struct vdb__map **out)
{
	struct vdb__map *map = new_map(from->count + 1, from->version + 1);
	uint32_t i = 0;

	if (!map)
		return vdb__fail(ENOMEM, "memory map: no memory");
	for (; i < from->count && from->entries[i].gpa < region->gpa; i++)
		append(map, from->entries[i].region);
	append(map, region);
	for (; i < from->count; i++)
		append(map, from->entries[i].region);
	*out = map;
	return 0;
}

int vdb__map_without(const struct vdb__map *from, const struct vdb__region *region, struct vdb__map **out)
{
	struct vdb__map *map = new_map(from->count, from->version + 1);

	if (!map)
		return vdb__fail(ENOMEM, "memory map: no memory");
	for (uint32_t i = 0; i < from->count; i++) {
		if (from->entries[i].region != region)
			append(map, from->entries[i].region);
	}
	*out = map;
	return 0;
}

void vdb__map_put(struct vdb__map *map)
{
	if (!map || !vdb__ref_put(&map->refs))
		return;
	for (uint32_t i = 0; i < map->count; i++)
		vdb__region_put(map->entries[i].region);
	free(map);
}

uint32_t vdb__map_find(const struct vdb__map *map, vdb_gpa_t gpa)
{
	uint32_t low = 0, high = map->count, mid;
	const struct vdb__map_entry *entry;

	while (low < high) {
		mid = low + (high - low) / 2;
		entry = &map->entries[mid];
		if (entry->gpa <= gpa && gpa - entry->gpa >= entry->len)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct vdb__map_entry *vdb__map_at(const struct vdb__map *map, vdb_gpa_t gpa)
{
	uint32_t i = vdb__map_find(map, gpa);

	return i < map->count && map->entries[i].gpa <= gpa ? &map->entries[i] : NULL;
}

uint32_t vdb__map_count(const struct vdb__map *map)
{
	return map->count;
}

const struct vdb__map_entry *vdb__map_get(const struct vdb__map *map, uint32_t i)
{
	return &map->entries[i];
}

bool vdb__map_overlaps(const struct vdb__map *map, vdb_gpa_t gpa, uint64_t len)
{
	uint32_t i = vdb__map_find(map, gpa);

	if (!len || i == map->count)
		return false;
	return map->entries[i].gpa <= gpa || map->entries[i].gpa - gpa < len;
}
