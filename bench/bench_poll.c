/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What looking instead of sleeping buys, and what it costs. A guest asks for nothing, one request at a time,
 * and waits in between for a while that varies by a quarter. `off`: the loop sleeps each time. `adaptive`: it
 * looks as long as that pays, at most POLL_NS. `always`: it looks for POLL_NS each time.
 */
#include <string.h>
#include <time.h>

#include "bench.h"

#define POLL_NS 50000u
#define LONGEST_MS 300u /* a case takes no longer, by fewer requests */
#define WARM_UP 50u     /* requests, until the budget is learnt */

static int nothing(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	(void)req;
	return VDB_REQ_DONE;
}

static struct vdb_backend *make_backend(void)
{
	const struct vdb_backend_ops ops = {.size = sizeof(ops), .name = "nothing", .start = nothing};
	const struct vdb_backend_info info = {.size = sizeof(info), .capacity = 4096, .ops = 1u << 31};
	struct vdb_backend *backend;

	bench_must(vdb_backend_create(&ops, NULL, &info, &backend));
	return backend;
}

/* On the loop's thread: what it has taken of its CPU. */
static int cpu_time(void *arg)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts))
		return -1;
	*(double *)arg = (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
	return 0;
}

static void report(const struct bench_options *o, const struct bench_case *c, struct bench_vm *vm, double cpu,
                   double elapsed)
{
	double requests = (double)vm->box->all;

	bench_percentiles(o, c, "trip", vm->samples, vm->box->sampled, c->what);
	bench_row(o, c, "rung", (double)vm->box->rung / requests, "", "  doorbells rung, per request");
	bench_row(o, c, "cpu", 100 * cpu / elapsed, "", "  percent of a CPU that the loop took");
	bench_row(o, c, "looked", 100 * (double)vm->loop_stats.poll_time_ns / elapsed, "",
	          "  percent of the time that it looked with nothing to do");
}

static void gap(const struct bench_options *o, const struct bench_case *c)
{
	uint64_t most = LONGEST_MS * 1000ull / c->depth;
	double before = 0, after = 0, start, end;
	struct bench_vm vm;

	bench_vm_create(&vm, o, VDB_DOORBELL_PAGE);
	vm.poll_mode = c->kind;
	vm.box->mode = BENCH_SINGLES;
	vm.box->trips = 1;
	vm.box->count = (o->count < most ? o->count : most) + WARM_UP;
	vm.box->gap = bench_ms_to_ticks(c->depth) / 1000;
	bench_vm_start(&vm);
	bench_vm_serve(&vm, make_backend(), POLL_NS);
	bench_must(vdb_loop_call(vm.loop, cpu_time, &before));
	start = (double)bench_ns();
	bench_vm_run(&vm, LONGEST_MS * 2);
	end = (double)bench_ns();
	bench_must(vdb_loop_call(vm.loop, cpu_time, &after));
	report(o, c, &vm, after - before, end - start);
	bench_vm_destroy(&vm);
}

int main(int argc, char **argv)
{
	static const char off[] = "looking: not at all", adaptive[] = "looking: by what it brings",
	                  always[] = "looking: always";
	static const struct bench_case cases[] = {
	        {"5us-off", gap, 5, VDB_POLL_NEVER, true, off},
	        {"5us-adaptive", gap, 5, VDB_POLL_ADAPTIVE, true, adaptive},
	        {"5us-always", gap, 5, VDB_POLL_ALWAYS, true, always},
	        {"30us-off", gap, 30, VDB_POLL_NEVER, true, off},
	        {"30us-adaptive", gap, 30, VDB_POLL_ADAPTIVE, true, adaptive},
	        {"30us-always", gap, 30, VDB_POLL_ALWAYS, true, always},
	        {"200us-off", gap, 200, VDB_POLL_NEVER, true, off},
	        {"200us-adaptive", gap, 200, VDB_POLL_ADAPTIVE, true, adaptive},
	        {"200us-always", gap, 200, VDB_POLL_ALWAYS, true, always},
	        {"2000us-off", gap, 2000, VDB_POLL_NEVER, true, off},
	        {"2000us-adaptive", gap, 2000, VDB_POLL_ADAPTIVE, true, adaptive},
	        {"2000us-always", gap, 2000, VDB_POLL_ALWAYS, true, always},
	};

	return bench_main(argc, argv, "poll", cases, sizeof(cases) / sizeof(cases[0]));
}
