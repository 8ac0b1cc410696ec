/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CPUID tells the guest (x86-64).
 */
#ifndef VDB_CPUID_H
#define VDB_CPUID_H

#include <vdb/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VDB_CPUID_ANY_SUBLEAF UINT32_MAX

/* For one leaf: register = (supported & and_mask) | or_mask, in order eax, ebx,
 * ecx, edx. A leaf that KVM does not support starts from zeroes. */
struct vdb_cpuid_override {
	uint32_t leaf;
	uint32_t subleaf; /* or VDB_CPUID_ANY_SUBLEAF */
	uint32_t and_mask[4];
	uint32_t or_mask[4];
};

/* The policy of this VM, for vCPUs created afterwards: all that KVM supports, with APIC ids, the
 * hypervisor bit and (with KVM's local APIC) the TSC deadline timer as they must be, then the overrides
 * in order; replaces an earlier policy. What KVM refuses is refused by vdb_vcpu_create().
 * -EBUSY: a vCPU exists. Control thread. */
VDB_MUST_CHECK int vdb_cpuid_set(struct vdb_vm *vm, const struct vdb_cpuid_override *overrides,
                                 uint32_t count);

/* One package of `cpus` cores with one thread each (leaves 1, 4, 0xb, 0x1f, 0x80000008, 0x8000001d,
 * 0x8000001e), below the overrides of vdb_cpuid_set(). 0 = what KVM says, the default. -EBUSY: a vCPU exists.
 * Control thread. */
VDB_MUST_CHECK int vdb_cpuid_topology(struct vdb_vm *vm, uint32_t cpus);

/* The four registers that vCPUs of this VM see: as KVM keeps them for a vCPU that exists
 * (it may insist on some bits), else as the policy says. -ENOENT if the leaf is absent. */
VDB_MUST_CHECK int vdb_cpuid_get(struct vdb_vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);

#ifdef __cplusplus
}
#endif
#endif
