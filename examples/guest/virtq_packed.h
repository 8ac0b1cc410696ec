/* SPDX-License-Identifier: Apache-2.0 */
/* Packed virtqueues (virtio 1.2, 2.8), the driver's side; see virtq.h. */
#ifndef EXAMPLES_GUEST_VIRTQ_PACKED_H
#define EXAMPLES_GUEST_VIRTQ_PACKED_H

#include <linux/virtio_ring.h>

#include "virtq_state.h"

#define VIRTQ_PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define VIRTQ_PACKED_USED (1u << VRING_PACKED_DESC_F_USED)

static inline struct vring_packed_desc *virtq_ring(const struct virtq *q)
{
	return (struct vring_packed_desc *)(void *)q->desc;
}

static inline struct vring_packed_desc_event *virtq_packed_event(uint8_t *area)
{
	return (struct vring_packed_desc_event *)(void *)area;
}

/* AVAIL is the wrap counter, USED its opposite (2.8.1). */
static inline uint16_t virtq_packed_marks(bool wrap)
{
	return (uint16_t)(wrap ? VIRTQ_PACKED_AVAIL : VIRTQ_PACKED_USED);
}

/* Takes the next id; it becomes known when its first descriptor does. */
static inline uint16_t virtq_packed_id(struct virtq *q, uint16_t count)
{
	uint16_t id = q->head;

	q->head = q->next[id];
	q->used[id] = count;
	q->free = (uint16_t)(q->free - count);
	return id;
}

static inline void virtq_packed_place(struct virtq *q, uint64_t addr, uint32_t len, uint16_t id,
                                      uint16_t flags, bool first)
{
	struct vring_packed_desc *desc = &virtq_ring(q)[q->avail];

	flags |= virtq_packed_marks(q->avail_wrap);
	desc->addr = addr;
	desc->len = len;
	desc->id = id;
	if (!first)
		desc->flags = flags;
	if (++q->avail == q->size) {
		q->avail = 0;
		q->avail_wrap = !q->avail_wrap;
	}
	q->added++;
}

static inline uint16_t virtq_packed_flags(const struct virtq_buffer *buffer, bool more)
{
	return (uint16_t)((buffer->write ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0));
}

/* The first descriptor's flags make the whole chain available: last, and released. */
static inline void virtq_packed_open(struct virtq *q, uint16_t at, bool wrap, uint16_t flags)
{
	__atomic_store_n(&virtq_ring(q)[at].flags, (uint16_t)(flags | virtq_packed_marks(wrap)),
	                 __ATOMIC_RELEASE);
}

static inline int virtq_packed_add(struct virtq *q, const struct virtq_buffer *buffers, uint16_t n)
{
	uint16_t id = virtq_packed_id(q, n), at = q->avail;
	bool wrap = q->avail_wrap;

	for (uint16_t i = 0; i < n; i++)
		virtq_packed_place(q, buffers[i].addr, buffers[i].len, id,
		                   virtq_packed_flags(&buffers[i], i + 1 < n), i == 0);
	virtq_packed_open(q, at, wrap, virtq_packed_flags(&buffers[0], n > 1));
	return id;
}

static inline int virtq_packed_indirect(struct virtq *q, const struct virtq_buffer *buffers, uint16_t n,
                                        void *memory)
{
	struct vring_packed_desc *table = memory;
	uint16_t id = virtq_packed_id(q, 1), at = q->avail;
	bool wrap = q->avail_wrap;

	for (uint16_t i = 0; i < n; i++) {
		table[i].addr = buffers[i].addr;
		table[i].len = buffers[i].len;
		table[i].id = 0;
		table[i].flags = buffers[i].write ? VRING_DESC_F_WRITE : 0;
	}
	virtq_packed_place(q, (uintptr_t)memory, (uint32_t)sizeof(*table) * n, id, 0, true);
	virtq_packed_open(q, at, wrap, VRING_DESC_F_INDIRECT);
	return id;
}

/* True if the place that the device named lies among the last `added` ones (2.8.10). */
static inline bool virtq_packed_passed(const struct virtq *q, uint16_t off_wrap, uint16_t added)
{
	uint16_t event = off_wrap & 0x7fff;

	if ((bool)(off_wrap >> 15) != q->avail_wrap)
		event = (uint16_t)(event - q->size);
	return vring_need_event(event, q->avail, (uint16_t)(q->avail - added));
}

static inline bool virtq_packed_publish(struct virtq *q)
{
	const struct vring_packed_desc_event *event = virtq_packed_event(q->device);
	uint16_t added = q->added, flags;

	q->added = 0;
	if (!added)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* the descriptors before what the device asks for */
	flags = __atomic_load_n(&event->flags, __ATOMIC_ACQUIRE);
	if (flags == VRING_PACKED_EVENT_FLAG_DESC && q->event_idx)
		return virtq_packed_passed(q, __atomic_load_n(&event->off_wrap, __ATOMIC_RELAXED), added);
	return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
}

static inline bool virtq_packed_pending(const struct virtq *q)
{
	uint16_t flags = __atomic_load_n(&virtq_ring(q)[q->last].flags, __ATOMIC_ACQUIRE);
	bool avail = flags & VIRTQ_PACKED_AVAIL, used = flags & VIRTQ_PACKED_USED;

	return avail == used && used == q->used_wrap;
}

static inline int virtq_packed_take(struct virtq *q, uint32_t *len)
{
	uint16_t id;

	if (!virtq_packed_pending(q))
		return -1;
	id = virtq_ring(q)[q->last].id;
	*len = virtq_ring(q)[q->last].len;
	q->last = (uint16_t)(q->last + q->used[id]);
	if (q->last >= q->size) {
		q->last = (uint16_t)(q->last - q->size);
		q->used_wrap = !q->used_wrap;
	}
	q->free = (uint16_t)(q->free + q->used[id]);
	q->next[id] = q->head;
	q->head = id;
	return id;
}

static inline bool virtq_packed_arm(struct virtq *q)
{
	struct vring_packed_desc_event *event = virtq_packed_event(q->driver);
	uint16_t flags = q->event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;

	__atomic_store_n(&event->off_wrap, (uint16_t)(q->last | (unsigned)q->used_wrap << 15),
	                 __ATOMIC_RELAXED);
	__atomic_store_n(&event->flags, flags, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* the wish before the look */
	return virtq_packed_pending(q);
}

static inline void virtq_packed_disarm(struct virtq *q)
{
	__atomic_store_n(&virtq_packed_event(q->driver)->flags, VRING_PACKED_EVENT_FLAG_DISABLE,
	                 __ATOMIC_RELAXED);
}

#endif
