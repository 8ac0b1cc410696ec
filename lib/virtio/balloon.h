/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of virtio-balloon: balloon.c makes the device and keeps its config space, balloon_pages.c takes
 * pages, balloon_stats.c asks for statistics. Section numbers are those of virtio 1.2.
 */
#ifndef VDB_VIRTIO_BALLOON_H
#define VDB_VIRTIO_BALLOON_H

#include <pthread.h>
#include <stdbool.h>
#include <vdb/balloon.h>

#include "loop/source.h"

enum {
	VDB__BALLOON_INFLATE,
	VDB__BALLOON_DEFLATE,
	VDB__BALLOON_STATS,
	VDB__BALLOON_REPORT,
	VDB__BALLOON_ROLES,
};

#define VDB__BALLOON_VALUES 16u

/* One buffer of the guest's is with us, and goes back when we want to know more. */
struct vdb__balloon_poll {
	pthread_mutex_t lock; /* of all of it; held for a few instructions */
	struct vdb_req *pending;
	struct vdb_timer *timer; /* of the loop of `pending`; NULL: none */
	uint32_t ms;
	struct vdb__post post; /* to that loop */
	struct vdb_loop *posted_to;
	bool posted;
	bool asked;    /* the buffer shall go back now */
	bool orphaned; /* the device has gone: whom the post finds frees it */
	void (*updated)(void *arg);
	void *arg;

	uint64_t values[VDB__BALLOON_VALUES];
	uint32_t has;
	uint64_t updates, at; /* at: ns of CLOCK_MONOTONIC */
};

struct vdb__balloon {
	struct vdb_backend *backends[VDB__BALLOON_ROLES];
	uint64_t offered;
	uint32_t flags;

	/* Shared: vCPUs, loops, the embedder. */
	uint64_t accepted;
	uint32_t target, actual; /* pages */
	uint32_t poison;
	uint64_t inflated, deflated, reported; /* as in struct vdb_balloon_info */
	uint64_t discarded, kept, failed, wrong;

	struct vdb__balloon_poll poll;
};

/* Adds to a counter that several loops may write. */
#define vdb__balloon_count(counter, n) ((void)vdb__fetch_add((counter), (uint64_t)(n)))

/* ---- balloon_pages.c ---- */

extern const struct vdb_backend_ops vdb__balloon_inflate_ops, vdb__balloon_deflate_ops,
        vdb__balloon_report_ops;

/* ---- balloon_stats.c ---- */

extern const struct vdb_backend_ops vdb__balloon_stats_ops;

void vdb__balloon_poll_init(struct vdb__balloon *balloon, const struct vdb_balloon_config *config);
/* What the guest has said is forgotten. */
void vdb__balloon_poll_reset(struct vdb__balloon *balloon);
/* No queue is left. False: a post is on its way, and frees the balloon with vdb__balloon_free(). */
bool vdb__balloon_poll_end(struct vdb__balloon *balloon);
void vdb__balloon_poll_set(struct vdb__balloon *balloon, uint32_t ms);
void vdb__balloon_poll_now(struct vdb__balloon *balloon);
void vdb__balloon_values(struct vdb__balloon *balloon, struct vdb_balloon_stats *stats);

/* ---- balloon.c ---- */

void vdb__balloon_free(struct vdb__balloon *balloon);

#endif
