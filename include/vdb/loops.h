/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of loops, and the choice of one of them for each VM or queue. The loops are loops like
 * any other (vdb/loop.h); the group makes, starts and ends them together, and keeps count of what has
 * been placed on each.
 */
#ifndef VDB_LOOPS_H
#define VDB_LOOPS_H

#include <vdb/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_loops;

#define VDB_LOOPS_MAX 256u

/* Which loop the next one gets. */
enum {
	VDB_PLACE_ROUND_ROBIN = 0, /* one after the other */
	/* The one with the least of both: what is placed there, and what it has served lately, each as a
	 * share of all loops'. What was served is in the loop's own terms (bytes, and request_cost for each
	 * request); of what was served before the last look half counts, of that before, a quarter, ...;
	 * a look is a placement, but not sooner than 10 ms after the last one. */
	VDB_PLACE_LEAST_LOADED = 1,
	VDB_PLACE_PINNED = 2, /* the caller says it each time */
};

struct vdb_loops_config {
	uint32_t size;
	uint32_t count;                     /* loops; 0 = 1, at most VDB_LOOPS_MAX */
	uint32_t policy;                    /* VDB_PLACE_* */
	uint32_t reserved;                  /* 0 */
	const int32_t *cpus;                /* `count` host CPUs, -1 = any; NULL: no loop is pinned */
	const struct vdb_loop_config *loop; /* of each; NULL: all defaults */
	const char *name;                   /* of their threads, with a number; NULL = "vdb-loop" */
};

/* config may be NULL: one loop. Nothing runs yet. What cannot be had says so as vdb_loop_create();
 * nothing is left behind then. Any thread. */
VDB_MUST_CHECK int vdb_loops_create(const struct vdb_loops_config *config, struct vdb_loops **out);

/* Each on a thread of its own, or, with the reason, none: vdb_loop_start(). Not twice. */
VDB_MUST_CHECK int vdb_loops_start(struct vdb_loops *loops);

/* Stops all and waits for each, even if one has failed; then the first failure. -EINVAL: not started. Not on
 * a loop's thread (-EDEADLK). */
VDB_MUST_CHECK int vdb_loops_join(struct vdb_loops *loops);

/* As vdb_loop_destroy() of each, the last one first: lanes that are left are detached. -EBUSY: not
 * joined; nothing has happened then. Where one cannot be destroyed (-EPERM, -ENOMEM, ...) those before it
 * are still there: call again. NULL is fine. */
VDB_MUST_CHECK int vdb_loops_destroy(struct vdb_loops *loops);

/* Any thread. get: NULL if there is no such loop. index: -ENOENT if it is none of the group's. */
uint32_t vdb_loops_count(const struct vdb_loops *loops);
struct vdb_loop *vdb_loops_get(const struct vdb_loops *loops, uint32_t index);
VDB_MUST_CHECK int vdb_loops_index(const struct vdb_loops *loops, const struct vdb_loop *loop);

#define VDB_PLACE_ANY UINT32_MAX

/*
 * The loop for one thing more (a VM, a queue), which is counted there until vdb_loops_leave(). index:
 * VDB_PLACE_ANY, by the policy; or this loop. -EINVAL: VDB_PLACE_ANY although PINNED; -ENOENT: no such
 * loop. What moves leaves after it has been placed anew. Any thread.
 */
VDB_MUST_CHECK int vdb_loops_place(struct vdb_loops *loops, uint32_t index, struct vdb_loop **out);
void vdb_loops_leave(struct vdb_loops *loops, const struct vdb_loop *loop);

struct vdb_loops_info {
	uint32_t size;
	int32_t cpu;     /* -1: not pinned */
	uint32_t placed; /* now */
	/* What LEAST_LOADED goes by, in thousandths: 0..2000, all loops together at most 2000. As of the
	 * last look. */
	uint32_t load;
};

/* Of one loop; vdb_loop_stats() has the rest. -ENOENT. Any thread. */
VDB_MUST_CHECK int vdb_loops_query(struct vdb_loops *loops, uint32_t index, struct vdb_loops_info *info);

#ifdef __cplusplus
}
#endif
#endif
