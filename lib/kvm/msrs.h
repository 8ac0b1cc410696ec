/* SPDX-License-Identifier: Apache-2.0 */
/* All MSRs that KVM would have saved (x86-64). */
#ifndef VDB_KVM_MSRS_H
#define VDB_KVM_MSRS_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <vdb/vcpu.h>

/* Reads them into an array that the caller frees; how many. */
int64_t vdb__msrs_get(struct vdb_vcpu *vcpu, struct kvm_msr_entry **out);

/* -EINVAL names the one that KVM refuses. */
int vdb__msrs_set(struct vdb_vcpu *vcpu, const struct kvm_msr_entry *entries, size_t count);

#endif
