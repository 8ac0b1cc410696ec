/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/calls.h"

#include <linux/kvm.h>

#define MAKES(request) VDB__IOCTL(VDB__CONTROL, request)
#define RUNS(request) VDB__IOCTL(VDB__VCPU, request)

static const struct vdb_sandbox_call calls[] = {
        /* To make a VM, and to look at it from outside. */
        MAKES(KVM_CREATE_VM), MAKES(KVM_GET_API_VERSION), MAKES(KVM_GET_VCPU_MMAP_SIZE),
        MAKES(KVM_GET_SUPPORTED_CPUID), MAKES(KVM_GET_MSR_INDEX_LIST), MAKES(KVM_ENABLE_CAP),
        MAKES(KVM_SET_IDENTITY_MAP_ADDR), MAKES(KVM_SET_TSS_ADDR), MAKES(KVM_CREATE_PIT2),
        MAKES(KVM_CREATE_IRQCHIP), MAKES(KVM_CREATE_VCPU), MAKES(KVM_GET_DIRTY_LOG), MAKES(KVM_SET_CPUID2),
        MAKES(KVM_GET_CPUID2),

        /* What its guest does: it runs, and moves BARs, rings and interrupts about. */
        RUNS(KVM_RUN), RUNS(KVM_SET_SIGNAL_MASK), RUNS(KVM_CHECK_EXTENSION), RUNS(KVM_IOEVENTFD),
        RUNS(KVM_IRQFD), RUNS(KVM_SET_GSI_ROUTING), RUNS(KVM_SET_USER_MEMORY_REGION),

        /* A vCPU's state: vdb_vcpu_visit() is run on its thread. */
        RUNS(KVM_GET_REGS), RUNS(KVM_SET_REGS), RUNS(KVM_GET_SREGS), RUNS(KVM_SET_SREGS),
        RUNS(KVM_GET_SREGS2), RUNS(KVM_SET_SREGS2), RUNS(KVM_GET_DEBUGREGS), RUNS(KVM_SET_DEBUGREGS),
        RUNS(KVM_GET_XCRS), RUNS(KVM_SET_XCRS), RUNS(KVM_GET_XSAVE), RUNS(KVM_GET_XSAVE2),
        RUNS(KVM_SET_XSAVE), RUNS(KVM_GET_FPU), RUNS(KVM_SET_FPU), RUNS(KVM_GET_LAPIC), RUNS(KVM_SET_LAPIC),
        RUNS(KVM_GET_MSRS), RUNS(KVM_SET_MSRS), RUNS(KVM_GET_VCPU_EVENTS), RUNS(KVM_SET_VCPU_EVENTS),
        RUNS(KVM_GET_MP_STATE), RUNS(KVM_SET_MP_STATE),

        /* Kicks; and no signal to anybody else's threads: lib/sandbox knows the process. */
};
const struct vdb__calls vdb__kvm_calls = VDB__CALLS(calls);
