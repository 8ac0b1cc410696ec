/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/slots.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "base/export.h"
#include "bus/bus.h"
#include "kvm/doorbell.h"
#include "kvm/vm.h"

void vdb__slots_init(struct vdb_vm *vm)
{
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&vm->slots.lock, NULL);
}

static int set_slot(struct vdb_vm *vm, uint32_t id, const struct vdb__slot *slot, uint64_t len)
{
	struct kvm_userspace_memory_region region = {
	        .slot = id,
	        .guest_phys_addr = slot->gpa,
	        .memory_size = len,
	        .userspace_addr = (uint64_t)(uintptr_t)slot->host,
	};

	if (slot->readonly)
		region.flags |= KVM_MEM_READONLY;
	else if (vm->slots.logging)
		region.flags |= KVM_MEM_LOG_DIRTY_PAGES;
	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
}

static int grow(struct vdb_vm *vm)
{
	struct vdb__slots *slots = &vm->slots;
	uint32_t room = slots->room ? slots->room * 2 : 8, max = vm->kvm->info.max_memslots;
	struct vdb__slot *table;

	if (room > max)
		room = max;
	if (room <= slots->room)
		return vdb__fail(ENOSPC, "memory: all %u slots that KVM has for a VM are in use", max);
	pthread_mutex_lock(&slots->lock);
	table = realloc(slots->table, room * sizeof(*table));
	if (table) {
		memset(table + slots->room, 0, (room - slots->room) * sizeof(*table));
		slots->table = table;
		slots->room = room;
	}
	pthread_mutex_unlock(&slots->lock);
	return table ? 0 : vdb__fail(ENOMEM, "memory: no memory for the table of slots");
}

static void put_slot(struct vdb_vm *vm, uint32_t id, const struct vdb__slot *slot)
{
	pthread_mutex_lock(&vm->slots.lock);
	vm->slots.table[id] = *slot;
	pthread_mutex_unlock(&vm->slots.lock);
}

/* The id is free when KVM has deleted the slot, not before. It refuses only for want of
 * kernel memory, and is asked again before the next slot is made. */
static void delete_slot(struct vdb_vm *vm, uint32_t id)
{
	struct vdb__slot slot = vm->slots.table[id];

	slot.stuck = set_slot(vm, id, &slot, 0);
	if (!slot.stuck)
		memset(&slot, 0, sizeof(slot));
	put_slot(vm, id, &slot);
}

/* A free id, with a place in the table. */
static int free_id(struct vdb_vm *vm)
{
	uint32_t id;
	int err;

	for (id = 0; id < vm->slots.room; id++) {
		if (vm->slots.table[id].stuck)
			delete_slot(vm, id);
	}
	for (id = 0; id < vm->slots.room && vm->slots.table[id].len;)
		id++;
	if (id == vm->slots.room) {
		err = grow(vm);
		if (err)
			return err;
	}
	return (int)id;
}

int vdb__slot_add(struct vdb_vm *vm, vdb_gpa_t gpa, uint64_t len, void *host, bool readonly)
{
	struct vdb__slot slot = {.gpa = gpa, .len = len, .host = host, .readonly = readonly};
	int err, id;

	err = readonly ? vdb__kvm_require(vm->kvm, VDB_KVM_READONLY_MEM, "read-only region") : 0;
	if (err)
		return err;
	id = free_id(vm);
	if (id < 0)
		return id;
	/* In the table before the bus is looked at, so that a range that is claimed meanwhile
	 * is seen here, or its claimer sees the slot. */
	put_slot(vm, (uint32_t)id, &slot);
	err = readonly ? 0 : vdb__bus_clear_of(vm->mmio, "memory", gpa, len);
	if (!err) {
		err = set_slot(vm, (uint32_t)id, &slot, len);
		if (err)
			err = vdb__fail_sys(-err, "memory [%#llx, +%#llx) cannot be given to the VM",
			                    (unsigned long long)gpa, (unsigned long long)len);
	}
	if (err)
		put_slot(vm, (uint32_t)id, &(struct vdb__slot){0});
	return err ? err : id;
}

void vdb__slot_remove(struct vdb_vm *vm, int id)
{
	delete_slot(vm, (uint32_t)id);
}

void vdb__slots_drop(struct vdb_vm *vm)
{
	free(vm->slots.table);
	vm->slots.table = NULL;
	vm->slots.room = 0;
	pthread_mutex_destroy(&vm->slots.lock);
}

static bool writable_in(const struct vdb__slot *slot, uint64_t base, uint64_t len)
{
	return slot->len && !slot->readonly && (base - slot->gpa < slot->len || slot->gpa - base < len);
}

