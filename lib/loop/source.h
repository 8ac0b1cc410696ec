/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a loop serves. A source is kicked by an eventfd, or found by looking at
 * it while it is hot; it is served fairly within its tenant. Lanes are sources.
 * Loop's thread only, unless said otherwise.
 */
#ifndef VDB_LOOP_SOURCE_H
#define VDB_LOOP_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <vdb/loop.h>

#include "base/list.h"
#include "loop/order.h"

struct vdb__source;
struct vdb__throttle;

struct vdb__source_ops {
	/* Work that serve() could do now? A load or two, no side effect. */
	bool (*pending)(struct vdb__source *source);
	/* Serves up to `budget` (bytes + request_cost each; may overdraw by one request or
	 * one quantum-sized step), no further than vdb__source_may(). Returns the cost; adds to
	 * source->requests and ->bytes. */
	uint64_t (*serve)(struct vdb__source *source, uint64_t budget);
	/* Asks for the doorbell and looks again: true = there is work, do not sleep. */
	bool (*arm)(struct vdb__source *source);
	/* Takes the wish for a doorbell back, since there will be looking; one may come all the same.
	 * NULL: it cannot. */
	void (*disarm)(struct vdb__source *source);
	/* The doorbell rang (for counters). */
	void (*kicked)(struct vdb__source *source);
};

/* One file descriptor whose every wake-up is reported (edges: nothing is read). */
struct vdb__watch {
	struct vdb_loop *loop;
	struct vdb__list all;  /* in the loop's list */
	struct vdb__list link; /* the engine's, then the loop's gone list */
	int fd;                /* -1: nothing to watch */
	uint32_t errors;       /* in a row */
	bool armed, closing;
	bool before; /* armed in the engine that another is to replace */
	void (*rang)(struct vdb__watch *watch);
	struct vdb__source *source;
	void (*gone)(struct vdb__source *source);
};

enum vdb__source_state {
	VDB__IDLE,  /* armed: only a kick brings it back */
	VDB__HOT,   /* drained but not armed: looked at every turn */
	VDB__READY, /* on its tenant's list, will be served */
	VDB__HELD,  /* has work, but its limit has nothing: on no list, a timer brings it back */
	VDB__GONE,  /* removed */
};

struct vdb__source {
	const struct vdb__source_ops *ops;
	struct vdb_loop *loop;
	struct vdb_tenant *tenant;
	struct vdb__list link;  /* in the tenant's ready list or the loop's hot list */
	struct vdb__list crowd; /* while its tenant has too much in flight: caps.h */
	enum vdb__source_state state;
	struct vdb__place place; /* among its tenant's */
	bool owed;               /* the host has yet to answer requests of it: kept by its owner */
	uint32_t looks;          /* found empty so often since it was last served */
	uint32_t poll_ns;        /* how long it is worth looking for requests, and for answers: poll.h */
	uint32_t wait_ns;
	uint64_t since;    /* ns, when it was last active; 0 = after the clock was last read */
	uint64_t requests; /* served, ever: serve() adds, the loop passes the growth on to the tenant */
	uint64_t bytes;
	struct vdb_limit *limit;        /* its own, which outlives it; NULL = none. Set before it is added */
	struct vdb__throttle *throttle; /* NULL: nothing limits it */
	uint64_t stop_requests;         /* limits: what `requests` and `bytes` may become in this visit */
	uint64_t stop_bytes;
	bool ending;             /* what is left is got rid of, not served: no limit holds it back */
	struct vdb__watch watch; /* of the kick fd */
};

/* In serve(): the limits let it begin one more. */
static inline bool vdb__source_may(const struct vdb__source *source)
{
	return source->requests < source->stop_requests && source->bytes < source->stop_bytes;
}

/* Attaches: kick_fd (-1 = none) is watched, the source is served in this turn once.
 * tenant NULL: one of its own. The caller zeroes the struct and sets ops; one that was removed, and is
 * gone, can be added again, to any loop. -EBADF, -ENOMEM (for a tenant or a limit), or what the engine
 * says of the fd. */
int vdb__source_add(struct vdb_loop *loop, struct vdb__source *source, struct vdb_tenant *tenant,
                    int kick_fd);

/* Puts it on the ready list (a request slot became free, inline work is left, a post kicked it). */
void vdb__source_ready(struct vdb__source *source);

/* The host has answered requests of it, and that is about to be published. */
void vdb__source_answered(struct vdb__source *source);

/* Detaches. `gone` is called when the engine will not touch it any more (never from
 * within this call); only then may it be freed and kick_fd be closed. */
void vdb__source_remove(struct vdb__source *source, void (*gone)(struct vdb__source *source));

