/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/aml.h"

#include <stdbool.h>
#include <string.h>

#define OP_ZERO 0x00u
#define OP_ONE 0x01u
#define OP_NAME 0x08u
#define OP_BYTE 0x0au
#define OP_WORD 0x0bu
#define OP_DWORD 0x0cu
#define OP_STRING 0x0du
#define OP_QWORD 0x0eu
#define OP_SCOPE 0x10u
#define OP_BUFFER 0x11u
#define OP_PACKAGE 0x12u
#define OP_EXTENDED 0x5bu
#define OP_DEVICE 0x82u

#define RES_IRQ 0x22u
#define RES_IO 0x47u
#define RES_END 0x79u
#define RES_MEMORY32 0x86u
#define RES_DWORD 0x87u
#define RES_WORD 0x88u
#define RES_INTERRUPT 0x89u
#define RES_QWORD 0x8au

/* Of address space descriptors. */
#define SPACE_MEMORY 0u
#define SPACE_IO 1u
#define SPACE_BUS 2u
#define CONSUMER 0x01u
#define FIXED 0x0cu    /* both ends */
#define WRITABLE 0x01u /* of memory: not cached */
#define ENTIRE 0x03u   /* of I/O */

/* PkgLength (20.2.4): counts itself; 6 bits in one byte, or 4 and 8 in each that follows. */
static size_t package_length(size_t body, unsigned char to[4])
{
	size_t bytes = 1, len;

	if (body + 1 < 1u << 6) {
		to[0] = (unsigned char)(body + 1);
		return 1;
	}
	do
		len = body + ++bytes;
	while (bytes < 4 && len >> (4 + 8 * (bytes - 1)));
	to[0] = (unsigned char)((bytes - 1) << 6 | (len & 15));
	for (size_t i = 1; i < bytes; i++)
		to[i] = (unsigned char)(len >> (8 * i - 4));
	return bytes;
}

void vdb__aml_close(struct vdb__bytes *b, size_t open)
{
	unsigned char length[4];
	size_t bytes = package_length(b->len - open, length);

	vdb__bytes_insert(b, open, length, bytes);
}

static void put_name(struct vdb__bytes *b, const char *name)
{
	vdb__bytes_put(b, name, 4);
}

size_t vdb__aml_scope(struct vdb__bytes *b, const char *name)
{
	size_t open;

	vdb__put8(b, OP_SCOPE);
	open = b->len;
	put_name(b, name);
	return open;
}

size_t vdb__aml_device(struct vdb__bytes *b, const char *name)
{
	size_t open;

	vdb__put8(b, OP_EXTENDED);
	vdb__put8(b, OP_DEVICE);
	open = b->len;
	put_name(b, name);
	return open;
}

size_t vdb__aml_package(struct vdb__bytes *b, unsigned elements)
{
	size_t open;

	vdb__put8(b, OP_PACKAGE);
	open = b->len;
	vdb__put8(b, elements);
	return open;
}

void vdb__aml_name(struct vdb__bytes *b, const char *name)
{
	vdb__put8(b, OP_NAME);
	put_name(b, name);
}

static size_t encode_integer(uint64_t value, unsigned char to[9])
{
	size_t bytes = value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;

	if (value <= 1) {
		to[0] = value ? OP_ONE : OP_ZERO;
		return 1;
	}
	to[0] = bytes == 1 ? OP_BYTE : bytes == 2 ? OP_WORD : bytes == 4 ? OP_DWORD : OP_QWORD;
	memcpy(to + 1, &value, bytes);
	return 1 + bytes;
}

void vdb__aml_integer(struct vdb__bytes *b, uint64_t value)
{
	unsigned char code[9];

	vdb__bytes_put(b, code, encode_integer(value, code));
}

void vdb__aml_string(struct vdb__bytes *b, const char *text)
{
	vdb__put8(b, OP_STRING);
	vdb__bytes_put(b, text, strlen(text) + 1);
}

static unsigned hex_digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of 5 bits, four digits of 4, big-endian (19.3.4). */
void vdb__aml_eisaid(struct vdb__bytes *b, const char *id)
{
	uint32_t code = 0;

	for (unsigned i = 0; i < 3; i++)
		code = code << 5 | (uint32_t)(id[i] - '@');
	for (unsigned i = 3; i < 7; i++)
		code = code << 4 | hex_digit(id[i]);
	vdb__put8(b, OP_DWORD);
	vdb__put32(b, __builtin_bswap32(code));
}

