/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An abacus, a virtio device with a queue and a configuration of its own:
 *
 *     queue 0     each chain: bytes to be read, then 8 to be written: their sum
 *     config      struct abacus_config
 *
 * Guests include this header too.
 */
#ifndef ABACUS_H
#define ABACUS_H

#include <stdint.h>

#define ABACUS_ID 63u /* which the specification does not use */

struct abacus_config {
	uint64_t sums; /* made since the last reset */
};

#if __STDC_HOSTED__
struct vdb_loop;
struct vdb_mem;
struct vdb_virtio;

/* 0 or -errno; any thread; vdb_virtio_destroy() ends it. */
int abacus_create(struct vdb_mem *mem, struct vdb_loop *loop, struct vdb_virtio **out);
#endif

#endif
