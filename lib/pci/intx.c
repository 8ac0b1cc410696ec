/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INTx: pin A of every function, on four lines that the slots take in turn. The line
 * is up while the device wants it, the command register lets it, and MSI-X is off
 * (PCI 3.0, 6.2.2 and 6.8.2: a function with MSI-X enabled must not use its pin).
 */
#include <vdb/line.h>

#include "base/atomic.h"
#include "base/error.h"
#include "pci/host.h"

#define PIN_A 1u
#define LINES 4u

int vdb__intx_init(struct vdb__pci_function *function)
{
	const struct vdb_pci *pci = function->pci;
	uint32_t gsi = pci->config.intx_gsi + (function->slot + PIN_A - 1) % LINES;
	int err;

	if (!pci->vm || !pci->config.loop)
		return 0;
	err = vdb_line_create(pci->vm, pci->config.loop, gsi, &function->intx);
	if (err == -ENOTSUP)
		return 0; /* no pins on this irqchip: the guest reads that there is none */
	if (err)
		return err;
	vdb__pci_put(function, 0x3c, 1, gsi);
	vdb__pci_put(function, 0x3d, 1, PIN_A);
	function->writable[0x3c] = 0xff;
	return 0;
}

void vdb__intx_drop(struct vdb__pci_function *function)
{
	vdb_line_destroy(function->intx);
	function->intx = NULL;
}

/* With intx_lock: level, mask and line change as one. */
static void drive(struct vdb__pci_function *function)
{
	bool masked = function->intx_masked || vdb__load(&function->msix_on);

	if (function->intx)
		vdb_line_set(function->intx, function->intx_level && !masked);
}

void vdb__pci_intx(struct vdb__pci_function *function, bool level)
{
	pthread_mutex_lock(&function->intx_lock);
	function->intx_level = level;
	drive(function);
	pthread_mutex_unlock(&function->intx_lock);
}

void vdb__intx_mask(struct vdb__pci_function *function, bool masked)
{
	pthread_mutex_lock(&function->intx_lock);
	function->intx_masked = masked;
	drive(function);
	pthread_mutex_unlock(&function->intx_lock);
}

bool vdb__intx_pending(struct vdb__pci_function *function)
{
	bool level;

	pthread_mutex_lock(&function->intx_lock);
	level = function->intx_level;
	pthread_mutex_unlock(&function->intx_lock);
	return level;
}
