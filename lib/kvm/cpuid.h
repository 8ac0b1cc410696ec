/* SPDX-License-Identifier: Apache-2.0 */
/* The CPUID policy of a VM. */
#ifndef VDB_KVM_CPUID_H
#define VDB_KVM_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <vdb/cpuid.h>

struct vdb__policy {
	struct vdb_cpuid_override *overrides;
	uint32_t count;
	uint32_t cores; /* of the one package; 0: as KVM says */
};

/* What KVM supports, the same for every VM: asked for once, since KVM takes long to tell. */
struct vdb__arch_host {
	bool deadline_timer;
	struct kvm_cpuid2 cpuid; /* last: entries follow */
};

/* Gives the vCPU its CPUID. */
int vdb__cpuid_apply(struct vdb_vcpu *vcpu);

/* Makes `table`, which has room for that many entries, tell processor `id` of a package of `cores`. */
void vdb__topology_set(struct kvm_cpuid2 *table, uint32_t room, uint32_t cores, uint32_t id);

#endif
