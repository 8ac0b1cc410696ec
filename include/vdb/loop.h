/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: one thread, one io_uring, serving the rings of many VMs.
 *
 * Everything attached to a loop belongs to the thread that runs it: the first
 * thread that calls run, step or prepare. Lanes are created and destroyed from
 * any thread, by posts.
 */
#ifndef VDB_LOOP_H
#define VDB_LOOP_H

#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_loop;
struct vdb_tenant;
struct vdb_timer;

enum {
	VDB_ENGINE_AUTO = 0,  /* io_uring; epoll where that is not available */
	VDB_ENGINE_URING = 1, /* or fail, with the reason */
	VDB_ENGINE_EPOLL = 2, /* epoll and a thread pool for disk I/O */
};

/*
 * How a loop looks at rings before it sleeps, so that their guests need not ring (poll_ns not 0).
 * ADAPTIVE: each ring by what it brings. A ring whose bell comes within poll_ns of its last use is
 * looked at longer the next time, one whose bell comes later shorter, down to not at all; the same
 * for completions of host I/O. Idle rings are never looked at.
 */
enum {
	VDB_POLL_ADAPTIVE = 0,
	VDB_POLL_ALWAYS = 1, /* poll_ns after the last use of any ring, whatever it brings */
	VDB_POLL_NEVER = 2,  /* as if poll_ns were 0 */
};

/* What io_uring may do beyond what is always used. Each is dropped where the kernel refuses it:
 * vdb_loop_stats.features tells. With VDB_ENGINE_EPOLL they mean nothing. */

/* A thread of the kernel's takes submissions, so that the loop makes no system call for them while that
 * thread is awake. It spins for sq_idle_ms after the last one: for a host with a CPU to spare. */
#define VDB_LOOP_SQPOLL (1u << 0)

/* The memory of the VMs that it serves is registered with the ring, and so pinned: all of it is there from
 * then on, counts against RLIMIT_MEMLOCK, and I/O need not look it up. For the regions that allow it:
 * vdb/mem.h, VDB_REGION_DISCARDABLE. Attaching a VM's first lane takes the loop's thread as long as the
 * kernel needs to pin what is new: populate it before (VDB_REGION_PREFAULT). */
#define VDB_LOOP_REGISTER_MEMORY (1u << 1)

/* Reads and writes of O_DIRECT files (VDB_FILE_DIRECT) are polled for, by a second ring, instead of
 * waiting for their interrupt. The loop does not sleep while one is in flight. For devices that have queues
 * for it (nvme.poll_queues); a file whose device has none goes the ordinary way after its first request. */
#define VDB_LOOP_IOPOLL (1u << 2)

struct vdb_loop_config {
	uint32_t size;
	uint32_t engine;       /* VDB_ENGINE_* */
	uint32_t sq_entries;   /* io_uring: 0 = 256 */
	uint32_t cq_entries;   /* io_uring: 0 = 16384; at least 4 * (rings + requests in flight) is wise */
	int32_t pool_threads;  /* epoll: 0 = do disk I/O on the loop's thread; -1 = default (2) */
	uint32_t poll_ns;      /* look at a ring so long after its last use, at most; 0 = never */
	uint64_t quantum;      /* bytes a tenant may be served per turn; 0 = 256 KiB */
	uint32_t request_cost; /* bytes that a request counts for besides its data; 0 = 4096 */
	uint32_t flags;        /* VDB_LOOP_* */
	uint32_t sq_idle_ms;   /* SQPOLL: 0 = the kernel's default, 1000 */
	uint32_t sq_cpu;       /* SQPOLL: the thread stays on host CPU sq_cpu - 1; 0 = anywhere */
	uint32_t poll_mode;    /* VDB_POLL_* */
	uint32_t poll_cpu;     /* percent of a CPU that looking may take; 0 = 100. Kept over 10 ms */
	/* An interrupt may be held back so long, at most, while the loop is awake and more of the same
	 * ring's requests are in flight, when it interrupts often; 0 = each is raised in its turn. Never
	 * for the last request in flight. */
	uint32_t coalesce_ns;
	/* io_uring: kernel threads, at most, for I/O that would have to wait, and as many for what is no file
	 * or block device. They are the thread's that runs the loop, whatever ring asks for them. 0 = the
	 * kernel's number for files (four for each CPU, and NUMA node), 64 for the rest. */
	uint32_t io_workers;
	/* Host CPUs for the threads that do I/O which has to wait, io_uring's and the pool's: a cpu_set_t of
	 * so many bytes, copied. NULL = io_uring's are as the kernel has them, since 6.2 where the loop's
	 * thread is bound to; the pool's where the thread that creates the loop may be. What shares a CPU
	 * with a busy loop waits for it, what shares one with a vCPU takes of it. If the loop's thread is
	 * bound to one CPU when it first runs it, io_uring's leave that one out of a set with others: the
	 * kernel would leave nothing but it. Where the kernel refuses the set, as one with CPUs outside of
	 * the process's cpuset, it is done without: VDB_LOOP_HAS_IO_CPUS. */
	const void *io_cpus;
	uint64_t io_cpus_size;
};

