/* SPDX-License-Identifier: Apache-2.0 */
/* A loop's life, and the ways to run it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "base/thread.h"
#include "loop/state.h"

#define DEFAULT_QUANTUM (256u << 10)
#define DEFAULT_REQUEST_COST 4096u
#define DEFAULT_SQ 256u
#define DEFAULT_CQ 16384u
#define MAX_ENTRIES 32768u
#define MAX_QUANTUM (1ull << 40)
#define MAX_POOL 64
#define MAX_WORKERS 4096u
#define KNOWN_FLAGS (VDB_LOOP_SQPOLL | VDB_LOOP_REGISTER_MEMORY | VDB_LOOP_IOPOLL)

static int check_flags(const struct vdb_loop_config *own)
{
	if (own->flags & ~KNOWN_FLAGS)
		return vdb__fail(EINVAL, "loop: unknown flags %#x; see VDB_LOOP_*", own->flags);
	if ((own->sq_idle_ms || own->sq_cpu) && !(own->flags & VDB_LOOP_SQPOLL))
		return vdb__fail(EINVAL, "loop: sq_idle_ms, sq_cpu are for VDB_LOOP_SQPOLL");
	if (own->io_workers > MAX_WORKERS)
		return vdb__fail(EINVAL, "loop: io_workers %u is more than %u", own->io_workers, MAX_WORKERS);
	return 0;
}

static int take_config(struct vdb_loop_config *own, const struct vdb_loop_config *config)
{
	int err = vdb__config_take(own, sizeof(*own), config, "vdb_loop_config");

	if (err)
		return err;
	if (own->engine > VDB_ENGINE_EPOLL)
		return vdb__fail(EINVAL, "loop: engine %u is none of VDB_ENGINE_*", own->engine);
	if (own->pool_threads < -1 || own->pool_threads > MAX_POOL)
		return vdb__fail(EINVAL, "loop: pool_threads %d is not in -1..%d", own->pool_threads,
		                 MAX_POOL);
	if (own->sq_entries > MAX_ENTRIES || own->cq_entries > 2 * MAX_ENTRIES)
		return vdb__fail(EINVAL, "loop: sq_entries %u, cq_entries %u: at most %u and %u",
		                 own->sq_entries, own->cq_entries, MAX_ENTRIES, 2 * MAX_ENTRIES);
	if (own->cq_entries && own->sq_entries > own->cq_entries)
		return vdb__fail(EINVAL, "loop: cq_entries %u is less than sq_entries %u", own->cq_entries,
		                 own->sq_entries);
	if (own->quantum > MAX_QUANTUM)
		return vdb__fail(EINVAL, "loop: quantum %llu is more than %llu",
		                 (unsigned long long)own->quantum, MAX_QUANTUM);
	if (own->poll_mode > VDB_POLL_NEVER)
		return vdb__fail(EINVAL, "loop: poll_mode %u is none of VDB_POLL_*", own->poll_mode);
	if (own->poll_cpu > 100)
		return vdb__fail(EINVAL, "loop: poll_cpu %u; a CPU has 100 percent", own->poll_cpu);
	return check_flags(own);
}

static void defaults(struct vdb_loop_config *own)
{
	if (!own->cq_entries)
		own->cq_entries = DEFAULT_CQ;
	if (!own->sq_entries)
		own->sq_entries = own->cq_entries < DEFAULT_SQ ? own->cq_entries : DEFAULT_SQ;
	if (own->pool_threads == -1)
		own->pool_threads = 2;
	if (!own->quantum)
		own->quantum = DEFAULT_QUANTUM;
	if (!own->request_cost)
		own->request_cost = DEFAULT_REQUEST_COST;
}

static int engine_create(struct vdb_loop *loop)
{
	int err;

	if (loop->config.engine == VDB_ENGINE_EPOLL)
		return vdb__epoll_create(loop, &loop->engine);
	err = vdb__uring_create(loop, &loop->engine);
	if (err && loop->config.engine == VDB_ENGINE_AUTO &&
	    (err == -ENOSYS || err == -EPERM || err == -ENOMEM))
		return vdb__epoll_create(loop, &loop->engine);
	return err;
}

/* The loop's own two; after a change of engine, all of them. */
static int watch_all(struct vdb_loop *loop)
{
	struct vdb__list *entry;
	int err = 0;

	for (entry = loop->watches.next; entry != &loop->watches; entry = entry->next) {
		struct vdb__watch *watch = vdb__container(entry, struct vdb__watch, all);

		if (watch->closing || watch->fd < 0)
			continue;
		watch->before = watch->armed;
		watch->armed = false;
		vdb__list_remove(&watch->link);
		if (!err)
			err = loop->engine->ops->watch(loop->engine, watch);
	}
	return err;
}

