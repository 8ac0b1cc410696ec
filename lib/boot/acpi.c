/* SPDX-License-Identifier: Apache-2.0 */
/* The set of tables: RSDP, FACS, DSDT, FADT, MADT, MCFG, SPCR, XSDT (ACPI 6.4, 5.2). */
#include "boot/acpi.h"

#include <string.h>
#include <vdb/platform.h>

#include "base/error.h"
#include "base/export.h"
#include "boot/dsdt.h"
#include "boot/machine.h"

#define RSDP_BYTES 36u
#define RSDP_BYTES_V1 20u /* what the first checksum is of */
#define HEADER_LENGTH 4u  /* offsets in a header */
#define HEADER_CHECKSUM 9u
#define FACS_BYTES 64u
#define CPUS_MAX 4096u /* three hexadecimal digits name them */
#define TABLES_MAX 4u  /* that the XSDT names */
#define BAUD_115200 7u

size_t vdb__acpi_open(struct vdb__tables *t, const char *signature, unsigned revision)
{
	struct vdb__bytes *b = &t->bytes;
	size_t open;

	vdb__tables_align(t, 16);
	open = b->len;
	vdb__bytes_put(b, signature, 4);
	vdb__put32(b, 0);
	vdb__put8(b, revision);
	vdb__put8(b, 0);
	vdb__bytes_put(b, "LIBVDB", 6);
	vdb__bytes_put(b, "VDB     ", 8);
	vdb__put32(b, 1);
	vdb__bytes_put(b, "VDB ", 4);
	vdb__put32(b, 1);
	return open;
}

void vdb__acpi_close(struct vdb__tables *t, size_t open)
{
	size_t len = t->bytes.len - open;
	uint32_t own = (uint32_t)len;

	vdb__bytes_patch(&t->bytes, open + HEADER_LENGTH, &own, sizeof(own));
	vdb__bytes_checksum(&t->bytes, open, len, open + HEADER_CHECKSUM);
}

void vdb__tables_align(struct vdb__tables *t, size_t align)
{
	vdb__bytes_zero(&t->bytes, (size_t)(-(t->gpa + t->bytes.len) & (align - 1)));
}

size_t vdb__mcfg_put(struct vdb__tables *t)
{
	size_t open = vdb__acpi_open(t, "MCFG", 1);

	vdb__put64(&t->bytes, 0);
	vdb__put64(&t->bytes, t->machine->pci->ecam);
	vdb__put16(&t->bytes, 0); /* segment */
	vdb__put16(&t->bytes, 0); /* first and last bus */
	vdb__put32(&t->bytes, 0);
	vdb__acpi_close(t, open);
	return open;
}

/* Serial Port Console Redirection, revision 2. */
size_t vdb__spcr_put(struct vdb__tables *t)
{
	const struct vdb_machine *machine = t->machine;
	struct vdb__bytes *b = &t->bytes;
	size_t open = vdb__acpi_open(t, "SPCR", 2);

	vdb__put32(b, 0);          /* a 16550 */
	vdb__put32(b, 0x01000801); /* in I/O space, 8 bits, by bytes */
	vdb__put64(b, machine->serial_port);
	vdb__put8(b, machine->serial_gsi < 16 ? 3 : 2); /* by 8259, by IOAPIC */
	vdb__put8(b, machine->serial_gsi < 16 ? machine->serial_gsi : 0);
	vdb__put32(b, machine->serial_gsi);
	vdb__put8(b, BAUD_115200);
	vdb__put8(b, 0);           /* parity */
	vdb__put8(b, 1);           /* stop bit */
	vdb__put8(b, 0);           /* flow control */
	vdb__put8(b, 3);           /* ANSI terminal */
	vdb__put8(b, 0);           /* language */
	vdb__put32(b, 0xffffffff); /* no PCI device */
	vdb__bytes_zero(b, 12);
	vdb__acpi_close(t, open);
	return open;
}

static size_t put_facs(struct vdb__tables *t)
{
	struct {
		char signature[4];
		uint32_t length;
		uint8_t rest[FACS_BYTES - 8];
	} facs = {.signature = {'F', 'A', 'C', 'S'}, .length = FACS_BYTES};
	size_t open;

	facs.rest[32 - 8] = 2; /* version */
	vdb__tables_align(t, 64);
	open = t->bytes.len;
	vdb__bytes_put(&t->bytes, &facs, sizeof(facs));
	return open;
}

static size_t put_dsdt(struct vdb__tables *t)
{
	size_t open = vdb__acpi_open(t, "DSDT", 2); /* 2: integers have 64 bits */

	vdb__dsdt_put(&t->bytes, t->machine);
	vdb__acpi_close(t, open);
	return open;
}

