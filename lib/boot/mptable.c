/* SPDX-License-Identifier: Apache-2.0 */
/* The MP table (MultiProcessor Specification 1.4, chapter 4). */
#include <stdbool.h>

#include "base/error.h"
#include "base/export.h"
#include "boot/acpi.h"
#include "boot/machine.h"

#define POINTER_BYTES 16u
#define PROCESSOR 0u
#define BUS 1u
#define IOAPIC 2u
#define INTERRUPT 3u
#define LOCAL_INTERRUPT 4u
#define INT 0u /* kinds of interrupts */
#define NMI 1u
#define EXTINT 3u

#define APIC_VERSION 0x14u
#define IOAPIC_VERSION 0x11u
#define ENABLED 1u
#define BOOT_PROCESSOR 2u
#define CPU_SIGNATURE 0x600u
#define CPU_FEATURES 0x201u /* FPU, APIC */

#define PCI_BUS 0u /* by its number; ISA is another one */
#define ISA_BUS 1u
#define ISA_IRQS 16u
#define SLOTS 32u
#define PINS 4u
#define CPUS_MAX 254u /* ids are bytes, one is the IOAPIC's, one is all */

struct table {
	struct vdb__bytes bytes;
	uint32_t entries;
	uint32_t ioapic; /* id */
};

static void put_processor(struct table *t, uint32_t id)
{
	struct vdb__bytes *b = &t->bytes;

	t->entries++;
	vdb__put8(b, PROCESSOR);
	vdb__put8(b, id);
	vdb__put8(b, APIC_VERSION);
	vdb__put8(b, id ? ENABLED : ENABLED | BOOT_PROCESSOR);
	vdb__put32(b, CPU_SIGNATURE);
	vdb__put32(b, CPU_FEATURES);
	vdb__bytes_zero(b, 8);
}

static void put_bus(struct table *t, uint32_t id, const char name[static 6])
{
	t->entries++;
	vdb__put8(&t->bytes, BUS);
	vdb__put8(&t->bytes, id);
	vdb__bytes_put(&t->bytes, name, 6);
}

static void put_ioapic(struct table *t)
{
	t->entries++;
	vdb__put8(&t->bytes, IOAPIC);
	vdb__put8(&t->bytes, t->ioapic);
	vdb__put8(&t->bytes, IOAPIC_VERSION);
	vdb__put8(&t->bytes, ENABLED);
	vdb__put32(&t->bytes, VDB__IOAPIC_BASE);
}

/* Polarity and trigger as the bus has them: ISA edge, active high; PCI level. */
static void put_interrupt(struct table *t, uint32_t bus, uint32_t irq, uint32_t pin)
{
	t->entries++;
	vdb__put8(&t->bytes, INTERRUPT);
	vdb__put8(&t->bytes, INT);
	vdb__put16(&t->bytes, 0);
	vdb__put8(&t->bytes, bus);
	vdb__put8(&t->bytes, irq);
	vdb__put8(&t->bytes, t->ioapic);
	vdb__put8(&t->bytes, pin);
}

static void put_local(struct table *t, uint32_t kind, uint32_t pin)
{
	t->entries++;
	vdb__put8(&t->bytes, LOCAL_INTERRUPT);
	vdb__put8(&t->bytes, kind);
	vdb__put16(&t->bytes, 0);
	vdb__put8(&t->bytes, ISA_BUS);
	vdb__put8(&t->bytes, 0);
	vdb__put8(&t->bytes, 0xff); /* of every processor */
	vdb__put8(&t->bytes, pin);
}

static bool has_pin(const struct vdb_machine *machine, uint32_t pin)
{
	for (uint32_t i = 0; i < machine->mmio_count; i++) {
		if (machine->mmio[i].gsi == pin)
			return true;
	}
	return false;
}

static void put_interrupts(struct table *t, const struct vdb_machine *machine)
{
	for (uint32_t irq = 0; irq < ISA_IRQS; irq++)
		put_interrupt(t, ISA_BUS, irq, irq);
	for (uint32_t pin = ISA_IRQS; pin < VDB__IOAPIC_PINS; pin++) {
		if (has_pin(machine, pin))
			put_interrupt(t, ISA_BUS, pin, pin);
	}
	for (uint32_t i = 0; machine->pci && i < SLOTS * PINS; i++) {
		uint32_t slot = i / PINS, pin = i % PINS;

		put_interrupt(t, PCI_BUS, slot << 2 | pin, machine->pci->intx_gsi + (slot + pin) % PINS);
	}
	put_local(t, EXTINT, 0);
	put_local(t, NMI, 1);
}

