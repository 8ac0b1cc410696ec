/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages given back to the host while their region is in use. How depends on what is behind the region; what
 * others may see through the same file, or would come back as something else than zeroes, is left alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "base/error.h"
#include "base/export.h"
#include "mem/mem.h"

#define LL(x) ((unsigned long long)(x))

/* Memory with a name: what is punched is gone, and no disk loses anything. Other files are images. */
static bool is_memory(const struct vdb__region *region, uint64_t *page)
{
	struct statfs fs;

	if (fstatfs(region->fd, &fs))
		return false;
	if (fs.f_type == HUGETLBFS_MAGIC)
		*page = (uint64_t)fs.f_bsize;
	return fs.f_type == HUGETLBFS_MAGIC || fs.f_type == TMPFS_MAGIC;
}

/* A private page of a file comes back as the file's. Only of the library's own memfd is that a zero. */
static uint8_t way(const struct vdb__region *region, const struct vdb_region_config *c)
{
	if (!(c->flags & VDB_REGION_DISCARDABLE) || c->flags & VDB_REGION_READONLY)
		return VDB__KEEP;
	if (region->fd < 0)
		return VDB__DONTNEED;
	if (!(c->flags & VDB_REGION_PRIVATE))
		return VDB__PUNCH;
	return c->backing == VDB_MEM_MEMFD ? VDB__DONTNEED : VDB__KEEP;
}

void vdb__discard_prepare(struct vdb__region *region, const struct vdb_region_config *c)
{
	region->page = c->hugetlb_log2 ? UINT64_C(1) << c->hugetlb_log2 : VDB_PAGE_SIZE;
	region->discard = way(region, c);
	if (region->discard != VDB__KEEP && region->fd >= 0 && !is_memory(region, &region->page))
		region->discard = VDB__KEEP;
}

static int give_back(const struct vdb__region *region, uint64_t offset, uint64_t len)
{
	int rc;

	if (region->discard == VDB__DONTNEED)
		rc = madvise(region->host + offset, len, MADV_DONTNEED);
	else
		rc = fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		               (off_t)(region->fd_offset + offset), (off_t)len);
	return rc ? -errno : 0;
}

int64_t vdb__region_discard(struct vdb__region *region, const void *host, uint64_t len)
{
	uint64_t from = (uint64_t)((const unsigned char *)host - region->host), to = from + len;
	int rc;

	if (region->discard == VDB__KEEP)
		return -EPERM;
	/* A region of huge pages is a whole number of them, so that `from` cannot leave it. */
	from = (from + region->page - 1) / region->page * region->page;
	to = to / region->page * region->page;
	if (from >= to)
		return 0;
	rc = give_back(region, from, to - from);
	if (rc)
		return rc;
	/* They have changed, as by a write. */
	if (vdb__dirty_wanted(region->mem))
		vdb__dirty_mark(region, region->host + from, to - from);
	return (int64_t)(to - from);
}

uint64_t vdb__region_page(const struct vdb__region *region)
{
	return region->page;
}

static int64_t fail(int64_t rc, vdb_gpa_t gpa, uint64_t len)
{
	if (rc == -EPERM)
		return vdb__fail(
		        EPERM,
		        "discard of [%#llx, +%#llx): the region is not VDB_REGION_DISCARDABLE, or of "
		        "a kind whose pages are kept",
		        LL(gpa), LL(len));
	return vdb__fail_sys((int)-rc, "discard of [%#llx, +%#llx)", LL(gpa), LL(len));
}

VDB_EXPORT int64_t vdb_mem_discard(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t len)
{
	struct vdb__map *map = vdb__mem_map(mem);
	const struct vdb__map_entry *entry = vdb__map_at(map, gpa);
	int64_t rc;

	if (!entry || len > vdb__entry_room(entry, gpa)) {
		rc = vdb__fail(ENOENT, "discard of [%#llx, +%#llx): not inside one region", LL(gpa), LL(len));
	} else {
		rc = vdb__region_discard(entry->region, vdb__entry_host(entry, gpa), len);
		if (rc < 0)
			rc = fail(rc, gpa, len);
	}
	vdb__map_put(map);
	return rc;
}
