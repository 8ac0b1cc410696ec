/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a bare-metal guest has instead of an operating system. Its program runs in
 * CPL 3 with all memory identity-mapped and every port allowed.
 */
#ifndef EXAMPLES_GUEST_RUNTIME_H
#define EXAMPLES_GUEST_RUNTIME_H

#include <stdint.h>

/* The program: the three words that the VMM gave in vdb_x86_start.arg. Never returns. */
_Noreturn void guest_main(uint64_t arg0, uint64_t arg1, uint64_t arg2);

/* Interrupts taken so far (start.S counts them). */
extern volatile uint64_t guest_irqs;

/* Sleeps until guest_irqs is no longer `seen`. Only if started in CPL 0. */
static inline void guest_wait(uint64_t seen)
{
	__asm__ __volatile__("hlt" ::"D"(seen) : "memory");
}

static inline void guest_pause(void)
{
	__asm__ __volatile__("pause" ::: "memory");
}

static inline void guest_out8(uint16_t port, uint8_t value)
{
	__asm__ __volatile__("outb %0, %w1" ::"a"(value), "Nd"(port) : "memory");
}

static inline void guest_out32(uint16_t port, uint32_t value)
{
	__asm__ __volatile__("outl %0, %w1" ::"a"(value), "Nd"(port) : "memory");
}

static inline void guest_out16(uint16_t port, uint16_t value)
{
	__asm__ __volatile__("outw %0, %w1" ::"a"(value), "Nd"(port) : "memory");
}

static inline uint8_t guest_in8(uint16_t port)
{
	uint8_t value;

	__asm__ __volatile__("inb %w1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint16_t guest_in16(uint16_t port)
{
	uint16_t value;

	__asm__ __volatile__("inw %w1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t guest_in32(uint16_t port)
{
	uint32_t value;

	__asm__ __volatile__("inl %w1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* Not before what comes before it is done: rdtsc alone may run ahead of a load. */
static inline uint64_t guest_tsc(void)
{
	uint32_t low, high;

	__asm__ __volatile__("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

#endif