static void put_header(struct vdb__bytes *b)
{
	vdb__bytes_put(b, "PCMP", 4);
	vdb__put16(b, 0); /* length */
	vdb__put8(b, 4);  /* revision 1.4 */
	vdb__put8(b, 0);
	vdb__bytes_put(b, "LIBVDB  ", 8);
	vdb__bytes_put(b, "VDB         ", 12);
	vdb__put32(b, 0);
	vdb__put16(b, 0);
	vdb__put16(b, 0); /* entries */
	vdb__put32(b, VDB__APIC_BASE);
	vdb__put32(b, 0);
}

static void put_pointer(struct vdb__bytes *b, vdb_gpa_t table)
{
	vdb__bytes_put(b, "_MP_", 4);
	vdb__put32(b, (uint32_t)table);
	vdb__put8(b, 1); /* length in paragraphs */
	vdb__put8(b, 4);
	vdb__bytes_zero(b, 6); /* checksum; a table is there; no IMCR */
	vdb__bytes_checksum(b, 0, POINTER_BYTES, 10);
}

static void put_all(struct table *t, const struct vdb_machine *machine, vdb_gpa_t gpa)
{
	struct vdb__bytes *b = &t->bytes;
	uint16_t len, entries;

	put_pointer(b, gpa + POINTER_BYTES);
	put_header(b);
	for (uint32_t i = 0; i < machine->cpus; i++)
		put_processor(t, i);
	if (machine->pci)
		put_bus(t, PCI_BUS, "PCI   ");
	put_bus(t, ISA_BUS, "ISA   ");
	put_ioapic(t);
	put_interrupts(t, machine);
	len = (uint16_t)(b->len - POINTER_BYTES);
	entries = (uint16_t)t->entries;
	vdb__bytes_patch(b, POINTER_BYTES + 4, &len, sizeof(len));
	vdb__bytes_patch(b, POINTER_BYTES + 34, &entries, sizeof(entries));
	vdb__bytes_checksum(b, POINTER_BYTES, len, POINTER_BYTES + 7);
}

static int check(const struct vdb_machine *machine, vdb_gpa_t gpa)
{
	for (uint32_t i = 0; i < machine->mmio_count; i++) {
		if (machine->mmio[i].gsi >= VDB__IOAPIC_PINS)
			return vdb__fail(EINVAL, "mptable: mmio device %u has GSI %u; the IOAPIC has %u pins",
			                 i, machine->mmio[i].gsi, VDB__IOAPIC_PINS);
	}
	if (machine->pci && machine->pci->intx_gsi > VDB__IOAPIC_PINS - PINS)
		return vdb__fail(EINVAL, "mptable: PCI's GSIs begin at %u; the IOAPIC has %u pins",
		                 machine->pci->intx_gsi, VDB__IOAPIC_PINS);
	if (gpa % 16 || gpa >= 0x100000)
		return vdb__fail(EINVAL, "mptable: at %#llx; a multiple of 16 below 1 MiB is wanted",
		                 (unsigned long long)gpa);
	return 0;
}

VDB_EXPORT int64_t vdb_mptable_build(const struct vdb_machine *machine, vdb_gpa_t gpa, void *buf, size_t len)
{
	struct table t = {.bytes = {.at = buf, .room = len}};
	struct vdb__machine own;
	int err = vdb__machine_take(&own, machine, CPUS_MAX);

	if (!err)
		err = check(&own.is, gpa);
	if (err)
		return err;
	t.ioapic = own.is.cpus;
	put_all(&t, &own.is, gpa);
	if (t.bytes.len > len)
		return vdb__fail(ENOSPC, "mptable: it needs %zu bytes, there are %zu", t.bytes.len, len);
	return (int64_t)t.bytes.len;
}

VDB_EXPORT size_t vdb_mptable_bytes(const struct vdb_machine *machine)
{
	return 0x800 + machine->cpus * (size_t)20;
}
