/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-pci, modern (virtio 1.2, 4.1), as its driver sees it. BARs stay where they were placed. */
#ifndef EXAMPLES_GUEST_VIRTIO_PCI_H
#define EXAMPLES_GUEST_VIRTIO_PCI_H

#include <linux/virtio_pci.h>

#include "pci.h"
#include "virtio.h"

#define VIRTIO_PCI_VENDOR 0x1af4u
#define VIRTIO_PCI_DEVICE 0x1040u
#define VIRTIO_PCI_QUEUE_RESET 58u

static inline uint8_t virtio_pci_status(const struct virtio *dev)
{
	return virtio_read8(dev->regs + VIRTIO_PCI_COMMON_STATUS);
}

static inline void virtio_pci_set_status(const struct virtio *dev, uint8_t status)
{
	virtio_write8(dev->regs + VIRTIO_PCI_COMMON_STATUS, status);
	while (!status && virtio_pci_status(dev))
		guest_pause();
}

static inline uint64_t virtio_pci_offered(const struct virtio *dev)
{
	uint64_t low, high;

	virtio_write32(dev->regs + VIRTIO_PCI_COMMON_DFSELECT, 0);
	low = virtio_read32(dev->regs + VIRTIO_PCI_COMMON_DF);
	virtio_write32(dev->regs + VIRTIO_PCI_COMMON_DFSELECT, 1);
	high = virtio_read32(dev->regs + VIRTIO_PCI_COMMON_DF);
	return high << 32 | low;
}

static inline void virtio_pci_accept(const struct virtio *dev, uint64_t features)
{
	virtio_write32(dev->regs + VIRTIO_PCI_COMMON_GFSELECT, 0);
	virtio_write32(dev->regs + VIRTIO_PCI_COMMON_GF, (uint32_t)features);
	virtio_write32(dev->regs + VIRTIO_PCI_COMMON_GFSELECT, 1);
	virtio_write32(dev->regs + VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> 32));
}

static inline uint16_t virtio_pci_queue_max(const struct virtio *dev, uint16_t queue)
{
	virtio_write16(dev->regs + VIRTIO_PCI_COMMON_Q_SELECT, queue);
	return virtio_read16(dev->regs + VIRTIO_PCI_COMMON_Q_SIZE);
}

static inline void virtio_pci_address(const struct virtio *dev, uint32_t low, uint64_t address)
{
	virtio_write32(dev->regs + low, (uint32_t)address);
	virtio_write32(dev->regs + low + 4, (uint32_t)(address >> 32));
}

