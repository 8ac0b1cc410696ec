/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small VMs, of which there may be a thousand, on loops and backends that are the caller's: their guest
 * is guest/crowd.c. Made in steps, since the time of each is wanted. What fails ends the program.
 */
#ifndef BENCH_CROWD_VM_H
#define BENCH_CROWD_VM_H

#include "bench.h"
#include "guest/crowd.h"

#define CROWD_FDS 6u /* that a VM with one lane has: itself, vCPU, bell, irq, and the lane's two */

struct crowd_plan {
	const struct bench_options *options;
	struct vdb_kvm *kvm;
	struct vdb_loop *loop;
	struct vdb_backend *backend;
	struct vdb_worker *worker; /* closes the VMs; NULL: who asks does */
	uint32_t lanes;
	uint32_t entries; /* of a ring */
	uint64_t ram_bytes;
	bool kernel;                    /* starts in CPL 0, and may halt */
	bool interrupts;                /* each lane has an irq */
	struct vdb_tenant *last_tenant; /* of the last lane; NULL: one of its own, as the others */
	const char *name;               /* of the vCPU's thread */
};

struct crowd_vm {
	const struct crowd_plan *plan;
	uint8_t *ram;
	struct crowd_box *box;
	uint64_t *samples, *counts;
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu;
	struct vdb_doorbell **bells;
	struct vdb_irq **irqs;
	struct vdb_lane **lanes;
	struct vdb_gate *exited, *gone;
	uint64_t born_ns; /* the guest's first instruction, as its exit says */
	uint64_t done_ns; /* its end */
	char event[160];
};

/* Guest-physical: what the caller may fill or read by vm->ram. */
#define CROWD_SAMPLES_MAX 65536u
uint64_t crowd_ram_bytes(uint32_t lanes, uint32_t entries);

/* All steps: memory, VM, vCPU, doorbells, registers, lanes. `ram`: plan->ram_bytes of zeroes. */
void crowd_create(struct crowd_vm *vm, const struct crowd_plan *plan, uint8_t *ram);

/* The steps of it, in this order; the box is filled in between the first and crowd_start(). */
void crowd_make_memory(struct crowd_vm *vm, const struct crowd_plan *plan, uint8_t *ram);
void crowd_make_vm(struct crowd_vm *vm);
void crowd_make_vcpu(struct crowd_vm *vm);
void crowd_make_bells(struct crowd_vm *vm);
void crowd_make_irqs(struct crowd_vm *vm);
void crowd_make_lanes(struct crowd_vm *vm);
void crowd_set_start(struct crowd_vm *vm);

/* Lets the guest run, on the host CPU for guests. */
void crowd_start(struct crowd_vm *vm);

/* Waits for the guest's own end: CROWD_DONE. `ms` beyond 20 s. */
void crowd_await_end(struct crowd_vm *vm, uint64_t ms);

/* Waits until the guest has halted. */
void crowd_await_halt(struct crowd_vm *vm);

/* Lanes, doorbells and all go, then the VM is asked to, which crowd_gone() waits for. */
void crowd_close(struct crowd_vm *vm);
void crowd_gone(struct crowd_vm *vm);

/* Raises the soft limit of open files to `fds` more than a few, or ends the program and says what it takes.
 */
void crowd_need_files(uint64_t fds);

#endif
