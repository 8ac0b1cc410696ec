/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How queues and lanes see guest memory: one version of the map, held by one
 * thread, with a last-hit cache. The only way from a gpa to a pointer on the
 * data path.
 */
#ifndef VDB_MEM_VIEW_H
#define VDB_MEM_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <vdb/mem.h>

#include "base/atomic.h"

struct vdb__map;
struct vdb__region;

enum vdb__access {
	VDB__READ = 0,  /* the host reads guest memory */
	VDB__WRITE = 1, /* the host writes it; refused in read-only regions */
};

/* What look-ups touch, side by side; immutable once published. */
struct vdb__map_entry {
	vdb_gpa_t gpa;
	uint64_t len;
	unsigned char *host;
	struct vdb__region *region;
	bool readonly;
};

/*
 * Embedded by its user; belongs to one thread at a time. Data and what is looked at beside it
 * (headers, tables, status bytes) may lie in different regions, and take turns: each has its last hit.
 */
struct vdb__view {
	struct vdb_mem *mem;
	struct vdb__map *map;              /* referenced */
	const uint32_t *tracking;          /* of mem: not 0 while what the host writes is to be marked */
	const struct vdb__map_entry *data; /* the last hit of vdb__view_iov(); never NULL */
	const struct vdb__map_entry *word; /* of vdb__view_ptr() */
	/* Called before the view lets go of a map for a newer one: what the holder of the view has mapped
	 * and still uses needs holds of its own from then on, vdb__region_hold(). NULL: nothing. */
	void (*keep)(void *arg);
	void *keep_arg;
};

int vdb__view_init(struct vdb__view *view, struct vdb_mem *mem);
void vdb__view_drop(struct vdb__view *view);

/* Takes up the current map. True if it changed: cached pointers must be made again. */
bool vdb__view_refresh(struct vdb__view *view);

/* The entry that has gpa, which is then the last hit; NULL: that is a hole. */
const struct vdb__map_entry *vdb__view_find(struct vdb__view *view, const struct vdb__map_entry **last,
                                            vdb_gpa_t gpa);

/* One comparison finds both sides of the range: gpa below the start wraps to a large offset. */
static inline bool vdb__entry_has(const struct vdb__map_entry *entry, vdb_gpa_t gpa)
{
	return gpa - entry->gpa < entry->len;
}

/* All of [gpa, gpa+len) may be accessed there. Not so if len is 0. */
static inline bool vdb__entry_holds(const struct vdb__map_entry *entry, vdb_gpa_t gpa, uint64_t len,
                                    enum vdb__access access)
{
	uint64_t offset = gpa - entry->gpa;

	return offset < entry->len && len - 1 < entry->len - offset &&
	       (access == VDB__READ || !entry->readonly);
}

/* Room from gpa to the entry's end. gpa must be in it. */
static inline uint64_t vdb__entry_room(const struct vdb__map_entry *entry, vdb_gpa_t gpa)
{
	return entry->len - (gpa - entry->gpa);
}

static inline unsigned char *vdb__entry_host(const struct vdb__map_entry *entry, vdb_gpa_t gpa)
{
	return entry->host + (gpa - entry->gpa);
}

/*
 * [gpa, gpa+len) as one host pointer, inside one region; NULL if not. Valid while
 * the view holds this map version. len > 0.
 */
static inline void *vdb__view_ptr(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len,
                                  enum vdb__access access)
{
	const struct vdb__map_entry *entry = view->word;

	if (!vdb__entry_has(entry, gpa))
		entry = vdb__view_find(view, &view->word, gpa);
	if (!entry || !vdb__entry_holds(entry, gpa, len, access))
		return NULL;
	return vdb__entry_host(entry, gpa);
}

/* `len` bytes at gpa will be read soon, if they lie where the last look-up was: two lines of them, the head
 * of a packet. A hint: nothing is promised of gpa. */
static inline void vdb__view_prefetch(const struct vdb__view *view, vdb_gpa_t gpa, uint32_t len)
{
	if (vdb__entry_has(view->word, gpa))
		__builtin_prefetch(vdb__entry_host(view->word, gpa));
	if (len > 64 && vdb__entry_holds(view->word, gpa, 65, VDB__READ))
		__builtin_prefetch(vdb__entry_host(view->word, gpa + 64));
}

/*
 * Appends iovecs for [gpa, gpa+len) to iov[*n], at most `max` in all, and the region behind each to
 * region[*n]. They are there while the view holds this map version: see `keep`. On failure (-EFAULT,
 * -E2BIG) *n is as before. Records no message: this is guest input.
 */
int vdb__view_iov(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len, enum vdb__access access,
                  struct iovec *iov, struct vdb__region **region, uint32_t *n, uint32_t max);

