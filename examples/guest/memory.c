/* SPDX-License-Identifier: Apache-2.0 */
/* Compilers call these, freestanding or not. */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	void *start = to;

	__asm__ __volatile__("rep movsb" : "+D"(to), "+S"(from), "+c"(len)::"memory");
	return start;
}

void *memset(void *to, int byte, size_t len)
{
	void *start = to;

	__asm__ __volatile__("rep stosb" : "+D"(to), "+c"(len) : "a"(byte) : "memory");
	return start;
}