static size_t put_xsdt(struct vdb__tables *t, const size_t *tables, unsigned count)
{
	size_t open = vdb__acpi_open(t, "XSDT", 1);

	for (unsigned i = 0; i < count; i++)
		vdb__put64(&t->bytes, t->gpa + tables[i]);
	vdb__acpi_close(t, open);
	return open;
}

static void fill_rsdp(struct vdb__tables *t, vdb_gpa_t xsdt)
{
	struct vdb__bytes rsdp = {.at = t->bytes.at, .room = t->bytes.len <= t->bytes.room ? RSDP_BYTES : 0};

	vdb__bytes_put(&rsdp, "RSD PTR ", 8);
	vdb__put8(&rsdp, 0);
	vdb__bytes_put(&rsdp, "LIBVDB", 6);
	vdb__put8(&rsdp, 2); /* revision */
	vdb__put32(&rsdp, 0);
	vdb__put32(&rsdp, RSDP_BYTES);
	vdb__put64(&rsdp, xsdt);
	vdb__put32(&rsdp, 0);
	vdb__bytes_checksum(&rsdp, 0, RSDP_BYTES_V1, 8);
	vdb__bytes_checksum(&rsdp, 0, RSDP_BYTES, 32);
}

static void put_all(struct vdb__tables *t)
{
	const struct vdb_machine *machine = t->machine;
	size_t tables[TABLES_MAX];
	unsigned count = 0;
	vdb_gpa_t facs = 0, dsdt;

	vdb__bytes_zero(&t->bytes, RSDP_BYTES);
	if (machine->platform_parts & VDB_PLATFORM_PM)
		facs = t->gpa + put_facs(t);
	dsdt = t->gpa + put_dsdt(t);
	tables[count++] = vdb__fadt_put(t, facs, dsdt);
	tables[count++] = vdb__madt_put(t);
	if (machine->pci)
		tables[count++] = vdb__mcfg_put(t);
	if (machine->serial_gsi)
		tables[count++] = vdb__spcr_put(t);
	fill_rsdp(t, t->gpa + put_xsdt(t, tables, count));
}

/* The SCI is level-triggered, a device's interrupt is not: they cannot share a pin. */
static int check_pin(const struct vdb_machine *machine, uint64_t at, uint32_t gsi)
{
	if (gsi >= VDB__IOAPIC_PINS)
		return vdb__fail(EINVAL, "acpi: the device at %#llx has GSI %u; the IOAPIC has %u pins",
		                 (unsigned long long)at, gsi, VDB__IOAPIC_PINS);
	if (machine->platform_parts & VDB_PLATFORM_PM && gsi == VDB_PM_SCI)
		return vdb__fail(EINVAL, "acpi: the device at %#llx has GSI %u, which is the SCI's",
		                 (unsigned long long)at, gsi);
	return 0;
}

static int check(const struct vdb_machine *machine, vdb_gpa_t gpa, size_t len)
{
	int err = 0;

	if (gpa % 16 || gpa > UINT32_MAX || len > UINT32_MAX - gpa)
		return vdb__fail(EINVAL, "acpi: %zu bytes at %#llx; a multiple of 16 below 4 GiB is wanted",
		                 len, (unsigned long long)gpa);
	if (machine->pci && machine->pci->intx_gsi > VDB__IOAPIC_PINS - 4)
		return vdb__fail(EINVAL, "acpi: PCI's four GSIs begin at %u; the IOAPIC has %u pins",
		                 machine->pci->intx_gsi, VDB__IOAPIC_PINS);
	if (machine->serial_gsi)
		err = check_pin(machine, machine->serial_port, machine->serial_gsi);
	for (uint32_t i = 0; i < machine->mmio_count && !err; i++)
		err = check_pin(machine, machine->mmio[i].base, machine->mmio[i].gsi);
	return err;
}

VDB_EXPORT int64_t vdb_acpi_build(const struct vdb_machine *machine, vdb_gpa_t gpa, void *buf, size_t len)
{
	struct vdb__machine own;
	struct vdb__tables t = {.bytes = {.at = buf, .room = len}, .gpa = gpa, .machine = &own.is};
	int err = vdb__machine_take(&own, machine, CPUS_MAX);

	if (!err)
		err = check(&own.is, gpa, len);
	if (err)
		return err;
	put_all(&t);
	if (t.bytes.len > len)
		return vdb__fail(ENOSPC, "acpi: the tables need %zu bytes, there are %zu", t.bytes.len, len);
	return (int64_t)t.bytes.len;
}

/* Generous: a processor takes up to 50, a device up to 100, the PCI bridge 2500. */
VDB_EXPORT size_t vdb_acpi_bytes(const struct vdb_machine *machine)
{
	return 0x2000 + machine->cpus * (size_t)64 + machine->mmio_count * (size_t)128;
}
