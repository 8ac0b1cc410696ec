/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that is loaded. It is read by offsets, never mapped: who truncates it under us gets
 * an error, not a SIGBUS of ours.
 */
#ifndef VDB_BOOT_IMAGE_H
#define VDB_BOOT_IMAGE_H

#include <vdb/mem.h>

struct vdb__image {
	int fd; /* -1: not open */
	const char *what, *path;
	uint64_t len;
};

/* `what` it is, for messages: "kernel". -EINVAL: no regular file; -errno of open(). */
int vdb__image_open(struct vdb__image *image, const char *what, const char *path);
void vdb__image_close(struct vdb__image *image);

/* -EINVAL if [offset, offset + len) is not all in the file; `part` names it. */
int vdb__image_has(const struct vdb__image *image, const char *part, uint64_t offset, uint64_t len);

/* Copies out of the file; the range is checked. */
int vdb__image_read(const struct vdb__image *image, const char *part, uint64_t offset, void *to, size_t len);

/* Copies [offset, offset + len) of the file to guest memory; both ranges are checked. */
int vdb__image_load(const struct vdb__image *image, const char *part, uint64_t offset, uint64_t len,
                    struct vdb_mem *mem, vdb_gpa_t gpa);

#endif
