/* SPDX-License-Identifier: Apache-2.0 */
/* The VM's interrupt routing table, given to KVM as a whole. Any thread but a loop's: KVM waits for RCU. */
#ifndef VDB_KVM_ROUTES_H
#define VDB_KVM_ROUTES_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdint.h>
#include <vdb/vm.h>

struct vdb__routes {
	pthread_mutex_t lock;          /* of all of it; held while KVM takes the table */
	struct kvm_irq_routing *table; /* NULL until the first MSI: KVM's default routes hold */
	uint32_t room;
	uint32_t *place; /* of each GSI below `places`: its MSI's index in the table, plus 1; 0 = free */
	uint32_t places; /* few, as long as few are used: KVM has thousands */
};

void vdb__routes_init(struct vdb_vm *vm);
void vdb__routes_drop(struct vdb_vm *vm);

/* A route for an MSI under a new GSI, which is returned; -ENOSPC. */
int vdb__route_add(struct vdb_vm *vm, uint64_t address, uint32_t data);
/* One call to KVM, or none if it leads there already. */
int vdb__route_change(struct vdb_vm *vm, uint32_t gsi, uint64_t address, uint32_t data);
void vdb__route_remove(struct vdb_vm *vm, uint32_t gsi);

#endif
