/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/memory.h"

#include "base/error.h"

int vdb__vhost_memory_check(const struct vdb__peer_ops *ops, const char *name,
                            const struct vdb__region *region, uint32_t count)
{
	unsigned long long gpa = vdb__region_gpa(region);
	uint64_t offset;

	if (vdb__region_readonly(region))
		return 0;
	if (ops->needs_fds && vdb__region_shared_fd(region, &offset) < 0)
		return vdb__fail(EOPNOTSUPP,
		                 "%s: guest memory at %#llx cannot be shared with another process; make it "
		                 "VDB_MEM_MEMFD, or VDB_MEM_FD without VDB_REGION_PRIVATE",
		                 name, gpa);
	if (count >= ops->regions)
		return vdb__fail(ENOSPC, "%s: guest memory at %#llx is one region too many: %u can be served",
		                 name, gpa, ops->regions);
	return 0;
}

void vdb__vhost_memory_table(const struct vdb__map *map, struct vdb__peer_memory *out)
{
	out->count = 0;
	for (uint32_t i = 0; i < vdb__map_count(map) && out->count < VDB__VHOST_REGIONS; i++) {
		const struct vdb__map_entry *entry = vdb__map_get(map, i);
		struct vdb__peer_region *region = &out->region[out->count];

		if (entry->readonly)
			continue;
		region->gpa = entry->gpa;
		region->len = entry->len;
		region->host = (uintptr_t)entry->host;
		region->fd = vdb__region_shared_fd(entry->region, &region->offset);
		out->count++;
	}
}

uint64_t vdb__vhost_memory_at(const struct vdb__map *map, vdb_gpa_t gpa)
{
	const struct vdb__map_entry *entry = vdb__map_at(map, gpa);

	return entry ? (uintptr_t)vdb__entry_host(entry, gpa) : 0;
}
