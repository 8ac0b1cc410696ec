/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of virtio-blk: blk.c makes the device, blk_config.c says what it offers and keeps the
 * config space, blk_request.c knows what a chain means. Section numbers are those of virtio 1.2.
 */
#ifndef VDB_VIRTIO_BLK_H
#define VDB_VIRTIO_BLK_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stddef.h>
#include <vdb/blk.h>

#include "queue/chain.h"

#define VDB__BLK_FRAME 2u /* descriptors of a request besides its data: header and status */
#define VDB__SECTOR 512u  /* what addresses count in, whatever the block size (5.2.4) */

/* Of one request. What a file system cannot do is written out as zeroes, which a reset waits for. */
#define VDB__BLK_MAX_DISCARD (4u << 20)
#define VDB__BLK_MAX_ZEROES (2u << 20)

struct vdb__blk {
	struct vdb_backend *backend;
	uint32_t ops; /* what the backend serves: bit n for VDB_OP n */
	uint32_t block_size;
	uint32_t queues;
	uint32_t seg_max, size_max;
	uint8_t physical_log2;
	bool readonly;
	bool start_through; /* the write cache is off until the driver says otherwise */
	uint64_t offered;
	uint8_t id[VIRTIO_BLK_ID_BYTES];

	/* Set by vCPUs, read on the loop. */
	uint64_t accepted;
	uint32_t writeback; /* the driver's setting of the cache, if it has CONFIG_WCE */
	uint32_t stable;    /* a write is complete when it has been flushed (5.2.6.2) */
};

/* Bytes of config space: up to what belongs to SECURE_ERASE, which is not offered. */
#define VDB__BLK_CONFIG ((uint32_t)(offsetof(struct virtio_blk_config, unused1) + 3))

/* ---- blk_config.c ---- */

/* What the device is, by its config. The backend is referenced. */
int vdb__blk_make(const struct vdb_blk_config *config, struct vdb__blk **out);
void vdb__blk_free(void *blk);

extern const struct vdb_virtio_ops vdb__blk_ops;

/* ---- blk_request.c ---- */

extern const struct vdb__framing vdb__blk_framing;

#endif
