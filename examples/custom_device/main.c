/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMM with a device of its own (alarm.c), and a guest written in C (guest.c).
 * Built by the tree's CMake, which makes the guest's flat image and embeds it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <vdb/vdb.h>

#include "../guest/layout.h"
#include "alarm.h"

extern const unsigned char alarm_guest[], alarm_guest_end[];

#define RING_GPA GUEST_FREE
#define MEMORY_BYTES (GUEST_FREE + 0x10000u)
#define ENTRIES 4u
#define TELL_PORT 0x510u

/* All of the VMM. */
struct vmm {
	struct vdb_kvm *kvm;
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu;
	struct vdb_doorbell *doorbell;
	struct vdb_loop *loop;
	struct vdb_backend *backend;
	struct vdb_queue *queue;
	struct vdb_lane *lane;
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
	printf("alarm of %" PRIu32 " us\n", word(access));
}

static void end(void *ctx, struct vdb_bus_access *access)
{
	struct vmm *vmm = ctx;

	vmm->status = word(access);
	if (vdb_vm_stop(vmm->vm, NULL, NULL))
		fprintf(stderr, "custom_device: %s\n", vdb_errmsg());
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
	           : vdb_mem_write(vmm->mem, GUEST_IMAGE, alarm_guest,
	                           (uint64_t)(alarm_guest_end - alarm_guest));
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

static int make_doorbell(struct vmm *vmm)
{
	struct vdb_doorbell_ring ring = {.ring_gpa = RING_GPA,
	                                 .sq_entries = ENTRIES,
	                                 .cq_entries = ENTRIES,
	                                 .features = VDB_F_EVENT_IDX};
	struct vdb_doorbell_config bell = {
	        .size = sizeof(bell), .addr = VDB_GPA_ANY, .rings = &ring, .ring_count = 1};

	return vdb_doorbell_create(vmm->vm, &bell, &vmm->doorbell);
}

/* The device's lane: ring, doorbell and backend on the loop. It takes the queue over. */
static int make_lane(struct vmm *vmm)
{
	struct vdb_ring_config ring = {
	        .size = sizeof(ring), .sq_entries = ENTRIES, .gpa = RING_GPA, .features = VDB_F_EVENT_IDX};
	struct vdb_lane_config lane = {.size = sizeof(lane), .kick_fd = vdb_doorbell_fd(vmm->doorbell, 0)};
	int err = vdb_ring_create(vmm->mem, &ring, &vmm->queue);

	if (!err)
		err = alarm_create(&vmm->backend);
	if (!err)
		err = vdb_lane_create(vmm->loop, vmm->queue, vmm->backend, &lane, &vmm->lane);
	if (!err)
		vmm->queue = NULL;
	return err;
}

static int make_loop(struct vmm *vmm)
{
	int err = vdb_loop_create(NULL, &vmm->loop);

	return err ? err : vdb_loop_start(vmm->loop, -1, "loop0");
}

static int run(struct vmm *vmm)
{
	struct vdb_x86_start start = {.size = sizeof(start),
	                              .entry = GUEST_IMAGE + GUEST_USER,
	                              .stack = GUEST_STACK,
	                              .arg = {vdb_doorbell_page(vmm->doorbell)},
	                              .tables = GUEST_TABLES};
	int err = vdb_x86_start64(vmm->vcpu, &start);

	return err ? err : vdb_vcpu_run(vmm->vcpu);
}

/* Takes apart what there is: every destroy takes NULL. The loop goes first, so that
 * the lane is let go of at once. */
static int take_apart(struct vmm *vmm)
{
	int err = vmm->loop ? vdb_loop_join(vmm->loop) : 0;

	if (!err)
		err = vdb_loop_destroy(vmm->loop);
	if (err)
		return err;
	vdb_lane_destroy(vmm->lane, NULL, NULL);
	vdb_queue_destroy(vmm->queue);
	vdb_backend_destroy(vmm->backend);
	vdb_doorbell_destroy(vmm->doorbell);
	err = vdb_vm_destroy(vmm->vm, NULL, NULL);
	if (!err)
		err = vdb_mem_destroy(vmm->mem);
	vdb_kvm_close(vmm->kvm);
	return err;
}

int main(void)
{
	static int (*const steps[])(struct vmm *) = {make_memory, make_vm,   make_doorbell,
	                                             make_loop,   make_lane, run};
	struct vmm vmm = {0};
	int err = 0;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !err; i++)
		err = steps[i](&vmm);
	if (err)
		fprintf(stderr, "custom_device: %s\n", vdb_errmsg());
	if (take_apart(&vmm))
		fprintf(stderr, "custom_device: %s\n", vdb_errmsg());
	return err || vmm.status;
}
