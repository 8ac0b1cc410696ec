/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts into a VM: an eventfd per source (KVM irqfd), routed to an
 * interrupt controller's pin or sent as an MSI.
 */
#ifndef VDB_IRQ_H
#define VDB_IRQ_H

#include <vdb/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_irq;

enum {
	VDB_IRQ_PIN = 0,   /* GSI `gsi` of the in-kernel irqchip, edge */
	VDB_IRQ_LEVEL = 1, /* the same, level with resample: see vdb_irq_resample_fd() */
	VDB_IRQ_MSI = 2,
};

struct vdb_irq_config {
	uint32_t size;
	uint32_t kind;        /* VDB_IRQ_* */
	uint32_t gsi;         /* PIN, LEVEL: 0..23 */
	uint32_t msi_data;    /* MSI: vector in bits 0..7 */
	uint64_t msi_address; /* MSI: 0xfee00000 | apic id << 12 */
};

/* -ENOTSUP without an irqchip; -ENOSPC when no GSI is left; -EINVAL. Any thread but a
 * loop's: changing routes waits for RCU. */
VDB_MUST_CHECK int vdb_irq_create(struct vdb_vm *vm, const struct vdb_irq_config *config,
                                  struct vdb_irq **out);

/* Leaves nothing in the kernel. NULL is fine. Any thread but a loop's. */
void vdb_irq_destroy(struct vdb_irq *irq);

/* Sends an MSI elsewhere from now on; one call to KVM, whatever the number of routes. Any thread but a
 * loop's, one at a time per irq. */
VDB_MUST_CHECK int vdb_irq_retarget(struct vdb_irq *irq, uint64_t msi_address, uint32_t msi_data);

/* Write 1 (8 bytes) to interrupt the guest. The irq's own; any thread. */
int vdb_irq_fd(const struct vdb_irq *irq);

/* LEVEL: becomes readable when the guest has acknowledged. Else -1. */
int vdb_irq_resample_fd(const struct vdb_irq *irq);

/* The GSI in use. */
uint32_t vdb_irq_gsi(const struct vdb_irq *irq);

#ifdef __cplusplus
}
#endif
#endif