/* The MMIO bus's guard. Any thread. */
static int clear_of_memory(void *arg, const char *name, uint64_t base, uint64_t len)
{
	struct vdb_vm *vm = arg;
	int err = 0;

	pthread_mutex_lock(&vm->slots.lock);
	for (uint32_t id = 0; id < vm->slots.room && !err; id++) {
		const struct vdb__slot *slot = &vm->slots.table[id];

		if (writable_in(slot, base, len))
			err = vdb__fail(
			        EEXIST,
			        "bus range '%s' at %#llx: there is memory [%#llx, +%#llx); move one of them",
			        name, (unsigned long long)base, (unsigned long long)slot->gpa,
			        (unsigned long long)slot->len);
	}
	pthread_mutex_unlock(&vm->slots.lock);
	return err;
}

static int find(const struct vdb_vm *vm, vdb_gpa_t gpa)
{
	for (uint32_t id = 0; id < vm->slots.room; id++) {
		const struct vdb__slot *slot = &vm->slots.table[id];

		if (slot->len && !slot->stuck && slot->gpa == gpa)
			return (int)id;
	}
	return -1;
}

static int region_added(struct vdb__mem_user *user, const struct vdb__region *region)
{
	struct vdb_vm *vm = vdb__container(user, struct vdb_vm, mem_user);
	vdb_gpa_t gpa = vdb__region_gpa(region);
	uint64_t len = vdb__region_len(region);
	int id = vdb__doorbells_clear_of(vm, gpa, len);

	if (!id)
		id = vdb__slot_add(vm, gpa, len, vdb__region_host(region), vdb__region_readonly(region));
	return id < 0 ? id : 0;
}

static void region_removed(struct vdb__mem_user *user, const struct vdb__region *region)
{
	struct vdb_vm *vm = vdb__container(user, struct vdb_vm, mem_user);
	int id = find(vm, vdb__region_gpa(region));

	if (id >= 0)
		vdb__slot_remove(vm, id);
}

int vdb__slots_join(struct vdb_vm *vm)
{
	int err;

	vm->mem_user.added = region_added;
	vm->mem_user.removed = region_removed;
	err = vdb__mem_join(vm->mem, &vm->mem_user);
	vm->joined = !err;
	/* Nobody else has the bus yet. */
	vdb__bus_guard(vm->mmio, clear_of_memory, vm);
	return err;
}

/* ---- KVM's dirty log ---- */

/* Switches the log of every writable slot; stops at the first refusal. */
static int set_logging(struct vdb_vm *vm, bool on)
{
	int err = 0;

	vm->slots.logging = on;
	for (uint32_t id = 0; id < vm->slots.room && !err; id++) {
		const struct vdb__slot *slot = &vm->slots.table[id];

		if (slot->len && !slot->readonly && !slot->stuck)
			err = set_slot(vm, id, slot, slot->len);
	}
	return err;
}

VDB_EXPORT int vdb_vm_dirty_log_start(struct vdb_vm *vm)
{
	int err;

	if (vm->slots.logging)
		return vdb__fail(EALREADY, "dirty log: runs already");
	err = set_logging(vm, true);
	if (!err)
		return 0;
	(void)set_logging(vm, false);
	return vdb__fail_sys(-err, "dirty log: cannot be started");
}

VDB_EXPORT int vdb_vm_dirty_log_stop(struct vdb_vm *vm)
{
	int err;

	if (!vm->slots.logging)
		return vdb__fail(EINVAL, "dirty log: was not started");
	err = set_logging(vm, false);
	return err ? vdb__fail_sys(-err, "dirty log: cannot be stopped") : 0;
}

VDB_EXPORT int64_t vdb_vm_dirty_log_harvest(struct vdb_vm *vm, vdb_gpa_t gpa, uint64_t len, uint64_t *bitmap)
{
	uint64_t words = (len / VDB_PAGE_SIZE + 63) / 64;
	struct kvm_dirty_log log = {.dirty_bitmap = bitmap};
	int64_t pages = 0;
	int id;

	if (!vm->slots.logging)
		return vdb__fail(EINVAL, "dirty log: was not started");
	id = find(vm, gpa);
	if (id < 0 || vm->slots.table[id].len != len)
		return vdb__fail(ENOENT, "dirty log: [%#llx, +%#llx) is not one whole region",
		                 (unsigned long long)gpa, (unsigned long long)len);
	memset(bitmap, 0, words * sizeof(*bitmap));
	if (vm->slots.table[id].readonly)
		return 0;
	log.slot = (uint32_t)id;
	if (ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log))
		return vdb__fail_sys(errno, "dirty log of [%#llx, +%#llx)", (unsigned long long)gpa,
		                     (unsigned long long)len);
	for (uint64_t i = 0; i < words; i++)
		pages += __builtin_popcountll(bitmap[i]);
	return pages;
}
