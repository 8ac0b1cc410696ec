/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/vm.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "bus/bus.h"
#include "kvm/arch.h"

#define DOORBELL_GPA 0xd0000000ull
#define DOORBELL_PAGES 256u
#define DOORBELL_PORT 0x6000u
#define DOORBELL_PORTS 256u
#define CREATE_TRIES 1000
#define PORTS 0x10000u

static int check(const struct vdb_vm_config *config)
{
	sigset_t set;
	int number = config->kick_signal;

	if (config->irqchip > VDB_IRQCHIP_NONE)
		return vdb__fail(EINVAL, "vm: irqchip %u is none of VDB_IRQCHIP_*", config->irqchip);
	if (config->flags & ~VDB_VM_PIT || config->reserved)
		return vdb__fail(EINVAL, "vm: unknown flags %#x, or reserved is not 0", config->flags);
	if (config->flags & VDB_VM_PIT && config->irqchip != VDB_IRQCHIP_KERNEL)
		return vdb__fail(EINVAL, "vm: VDB_VM_PIT needs VDB_IRQCHIP_KERNEL");
	sigemptyset(&set);
	if (number == SIGKILL || number == SIGSTOP || sigaddset(&set, number))
		return vdb__fail(EINVAL, "vm: kick signal %d cannot be blocked; leave it 0 or choose another",
		                 number);
	return 0;
}

static int take_config(struct vdb_vm *vm, const struct vdb_vm_config *from)
{
	struct vdb_vm_config *config = &vm->config;
	int err = vdb__config_take(config, sizeof(*config), from, "vdb_vm_config");

	if (err)
		return err;
	if (!config->kick_signal)
		config->kick_signal = SIGRTMIN;
	if (!config->split_gsis)
		config->split_gsis = VDB__PINS;
	if (!config->doorbell_gpa)
		config->doorbell_gpa = DOORBELL_GPA;
	if (!config->doorbell_pages)
		config->doorbell_pages = DOORBELL_PAGES;
	if (!config->doorbell_port)
		config->doorbell_port = DOORBELL_PORT;
	if (!config->doorbell_ports)
		config->doorbell_ports = DOORBELL_PORTS;
	return check(config);
}

/*
 * The kernel starts a thread for each VM and gives up when the caller has something pending: a signal, or
 * what an io_uring of this thread has left over. Either is dealt with on the way out.
 */
static int create_kernel_vm(struct vdb_vm *vm)
{
	int tries = CREATE_TRIES;

	do
		vm->fd = ioctl(vm->kvm->fd, KVM_CREATE_VM, 0);
	while (vm->fd < 0 && errno == EINTR && --tries);
	if (vm->fd < 0)
		return vdb__fail_sys(errno, "vm: KVM_CREATE_VM");
	return vdb__arch_vm_init(vm);
}

/* The PIO bus's guard. */
static int is_ports(void *arg, const char *name, uint64_t base, uint64_t len)
{
	(void)arg;
	if (base < PORTS && len <= PORTS - base)
		return 0;
	return vdb__fail(EINVAL, "bus range '%s' [%#llx, +%#llx): the last port is 0xffff", name,
	                 (unsigned long long)base, (unsigned long long)len);
}

/*
 * All memslots come before the irqchip: afterwards each change waits for RCU,
 * which takes milliseconds.
 */
static int build(struct vdb_vm *vm)
{
	int err = create_kernel_vm(vm);

	if (!err)
		err = vdb_bus_create(&vm->mmio);
	if (!err)
		err = vdb_bus_create(&vm->pio);
	if (!err) {
		vdb__bus_guard(vm->pio, is_ports, NULL);
		err = vdb__window_init(vm);
	}
	if (!err)
		err = vdb__slots_join(vm);
	if (!err)
		err = vdb__arch_irqchip(vm);
	return err;
}

VDB_EXPORT int vdb_vm_create(struct vdb_kvm *kvm, struct vdb_mem *mem, const struct vdb_vm_config *config,
                             struct vdb_vm **out)
{
	struct vdb_vm *vm = calloc(1, sizeof(*vm));
	int err;

	if (!vm)
		return vdb__fail(ENOMEM, "vm: no memory");
	vm->kvm = vdb__kvm_ref(kvm);
	vm->fd = -1;
	vm->mem = mem;
	vdb__list_init(&vm->doorbells);
	vdb__list_init(&vm->spares);
	vdb__life_init(vm);
	vdb__slots_init(vm);
	vdb__routes_init(vm);
	err = take_config(vm, config);
	if (!err)
		err = build(vm);
	if (err) {
		vdb__vm_close(vm);
		return err;
	}
	*out = vm;
	return 0;
}

static void join_threads(struct vdb_vm *vm)
{
	struct vdb__list *l;

	for (l = vm->life.vcpus.next; l != &vm->life.vcpus; l = l->next)
		vdb__vcpu_join(vdb__container(l, struct vdb_vcpu, link));
}

/*
 * The RAM slots go with the fd: only this process's own memory map could be reached
 * through a copy of it, and unmapping takes pages away from the VM at once.
 */
void vdb__vm_close(struct vdb_vm *vm)
{
	vdb_done_fn done = vm->life.destroyed;
	void *arg = vm->life.destroyed_arg;
	struct vdb__list *l;

	join_threads(vm);
	vdb__list_splice(&vm->life.vcpus, &vm->spares);
	if (vm->joined)
		vdb__mem_leave(vm->mem, &vm->mem_user);
	while ((l = vdb__list_pop(&vm->life.vcpus)))
		vdb__vcpu_free(vdb__container(l, struct vdb_vcpu, link));
	if (vm->fd >= 0)
		close(vm->fd);
	vdb__slots_drop(vm);
	vdb__routes_drop(vm);
	vdb__window_drop(vm);
	vdb_bus_destroy(vm->mmio);
	vdb_bus_destroy(vm->pio);
	free(vm->policy.overrides);
	vdb_kvm_close(vm->kvm);
	vdb__life_drop(vm);
	free(vm);
	if (done)
		done(arg);
}

VDB_EXPORT struct vdb_bus *vdb_vm_mmio(struct vdb_vm *vm)
{
	return vm->mmio;
}

VDB_EXPORT struct vdb_bus *vdb_vm_pio(struct vdb_vm *vm)
{
	return vm->pio;
}

VDB_EXPORT struct vdb_mem *vdb_vm_mem(struct vdb_vm *vm)
{
	return vm->mem;
}