/* One more reference, dropped by vdb_tenant_destroy(). Any thread. */
void vdb__tenant_ref(struct vdb_tenant *tenant);

/* Which loop it belongs to. */
const struct vdb_loop *vdb__tenant_loop(const struct vdb_tenant *tenant);

/* The limit of `from` is also that of `to`, which is new. */
void vdb__tenant_inherit(struct vdb_tenant *to, const struct vdb_tenant *from);

/* Goes to another loop, with its counters: none of its sources is attached. */
void vdb__tenant_move(struct vdb_tenant *tenant, struct vdb_loop *loop);

/* Charges service that was not given in serve(). */
void vdb__tenant_charge(struct vdb_tenant *tenant, uint64_t cost, uint64_t bytes, uint64_t requests);

/* The same of a source: a continued transfer. */
void vdb__source_charge(struct vdb__source *source, uint64_t bytes);

/* It ends: limits do not hold it back any more. */
void vdb__source_ending(struct vdb__source *source);

/* Writes 1 to a non-blocking eventfd, now or with what is handed to the kernel at the end of the turn. */
void vdb__loop_signal(struct vdb_loop *loop, int fd);

/* Before fd is closed: nothing is on its way any more. */
void vdb__loop_unsignal(struct vdb_loop *loop, int fd);

/* Once-per-batch work: `fn` is called after the CQEs of this turn have been reaped, and
 * again after serving, if queued meanwhile. Queueing twice is one call. */
struct vdb__batch {
	struct vdb__list link;
	void (*fn)(struct vdb__batch *batch);
};
void vdb__loop_batch(struct vdb_loop *loop, struct vdb__batch *batch);

/*
 * Something that may wait a little, while the loop is awake: release() comes in the next turn or, if that is
 * later, at `until` (ns of CLOCK_MONOTONIC), but before the loop sleeps. Held twice, the first time counts.
 */
struct vdb__hold {
	struct vdb__list link;
	uint64_t until;
	void (*release)(struct vdb__hold *hold);
};
void vdb__loop_hold(struct vdb_loop *loop, struct vdb__hold *hold, uint64_t until);
/* True if it was held, and is not any more. */
bool vdb__loop_unhold(struct vdb__hold *hold);

/* A post whose memory is the caller's: cannot fail. Any thread. Queueing it again before it has run
 * is an error of the caller's. */
struct vdb__post {
	struct vdb__post *next;
	void (*fn)(struct vdb__post *post, int status);
};
void vdb__loop_post(struct vdb_loop *loop, struct vdb__post *post);

/*
 * Somebody who will post to another loop later, when that may have been destroyed. Zeroed at first. Any
 * thread; one at a time for each arrival.
 */
struct vdb__arrival {
	struct vdb__list link; /* the loop's */
	struct vdb_loop *loop; /* atomic; NULL: none, or its end has come */
};

/* False: the loop is being destroyed. Else one of the next two must follow. */
bool vdb__loop_expect(struct vdb_loop *loop, struct vdb__arrival *arrival);
/* The loop, which stays until vdb__arrival_done(); NULL: it is gone. */
struct vdb_loop *vdb__arrival_take(struct vdb__arrival *arrival);
void vdb__arrival_done(struct vdb_loop *loop);
/* Does not come. Harmless if nobody was expected. */
void vdb__arrival_drop(struct vdb__arrival *arrival);

/* What is submitted now goes to the kernel together with other: it costs no system call of its own. */
bool vdb__io_shares(const struct vdb_loop *loop);
/* Host I/O goes to the kernel in batches, not one by one. */
bool vdb__io_batches(const struct vdb_loop *loop);

/* Reads what can be read without waiting: bytes, or -errno; -EAGAIN: nothing, -EOPNOTSUPP: never of this
 * file. */
int64_t vdb__io_now(struct vdb_loop *loop, int fd, const struct iovec *iov, uint32_t niov, uint64_t offset);

/* Config in use. */
uint64_t vdb__loop_quantum(const struct vdb_loop *loop);
uint32_t vdb__loop_request_cost(const struct vdb_loop *loop);

uint32_t vdb__loop_coalesce_ns(const struct vdb_loop *loop);

/* Number of this turn. */
uint64_t vdb__loop_turn(const struct vdb_loop *loop);

/* What must be gone before the loop may be destroyed (lanes): vdb_loop_destroy() asks
 * each member to leave and turns until none is left. */
struct vdb__member {
	struct vdb__list link;
	void (*leave)(struct vdb__member *member);
};
void vdb__loop_join_member(struct vdb_loop *loop, struct vdb__member *member);
void vdb__loop_part_member(struct vdb__member *member);

#endif
