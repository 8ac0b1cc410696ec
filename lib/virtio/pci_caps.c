/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vendor capabilities that say where the structures are (virtio 1.2, 4.1.4), and
 * VIRTIO_PCI_CAP_PCI_CFG (4.1.4.9), by which a guest reaches BARs that it cannot map: each access to the
 * capability's data makes one access to the BAR, by the width that `length` says.
 */
#include <endian.h>
#include <linux/pci_regs.h>
#include <stddef.h>
#include <string.h>

#include "virtio/pci.h"

#define WINDOW_DATA ((uint32_t)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data))

static int add(struct vdb_virtio_pci *vpci, uint8_t type, uint32_t bar, uint32_t offset, uint32_t length)
{
	struct virtio_pci_cap cap = {
	        .cap_len = sizeof(cap),
	        .cfg_type = type,
	        .bar = (uint8_t)bar,
	        .offset = htole32(offset),
	        .length = htole32(length),
	};

	return vdb__pci_add_cap(&vpci->function, PCI_CAP_ID_VNDR, &cap, sizeof(cap));
}

static int add_notify(struct vdb_virtio_pci *vpci, uint32_t bar, uint32_t step)
{
	struct virtio_pci_notify_cap cap = {
	        .cap = {.cap_len = sizeof(cap),
	                .cfg_type = VIRTIO_PCI_CAP_NOTIFY_CFG,
	                .bar = (uint8_t)bar,
	                .length = htole32((uint32_t)vpci->function.identity.bars[bar].len)},
	        .notify_off_multiplier = htole32(step),
	};

	return vdb__pci_add_cap(&vpci->function, PCI_CAP_ID_VNDR, &cap, sizeof(cap));
}

static int add_window(struct vdb_virtio_pci *vpci)
{
	struct virtio_pci_cfg_cap cap = {
	        .cap = {.cap_len = sizeof(cap), .cfg_type = VIRTIO_PCI_CAP_PCI_CFG},
	};
	int at = vdb__pci_add_cap(&vpci->function, PCI_CAP_ID_VNDR, &cap, sizeof(cap));

	if (at < 0)
		return at;
	vdb__pci_writable(&vpci->function, (uint32_t)at + VIRTIO_PCI_CAP_BAR, 1);
	vdb__pci_writable(&vpci->function, (uint32_t)at + VIRTIO_PCI_CAP_OFFSET, 4);
	vdb__pci_writable(&vpci->function, (uint32_t)at + VIRTIO_PCI_CAP_LENGTH, 4);
	vdb__pci_writable(&vpci->function, (uint32_t)at + WINDOW_DATA, 4);
	return at;
}

/* The first of a type is the one to prefer (4.1.4.1): ports, where they were chosen. */
int vdb__vpci_add_caps(struct vdb_virtio_pci *vpci, bool ports)
{
	int at = add(vpci, VIRTIO_PCI_CAP_COMMON_CFG, VDB__VPCI_CONFIG_BAR, VDB__VPCI_COMMON,
	             VDB__VPCI_COMMON_BYTES);

	if (at >= 0)
		at = add(vpci, VIRTIO_PCI_CAP_ISR_CFG, VDB__VPCI_CONFIG_BAR, VDB__VPCI_ISR, 1);
	if (at >= 0)
		at = add(vpci, VIRTIO_PCI_CAP_DEVICE_CFG, VDB__VPCI_CONFIG_BAR, VDB__VPCI_DEVICE,
		         VDB__VPCI_CONFIG_BYTES - VDB__VPCI_DEVICE);
	if (at >= 0 && ports)
		at = add_notify(vpci, VDB__VPCI_PORTS_BAR, VDB__VPCI_PORT_STEP);
	if (at >= 0)
		at = add_notify(vpci, VDB__VPCI_PAGES_BAR, VDB_PAGE_SIZE);
	if (at >= 0)
		at = add_window(vpci);
	return at < 0 ? at : 0;
}

/* ---- The window. Bounds and widths are vdb__pci_bar_read()'s to check. ---- */

struct window {
	uint32_t bar, offset, length;
};

static bool in_data(uint32_t offset)
{
	return offset >= WINDOW_DATA && offset < WINDOW_DATA + 4;
}

static struct window window_of(const struct vdb__pci_function *function, uint32_t cap)
{
	struct virtio_pci_cap bytes;

	memcpy(&bytes, function->config + cap, sizeof(bytes));
	return (struct window){bytes.bar, le32toh(bytes.offset), le32toh(bytes.length)};
}

void vdb__vpci_window_read(struct vdb__pci_function *function, uint32_t cap, uint32_t offset, void *data,
                           uint32_t len)
{
	struct window w = window_of(function, cap);
	uint8_t *stored = function->config + cap + WINDOW_DATA;

	if (function->config[cap + VIRTIO_PCI_CAP_CFG_TYPE] != VIRTIO_PCI_CAP_PCI_CFG || !in_data(offset))
		return;
	vdb__pci_bar_read(function, w.bar, w.offset, stored, w.length);
	memcpy(data, stored + (offset - WINDOW_DATA), len);
}

void vdb__vpci_window_write(struct vdb__pci_function *function, uint32_t cap, uint32_t offset,
                            const void *data, uint32_t len)
{
	struct window w = window_of(function, cap);

	(void)data, (void)len; /* stored already */
	if (function->config[cap + VIRTIO_PCI_CAP_CFG_TYPE] == VIRTIO_PCI_CAP_PCI_CFG && in_data(offset))
		vdb__pci_bar_write(function, w.bar, w.offset, function->config + cap + WINDOW_DATA, w.length);
}
