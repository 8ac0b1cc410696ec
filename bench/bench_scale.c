/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many lanes on one loop. `lanes`, `deep`: all of them active, driven by one guest on one CPU, the
 * loop on the other: total rate, and fairness between the lanes as Jain's index of what each was
 * served. `quiet`: the round trip of a ring with one request at a time, alone and beside a ring of
 * another tenant that floods the loop. `idle`: a thousand real VMs that sleep beside a busy one: what
 * they take of it, of the CPU, of memory and of open files.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "census.h"
#include "crowd_vm.h"

#define CAPACITY (1ull << 30)
#define POLL_NS 50000u
#define LONG_POLL_NS 1000000u /* longer than the gap between two requests of the quiet one */
#define DEPTH_DEEP 32u
#define QUIET_GAP_US 200u
#define FLOOD 128u
#define IDLE_ENTRIES 32u

struct bed {
	struct crowd_plan plan;
	struct crowd_vm vm;
	uint8_t *ram;
	struct vdb_loop_stats before, after;
};

static void open_kvm(struct crowd_plan *plan)
{
	int err = vdb_kvm_open(NULL, &plan->kvm);

	if (err == -ENOENT || err == -EACCES || err == -ENOTSUP)
		bench_die(BENCH_SKIPPED, "%s", vdb_errmsg());
	bench_must(err);
}

/* 0: sleeps at once. */
static void make_loop(struct crowd_plan *plan, uint32_t poll_ns)
{
	struct vdb_loop_config loop = {.size = sizeof(loop), .poll_ns = poll_ns};

	bench_must(vdb_loop_create(&loop, &plan->loop));
	bench_must(vdb_loop_start(plan->loop, plan->options->loop_cpu, "loop"));
}

static void end_loop(struct vdb_loop *loop)
{
	bench_must(vdb_loop_join(loop));
	bench_must(vdb_loop_destroy(loop));
}

/* A VM with `lanes` lanes, each its own tenant, on a loop of its own. */
static void open_bed(struct bed *bed, const struct bench_options *o, uint32_t lanes, uint32_t entries,
                     uint32_t poll_ns)
{
	*bed = (struct bed){.plan = {.options = o,
	                             .lanes = lanes,
	                             .entries = entries,
	                             .ram_bytes = crowd_ram_bytes(lanes, entries)}};
	crowd_need_files(CROWD_FDS * (uint64_t)lanes);
	open_kvm(&bed->plan);
	make_loop(&bed->plan, poll_ns);
	bench_must(vdb_backend_null(CAPACITY, &bed->plan.backend));
	bed->ram = bench_ram(bed->plan.ram_bytes);
	crowd_create(&bed->vm, &bed->plan, bed->ram);
	bed->vm.box->blocks = CAPACITY / 4096;
}

static void close_bed(struct bed *bed)
{
	crowd_close(&bed->vm);
	crowd_gone(&bed->vm);
	end_loop(bed->plan.loop);
	vdb_backend_destroy(bed->plan.backend);
	vdb_kvm_close(bed->plan.kvm);
	munmap(bed->ram, bed->plan.ram_bytes);
}

static void run_rounds(struct bed *bed, uint32_t depth, uint64_t ms)
{
	struct crowd_box *box = bed->vm.box;

	box->mode = CROWD_ROUND;
	box->depth = depth;
	box->duration = bench_ms_to_ticks(ms);
	box->warm_up = box->duration / 5;
	bed->before.size = bed->after.size = sizeof(bed->before);
	bench_must(vdb_loop_stats(bed->plan.loop, &bed->before));
	crowd_start(&bed->vm);
	crowd_await_end(&bed->vm, ms * 2);
	bench_must(vdb_loop_stats(bed->plan.loop, &bed->after));
}

/* ---- All active ---- */

/* 1: all the same; 1/n: one has it all. */
static double jain(const uint64_t *counts, uint32_t n)
{
	double sum = 0, squares = 0;

	for (uint32_t i = 0; i < n; i++) {
		sum += (double)counts[i];
		squares += (double)counts[i] * (double)counts[i];
	}
	return squares > 0 ? sum * sum / (squares * n) : 0;
}

