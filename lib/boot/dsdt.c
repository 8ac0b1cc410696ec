/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/dsdt.h"

#include <vdb/platform.h>

#include "boot/aml.h"

#define SLOTS 32u
#define PINS 4u
#define CONFIG_PORT 0xcf8u /* address and data, 8 bytes */

/* Name (_HID, EisaId (id)), and which of its kind it is. */
static void put_id(struct vdb__bytes *b, const char *id, unsigned uid)
{
	vdb__aml_name(b, "_HID");
	vdb__aml_eisaid(b, id);
	vdb__aml_name(b, "_UID");
	vdb__aml_integer(b, uid);
}

/* The same for ids of more than seven characters. */
static void put_acpi_id(struct vdb__bytes *b, const char *id, unsigned uid)
{
	vdb__aml_name(b, "_HID");
	vdb__aml_string(b, id);
	vdb__aml_name(b, "_UID");
	vdb__aml_integer(b, uid);
}

static size_t open_crs(struct vdb__bytes *b)
{
	vdb__aml_name(b, "_CRS");
	return vdb__aml_resources(b);
}

/* "V01F" for ('V', 31). */
static size_t numbered_device(struct vdb__bytes *b, char letter, unsigned number)
{
	static const char digits[] = "0123456789ABCDEF";
	const char name[4] = {letter, digits[number >> 8 & 15], digits[number >> 4 & 15],
	                      digits[number & 15]};

	return vdb__aml_device(b, name);
}

static void put_cpus(struct vdb__bytes *b, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		size_t device = numbered_device(b, 'C', i);

		put_acpi_id(b, "ACPI0007", i);
		vdb__aml_close(b, device);
	}
}

static void put_virtio(struct vdb__bytes *b, const struct vdb_machine *machine)
{
	for (uint32_t i = 0; i < machine->mmio_count; i++) {
		const struct vdb_acpi_mmio *mmio = &machine->mmio[i];
		size_t device = numbered_device(b, 'V', i), crs;

		put_acpi_id(b, "LNRO0005", i);
		crs = open_crs(b);
		vdb__aml_memory(b, mmio->base, mmio->len);
		vdb__aml_irq(b, mmio->gsi);
		vdb__aml_resources_close(b, crs);
		vdb__aml_close(b, device);
	}
}

/* The bus number, the ports of config space, which are the bridge's own, and the windows. */
static void put_pci_windows(struct vdb__bytes *b, const struct vdb_pci_config *pci)
{
	size_t crs = open_crs(b);

	vdb__aml_window_bus(b, 0, 0);
	vdb__aml_io(b, CONFIG_PORT, 8);
	if (pci->io_len)
		vdb__aml_window_io(b, pci->io, pci->io_len);
	if (pci->mem32_len)
		vdb__aml_window_memory(b, pci->mem32, pci->mem32_len);
	if (pci->mem64_len)
		vdb__aml_window_memory(b, pci->mem64, pci->mem64_len);
	vdb__aml_resources_close(b, crs);
}

/* Pin p of slot s is line (s + p) mod 4, as behind a PCI bridge. */
static void put_prt(struct vdb__bytes *b, uint32_t gsi)
{
	size_t table;

	vdb__aml_name(b, "_PRT");
	table = vdb__aml_package(b, SLOTS * PINS);
	for (uint32_t i = 0; i < SLOTS * PINS; i++) {
		uint32_t slot = i / PINS, pin = i % PINS;
		size_t entry = vdb__aml_package(b, 4);

		vdb__aml_integer(b, slot << 16 | 0xffffu); /* any function of it */
		vdb__aml_integer(b, pin);
		vdb__aml_integer(b, 0); /* no link device: */
		vdb__aml_integer(b, gsi + (slot + pin) % PINS);
		vdb__aml_close(b, entry);
	}
	vdb__aml_close(b, table);
}

