/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables that tell a guest what it is made of: ACPI (RSDP, XSDT, FADT, MADT, MCFG, SPCR, DSDT), and
 * the MP table for kernels without ACPI. Pure functions of a description; a buffer in, bytes
 * out, so that they can be looked at (iasl) as well as installed.
 */
#ifndef VDB_ACPI_H
#define VDB_ACPI_H

#include <stddef.h>
#include <vdb/mem.h>
#include <vdb/pci.h>
#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A virtio-mmio device (LNRO0005). */
struct vdb_acpi_mmio {
	vdb_gpa_t base;
	uint64_t len;
	uint32_t gsi;
	uint32_t reserved;
};

struct vdb_machine {
	uint32_t size;
	uint32_t cpus;           /* APIC ids 0..cpus-1; at most 4096, in an MP table 254 */
	uint32_t platform_parts; /* VDB_PLATFORM_*: what of it is there */
	uint32_t serial_gsi;     /* 0: no COM port */
	uint16_t serial_port;
	uint16_t reserved[3];
	const struct vdb_acpi_mmio *mmio;
	uint32_t mmio_count;
	uint32_t reserved2;
	const struct vdb_pci_config *pci; /* vdb_pci_query()'s; NULL: no PCI */
};

/* Room that is always enough for a description of this size. */
size_t vdb_acpi_bytes(const struct vdb_machine *machine);
size_t vdb_mptable_bytes(const struct vdb_machine *machine);

/*
 * Writes all tables into buf, as they will lie at `gpa` (16-byte aligned, below 4 GiB; 0xe0000 is a good
 * place, where vdb_boot_load() has the guest told that there is no RAM): the RSDP comes first. Without
 * VDB_PLATFORM_PM it is hardware-reduced ACPI. GSIs are IOAPIC pins, ISA interrupts the same ones, as KVM
 * routes them; mmio devices are edge-triggered. Returns the bytes used; -ENOSPC; -EINVAL: also a GSI that is
 * no pin, or the SCI's.
 */
VDB_MUST_CHECK int64_t vdb_acpi_build(const struct vdb_machine *machine, vdb_gpa_t gpa, void *buf,
                                      size_t len);

/* The same for the MP table: floating pointer first (MultiProcessor Specification 1.4). Place it in the
 * last KiB of base memory (without PCI, it fits) or in 0xf0000..0xfffff. mmio devices appear as ISA
 * interrupts of their GSI. */
VDB_MUST_CHECK int64_t vdb_mptable_build(const struct vdb_machine *machine, vdb_gpa_t gpa, void *buf,
                                         size_t len);

#ifdef __cplusplus
}
#endif
#endif