static double rate(const struct crowd_vm *vm)
{
	return (double)vm->box->completed / (bench_ticks_to_ns((double)vm->box->ran) / 1e9);
}

static void active(const struct bench_options *o, const struct bench_case *c)
{
	struct bed bed;

	open_bed(&bed, o, c->kind, c->depth, c->polling ? POLL_NS : 0);
	run_rounds(&bed, c->depth, o->ms);
	bench_row(o, c, "rate", rate(&bed.vm), "1/s", c->what);
	bench_row(o, c, "jain", jain(bed.vm.counts, c->kind), "", "  Jain's index over the lanes");
	bench_row(o, c, "calls", (double)(bed.after.enters - bed.before.enters) / (double)bed.vm.box->all, "",
	          "  system calls, per request");
	bench_row(o, c, "rung", (double)bed.vm.box->rung / (double)bed.vm.box->all, "",
	          "  doorbells rung, per request");
	close_bed(&bed);
}

/* ---- A quiet one beside one that floods ---- */

static void quiet(const struct bench_options *o, const struct bench_case *c)
{
	struct bed bed;
	struct crowd_box *box;
	uint64_t ms = o->count * QUIET_GAP_US / 1000;

	open_bed(&bed, o, 2, FLOOD, c->polling ? LONG_POLL_NS : 0);
	box = bed.vm.box;
	box->mode = CROWD_BESIDE;
	box->depth = c->depth;
	box->bytes = c->kind;
	box->blocks = CAPACITY / c->kind;
	box->gap = bench_ms_to_ticks(QUIET_GAP_US) / 1000;
	box->room = o->count < CROWD_SAMPLES_MAX ? o->count : CROWD_SAMPLES_MAX;
	crowd_start(&bed.vm);
	crowd_await_end(&bed.vm, ms * 4);
	bench_percentiles(o, c, "trip", bed.vm.samples, box->sampled, c->what);
	if (c->depth)
		bench_row(o, c, "flood", (double)(box->all - box->sampled) / (double)box->sampled, "",
		          "  requests of the flood for each of the quiet one's");
	close_bed(&bed);
}

/* ---- A thousand that sleep ---- */

struct dormitory {
	struct crowd_plan plan;
	struct crowd_vm *vms;
	uint8_t *ram;
	uint32_t count;
	struct census empty, full;
};

static void fill_dormitory(struct dormitory *d, const struct crowd_plan *plan, uint32_t count)
{
	d->plan = *plan;
	d->count = count;
	d->plan.name = "sleeper";
	d->plan.lanes = 1;
	d->plan.entries = IDLE_ENTRIES;
	d->plan.kernel = d->plan.interrupts = true;
	d->plan.ram_bytes = crowd_ram_bytes(1, IDLE_ENTRIES);
	d->ram = bench_ram(count * d->plan.ram_bytes);
	d->vms = calloc(count, sizeof(*d->vms));
	if (!d->vms)
		bench_die(BENCH_FAILED, "no memory");
	/* The table's pages are not the VMs'. */
	for (uint32_t i = 0; i < count; i++)
		d->vms[i].plan = &d->plan;
	census_take(&d->empty, d->ram, count * d->plan.ram_bytes);
	for (uint32_t i = 0; i < count; i++) {
		crowd_create(&d->vms[i], &d->plan, d->ram + i * d->plan.ram_bytes);
		d->vms[i].box->mode = CROWD_HALT;
		crowd_start(&d->vms[i]);
		crowd_await_halt(&d->vms[i]);
	}
	census_take(&d->full, d->ram, count * d->plan.ram_bytes);
}

static void empty_dormitory(struct dormitory *d)
{
	for (uint32_t i = 0; i < d->count; i++)
		bench_must(vdb_vm_stop(d->vms[i].vm, NULL, NULL));
	for (uint32_t i = 0; i < d->count; i++)
		crowd_close(&d->vms[i]);
	for (uint32_t i = 0; i < d->count; i++)
		crowd_gone(&d->vms[i]);
	munmap(d->ram, d->count * d->plan.ram_bytes);
	free(d->vms);
}