/* PNP0A03, not PNP0A08: nothing of PCI Express is there that _OSC would have to negotiate, and ECAM
 * is found by MCFG. */
static void put_pci(struct vdb__bytes *b, const struct vdb_pci_config *pci)
{
	size_t device = vdb__aml_device(b, "PCI0");

	put_id(b, "PNP0A03", 0);
	vdb__aml_name(b, "_SEG");
	vdb__aml_integer(b, 0);
	vdb__aml_name(b, "_BBN");
	vdb__aml_integer(b, 0);
	put_pci_windows(b, pci);
	put_prt(b, pci->intx_gsi);
	vdb__aml_close(b, device);
}

/* ECAM must be reserved by a motherboard resource (PCI Firmware Specification 3.2, 4.1.2). */
static void put_ecam(struct vdb__bytes *b, const struct vdb_pci_config *pci)
{
	size_t device = vdb__aml_device(b, "MRES"), crs;

	put_id(b, "PNP0C02", 0);
	crs = open_crs(b);
	vdb__aml_memory(b, pci->ecam, VDB_PCI_ECAM_BYTES);
	vdb__aml_resources_close(b, crs);
	vdb__aml_close(b, device);
}

static void put_serial(struct vdb__bytes *b, const struct vdb_machine *machine)
{
	size_t device = vdb__aml_device(b, "COM1"), crs;

	put_id(b, "PNP0501", 1);
	crs = open_crs(b);
	vdb__aml_io(b, machine->serial_port, 8);
	vdb__aml_irq(b, machine->serial_gsi);
	vdb__aml_resources_close(b, crs);
	vdb__aml_close(b, device);
}

/* Its alarm interrupts nobody, so no interrupt. */
static void put_rtc(struct vdb__bytes *b)
{
	size_t device = vdb__aml_device(b, "RTC_"), crs;

	put_id(b, "PNP0B00", 0);
	crs = open_crs(b);
	vdb__aml_io(b, 0x70, 2);
	vdb__aml_resources_close(b, crs);
	vdb__aml_close(b, device);
}

static void put_pvpanic(struct vdb__bytes *b)
{
	size_t device = vdb__aml_device(b, "PEVT"), crs;

	put_acpi_id(b, "QEMU0001", 0);
	crs = open_crs(b);
	vdb__aml_io(b, VDB_PVPANIC_PORT, 1);
	vdb__aml_resources_close(b, crs);
	vdb__aml_close(b, device);
}

/* The i8042 is told of by the FADT alone: neither a keyboard nor a mouse is behind it. */
static void put_platform(struct vdb__bytes *b, const struct vdb_machine *machine)
{
	if (machine->serial_gsi)
		put_serial(b, machine);
	if (machine->platform_parts & VDB_PLATFORM_RTC)
		put_rtc(b);
	if (machine->platform_parts & VDB_PLATFORM_PVPANIC)
		put_pvpanic(b);
}

/* What to write to PM1 control for soft-off (7.4.2). */
static void put_s5(struct vdb__bytes *b)
{
	size_t package;

	vdb__aml_name(b, "_S5_");
	package = vdb__aml_package(b, 4);
	vdb__aml_integer(b, VDB_PM_S5);
	vdb__aml_integer(b, VDB_PM_S5);
	vdb__aml_integer(b, 0);
	vdb__aml_integer(b, 0);
	vdb__aml_close(b, package);
}

void vdb__dsdt_put(struct vdb__bytes *b, const struct vdb_machine *machine)
{
	size_t bus = vdb__aml_scope(b, "_SB_");

	put_cpus(b, machine->cpus);
	if (machine->pci) {
		put_pci(b, machine->pci);
		put_ecam(b, machine->pci);
	}
	put_platform(b, machine);
	put_virtio(b, machine);
	vdb__aml_close(b, bus);
	if (machine->platform_parts & VDB_PLATFORM_PM)
		put_s5(b);
}
