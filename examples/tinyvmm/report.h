/* SPDX-License-Identifier: Apache-2.0 */
/* The results of a run, and the table for people. json_report.h has the one for programs. */
#ifndef TINYVMM_REPORT_H
#define TINYVMM_REPORT_H

#include <stdint.h>

#include "guest/mailbox.h"

struct demo;
struct machine;

/* Of one VM, or of all of them together. */
struct result {
	uint64_t requests;
	uint64_t bytes;
	double seconds;
	uint64_t rung;
	uint64_t suppressed;
	uint64_t interrupts; /* that the guest took */
	uint64_t triggers;   /* that the loop raised: bursts may merge into one */
	uint64_t exits;      /* returns of KVM_RUN to user space */
	uint64_t flushes;
	uint64_t errors;
	double p50_us, p99_us, max_us;
	uint64_t at_first_finish;
	uint64_t latency[DEMO_BUCKETS];
	uint64_t latency_max; /* turns of the TSC */
};

struct report {
	const struct demo *demo;
	struct result *vms;
	struct result total;
};

/* Collects what stopped machines left; complains about each thing that was wrong.
 * 0, or -1 after a complaint. */
int report_make(struct report *report, const struct demo *demo);
void report_free(struct report *report);

/* To stdout. */
void report_print(const struct report *report);

#endif
