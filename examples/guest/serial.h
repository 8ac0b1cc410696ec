/* SPDX-License-Identifier: Apache-2.0 */
/* COM1 without interrupts: enough to tell what one does. */
#ifndef EXAMPLES_GUEST_SERIAL_H
#define EXAMPLES_GUEST_SERIAL_H

#include <linux/serial_reg.h>

#include "runtime.h"

#define SERIAL_PORT 0x3f8u

static inline void serial_put(char byte)
{
	while (!(guest_in8(SERIAL_PORT + UART_LSR) & UART_LSR_THRE))
		;
	guest_out8(SERIAL_PORT + UART_TX, (uint8_t)byte);
}

/* Waits for a byte. */
static inline char serial_get(void)
{
	while (!(guest_in8(SERIAL_PORT + UART_LSR) & UART_LSR_DR))
		;
	return (char)guest_in8(SERIAL_PORT + UART_RX);
}

static inline void serial_text(const char *text)
{
	while (*text)
		serial_put(*text++);
}

static inline void serial_number(uint64_t value)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + value % 10);
	while (value /= 10);
	while (n)
		serial_put(digits[--n]);
}

#endif