/* The same for what lies in one region, as one iovec: false, and nothing done, if it does not. */
static inline bool vdb__view_piece(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len,
                                   enum vdb__access access, struct iovec *iov, struct vdb__region **region)
{
	const struct vdb__map_entry *entry = view->data;

	if (!vdb__entry_has(entry, gpa))
		entry = vdb__view_find(view, &view->data, gpa);
	if (!entry || !vdb__entry_holds(entry, gpa, len, access))
		return false;
	iov->iov_base = vdb__entry_host(entry, gpa);
	iov->iov_len = len;
	*region = entry->region;
	return true;
}

/* How many regions the view's map has, and each, by gpa. */
uint32_t vdb__view_count(const struct vdb__view *view);
struct vdb__region *vdb__view_region(const struct vdb__view *view, uint32_t i);

/* Holds of the regions behind n iovecs, and their ends, the last of which may complete a removal. The
 * caller's view has a map with them, or he holds them already. */
void vdb__region_hold(struct vdb__region **region, uint32_t n);
void vdb__region_release(struct vdb__region **region, uint32_t n);

/* What the host writes may have to be marked: if false, neither of the next two would do anything. */
static inline bool vdb__view_tracked(const struct vdb__view *view)
{
	/* As vdb__dirty_wanted(). */
	vdb__fence_light();
	return vdb__load(view->tracking);
}

/* Marks what the host wrote through these iovecs (the first `bytes` of them), if
 * anybody harvests. After the data, before the completion. */
void vdb__region_mark(struct vdb__region *const *region, const struct iovec *iov, uint32_t n, uint64_t bytes);

void vdb__view_mark_tracked(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len);

/* The same for one pointer that vdb__view_ptr() gave. */
static inline void vdb__view_mark(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len)
{
	if (vdb__view_tracked(view))
		vdb__view_mark_tracked(view, gpa, len);
}

/* ---- Who must hear of changes: VMs (memslots) and lanes ---- */

struct vdb__mem_user {
	/* On the control thread. A VM makes the memslot, or refuses with -errno. NULL = indifferent. */
	int (*added)(struct vdb__mem_user *user, const struct vdb__region *region);
	/* Before the region leaves the map: the guest must not reach it afterwards. */
	void (*removed)(struct vdb__mem_user *user, const struct vdb__region *region);
	/* A new map version is current: views should be refreshed soon (a lane posts to its loop). */
	void (*changed)(struct vdb__mem_user *user);
	/* The mem layer's own. Zero the struct before the first join or leave. */
	struct vdb__mem_user *next;
	uint32_t calls; /* in progress */
	bool told;      /* of the region that is being added */
};

/*
 * Joins; `added` is called for every present region first. Join before making views:
 * `changed` tells of later versions only. Leaving twice is harmless. No call to the
 * user is in progress or comes after leave returns, so leave is not for its callbacks.
 * The callbacks may translate, read and write, but not add, remove or join.
 * Leave, and join with neither added nor removed, never wait for a memslot of another user.
 */
int vdb__mem_join(struct vdb_mem *mem, struct vdb__mem_user *user);
void vdb__mem_leave(struct vdb_mem *mem, struct vdb__mem_user *user);

/* What a user may know of a region. */
vdb_gpa_t vdb__region_gpa(const struct vdb__region *region);
uint64_t vdb__region_len(const struct vdb__region *region);
void *vdb__region_host(const struct vdb__region *region);
bool vdb__region_readonly(const struct vdb__region *region);
/* Its pages stay what they are as long as it is there: host I/O may keep them. */
bool vdb__region_pinnable(const struct vdb__region *region);

/* Gives back the whole pages in [host, +len) of it, and marks them dirty: they are zeroes afterwards. Returns
 * bytes; -EPERM: its pages are kept; or what the kernel said. Takes as long as the kernel does: for slices.
 */
int64_t vdb__region_discard(struct vdb__region *region, const void *host, uint64_t len);
/* Bytes of such a page. */
uint64_t vdb__region_page(const struct vdb__region *region);

/* Its fd, the region's, where another process can map the very same pages; and where in it. -1: there is
 * none. */
int vdb__region_shared_fd(const struct vdb__region *region, uint64_t *offset);

/* The current map, with a reference. Any thread. */
struct vdb__map *vdb__mem_map(struct vdb_mem *mem);
void vdb__map_put(struct vdb__map *map);
/* Its regions. */
uint32_t vdb__map_count(const struct vdb__map *map);
const struct vdb__map_entry *vdb__map_get(const struct vdb__map *map, uint32_t i);
/* The entry that has gpa, NULL if that is a hole. */
const struct vdb__map_entry *vdb__map_at(const struct vdb__map *map, vdb_gpa_t gpa);

/* True if [gpa, gpa+len) touches any region. */
bool vdb__mem_overlaps(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t len);

#endif
