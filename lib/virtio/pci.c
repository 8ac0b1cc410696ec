/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device as a function of a PCI bus: what it is, its BARs, its life. */
#include "virtio/pci.h"

#include <linux/virtio_ids.h>
#include <stdlib.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"

#define VENDOR 0x1af4u
#define DEVICE 0x1040u /* + the virtio device's id (4.1.2) */

/* ---- The configuration BAR ---- */

static void config_read(void *ctx, struct vdb_bus_access *access)
{
	struct vdb_virtio_pci *vpci = vdb__vpci(ctx);

	if (access->offset >= VDB__VPCI_DEVICE)
		vdb__virtio_config_read(vpci->device, access->offset - VDB__VPCI_DEVICE, access->data,
		                        access->len);
	else if (access->offset == VDB__VPCI_ISR)
		access->data[0] = vdb__vpci_isr_take(vpci);
	else
		vdb__vpci_common_read(vpci, access->offset, access->data, access->len);
}

static void config_write(void *ctx, struct vdb_bus_access *access)
{
	struct vdb_virtio_pci *vpci = vdb__vpci(ctx);

	if (access->offset >= VDB__VPCI_DEVICE)
		vdb__virtio_config_write(vpci->device, access->offset - VDB__VPCI_DEVICE, access->data,
		                         access->len);
	else
		vdb__vpci_common_write(vpci, access->offset, access->data, access->len);
}

static const struct vdb_bus_ops config_ops = {
        .size = sizeof(config_ops), .read = config_read, .write = config_write};

/* ---- The function ---- */

/* A function that is no bus master reads and writes no memory (PCI 3.0, 6.2.2). */
static void master(struct vdb__pci_function *function, bool on)
{
	vdb__virtio_hold(vdb__vpci(function)->device, !on);
}

static const struct vdb__pci_function_ops function_ops = {
        .name = "virtio-pci",
        .mapped = vdb__vpci_bells_move,
        .cap_read = vdb__vpci_window_read,
        .cap_write = vdb__vpci_window_write,
        .master = master,
};

/* PCI's class and subclass for each type, as guests' tools show them. */
static uint16_t class_of(uint32_t id)
{
	switch (id) {
	case VIRTIO_ID_NET:
		return 0x0200; /* network, Ethernet */
	case VIRTIO_ID_BLOCK:
	case VIRTIO_ID_SCSI:
		return 0x0100; /* storage, SCSI */
	case VIRTIO_ID_CONSOLE:
	case VIRTIO_ID_VSOCK:
		return 0x0780; /* communication, other */
	case VIRTIO_ID_FS:
		return 0x0180; /* storage, other */
	default:
		return 0x00ff; /* none of the classes */
	}
}

static struct vdb__pci_identity identity_of(const struct vdb_virtio_pci *vpci, bool ports)
{
	uint32_t id = vdb__virtio_id(vpci->device);
	struct vdb__pci_identity identity = {
	        .vendor = VENDOR,
	        .device = (uint16_t)(DEVICE + id),
	        .subsystem_vendor = VENDOR,
	        .subsystem = (uint16_t)(DEVICE + id),
	        .revision = 1,
	        .class_code = (uint8_t)(class_of(id) >> 8),
	        .subclass = (uint8_t)class_of(id),
	        .bars[VDB__VPCI_CONFIG_BAR] = {.kind = VDB__BAR_MEM32,
	                                       .len = VDB__VPCI_CONFIG_BYTES,
	                                       .ops = &config_ops},
	        .bars[VDB__VPCI_PAGES_BAR] = {.kind = VDB__BAR_MEM64,
	                                      .len = vdb__vpci_pages_bytes(vpci->queues),
	                                      .ops = &vdb__vpci_pages_ops},
	        .vectors = vpci->vectors,
	        .msix_bar = VDB__VPCI_MSIX_BAR,
	};

	if (vpci->vectors)
		identity.bars[VDB__VPCI_MSIX_BAR].kind = VDB__BAR_MEM32;
	if (ports)
		identity.bars[VDB__VPCI_PORTS_BAR] = (struct vdb__bar){
		        .kind = VDB__BAR_IO,
		        .len = vdb__vpci_ports_bytes(vpci->queues),
		        .ops = &vdb__vpci_ports_ops,
		};
	return identity;
}

