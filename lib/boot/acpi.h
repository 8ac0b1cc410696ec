/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI tables behind vdb_acpi_build(): each appends itself and returns where it begins. */
#ifndef VDB_BOOT_ACPI_H
#define VDB_BOOT_ACPI_H

#include <vdb/acpi.h>

#include "boot/bytes.h"

#define VDB__APIC_BASE 0xfee00000u
#define VDB__IOAPIC_BASE 0xfec00000u
#define VDB__IOAPIC_PINS 24u

/* Tables are looked for by their address: `gpa` is the first byte's. */
struct vdb__tables {
	struct vdb__bytes bytes;
	vdb_gpa_t gpa;
	const struct vdb_machine *machine;
};

/* Begins a table with its header (ACPI 6.4, 5.2.6); close fills in length and checksum. */
size_t vdb__acpi_open(struct vdb__tables *t, const char *signature, unsigned revision);
void vdb__acpi_close(struct vdb__tables *t, size_t open);

/* Zeroes up to a multiple of `align` in guest memory. */
void vdb__tables_align(struct vdb__tables *t, size_t align);

size_t vdb__fadt_put(struct vdb__tables *t, vdb_gpa_t facs, vdb_gpa_t dsdt);
size_t vdb__madt_put(struct vdb__tables *t);
size_t vdb__mcfg_put(struct vdb__tables *t);
size_t vdb__spcr_put(struct vdb__tables *t);

#endif
