/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mmio, version 2 (virtio 1.2, 4.2), as its driver sees it. */
#ifndef EXAMPLES_GUEST_VIRTIO_MMIO_H
#define EXAMPLES_GUEST_VIRTIO_MMIO_H

#include <linux/virtio_mmio.h>

#include "virtio.h"

#define VIRTIO_MMIO_MAGIC 0x74726976u

static inline uint8_t virtio_mmio_status(const struct virtio *dev)
{
	return (uint8_t)virtio_read32(dev->regs + VIRTIO_MMIO_STATUS);
}

static inline void virtio_mmio_set_status(const struct virtio *dev, uint8_t status)
{
	virtio_write32(dev->regs + VIRTIO_MMIO_STATUS, status);
}

static inline uint64_t virtio_mmio_offered(const struct virtio *dev)
{
	uint64_t low, high;

	virtio_write32(dev->regs + VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	low = virtio_read32(dev->regs + VIRTIO_MMIO_DEVICE_FEATURES);
	virtio_write32(dev->regs + VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	high = virtio_read32(dev->regs + VIRTIO_MMIO_DEVICE_FEATURES);
	return high << 32 | low;
}

static inline void virtio_mmio_accept(const struct virtio *dev, uint64_t features)
{
	virtio_write32(dev->regs + VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	virtio_write32(dev->regs + VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
	virtio_write32(dev->regs + VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	virtio_write32(dev->regs + VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
}

static inline uint16_t virtio_mmio_queue_max(const struct virtio *dev, uint16_t queue)
{
	virtio_write32(dev->regs + VIRTIO_MMIO_QUEUE_SEL, queue);
	return (uint16_t)virtio_read32(dev->regs + VIRTIO_MMIO_QUEUE_NUM_MAX);
}

static inline void virtio_mmio_address(const struct virtio *dev, uint32_t low, uint64_t address)
{
	virtio_write32(dev->regs + low, (uint32_t)address);
	virtio_write32(dev->regs + low + 4, (uint32_t)(address >> 32));
}

static inline bool virtio_mmio_queue_enable(const struct virtio *dev, uint16_t queue,
                                            const struct virtio_rings *rings)
{
	virtio_write32(dev->regs + VIRTIO_MMIO_QUEUE_SEL, queue);
	virtio_write32(dev->regs + VIRTIO_MMIO_QUEUE_NUM, rings->size);
	virtio_mmio_address(dev, VIRTIO_MMIO_QUEUE_DESC_LOW, rings->desc);
	virtio_mmio_address(dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, rings->driver);
	virtio_mmio_address(dev, VIRTIO_MMIO_QUEUE_USED_LOW, rings->device);
	virtio_write32(dev->regs + VIRTIO_MMIO_QUEUE_READY, 1);
	return virtio_read32(dev->regs + VIRTIO_MMIO_QUEUE_READY);
}

#define VIRTIO_MMIO_QUEUE_RESET_REG 0x0c0u

static inline void virtio_mmio_queue_reset(const struct virtio *dev, uint16_t queue)
{
	virtio_write32(dev->regs + VIRTIO_MMIO_QUEUE_SEL, queue);
	virtio_write32(dev->regs + VIRTIO_MMIO_QUEUE_RESET_REG, 1);
	while (virtio_read32(dev->regs + VIRTIO_MMIO_QUEUE_RESET_REG))
		;
}

static inline void virtio_mmio_notify(const struct virtio *dev, uint16_t queue)
{
	virtio_write32(dev->notify, queue);
}

static inline uint32_t virtio_mmio_interrupt(const struct virtio *dev)
{
	uint32_t causes = virtio_read32(dev->regs + VIRTIO_MMIO_INTERRUPT_STATUS);

	virtio_write32(dev->regs + VIRTIO_MMIO_INTERRUPT_ACK, causes);
	return causes;
}

static inline uint32_t virtio_mmio_generation(const struct virtio *dev)
{
	return virtio_read32(dev->regs + VIRTIO_MMIO_CONFIG_GENERATION);
}

static const struct virtio_transport virtio_mmio_transport = {
        .status = virtio_mmio_status,
        .set_status = virtio_mmio_set_status,
        .offered = virtio_mmio_offered,
        .accept = virtio_mmio_accept,
        .queue_max = virtio_mmio_queue_max,
        .queue_enable = virtio_mmio_queue_enable,
        .queue_reset = virtio_mmio_queue_reset,
        .notify = virtio_mmio_notify,
        .interrupt = virtio_mmio_interrupt,
        .generation = virtio_mmio_generation,
};

/* False: there is no virtio-mmio device at `base`. */
static inline bool virtio_mmio_find(struct virtio *dev, uintptr_t base)
{
	*dev = (struct virtio){
	        .ops = &virtio_mmio_transport,
	        .regs = base,
	        .notify = base + VIRTIO_MMIO_QUEUE_NOTIFY,
	        .config = base + VIRTIO_MMIO_CONFIG,
	};
	if (virtio_read32(base + VIRTIO_MMIO_MAGIC_VALUE) != VIRTIO_MMIO_MAGIC ||
	    virtio_read32(base + VIRTIO_MMIO_VERSION) != 2)
		return false;
	dev->id = virtio_read32(base + VIRTIO_MMIO_DEVICE_ID);
	return dev->id;
}

#endif
