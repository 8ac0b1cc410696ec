/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI function: config space, BARs, capabilities, interrupts, for the device that
 * embeds one. The host bridge (bridge.c) finds it by its slot; config accesses are serialised
 * per bus by a lock, BAR accesses are not.
 *
 * Who waits for whom: a config access that moves a BAR waits, with the bus's lock held, for handlers
 * in that BAR (vdb_bus_remove()). So **BAR handlers never take the bus's lock**, and never wait for a
 * config access: two vCPUs that move each other's BARs queue at the lock, and whoever has it waits for
 * handlers that need neither. Windows in config space (virtio's PCI_CFG capability) reach BARs
 * by vdb__pci_bar_read/write(), under the bus's lock but not through the memory bus: no access is ever a
 * handler of the range that it makes move.
 */
#ifndef VDB_PCI_FUNCTION_H
#define VDB_PCI_FUNCTION_H

#include <pthread.h>
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
	uint64_t len;  /* power of two; memory: at least 4096; MSI-X's: 0 = as needed */
	bool prefetchable;
	const struct vdb_bus_ops *ops; /* accesses, ctx = the function; MSI-X's: NULL */
};

struct vdb__pci_function_ops {
	const char *name;
	/* BAR `bar` decodes at `base` from now on, or (VDB_GPA_ANY) no more: doorbells in it move. Under the
	 * bus's lock, on a vCPU's or a control thread. NULL: nothing to do. */
	void (*mapped)(struct vdb__pci_function *function, uint32_t bar, uint64_t base);
	/* Accesses to a vendor capability, see vdb__pci_add_cap(): [offset, +len) from its start, naturally
	 * aligned. A read finds config space's bytes in `data`; a write has been stored there as far as bytes
	 * are writable. Under the bus's lock. NULL: nothing to do. */
	void (*cap_read)(struct vdb__pci_function *function, uint32_t cap, uint32_t offset, void *data,
	                 uint32_t len);
	void (*cap_write)(struct vdb__pci_function *function, uint32_t cap, uint32_t offset, const void *data,
	                  uint32_t len);
	/* Bus mastering was switched. Under the bus's lock. NULL: nothing to do. */
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
	struct vdb_pci *pci; /* NULL until added */
	struct vdb__pci_identity identity;
	uint32_t slot;
	/* Under the bus's lock, from here on: */
	uint8_t config[VDB__PCI_CONFIG];
	uint8_t writable[VDB__PCI_CONFIG]; /* bits that the guest may change */
	uint32_t cap_end;                  /* where the next capability goes */
	uint32_t last_cap, msix_cap;       /* offsets; 0: none */
	uint64_t bar_base[VDB__PCI_BARS];  /* where it decodes; VDB_GPA_ANY: nowhere */
	bool master;
	struct vdb__msix *msix; /* NULL: none */
	bool msix_on;           /* atomic */
	struct vdb_line *intx;  /* NULL: none */
	/* A leaf: held for a moment, from any thread, the loop's included. */
	pthread_mutex_t intx_lock;
	bool intx_level;  /* what the device wants */
	bool intx_masked; /* by the command register */
	bool ready;       /* intx_lock is there */
};

/* Fills config space; adds MSI-X's capability if there are vectors. `vm` is where interrupts go. Frees
 * nothing on failure: drop() does. */
int vdb__pci_function_init(struct vdb__pci_function *function, struct vdb_vm *vm,
                           const struct vdb__pci_function_ops *ops, const struct vdb__pci_identity *identity);

/* Appends a capability: `bytes` (with the two bytes of header, which are filled in) as the guest reads it;
 * its offset, or -ENOSPC. Before add. */
int vdb__pci_add_cap(struct vdb__pci_function *function, uint8_t id, const void *bytes, uint32_t len);

/* The guest may write these bytes of config space. Before add. */
void vdb__pci_writable(struct vdb__pci_function *function, uint32_t offset, uint32_t len);

/* Gives it slot (0 = next free), addresses for its BARs, INTx pin A; the guest sees it. -EBUSY, -ENOSPC. */
int vdb__pci_function_add(struct vdb__pci_function *function, struct vdb_pci *pci, uint32_t slot);

/* The VM whose bus it is. */
struct vdb_vm *vdb__pci_vm(const struct vdb_pci *pci);

/* Takes it off the bus; undoes what is registered. Harmless for one that was not added. */
void vdb__pci_function_drop(struct vdb__pci_function *function);

/* An access of 1, 2 or 4 bytes inside a BAR, wherever that decodes, not through the memory bus. Nothing
 * happens unless it is naturally aligned and inside; a read leaves `data` as it is then. For
 * capabilities' handlers. */
void vdb__pci_bar_read(struct vdb__pci_function *function, uint32_t bar, uint64_t offset, void *data,
                       uint32_t len);
void vdb__pci_bar_write(struct vdb__pci_function *function, uint32_t bar, uint64_t offset, const void *data,
                        uint32_t len);

/* INTx, for when the guest has not enabled MSI-X: the line follows `level` unless the command register
 * or MSI-X disables it. Any thread. */
void vdb__pci_intx(struct vdb__pci_function *function, bool level);

/* The guest has enabled MSI-X. Any thread. */
bool vdb__pci_msix_on(const struct vdb__pci_function *function);

#endif
