/* SPDX-License-Identifier: Apache-2.0 */
/* What firmware leaves in MSRs, and kernels rely on. */
#include <stddef.h>
#include <sys/ioctl.h>
#include <vdb/x86.h>

#include "base/error.h"
#include "base/export.h"
#include "kvm/msrs.h"
#include "kvm/vm.h"

#define MSR_MISC_ENABLE 0x1a0u
#define FAST_STRINGS (1u << 0)
#define MSR_MTRR_DEF_TYPE 0x2ffu
#define MTRR_ENABLE (1u << 11)
#define MTRR_WRITE_BACK 6u

/* A struct kvm_msrs with room for one. */
struct one_msr {
	uint32_t nmsrs;
	uint32_t pad;
	struct kvm_msr_entry entry;
};
_Static_assert(offsetof(struct one_msr, entry) == sizeof(struct kvm_msrs), "laid out as KVM wants it");

/* One at a time: what a vCPU does not have is no failure, and must not keep the next from it. */
static int set_if_there(struct vdb_vcpu *vcpu, uint32_t index, uint64_t keep, uint64_t set)
{
	struct one_msr msr = {.nmsrs = 1, .entry.index = index};
	int n = ioctl(vcpu->fd, KVM_GET_MSRS, &msr);

	if (n == 1) {
		msr.entry.data = (msr.entry.data & keep) | set;
		n = ioctl(vcpu->fd, KVM_SET_MSRS, &msr);
	}
	if (n < 0)
		return vdb__fail_sys(errno, "vCPU %u: MSR %#x", vcpu->index, index);
	return 0;
}

VDB_EXPORT int vdb_x86_firmware_msrs(struct vdb_vcpu *vcpu)
{
	int err = vdb__life_examine(vcpu, "firmware MSRs");

	if (err)
		return err;
	err = set_if_there(vcpu, MSR_MISC_ENABLE, UINT64_MAX, FAST_STRINGS);
	if (!err)
		err = set_if_there(vcpu, MSR_MTRR_DEF_TYPE, 0, MTRR_ENABLE | MTRR_WRITE_BACK);
	vdb__life_examined(vcpu);
	return err;
}
