/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM and a vCPU are made of; each part belongs to the file that its header names. */
#ifndef VDB_KVM_VM_H
#define VDB_KVM_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <vdb/vcpu.h>
#include <vdb/vm.h>

#include "base/list.h"
#include "kvm/cpuid.h"
#include "kvm/host.h"
#include "kvm/life.h"
#include "kvm/routes.h"
#include "kvm/slots.h"
#include "kvm/window.h"
#include "mem/view.h"

struct vdb_vm {
	struct vdb_kvm *kvm;
	int fd;
	struct vdb_vm_config config; /* defaults filled in */
	struct vdb_mem *mem;
	struct vdb__mem_user mem_user;
	bool joined; /* to mem */
	struct vdb_bus *mmio, *pio;
	struct vdb__slots slots;
	struct vdb__window window;
	struct vdb__routes routes;
	struct vdb__policy policy;
	struct vdb__list doorbells;
	struct vdb__list spares; /* vCPUs whose creation failed half-way */
	uint32_t attached;       /* bells and irqs: what must be gone before the VM goes; atomic */
	struct vdb__life life;
};

struct vdb_vcpu {
	struct vdb_vm *vm;
	struct vdb__list link; /* in vm->life.vcpus */
	uint32_t index;
	int fd;
	struct kvm_run *run;
	bool handling; /* a bus handler is running: vCPU's thread only */
	bool ending;   /* the run returns when the present access is complete: likewise */
	struct vdb__turns turns;
	pthread_t starter; /* the library's thread for this vCPU, if `started` */
	bool started;
	struct vdb_vcpu_stats stats; /* written by the vCPU's thread only, but `kicks`: under the lock */
};

/* Frees everything: no vCPU runs and none will. Joins the library's threads, except the calling one. */
void vdb__vm_close(struct vdb_vm *vm);

/* Waits for the library's thread of an earlier run, which has at most completions left to call; one
 * of those may be what calls this: then it ends by itself. */
void vdb__vcpu_join(struct vdb_vcpu *vcpu);

/* Frees a vCPU that no thread uses. */
void vdb__vcpu_free(struct vdb_vcpu *vcpu);

#endif
