/* SPDX-License-Identifier: Apache-2.0 */
/* Disk images for tests of the file backend. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* Fills with bytes that tell where they are. */
void image_pattern(void *to, size_t len, unsigned seed);

/* A file of `len` patterned bytes; its name is written to `path` (at least 64 bytes). */
void image_make(char *path, size_t len, unsigned seed);

/* The same with bytes of the caller's. */
void image_store(char *path, const void *bytes, size_t len);

/* What is in the file now. */
void image_check(const char *path, uint64_t offset, const void *bytes, size_t len);

/* Its size. */
uint64_t image_size(const char *path);

#endif
