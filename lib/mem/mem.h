/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the mem layer.
 *
 * Locks, outer first:
 *   control  one change of the map at a time; held while users are called.
 *   lock     the current map's reference, users, counters; held for a few
 *            instructions, never while anybody is called.
 * So a user's callback may translate, read and write, but not add, remove or join.
 *
 * A region is used by every map version that has it, and by every hold. The last
 * use of a removed region can end on any thread: it puts the region on the dead
 * list and calls `done`; unmapping, which takes long, is left to the control thread.
 */
#ifndef VDB_MEM_MEM_H
#define VDB_MEM_MEM_H

#include <pthread.h>
#include <stddef.h>

#include "base/atomic.h"
#include "base/list.h"
#include "mem/view.h"

/* How a region's pages are given back to the host. */
enum {
	VDB__KEEP,     /* they are not */
	VDB__DONTNEED, /* MADV_DONTNEED of the mapping */
	VDB__PUNCH,    /* a hole in the file behind it */
};

struct vdb__region {
	vdb_gpa_t gpa;
	uint64_t len;
	unsigned char *host;
	struct vdb_mem *mem;
	uint64_t *dirty; /* a bit for each 4 KiB, always there: marking cannot fail */
	uint32_t refs;   /* atomic */
	bool readonly;
	bool pinnable;
	bool private;    /* what is written here stays here */
	bool owned;      /* the mapping is ours to undo */
	uint8_t discard; /* how its pages are given back: VDB__KEEP.. */
	uint64_t page;   /* bytes of what it is made of */
	int fd;          /* ours; -1 = none */
	uint64_t fd_offset;
	vdb_done_fn done;
	void *done_arg;
	struct vdb__list link; /* in the dead list */
};

struct vdb__map {
	uint32_t refs; /* atomic */
	uint32_t count;
	uint64_t version;
	struct vdb__map_entry entries[]; /* by gpa, disjoint; each holds its region */
};

/* Both 0: nobody harvests, and nobody who writes need fence. */
#define VDB__TRACKING_ON 1u     /* what the host writes is marked */
#define VDB__TRACKING_FENCED 2u /* this host has no membarrier(): writers fence at all times */

struct vdb_mem {
	pthread_mutex_t control;
	pthread_mutex_t lock;
	pthread_cond_t called; /* a call to a user or to `done` has ended */
	struct vdb__map *current;
	uint64_t version; /* current->version; release on publication, acquire in views */
	struct vdb__mem_user *users;
	struct vdb__list dead;      /* regions out of use, to be unmapped */
	struct vdb__list finishing; /* `done` in progress */
	uint32_t views;
	uint32_t leaving;  /* removed, still in use */
	uint32_t tracking; /* atomic: VDB__TRACKING_* */
};

/* ---- region.c ---- */

/* Maps what a checked config says; one reference. */
int vdb__region_create(struct vdb_mem *mem, const struct vdb_region_config *config, struct vdb__region **out);
int vdb__region_check(const struct vdb_region_config *config);
/* Unmaps and frees, whatever the references; NULL and half-made are fine. */
void vdb__region_free(struct vdb__region *region);
void vdb__region_get(struct vdb__region *region);
void vdb__region_put(struct vdb__region *region);

/* True if the calling thread is inside a `done` of this memory. Locked. */
bool vdb__mem_finishing_here(const struct vdb_mem *mem);

/* ---- map.c ---- */

int vdb__map_empty(struct vdb__map **out);
/* The next version: `from` with one more region, or with one less. */
int vdb__map_with(const struct vdb__map *from, struct vdb__region *region, struct vdb__map **out);
int vdb__map_without(const struct vdb__map *from, const struct vdb__region *region, struct vdb__map **out);

/* The first entry that ends behind gpa; count if none does. */
uint32_t vdb__map_find(const struct vdb__map *map, vdb_gpa_t gpa);
bool vdb__map_overlaps(const struct vdb__map *map, vdb_gpa_t gpa, uint64_t len);

/* ---- discard.c ---- */

/* Finds out how, for a region that is mapped. */
void vdb__discard_prepare(struct vdb__region *region, const struct vdb_region_config *config);

/* ---- dirty.c ---- */

/* What vdb_mem.tracking begins with. */
uint32_t vdb__dirty_begin(void);

/* True if somebody harvests. Between storing the data and marking: it has the fence. */
bool vdb__dirty_wanted(struct vdb_mem *mem);

/* Marks [host, host+len) of the region; only after vdb__dirty_wanted(). */
void vdb__dirty_mark(struct vdb__region *region, const void *host, uint64_t len);

#endif
