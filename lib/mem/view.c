/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/view.h"

#include "base/error.h"
#include "mem/mem.h"

/* Where a look-up starts when there is nothing to start from: an entry that has nothing. */
static const struct vdb__map_entry nowhere = {.len = 0};

static void start_over(struct vdb__view *view)
{
	view->data = view->word = view->map->count ? &view->map->entries[0] : &nowhere;
}

int vdb__view_init(struct vdb__view *view, struct vdb_mem *mem)
{
	pthread_mutex_lock(&mem->lock);
	mem->views++;
	pthread_mutex_unlock(&mem->lock);
	*view = (struct vdb__view){.mem = mem, .map = vdb__mem_map(mem), .tracking = &mem->tracking};
	start_over(view);
	return 0;
}

/* The map first: its end may be a region's, and that needs the memory alive. */
void vdb__view_drop(struct vdb__view *view)
{
	struct vdb_mem *mem = view->mem;

	if (!mem)
		return;
	vdb__map_put(view->map);
	view->map = NULL;
	view->mem = NULL;
	pthread_mutex_lock(&mem->lock);
	mem->views--;
	pthread_mutex_unlock(&mem->lock);
}

bool vdb__view_refresh(struct vdb__view *view)
{
	struct vdb__map *old = view->map;

	/* Pairs with the release in publish(). What happened before a change became
	 * visible is then seen under the lock, too. */
	if (vdb__load_acquire(&view->mem->version) == old->version)
		return false;
	if (view->keep)
		view->keep(view->keep_arg);
	view->map = vdb__mem_map(view->mem);
	start_over(view);
	vdb__map_put(old);
	return true;
}

const struct vdb__map_entry *vdb__view_find(struct vdb__view *view, const struct vdb__map_entry **last,
                                            vdb_gpa_t gpa)
{
	const struct vdb__map_entry *entry = vdb__map_at(view->map, gpa);

	if (entry)
		*last = entry;
	return entry;
}

int vdb__view_iov(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len, enum vdb__access access,
                  struct iovec *iov, struct vdb__region **region, uint32_t *n, uint32_t max)
{
	const struct vdb__map_entry *entry = view->data;
	uint32_t at = *n;
	uint64_t part;

	/* gpa + part cannot wrap: a region's end does not. */
	for (; len; gpa += part, len -= part) {
		if (!vdb__entry_has(entry, gpa))
			entry = vdb__view_find(view, &view->data, gpa);
		if (!entry || (access == VDB__WRITE && entry->readonly))
			return -EFAULT;
		if (at == max)
			return -E2BIG;
		part = vdb__entry_room(entry, gpa);
		if (part > len)
			part = len;
		iov[at].iov_base = vdb__entry_host(entry, gpa);
		iov[at].iov_len = part;
		region[at++] = entry->region;
	}
	*n = at;
	return 0;
}

uint32_t vdb__view_count(const struct vdb__view *view)
{
	return view->map->count;
}

struct vdb__region *vdb__view_region(const struct vdb__view *view, uint32_t i)
{
	return view->map->entries[i].region;
}

void vdb__view_mark_tracked(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len)
{
	const struct vdb__map_entry *entry;

	if (!len || !vdb__dirty_wanted(view->mem))
		return;
	entry = vdb__map_at(view->map, gpa);
	/* Gone with a newer map: then its pages are nobody's to harvest. */
	if (entry && len <= vdb__entry_room(entry, gpa))
		vdb__dirty_mark(entry->region, vdb__entry_host(entry, gpa), len);
}
