/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/ioctl.h>

#include "base/error.h"
#include "kvm/arch.h"
#include "kvm/vm.h"

/* Below the BIOS at the top of 4 GiB, where no memory is: VMX needs four pages of its
 * own there to run real-mode code on old processors. */
#define IDENTITY_MAP 0xfffbc000ull
#define TSS_PAGES 0xfffbd000ul

#define PIC_PINS 16u

static int enable(struct vdb_vm *vm, uint32_t cap, uint64_t arg, const char *what)
{
	struct kvm_enable_cap enable = {.cap = cap, .args = {arg}};

	if (ioctl(vm->fd, KVM_ENABLE_CAP, &enable))
		return vdb__fail_sys(errno, "vm: %s", what);
	return 0;
}

int vdb__arch_vm_init(struct vdb_vm *vm)
{
	uint64_t identity = IDENTITY_MAP;

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity))
		return vdb__fail_sys(errno, "vm: KVM_SET_IDENTITY_MAP_ADDR");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_PAGES))
		return vdb__fail_sys(errno, "vm: KVM_SET_TSS_ADDR");
	/* KVM would patch the other vendor's hypercall instruction into guest code. Where
	 * the guest's text is read-only the patch fails, and on some hosts loops for ever. */
	if (vm->kvm->quirks & KVM_X86_QUIRK_FIX_HYPERCALL_INSN)
		return enable(vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN,
		              "hypercall quirk cannot be disabled");
	return 0;
}

/* Port 0x61, whose speaker gate nobody hears, comes with it. */
static int create_pit(struct vdb_vm *vm)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

	if (ioctl(vm->kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_PIT2) <= 0)
		return vdb__fail(ENOTSUP, "vm: this host's KVM has no i8254; leave out VDB_VM_PIT");
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit))
		return vdb__fail_sys(errno, "vm: KVM_CREATE_PIT2");
	return 0;
}

static int create_chips(struct vdb_vm *vm)
{
	int err = vdb__kvm_require(vm->kvm, VDB_KVM_IRQCHIP, "vm");

	if (err)
		return err;
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0))
		return vdb__fail_sys(errno, "vm: KVM_CREATE_IRQCHIP");
	return vm->config.flags & VDB_VM_PIT ? create_pit(vm) : 0;
}

int vdb__arch_irqchip(struct vdb_vm *vm)
{
	int err;

	switch (vm->config.irqchip) {
	case VDB_IRQCHIP_KERNEL:
		return create_chips(vm);
	case VDB_IRQCHIP_SPLIT:
		err = vdb__kvm_require(vm->kvm, VDB_KVM_SPLIT_IRQCHIP, "vm");
		return err ? err : enable(vm, KVM_CAP_SPLIT_IRQCHIP, vm->config.split_gsis, "split irqchip");
	default:
		return 0;
	}
}

static struct kvm_irq_routing_entry pin_route(uint32_t gsi, uint32_t chip, uint32_t pin)
{
	return (struct kvm_irq_routing_entry){
	        .gsi = gsi,
	        .type = KVM_IRQ_ROUTING_IRQCHIP,
	        .u.irqchip = {.irqchip = chip, .pin = pin},
	};
}

uint32_t vdb__arch_pin_routes(struct kvm_irq_routing_entry *to)
{
	uint32_t n = 0;

	if (!to)
		return PIC_PINS + VDB__PINS;
	for (uint32_t gsi = 0; gsi < VDB__PINS; gsi++) {
		to[n++] = pin_route(gsi, KVM_IRQCHIP_IOAPIC, gsi);
		if (gsi < PIC_PINS)
			to[n++] = pin_route(gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
			                    gsi % 8);
	}
	return n;
}

int vdb__arch_vcpu_init(struct vdb_vcpu *vcpu)
{
	return vdb__cpuid_apply(vcpu);
}

uint64_t vdb__arch_rip(struct vdb_vcpu *vcpu)
{
	struct kvm_regs regs;

	return ioctl(vcpu->fd, KVM_GET_REGS, &regs) ? 0 : regs.rip;
}
