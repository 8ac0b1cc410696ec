/* SPDX-License-Identifier: Apache-2.0 */
/* A caller's description of a machine, as the tables' builders take it. */
#ifndef VDB_BOOT_MACHINE_H
#define VDB_BOOT_MACHINE_H

#include <vdb/acpi.h>

struct vdb__machine {
	struct vdb_machine is; /* is.pci is NULL, or points at the next */
	struct vdb_pci_config pci;
};

/* Copies it; -EINVAL: no processor, or more than `cpus`; ranges that wrap round. */
int vdb__machine_take(struct vdb__machine *own, const struct vdb_machine *from, uint32_t cpus);

#endif
