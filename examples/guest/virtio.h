/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small virtio driver (1.2) for bare-metal guests: what is the same for every transport.
 *
 *     struct virtio dev;
 *     virtio_mmio_find(&dev, base) or virtio_pci_find(&dev, ...)
 *     virtio_negotiate(&dev, features)      reset, features, FEATURES_OK
 *     virtq_init(), virtio_queue()          see virtq.h
 *     virtio_drive(&dev)                    DRIVER_OK
 */
#ifndef EXAMPLES_GUEST_VIRTIO_H
#define EXAMPLES_GUEST_VIRTIO_H

#include <linux/virtio_config.h>
#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_BIT(feature) (1ull << (feature))
#define VIRTIO_NO_VECTOR 0xffffu
#define VIRTIO_QUEUES 8u /* that a driver here uses at most */

struct virtio;

/* Where a queue lies, all memory being mapped one to one. */
struct virtio_rings {
	uint16_t size;
	uint16_t vector; /* MSI-X; mmio has none */
	uint64_t desc, driver, device;
};

/* One for each transport. */
struct virtio_transport {
	uint8_t (*status)(const struct virtio *dev);
	/* 0: returns when the reset is complete. */
	void (*set_status)(const struct virtio *dev, uint8_t status);
	uint64_t (*offered)(const struct virtio *dev);
	void (*accept)(const struct virtio *dev, uint64_t features);
	uint16_t (*queue_max)(const struct virtio *dev, uint16_t queue);
	/* Tells the device where the queue is and enables it; false: the device did not. */
	bool (*queue_enable)(const struct virtio *dev, uint16_t queue, const struct virtio_rings *rings);
	/* VIRTIO_F_RING_RESET: returns when it is complete. */
	void (*queue_reset)(const struct virtio *dev, uint16_t queue);
	void (*notify)(const struct virtio *dev, uint16_t queue);
	/* Causes of the interrupt (1 queue, 2 config), which are acknowledged. */
	uint32_t (*interrupt)(const struct virtio *dev);
	uint32_t (*generation)(const struct virtio *dev);
};

/* A device that was found. The fields below ops are the transport's. */
struct virtio {
	const struct virtio_transport *ops;
	uint32_t id;       /* what it is; 0 = nothing is there */
	uint64_t features; /* negotiated */
	uintptr_t regs;    /* mmio: all of them; pci: the common structure */
	uintptr_t notify;
	uintptr_t isr;
	uintptr_t config; /* device-specific configuration */
	uint32_t notify_step;
	uint16_t notify_off[VIRTIO_QUEUES];
	uint32_t slot, msix; /* pci: its device number; its MSI-X table, 0 = none */
};

static inline uint8_t virtio_read8(uintptr_t at)
{
	return *(volatile uint8_t *)at;
}

static inline uint16_t virtio_read16(uintptr_t at)
{
	return *(volatile uint16_t *)at;
}

static inline uint32_t virtio_read32(uintptr_t at)
{
	return *(volatile uint32_t *)at;
}

static inline void virtio_write8(uintptr_t at, uint8_t value)
{
	*(volatile uint8_t *)at = value;
}

static inline void virtio_write16(uintptr_t at, uint16_t value)
{
	*(volatile uint16_t *)at = value;
}

static inline void virtio_write32(uintptr_t at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

static inline void virtio_reset(const struct virtio *dev)
{
	dev->ops->set_status(dev, 0);
}

static inline void virtio_add_status(const struct virtio *dev, uint8_t bits)
{
	dev->ops->set_status(dev, (uint8_t)(dev->ops->status(dev) | bits));
}

static inline bool virtio_has(const struct virtio *dev, unsigned feature)
{
	return dev->features & VIRTIO_BIT(feature);
}

/* Resets the device and asks for those of `wanted` that it offers (VERSION_1 always). False: it refused. */
static inline bool virtio_negotiate(struct virtio *dev, uint64_t wanted)
{
	virtio_reset(dev);
	virtio_add_status(dev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	virtio_add_status(dev, VIRTIO_CONFIG_S_DRIVER);
	dev->features = dev->ops->offered(dev) & (wanted | VIRTIO_BIT(VIRTIO_F_VERSION_1));
	dev->ops->accept(dev, dev->features);
	virtio_add_status(dev, VIRTIO_CONFIG_S_FEATURES_OK);
	return dev->ops->status(dev) & VIRTIO_CONFIG_S_FEATURES_OK;
}

/* False: the device does not go on (FAILED, or NEEDS_RESET). */
static inline bool virtio_drive(const struct virtio *dev)
{
	virtio_add_status(dev, VIRTIO_CONFIG_S_DRIVER_OK);
	return dev->ops->status(dev) == (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
	                                 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* 64 bits of the configuration, in two halves that belong together (2.5.3). */
static inline uint64_t virtio_config64(const struct virtio *dev, uint32_t offset)
{
	uint32_t low, high, before;

	do {
		before = dev->ops->generation(dev);
		low = virtio_read32(dev->config + offset);
		high = virtio_read32(dev->config + offset + 4);
	} while (dev->ops->generation(dev) != before);
	return (uint64_t)high << 32 | low;
}

#endif
