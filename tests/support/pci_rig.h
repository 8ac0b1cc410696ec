/* SPDX-License-Identifier: Apache-2.0 */
/* A PCI bus without a VM, functions that remember what happens to them, and a guest's accesses. */
#ifndef VDB_TEST_PCI_RIG_H
#define VDB_TEST_PCI_RIG_H

#include "pci/host.h"

#define PCI_TEST_ECAM 0xe0000000u

struct pci_rig {
	struct vdb_bus *mmio, *pio;
	struct vdb_pci *pci;
};

/* A function with BAR 0 (32 bits, 8 KiB), BAR 2 (64 bits, 64 KiB) and BAR 4 (16 ports), which reads as its
 * number and keeps the last write. */
struct pci_test_function {
	struct vdb__pci_function function;
	uint64_t mapped[VDB__PCI_BARS]; /* as told */
	uint32_t moves;                 /* times told */
	uint32_t writes;
	uint64_t offset, value; /* the last */
	uint32_t len;
	uint32_t cap, cap_offset, cap_len, cap_writes;
	uint32_t masters; /* times told */
	bool master;
};

void pci_rig_make(struct pci_rig *rig);
void pci_rig_end(struct pci_rig *rig);

/* vectors 0: no MSI-X; else it is BAR 1. */
void pci_test_function_add(struct pci_rig *rig, struct pci_test_function *f, uint32_t slot, uint32_t vectors);

/* By ECAM. Absent: all-ones. */
uint32_t pci_get(struct pci_rig *rig, uint32_t slot, uint32_t offset, uint32_t len);
void pci_put(struct pci_rig *rig, uint32_t slot, uint32_t offset, uint32_t len, uint32_t value);

/* By ports; functions and buses may be absent. */
uint32_t pci_port_get(struct pci_rig *rig, uint32_t bdf, uint32_t offset, uint32_t len);
void pci_port_put(struct pci_rig *rig, uint32_t bdf, uint32_t offset, uint32_t len, uint32_t value);

/* Of the memory bus, 4 bytes; false: nobody is there. */
bool pci_rig_reads(struct vdb_bus *bus, uint64_t addr, uint32_t *value);

#endif