/* The guest sees it when all of it is there. */
static int plug(struct vdb_virtio_pci *vpci, struct vdb_pci *pci, const struct vdb_virtio_pci_config *config)
{
	bool ports = vdb__vpci_wants_ports(config->notify, vpci->queues);
	struct vdb__pci_identity identity = identity_of(vpci, ports);
	struct vdb_vm *vm = vdb__pci_vm(pci);
	int err = vdb__pci_function_init(&vpci->function, vm, &function_ops, &identity);

	if (!err)
		err = vdb__vpci_add_caps(vpci, ports);
	if (!err)
		err = vdb__vpci_bells_make(vpci, vm, ports);
	return err ? err : vdb__pci_function_add(&vpci->function, pci, config->slot);
}

/* ---- Life ---- */

static int check(const struct vdb_virtio_pci_config *config)
{
	if (config->notify > VDB_NOTIFY_PIO)
		return vdb__fail(EINVAL, "virtio-pci: notify %u is none of VDB_NOTIFY_*", config->notify);
	if (config->vectors > VDB__MSIX_MAX)
		return vdb__fail(EINVAL, "virtio-pci: %u vectors; 1 to %u", config->vectors, VDB__MSIX_MAX);
	if (config->flags & ~VDB_VIRTIO_PCI_NO_MSIX || config->reserved)
		return vdb__fail(EINVAL, "virtio-pci: unknown flags %#x, or reserved is not 0",
		                 config->flags);
	return 0;
}

static struct vdb_virtio_pci *alloc(struct vdb_virtio *device, const struct vdb_virtio_pci_config *config)
{
	uint32_t queues = vdb__virtio_queues(device);
	struct vdb_virtio_pci *vpci = calloc(1, sizeof(*vpci) + queues * sizeof(vpci->queue[0]));

	if (!vpci)
		return NULL;
	vpci->device = device;
	vpci->queues = queues;
	if (!(config->flags & VDB_VIRTIO_PCI_NO_MSIX))
		vpci->vectors = config->vectors ? config->vectors : queues + 1;
	pthread_mutex_init(&vpci->isr_lock, NULL);
	vpci->config_vector = VIRTIO_MSI_NO_VECTOR;
	for (uint32_t i = 0; i < queues; i++)
		vpci->queue[i].vector = VIRTIO_MSI_NO_VECTOR;
	return vpci;
}

VDB_EXPORT int vdb_virtio_pci_create(struct vdb_pci *pci, struct vdb_virtio *device,
                                     const struct vdb_virtio_pci_config *config, struct vdb_virtio_pci **out)
{
	struct vdb_virtio_pci_config own;
	struct vdb_virtio_pci *vpci;
	int err = vdb__config_take(&own, sizeof(own), config, "vdb_virtio_pci_config");

	if (!err)
		err = check(&own);
	if (err)
		return err;
	vpci = alloc(device, &own);
	if (!vpci)
		return vdb__fail(ENOMEM, "virtio-pci: no memory");
	err = vdb__virtio_attach(device, &vdb__vpci_transport, vpci);
	vpci->attached = !err;
	if (!err)
		vdb__virtio_hold(device, true);
	if (!err)
		err = plug(vpci, pci, &own);
	if (err) {
		vdb_virtio_pci_destroy(vpci);
		return err;
	}
	*out = vpci;
	return 0;
}

/* The device lets go first: until then its queues may interrupt. */
VDB_EXPORT void vdb_virtio_pci_destroy(struct vdb_virtio_pci *vpci)
{
	if (!vpci)
		return;
	if (vpci->attached)
		vdb__virtio_detach(vpci->device);
	vdb__pci_function_drop(&vpci->function);
	vdb__vpci_bells_destroy(vpci);
	pthread_mutex_destroy(&vpci->isr_lock);
	free(vpci);
}

VDB_EXPORT uint32_t vdb_virtio_pci_slot(const struct vdb_virtio_pci *vpci)
{
	return vpci->function.slot;
}
