/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that do nothing but take interrupts: each vCPU turns its local APIC on, masks the old
 * PIC, routes the pins that were asked for to the first of them and halts; each interrupt is counted by vCPU
 * and vector, and gets its EOI. Runs in CPL 0.
 */
#ifndef VDB_TESTS_IRQ_GUEST_H
#define VDB_TESTS_IRQ_GUEST_H

#include "kvm_fixture.h"

#define IRQ_VECTOR 0x40u /* and the next seven */
#define IRQ_VECTORS 8u

struct irq_guest_pin {
	uint32_t gsi, vector;
	bool level;
};

/* Starts the fixture's vCPUs `first` and up, and returns when their interrupts are on. The guest's memory
 * from GUEST_DATA on is used, 0x6000 bytes. */
void irq_guest_start(struct kvm_fixture *f, uint32_t first, const struct irq_guest_pin *pins, uint32_t count);

/* How often the vector came to the vCPU; changes while it runs. */
const uint32_t *irq_guest_count(const struct kvm_fixture *f, uint32_t vcpu, uint32_t vector);

#endif
