/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a lane: what its files share. */
#ifndef VDB_IO_LANE_H
#define VDB_IO_LANE_H

#include <vdb/lane.h>

#include "io/backend.h"
#include "io/request.h"

enum vdb__lane_phase {
	VDB__LANE_NEW,      /* the attaching post is on its way */
	VDB__LANE_OPEN,     /* takes requests */
	VDB__LANE_CLOSING,  /* waits for those in flight */
	VDB__LANE_REMOVING, /* waits for the engine to let go */
	VDB__LANE_GONE,     /* holds nothing but itself */
};

/* Why a wake post is on its way. */
#define VDB__WAKE_KICK 1u /* vdb_lane_kick() */
#define VDB__WAKE_MAP 2u  /* a new version of the memory map */
#define VDB__WAKE_DEAD 4u /* nobody may post any more */

struct vdb_lane {
	struct vdb__source source; /* first */
	struct vdb_loop *loop;
	struct vdb_queue *queue;
	struct vdb_backend *backend;
	struct vdb_tenant *tenant;

	/* What a visit touches. */
	struct vdb__list free;    /* requests */
	struct vdb__list inlined; /* FIFO of VDB__REQ_SLICED */
	struct vdb__seg *segs;    /* of the request being popped */
	uint32_t request_cost;
	uint32_t inflight;
	uint32_t staged;   /* completions not yet published */
	uint8_t phase;     /* enum vdb__lane_phase */
	bool visiting;     /* the visit will publish */
	bool shut;         /* the queue was not open at the last visit: it resets, or is broken */
	bool waits;        /* the source sleeps unarmed: a completion must make it ready */
	bool belled;       /* since the last visit */
	bool inline_first; /* the last visit had no budget left for it */
	struct vdb__batch batch;

	int call_fd;
	void (*trigger)(void *arg);
	void *trigger_arg;
	void (*broken)(void *arg, uint32_t reason);
	void *broken_arg;

	/* Arenas. */
	struct vdb__request *requests;
	uint32_t nrequests;
	struct vdb__pieces *pieces; /* spare */
	uint32_t max_pieces;        /* iovecs in one of them */

	/* Life. */
	int kick_fd;
	bool joined;   /* hears of memory changes */
	bool doomed;   /* vdb_lane_destroy() was called */
	bool kept;     /* vdb__lane_close() was called: the queue goes with the lane, not before */
	bool member;   /* of the loop */
	uint32_t gone; /* released when everything but the lane itself is freed */
	uint32_t wake; /* VDB__WAKE_*, shared with other threads */
	struct vdb__post wake_post;
	struct vdb__post attach_post;
	struct vdb__post destroy_post;
	struct vdb__member as_member;
	struct vdb__mem_user as_user;
	const uint32_t *finish; /* when kept: see vdb__lane_close() */
	vdb_done_fn done;
	void *done_arg;

	struct vdb_lane_stats stats; /* written on the loop's thread only */
};

static inline struct vdb__request *vdb__request_of(struct vdb__list *link)
{
	return vdb__container(link, struct vdb__request, link);
}

/* Requests of this lane are still wanted: neither it nor its queue waits for their end. */
static inline bool vdb__lane_serves(const struct vdb_lane *lane)
{
	return lane->phase == VDB__LANE_OPEN && !lane->shut;
}

/* What the loop itself works on is gone on with. */
static inline bool vdb__lane_works(const struct vdb_lane *lane)
{
	return vdb__lane_serves(lane) || (lane->kept && lane->finish && vdb__load(lane->finish));
}

/* ---- lane.c: service ---- */

extern const struct vdb__source_ops vdb__lane_source_ops;

void vdb__lane_attach_queue(struct vdb_lane *lane);
void vdb__lane_refresh(struct vdb_lane *lane);
void vdb__lane_publish(struct vdb_lane *lane);
void vdb__lane_batch_fn(struct vdb__batch *batch);

/* Nobody wants what is in flight any more: backends that wait for the outside shall not. */
void vdb__lane_cancel(struct vdb_lane *lane);

/* A request has been completed; the completion waits for its batch. */
void vdb__lane_completed(struct vdb_lane *lane);

/* ---- lane_pool.c ---- */

int vdb__lane_pool_init(struct vdb_lane *lane, uint32_t count);
void vdb__lane_pool_drop(struct vdb_lane *lane);

/* NULL: no memory. */
struct vdb__pieces *vdb__lane_take_pieces(struct vdb_lane *lane);
void vdb__lane_put_pieces(struct vdb_lane *lane, struct vdb__pieces *pieces);

/* ---- lane_life.c ---- */

/*
 * vdb_lane_destroy() in two steps: done(arg) comes as there, but lane and queue are still there, with
 * their final counters and position; from then on vdb_lane_destroy() frees both at once.
 * `finish`: while it is not 0 what is INLINE is gone on with, not cancelled, since the guest will go on; it
 * may become 0 at any time. NULL: 0. Once. When the loop was destroyed first, the queue is gone already
 * (lane->queue is NULL).
 */
void vdb__lane_close(struct vdb_lane *lane, const uint32_t *finish, vdb_done_fn done, void *arg);

/* To be called when a lane that is closing has lost a request. */
void vdb__lane_drained(struct vdb_lane *lane);

#endif
