/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/view.h"

#include "base/error.h"
#include "mem/mem.h"

int vdb__view_init(struct vdb__view *view, struct vdb_mem *mem)
{
	pthread_mutex_lock(&mem->lock);
	mem->views++;
	pthread_mutex_unlock(&mem->lock);
	view->mem = mem;
	view->map = vdb__mem_map(mem);
	view->last = 0;
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
	view->map = vdb__mem_map(view->mem);
	view->last = 0;
	vdb__map_put(old);
	return true;
}

/* One comparison finds both sides of the range: gpa below the start wraps to a large offset. */
static bool inside(const struct vdb__map_entry *entry, vdb_gpa_t gpa)
{
	return gpa - entry->gpa < entry->len;
}

static const struct vdb__map_entry *look_up(struct vdb__view *view, vdb_gpa_t gpa)
{
	const struct vdb__map *map = view->map;
	uint32_t i = view->last;

	if (i < map->count && inside(&map->entries[i], gpa))
		return &map->entries[i];
	i = vdb__map_find(map, gpa);
	if (i == map->count || !inside(&map->entries[i], gpa))
		return NULL;
	view->last = i;
	return &map->entries[i];
}

void *vdb__view_ptr(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len, enum vdb__access access)
{
	const struct vdb__map_entry *entry = look_up(view, gpa);

	if (!entry || !len || len > vdb__entry_room(entry, gpa) || (access == VDB__WRITE && entry->readonly))
		return NULL;
	return vdb__entry_host(entry, gpa);
}

int vdb__view_iov(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len, enum vdb__access access,
                  struct iovec *iov, struct vdb__region **hold, uint32_t *n, uint32_t max)
{
	const struct vdb__map_entry *entry;
	uint32_t at = *n;
	uint64_t part;
	int err = 0;

	/* gpa + part cannot wrap: a region's end does not. */
	for (; len; gpa += part, len -= part) {
		entry = look_up(view, gpa);
		if (!entry || (access == VDB__WRITE && entry->readonly))
			err = -EFAULT;
		else if (at == max)
			err = -E2BIG;
		if (err) {
			vdb__region_release(hold + *n, at - *n);
			return err;
		}
		part = vdb__entry_room(entry, gpa);
		if (part > len)
			part = len;
		iov[at].iov_base = vdb__entry_host(entry, gpa);
		iov[at].iov_len = part;
		hold[at] = entry->region;
		vdb__region_get(entry->region);
		at++;
	}
	*n = at;
	return 0;
}

void vdb__view_mark(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len)
{
	const struct vdb__map_entry *entry;

	if (!len || !vdb__dirty_wanted(view->mem))
		return;
	entry = look_up(view, gpa);
	/* Gone with a newer map: then its pages are nobody's to harvest. */
	if (entry && len <= vdb__entry_room(entry, gpa))
		vdb__dirty_mark(entry->region, vdb__entry_host(entry, gpa), len);
}