/* config may be NULL. VDB_ENGINE_URING: -ENOSYS, -EPERM where it is forbidden. -EINVAL: what makes no sense,
 * such as io_cpus without any, or with one that the host does not have. */
VDB_MUST_CHECK int vdb_loop_create(const struct vdb_loop_config *config, struct vdb_loop **out);

/*
 * Frees a loop that is not running. What is still attached is detached first:
 * requests in flight are waited for (I/O on pipes, sockets and the like, which may
 * never end, is cancelled), posts not yet run get -ECANCELED. Call it
 * on the loop's thread, or when that has returned from vdb_loop_run().
 * -EBUSY: it runs. -EPERM: another thread was the last to step or prepare it, and
 * left I/O in flight that only that thread can finish (io_uring): destroy it there; nothing
 * has happened. NULL is fine.
 */
VDB_MUST_CHECK int vdb_loop_destroy(struct vdb_loop *loop);

/* Serves until vdb_loop_stop(). Returns 0, or -errno if the engine failed for good.
 * May be called again. -EBUSY: another thread runs it; -EPERM: another thread owns it. */
VDB_MUST_CHECK int vdb_loop_run(struct vdb_loop *loop);

/* Makes vdb_loop_run() return after its present turn; if it does not run, the next one
 * returns after its first turn. Any thread, signal-safe. */
void vdb_loop_stop(struct vdb_loop *loop);

/* vdb_loop_run() on a new thread named `name` (NULL = "vdb-loop"), pinned to host CPU
 * `cpu` unless -1, with all signals blocked. vdb_loop_join() stops it and waits
 * (not on the loop's own thread: -EDEADLK; -EINVAL: not started) and says what the run
 * returned; then the loop may be destroyed, or started again. One thread at a time: join
 * after start has returned, and one join for each start. */
VDB_MUST_CHECK int vdb_loop_start(struct vdb_loop *loop, int cpu, const char *name);
VDB_MUST_CHECK int vdb_loop_join(struct vdb_loop *loop);

/*
 * Nesting in a loop of your own: wait until vdb_loop_fd() is readable, but only
 * after vdb_loop_prepare() said 1; then vdb_loop_step().
 *
 * fd sets the loop up for that: the first call comes before the loop has been run,
 * stepped or prepared (-EBUSY). It is the same fd as long as one thread has the loop.
 * prepare arms every doorbell, then looks at every ring once more: 1 = you may
 * sleep; 0 = there is work already, call vdb_loop_step() now.
 * step does one turn without waiting: 1 if it did anything, 0 if not, or -errno.
 */
VDB_MUST_CHECK int vdb_loop_fd(struct vdb_loop *loop);
VDB_MUST_CHECK int vdb_loop_prepare(struct vdb_loop *loop);
VDB_MUST_CHECK int vdb_loop_step(struct vdb_loop *loop);

