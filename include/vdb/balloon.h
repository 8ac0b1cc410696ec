/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon (virtio 1.2, 5.5): the guest lends pages to the host, by a target that the host sets, and
 * reports pages that it does not use just now; and tells how its memory is used.
 *
 * What the guest gives goes back to the host as vdb_mem_discard() does it, in slices between which the loop
 * serves others: regions must be VDB_REGION_DISCARDABLE. Pages of other regions, such as those that
 * VDB_LOOP_REGISTER_MEMORY pins, are taken from the guest all the same, and stay with it: `kept`.
 *
 * Of huge pages only whole ones go: what is reported, not the single pages of a balloon.
 */
#ifndef VDB_BALLOON_H
#define VDB_BALLOON_H

#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Offered to the driver, besides statistics: */
#define VDB_BALLOON_REPORTING (1u << 0) /* free pages are reported, REPORTING and PAGE_POISON */
#define VDB_BALLOON_DEFLATE_ON_OOM                                              \
	(1u << 1) /* short of memory, the guest may take back what it has given \
	           */
/* The guest asks before it takes pages back, so that `actual` is never less than what it has given. A driver
 * that does not is refused. */
#define VDB_BALLOON_MUST_TELL (1u << 2)

struct vdb_balloon_config {
	uint32_t size;
	uint32_t flags; /* VDB_BALLOON_* */
	/* mem, loop or loops, tenants, limit, flags, queue_size, broken; the rest 0. REPORTING: queue_size
	 * at least 32, which Linux asks for. */
	const struct vdb_virtio_config *at;
	uint64_t target;   /* bytes, a multiple of 4096: vdb_balloon_target() */
	uint32_t stats_ms; /* vdb_balloon_poll() */
	uint32_t reserved; /* 0 */
	/* New statistics have come: vdb_balloon_stats(). On the thread of the loop that serves them, and not
	 * to destroy the device. NULL: nobody wants to know. */
	void (*updated)(void *arg);
	void *arg;
};

/* config is copied. -EINVAL: a field cannot be; -ENOMEM. Any thread. */
VDB_MUST_CHECK int vdb_balloon_create(const struct vdb_balloon_config *config, struct vdb_virtio **out);

/* How much the guest shall give, in all: bytes, a multiple of 4096, less than 16 TiB; 0: it may have it all
 * back. It is told by a config-change interrupt, and does it when it can: vdb_balloon_query(). -EINVAL.
 * Any thread. */
VDB_MUST_CHECK int vdb_balloon_target(struct vdb_virtio *balloon, uint64_t bytes);

/* The guest is asked for statistics each `ms` milliseconds; 0: only by vdb_balloon_ask(). A guest whose
 * driver has none is not woken. -EINVAL: not a balloon. Any thread. */
VDB_MUST_CHECK int vdb_balloon_poll(struct vdb_virtio *balloon, uint32_t ms);

/* Asks now; they come some time later, or never: the guest's driver decides. -EOPNOTSUPP: it gives none.
 * -EINVAL: not a balloon. Any thread. */
VDB_MUST_CHECK int vdb_balloon_ask(struct vdb_virtio *balloon);

/* What the host knows. But for target and actual, monotonic counters. */
struct vdb_balloon_info {
	uint32_t size;
	uint32_t reserved;
	uint64_t target;    /* bytes */
	uint64_t actual;    /* bytes the guest says that it has given */
	uint64_t inflated;  /* bytes it gave, in all */
	uint64_t deflated;  /* bytes it took back, in all */
	uint64_t reported;  /* bytes it reported free, in all */
	uint64_t discarded; /* bytes of inflated and reported that went back to the host */
	uint64_t kept;      /* bytes that did not: see above, and pages that have to keep their poison */
	uint64_t failed;    /* of kept: the kernel refused, as it does for locked memory */
	uint64_t wrong;     /* pages that are no memory, and chains that are none of a balloon's */
};
VDB_MUST_CHECK int vdb_balloon_query(struct vdb_virtio *balloon, struct vdb_balloon_info *info);

/* What the guest said of its memory (5.5.6.4). Its words: nothing of it is checked. A driver's words go with
 * it: after a reset `has` is 0, as `actual` is, and updates counts on. */
struct vdb_balloon_stats {
	uint32_t size;
	uint32_t has;     /* bit n: the guest gave value n, in the order below */
	uint64_t updates; /* times it has said something */
	uint64_t age_ns;  /* since the last time */
	/* Bytes: */
	uint64_t swapped_in, swapped_out;
	uint64_t major_faults, minor_faults; /* counts */
	uint64_t free, total, available, caches;
	/* Counts: */
	uint64_t hugetlb_allocations, hugetlb_failures;
	uint64_t oom_kills, alloc_stalls;
	/* Pages, of 4 KiB on x86-64: */
	uint64_t async_scanned, direct_scanned, async_reclaimed, direct_reclaimed;
};
VDB_MUST_CHECK int vdb_balloon_stats(struct vdb_virtio *balloon, struct vdb_balloon_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
