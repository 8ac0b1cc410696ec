/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

#include "demo.h"
#include "machine.h"
#include "tinyvmm.h"

#define FOLD_ABOVE 16u
#define MIB (1024.0 * 1024.0)

/* ---- What went wrong, in words; each counts as an error ---- */

static const char *const errors[] = {
        [DEMO_OK] = "no error",
        [DEMO_BAD_PAGE] = "its doorbell page made no sense",
        [DEMO_NOT_READY] = "its ring did not become ready, reason",
        [DEMO_BROKEN] = "its ring was stopped, reason",
        [DEMO_BAD_RESULT] = "a request failed with",
        [DEMO_BAD_COMPLETION] = "a completion that nobody waited for:",
        [DEMO_BAD_BLOCK] = "a block was read back wrong, from word",
};

static uint64_t guest_errors(const struct machine *m)
{
	const struct demo_mailbox *box = &m->box;
	const char *what = box->error <= DEMO_BAD_BLOCK ? errors[box->error] : "unknown error";

	if (box->errors)
		complain("VM %u: %s %lld (block %llu); %llu errors in all", m->number, what,
		         (long long)box->detail, (unsigned long long)box->error_block,
		         (unsigned long long)box->errors);
	return box->errors;
}

static uint64_t host_errors(const struct machine *m)
{
	uint64_t requests = m->demo->options.requests, n = 0;

	if (m->end == MACHINE_FAULTED) {
		complain("VM %u: %s", m->number, m->event);
		n++;
	}
	if (m->end == MACHINE_RUNS) {
		complain("VM %u: stopped before it was done", m->number);
		n++;
	}
	if (m->box.completed != requests) {
		complain("VM %u: completed %llu of %llu requests", m->number,
		         (unsigned long long)m->box.completed, (unsigned long long)requests);
		n++;
	}
	if (m->wrong_blocks)
		complain("VM %u: %lld blocks in the image are not what it wrote", m->number,
		         (long long)m->wrong_blocks);
	return n + (uint64_t)m->wrong_blocks;
}

/* ---- Numbers ---- */

static double microseconds(const struct demo *demo, uint64_t turns)
{
	return (double)turns / demo->tsc_per_ns / 1000.0;
}

/* The latency that `part` of all requests did not exceed. */
static double percentile(const struct demo *demo, const struct result *r, double part)
{
	uint64_t all = 0, seen = 0;

	for (uint32_t i = 0; i < DEMO_BUCKETS; i++)
		all += r->latency[i];
	for (uint32_t i = 0; i < DEMO_BUCKETS; i++) {
		seen += r->latency[i];
		if (r->latency[i] && (double)seen >= part * (double)all) {
			uint64_t end = demo_bucket_end(i);

			return microseconds(demo, end < r->latency_max ? end : r->latency_max);
		}
	}
	return 0;
}

static void finish(const struct demo *demo, struct result *r)
{
	r->p50_us = percentile(demo, r, 0.50);
	r->p99_us = percentile(demo, r, 0.99);
	r->max_us = microseconds(demo, r->latency_max);
}

static void take(struct result *r, const struct machine *m)
{
	const struct demo_mailbox *box = &m->box;

	*r = (struct result){
	        .requests = box->completed,
	        .bytes = box->bytes,
	        .seconds = m->ended > m->started ? (double)(m->ended - m->started) / 1e9 : 0,
	        .rung = box->rung,
	        .suppressed = box->suppressed,
	        .interrupts = box->interrupts,
	        .triggers = m->lane_stats.triggers,
	        .exits = m->vcpu_stats.runs,
	        .flushes = box->flushes,
	        .errors = guest_errors(m) + host_errors(m),
	        .at_first_finish = m->at_first_finish,
	        .latency_max = box->latency_max,
	};
	for (uint32_t i = 0; i < DEMO_BUCKETS; i++)
		r->latency[i] = box->latency[i];
	finish(m->demo, r);
}

static void add(struct result *total, const struct result *r)
{
	total->requests += r->requests;
	total->bytes += r->bytes;
	total->rung += r->rung;
	total->suppressed += r->suppressed;
	total->interrupts += r->interrupts;
	total->triggers += r->triggers;
	total->exits += r->exits;
	total->flushes += r->flushes;
	total->errors += r->errors;
	total->at_first_finish += r->at_first_finish;
	for (uint32_t i = 0; i < DEMO_BUCKETS; i++)
		total->latency[i] += r->latency[i];
	if (r->latency_max > total->latency_max)
		total->latency_max = r->latency_max;
}

/* From the first start to the last end. */
static double span(const struct demo *demo)
{
	uint64_t first = UINT64_MAX, last = 0;

	for (uint32_t i = 0; i < demo->options.vms; i++) {
		const struct machine *m = &demo->machines[i];

		if (m->started && m->started < first)
			first = m->started;
		last = m->ended > last ? m->ended : last;
	}
	return last > first ? (double)(last - first) / 1e9 : 0;
}