/* 1 if the calling thread is the one that runs this loop. */
int vdb_loop_here(const struct vdb_loop *loop);

/* ---- Work from other threads ---- */

/* Runs fn(arg, 0) on the loop's thread, in order of posting; fn(arg, -ECANCELED) on
 * the destroying thread if the loop ends first. Any thread, the loop's too. -ENOMEM. */
VDB_MUST_CHECK int vdb_loop_post(struct vdb_loop *loop, void (*fn)(void *arg, int status), void *arg);

/* The same, but waits for fn's return value. On the loop's own thread: called at
 * once. Never hold a lock that the loop takes. -ECANCELED: the loop ended.
 * -EDEADLK: from another loop's thread. Control threads only; a vCPU's thread uses a
 * gate (vdb/gate.h). */
VDB_MUST_CHECK int vdb_loop_call(struct vdb_loop *loop, int (*fn)(void *arg), void *arg);

/* ---- Timers (loop's thread only) ---- */

/* A timer, not armed. -ENOMEM. */
VDB_MUST_CHECK int vdb_timer_create(struct vdb_loop *loop, void (*fn)(void *arg), void *arg,
                                    struct vdb_timer **out);

/* Calls fn once, `ns` nanoseconds from now (CLOCK_MONOTONIC); replaces an earlier setting. */
void vdb_timer_arm(struct vdb_timer *timer, uint64_t ns);
void vdb_timer_disarm(struct vdb_timer *timer);

/* Also from its own callback. NULL is fine. */
void vdb_timer_destroy(struct vdb_timer *timer);

/* ---- Fairness ---- */

/*
 * A tenant is what the loop is fair between: a VM, usually. Each turn a tenant
 * with work may be served one quantum, in bytes plus request_cost per request and
 * 256 per segment after its first;
 * what it overdraws counts against its next turn. Destroy drops the caller's
 * reference; lanes hold their own. Any thread.
 */
VDB_MUST_CHECK int vdb_tenant_create(struct vdb_loop *loop, struct vdb_tenant **out);
void vdb_tenant_destroy(struct vdb_tenant *tenant);

/* Who does what, and who misbehaves. Caps and log lines: vdb/caps.h; rates: vdb/limit.h. What is not marked
 * `now` only grows. */
struct vdb_tenant_stats {
	uint32_t size;
	uint32_t inflight;   /* now: requests taken off its rings and not complete */
	uint64_t bytes;      /* served */
	uint64_t requests;   /* served */
	uint64_t turns;      /* in which it had work */
	uint64_t bells;      /* doorbells that arrived; the kernel merges those that come quickly */
	uint64_t bells_vain; /* of these: visits by a bell that found no request. Some are no one's fault: a
	                        request was found by looking, and its bell came later */
	uint64_t starts;     /* times that one of its queues began to be served: many are resets in a loop */
	uint64_t broken;     /* times that one was stopped: the guest broke the rules, or the host failed */
	uint64_t refused;   /* requests that made no sense: no memory where they point, beyond the end, ... */
	uint64_t errors;    /* requests that ended with an error, these included */
	uint64_t dropped;   /* packets for a network or a vsock that made no sense, or broke the rules */
	uint64_t throttled; /* times that a ring had to wait for a rate limit */
	uint64_t crowded;   /* visits that ended since caps.inflight was reached */
	uint64_t irqs;      /* interrupts raised */
	uint64_t irqs_delayed; /* interrupts that caps.irqs_per_s held back; later ones of the same lane until
	                          it is raised are one with it, and not counted */
	uint64_t pinned;       /* now: bytes of registered memory that count for it */
	uint64_t pinned_refused; /* bytes that caps.pinned kept from that, each time */
	uint32_t fds;            /* now */
	uint32_t reserved;
	uint64_t fds_refused; /* connections of the guest that caps.fds refused */
	uint64_t log_lines;   /* written */
	uint64_t log_dropped; /* beyond the cap, or the log could not take them */
	/* Times that it, or one of its rings, had work and was served only after another tenant, or another
	 * of its rings, had been served twice meanwhile. 0, ever: between becoming ready and being served at
	 * most one budget of every other goes first. What is held back by a limit does not wait. */
	uint64_t overtaken;
	uint64_t wait_most; /* the most that all others together were served while this one had work and
	                       waited: bytes, and request_cost for each request */
};

