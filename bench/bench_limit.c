/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How exact rate limits are: a guest reads 4 KiB of the null backend, as fast as it may. Each figure is what
 * came through beside what the limit says: 1 is exact.
 */
#include <pthread.h>
#include <time.h>

#include "bench.h"

#define BLOCKS (1u << 20)

static const struct vdb_limit_config limits[] = {
        {.ops_per_s = 100},
        {.ops_per_s = 1000},
        {.ops_per_s = 10000},
        {.ops_per_s = 100000},
        {.bytes_per_s = 1000 * 1000},
        {.bytes_per_s = 10 * 1000 * 1000},
        {.bytes_per_s = 100 * 1000 * 1000},
        {.bytes_per_s = 1000 * 1000 * 1000},
        {.ops_per_s = 5000, .bytes_per_s = 10 * 1000 * 1000},
        {.ops_per_s = 1000, .ops_burst = 1},
        {.ops_per_s = 1000, .ops_burst = 400},
        {.ops_per_s = 5000},
};
#define FASTER 20000u /* what the last one becomes */

struct run {
	const struct bench_options *o;
	const struct bench_case *c;
	struct bench_vm vm;
	struct vdb_limit *limit;
	struct vdb_limit_config config;
	double slower, faster;
};

static uint64_t ops(const struct run *run)
{
	struct vdb_limit_stats stats = {.size = sizeof(stats)};

	bench_must(vdb_limit_stats(run->limit, &stats));
	return stats.ops;
}

/* Requests of a block that may come in a second. */
static double allowed(const struct vdb_limit_config *config)
{
	double by_bytes = (double)config->bytes_per_s / BENCH_BLOCK, by_ops = (double)config->ops_per_s;

	if (!config->bytes_per_s)
		return by_ops;
	return !config->ops_per_s || by_bytes < by_ops ? by_bytes : by_ops;
}

static void start(struct run *run, const struct bench_options *o, const struct bench_case *c)
{
	*run = (struct run){.o = o, .c = c, .config = limits[c->kind]};
	run->config.size = sizeof(run->config);
	bench_must(vdb_limit_create(&run->config, &run->limit));
	bench_vm_create(&run->vm, o, VDB_DOORBELL_PAGE);
	run->vm.limit = run->limit;
}

static void go(struct run *run)
{
	struct vdb_backend *backend;

	bench_must(vdb_backend_null((uint64_t)BLOCKS * BENCH_BLOCK, &backend));
	bench_vm_read(&run->vm, run->o, run->c, backend, BLOCKS);
}

static void end(struct run *run)
{
	bench_vm_destroy(&run->vm);
	vdb_limit_destroy(run->limit);
}

/* The guest's own count, after a warm-up in which it has used up the burst. */
static void rate(const struct bench_options *o, const struct bench_case *c)
{
	struct run run;
	double seconds, wakes;

	start(&run, o, c);
	go(&run);
	seconds = bench_ticks_to_ns((double)run.vm.box->ran) / 1e9;
	wakes = (double)run.vm.loop_stats.timers / (double)run.vm.box->all;
	bench_row(o, c, "exact", (double)run.vm.box->completed / seconds / allowed(&run.config), "", c->what);
	bench_row(o, c, "wakes", wakes, "", "  timers that went off, per request");
	end(&run);
}

/* ---- Seen from outside ---- */

static void rest(uint64_t ms)
{
	struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};

	(void)nanosleep(&t, NULL);
}

/* Requests a second, for so long. */
static double watch(const struct run *run, uint64_t ms)
{
	uint64_t from = bench_ns(), before = ops(run), to, after;

	rest(ms);
	to = bench_ns();
	after = ops(run);
	return (double)(after - before) * 1e9 / (double)(to - from);
}

static void beside(struct run *run, void *(*fn)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fn, run))
		bench_die(BENCH_FAILED, "no thread");
	go(run);
	(void)pthread_join(thread, NULL);
}

static void await_first(const struct run *run)
{
	while (!ops(run))
		rest(1);
}

static void *see_burst(void *arg)
{
	struct run *run = arg;
	uint64_t from;
	double seconds;

	await_first(run);
	from = bench_ns();
	rest(run->o->ms / 2);
	seconds = (double)(bench_ns() - from) / 1e9;
	run->slower = (double)ops(run) / (allowed(&run->config) * seconds + (double)run->config.ops_burst);
	return NULL;
}

/* All that came, from the first one on: the burst and what flowed meanwhile. */
static void burst(const struct bench_options *o, const struct bench_case *c)
{
	struct run run;

	start(&run, o, c);
	beside(&run, see_burst);
	bench_row(o, c, "exact", run.slower, "", c->what);
	end(&run);
}

static void *change_it(void *arg)
{
	struct run *run = arg;
	uint64_t part = run->o->ms / 4;

	await_first(run);
	rest(part);
	run->slower = watch(run, part) / (double)run->config.ops_per_s;
	run->config.ops_per_s = FASTER;
	bench_must(vdb_limit_set(run->limit, &run->config));
	run->faster = watch(run, part) / FASTER;
	return NULL;
}

/* From the very moment on. */
static void change(const struct bench_options *o, const struct bench_case *c)
{
	struct run run;

	start(&run, o, c);
	beside(&run, change_it);
	bench_row(o, c, "before", run.slower, "", c->what);
	bench_row(o, c, "after", run.faster, "", "  and from its change to 20000 on");
	end(&run);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
	        {.name = "ops-100", .run = rate, .depth = 32, .kind = 0, .what = "100 operations a second"},
	        {.name = "ops-1k", .run = rate, .depth = 32, .kind = 1, .what = "1000 operations a second"},
	        {.name = "ops-10k", .run = rate, .depth = 32, .kind = 2, .what = "10000 operations a second"},
	        {.name = "ops-100k",
	         .run = rate,
	         .depth = 32,
	         .kind = 3,
	         .what = "100000 operations a second"},
	        {.name = "ops-1k-deep-1",
	         .run = rate,
	         .depth = 1,
	         .kind = 1,
	         .what = "1000 operations a second, depth 1"},
	        {.name = "ops-10k-deep-1",
	         .run = rate,
	         .depth = 1,
	         .kind = 2,
	         .what = "10000 operations a second, depth 1"},
	        {.name = "ops-10k-poll",
	         .run = rate,
	         .depth = 32,
	         .kind = 2,
	         .polling = true,
	         .what = "10000 operations a second, polling loop"},
	        {.name = "bytes-1m", .run = rate, .depth = 32, .kind = 4, .what = "1 MB/s"},
	        {.name = "bytes-10m", .run = rate, .depth = 32, .kind = 5, .what = "10 MB/s"},
	        {.name = "bytes-100m", .run = rate, .depth = 32, .kind = 6, .what = "100 MB/s"},
	        {.name = "bytes-1g", .run = rate, .depth = 128, .kind = 7, .what = "1 GB/s"},
	        {.name = "both",
	         .run = rate,
	         .depth = 32,
	         .kind = 8,
	         .what = "5000 operations and 10 MB a second"},
	        {.name = "burst-1",
	         .run = burst,
	         .depth = 32,
	         .kind = 9,
	         .what = "1000 operations a second, burst 1: all from the start on"},
	        {.name = "burst-400",
	         .run = burst,
	         .depth = 128,
	         .kind = 10,
	         .what = "1000 operations a second, burst 400: all from the start on"},
	        {.name = "change",
	         .run = change,
	         .depth = 32,
	         .kind = 11,
	         .what = "5000 operations a second"},
	};

	return bench_main(argc, argv, "limit", cases, sizeof(cases) / sizeof(cases[0]));
}
