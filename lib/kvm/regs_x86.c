/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/ioctl.h>
#include <vdb/x86.h>

#include "base/error.h"
#include "base/export.h"
#include "kvm/vm.h"

VDB_EXPORT int vdb_x86_get_regs(struct vdb_vcpu *vcpu, struct vdb_x86_regs *regs)
{
	struct kvm_regs r;
	int err = vdb__life_examine(vcpu, "registers");

	if (err)
		return err;
	if (ioctl(vcpu->fd, KVM_GET_REGS, &r))
		err = vdb__fail_sys(errno, "vCPU %u: KVM_GET_REGS", vcpu->index);
	else
		*regs = (struct vdb_x86_regs){
		        .rax = r.rax,
		        .rbx = r.rbx,
		        .rcx = r.rcx,
		        .rdx = r.rdx,
		        .rsi = r.rsi,
		        .rdi = r.rdi,
		        .rsp = r.rsp,
		        .rbp = r.rbp,
		        .r8 = r.r8,
		        .r9 = r.r9,
		        .r10 = r.r10,
		        .r11 = r.r11,
		        .r12 = r.r12,
		        .r13 = r.r13,
		        .r14 = r.r14,
		        .r15 = r.r15,
		        .rip = r.rip,
		        .rflags = r.rflags,
		};
	vdb__life_examined(vcpu);
	return err;
}

VDB_EXPORT int vdb_x86_set_regs(struct vdb_vcpu *vcpu, const struct vdb_x86_regs *regs)
{
	struct kvm_regs r = {
	        .rax = regs->rax,
	        .rbx = regs->rbx,
	        .rcx = regs->rcx,
	        .rdx = regs->rdx,
	        .rsi = regs->rsi,
	        .rdi = regs->rdi,
	        .rsp = regs->rsp,
	        .rbp = regs->rbp,
	        .r8 = regs->r8,
	        .r9 = regs->r9,
	        .r10 = regs->r10,
	        .r11 = regs->r11,
	        .r12 = regs->r12,
	        .r13 = regs->r13,
	        .r14 = regs->r14,
	        .r15 = regs->r15,
	        .rip = regs->rip,
	        .rflags = regs->rflags,
	};
	int err = vdb__life_examine(vcpu, "registers");

	if (err)
		return err;
	if (ioctl(vcpu->fd, KVM_SET_REGS, &r))
		err = vdb__fail_sys(errno, "vCPU %u: KVM_SET_REGS", vcpu->index);
	vdb__life_examined(vcpu);
	return err;
}
