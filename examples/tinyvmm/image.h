/* SPDX-License-Identifier: Apache-2.0 */
/* The disk image that the demo's guests work on. */
#ifndef TINYVMM_IMAGE_H
#define TINYVMM_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

struct vdb_backend;

struct image {
	const char *name; /* for messages */
	int fd;           /* to verify by; -1 = none */
	struct vdb_backend *backend;
};

/* Opens `path`, which must have `bytes`, or makes a temporary file if that is NULL.
 * 0, or -1 after a complaint. */
int image_open(struct image *image, const char *path, uint64_t bytes, bool direct);

/* A temporary file is gone afterwards. */
void image_close(struct image *image);

/*
 * Reads blocks [first, first + slice) past the library and counts those that are not what VM `vm`
 * with `seed` must have left there, given the guest's word `flushed` (mailbox.h).
 */
int64_t image_wrong_blocks(const struct image *image, uint32_t vm, uint64_t seed, uint64_t first,
                           uint64_t slice, uint64_t flushed);

#endif
