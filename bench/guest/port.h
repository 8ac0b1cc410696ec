/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side of port_abi.h. */
#ifndef BENCH_PORT_H
#define BENCH_PORT_H

#include "port_abi.h"
#include "runtime.h"

static inline void port_text(const char *text)
{
	while (*text)
		guest_out8(PORT_TEXT, (uint8_t)*text++);
}

static inline void port_number(uint64_t value)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + value % 10);
	while (value /= 10);
	while (n)
		guest_out8(PORT_TEXT, (uint8_t)digits[--n]);
}

/* "name=" or the like, and its value. */
static inline void port_field(const char *name, uint64_t value)
{
	port_text(name);
	port_number(value);
}

/* A last line feed, and the end. */
_Noreturn static inline void port_end(uint8_t status)
{
	guest_out8(PORT_TEXT, '\n');
	for (;;)
		guest_out8(PORT_END, status);
}

#endif
