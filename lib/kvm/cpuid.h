/* SPDX-License-Identifier: Apache-2.0 */
/* The CPUID policy of a VM. */
#ifndef VDB_KVM_CPUID_H
#define VDB_KVM_CPUID_H

#include <stdint.h>
#include <vdb/cpuid.h>

struct vdb__policy {
	struct vdb_cpuid_override *overrides;
	uint32_t count;
};

/* Gives the vCPU its CPUID. */
int vdb__cpuid_apply(struct vdb_vcpu *vcpu);

#endif
