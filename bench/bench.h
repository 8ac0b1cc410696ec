/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmarks share: options, one VM with its guest on one host CPU and one
 * loop on another, and rows of results.
 *
 * A row is a line: id, value, unit, and what it is, where id is program/case/figure. What goes
 * wrong ends the program, with the reason: 1, or 77 if this host cannot run it.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vdb/vdb.h>

#include "guest/mailbox.h"

enum { BENCH_FAILED = 1, BENCH_SKIPPED = 77 };

/* ---- Options ---- */

struct bench_options {
	const char *program; /* without bench_ */
	bool quick;          /* a smoke test */
	bool check;          /* of data, too */
	uint64_t count;      /* samples of a latency */
	uint64_t ms;         /* of measuring, for a rate */
	int vcpu_cpu, loop_cpu;
	const char *file;
	uint64_t file_mib;
	char **cases; /* to be run; NULL after the last, empty = all */
};

struct bench_case {
	const char *name;
	void (*run)(const struct bench_options *options, const struct bench_case *self);
	uint32_t depth;
	uint32_t kind; /* VDB_DOORBELL_*, or what the program likes */
	bool polling;  /* the loop polls before it sleeps */
	const char *what;
};

/* Reads the command line, runs the cases that it names. Returns the exit status. */
int bench_main(int argc, char **argv, const char *program, const struct bench_case *cases, size_t count);

/* The first half of it, for programs whose cases are no list. `cases` are not looked at. False: a
 * usage error. bench_usage() explains the options. */
bool bench_options(int argc, char **argv, const char *program, struct bench_options *o);
void bench_usage(void);

_Noreturn void bench_die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Dies of `err`, if it is one, with vdb_errmsg(). */
void bench_must(int err);

/* Memory for guests, of which only what they touch is there. The caller unmaps it. */
uint8_t *bench_ram(uint64_t bytes);

/* ---- Waiting ---- */

/* A gate; bench_gate_open() is what a `done` calls, with a reference of its own, which it drops. */
struct vdb_gate *bench_gate(void);
void bench_gate_open(void *gate);
/* Waits and drops. */
void bench_gate_wait(struct vdb_gate *gate);

/* ---- Time ---- */

uint64_t bench_tsc(void);
uint64_t bench_ns(void);

/* Nanoseconds of so many ticks. The rate is measured from the program's start to here. */
double bench_ticks_to_ns(double ticks);
uint64_t bench_ms_to_ticks(uint64_t ms);
void bench_clock_start(void);

void bench_pin(int cpu);
void bench_unpin(void);

/* ---- Rows ---- */

void bench_row(const struct bench_options *o, const struct bench_case *c, const char *figure, double value,
               const char *unit, const char *what);

/* Median and 99th percentile of ticks, as nanoseconds; sorts them. */
void bench_percentiles(const struct bench_options *o, const struct bench_case *c, const char *figure,
                       uint64_t *ticks, uint64_t count, const char *what);

/* ---- The VM ---- */

struct bench_vm {
	const struct bench_options *options;
	struct vdb_kvm *kvm;
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu;
	struct vdb_doorbell *doorbell;
	struct vdb_gate *exited;
	struct vdb_loop *loop;
	struct vdb_lane *lane;
	uint32_t poll_mode;      /* VDB_POLL_*, as the next */
	struct vdb_limit *limit; /* of the lane; set before bench_vm_serve() */
	uint8_t *ram;
	struct bench_mailbox *box;
	uint64_t *samples;
	int64_t tsc_ahead;  /* the guest's TSC minus the host's */
	uint64_t tsc_doubt; /* that is known but for so many ticks, either way */
	char event[160];
	struct vdb_loop_stats loop_stats; /* after bench_vm_run() */
	struct vdb_lane_stats lane_stats;
};

/* A VM with a doorbell, VDB_DOORBELL_* or BENCH_MATCH: two rings behind one address, told apart
 * by the value written. The mailbox is filled in by the caller. */
#define BENCH_MATCH 100u
void bench_vm_create(struct bench_vm *vm, const struct bench_options *options, uint32_t kind);

/* Starts the guest, which waits, and compares the clocks. */
void bench_vm_start(struct bench_vm *vm);

/* The guest's ring is served by a loop of its own, on its CPU. Takes the backend. */
void bench_vm_serve(struct bench_vm *vm, struct vdb_backend *backend, uint32_t poll_ns);

/* Lets the guest go and waits for its end, for which it has some time beyond `ms`. */
void bench_vm_run(struct bench_vm *vm, uint64_t ms);

/* All that a benchmark of requests does once there are a VM and a backend, which is taken: reads
 * of BENCH_BLOCK at random among the first `blocks`, at the case's depth, for o->ms. */
void bench_vm_read(struct bench_vm *vm, const struct bench_options *o, const struct bench_case *c,
                   struct vdb_backend *backend, uint64_t blocks);

void bench_vm_destroy(struct bench_vm *vm);

#endif
