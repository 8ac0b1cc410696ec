/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests per second that one guest on one CPU gets out of one loop on another, when nothing is
 * behind them: READs of 4 KiB of the null backend, each checked, mapped, completed. The
 * guest polls for its completions. `sleep`: the loop sleeps whenever it has nothing to do;
 * `poll`: it looks at the ring for a while before it does.
 */
#include "bench.h"

#define BLOCKS (1u << 20)

/* io_uring_enter is the only call of the data path: no interrupt is asked for. */
static double calls(const struct bench_vm *vm)
{
	return (double)vm->loop_stats.enters / (double)vm->lane_stats.completions;
}

static void report(const struct bench_options *o, const struct bench_case *c, struct bench_vm *vm)
{
	double seconds = bench_ticks_to_ns((double)vm->box->ran) / 1e9;

	bench_row(o, c, "rate", (double)vm->box->completed / seconds, "1/s", c->what);
	bench_row(o, c, "calls", calls(vm), "", "  system calls, per request");
	bench_row(o, c, "rung", (double)vm->box->rung / (double)vm->box->all, "",
	          "  doorbells rung, per request");
	if (c->depth == 1)
		bench_percentiles(o, c, "trip", vm->samples, vm->box->sampled,
		                  "  round trip, seen by the guest");
}

static void rate(const struct bench_options *o, const struct bench_case *c)
{
	struct vdb_backend *backend;
	struct bench_vm vm;

	bench_vm_create(&vm, o, VDB_DOORBELL_PAGE);
	bench_must(vdb_backend_null((uint64_t)BLOCKS * BENCH_BLOCK, &backend));
	bench_vm_read(&vm, o, c, backend, BLOCKS);
	report(o, c, &vm);
	bench_vm_destroy(&vm);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
	        {.name = "sleep-1", .run = rate, .depth = 1, .what = "requests, null backend, depth 1"},
	        {.name = "sleep-32", .run = rate, .depth = 32, .what = "requests, null backend, depth 32"},
	        {.name = "sleep-128", .run = rate, .depth = 128, .what = "requests, null backend, depth 128"},
	        {.name = "poll-1",
	         .run = rate,
	         .depth = 1,
	         .polling = true,
	         .what = "the same, polling loop, depth 1"},
	        {.name = "poll-32",
	         .run = rate,
	         .depth = 32,
	         .polling = true,
	         .what = "the same, polling loop, depth 32"},
	        {.name = "poll-128",
	         .run = rate,
	         .depth = 128,
	         .polling = true,
	         .what = "the same, polling loop, depth 128"},
	};

	return bench_main(argc, argv, "requests", cases, sizeof(cases) / sizeof(cases[0]));
}
