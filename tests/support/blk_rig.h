/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk's requests without a device around them: its framing on a virtqueue that is a
 * lane to the backend under test. Failures abort the test.
 */
#ifndef BLK_RIG_H
#define BLK_RIG_H

#include "virtio/blk.h"
#include "virtq_rig.h"

/* Where things lie in the guest. */
#define BLK_HEADER VRIG_DATA
#define BLK_RANGE (VRIG_DATA + 0x100u)
#define BLK_STATUS (VRIG_DATA + 0x200u)
#define BLK_TABLE (VRIG_DATA + 0x1000u)
#define BLK_DATA (VRIG_DATA + 0x10000u)

#define BLK_ALL (~0ull)

struct blk_rig {
	struct vrig v;
	struct vdb__blk *blk;
};

/* `features`: what the driver accepts of what is offered. `with`: NULL or more config. */
void blk_rig_open(struct blk_rig *r, struct vdb_backend *backend, uint32_t virtq_flags, uint64_t features,
                  const struct vdb_blk_config *with);
void blk_rig_close(struct blk_rig *r);

void blk_header(struct blk_rig *r, uint32_t type, uint64_t sector);
void blk_range(struct blk_rig *r, uint64_t sector, uint32_t sectors, uint32_t flags);

/* Any chain; what lies at BLK_STATUS then, and the used length (may be NULL). 0xee: not written. */
uint8_t blk_chain(struct blk_rig *r, const struct virtq_buf *bufs, uint32_t n, uint32_t *used);

/* The usual layout. IN, GET_ID: into `len` bytes at BLK_DATA; OUT: from there; others have no data. */
uint8_t blk_do(struct blk_rig *r, uint32_t type, uint64_t sector, uint32_t len, uint32_t *used);
/* DISCARD, WRITE_ZEROES. */
uint8_t blk_zero(struct blk_rig *r, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags);

#endif
