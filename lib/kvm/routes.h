/* SPDX-License-Identifier: Apache-2.0 */
/* The VM's interrupt routing table, given to KVM as a whole. Control thread. */
#ifndef VDB_KVM_ROUTES_H
#define VDB_KVM_ROUTES_H

#include <linux/kvm.h>
#include <stdint.h>
#include <vdb/vm.h>

struct vdb__routes {
	struct kvm_irq_routing *table; /* NULL until the first MSI: KVM's default routes hold */
	uint32_t room;
	uint64_t *taken; /* GSIs, a bit each; there is one for each that KVM has */
};

void vdb__routes_drop(struct vdb_vm *vm);

/* A route for an MSI under a new GSI, which is returned; -ENOSPC. */
int vdb__route_add(struct vdb_vm *vm, uint64_t address, uint32_t data);
int vdb__route_change(struct vdb_vm *vm, uint32_t gsi, uint64_t address, uint32_t data);
void vdb__route_remove(struct vdb_vm *vm, uint32_t gsi);

#endif
