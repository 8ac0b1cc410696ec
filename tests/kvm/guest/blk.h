/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that drives virtio-blk, whatever its transport: what blk_abi.h asks for. */
#ifndef TESTS_BLK_H
#define TESTS_BLK_H

#include <linux/virtio_blk.h>
#include <stddef.h>

#include "blk_abi.h"
#include "runtime.h"
#include "virtq.h"

#define BLK_DEVICE 2u

static struct blk_params *const blk = (struct blk_params *)BLK_PARAMS;
static struct virtq blk_queue;

/* Where one request has its parts. */
struct blk_slot {
	struct virtio_blk_outhdr header;
	struct virtio_blk_discard_write_zeroes range;
	uint8_t status;
	uint8_t fill[0x100 - 33];
	uint8_t table[0x700];
	uint8_t gap[0x1000 - 0x800];
	uint64_t data[BLK_PIECE / 8];
};
_Static_assert(sizeof(struct blk_slot) == BLK_STRIDE, "stride");

_Noreturn static inline void blk_end(uint32_t status)
{
	blk->irqs = guest_irqs;
	guest_out32(BLK_PORT, status);
	__asm__ __volatile__("ud2");
	__builtin_unreachable();
}

static inline struct blk_slot *blk_at(uint32_t i)
{
	return (struct blk_slot *)(uintptr_t)(BLK_BUFFERS + i * BLK_STRIDE);
}

/* ---- One request; its slot is its name ---- */

static uint32_t blk_ids[VIRTQ_MAX]; /* slot of each id */

/* Every other one by an indirect table. Data lies in two pieces that do not meet at a sector. */
static inline void blk_submit(uint32_t i, uint32_t type, uint64_t sector, uint32_t len)
{
	struct blk_slot *slot = blk_at(i);
	uint32_t in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct virtq_buffer chain[4];
	uint16_t n = 0;
	int id;

	slot->header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	slot->status = 0xee;
	chain[n++] = (struct virtq_buffer){(uintptr_t)&slot->header, sizeof(slot->header), 0};
	if (type == VIRTIO_BLK_T_WRITE_ZEROES)
		chain[n++] = (struct virtq_buffer){(uintptr_t)&slot->range, sizeof(slot->range), 0};
	if (len > 1000) {
		chain[n++] = (struct virtq_buffer){(uintptr_t)slot->data, 1000, in};
		chain[n++] = (struct virtq_buffer){(uintptr_t)slot->data + 1000, len - 1000, in};
	} else if (len) {
		chain[n++] = (struct virtq_buffer){(uintptr_t)slot->data, len, in};
	}
	chain[n++] = (struct virtq_buffer){(uintptr_t)&slot->status, 1, 1};
	if (virtio_has(blk_queue.dev, VIRTIO_RING_F_INDIRECT_DESC) && i & 1)
		id = virtq_add_indirect(&blk_queue, chain, n, slot->table);
	else
		id = virtq_add(&blk_queue, chain, n);
	if (id < 0)
		blk_end(BLK_NO_ROOM);
	blk_ids[id] = i;
}

static inline uint32_t blk_wait(uint32_t *len)
{
	uint64_t seen;
	int id;

	while ((id = virtq_take(&blk_queue, len)) < 0) {
		if (!blk->irq) {
			guest_pause();
			continue;
		}
		seen = guest_irqs;
		if (virtq_arm(&blk_queue))
			continue;
		guest_wait(seen);
		blk_queue.dev->ops->interrupt(blk_queue.dev);
		virtq_disarm(&blk_queue);
	}
	return blk_ids[id];
}

/* All `n` that were submitted; each writes `in` bytes besides its status. */
static inline void blk_finish(uint32_t n, uint32_t in)
{
	uint32_t len = 0, i;

	virtq_publish(&blk_queue);
	for (; n; n--) {
		i = blk_wait(&len);
		blk->wrong = *(volatile uint8_t *)&blk_at(i)->status;
		if (blk->wrong != VIRTIO_BLK_S_OK)
			blk_end(BLK_STATUS_WRONG);
		blk->wrong = blk_at(i)->header.type;
		if (len != in + 1)
			blk_end(BLK_USED_WRONG);
		blk->done++;
	}
}

/* ---- What is done ---- */

