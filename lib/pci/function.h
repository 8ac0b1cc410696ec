/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI function: config space, BARs, capabilities, interrupts, for the device that
 * embeds one. The host bridge (bridge.c) finds it by its slot; config accesses are serialised
 * per bus, BAR accesses are not.
 */
#ifndef VDB_PCI_FUNCTION_H
#define VDB_PCI_FUNCTION_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/bus.h>
#include <vdb/pci.h>

#include "pci/msix.h"

struct vdb__pci_function;

#define VDB__PCI_BARS 6u
#define VDB__PCI_CONFIG 256u

enum vdb__bar_kind {
	VDB__BAR_NONE = 0,
	VDB__BAR_MEM32,
	VDB__BAR_MEM64, /* takes the next register, too */
	VDB__BAR_IO,
};

struct vdb__bar {
	uint32_t kind; /* enum vdb__bar_kind */
	uint64_t len;  /* power of two; memory: at least 4096 */
	bool prefetchable;
	const struct vdb_bus_ops *ops; /* accesses, ctx = the function; NULL: MSI-X table and PBA */
};

struct vdb__pci_function_ops {
	const char *name;
	/* BAR `bar` decodes at `base` from now on, or (VDB_GPA_ANY) no more: doorbells in it move. Under the
	 * bus's lock, on a vCPU's or a control thread. NULL: nothing to do. */
	void (*mapped)(struct vdb__pci_function *function, uint32_t bar, uint64_t base);
	/* Accesses to a capability of the function's own, see vdb__pci_add_cap(): [offset, +len) from its
	 * start. NULL: reads show the bytes, writes go nowhere. */
	void (*cap_read)(struct vdb__pci_function *function, uint32_t cap, uint32_t offset, void *data,
	                 uint32_t len);
	void (*cap_write)(struct vdb__pci_function *function, uint32_t cap, uint32_t offset, const void *data,
	                  uint32_t len);
	/* Bus mastering was switched. NULL: nothing to do. */
	void (*master)(struct vdb__pci_function *function, bool on);
};

/* What it is, before it is added. */
struct vdb__pci_identity {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision, class_code, subclass, prog_if;
	struct vdb__bar bars[VDB__PCI_BARS];
	uint32_t vectors; /* of MSI-X; 0: none */
	uint32_t msix_bar;
};

/* Embedded by its device; zeroed before init. Fields are the pci layer's. */
struct vdb__pci_function {
	const struct vdb__pci_function_ops *ops;
	struct vdb_pci *pci;
	struct vdb__pci_identity identity;
	uint32_t slot;
	uint8_t config[VDB__PCI_CONFIG];
	uint8_t writable[VDB__PCI_CONFIG]; /* bits that the guest may change */
	uint32_t cap_end;                  /* where the next capability goes */
	uint32_t last_cap;
	uint64_t bar_base[VDB__PCI_BARS]; /* where it decodes; VDB_GPA_ANY: nowhere */
	struct vdb__msix *msix;           /* NULL: none */
	struct vdb_line *intx;            /* NULL until added */
	bool intx_level;                  /* what the device wants */
};

/* Fills config space; adds MSI-X's capability if there are vectors. Frees nothing on failure: drop() does. */
int vdb__pci_function_init(struct vdb__pci_function *function, const struct vdb__pci_function_ops *ops,
                           const struct vdb__pci_identity *identity);

/* Appends a capability: `bytes` (with the two bytes of header, which are filled in) as the guest reads it;
 * its offset, or -ENOSPC. Before add. */
int vdb__pci_add_cap(struct vdb__pci_function *function, uint8_t id, const void *bytes, uint32_t len);

/* Gives it slot (0 = next free), addresses for its BARs, INTx pin A; the guest sees it. -EBUSY, -ENOSPC. */
int vdb__pci_function_add(struct vdb__pci_function *function, struct vdb_pci *pci, uint32_t slot);

/* Takes it off the bus; undoes what is registered. Harmless for one that was not added. */
void vdb__pci_function_drop(struct vdb__pci_function *function);

/* INTx, for when the guest has not enabled MSI-X: the line follows `level` unless the command register
 * disables it. Any thread. */
void vdb__pci_intx(struct vdb__pci_function *function, bool level);

/* The guest has enabled MSI-X. */
bool vdb__pci_msix_on(const struct vdb__pci_function *function);

#endif
