/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/machine.h"

#include <stdbool.h>

#include "base/config.h"
#include "base/error.h"

#define PORTS 0x10000u
#define MMIO_MAX 4096u

static bool wraps(uint64_t base, uint64_t len)
{
	return len && base + (len - 1) < base;
}

static int check_mmio(const struct vdb_machine *machine)
{
	if (machine->mmio_count > MMIO_MAX || (machine->mmio_count && !machine->mmio))
		return vdb__fail(EINVAL, "machine: %u mmio devices; give at most %u, and where they are",
		                 machine->mmio_count, MMIO_MAX);
	for (uint32_t i = 0; i < machine->mmio_count; i++) {
		const struct vdb_acpi_mmio *mmio = &machine->mmio[i];

		if (!mmio->len || wraps(mmio->base, mmio->len))
			return vdb__fail(EINVAL, "machine: mmio device %u: %#llx bytes at %#llx are no range",
			                 i, (unsigned long long)mmio->len, (unsigned long long)mmio->base);
	}
	return 0;
}

static int check_pci(const struct vdb_pci_config *pci)
{
	if (wraps(pci->ecam, VDB_PCI_ECAM_BYTES) || wraps(pci->mem32, pci->mem32_len) ||
	    wraps(pci->mem64, pci->mem64_len) || pci->io + pci->io_len > PORTS)
		return vdb__fail(EINVAL,
		                 "machine: a window of PCI wraps round; give what vdb_pci_query() says");
	return 0;
}

int vdb__machine_take(struct vdb__machine *own, const struct vdb_machine *from, uint32_t cpus)
{
	int err = vdb__config_take(&own->is, sizeof(own->is), from, "vdb_machine");

	if (!err && own->is.pci) {
		err = vdb__config_take(&own->pci, sizeof(own->pci), own->is.pci, "vdb_pci_config");
		own->is.pci = &own->pci;
		if (!err)
			err = check_pci(&own->pci);
	}
	if (err)
		return err;
	if (!own->is.cpus || own->is.cpus > cpus)
		return vdb__fail(EINVAL, "machine: %u processors; this table tells of 1 to %u", own->is.cpus,
		                 cpus);
	if (own->is.serial_gsi && (!own->is.serial_port || own->is.serial_port > PORTS - 8))
		return vdb__fail(EINVAL,
		                 "machine: serial_gsi is %u, and serial_port %#x; give the port, such as "
		                 "0x3f8, or leave serial_gsi 0",
		                 own->is.serial_gsi, own->is.serial_port);
	return check_mmio(&own->is);
}
