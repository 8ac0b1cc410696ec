/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of a benchmark, its clock and its rows. */
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "bench.h"

/* ---- The end ---- */

void bench_die(int status, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "bench: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	_exit(status);
}

void bench_must(int err)
{
	if (err < 0)
		bench_die(BENCH_FAILED, "%s", vdb_errmsg());
}

/* ---- Waiting ---- */

uint8_t *bench_ram(uint64_t bytes)
{
	uint8_t *ram =
	        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (ram == MAP_FAILED)
		bench_die(BENCH_FAILED, "no memory");
	return ram;
}

struct vdb_gate *bench_gate(void)
{
	struct vdb_gate *gate;

	bench_must(vdb_gate_create(&gate));
	return gate;
}

void bench_gate_open(void *gate)
{
	vdb_gate_open(gate, 0);
	vdb_gate_unref(gate);
}

void bench_gate_wait(struct vdb_gate *gate)
{
	int64_t result;

	bench_must(vdb_gate_wait(gate, -1, &result));
	vdb_gate_unref(gate);
}

/* ---- Time ---- */

static uint64_t first_tsc, first_ns; /* of bench_clock_start() */

/* Not before what comes before it is done: rdtsc alone may run ahead of a load. */
uint64_t bench_tsc(void)
{
	_mm_lfence();
	return __rdtsc();
}

uint64_t bench_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void bench_clock_start(void)
{
	first_ns = bench_ns();
	first_tsc = bench_tsc();
}

static double ns_per_tick(void)
{
	uint64_t ns = bench_ns() - first_ns, enough = 20000000;

	if (ns < enough)
		usleep((useconds_t)((enough - ns) / 1000 + 1));
	ns = bench_ns() - first_ns;
	return (double)ns / (double)(bench_tsc() - first_tsc);
}

double bench_ticks_to_ns(double ticks)
{
	return ticks * ns_per_tick();
}

uint64_t bench_ms_to_ticks(uint64_t ms)
{
	return (uint64_t)((double)ms * 1e6 / ns_per_tick());
}

/* ---- CPUs ---- */

static cpu_set_t whole; /* what the program was started with */

void bench_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bench_die(BENCH_SKIPPED, "no CPU %d here; name others: -c VCPU,LOOP", cpu);
}

void bench_unpin(void)
{
	(void)sched_setaffinity(0, sizeof(whole), &whole);
}

/* ---- Rows ---- */

void bench_row(const struct bench_options *o, const struct bench_case *c, const char *figure, double value,
               const char *unit, const char *what)
{
	char id[96];

	snprintf(id, sizeof(id), "%s/%s/%s", o->program, c->name, figure);
	printf("%-32s %14.*f %-6s %s\n", id, value < 100 ? 3 : 0, value, unit, what);
	fflush(stdout);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void bench_percentiles(const struct bench_options *o, const struct bench_case *c, const char *figure,
                       uint64_t *ticks, uint64_t count, const char *what)
{
	char name[64], text[160];
	uint64_t at;

	if (!count)
		bench_die(BENCH_FAILED, "%s/%s: no sample", o->program, c->name);
	qsort(ticks, count, sizeof(*ticks), compare);
	for (unsigned percent = 50; percent <= 99; percent += 49) {
		snprintf(name, sizeof(name), "%s%sp%u", figure, *figure ? "-" : "", percent);
		snprintf(text, sizeof(text), "%s, p%u", what, percent);
		at = (count - 1) * percent / 100;
		bench_row(o, c, name, bench_ticks_to_ns((double)ticks[at]), "ns", text);
	}
}

/* ---- The command line ---- */

void bench_usage(void)
{
	printf("  -q  quick: is it working?        -k  check the data that is read, too\n"
	       "  -n  samples of a latency         -t  milliseconds that a rate is measured for\n"
	       "  -c  host CPUs, default 0,1       -f, -s  file to use, its size in MiB; made if absent\n");
}

static void usage(const char *program, const struct bench_case *cases, size_t count)
{
	printf("usage: bench_%s [-q] [-k] [-n SAMPLES] [-t MS] [-c VCPU,LOOP] [-f FILE] [-s MIB] [CASE...]\n",
	       program);
	bench_usage();
	printf("cases, all of them if none is named:\n");
	for (size_t i = 0; i < count; i++)
		printf("  %-16s %s\n", cases[i].name, cases[i].what);
}

static bool number(const char *text, uint64_t *out)
{
	char *end;

	*out = strtoull(text, &end, 0);
	return end != text && !*end && *out > 0;
}

static bool take(struct bench_options *o, int option)
{
	switch (option) {
	case 'q':
		o->quick = true;
		return true;
	case 'k':
		o->check = true;
		return true;
	case 'n':
		return number(optarg, &o->count);
	case 't':
		return number(optarg, &o->ms);
	case 'c':
		return sscanf(optarg, "%d,%d", &o->vcpu_cpu, &o->loop_cpu) == 2;
	case 'f':
		o->file = optarg;
		return true;
	case 's':
		return number(optarg, &o->file_mib);
	default:
		return false;
	}
}

static const struct bench_case *find(const struct bench_case *cases, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(cases[i].name, name))
			return &cases[i];
	return NULL;
}

static void finish_options(struct bench_options *o)
{
	if (!o->count)
		o->count = o->quick ? 200 : 5000;
	if (!o->ms)
		o->ms = o->quick ? 100 : 1000;
	if (!o->file_mib)
		o->file_mib = o->quick ? 4 : 256;
}

static void run(const struct bench_options *o, const struct bench_case *cases, size_t count)
{
	for (size_t i = 0; i < count && !*o->cases; i++)
		cases[i].run(o, &cases[i]);
	for (char **name = o->cases; *name; name++) {
		const struct bench_case *c = find(cases, count, *name);

		c->run(o, c);
	}
}

bool bench_options(int argc, char **argv, const char *program, struct bench_options *o)
{
	int option;

	*o = (struct bench_options){.program = program, .loop_cpu = 1};
	bench_clock_start();
	(void)sched_getaffinity(0, sizeof(whole), &whole);
	while ((option = getopt(argc, argv, "qkn:t:c:f:s:")) != -1)
		if (!take(o, option))
			return false;
	o->cases = argv + optind;
	finish_options(o);
	return true;
}

int bench_main(int argc, char **argv, const char *program, const struct bench_case *cases, size_t count)
{
	struct bench_options o;
	bool good = bench_options(argc, argv, program, &o);

	for (char **name = o.cases; good && *name; name++)
		good = find(cases, count, *name);
	if (!good) {
		usage(program, cases, count);
		return 2;
	}
	run(&o, cases, count);
	return 0;
}
