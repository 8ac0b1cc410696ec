/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on its way through a lane: popped, checked, mapped, worked on, and
 * completed exactly once. Requests come from the lane's pool. Loop's thread.
 */
#ifndef VDB_IO_REQUEST_H
#define VDB_IO_REQUEST_H

#include <stdbool.h>
#include <vdb/backend.h>

#include "base/list.h"
#include "io/cursor.h"
#include "loop/source.h"
#include "mem/view.h"
#include "queue/queue.h"

struct vdb_lane;

#define VDB__IOV_OWN 4u    /* iovecs in the request itself */
#define VDB__IOV_MAX 1024u /* of one request's data: what preadv() takes */
#define VDB__IOV_EXTRA 64u /* region borders that a request's segments may cross */

#define VDB__LINE 64u /* bytes of a cache line, or so */

/* Room for the iovecs of a request that has more than VDB__IOV_OWN. */
struct vdb__pieces {
	struct vdb__pieces *next;
	struct vdb__region **region; /* behind iov */
	struct iovec iov[];          /* the first is the backend's */
};

enum vdb__request_state {
	VDB__REQ_FREE,
	VDB__REQ_TAKEN,   /* ours: being checked */
	VDB__REQ_STARTED, /* the backend's, until it completes it */
	VDB__REQ_SLICED,  /* in the lane's inline FIFO */
};

struct vdb__request {
	struct vdb_req pub; /* first: a backend's pointer is ours */

	/* One line, and all of it written when a request is taken. */
	_Alignas(VDB__LINE) struct vdb_lane *lane;
	union {
		struct vdb__request *next; /* FREE */
		struct vdb__list link;     /* SLICED: in the inline FIFO */
		struct vdb__post post;     /* STARTED: of vdb_req_complete_post() */
	};
	uint64_t cookie;
	struct vdb__pieces *pieces; /* NULL: the arrays below are in use */
	uint32_t nread;             /* USER: iovecs that are only read, the first ones */
	uint32_t nmapped;           /* iovecs: pub.niov, and behind them COPY's source */
	uint8_t state;              /* enum vdb__request_state */
	uint8_t stable_op;          /* of the request whose FLUSH this is; else NOP */
	bool stable;                /* when it has succeeded, a FLUSH follows */
	bool host_writes;           /* data goes into guest memory */
	bool held;                  /* the regions, by this request: the lane has moved on to another map */
	bool sliced;                /* INLINE, from the start or once: `done` and `to` are good */
	bool cancelled;             /* the backend has been asked to end it */
	bool whole;                 /* DONE, or INLINE to the end: nothing is left of it */
	uint32_t returned;          /* completed by a post that is on its way; any thread */
	int32_t posted;             /* its result */

	struct iovec own_iov[1 + VDB__IOV_OWN]; /* the first is the backend's */

	struct vdb__region *own_region[VDB__IOV_OWN]; /* behind each iovec */
	uint64_t stable_len;                          /* of the request whose FLUSH this is */
	uint64_t done;                                /* INLINE: bytes finished */
	struct vdb__cursor to;                        /* where `done` has got to in pub.iov */
};

static inline struct iovec *vdb__request_iov(struct vdb__request *r)
{
	return 1 + (r->pieces ? r->pieces->iov : r->own_iov);
}

static inline struct vdb__region **vdb__request_regions(struct vdb__request *r)
{
	return r->pieces ? r->pieces->region : r->own_region;
}

/* ---- checks.c: no side effects ---- */

/* 0, or why the request cannot be served: -errno for the guest. */
int vdb__request_check(const struct vdb_backend *backend, const struct vdb__elem *elem);

/* ---- request.c ---- */

/* Makes iovecs of the data's segments, in the map of the lane's view, which holds what is behind them;
 * -errno for the guest. */
int vdb__request_map(struct vdb__request *r, const struct vdb__elem *elem, const struct vdb__seg *segs);

/* The lane's view lets go of that map: the request holds its regions by itself from now on. */
void vdb__request_hold(struct vdb__request *r);

/* Marks the next `bytes` of the data as written by the host. */
void vdb__request_mark(struct vdb__request *r, uint64_t bytes);

/* It carries a packet that makes no sense: its VM's account says so. */
void vdb__request_misdeed(const struct vdb__request *r);

/* It takes so much of the loop's time, as if it were bytes; but they are none, and no limit counts them. */
void vdb__request_costs(struct vdb__request *r, uint64_t cost);

/* Lets go of the memory and stages the completion; r is free afterwards. */
void vdb__request_finish(struct vdb__request *r, int64_t result);

/* ---- start.c ---- */

/* Takes one request on its way. Returns what it costs besides the request itself. */
uint64_t vdb__request_start(struct vdb_lane *lane, const struct vdb__elem *elem, const struct vdb__seg *segs);

/* A WRITE that is to be stable has succeeded: the same request goes on as a FLUSH. */
void vdb__request_stabilize(struct vdb__request *r);

/* Works on about `max` bytes of the first INLINE request. Returns how many. */
uint64_t vdb__request_slice(struct vdb_lane *lane, uint64_t max);

/* ---- memops.c: COPY and FILL ---- */

/* Moves at most `max` bytes that lie together. Returns how many. */
uint64_t vdb__memop_step(struct vdb__request *r, uint64_t max);

/* A COPY or FILL is at its beginning. */
void vdb__memop_begin(struct vdb__request *r);

static inline bool vdb__is_memop(uint8_t op)
{
	return op == VDB_OP_COPY || op == VDB_OP_FILL;
}

#endif
