/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The common configuration structure (virtio 1.2, 4.1.4.3): its table as two switches in the
 * spec's order. Fields are accessed by their own width, 64-bit ones by halves (4.1.3.1); anything
 * else reads as zeroes and writes nowhere. The device checks values and the queue's number.
 *
 * queue_notify_data is absent (VIRTIO_F_NOTIF_CONFIG_DATA is not offered): it reads as 0.
 */
#include <string.h>

#include "base/atomic.h"
#include "virtio/pci.h"

#define RING_RESET 40u /* VIRTIO_F_RING_RESET; linux/virtio_config.h of older systems lacks it */
#define QUEUE_RESET 58u

/* Bytes of the field that starts at offset, 0: none does. */
static uint32_t width(uint64_t offset)
{
	uint32_t bytes = 2;

	if (offset >= VDB__VPCI_COMMON_BYTES)
		return 0;
	if (offset < VIRTIO_PCI_COMMON_MSIX)
		bytes = 4;
	else if (offset == VIRTIO_PCI_COMMON_STATUS || offset == VIRTIO_PCI_COMMON_CFGGENERATION)
		bytes = 1;
	else if (offset >= VIRTIO_PCI_COMMON_Q_DESCLO && offset < VIRTIO_PCI_COMMON_Q_USEDHI + 4)
		bytes = 4;
	return offset % bytes ? 0 : bytes;
}

/* ---- Reads ---- */

static uint32_t read_vector(const struct vdb_virtio_pci *vpci, uint32_t queue)
{
	return queue < vpci->queues ? vdb__load(&vpci->queue[queue].vector) : 0;
}

static uint32_t read_address(struct vdb_virtio_pci *vpci, uint32_t queue, uint32_t offset)
{
	uint32_t area = (offset - VIRTIO_PCI_COMMON_Q_DESCLO) / 8, half = offset / 4 % 2;

	return (uint32_t)(vdb__virtio_queue_addr(vpci->device, queue, area) >> (half * 32));
}

static uint32_t read_field(struct vdb_virtio_pci *vpci, uint32_t offset)
{
	struct vdb_virtio *device = vpci->device;
	uint32_t queue = vdb__load(&vpci->queue_select);

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return vdb__load(&vpci->device_feature_select);
	case VIRTIO_PCI_COMMON_DF:
		return vdb__virtio_device_features(device, vdb__load(&vpci->device_feature_select));
	case VIRTIO_PCI_COMMON_GFSELECT:
		return vdb__load(&vpci->driver_feature_select);
	case VIRTIO_PCI_COMMON_GF:
		return vdb__virtio_driver_features(device, vdb__load(&vpci->driver_feature_select));
	case VIRTIO_PCI_COMMON_MSIX:
		return vdb__load(&vpci->config_vector);
	case VIRTIO_PCI_COMMON_NUMQ:
		return vpci->queues;
	case VIRTIO_PCI_COMMON_STATUS:
		return vdb__virtio_status(device);
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return vdb__virtio_generation(device);
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return queue;
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return vdb__virtio_queue_size(device, queue);
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return read_vector(vpci, queue);
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return vdb__virtio_queue_enabled(device, queue);
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return queue < vpci->queues ? queue : 0;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		return read_address(vpci, queue, offset);
	case QUEUE_RESET:
		return vdb__virtio_queue_in_reset(device, queue);
	default:
		return 0;
	}
}

void vdb__vpci_common_read(struct vdb_virtio_pci *vpci, uint64_t offset, void *data, uint32_t len)
{
	uint32_t value;

	if (!len || width(offset) != len)
		return;
	value = read_field(vpci, (uint32_t)offset);
	for (uint32_t i = 0; i < len; i++)
		((uint8_t *)data)[i] = (uint8_t)(value >> (i * 8));
}

/* ---- Writes ---- */

/* Vectors may change while a queue is enabled: drivers take theirs away before they stop it. */
static void write_vector(struct vdb_virtio_pci *vpci, uint32_t queue, uint32_t value)
{
	if (queue < vpci->queues)
		vdb__store(&vpci->queue[queue].vector, vdb__vpci_vector(vpci, (uint16_t)value));
}

static void write_address(struct vdb_virtio_pci *vpci, uint32_t queue, uint32_t offset, uint32_t value)
{
	uint32_t area = (offset - VIRTIO_PCI_COMMON_Q_DESCLO) / 8;

	vdb__virtio_queue_set_addr(vpci->device, queue, area, offset / 4 % 2, value);
}

static void write_field(struct vdb_virtio_pci *vpci, uint32_t offset, uint32_t value)
{
	struct vdb_virtio *device = vpci->device;
	uint32_t queue = vdb__load(&vpci->queue_select);

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		vdb__store(&vpci->device_feature_select, value);
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		vdb__store(&vpci->driver_feature_select, value);
		break;
	case VIRTIO_PCI_COMMON_GF:
		vdb__virtio_accept(device, vdb__load(&vpci->driver_feature_select), value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		vdb__store(&vpci->config_vector, vdb__vpci_vector(vpci, (uint16_t)value));
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		/* Nobody waits: the driver reads until a reset is complete (4.1.4.3.2). */
		vdb__virtio_set_status(device, (uint8_t)value, NULL);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		vdb__store(&vpci->queue_select, (uint16_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SIZE:
		vdb__virtio_queue_set_size(device, queue, (uint16_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		write_vector(vpci, queue, value);
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1)
			vdb__virtio_queue_enable(device, queue);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		write_address(vpci, queue, offset, value);
		break;
	case QUEUE_RESET:
		if (value == 1 && vdb__virtio_accepted(device, RING_RESET))
			vdb__virtio_queue_reset(device, queue, NULL);
		break;
	default:
		break;
	}
}

void vdb__vpci_common_write(struct vdb_virtio_pci *vpci, uint64_t offset, const void *data, uint32_t len)
{
	uint32_t value = 0;

	if (!len || width(offset) != len)
		return;
	for (uint32_t i = 0; i < len; i++)
		value |= (uint32_t)((const uint8_t *)data)[i] << (i * 8);
	write_field(vpci, (uint32_t)offset, value);
}
