/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a lane: what its files share. */
#ifndef VDB_IO_LANE_H
#define VDB_IO_LANE_H

#include <vdb/lane.h>

#include "io/backend.h"
#include "io/request.h"
#include "loop/caps.h"

enum vdb__lane_phase {
	VDB__LANE_NEW,      /* on its way to its loop */
	VDB__LANE_OPEN,     /* takes requests */
	VDB__LANE_CLOSING,  /* waits for those in flight */
	VDB__LANE_MOVING,   /* likewise, to go on elsewhere */
	VDB__LANE_REMOVING, /* waits for the engine to let go */
	VDB__LANE_LEFT,     /* it has, of one that goes elsewhere: waits for a post that is on its way */
	VDB__LANE_GONE,     /* holds nothing but itself */
};

enum vdb__lane_journey {
	VDB__LANE_STAYS,
	VDB__LANE_ASKED, /* to move */
	VDB__LANE_MOVES,
};

/* Why the wake post is on its way, or will never be any more. */
#define VDB__WAKE_ATTACH 1u /* it takes the lane to its loop */
#define VDB__WAKE_KICK 2u   /* vdb_lane_kick() */
#define VDB__WAKE_MAP 4u    /* a new version of the memory map */
#define VDB__WAKE_MOVE 8u   /* vdb_lane_move() */
#define VDB__WAKE_LEAVE 16u /* vdb_lane_destroy() */
#define VDB__WAKE_CLOSE 32u /* vdb__lane_close() */
#define VDB__WAKE_DEAD 64u  /* nobody may post any more */
#define VDB__WAKE_GONE 128u /* everything but the lane itself is freed */

struct vdb_lane {
	struct vdb__source source; /* first */
	struct vdb_loop *loop;
	struct vdb_queue *queue;
	struct vdb_backend *backend;
	struct vdb_tenant *tenant;

	/* What a visit touches. */
	uint32_t (*wants)(void *ctx); /* the backend's; NULL: all there are */
	struct vdb__request *free;    /* the last one used first: it is still in the cache */
	struct vdb__list inlined;     /* FIFO of VDB__REQ_SLICED */
	struct vdb__seg *segs;        /* of the request being popped */
	uint32_t request_cost;
	uint32_t inflight;
	uint64_t charged;  /* in this visit, by backends: vdb_req_charge(), */
	uint64_t costs;    /* and vdb__request_costs() */
	uint32_t staged;   /* completions not yet published */
	uint8_t phase;     /* enum vdb__lane_phase */
	bool visiting;     /* the visit will publish */
	bool shown;        /* and has done so for some already, */
	bool wanted;       /* for which it will interrupt */
	uint16_t more;     /* requests known to be behind the one that was taken last */
	bool shut;         /* the queue was not open at the last visit: it resets, or is broken */
	bool waits;        /* the source sleeps unarmed: a completion must make it ready */
	bool belled;       /* since the last visit */
	bool inline_first; /* the last visit had no budget left for it */
	struct vdb__batch batch;

	uint64_t irq_turn; /* of the last interrupt */
	uint64_t irq_at;   /* and when it was; ns, only if they are coalesced */
	uint32_t irq_ns;   /* the next one may be so long after it */
	struct vdb__hold irq_hold;
	struct vdb__late irq_late;
	int call_fd;
	void (*trigger)(void *arg);
	void *trigger_arg;
	void (*broken)(void *arg, uint32_t reason);
	void *broken_arg;

	uint32_t file;                   /* the backend's, in the loop; 0 = none */
	struct vdb__region **registered; /* held: the loop was told of them */
	uint32_t nregistered;

	/* Arenas. */
	struct vdb__request *requests; /* memory for max_inflight */
	uint32_t max_inflight;
	uint32_t nrequests;         /* of these, once in use: the others have not been touched */
	struct vdb__pieces *pieces; /* spare */
	uint32_t max_pieces;        /* iovecs in one of them */

	/* Life. */
	int kick_fd;
	bool known;    /* the queue has been attached, on whatever loop */
	bool joined;   /* hears of memory changes */
	bool doomed;   /* vdb_lane_destroy() has arrived */
	bool kept;     /* vdb__lane_close() has: the queue goes with the lane, not before */
	bool member;   /* of the loop */
	bool opened;   /* the backend knows that its queue is served */
	uint32_t wake; /* VDB__WAKE_*, shared with other threads */
	struct vdb__post wake_post;
	struct vdb__member as_member;
	struct vdb__mem_user as_user;
	const uint32_t *finish; /* when kept: see vdb__lane_close() */
	vdb_done_fn done;
	void *done_arg;

	/* Another loop: lane_move.c. */
	uint32_t moving; /* from vdb_lane_move() until its `moved`; any thread */
	bool fixed;      /* the backend belongs to one loop */
	bool own_tenant;
	uint8_t journey;             /* enum vdb__lane_journey */
	int failed;                  /* why it has not got there */
	struct vdb__arrival arrival; /* where it is going; from there, the way back */
	struct vdb_tenant *other;    /* of that other loop; NULL: its own, which goes along */
	bool own_other;
	void (*moved)(void *arg, int status);
	void *moved_arg;

	struct vdb_lane_stats stats; /* written on the loop's thread only */
};

