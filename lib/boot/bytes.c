/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/bytes.h"

#include <string.h>

void vdb__bytes_put(struct vdb__bytes *b, const void *from, size_t len)
{
	if (b->len + len <= b->room)
		memcpy(b->at + b->len, from, len);
	b->len += len;
}

void vdb__bytes_zero(struct vdb__bytes *b, size_t len)
{
	if (b->len + len <= b->room)
		memset(b->at + b->len, 0, len);
	b->len += len;
}

void vdb__put64(struct vdb__bytes *b, uint64_t value)
{
	vdb__bytes_put(b, &value, sizeof(value));
}

void vdb__put32(struct vdb__bytes *b, uint32_t value)
{
	vdb__bytes_put(b, &value, sizeof(value));
}

void vdb__put16(struct vdb__bytes *b, unsigned value)
{
	uint16_t own = (uint16_t)value;

	vdb__bytes_put(b, &own, sizeof(own));
}

void vdb__put8(struct vdb__bytes *b, unsigned value)
{
	uint8_t own = (uint8_t)value;

	vdb__bytes_put(b, &own, sizeof(own));
}

void vdb__bytes_insert(struct vdb__bytes *b, size_t offset, const void *from, size_t len)
{
	if (b->len + len <= b->room) {
		memmove(b->at + offset + len, b->at + offset, b->len - offset);
		memcpy(b->at + offset, from, len);
	}
	b->len += len;
}

void vdb__bytes_patch(struct vdb__bytes *b, size_t offset, const void *from, size_t len)
{
	if (b->len <= b->room)
		memcpy(b->at + offset, from, len);
}

void vdb__bytes_checksum(struct vdb__bytes *b, size_t offset, size_t len, size_t where)
{
	uint8_t sum = 0;

	if (b->len > b->room)
		return;
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + b->at[offset + i]);
	b->at[where] = (uint8_t)-sum;
}
