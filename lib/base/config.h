/* SPDX-License-Identifier: Apache-2.0 */
/* Structs that cross the ABI and carry their size. */
#ifndef VDB_BASE_CONFIG_H
#define VDB_BASE_CONFIG_H

#include <stddef.h>
#include <stdint.h>

/*
 * Takes a caller's config (or ops table) into `own`, whose first member is the
 * uint32_t size: missing tail = zeroes; -E2BIG if the caller set something
 * behind what this library knows; -EINVAL if size is too small to be true.
 * config NULL = all defaults. own->size is own_size afterwards.
 */
int vdb__config_take(void *own, size_t own_size, const void *config, const char *what);

/* Gives a filled struct to the caller, as many bytes as it has room for (its size
 * field stays). -EINVAL if the caller forgot to set size. */
int vdb__stats_give(void *to, const void *own, size_t own_size, const char *what);

#endif
