/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks with something around them that nobody may touch. In memory: patterned bytes before and behind, and
 * behind those what cannot be touched at all. In a file: bytes behind the disk's capacity (before it there is
 * nothing that a file offset could name), and the file's size. Failures to make one abort the test.
 */
#ifndef CANARY_H
#define CANARY_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/backend.h>

#define CANARY_BYTES (64u << 10) /* on each side */

struct canary {
	uint64_t capacity;
	uint8_t *memory; /* of the disk; NULL: it is a file */
	int fd;
};

/* The backend is the caller's. */
struct vdb_backend *canary_memory(struct canary *canary, uint64_t capacity);
/* An unlinked file with image_pattern(0) in it. NULL: VDB_FILE_DIRECT is asked for, and TMPDIR has no
 * O_DIRECT. */
struct vdb_backend *canary_file(struct canary *canary, uint64_t capacity, uint32_t vdb_file_flags);
/* A disk's bytes; a file's are read. */
void canary_read(const struct canary *canary, uint64_t offset, void *to, uint64_t len);

/* What has been touched, NULL: nothing. */
const char *canary_dead(const struct canary *canary);

/* It is looked at no more; the backend may live on. */
void canary_forget(struct canary *canary);

#endif
