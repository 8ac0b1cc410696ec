/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a guest that does not exist: made once, zeroed for each input. Pages around every region are
 * not mapped, and what is read-only for the guest is for us: whoever strays crashes.
 *
 *     0x00000  64 KiB
 *     0x10000  16 KiB, next to it for the guest, far away for the host; may be discarded
 *     0x30000  4 KiB, read-only
 *     1 << 40  4 KiB
 */
#ifndef FUZZ_RAM_H
#define FUZZ_RAM_H

#include <vdb/mem.h>

#include "input.h"

#define FUZZ_LOW 0x10000u
#define FUZZ_NEXT 0x14000u /* end of the second */
#define FUZZ_ROM 0x30000u
#define FUZZ_HIGH (1ull << 40)

/* Zeroed. The same for every input. */
struct vdb_mem *fuzz_ram(void);

/* Bytes that may be written, all in one region; NULL: they are none. */
void *fuzz_ram_at(vdb_gpa_t gpa, uint64_t len);

/* Writes len bytes of the program's to gpa, as far as there is memory. */
void fuzz_ram_write(struct fuzz_input *in, vdb_gpa_t gpa, uint32_t len);
void fuzz_ram_put(vdb_gpa_t gpa, const void *from, uint32_t len);

/* An address, and a length: mostly memory, now and then a border or nonsense. Three bytes each, or more. */
vdb_gpa_t fuzz_gpa(struct fuzz_input *in);
uint32_t fuzz_len(struct fuzz_input *in);

#endif
