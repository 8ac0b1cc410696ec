/* SPDX-License-Identifier: Apache-2.0 */
/* Machines to be described by tables. */
#ifndef TESTS_MACHINES_H
#define TESTS_MACHINES_H

#include <vdb/acpi.h>
#include <vdb/platform.h>

#define MACHINES_MMIO 40u /* devices to choose from */

extern const struct vdb_acpi_mmio machines_mmio[MACHINES_MMIO];
extern const struct vdb_pci_config machines_pci;

/* All that there is, but a few of the devices. */
struct vdb_machine machines_full(void);

/* One processor, one device, no more: hardware-reduced ACPI. */
struct vdb_machine machines_small(void);

/* More of everything than anybody has. */
struct vdb_machine machines_large(void);

#endif
