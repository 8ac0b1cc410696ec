/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a virtqueue (virtio 1.2, 2.7 and 2.8), split or packed as was
 * negotiated, in memory that is mapped one to one. Single-threaded, no libc.
 *
 *     id = virtq_add(&q, buffers, n)        -1: no room
 *     virtq_publish(&q)                     rings if the device asks for it
 *     id = virtq_take(&q, &used)            -1: nothing was used
 */
#ifndef EXAMPLES_GUEST_VIRTQ_H
#define EXAMPLES_GUEST_VIRTQ_H

#include "virtq_packed.h"
#include "virtq_split.h"

/* What virtq_init() wants, page-aligned. */
static inline uint32_t virtq_bytes(uint16_t size)
{
	return 16u * size + ((6u + 2u * size + 3u) & ~3u) + 6u + 8u * size;
}

/* `memory` is wiped; size at most VIRTQ_MAX, for split a power of two. */
static inline void virtq_init(struct virtq *q, const struct virtio *dev, uint16_t index, uint16_t size,
                              void *memory)
{
	uint8_t *bytes = memory;

	*q = (struct virtq){.dev = dev, .index = index, .size = size, .free = size};
	q->packed = virtio_has(dev, VIRTIO_F_RING_PACKED);
	q->event_idx = virtio_has(dev, VIRTIO_RING_F_EVENT_IDX);
	q->desc = bytes;
	q->driver = bytes + 16u * size;
	q->device = q->driver + ((6u + 2u * size + 3u) & ~3u);
	q->avail_wrap = q->used_wrap = true;
	for (uint32_t i = 0; i < virtq_bytes(size); i++)
		((volatile uint8_t *)bytes)[i] = 0;
	for (uint16_t i = 0; i < size; i++)
		q->next[i] = (uint16_t)(i + 1);
}

/* Gives it to the device, between virtio_negotiate() and virtio_drive(). */
static inline bool virtq_enable(const struct virtq *q, uint16_t vector)
{
	const struct virtio_rings rings = {
	        .size = q->size,
	        .vector = vector,
	        .desc = (uintptr_t)q->desc,
	        .driver = (uintptr_t)q->driver,
	        .device = (uintptr_t)q->device,
	};

	return q->dev->ops->queue_enable(q->dev, q->index, &rings);
}

/* A chain of n buffers; its id. */
static inline int virtq_add(struct virtq *q, const struct virtq_buffer *buffers, uint16_t n)
{
	if (!n || n > q->free)
		return -1;
	return q->packed ? virtq_packed_add(q, buffers, n) : virtq_split_add(q, buffers, n);
}

/* An indirect table (VIRTIO_RING_F_INDIRECT_DESC) of n buffers; `table` has room for 16 n bytes, and
 * stays the device's until the chain is used. */
static inline int virtq_add_indirect(struct virtq *q, const struct virtq_buffer *buffers, uint16_t n,
                                     void *table)
{
	if (!n || !q->free)
		return -1;
	return q->packed ? virtq_packed_indirect(q, buffers, n, table)
	                 : virtq_split_indirect(q, buffers, n, table);
}

/* Shows the device what was added, and rings if it asks for it. True: rang. */
static inline bool virtq_publish(struct virtq *q)
{
	bool ring = q->packed ? virtq_packed_publish(q) : virtq_split_publish(q);

	if (ring)
		q->dev->ops->notify(q->dev, q->index);
	return ring;
}

static inline int virtq_take(struct virtq *q, uint32_t *len)
{
	return q->packed ? virtq_packed_take(q, len) : virtq_split_take(q, len);
}

/* Asks for an interrupt when something more is used. True: something is used already. */
static inline bool virtq_arm(struct virtq *q)
{
	return q->packed ? virtq_packed_arm(q) : virtq_split_arm(q);
}

/* Asks for none. */
static inline void virtq_disarm(struct virtq *q)
{
	if (q->packed)
		virtq_packed_disarm(q);
	else
		virtq_split_disarm(q);
}

#endif