/* Round by round, and within one each slot far from the next. */
static inline uint64_t blk_place(uint32_t round, uint32_t i)
{
	uint64_t pieces = blk->capacity / (BLK_PIECE / 512);

	return (round + i * (pieces / BLK_SLOTS)) % pieces * (BLK_PIECE / 512);
}

static inline void blk_write_round(uint32_t round)
{
	for (uint32_t i = 0; i < BLK_SLOTS; i++) {
		for (uint32_t w = 0; w < BLK_PIECE / 8; w++)
			blk_at(i)->data[w] = blk_word(blk_place(round, i), w);
		blk_submit(i, VIRTIO_BLK_T_OUT, blk_place(round, i), BLK_PIECE);
	}
	blk_finish(BLK_SLOTS, 0);
}

static inline void blk_read_round(uint32_t round)
{
	for (uint32_t i = 0; i < BLK_SLOTS; i++) {
		for (uint32_t w = 0; w < BLK_PIECE / 8; w++)
			blk_at(i)->data[w] = 0;
		blk_submit(i, VIRTIO_BLK_T_IN, blk_place(round, i), BLK_PIECE);
	}
	blk_finish(BLK_SLOTS, BLK_PIECE);
	for (uint32_t i = 0; i < BLK_SLOTS; i++) {
		for (uint32_t w = 0; w < BLK_PIECE / 8; w++) {
			if (((volatile uint64_t *)blk_at(i)->data)[w] != blk_word(blk_place(round, i), w))
				blk_end(BLK_DATA_WRONG);
		}
	}
}

/* In the second half each write is flushed before it is complete: it looks the same from here. */
static inline void blk_cache_off(const struct virtio *dev)
{
	uintptr_t wce = dev->config + offsetof(struct virtio_blk_config, wce);

	if (!virtio_has(dev, VIRTIO_BLK_F_CONFIG_WCE))
		return;
	if (virtio_read8(wce) != 1)
		blk_end(BLK_CACHE_WRONG);
	virtio_write8(wce, 0);
	if (virtio_read8(wce) != 0)
		blk_end(BLK_CACHE_WRONG);
}

static inline void blk_identify(void)
{
	blk_submit(0, VIRTIO_BLK_T_GET_ID, 0, sizeof(blk->id));
	blk_finish(1, sizeof(blk->id));
	for (uint32_t i = 0; i < sizeof(blk->id); i++)
		blk->id[i] = ((volatile char *)blk_at(0)->data)[i];
}

static inline void blk_zero_end(const struct virtio *dev)
{
	const uint32_t sectors = BLK_PIECE / 512;

	if (!virtio_has(dev, VIRTIO_BLK_F_WRITE_ZEROES))
		return;
	blk_at(0)->range = (struct virtio_blk_discard_write_zeroes){.sector = blk->capacity - sectors,
	                                                            .num_sectors = sectors};
	blk_submit(0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 0);
	blk_finish(1, 0);
}

static inline void blk_open(struct virtio *dev)
{
	if (dev->id != BLK_DEVICE)
		blk_end(BLK_NOT_FOUND);
	if (!virtio_negotiate(dev, blk->features))
		blk_end(BLK_REFUSED);
	blk->negotiated = dev->features;
	blk->capacity = virtio_config64(dev, 0);
	virtq_init(&blk_queue, dev, 0, (uint16_t)blk->size, (void *)(uintptr_t)BLK_RINGS);
	virtq_disarm(&blk_queue);
	if (!virtq_enable(&blk_queue, 1) || !virtio_drive(dev))
		blk_end(BLK_REFUSED);
}

static inline void blk_run(struct virtio *dev)
{
	blk_open(dev);
	blk_identify();
	for (uint32_t round = 0; round < __atomic_load_n(&blk->rounds, __ATOMIC_ACQUIRE); round++) {
		if (round == blk->rounds / 2)
			blk_cache_off(dev);
		blk_write_round(round);
		if (round)
			blk_read_round(round - 1);
	}
	if (virtio_has(dev, VIRTIO_BLK_F_FLUSH)) {
		blk_submit(0, VIRTIO_BLK_T_FLUSH, 0, 0);
		blk_finish(1, 0);
	}
	blk_zero_end(dev);
	virtio_reset(dev);
	blk_end(BLK_OK);
}

#endif