/* Its VM has as many in flight as it may, and this lane one of them. */
static inline bool vdb__lane_crowded(const struct vdb_lane *lane)
{
	return lane->inflight && !vdb__tenant_has_room(lane->tenant);
}

/* Another request can be taken. */
static inline bool vdb__lane_has_room(const struct vdb_lane *lane)
{
	return lane->inflight < lane->max_inflight && !vdb__lane_crowded(lane);
}

/* The backend has a use for one. */
static inline bool vdb__lane_wanted(const struct vdb_lane *lane)
{
	return !lane->wants || lane->wants(lane->backend->ctx);
}

static inline struct vdb__request *vdb__request_of(struct vdb__list *link)
{
	return vdb__container(link, struct vdb__request, link);
}

/* Requests of this lane are still wanted: neither it nor its queue waits for their end. */
static inline bool vdb__lane_serves(const struct vdb_lane *lane)
{
	return lane->phase == VDB__LANE_OPEN && !lane->shut;
}

/* Takes nothing more, and waits for what is in flight. */
static inline bool vdb__lane_drains(const struct vdb_lane *lane)
{
	return lane->phase == VDB__LANE_CLOSING || lane->phase == VDB__LANE_MOVING;
}

/* What the loop itself works on is gone on with. */
static inline bool vdb__lane_works(const struct vdb_lane *lane)
{
	return vdb__lane_serves(lane) || (lane->phase == VDB__LANE_MOVING && !lane->shut) ||
	       (lane->kept && lane->finish && vdb__load(lane->finish));
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

/* ---- lane_wants.c: backends that choose, and hear of it; loop's thread ---- */

/* Any thread. False: another lane has the backend. */
bool vdb__lane_claim(struct vdb_lane *lane);
void vdb__lane_disclaim(struct vdb_lane *lane);
void vdb__lane_opened(struct vdb_lane *lane);
void vdb__lane_closed(struct vdb_lane *lane);

/* ---- lane_irq.c ---- */

/* After each publish: `wanted` is what it said. */
void vdb__lane_notify(struct vdb_lane *lane, bool wanted);
void vdb__lane_irq_release(struct vdb__hold *hold);
void vdb__lane_irq_late(struct vdb__late *late);
/* What is held back goes out now. */
void vdb__lane_irq_flush(struct vdb_lane *lane);

/* ---- lane_pool.c ---- */

int vdb__lane_pool_init(struct vdb_lane *lane, uint32_t count);
void vdb__lane_pool_drop(struct vdb_lane *lane);
/* None is in flight: from now on they are lane->loop's. */
void vdb__lane_pool_move(struct vdb_lane *lane);

/* One that has not been in use so far. There must be room. */
struct vdb__request *vdb__lane_new_request(struct vdb_lane *lane);

/* There must be room. Only lane, pub.loop and pub.reserved are set. */
static inline struct vdb__request *vdb__lane_take_request(struct vdb_lane *lane)
{
	struct vdb__request *r = lane->free;

	lane->inflight++;
	vdb__tenant_took(lane->tenant);
	if (!r)
		return vdb__lane_new_request(lane);
	lane->free = r->next;
	return r;
}

static inline void vdb__lane_put_request(struct vdb_lane *lane, struct vdb__request *r)
{
	r->state = VDB__REQ_FREE;
	r->next = lane->free;
	lane->free = r;
	lane->inflight--;
	vdb__tenant_gave(lane->tenant);
}

/* NULL: no memory. */
struct vdb__pieces *vdb__lane_take_pieces(struct vdb_lane *lane);
void vdb__lane_put_pieces(struct vdb_lane *lane, struct vdb__pieces *pieces);

/* ---- lane_known.c: what the loop is told of beforehand; its thread ---- */

void vdb__lane_introduce(struct vdb_lane *lane);
void vdb__lane_withdraw(struct vdb_lane *lane);
/* The lane's view has moved on to another map. */
void vdb__lane_remember(struct vdb_lane *lane);

/* ---- lane_life.c ---- */

/*
 * vdb_lane_destroy() in two steps: done(arg) comes as there, but lane and queue are still there, with
 * their final counters and position; from then on vdb_lane_destroy() frees both at once.
 * `finish`: while it is not 0 what is INLINE is gone on with, not cancelled, since the guest will go on; it
 * may become 0 at any time. NULL: 0. Once. When the loop was destroyed first, the queue is gone already
 * (lane->queue is NULL).
 */
void vdb__lane_close(struct vdb_lane *lane, const uint32_t *finish, vdb_done_fn done, void *arg);

/* To be called when a lane that drains has lost a request. */
void vdb__lane_drained(struct vdb_lane *lane);

/* For lane_move.c: any thread asks, the loop's will see why. Returns why it was to be woken already. */
uint32_t vdb__lane_wake(struct vdb_lane *lane, uint32_t why);

/* ---- lane_move.c, on the loop's thread ---- */

/* It has been asked to move. */
void vdb__lane_depart(struct vdb_lane *lane);
/* The engine has let go of it: to where it is expected. */
void vdb__lane_set_out(struct vdb_lane *lane);
/* The same, when no wake post is on its way any more. */
void vdb__lane_hand_over(struct vdb_lane *lane);
/* It is open again, here or there. */
void vdb__lane_arrived(struct vdb_lane *lane);
/* The end of a move: tells who asked. */
void vdb__lane_told(struct vdb_lane *lane, int status);

#endif
