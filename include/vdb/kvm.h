/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's KVM: open it once, see what it can do, make VMs from it.
 */
#ifndef VDB_KVM_H
#define VDB_KVM_H

#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_kvm;

#define VDB_KVM_IRQCHIP (1ull << 0)           /* in-kernel PIC, IOAPIC, LAPIC */
#define VDB_KVM_SPLIT_IRQCHIP (1ull << 1)     /* only the LAPICs in the kernel */
#define VDB_KVM_IRQFD_RESAMPLE (1ull << 2)    /* level interrupts by irqfd */
#define VDB_KVM_READONLY_MEM (1ull << 3)      /* self-describing doorbell pages */
#define VDB_KVM_IOEVENTFD_ANY (1ull << 4)     /* unbacked doorbells of length 0 (any width) */
#define VDB_KVM_MSI (1ull << 5)               /* KVM_SIGNAL_MSI and MSI routes */
#define VDB_KVM_DIRTY_LOG_PROTECT (1ull << 6) /* manual dirty log protection */
#define VDB_KVM_XSAVE (1ull << 7)

struct vdb_kvm_info {
	uint32_t size;
	uint32_t api_version;
	uint64_t features; /* VDB_KVM_* */
	uint32_t max_vcpus;
	uint32_t max_memslots;
	uint32_t max_gsi_routes;
	uint32_t reserved;
};

/*
 * Opens `path` (NULL = /dev/kvm) and probes it. What libvdb cannot do without
 * (user memory, ioeventfd, irqfd, immediate_exit, signal mask) is checked here,
 * and what is missing is named: -ENOTSUP. -ENOENT: no KVM on this host; -EACCES:
 * no permission; the message says what to do. What CPUID it supports is asked for here, once
 * (so ask Linux for XSAVE features of guests, ARCH_REQ_XCOMP_GUEST_PERM, before).
 */
VDB_MUST_CHECK int vdb_kvm_open(const char *path, struct vdb_kvm **out);

/* VMs made from it live on. NULL is fine. */
void vdb_kvm_close(struct vdb_kvm *kvm);

/* Set info->size first. Any thread. */
VDB_MUST_CHECK int vdb_kvm_query(struct vdb_kvm *kvm, struct vdb_kvm_info *info);

#ifdef __cplusplus
}
#endif
#endif
