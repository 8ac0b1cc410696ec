/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/kvm as opened: shared by the handle and every VM made from it. */
#ifndef VDB_KVM_HOST_H
#define VDB_KVM_HOST_H

#include <linux/kvm.h>
#include <vdb/kvm.h>

struct vdb_kvm {
	uint32_t refs;
	int fd;
	struct vdb_kvm_info info;
	uint32_t run_bytes;          /* of a vCPU's struct kvm_run and what is behind it */
	uint32_t xsave_bytes;        /* of KVM_GET_XSAVE2's area; 0 = only KVM_GET_XSAVE */
	uint64_t quirks;             /* that can be switched off */
	struct vdb__arch_host *arch; /* vdb__arch_host_init()'s */
};

/* One more user; drop with vdb_kvm_close(). */
struct vdb_kvm *vdb__kvm_ref(struct vdb_kvm *kvm);

/* -ENOTSUP naming `what`, unless the host has all of these VDB_KVM_* features. */
int vdb__kvm_require(const struct vdb_kvm *kvm, uint64_t features, const char *what);

#endif