/* Any thread, at no cost to the loop. */
VDB_MUST_CHECK int vdb_tenant_stats(const struct vdb_tenant *tenant, struct vdb_tenant_stats *stats);

/* What of io_uring is in use, besides its setup flags. */
#define VDB_LOOP_HAS_RING_FD (1u << 0) /* the ring is known to its thread: no look-up of its fd */
#define VDB_LOOP_HAS_SQPOLL (1u << 1)
#define VDB_LOOP_HAS_FILES (1u << 2)   /* vdb_io_file_add() */
#define VDB_LOOP_HAS_MEMORY (1u << 3)  /* VDB_LOOP_REGISTER_MEMORY: see memory, memory_refused */
#define VDB_LOOP_HAS_IOPOLL (1u << 4)  /* a ring for it: see polled */
#define VDB_LOOP_HAS_SIGNALS (1u << 5) /* interrupts by call_fd may go with what else is submitted */
/* Its rings take nothing but what the loop itself submits: filters of system calls (vdb/sandbox.h) do not see
 * what goes through a ring. Missing on kernels before 5.10 and with VDB_ENGINE_EPOLL, which has no ring. */
#define VDB_LOOP_HAS_RESTRICTIONS (1u << 6)
/* The threads that do I/O which has to wait are on io_cpus. */
#define VDB_LOOP_HAS_IO_CPUS (1u << 7)

/* Monotonic counters. Any thread, at no cost to the loop. */
struct vdb_loop_stats {
	uint32_t size;
	uint32_t engine; /* VDB_ENGINE_URING or _EPOLL: what is in use */
	uint64_t turns;  /* rounds over all tenants with work */
	uint64_t sleeps; /* waits that blocked */
	uint64_t enters; /* io_uring_enter or epoll_wait calls */
	uint64_t events; /* CQEs or epoll events */
	uint64_t bells;  /* kicks that arrived */
	uint64_t ios;    /* host operations started */
	uint64_t posts;
	uint64_t timers;
	uint64_t rearms;         /* multishot polls that had ended */
	uint64_t poll_hits;      /* work found by looking, not by a bell */
	uint64_t uring_flags;    /* IORING_SETUP_* in use */
	uint64_t features;       /* VDB_LOOP_HAS_* */
	uint64_t served;         /* bytes, and request_cost for each request: what tenants are charged */
	uint64_t poll_misses;    /* rings looked at in vain, and left to their bells */
	uint64_t poll_time_ns;   /* spent looking with nothing else to do; looks of less than a microsecond or
	                            so are not counted */
	uint64_t fixed_files;    /* of ios: on a file that needed no look-up */
	uint64_t nowaits;        /* I/O that was tried where it was, without waiting: a system call each */
	uint64_t nowait_hits;    /* of these, those that moved something */
	uint64_t fixed_buffers;  /* of ios: in registered memory, in one piece */
	uint64_t memory;         /* bytes registered now */
	uint64_t polled;         /* of ios: done by the ring that is polled */
	uint64_t signals;        /* interrupts that needed no system call of their own */
	uint64_t memory_refused; /* bytes that the kernel would not register, each time */
	/* Fairness as it was, see vdb_tenant_stats. */
	uint64_t overtaken;      /* of all tenants */
	uint64_t visit_most;     /* served to one tenant in one turn, at most: a quantum, and what the last
	                            request     of it had beyond that */
	uint64_t visit_requests; /* the same in requests */
};
VDB_MUST_CHECK int vdb_loop_stats(const struct vdb_loop *loop, struct vdb_loop_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
