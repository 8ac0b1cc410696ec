/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X as config space shows it: the capability, and the BAR with table (lower half) and PBA (upper half).
 */
#include <linux/pci_regs.h>

#include "base/atomic.h"
#include "base/error.h"
#include "pci/host.h"

#define BAR_MIN 4096u

static uint64_t pba_offset(const struct vdb__pci_function *function)
{
	return function->identity.bars[function->identity.msix_bar].len / 2;
}

static void bar_read(void *ctx, struct vdb_bus_access *access)
{
	const struct vdb__pci_function *function = ctx;
	uint64_t pba = pba_offset(function);

	if (access->offset < pba)
		vdb__msix_table_read(function->msix, access->offset, access->data, access->len);
	else
		vdb__msix_pba_read(function->msix, access->offset - pba, access->data, access->len);
}

/* What is written to pending bits is undefined (PCI 3.0, 6.8.2.6): here, nothing. */
static void bar_write(void *ctx, struct vdb_bus_access *access)
{
	const struct vdb__pci_function *function = ctx;

	if (access->offset < pba_offset(function))
		vdb__msix_table_write(function->msix, access->offset, access->data, access->len);
}

const struct vdb_bus_ops vdb__msix_bar_ops = {
        .size = sizeof(vdb__msix_bar_ops),
        .read = bar_read,
        .write = bar_write,
};

/* The smallest power of two with both in a half of their own. */
static uint64_t bar_len(const struct vdb__msix *msix)
{
	uint64_t half = BAR_MIN / 2;

	while (half < vdb__msix_table_bytes(msix) || half < vdb__msix_pba_bytes(msix))
		half *= 2;
	return half * 2;
}

int vdb__msix_cap_init(struct vdb__pci_function *function, struct vdb_vm *vm)
{
	struct vdb__pci_identity *id = &function->identity;
	uint8_t bytes[PCI_CAP_MSIX_SIZEOF] = {0};
	int at, err;

	if (id->vectors > VDB__MSIX_MAX || id->msix_bar >= VDB__PCI_BARS)
		return vdb__fail(EINVAL, "pci function '%s': %u vectors in BAR %u; 1 to %u are possible",
		                 function->ops->name, id->vectors, id->msix_bar, VDB__MSIX_MAX);
	err = vdb__msix_create(vm, id->vectors, &function->msix);
	if (err)
		return err;
	id->bars[id->msix_bar].len = bar_len(function->msix);
	id->bars[id->msix_bar].ops = &vdb__msix_bar_ops;
	at = vdb__pci_add_cap(function, PCI_CAP_ID_MSIX, bytes, sizeof(bytes));
	if (at < 0)
		return at;
	function->msix_cap = (uint32_t)at;
	vdb__pci_put(function, function->msix_cap + PCI_MSIX_FLAGS, 2, id->vectors - 1);
	vdb__pci_put(function, function->msix_cap + PCI_MSIX_TABLE, 4, id->msix_bar);
	vdb__pci_put(function, function->msix_cap + PCI_MSIX_PBA, 4,
	             (uint32_t)pba_offset(function) | id->msix_bar);
	function->writable[function->msix_cap + PCI_MSIX_FLAGS + 1] =
	        (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	return 0;
}

/* Whoever finds MSI-X on finds the vectors on, too. A message is a write to memory: a function that is no bus
 * master keeps what it raises pending until it is. */
void vdb__msix_cap_changed(struct vdb__pci_function *function)
{
	uint32_t control = vdb__pci_get(function, function->msix_cap + PCI_MSIX_FLAGS, 2);
	bool on = control & PCI_MSIX_FLAGS_ENABLE;

	if (!on)
		vdb__store_release(&function->msix_on, false);
	vdb__msix_control(function->msix, on, control & PCI_MSIX_FLAGS_MASKALL || !function->master);
	if (on)
		vdb__store_release(&function->msix_on, true);
}

bool vdb__pci_msix_on(const struct vdb__pci_function *function)
{
	return vdb__load_acquire(&function->msix_on);
}
