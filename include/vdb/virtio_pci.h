/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pci, modern (virtio 1.2, 4.1): config structures in one BAR, MSI-X in another, and a
 * notify BAR that gives each queue a page of its own: one doorbell page per queue, unbacked, any
 * width. Where ports ring faster, a second notify structure in an I/O BAR stands first.
 */
#ifndef VDB_VIRTIO_PCI_H
#define VDB_VIRTIO_PCI_H

#include <vdb/pci.h>
#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_virtio_pci;

enum {
	/* Ports too where they are the faster bell: on AMD's and Hygon's processors, with at most 32 queues.
	 * Elsewhere KVM finds a bell of any width by its address as fast as a port. */
	VDB_NOTIFY_AUTO = 0,
	VDB_NOTIFY_MMIO = 1, /* pages only */
	VDB_NOTIFY_PIO = 2,  /* ports first, pages too */
};

struct vdb_virtio_pci_config {
	uint32_t size;
	uint32_t slot;    /* device number 1..31; 0 = the next free one */
	uint32_t notify;  /* VDB_NOTIFY_* */
	uint32_t vectors; /* of MSI-X, 1..2048; 0 = queues + 1 */
	uint32_t flags;   /* VDB_VIRTIO_PCI_* */
	uint32_t reserved;
};

#define VDB_VIRTIO_PCI_NO_MSIX (1u << 0) /* INTx only; without vdb_pci_config.loop the guest has to poll */

/* Puts `device`, which stays the caller's, on the bus. Its status reads 0 after a reset only when
 * nothing can write guest memory any more. -EBUSY: the device has a transport, or the slot is taken;
 * -ENOSPC: no slot, or no room in a window. Control thread. */
VDB_MUST_CHECK int vdb_virtio_pci_create(struct vdb_pci *pci, struct vdb_virtio *device,
                                         const struct vdb_virtio_pci_config *config,
                                         struct vdb_virtio_pci **out);

/* Takes it off again: resets the device and waits for its requests, so the loop must run, or have been
 * destroyed before. No vCPU may be running. NULL is fine. Control thread. */
void vdb_virtio_pci_destroy(struct vdb_virtio_pci *vpci);

/* Its device number. Any thread. */
uint32_t vdb_virtio_pci_slot(const struct vdb_virtio_pci *vpci);

#ifdef __cplusplus
}
#endif
#endif
