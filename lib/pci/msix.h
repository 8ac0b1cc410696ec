/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An MSI-X table and its pending bits (PCI 3.0, 6.8.2), with an irqfd behind each vector in use.
 *
 * Whether a vector is masked and whether it is pending is one atomic word, so that raising and
 * unmasking cannot miss each other: a masked vector that is raised gets its pending bit, and is
 * delivered exactly once when mask and function mask are gone. No lock and no exit on the way of an
 * interrupt.
 */
#ifndef VDB_PCI_MSIX_H
#define VDB_PCI_MSIX_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/vm.h>

struct vdb__msix;

#define VDB__MSIX_MAX 2048u

/* All vectors masked, MSI-X off. irqs are made when a vector is first open, not before; one that leads
 * nowhere (no interrupt's address, no route left) is delivered to nobody. -EINVAL, -ENOMEM. */
int vdb__msix_create(struct vdb_vm *vm, uint32_t vectors, struct vdb__msix **out);
void vdb__msix_destroy(struct vdb__msix *msix);

uint32_t vdb__msix_vectors(const struct vdb__msix *msix);

/* Message control's enable and function mask changed; off forgets pending bits, and what is raised meanwhile.
 * Any thread but a loop's. */
void vdb__msix_control(struct vdb__msix *msix, bool enable, bool mask);

/* The guest's accesses to table and PBA: dwords and qwords, naturally aligned; others read as zeroes and
 * write nowhere. Any thread but a loop's. */
void vdb__msix_table_read(struct vdb__msix *msix, uint64_t offset, void *data, uint32_t len);
void vdb__msix_table_write(struct vdb__msix *msix, uint64_t offset, const void *data, uint32_t len);
void vdb__msix_pba_read(struct vdb__msix *msix, uint64_t offset, void *data, uint32_t len);

/* Bytes of the table and of the pending bits. */
uint64_t vdb__msix_table_bytes(const struct vdb__msix *msix);
uint64_t vdb__msix_pba_bytes(const struct vdb__msix *msix);

/* Raises a vector; one that does not exist (VIRTIO_MSI_NO_VECTOR) does nothing. Any thread, never waits. */
void vdb__msix_raise(struct vdb__msix *msix, uint32_t vector);

#endif