static inline bool virtio_pci_queue_enable(const struct virtio *dev, uint16_t queue,
                                           const struct virtio_rings *rings)
{
	virtio_write16(dev->regs + VIRTIO_PCI_COMMON_Q_SELECT, queue);
	virtio_write16(dev->regs + VIRTIO_PCI_COMMON_Q_SIZE, rings->size);
	virtio_pci_address(dev, VIRTIO_PCI_COMMON_Q_DESCLO, rings->desc);
	virtio_pci_address(dev, VIRTIO_PCI_COMMON_Q_AVAILLO, rings->driver);
	virtio_pci_address(dev, VIRTIO_PCI_COMMON_Q_USEDLO, rings->device);
	virtio_write16(dev->regs + VIRTIO_PCI_COMMON_Q_MSIX, rings->vector);
	virtio_write16(dev->regs + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	return virtio_read16(dev->regs + VIRTIO_PCI_COMMON_Q_ENABLE);
}

static inline void virtio_pci_queue_reset(const struct virtio *dev, uint16_t queue)
{
	virtio_write16(dev->regs + VIRTIO_PCI_COMMON_Q_SELECT, queue);
	virtio_write16(dev->regs + VIRTIO_PCI_QUEUE_RESET, 1);
	while (virtio_read16(dev->regs + VIRTIO_PCI_QUEUE_RESET))
		guest_pause();
}

static inline void virtio_pci_notify(const struct virtio *dev, uint16_t queue)
{
	uintptr_t at = dev->notify + dev->notify_off[queue] * dev->notify_step;

	if (at < 0x10000)
		guest_out16((uint16_t)at, queue);
	else
		virtio_write16(at, queue);
}

static inline uint32_t virtio_pci_interrupt(const struct virtio *dev)
{
	return virtio_read8(dev->isr);
}

static inline uint32_t virtio_pci_generation(const struct virtio *dev)
{
	return virtio_read8(dev->regs + VIRTIO_PCI_COMMON_CFGGENERATION);
}

static const struct virtio_transport virtio_pci_transport = {
        .status = virtio_pci_status,
        .set_status = virtio_pci_set_status,
        .offered = virtio_pci_offered,
        .accept = virtio_pci_accept,
        .queue_max = virtio_pci_queue_max,
        .queue_enable = virtio_pci_queue_enable,
        .queue_reset = virtio_pci_queue_reset,
        .notify = virtio_pci_notify,
        .interrupt = virtio_pci_interrupt,
        .generation = virtio_pci_generation,
};

/* Structures: the first of each kind that can be reached is the one to use (4.1.4.1). */
static inline void virtio_pci_structure(struct virtio *dev, uint32_t cap)
{
	uint8_t type = pci_read8(dev->slot, cap + VIRTIO_PCI_CAP_CFG_TYPE);
	uint8_t bar = pci_read8(dev->slot, cap + VIRTIO_PCI_CAP_BAR);
	uintptr_t at;

	if (bar >= PCI_BARS)
		return;
	at = pci_bar(dev->slot, bar) + pci_read32(dev->slot, cap + VIRTIO_PCI_CAP_OFFSET);
	if (at >> 32) /* is not mapped */
		return;
	if (type == VIRTIO_PCI_CAP_COMMON_CFG && !dev->regs)
		dev->regs = at;
	else if (type == VIRTIO_PCI_CAP_ISR_CFG && !dev->isr)
		dev->isr = at;
	else if (type == VIRTIO_PCI_CAP_DEVICE_CFG && !dev->config)
		dev->config = at;
	else if (type == VIRTIO_PCI_CAP_NOTIFY_CFG && !dev->notify) {
		dev->notify = at;
		dev->notify_step = pci_read32(dev->slot, cap + VIRTIO_PCI_NOTIFY_CAP_MULT);
	}
}

static inline void virtio_pci_offsets(struct virtio *dev)
{
	uint16_t queues = virtio_read16(dev->regs + VIRTIO_PCI_COMMON_NUMQ);

	for (uint16_t i = 0; i < queues && i < VIRTIO_QUEUES; i++) {
		virtio_write16(dev->regs + VIRTIO_PCI_COMMON_Q_SELECT, i);
		dev->notify_off[i] = virtio_read16(dev->regs + VIRTIO_PCI_COMMON_Q_NOFF);
	}
}

static inline uintptr_t virtio_pci_msix_table(uint32_t slot)
{
	uint32_t cap = pci_cap(slot, PCI_CAP_ID_MSIX, 0), table;

	if (!cap)
		return 0;
	table = pci_read32(slot, cap + PCI_MSIX_TABLE);
	return pci_bar(slot, table & PCI_MSIX_TABLE_BIR) + (table & PCI_MSIX_TABLE_OFFSET);
}

/* False: the function in `slot` is no virtio device. Else it decodes and is bus master from now on; call it
 * again when a BAR has moved. */
static inline bool virtio_pci_find(struct virtio *dev, uint32_t slot)
{
	uint32_t id = pci_read32(slot, PCI_VENDOR_ID);

	*dev = (struct virtio){.ops = &virtio_pci_transport, .slot = slot};
	if ((id & 0xffff) != VIRTIO_PCI_VENDOR || id >> 16 <= VIRTIO_PCI_DEVICE)
		return false;
	dev->id = (id >> 16) - VIRTIO_PCI_DEVICE;
	for (uint32_t cap = pci_cap(slot, PCI_CAP_ID_VNDR, 0); cap; cap = pci_cap(slot, PCI_CAP_ID_VNDR, cap))
		virtio_pci_structure(dev, cap);
	dev->msix = (uint32_t)virtio_pci_msix_table(slot);
	if (!dev->regs || !dev->isr || !dev->notify)
		return false;
	pci_write16(slot, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	virtio_pci_offsets(dev);
	return true;
}

/* ---- MSI-X ---- */

static inline void virtio_pci_msix_control(const struct virtio *dev, uint16_t flags)
{
	pci_write16(dev->slot, pci_cap(dev->slot, PCI_CAP_ID_MSIX, 0) + PCI_MSIX_FLAGS, flags);
}

/* Vector control of entry i: 1 masks. */
static inline void virtio_pci_msix_mask(const struct virtio *dev, uint32_t i, uint32_t mask)
{
	virtio_write32(dev->msix + i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL, mask);
}

/* Entry i interrupts the processor with APIC id 0 by `vector`. */
static inline void virtio_pci_msix_route(const struct virtio *dev, uint32_t i, uint32_t vector)
{
	uintptr_t entry = dev->msix + i * PCI_MSIX_ENTRY_SIZE;

	virtio_write32(entry + PCI_MSIX_ENTRY_LOWER_ADDR, 0xfee00000);
	virtio_write32(entry + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
	virtio_write32(entry + PCI_MSIX_ENTRY_DATA, vector);
	virtio_pci_msix_mask(dev, i, 0);
}

#endif
