/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts of the IOAPIC, for a guest whose memory is mapped one to one. */
#ifndef EXAMPLES_GUEST_IOAPIC_H
#define EXAMPLES_GUEST_IOAPIC_H

#include "runtime.h"

#define IOAPIC_SELECT 0xfec00000u
#define IOAPIC_WINDOW 0xfec00010u
#define IOAPIC_LEVEL (1u << 15)

static inline void ioapic_write(uint32_t index, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)IOAPIC_SELECT = index;
	*(volatile uint32_t *)(uintptr_t)IOAPIC_WINDOW = value;
}

/* The legacy controllers see pins 0..15, too, and are open after a reset. */
static inline void ioapic_alone(void)
{
	guest_out8(0x21, 0xff);
	guest_out8(0xa1, 0xff);
}

/* Pin `gsi` becomes `vector` of the processor with APIC id 0; flags 0 (edge) or IOAPIC_LEVEL. */
static inline void ioapic_route(uint32_t gsi, uint32_t vector, uint32_t flags)
{
	ioapic_alone();
	ioapic_write(0x11 + 2 * gsi, 0);
	ioapic_write(0x10 + 2 * gsi, vector | flags);
}

#endif
