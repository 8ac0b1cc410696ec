/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config space of a function (PCI 3.0, 6): bytes, a mask of what the guest may change in
 * them, and what follows from a change. BARs size themselves by their mask.
 */
#include <linux/pci_regs.h>
#include <string.h>

#include "base/error.h"
#include "pci/host.h"

#define COMMAND_BITS (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)

uint32_t vdb__pci_get(const struct vdb__pci_function *function, uint32_t offset, uint32_t len)
{
	uint32_t value = 0;

	for (uint32_t i = 0; i < len; i++)
		value |= (uint32_t)function->config[offset + i] << (i * 8);
	return value;
}

void vdb__pci_put(struct vdb__pci_function *function, uint32_t offset, uint32_t len, uint32_t value)
{
	for (uint32_t i = 0; i < len; i++)
		function->config[offset + i] = (uint8_t)(value >> (i * 8));
}

void vdb__pci_writable(struct vdb__pci_function *function, uint32_t offset, uint32_t len)
{
	memset(function->writable + offset, 0xff, len);
}

static void put_identity(struct vdb__pci_function *function)
{
	const struct vdb__pci_identity *id = &function->identity;

	vdb__pci_put(function, PCI_VENDOR_ID, 2, id->vendor);
	vdb__pci_put(function, PCI_DEVICE_ID, 2, id->device);
	vdb__pci_put(function, PCI_REVISION_ID, 1, id->revision);
	vdb__pci_put(function, PCI_CLASS_PROG, 1, id->prog_if);
	vdb__pci_put(function, PCI_CLASS_DEVICE, 1, id->subclass);
	vdb__pci_put(function, PCI_CLASS_DEVICE + 1, 1, id->class_code);
	vdb__pci_put(function, PCI_SUBSYSTEM_VENDOR_ID, 2, id->subsystem_vendor);
	vdb__pci_put(function, PCI_SUBSYSTEM_ID, 2, id->subsystem);
	function->writable[PCI_COMMAND] = COMMAND_BITS & 0xff;
	function->writable[PCI_COMMAND + 1] = COMMAND_BITS >> 8;
	function->writable[PCI_CACHE_LINE_SIZE] = 0xff;
}

int vdb__pci_function_init(struct vdb__pci_function *function, struct vdb_vm *vm,
                           const struct vdb__pci_function_ops *ops, const struct vdb__pci_identity *identity)
{
	int err;

	pthread_mutex_init(&function->intx_lock, NULL);
	function->ready = true;
	function->ops = ops;
	function->identity = *identity;
	function->cap_end = PCI_STD_HEADER_SIZEOF;
	for (uint32_t i = 0; i < VDB__PCI_BARS; i++)
		function->bar_base[i] = VDB_GPA_ANY;
	put_identity(function);
	err = identity->vectors ? vdb__msix_cap_init(function, vm) : 0;
	return err ? err : vdb__bars_init(function);
}

int vdb__pci_add_cap(struct vdb__pci_function *function, uint8_t id, const void *bytes, uint32_t len)
{
	uint32_t at = function->cap_end, room = (len + 3) & ~3u;

	if (room > VDB__PCI_CONFIG - at)
		return vdb__fail(ENOSPC, "pci function '%s': no room for another capability",
		                 function->ops->name);
	memcpy(function->config + at, bytes, len);
	function->config[at + PCI_CAP_LIST_ID] = id;
	function->config[at + PCI_CAP_LIST_NEXT] = 0;
	if (function->last_cap)
		function->config[function->last_cap + PCI_CAP_LIST_NEXT] = (uint8_t)at;
	else
		function->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
	function->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	function->last_cap = at;
	function->cap_end = at + room;
	return (int)at;
}

/* The vendor capability that has the byte at offset; 0: none. They stand one behind the other, each a
 * multiple of 4: no aligned access is in two. */
static uint32_t vendor_cap(const struct vdb__pci_function *function, uint32_t offset)
{
	uint32_t at = function->config[PCI_CAPABILITY_LIST], next;

	if (!at || offset < at || offset >= function->cap_end)
		return 0;
	while ((next = function->config[at + PCI_CAP_LIST_NEXT]) && next <= offset)
		at = next;
	return function->config[at + PCI_CAP_LIST_ID] == PCI_CAP_ID_VNDR ? at : 0;
}

static bool touches(uint32_t offset, uint32_t len, uint32_t field, uint32_t field_len)
{
	return offset < field + field_len && field < offset + len;
}

void vdb__pci_config_read(struct vdb__pci_function *function, uint32_t offset, void *data, uint32_t len)
{
	uint32_t cap = vendor_cap(function, offset);

	memcpy(data, function->config + offset, len);
	if (touches(offset, len, PCI_STATUS, 1) && vdb__intx_pending(function))
		((uint8_t *)data)[PCI_STATUS - offset] |= PCI_STATUS_INTERRUPT;
	if (cap && function->ops->cap_read)
		function->ops->cap_read(function, cap, offset - cap, data, len);
}

static void command_changed(struct vdb__pci_function *function)
{
	uint32_t command = vdb__pci_get(function, PCI_COMMAND, 2);
	bool master = command & PCI_COMMAND_MASTER;

	vdb__intx_mask(function, command & PCI_COMMAND_INTX_DISABLE);
	vdb__bars_decode(function->pci);
	if (master == function->master)
		return;
	function->master = master;
	if (function->msix_cap)
		vdb__msix_cap_changed(function);
	if (function->ops->master)
		function->ops->master(function, master);
}

static void msix_changed(struct vdb__pci_function *function)
{
	vdb__msix_cap_changed(function);
	vdb__intx_mask(function, vdb__pci_get(function, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);
}

void vdb__pci_config_write(struct vdb__pci_function *function, uint32_t offset, const void *data,
                           uint32_t len)
{
	uint32_t cap = vendor_cap(function, offset);
	const uint8_t *bytes = data;

	for (uint32_t i = 0; i < len; i++) {
		uint8_t mask = function->writable[offset + i], *byte = &function->config[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | (bytes[i] & mask));
	}
	if (touches(offset, len, PCI_COMMAND, 2))
		command_changed(function);
	if (touches(offset, len, PCI_BASE_ADDRESS_0, 4 * VDB__PCI_BARS))
		vdb__bars_decode(function->pci);
	if (function->msix_cap && touches(offset, len, function->msix_cap + PCI_MSIX_FLAGS, 2))
		msix_changed(function);
	if (cap && function->ops->cap_write)
		function->ops->cap_write(function, cap, offset - cap, data, len);
}
