/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM around a device, made of the library: memory, one vCPU, the guest's two ports. The device is put
 * into it between _create() and _start(), and taken out before _destroy().
 */
#ifndef BENCH_VMM_H
#define BENCH_VMM_H

#include "disk.h"

struct vmm {
	struct vdb_kvm *kvm;
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu;
	struct vdb_gate *ended;
	uint8_t *map;         /* with the memory in it */
	uint8_t *base;        /* gpa 0, DISK_RAM bytes */
	char text[DISK_TEXT]; /* what the guest said */
	uint32_t text_len;
	int echo; /* a file that it goes to as well, at once; 0 = none */
	char event[160];
};

#define VMM_DISK 0xfeb00000u /* a disk's registers, where QEMU's microvm has them too */
#define VMM_GSI 5u

void vmm_create(struct vmm *m);
/* Loads the guest and starts it. */
void vmm_start(struct vmm *m, const struct bench_options *o, const char *kernel, const char *cmdline);
/* Waits for its end: what it said. Dies if it goes wrong. */
const char *vmm_await(struct vmm *m, const struct bench_options *o);
/* Both, of the guest that has a disk. */
void vmm_run(struct vmm *m, const struct bench_options *o, const char *cmdline, struct disk_result *result);
void vmm_destroy(struct vmm *m);

#endif