int report_make(struct report *report, const struct demo *demo)
{
	*report = (struct report){.demo = demo};
	report->vms = calloc(demo->options.vms, sizeof(*report->vms));
	if (!report->vms)
		return complain("no memory for the report");
	for (uint32_t i = 0; i < demo->options.vms; i++) {
		take(&report->vms[i], &demo->machines[i]);
		add(&report->total, &report->vms[i]);
	}
	report->total.seconds = span(demo);
	finish(demo, &report->total);
	return 0;
}

void report_free(struct report *report)
{
	free(report->vms);
}

/* ---- The table ---- */

static void print_head(void)
{
	printf("%8s %5s %5s %10s %9s %9s %9s %10s %9s %7s %9s %9s %7s\n", "vm", "mode", "depth", "requests",
	       "MiB", "req/s", "rung", "suppressed", "irqs", "exits", "p50 us", "p99 us", "errors");
}

static void print_row(const char *name, const char *mode, const char *depth, const struct result *r)
{
	printf("%8s %5s %5s %10llu %9.1f %9.0f %9llu %10llu %9llu %7llu %9.1f %9.1f %7llu\n", name, mode,
	       depth, (unsigned long long)r->requests, (double)r->bytes / MIB,
	       r->seconds > 0 ? (double)r->requests / r->seconds : 0, (unsigned long long)r->rung,
	       (unsigned long long)r->suppressed, (unsigned long long)r->interrupts,
	       (unsigned long long)r->exits, r->p50_us, r->p99_us, (unsigned long long)r->errors);
}

static void print_each(const struct report *report)
{
	for (uint32_t i = 0; i < report->demo->options.vms; i++) {
		const struct machine *m = &report->demo->machines[i];
		char name[16], depth[16];

		snprintf(name, sizeof(name), "%u", i);
		snprintf(depth, sizeof(depth), "%u", m->depth);
		print_row(name, m->polls ? "poll" : "irq", depth, &report->vms[i]);
	}
}

static double rate(const struct result *r)
{
	return r->seconds > 0 ? (double)r->requests / r->seconds : 0;
}

static int by_rate(const void *left, const void *right)
{
	double a = rate(*(const struct result *const *)left), b = rate(*(const struct result *const *)right);

	return (a > b) - (a < b);
}

/* Too many VMs for a line each: the slowest, the middle one and the fastest. */
static void print_folded(const struct report *report)
{
	uint32_t n = report->demo->options.vms;
	const struct result **sorted = calloc(n, sizeof(const struct result *));

	if (!sorted)
		return;
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = &report->vms[i];
	qsort(sorted, n, sizeof(const struct result *), by_rate);
	print_row("slowest", "", "", sorted[0]);
	print_row("median", "", "", sorted[n / 2]);
	print_row("fastest", "", "", sorted[n - 1]);
	free(sorted);
}

static void print_loop(const struct report *report, uint32_t index)
{
	const struct demo *demo = report->demo;
	const struct vdb_loop *loop = vdb_loops_get(demo->loops, index);
	struct vdb_loops_info info = {.size = sizeof(info)};
	struct vdb_loop_stats stats = {.size = sizeof(stats)};
	uint64_t requests = 0;
	char cpu[16] = "any";

	if (vdb_loops_query(demo->loops, index, &info) || vdb_loop_stats(loop, &stats))
		return;
	for (uint32_t i = 0; i < demo->options.vms; i++)
		requests += demo->machines[i].loop == loop ? report->vms[i].requests : 0;
	if (info.cpu >= 0)
		snprintf(cpu, sizeof(cpu), "%d", info.cpu);
	printf("%7s%u %5s %5u %10llu %9.1f %9llu %9llu %9llu\n", "loop", index, cpu, info.placed,
	       (unsigned long long)requests, (double)stats.served / MIB, (unsigned long long)stats.turns,
	       (unsigned long long)stats.sleeps, (unsigned long long)stats.enters);
}

static void print_loops(const struct report *report)
{
	printf("%8s %5s %5s %10s %9s %9s %9s %9s\n", "loop", "cpu", "vms", "requests", "served", "turns",
	       "sleeps", "enters");
	for (uint32_t i = 0; i < vdb_loops_count(report->demo->loops); i++)
		print_loop(report, i);
}

void report_print(const struct report *report)
{
	const struct demo *demo = report->demo;
	const struct options *o = &demo->options;

	printf("%u VMs, %llu requests each, %s doorbells; image %s%s; %u loop thread%s on %s\n", o->vms,
	       (unsigned long long)o->requests, options_doorbell_name(o->doorbell), demo->image.name,
	       o->direct ? ", O_DIRECT" : "", o->loops.count, o->loops.count > 1 ? "s" : "",
	       demo->loop_stats.engine == VDB_ENGINE_URING ? "io_uring" : "epoll");
	print_head();
	if (o->vms <= FOLD_ABOVE)
		print_each(report);
	else
		print_folded(report);
	print_row("total", "", "", &report->total);
	if (o->loops.count > 1)
		print_loops(report);
	printf("%s\n", report->total.errors
	                       ? "WRONG: see the errors above"
	                       : "ok: every block was verified by its guest, and once more in the image");
}
