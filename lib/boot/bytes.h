/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian bytes that are appended, and counted where there is no room left. */
#ifndef VDB_BOOT_BYTES_H
#define VDB_BOOT_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct vdb__bytes {
	unsigned char *at;
	size_t len; /* asked for: more than `room` means that the end is missing */
	size_t room;
};

void vdb__bytes_put(struct vdb__bytes *b, const void *from, size_t len);
void vdb__bytes_zero(struct vdb__bytes *b, size_t len);
void vdb__put8(struct vdb__bytes *b, unsigned value);
void vdb__put16(struct vdb__bytes *b, unsigned value);
void vdb__put32(struct vdb__bytes *b, uint32_t value);
void vdb__put64(struct vdb__bytes *b, uint64_t value);

/* Puts bytes before those that are at `offset`, or over them. */
void vdb__bytes_insert(struct vdb__bytes *b, size_t offset, const void *from, size_t len);
void vdb__bytes_patch(struct vdb__bytes *b, size_t offset, const void *from, size_t len);

/* Makes the bytes [offset, offset + len) sum up to 0 by the one at `where`, which is 0 yet. */
void vdb__bytes_checksum(struct vdb__bytes *b, size_t offset, size_t len, size_t where);

#endif
