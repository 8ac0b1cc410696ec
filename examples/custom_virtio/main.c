/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMM with a virtio device of its own (abacus.c), and a guest written in C (guest.c).
 * Built by the tree's CMake, which makes the guest's flat image and embeds it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <vdb/vdb.h>

#include "../guest/layout.h"
#include "abacus.h"

extern const unsigned char abacus_guest[], abacus_guest_end[];

#define MEMORY_BYTES GUEST_FREE
#define DEVICE_GPA 0xe0000000u
#define DEVICE_GSI 5u
#define TELL_PORT 0x510u

/* All of the VMM. */
struct vmm {
	struct vdb_kvm *kvm;
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu;
	struct vdb_loop *loop;
	struct vdb_virtio *device;
	struct vdb_virtio_mmio *mmio;
	uint32_t status; /* the guest's */
};

/* ---- Two ports, on the vCPU's thread ---- */

static uint32_t word(const struct vdb_bus_access *access)
{
	uint32_t value = 0;

	memcpy(&value, access->data, access->len < sizeof(value) ? access->len : sizeof(value));
	return value;
}

static void tell(void *ctx, struct vdb_bus_access *access)
{
	(void)ctx;
	printf("the abacus says %" PRIu32 "\n", word(access));
}

static void end(void *ctx, struct vdb_bus_access *access)
{
	struct vmm *vmm = ctx;

	vmm->status = word(access);
	if (vdb_vm_stop(vmm->vm, NULL, NULL))
		fprintf(stderr, "custom_virtio: %s\n", vdb_errmsg());
}

static int add_ports(struct vmm *vmm)
{
	static const struct vdb_bus_ops tell_ops = {.size = sizeof(tell_ops), .write = tell};
	static const struct vdb_bus_ops end_ops = {.size = sizeof(end_ops), .write = end};
	int err = vdb_bus_add(vdb_vm_pio(vmm->vm), "tell", TELL_PORT, 4, &tell_ops, vmm);

	return err ? err : vdb_bus_add(vdb_vm_pio(vmm->vm), "end", GUEST_EXIT_PORT, 4, &end_ops, vmm);
}

/* ---- The VM, in order ---- */

static int make_memory(struct vmm *vmm)
{
	struct vdb_region_config ram = {.size = sizeof(ram), .len = MEMORY_BYTES};
	int err = vdb_mem_create(&vmm->mem);

	if (!err)
		err = vdb_mem_add(vmm->mem, &ram);
	return err ? err
	           : vdb_mem_write(vmm->mem, GUEST_IMAGE, abacus_guest,
	                           (uint64_t)(abacus_guest_end - abacus_guest));
}

static int make_vm(struct vmm *vmm)
{
	int err = vdb_kvm_open(NULL, &vmm->kvm);

	if (!err)
		err = vdb_vm_create(vmm->kvm, vmm->mem, NULL, &vmm->vm);
	if (!err)
		err = add_ports(vmm);
	return err ? err : vdb_vcpu_create(vmm->vm, 0, &vmm->vcpu);
}

static int make_loop(struct vmm *vmm)
{
	int err = vdb_loop_create(NULL, &vmm->loop);

	return err ? err : vdb_loop_start(vmm->loop, -1, "loop0");
}

/* The device, and the registers and interrupt by which the guest reaches it. */
static int make_device(struct vmm *vmm)
{
	const struct vdb_virtio_mmio_config config = {
	        .size = sizeof(config), .gsi = DEVICE_GSI, .base = DEVICE_GPA};
	int err = abacus_create(vmm->mem, vmm->loop, &vmm->device);

	return err ? err : vdb_virtio_mmio_create(vmm->vm, vmm->device, &config, &vmm->mmio);
}

static int run(struct vmm *vmm)
{
	struct vdb_x86_start start = {.size = sizeof(start),
	                              .entry = GUEST_IMAGE + GUEST_USER,
	                              .stack = GUEST_STACK,
	                              .arg = {DEVICE_GPA},
	                              .tables = GUEST_TABLES};
	int err = vdb_x86_start64(vmm->vcpu, &start);

	return err ? err : vdb_vcpu_run(vmm->vcpu);
}

/* Takes apart what there is: every destroy takes NULL. The transport goes first, which resets the device and
 * waits for its requests: the loop still runs. */
static int take_apart(struct vmm *vmm)
{
	int err = 0;

	vdb_virtio_mmio_destroy(vmm->mmio);
	vdb_virtio_destroy(vmm->device, NULL, NULL);
	if (vmm->loop)
		err = vdb_loop_join(vmm->loop);
	if (!err)
		err = vdb_loop_destroy(vmm->loop);
	if (!err)
		err = vdb_vm_destroy(vmm->vm, NULL, NULL);
	if (!err)
		err = vdb_mem_destroy(vmm->mem);
	vdb_kvm_close(vmm->kvm);
	return err;
}

int main(void)
{
	static int (*const steps[])(struct vmm *) = {make_memory, make_vm, make_loop, make_device, run};
	struct vmm vmm = {0};
	int err = 0;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !err; i++)
		err = steps[i](&vmm);
	if (err)
		fprintf(stderr, "custom_virtio: %s\n", vdb_errmsg());
	if (take_apart(&vmm))
		fprintf(stderr, "custom_virtio: %s\n", vdb_errmsg());
	return err || vmm.status;
}