/* The old engine, which has never let go of those that it had armed, arms the rest again. */
static void watch_again(struct vdb_loop *loop)
{
	struct vdb__list *entry;

	for (entry = loop->watches.next; entry != &loop->watches; entry = entry->next) {
		struct vdb__watch *watch = vdb__container(entry, struct vdb__watch, all);

		if (watch->closing || watch->fd < 0)
			continue;
		vdb__list_remove(&watch->link);
		watch->armed = watch->before;
		if (!watch->armed) /* should that fail, the engine has, and says so */
			(void)loop->engine->ops->watch(loop->engine, watch);
	}
}

/* Those that the old engine was to report as gone: it never will. (It still has a list of some.) */
static void let_go(struct vdb_loop *loop)
{
	struct vdb__list *entry;

	for (entry = loop->watches.next; entry != &loop->watches; entry = entry->next) {
		struct vdb__watch *watch = vdb__container(entry, struct vdb__watch, all);

		if (watch->closing && watch->armed) /* else it is gone already */
			vdb__watch_gone(watch);
	}
}

static int engine_start(struct vdb_loop *loop)
{
	int err = engine_create(loop);

	if (!err)
		err = watch_all(loop);
	if (!err)
		vdb__store(&loop->stats.engine, loop->engine->ops->kind);
	return err;
}

int vdb__engine_renew(struct vdb_loop *loop)
{
	struct vdb__engine *old = loop->engine;
	int err;

	if (old->ops->kind == VDB_ENGINE_EPOLL)
		return 0; /* serves any thread */
	if (old->ops->inflight(old))
		return vdb__fail(EPERM,
		                 "loop: I/O is in flight that only the thread which ran it can finish");
	err = engine_start(loop);
	if (!err) {
		let_go(loop);
		vdb__files_unknown(loop);
		vdb__memory_unknown(loop);
		loop->renewed = true;
		old->ops->destroy(old);
		return 0;
	}
	if (loop->engine != old) {
		loop->engine->ops->destroy(loop->engine);
		loop->engine = old;
		watch_again(loop);
	}
	return err;
}

/* The wake fd is only there to end a wait: posts and stop are looked at every turn. */
static void woken(struct vdb__watch *watch)
{
	(void)watch;
}

static int wake_init(struct vdb_loop *loop)
{
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->wake_fd < 0)
		return vdb__fail_sys(errno, "loop: eventfd");
	loop->wake = (struct vdb__watch){.loop = loop, .fd = loop->wake_fd, .rang = woken};
	vdb__list_init(&loop->wake.link);
	vdb__list_append(&loop->watches, &loop->wake.all);
	return 0;
}

static void lists_init(struct vdb_loop *loop)
{
	struct vdb__list *lists[] = {&loop->active,   &loop->hot,     &loop->batches,  &loop->done,
	                             &loop->gone,     &loop->watches, &loop->members,  &loop->leaving,
	                             &loop->inflight, &loop->backlog, &loop->arrivals, &loop->timers.all};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		vdb__list_init(lists[i]);
}

void vdb__loop_free(struct vdb_loop *loop)
{
	vdb__timers_fini(loop);
	if (loop->engine)
		loop->engine->ops->destroy(loop->engine);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	pthread_mutex_destroy(&loop->arrivals_lock);
	vdb__files_fini(loop);
	vdb__memory_fini(loop);
	free(loop);
}

