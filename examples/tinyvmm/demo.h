/* SPDX-License-Identifier: Apache-2.0 */
/* A run of `tinyvmm demo`. */
#ifndef TINYVMM_DEMO_H
#define TINYVMM_DEMO_H

#include <vdb/vdb.h>

#include "image.h"
#include "options.h"

struct machine;

struct demo {
	struct options options;
	struct vdb_kvm *kvm;
	struct vdb_loops *loops;
	struct image image;
	struct sandbox sandbox;
	int journal; /* fd, -1 = none */
	int json;    /* likewise */
	struct machine *machines;
	uint32_t created; /* machines that machine_create() was called for */
	int bell;         /* eventfd: a machine has ended */
	int ended;        /* machines, counted by their vCPUs' threads */
	double tsc_per_ns;
	struct vdb_loop_stats loop_stats; /* of all loops together */
};

/* On the vCPU's thread, when machine->end is set. */
void demo_machine_ended(struct demo *demo);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t demo_now(void);

#endif
