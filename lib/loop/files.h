/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a loop was told of (vdb_io_file_add()). A slot is its caller's until it
 * is given back, which comes before the file is closed: so a number that is used again for another
 * file never means the old one.
 */
#ifndef VDB_LOOP_FILES_H
#define VDB_LOOP_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vdb_loop;

#define VDB__FILES_MAX 1024u /* beyond, I/O goes by the fd */

struct vdb__file_slot {
	int fd;
	bool used;
	bool known;    /* to the engine: I/O may go by the slot's index */
	bool pollable; /* to it as well, with no word yet that its device is not polled for */
	bool waits;    /* the kernel cannot be asked not to: VDB_IO_NOWAIT */
};

struct vdb__files {
	struct vdb__file_slot *slots; /* NULL as long as there was none */
	uint32_t lowest;              /* none below is free */
};

/* NULL: not told, or the engine goes by the fd. `file` is the caller's number. */
static inline struct vdb__file_slot *vdb__file_known(const struct vdb__files *files, uint32_t file)
{
	struct vdb__file_slot *slot;

	if (!file || file > VDB__FILES_MAX || !files->slots)
		return NULL;
	slot = &files->slots[file - 1];
	return slot->known ? slot : NULL;
}

/* A new engine knows none, until it is told of them. */
void vdb__files_unknown(struct vdb_loop *loop);
void vdb__files_renew(struct vdb_loop *loop);

void vdb__files_fini(struct vdb_loop *loop);

#endif
