/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt controllers (ACPI 6.4, 5.2.12). */
#include <stdbool.h>
#include <vdb/platform.h>

#include "boot/acpi.h"

#define PCAT_COMPAT 1u /* there are 8259s, too */
#define LOCAL_APIC 0u
#define IOAPIC 1u
#define OVERRIDE 2u
#define LOCAL_NMI 4u
#define LOCAL_X2APIC 9u
#define ENABLED 1u
#define ACTIVE_HIGH 1u
#define LEVEL (3u << 2)
#define FIRST_X2APIC 255u /* ids from here on do not fit the older entry */

static void put_cpu(struct vdb__bytes *b, uint32_t id)
{
	if (id < FIRST_X2APIC) {
		vdb__put8(b, LOCAL_APIC);
		vdb__put8(b, 8);
		vdb__put8(b, id); /* _UID of its device */
		vdb__put8(b, id);
		vdb__put32(b, ENABLED);
	} else {
		vdb__put8(b, LOCAL_X2APIC);
		vdb__put8(b, 16);
		vdb__put16(b, 0);
		vdb__put32(b, id);
		vdb__put32(b, ENABLED);
		vdb__put32(b, id);
	}
}

static void put_ioapic(struct vdb__bytes *b)
{
	vdb__put8(b, IOAPIC);
	vdb__put8(b, 12);
	vdb__put16(b, 0); /* id */
	vdb__put32(b, VDB__IOAPIC_BASE);
	vdb__put32(b, 0); /* its first GSI */
}

/* ISA interrupts are GSIs of the same number, edge and active high. KVM's routes have the timer's there,
 * too, not on pin 2 as a PC; so only the SCI differs. */
static void put_sci(struct vdb__bytes *b)
{
	vdb__put8(b, OVERRIDE);
	vdb__put8(b, 10);
	vdb__put8(b, 0); /* ISA */
	vdb__put8(b, VDB_PM_SCI);
	vdb__put32(b, VDB_PM_SCI);
	vdb__put16(b, LEVEL | ACTIVE_HIGH);
}

static void put_nmi(struct vdb__bytes *b)
{
	vdb__put8(b, LOCAL_NMI);
	vdb__put8(b, 6);
	vdb__put8(b, 0xff); /* every processor's */
	vdb__put16(b, 0);
	vdb__put8(b, 1); /* LINT1 */
}

size_t vdb__madt_put(struct vdb__tables *t)
{
	bool pm = t->machine->platform_parts & VDB_PLATFORM_PM;
	size_t open = vdb__acpi_open(t, "APIC", 5);

	vdb__put32(&t->bytes, VDB__APIC_BASE);
	vdb__put32(&t->bytes, pm ? PCAT_COMPAT : 0);
	for (uint32_t i = 0; i < t->machine->cpus; i++)
		put_cpu(&t->bytes, i);
	put_ioapic(&t->bytes);
	if (pm)
		put_sci(&t->bytes);
	put_nmi(&t->bytes);
	vdb__acpi_close(t, open);
	return open;
}
