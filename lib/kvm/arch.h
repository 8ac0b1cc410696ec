/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between architectures; one file each, *_x86.c here. */
#ifndef VDB_KVM_ARCH_H
#define VDB_KVM_ARCH_H

#include <linux/kvm.h>
#include <vdb/vcpu.h>
#include <vdb/vm.h>

/* Interrupt controller pins that irqfds can be bound to. */
#define VDB__PINS 24u

struct vdb_kvm;

/* What this host's KVM says once for all VMs: kvm->arch, one piece of memory that free() takes. */
int vdb__arch_host_init(struct vdb_kvm *kvm);

/* What must be done before the first vCPU and the irqchip exist. */
int vdb__arch_vm_init(struct vdb_vm *vm);

/* Makes vm->config.irqchip. */
int vdb__arch_irqchip(struct vdb_vm *vm);

/* KVM's default routes of the in-kernel irqchip's pins: how many; `to` may be NULL. */
uint32_t vdb__arch_pin_routes(struct kvm_irq_routing_entry *to);

/* What a new vCPU needs before anything else. */
int vdb__arch_vcpu_init(struct vdb_vcpu *vcpu);

/* Where the vCPU is, 0 if unknown. On its thread. */
uint64_t vdb__arch_rip(struct vdb_vcpu *vcpu);

#endif
