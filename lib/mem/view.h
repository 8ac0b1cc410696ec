/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How queues and lanes see guest memory: one version of the map, held by one
 * thread, with a last-hit cache. The only way from a gpa to a pointer on the
 * data path.
 */
#ifndef VDB_MEM_VIEW_H
#define VDB_MEM_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <vdb/mem.h>

struct vdb__map;
struct vdb__region;

enum vdb__access {
	VDB__READ = 0,  /* the host reads guest memory */
	VDB__WRITE = 1, /* the host writes it; refused in read-only regions */
};

/* Embedded by its user; belongs to one thread at a time. */
struct vdb__view {
	struct vdb_mem *mem;
	struct vdb__map *map; /* referenced */
	uint32_t last;        /* entry of the last hit */
};

int vdb__view_init(struct vdb__view *view, struct vdb_mem *mem);
void vdb__view_drop(struct vdb__view *view);

/* Takes up the current map. True if it changed: cached pointers must be made again. */
bool vdb__view_refresh(struct vdb__view *view);

/*
 * [gpa, gpa+len) as one host pointer, inside one region; NULL if not. Valid while
 * the view holds this map version. len > 0.
 */
void *vdb__view_ptr(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len, enum vdb__access access);

/*
 * Appends iovecs for [gpa, gpa+len) to iov[*n], at most `max` in all, and takes a
 * hold on the region behind each into hold[*n]. On failure (-EFAULT, -E2BIG) *n and the
 * holds are as before. Records no message: this is guest input.
 */
int vdb__view_iov(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len, enum vdb__access access,
                  struct iovec *iov, struct vdb__region **hold, uint32_t *n, uint32_t max);

/* Ends the holds of n iovecs. The last one may complete a removal. Any thread. */
void vdb__region_release(struct vdb__region **hold, uint32_t n);

/* Marks what the host wrote through these iovecs (the first `bytes` of them), if
 * anybody harvests. After the data, before the completion. */
void vdb__region_mark(struct vdb__region *const *hold, const struct iovec *iov, uint32_t n, uint64_t bytes);

/* The same for one pointer that vdb__view_ptr() gave. */
void vdb__view_mark(struct vdb__view *view, vdb_gpa_t gpa, uint64_t len);

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

/* True if [gpa, gpa+len) touches any region. */
bool vdb__mem_overlaps(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t len);

#endif
