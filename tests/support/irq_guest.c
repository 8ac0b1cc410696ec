/* SPDX-License-Identifier: Apache-2.0 */
#include "irq_guest.h"

#include <string.h>

/* Counters of vCPU i at COUNTS + i * 256, one word a vector. */
#define COUNTS GUEST_DATA
#define READY (GUEST_DATA + 0x1000u) /* vCPUs whose interrupts are on */
#define IDT (GUEST_DATA + 0x2000u)
#define IDTR (GUEST_DATA + 0x3000u)
#define HANDLERS (GUEST_DATA + 0x4000u)
#define HANDLER_BYTES 64u
#define IOAPIC_WRITES (GUEST_DATA + 0x5000u) /* pairs of index and value; index 0 ends */

GUEST(waiter, "lidt (%rdi)\n mov $0xff, %al\n out %al, $0x21\n out %al, $0xa1\n"
              "mov $0xfee000f0, %eax\n movl $0x1ff, (%rax)\n"
              "mov $0xfec00000, %eax\n mov $0x305000, %esi\n"
              "1: mov (%rsi), %ecx\n test %ecx, %ecx\n jz 2f\n mov %ecx, (%rax)\n"
              "mov 4(%rsi), %ecx\n mov %ecx, 16(%rax)\n add $8, %rsi\n jmp 1b\n"
              "2: lock incl 0x301000\n sti\n"
              "3: hlt\n jmp 3b");

/* One for each vector, whose offset in the counters stands at its end: counts, says EOI. */
GUEST(handler, "push %rax\n push %rbx\n mov $0xfee00020, %eax\n mov (%rax), %ebx\n shr $24, %ebx\n"
               "shl $8, %ebx\n add 1f(%rip), %ebx\n lock incl 0x300000(%rbx)\n"
               "mov $0xfee000b0, %eax\n movl $0, (%rax)\n pop %rbx\n pop %rax\n iretq\n 1:");

static void put_gate(struct kvm_fixture *f, uint32_t vector, uint64_t handler)
{
	const uint64_t gate[2] = {(handler & 0xffff) | 0x8ull << 16 | 0x8e00ull << 32 |
	                                  (handler >> 16 & 0xffff) << 48,
	                          handler >> 32};

	memcpy(f->ram + IDT + vector * sizeof(gate), gate, sizeof(gate));
}

static void put_handlers(struct kvm_fixture *f)
{
	size_t bytes = (size_t)(guest_handler_end - guest_handler);
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = {0xfff, IDT};

	ck_assert_uint_le(bytes + sizeof(uint32_t), HANDLER_BYTES);
	memcpy(f->ram + IDTR, &idtr, sizeof(idtr));
	for (uint32_t i = 0; i < IRQ_VECTORS; i++) {
		uint32_t at = HANDLERS + i * HANDLER_BYTES, offset = i * 4;

		memcpy(f->ram + at, guest_handler, bytes);
		memcpy(f->ram + at + bytes, &offset, sizeof(offset));
		put_gate(f, IRQ_VECTOR + i, at);
	}
}

/* The redirection entry of each pin: the destination, then vector and trigger mode. */
static void put_pins(struct kvm_fixture *f, uint32_t vcpu, const struct irq_guest_pin *pins, uint32_t count)
{
	uint32_t(*writes)[2] = (void *)(f->ram + IOAPIC_WRITES);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t index = 0x10 + 2 * pins[i].gsi;

		*writes[0] = index + 1;
		(*writes++)[1] = vcpu << 24;
		*writes[0] = index;
		(*writes++)[1] = pins[i].vector | (pins[i].level ? 0x8000u : 0);
	}
	*writes[0] = 0;
}

void irq_guest_start(struct kvm_fixture *f, uint32_t first, const struct irq_guest_pin *pins, uint32_t count)
{
	uint32_t entry = GUEST_CODE + first * GUEST_STRIDE;

	put_handlers(f);
	put_pins(f, first, pins, count);
	memcpy(f->ram + entry, guest_waiter, (size_t)(guest_waiter_end - guest_waiter));
	for (uint32_t i = first; i < f->vcpus; i++) {
		const struct vdb_x86_start start = {
		        .size = sizeof(start),
		        .flags = VDB_X86_KERNEL,
		        .entry = entry,
		        .stack = GUEST_STACK + i * 0x4000,
		        .arg = {IDTR},
		        .tables = GUEST_TABLES,
		};

		must(vdb_x86_start64(f->vcpu[i], &start));
		must(vdb_vcpu_start(f->vcpu[i], -1, NULL));
	}
	wait_for32((const uint32_t *)(const void *)(f->ram + READY), f->vcpus - first);
}

const uint32_t *irq_guest_count(const struct kvm_fixture *f, uint32_t vcpu, uint32_t vector)
{
	return (const uint32_t *)(const void *)(f->ram + COUNTS + vcpu * 256 + (vector - IRQ_VECTOR) * 4);
}
