/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rate limits: so many bytes and so many operations a second, for a lane, a device, a VM, or any
 * number of these together, on one loop or on several.
 *
 * A limit is a bucket: it fills at its rate up to its burst, and what is served is taken out
 * of it. A request is begun as long as there is something in it, and may take more than
 * that; the debt is waited for afterwards, so that the rate holds in the long run however large
 * requests are. Those that wait are served in the order in which they began to, each as much as
 * flows in 2 ms or its one request. A ring that waits costs nothing: a timer of its loop
 * brings it back, and the guest need not ring.
 *
 * Every request counts as one operation, FLUSH and those that fail too; bytes are those of READ, WRITE,
 * COPY, FILL and of USER requests, when the loop takes them. What ends is not held up: resets,
 * quiesce and destroy do not wait for a limit.
 *
 * Where it is attached: vdb_lane_config.limit, vdb_virtio_config.limit, vdb_tenant_limit().
 */
#ifndef VDB_LIMIT_H
#define VDB_LIMIT_H

#include <vdb/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_limit;

#define VDB_LIMIT_MAX (1ull << 60) /* of every number below */

struct vdb_limit_config {
	uint32_t size;
	uint32_t reserved;
	uint64_t bytes_per_s; /* 0 = unlimited */
	/* How many bytes may come at once after a rest. 0 = what flows in 10 ms; it is never less than what
	 * flows in 1 ms, since a loop is not more exact, nor less than 1. */
	uint64_t bytes_burst;
	uint64_t ops_per_s; /* the same for operations */
	uint64_t ops_burst;
};

/* The bucket is full at first. config NULL: unlimited, for now. -EINVAL: a number is above VDB_LIMIT_MAX, or
 * a burst without a rate; -E2BIG, -ENOMEM. Any thread. */
VDB_MUST_CHECK int vdb_limit_create(const struct vdb_limit_config *config, struct vdb_limit **out);

/* Drops the caller's reference: what it is attached to keeps it, as it is. NULL is fine. Any thread. */
void vdb_limit_destroy(struct vdb_limit *limit);

/*
 * Other numbers, from now on, for those that wait too: none waits longer, or less long, than the
 * new rate asks for. What is in the bucket stays what it was, in bytes and operations, and debts too,
 * but for what a smaller burst has no room for; what was unlimited begins with a full bucket. Errors as of
 * create, and then nothing has changed. Any thread.
 */
VDB_MUST_CHECK int vdb_limit_set(struct vdb_limit *limit, const struct vdb_limit_config *config);

/* All lanes of this tenant together: a VM's limit. Tenants of several loops may have the same
 * one. Holds a reference; NULL takes it away. Before the tenant's first lane, else -EBUSY: a limit that
 * is attached can be changed at any time, so begin with an unlimited one. */
VDB_MUST_CHECK int vdb_tenant_limit(struct vdb_tenant *tenant, struct vdb_limit *limit);

/* Counters are monotonic. Any thread, at no cost to the loops. */
struct vdb_limit_stats {
	uint32_t size;
	uint32_t waiting;   /* now: rings that are held back */
	uint64_t bytes;     /* served */
	uint64_t ops;       /* served */
	uint64_t throttled; /* times that a ring had to wait */
	uint64_t waited_ns; /* for so long, all together */
};
VDB_MUST_CHECK int vdb_limit_stats(struct vdb_limit *limit, struct vdb_limit_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