size_t vdb__aml_resources(struct vdb__bytes *b)
{
	vdb__put8(b, OP_BUFFER);
	return b->len;
}

/* The buffer's size stands between its PkgLength and its bytes. */
void vdb__aml_resources_close(struct vdb__bytes *b, size_t open)
{
	unsigned char size[9];

	vdb__put8(b, RES_END);
	vdb__put8(b, 0); /* no checksum */
	vdb__bytes_insert(b, open, size, encode_integer(b->len - open, size));
	vdb__aml_close(b, open);
}

void vdb__aml_io(struct vdb__bytes *b, unsigned port, unsigned len)
{
	vdb__put8(b, RES_IO);
	vdb__put8(b, 1); /* decodes 16 bits */
	vdb__put16(b, port);
	vdb__put16(b, port);
	vdb__put8(b, 1); /* alignment */
	vdb__put8(b, len);
}

void vdb__aml_irq(struct vdb__bytes *b, uint32_t gsi)
{
	if (gsi < 16) {
		vdb__put8(b, RES_IRQ);
		vdb__put16(b, 1u << gsi);
		return;
	}
	vdb__put8(b, RES_INTERRUPT);
	vdb__put16(b, 6);
	vdb__put8(b, 3); /* consumer, edge */
	vdb__put8(b, 1); /* of them */
	vdb__put32(b, gsi);
}

static void put_space_head(struct vdb__bytes *b, unsigned tag, unsigned space, unsigned flags, unsigned more)
{
	unsigned width = tag == RES_WORD ? 2 : tag == RES_DWORD ? 4 : 8;

	vdb__put8(b, tag);
	vdb__put16(b, 3 + 5 * width);
	vdb__put8(b, space);
	vdb__put8(b, flags | FIXED);
	vdb__put8(b, more);
}

/* Granularity, minimum, maximum, translation, length. */
static void put_space16(struct vdb__bytes *b, unsigned first, unsigned last)
{
	vdb__put16(b, 0);
	vdb__put16(b, first);
	vdb__put16(b, last);
	vdb__put16(b, 0);
	vdb__put16(b, last - first + 1);
}

static void put_space32(struct vdb__bytes *b, uint32_t base, uint32_t len)
{
	vdb__put32(b, 0);
	vdb__put32(b, base);
	vdb__put32(b, base + len - 1);
	vdb__put32(b, 0);
	vdb__put32(b, len);
}

static void put_space64(struct vdb__bytes *b, uint64_t base, uint64_t len)
{
	vdb__put64(b, 0);
	vdb__put64(b, base);
	vdb__put64(b, base + len - 1);
	vdb__put64(b, 0);
	vdb__put64(b, len);
}

static bool fits32(uint64_t base, uint64_t len)
{
	return base <= UINT32_MAX && len <= UINT32_MAX && base + len <= UINT32_MAX + 1ull;
}

void vdb__aml_memory(struct vdb__bytes *b, uint64_t base, uint64_t len)
{
	if (fits32(base, len)) {
		vdb__put8(b, RES_MEMORY32);
		vdb__put16(b, 9);
		vdb__put8(b, WRITABLE);
		vdb__put32(b, (uint32_t)base);
		vdb__put32(b, (uint32_t)len);
	} else {
		put_space_head(b, RES_QWORD, SPACE_MEMORY, CONSUMER, WRITABLE);
		put_space64(b, base, len);
	}
}

void vdb__aml_window_bus(struct vdb__bytes *b, unsigned first, unsigned last)
{
	put_space_head(b, RES_WORD, SPACE_BUS, 0, 0);
	put_space16(b, first, last);
}

void vdb__aml_window_io(struct vdb__bytes *b, unsigned port, unsigned len)
{
	put_space_head(b, RES_WORD, SPACE_IO, 0, ENTIRE);
	put_space16(b, port, port + len - 1);
}

void vdb__aml_window_memory(struct vdb__bytes *b, uint64_t base, uint64_t len)
{
	bool small = fits32(base, len);

	put_space_head(b, small ? RES_DWORD : RES_QWORD, SPACE_MEMORY, 0, WRITABLE);
	if (small)
		put_space32(b, (uint32_t)base, (uint32_t)len);
	else
		put_space64(b, base, len);
}
