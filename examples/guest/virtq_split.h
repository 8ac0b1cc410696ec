/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues (virtio 1.2, 2.7), the driver's side; see virtq.h. */
#ifndef EXAMPLES_GUEST_VIRTQ_SPLIT_H
#define EXAMPLES_GUEST_VIRTQ_SPLIT_H

#include <linux/virtio_ring.h>

#include "virtq_state.h"

static inline struct vring_avail *virtq_avail(const struct virtq *q)
{
	return (struct vring_avail *)(void *)q->driver;
}

static inline struct vring_used *virtq_used(const struct virtq *q)
{
	return (struct vring_used *)(void *)q->device;
}

/* used_event, behind the avail ring; avail_event, behind the used ring. */
static inline uint16_t *virtq_used_event(const struct virtq *q)
{
	return &virtq_avail(q)->ring[q->size];
}

static inline uint16_t *virtq_avail_event(const struct virtq *q)
{
	return (uint16_t *)(void *)&virtq_used(q)->ring[q->size];
}

static inline void virtq_split_fill(struct vring_desc *desc, const struct virtq_buffer *buffer, bool more)
{
	desc->addr = buffer->addr;
	desc->len = buffer->len;
	desc->flags = (uint16_t)((buffer->write ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0));
}

static inline int virtq_split_offer(struct virtq *q, uint16_t head, uint16_t count)
{
	virtq_avail(q)->ring[(uint16_t)(q->avail + q->added) % q->size] = head;
	q->added++;
	q->used[head] = count;
	q->free = (uint16_t)(q->free - count);
	return head;
}

static inline int virtq_split_add(struct virtq *q, const struct virtq_buffer *buffers, uint16_t n)
{
	struct vring_desc *table = (struct vring_desc *)(void *)q->desc;
	uint16_t head = q->head, at = head;

	for (uint16_t i = 0; i < n; i++) {
		at = q->head;
		q->head = q->next[at];
		virtq_split_fill(&table[at], &buffers[i], i + 1 < n);
		table[at].next = i + 1 < n ? q->next[at] : 0;
	}
	return virtq_split_offer(q, head, n);
}

static inline int virtq_split_indirect(struct virtq *q, const struct virtq_buffer *buffers, uint16_t n,
                                       void *memory)
{
	struct vring_desc *desc = (struct vring_desc *)(void *)q->desc + q->head, *table = memory;
	uint16_t head = q->head;

	for (uint16_t i = 0; i < n; i++) {
		virtq_split_fill(&table[i], &buffers[i], i + 1 < n);
		table[i].next = (uint16_t)(i + 1);
	}
	desc->addr = (uintptr_t)memory;
	desc->len = (uint32_t)sizeof(*table) * n;
	desc->flags = VRING_DESC_F_INDIRECT;
	q->head = q->next[head];
	return virtq_split_offer(q, head, 1);
}

static inline bool virtq_split_publish(struct virtq *q)
{
	uint16_t old = q->avail;

	q->avail = (uint16_t)(old + q->added);
	q->added = 0;
	__atomic_store_n(&virtq_avail(q)->idx, q->avail, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* the index before what the device asks for */
	if (q->avail == old)
		return false;
	if (q->event_idx)
		return vring_need_event(__atomic_load_n(virtq_avail_event(q), __ATOMIC_RELAXED), q->avail,
		                        old);
	return !(__atomic_load_n(&virtq_used(q)->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
}

static inline bool virtq_split_pending(const struct virtq *q)
{
	return __atomic_load_n(&virtq_used(q)->idx, __ATOMIC_ACQUIRE) != q->last;
}

static inline int virtq_split_take(struct virtq *q, uint32_t *len)
{
	const struct vring_used_elem *elem;
	uint16_t id, last;

	if (!virtq_split_pending(q))
		return -1;
	elem = &virtq_used(q)->ring[q->last % q->size];
	id = (uint16_t)elem->id;
	*len = elem->len;
	q->last++;
	/* The chain's descriptors are still linked in `next`. */
	last = id;
	for (uint16_t i = 1; i < q->used[id]; i++)
		last = q->next[last];
	q->next[last] = q->head;
	q->head = id;
	q->free = (uint16_t)(q->free + q->used[id]);
	return id;
}

static inline bool virtq_split_arm(struct virtq *q)
{
	__atomic_store_n(&virtq_avail(q)->flags, 0, __ATOMIC_RELAXED);
	__atomic_store_n(virtq_used_event(q), q->last, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* the wish before the look */
	return virtq_split_pending(q);
}

/* With an event index it means: not for the next 32768, so a driver that polls says it again now and then.
 * Nearer behind, at q->last - 1, the device would find it if it published that one, and we took it, before it
 * looked. */
static inline void virtq_split_disarm(struct virtq *q)
{
	__atomic_store_n(&virtq_avail(q)->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
	__atomic_store_n(virtq_used_event(q), (uint16_t)(q->last + 0x8000u), __ATOMIC_RELAXED);
}

#endif
