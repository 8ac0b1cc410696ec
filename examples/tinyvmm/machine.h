/* SPDX-License-Identifier: Apache-2.0 */
/* One VM of the demo: memory, vCPU, doorbell, ring, lane. */
#ifndef TINYVMM_MACHINE_H
#define TINYVMM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/vdb.h>

#include "guest/mailbox.h"

struct demo;

enum machine_end {
	MACHINE_RUNS = 0,
	MACHINE_EXITED = 1, /* the guest wrote to its exit port */
	MACHINE_FAULTED = 2 /* an event ended it, see `event` */
};

struct machine {
	struct demo *demo;
	uint32_t number;
	uint32_t depth;
	bool polls;
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu;
	struct vdb_irq *irq;
	struct vdb_doorbell *doorbell;
	struct vdb_queue *queue; /* until the lane has it */
	struct vdb_loop *loop;   /* where it was placed */
	struct vdb_lane *lane;
	vdb_gpa_t ring;
	vdb_gpa_t mailbox;
	vdb_gpa_t buffers;
	uint64_t memory;
	uint64_t started; /* CLOCK_MONOTONIC, ns */

	/* By the vCPU's thread; `end` is stored last. */
	char event[160];
	uint64_t ended;
	int end; /* enum machine_end */

	/* By whoever finishes first. */
	uint64_t at_first_finish; /* requests completed then */

	/* After machine_stop(). */
	struct demo_mailbox box;
	struct vdb_lane_stats lane_stats;
	struct vdb_vcpu_stats vcpu_stats;
	int64_t wrong_blocks; /* found in the image afterwards */
};

/* Bytes that a VM of this depth needs. */
uint64_t machine_memory(uint32_t depth);

/* Makes all of it, up to a guest that is ready to start. 0, or -1 after a complaint; in
 * both cases machine_destroy() cleans up. */
int machine_create(struct machine *m, struct demo *demo, uint32_t number);

/* Starts the vCPU's thread, which waits for machine_go(). 0, or -1 after a complaint. */
int machine_start(struct machine *m);
int machine_go(struct machine *m);

/* Requests that the guest has seen completed. Any time. */
uint64_t machine_completed(const struct machine *m);

/* Stops the vCPU, waits for that, collects the results. */
void machine_stop(struct machine *m);

void machine_destroy(struct machine *m);

#endif