/* The rate of a busy VM on this loop; what the loop's thread and the sleeping ones took meanwhile. */
static double busy(const struct bench_options *o, struct vdb_loop *loop, const struct crowd_plan *like,
                   uint32_t depth)
{
	double result;
	struct bed bed;

	bed.plan = *like;
	bed.plan.loop = loop;
	bed.plan.name = "busy";
	bed.plan.lanes = 1;
	bed.plan.entries = FLOOD;
	bed.plan.kernel = bed.plan.interrupts = false;
	bed.plan.ram_bytes = crowd_ram_bytes(1, FLOOD);
	bed.ram = bench_ram(bed.plan.ram_bytes);
	crowd_create(&bed.vm, &bed.plan, bed.ram);
	bed.vm.box->blocks = CAPACITY / 4096;
	run_rounds(&bed, depth, o->ms / 4 + 1);
	result = rate(&bed.vm);
	crowd_close(&bed.vm);
	crowd_gone(&bed.vm);
	munmap(bed.ram, bed.plan.ram_bytes);
	return result;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

#define PAIRS 9

/* Turn by turn: the loop that has the sleeping ones, and one that has nothing else. */
static double slowdown(const struct bench_options *o, const struct dormitory *d, uint32_t depth, bool polling)
{
	struct crowd_plan alone = d->plan;
	double ratio[PAIRS];
	uint32_t pairs = o->quick ? 1 : PAIRS;

	make_loop(&alone, polling ? POLL_NS : 0);
	for (uint32_t i = 0; i < pairs; i++) {
		double beside = busy(o, d->plan.loop, &d->plan, depth),
		       other = busy(o, alone.loop, &alone, depth);

		ratio[i] = other > 0 ? beside / other : 1;
	}
	end_loop(alone.loop);
	qsort(ratio, pairs, sizeof(*ratio), compare);
	return (1 - ratio[pairs / 2]) * 100;
}

static void tell_memory(const struct bench_options *o, const struct bench_case *c, const struct dormitory *d)
{
	const struct census *a = &d->empty, *b = &d->full;
	double n = d->count;

	bench_row(o, c, "memory", (double)(b->own - a->own) / n / 1024, "KiB",
	          "memory of the process for each VM, beyond guest RAM and what KVM maps");
	bench_row(o, c, "run-area", (double)(b->kvm - a->kvm) / n / 1024, "KiB",
	          "  KVM's run area of its vCPU, mapped");
	bench_row(o, c, "guest-ram", (double)(b->guest - a->guest) / n / 1024, "KiB",
	          "  guest RAM that it touched");
	bench_row(o, c, "fds", (double)(b->fds - a->fds) / n, "", "  open files of each VM");
	bench_row(o, c, "threads", (double)(b->threads - a->threads) / n, "", "  threads of each VM");
}

/* Nobody asks for anything: what does the whole process do? */
static void tell_silence(const struct bench_options *o, const struct bench_case *c, const struct dormitory *d)
{
	struct vdb_loop_stats before = {.size = sizeof(before)}, after = before;
	uint64_t ns = o->quick ? 200000000 : 1000000000, cpu;

	bench_must(vdb_loop_stats(d->plan.loop, &before));
	cpu = census_cpu_ns();
	census_sleep(ns);
	cpu = census_cpu_ns() - cpu;
	bench_must(vdb_loop_stats(d->plan.loop, &after));
	bench_row(o, c, "cpu", (double)cpu / (double)ns * 100, "%", "CPU that all of them take, of one core");
	bench_row(o, c, "wakes", (double)(after.enters - before.enters), "",
	          "  system calls of their loop meanwhile");
}

static void idle(const struct bench_options *o, const struct bench_case *c)
{
	struct crowd_plan plan = {.options = o};
	uint32_t count = o->quick ? 20 : c->kind;
	uint64_t threads_before, threads;
	struct dormitory d;

	crowd_need_files(CROWD_FDS * (uint64_t)(count + 1) + 64);
	open_kvm(&plan);
	make_loop(&plan, c->polling ? POLL_NS : 0);
	bench_must(vdb_backend_null(CAPACITY, &plan.backend));
	fill_dormitory(&d, &plan, count);
	tell_memory(o, c, &d);
	tell_silence(o, c, &d);
	threads_before = census_named_cpu_ns("sleeper");
	bench_row(o, c, "slows", slowdown(o, &d, c->depth, c->polling), "%", c->what);
	threads = census_named_cpu_ns("sleeper") - threads_before;
	bench_row(o, c, "beside", (double)threads / 1e6, "ms", "  CPU of the idle VMs' vCPUs all the while");
	empty_dormitory(&d);
	end_loop(plan.loop);
	vdb_backend_destroy(plan.backend);
	vdb_kvm_close(plan.kvm);
}

static const struct bench_case cases[] = {
        {.name = "lanes-1",
         .run = active,
         .kind = 1,
         .depth = 4,
         .polling = true,
         .what = "requests of 1 lane, 4 under way on each"},
        {.name = "lanes-8",
         .run = active,
         .kind = 8,
         .depth = 4,
         .polling = true,
         .what = "requests of 8 lanes, 4 under way on each"},
        {.name = "lanes-64",
         .run = active,
         .kind = 64,
         .depth = 4,
         .polling = true,
         .what = "requests of 64 lanes, 4 under way on each"},
        {.name = "lanes-256",
         .run = active,
         .kind = 256,
         .depth = 4,
         .polling = true,
         .what = "requests of 256 lanes, 4 under way on each"},
        {.name = "lanes-1024",
         .run = active,
         .kind = 1024,
         .depth = 4,
         .polling = true,
         .what = "requests of 1024 lanes, 4 under way on each"},
        {.name = "deep-1",
         .run = active,
         .kind = 1,
         .depth = 32,
         .polling = true,
         .what = "requests of 1 lane, 32 under way on each"},
        {.name = "deep-8",
         .run = active,
         .kind = 8,
         .depth = 32,
         .polling = true,
         .what = "requests of 8 lanes, 32 under way on each"},
        {.name = "deep-64",
         .run = active,
         .kind = 64,
         .depth = 32,
         .polling = true,
         .what = "requests of 64 lanes, 32 under way on each"},
        {.name = "deep-256",
         .run = active,
         .kind = 256,
         .depth = 32,
         .polling = true,
         .what = "requests of 256 lanes, 32 under way on each"},
        {.name = "deep-1024",
         .run = active,
         .kind = 1024,
         .depth = 32,
         .polling = true,
         .what = "requests of 1024 lanes, 32 under way on each"},
        {.name = "quiet", .run = quiet, .kind = 4096, .what = "round trip of a quiet ring, alone"},
        {.name = "quiet-4k",
         .run = quiet,
         .depth = FLOOD,
         .kind = 4096,
         .what = "round trip of a quiet ring beside a flood of 4 KiB"},
        {.name = "quiet-128k",
         .run = quiet,
         .depth = FLOOD,
         .kind = 131072,
         .what = "round trip of a quiet ring beside a flood of 128 KiB"},
        {.name = "quiet-poll",
         .run = quiet,
         .kind = 4096,
         .polling = true,
         .what = "round trip of a quiet ring, alone, polling loop"},
        {.name = "quiet-poll-4k",
         .run = quiet,
         .depth = FLOOD,
         .kind = 4096,
         .polling = true,
         .what = "the same beside a flood of 4 KiB"},
        {.name = "quiet-poll-128k",
         .run = quiet,
         .depth = FLOOD,
         .kind = 131072,
         .polling = true,
         .what = "the same beside a flood of 128 KiB"},
        {.name = "idle-1000",
         .run = idle,
         .kind = 1000,
         .depth = 32,
         .what = "slower is a busy VM beside 1000 idle ones"},
        {.name = "idle-1000-poll",
         .run = idle,
         .kind = 1000,
         .depth = 32,
         .polling = true,
         .what = "slower is a busy VM beside 1000 idle ones, their loop looks at rings"},
};

int main(int argc, char **argv)
{
	return bench_main(argc, argv, "scale", cases, sizeof(cases) / sizeof(cases[0]));
}
