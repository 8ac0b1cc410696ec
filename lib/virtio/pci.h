/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a virtio-pci transport (virtio 1.2, 4.1).
 *
 *     BAR 0  memory   common configuration, ISR, device configuration: a page each
 *     BAR 1  memory   MSI-X table and pending bits
 *     BAR 2  ports    notify, 4 of them for each queue; only where that was chosen
 *     BAR 4  memory   notify, a page for each queue (64 bits)
 */
#ifndef VDB_VIRTIO_PCI_INSIDE_H
#define VDB_VIRTIO_PCI_INSIDE_H

#include <linux/virtio_pci.h>
#include <pthread.h>
#include <vdb/bell.h>
#include <vdb/virtio_pci.h>

#include "pci/function.h"
#include "virtio/device.h"

#define VDB__VPCI_CONFIG_BAR 0u
#define VDB__VPCI_MSIX_BAR 1u
#define VDB__VPCI_PORTS_BAR 2u
#define VDB__VPCI_PAGES_BAR 4u

/* In the configuration BAR, each a page apart: a guest may give them to different programs. */
#define VDB__VPCI_COMMON 0x0000u
#define VDB__VPCI_ISR 0x1000u
#define VDB__VPCI_DEVICE 0x2000u
#define VDB__VPCI_CONFIG_BYTES 0x4000u

#define VDB__VPCI_COMMON_BYTES 60u /* up to queue_reset */
#define VDB__VPCI_PORT_STEP 4u
#define VDB__VPCI_PORTS_MAX 256u

struct vdb__vpci_queue {
	uint16_t vector; /* atomic */
	struct vdb_bell *page;
	struct vdb_bell *port; /* rings the page's eventfd; NULL: there are no ports */
};

struct vdb_virtio_pci {
	struct vdb__pci_function function; /* first: what its handlers get */
	struct vdb_virtio *device;
	bool attached;
	uint32_t queues, vectors;
	/* Selectors and the vector: atomic, since vCPUs may write them at once; each use reads them once. */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select, config_vector;
	pthread_mutex_t isr_lock; /* a cause and its level come and go together; a leaf but for INTx's */
	uint8_t isr;
	struct vdb__vpci_queue queue[];
};

static inline struct vdb_virtio_pci *vdb__vpci(struct vdb__pci_function *function)
{
	return (struct vdb_virtio_pci *)(void *)function;
}

/* ---- pci_common.c: the common configuration structure ---- */

void vdb__vpci_common_read(struct vdb_virtio_pci *vpci, uint64_t offset, void *data, uint32_t len);
void vdb__vpci_common_write(struct vdb_virtio_pci *vpci, uint64_t offset, const void *data, uint32_t len);

/* ---- pci_irq.c ---- */

extern const struct vdb__transport_ops vdb__vpci_transport;

/* What the driver asked for, or VIRTIO_MSI_NO_VECTOR if that does not exist (4.1.4.3.1). */
uint16_t vdb__vpci_vector(const struct vdb_virtio_pci *vpci, uint16_t wanted);

/* The ISR, which reading clears. */
uint8_t vdb__vpci_isr_take(struct vdb_virtio_pci *vpci);

/* ---- pci_notify.c ---- */

extern const struct vdb_bus_ops vdb__vpci_pages_ops, vdb__vpci_ports_ops;

/* Is a port the faster bell for so many queues? */
bool vdb__vpci_wants_ports(uint32_t notify, uint32_t queues);
uint64_t vdb__vpci_pages_bytes(uint32_t queues);
uint64_t vdb__vpci_ports_bytes(uint32_t queues);

int vdb__vpci_bells_make(struct vdb_virtio_pci *vpci, struct vdb_vm *vm, bool ports);
void vdb__vpci_bells_destroy(struct vdb_virtio_pci *vpci);
/* They follow their BAR. */
void vdb__vpci_bells_move(struct vdb__pci_function *function, uint32_t bar, uint64_t base);

/* ---- pci_caps.c: the capabilities, and the window into the BARs that is one of them ---- */

int vdb__vpci_add_caps(struct vdb_virtio_pci *vpci, bool ports);
void vdb__vpci_window_read(struct vdb__pci_function *function, uint32_t cap, uint32_t offset, void *data,
                           uint32_t len);
void vdb__vpci_window_write(struct vdb__pci_function *function, uint32_t cap, uint32_t offset,
                            const void *data, uint32_t len);

#endif