VDB_EXPORT int vdb_loop_create(const struct vdb_loop_config *config, struct vdb_loop **out)
{
	struct vdb_loop_config own;
	struct vdb__io_cpus io_cpus;
	struct vdb_loop *loop;
	int err = take_config(&own, config);

	if (!err)
		err = vdb__io_cpus_take(&io_cpus, &own);
	if (err)
		return err;
	loop = aligned_alloc(64, (sizeof(*loop) + 63) & ~(size_t)63);
	if (!loop)
		return vdb__fail(ENOMEM, "loop: no memory");
	memset(loop, 0, sizeof(*loop));
	defaults(&own);
	loop->config = own;
	loop->config.io_cpus = NULL;
	loop->io_cpus = io_cpus;
	loop->quantum = own.quantum;
	loop->request_cost = own.request_cost;
	vdb__poll_init(loop);
	loop->wake_fd = loop->timers.fd = -1;
	lists_init(loop);
	pthread_mutex_init(&loop->arrivals_lock, NULL); /* default attributes: cannot fail */
	err = wake_init(loop);
	if (!err)
		err = vdb__timers_init(loop);
	if (!err)
		err = engine_start(loop);
	if (err) {
		vdb__loop_free(loop);
		return err;
	}
	*out = loop;
	return 0;
}

uint64_t vdb__loop_quantum(const struct vdb_loop *loop)
{
	return loop->quantum;
}

uint32_t vdb__loop_request_cost(const struct vdb_loop *loop)
{
	return loop->request_cost;
}

uint32_t vdb__loop_coalesce_ns(const struct vdb_loop *loop)
{
	return loop->config.coalesce_ns;
}

uint64_t vdb__loop_turn(const struct vdb_loop *loop)
{
	return loop->turn;
}

VDB_EXPORT int vdb_loop_stats(const struct vdb_loop *loop, struct vdb_loop_stats *stats)
{
	struct vdb_loop_stats own = {
	        .size = sizeof(own),
	        .engine = vdb__load(&loop->stats.engine),
	        .turns = vdb__load(&loop->stats.turns),
	        .sleeps = vdb__load(&loop->stats.sleeps),
	        .enters = vdb__load(&loop->stats.enters),
	        .events = vdb__load(&loop->stats.events),
	        .bells = vdb__load(&loop->stats.bells),
	        .ios = vdb__load(&loop->stats.ios),
	        .nowaits = vdb__load(&loop->stats.nowaits),
	        .nowait_hits = vdb__load(&loop->stats.nowait_hits),
	        .posts = vdb__load(&loop->stats.posts),
	        .timers = vdb__load(&loop->stats.timers),
	        .rearms = vdb__load(&loop->stats.rearms),
	        .poll_hits = vdb__load(&loop->stats.poll_hits),
	        .poll_misses = vdb__load(&loop->stats.poll_misses),
	        .poll_time_ns = vdb__load(&loop->stats.poll_time_ns),
	        .uring_flags = vdb__load(&loop->stats.uring_flags),
	        .features = vdb__load(&loop->stats.features),
	        .served = vdb__load(&loop->stats.served),
	        .fixed_files = vdb__load(&loop->stats.fixed_files),
	        .fixed_buffers = vdb__load(&loop->stats.fixed_buffers),
	        .memory = vdb__load(&loop->stats.memory),
	        .polled = vdb__load(&loop->stats.polled),
	        .signals = vdb__load(&loop->stats.signals),
	        .memory_refused = vdb__load(&loop->stats.memory_refused),
	        .overtaken = vdb__load(&loop->stats.overtaken),
	        .visit_most = vdb__load(&loop->stats.visit_most),
	        .visit_requests = vdb__load(&loop->stats.visit_requests),
	};

	return vdb__stats_give(stats, &own, sizeof(own), "vdb_loop_stats");
}
