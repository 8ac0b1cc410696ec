/* SPDX-License-Identifier: Apache-2.0 */
/* Memory slots of a VM: which ids are taken, and by what. Control thread. */
#ifndef VDB_KVM_SLOTS_H
#define VDB_KVM_SLOTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vdb/vm.h>

struct vdb__slot {
	vdb_gpa_t gpa;
	uint64_t len; /* 0 = free */
	void *host;
	bool readonly;
	bool stuck; /* to be deleted; KVM has refused so far */
};

struct vdb__slots {
	struct vdb__slot *table; /* the index is KVM's slot number */
	uint32_t room;
	bool logging;         /* KVM's dirty log is on */
	pthread_mutex_t lock; /* of the table, for its changes and for other threads */
};

void vdb__slots_init(struct vdb_vm *vm);

/* Returns the slot's id. -EEXIST if a writable one covers a range of the MMIO bus. */
int vdb__slot_add(struct vdb_vm *vm, vdb_gpa_t gpa, uint64_t len, void *host, bool readonly);
void vdb__slot_remove(struct vdb_vm *vm, int id);

/* Forgets the table; the slots go with the VM. */
void vdb__slots_drop(struct vdb_vm *vm);

/* Makes every region of vm->mem a slot, now and later; ranges of the MMIO bus keep clear of
 * those that are writable. */
int vdb__slots_join(struct vdb_vm *vm);

#endif
