/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the loop share. Loop's thread only, but for what is marked. */
#ifndef VDB_LOOP_STATE_H
#define VDB_LOOP_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vdb/io.h>
#include <vdb/loop.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/list.h"
#include "loop/caps.h"
#include "loop/engine.h"
#include "loop/files.h"
#include "loop/io_cpus.h"
#include "loop/memory.h"
#include "loop/poll.h"
#include "loop/source.h"

struct vdb__timers {
	struct vdb_timer **heap; /* armed ones, the earliest first */
	uint32_t armed, room, total;
	uint64_t seq;        /* of the last setting: equal deadlines go off in order of arming */
	uint64_t programmed; /* what the timerfd is set to, 0 = nothing */
	int fd;
	struct vdb__list all;
	struct vdb__watch watch;
};

struct vdb__signals {
	uint64_t turn;
	uint32_t count;  /* in it, so far */
	uint32_t before; /* in the turn before */
};

struct vdb_tenant {
	struct vdb__account account; /* first */
	uint32_t refs;               /* any thread */
	struct vdb_loop *loop;
	struct vdb__list link;  /* in the loop's active list, while it has ready sources */
	struct vdb__list ready; /* sources */
	int64_t deficit;        /* what it may still be served; negative is debt */
	uint64_t bytes, requests, turns;
	struct vdb__place place; /* among the loop's */
	struct vdb__order order; /* of its sources */
	uint64_t wait_mark;      /* what the loop had served others when it began to wait */
	uint64_t wait_most, overtaken;
	struct vdb_limit *limit; /* of all its sources; holds a reference */
};

struct vdb_loop {
	struct vdb__engine *engine;
	struct vdb__list active;   /* tenants */
	struct vdb__list hot;      /* sources */
	struct vdb__list batches;  /* vdb__batch */
	struct vdb__list done;     /* ios whose done() is due */
	struct vdb__list gone;     /* watches whose gone() is due */
	struct vdb__list inflight; /* ios */
	struct vdb__list backlog;  /* ios that the engine has yet to start */
	struct vdb__list watches;  /* all of them */
	struct vdb__list members, leaving;
	struct vdb__timers timers;
	struct vdb__files files;
	struct vdb__signals signals;
	struct vdb__memory memory;
	struct vdb__watch wake; /* of wake_fd */
	int wake_fd;            /* eventfd, never read: posts and stop */
	struct vdb__polling polling;
	uint64_t turn;           /* its number */
	struct vdb__order order; /* of tenants */
	uint64_t quantum;
	uint32_t request_cost;
	bool closing;
	bool nested;                   /* its owner sleeps elsewhere, on the engine's fd */
	bool bound;                    /* a thread has run it */
	bool ending;                   /* who has it now came to destroy it */
	bool renewed;                  /* its engine: it has yet to be told of files and memory */
	bool rescan;                   /* events were lost: every source may have work */
	struct vdb_loop_config config; /* but for io_cpus, which is the caller's */
	struct vdb__io_cpus io_cpus;
	struct vdb_loop_stats stats; /* one writer, any reader */

	/* Any thread. */
	_Alignas(64) struct vdb__post *posts; /* the latest first */
	uint32_t asleep;                      /* or about to be: who posts must wake it */
	uint32_t stop;
	uint32_t guests;  /* threads within post or stop: what they asked for may be done already */
	uint32_t running; /* run() or a turn is under way */
	int32_t owner;    /* thread id, 0 = none yet */
	pthread_t thread; /* of vdb_loop_start() */
	uint32_t started;
	int result; /* of the started thread's run */
	pthread_mutex_t arrivals_lock;
	struct vdb__list arrivals; /* under the lock, as is the next */
	bool arrivals_closed;
};

/* turn.c: one round of everything that is due. Returns how much was done. */
unsigned vdb__turn(struct vdb_loop *loop);

/* The first part of it: what has arrived is reported. */
unsigned vdb__loop_reap(struct vdb_loop *loop);

/* Nothing is due: the next turn may be waited for. */
bool vdb__loop_idle(const struct vdb_loop *loop);

/* Arms every hot source. False if one has work. */
bool vdb__loop_arm(struct vdb_loop *loop);

/* Before a sleep: looks, arms, looks again. True if nothing is due. */
bool vdb__loop_settle(struct vdb_loop *loop);

/* Something became due: outside a turn somebody may be about to sleep over it. */
void vdb__loop_nudge(struct vdb_loop *loop);

/* run.c: makes the calling thread the one that runs the loop; take_over: whoever did before. */
int vdb__loop_enter(struct vdb_loop *loop, bool take_over);
void vdb__loop_leave(struct vdb_loop *loop);

/* loop.c */
int vdb__engine_renew(struct vdb_loop *loop);
void vdb__loop_free(struct vdb_loop *loop);

/* post.c */
void vdb__loop_wake(struct vdb_loop *loop); /* any thread, signal-safe */
unsigned vdb__posts_run(struct vdb_loop *loop, int status);

/* arrival.c: from now on nobody is expected, and who was has posted or will not. */
void vdb__arrivals_close(struct vdb_loop *loop);

/* tenant.c: one deficit round robin round. Returns how many sources were served. */
unsigned vdb__tenants_serve(struct vdb_loop *loop);
/* It has work, and takes its place behind the others. */
void vdb__tenant_queue(struct vdb_tenant *tenant);
struct vdb_tenant *vdb__tenant_new(struct vdb_loop *loop);
void vdb__tenant_unref(struct vdb_tenant *tenant);

/* source.c */
void vdb__source_rang(struct vdb__watch *watch);
void vdb__source_hot(struct vdb__source *source);
bool vdb__source_arm(struct vdb__source *source); /* false: it has work after all */
bool vdb__sources_look(struct vdb_loop *loop, bool busy);
void vdb__sources_rescan(struct vdb_loop *loop);

unsigned vdb__sources_gone(struct vdb_loop *loop);

/* io.c */
bool vdb__io_endless(const struct vdb_io *io);
unsigned vdb__ios_done(struct vdb_loop *loop);
void vdb__ios_cancel(struct vdb_loop *loop, bool all);

/* signal.c: writes an eventfd, now */
void vdb__signal_now(int fd);

/* timer.c */
int vdb__timers_init(struct vdb_loop *loop);
void vdb__timers_fini(struct vdb_loop *loop);
void vdb__timers_program(struct vdb_loop *loop);
uint64_t vdb__now(void);
void vdb__timer_arm_at(struct vdb_timer *timer, uint64_t deadline); /* ns of CLOCK_MONOTONIC, not 0 */

#endif
