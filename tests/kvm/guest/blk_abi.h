/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test asks of the guest that drives virtio-blk (blk.h), and what that tells. The struct lies
 * at BLK_PARAMS; the guest ends by reporting a status.
 *
 * Round after round it writes BLK_SLOTS pieces all over the disk, each word of which tells where it is
 * (blk_word()), reads each of the round before, and compares. Then it flushes. At the end the last
 * BLK_PIECE bytes of the disk are zeroed.
 */
#ifndef TESTS_BLK_ABI_H
#define TESTS_BLK_ABI_H

#include <stdint.h>

#define BLK_PARAMS 0x200000u
#define BLK_RINGS 0x210000u
#define BLK_SLOTS 8u
#define BLK_PIECE 4096u       /* bytes of a request */
#define BLK_BUFFERS 0x240000u /* of BLK_STRIDE each: header, status, table, data */
#define BLK_STRIDE 0x2000u
#define BLK_PORT 0x10u /* reports, as kvm_fixture.h has it */

struct blk_params {
	uint64_t features;
	uint32_t irq; /* by interrupt, `gsi` through the IOAPIC or, over pci, 0 = MSI-X; start in kernel mode.
	                 Else polling */
	uint32_t gsi;
	uint32_t rounds; /* each is written at other places, until the disk is full; may change: atomic */
	uint32_t size;   /* of the queue */
	/* The guest's: */
	uint64_t negotiated;
	uint64_t capacity; /* sectors */
	uint64_t done;     /* requests that came back right */
	uint64_t irqs;
	uint32_t wrong; /* the status, or type, of what did not */
	char id[20];
};

enum {
	BLK_OK = 0x600d,
	BLK_NOT_FOUND = 1,
	BLK_REFUSED = 2,
	BLK_STATUS_WRONG = 3, /* see `wrong` */
	BLK_USED_WRONG = 4,
	BLK_DATA_WRONG = 5,
	BLK_NO_ROOM = 6,
	BLK_CACHE_WRONG = 7,
};

/* Word `i` of what is written at `sector`. */
static inline uint64_t blk_word(uint64_t sector, uint32_t i)
{
	return (sector << 32 | i) ^ 0x9e3779b97f4a7c15ull * (sector + 1);
}

#endif
