/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that is asked for 4 KiB now and then, one request at a time: what stands beside something else. */
#ifndef BENCH_BESIDE_H
#define BENCH_BESIDE_H

#include <linux/virtio_blk.h>

#include "virtio.h"
#include "virtq.h"

#define BESIDE_BLOCK 4096u

struct beside {
	struct virtio dev;
	struct virtq queue;
	struct virtio_blk_outhdr header;
	uint8_t *data;
	uint8_t status;
	uint64_t blocks, block, count;
	uint64_t wrong;
};

/* beside->dev was found. */
static inline bool beside_open(struct beside *beside, uint8_t *memory, uint8_t *data)
{
	struct virtio *dev = &beside->dev;

	beside->data = data;
	if (!virtio_negotiate(dev, VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)))
		return false;
	beside->blocks = virtio_config64(dev, 0) * 512 / BESIDE_BLOCK;
	virtq_init(&beside->queue, dev, 0, 128, memory);
	virtq_disarm(&beside->queue);
	return beside->blocks && virtq_enable(&beside->queue, VIRTIO_NO_VECTOR) && virtio_drive(dev);
}

static inline void beside_ask(struct beside *beside)
{
	const struct virtq_buffer chain[] = {{(uintptr_t)&beside->header, sizeof(beside->header), 0},
	                                     {(uintptr_t)beside->data, BESIDE_BLOCK, 1},
	                                     {(uintptr_t)&beside->status, 1, 1}};

	beside->block = (beside->block * 5 + 1) % beside->blocks;
	beside->header = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_IN,
	                                            .sector = beside->block * (BESIDE_BLOCK / 512)};
	beside->status = 0xee;
	(void)virtq_add(&beside->queue, chain, 3);
	(void)virtq_publish(&beside->queue);
}

static inline bool beside_done(struct beside *beside)
{
	uint32_t len;

	if (virtq_take(&beside->queue, &len) < 0)
		return false;
	beside->wrong += *(volatile uint8_t *)&beside->status != VIRTIO_BLK_S_OK;
	if (!(++beside->count % 1024)) /* see virtq_split_disarm() */
		virtq_disarm(&beside->queue);
	return true;
}

#endif
