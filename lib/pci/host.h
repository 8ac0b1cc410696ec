/* SPDX-License-Identifier: Apache-2.0 */
/* The host bridge and its bus, as the files of this folder see it. */
#ifndef VDB_PCI_HOST_H
#define VDB_PCI_HOST_H

#include "pci/function.h"

#define VDB__PCI_SLOTS 32u

struct vdb__window {
	uint64_t base, len;
};

struct vdb_pci {
	struct vdb_vm *vm;
	struct vdb_bus *mmio, *pio;
	struct vdb_pci_config config;
	struct vdb__window mem32, mem64, io;
	bool ecam_claimed, ports_claimed;
	/* Config space of every function, and where their BARs decode. BAR handlers never take it
	 * (function.h). */
	pthread_mutex_t lock;
	uint32_t address; /* what the guest wrote to port 0xcf8 */
	struct vdb__pci_function *slots[VDB__PCI_SLOTS];
	struct vdb__pci_function bridge; /* slot 0 */
};

/* vdb_pci_create() on buses; vm may be NULL: no interrupts then. */
int vdb__pci_create_on(struct vdb_vm *vm, struct vdb_bus *mmio, struct vdb_bus *pio,
                       const struct vdb_pci_config *config, struct vdb_pci **out);

/* ---- config.c: little-endian fields, and the guest's accesses. Locked. ---- */

uint32_t vdb__pci_get(const struct vdb__pci_function *function, uint32_t offset, uint32_t len);
void vdb__pci_put(struct vdb__pci_function *function, uint32_t offset, uint32_t len, uint32_t value);

/* 1, 2 or 4 bytes, naturally aligned, below VDB__PCI_CONFIG. */
void vdb__pci_config_read(struct vdb__pci_function *function, uint32_t offset, void *data, uint32_t len);
void vdb__pci_config_write(struct vdb__pci_function *function, uint32_t offset, const void *data,
                           uint32_t len);

/* ---- bar.c ---- */

/* Registers for the identity's BARs, all at 0. -EINVAL */
int vdb__bars_init(struct vdb__pci_function *function);

/* Finds places for them. -ENOSPC, with nothing changed. Locked. */
int vdb__bars_assign(struct vdb_pci *pci, struct vdb__pci_function *function);

/* Makes every BAR of the bus decode where the guest wants it, as far as that is possible. Locked. */
void vdb__bars_decode(struct vdb_pci *pci);

/* ---- msix_cap.c ---- */

/* The capability, and the BAR's length. */
int vdb__msix_cap_init(struct vdb__pci_function *function, struct vdb_vm *vm);

/* Message control or bus mastering may have changed. Locked. */
void vdb__msix_cap_changed(struct vdb__pci_function *function);

/* Accesses to the BAR of table and pending bits. */
extern const struct vdb_bus_ops vdb__msix_bar_ops;

/* ---- intx.c ---- */

/* The line of its slot, if the bus has lines. */
int vdb__intx_init(struct vdb__pci_function *function);
void vdb__intx_drop(struct vdb__pci_function *function);

/* The command register or MSI-X may have changed. */
void vdb__intx_mask(struct vdb__pci_function *function, bool masked);

/* For the status register. */
bool vdb__intx_pending(struct vdb__pci_function *function);

#endif
