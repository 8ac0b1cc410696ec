/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_rig.h's echo device on the PCI bus of a VM without vCPUs: the test makes a guest's accesses.
 */
#ifndef VDB_TEST_VPCI_RIG_H
#define VDB_TEST_VPCI_RIG_H

#include <vdb/vdb.h>

#include "virtio_rig.h"

#define VPCI_ECAM 0xe0000000u
#define VPCI_SLOT 1u

struct vpci_rig {
	struct virtio_rig v;
	struct vdb_kvm *kvm;
	struct vdb_vm *vm;
	struct vdb_pci *pci;
	struct vdb_virtio_pci *vpci;
	/* Where the guest finds things; memory BARs. */
	uint64_t common, isr, device, pages, msix;
	uint32_t ports, window, msix_cap; /* a port; offsets of capabilities. 0: none */
};

/* The device is found, and its BARs decode; it is bus master. config may be NULL. */
void vpci_rig_open(struct vpci_rig *rig, const struct vdb_virtio_pci_config *config);
void vpci_rig_close(struct vpci_rig *rig);
/* In steps: VM and bus; walking the capabilities. */
void vpci_rig_make(struct vpci_rig *rig);
void vpci_rig_find(struct vpci_rig *rig);

/* Little-endian; what nobody claims reads as ones. */
uint64_t vpci_read(struct vpci_rig *rig, uint64_t addr, uint32_t len);
void vpci_write(struct vpci_rig *rig, uint64_t addr, uint32_t len, uint64_t value);
uint32_t vpci_config(struct vpci_rig *rig, uint32_t offset, uint32_t len);
void vpci_set_config(struct vpci_rig *rig, uint32_t offset, uint32_t len, uint32_t value);

/* The device by its registers: reset, features, `queues` queues of 16 with drivers, DRIVER_OK. */
void vpci_up(struct vpci_rig *rig, uint64_t features, uint32_t queues);
void vpci_reset(struct vpci_rig *rig);

#endif
