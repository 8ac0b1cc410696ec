/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that drives the echo device, whatever its transport: what echo_abi.h asks for. */
#ifndef TESTS_ECHO_H
#define TESTS_ECHO_H

#include "echo_abi.h"
#include "runtime.h"
#include "virtq.h"

#define ECHO_TABLES 0x8000u /* indirect tables, from the start of a life's buffers */
#define ECHO_FILL 0xa5a5a5a5a5a5a5a5ull

static struct echo_params *const echo = (struct echo_params *)ECHO_PARAMS;
static struct virtq echo_queue[2];

_Noreturn static inline void echo_end(uint32_t status)
{
	echo->irqs = guest_irqs;
	guest_out32(ECHO_PORT, status);
	__asm__ __volatile__("ud2");
	__builtin_unreachable();
}

/* ---- One life ---- */

static inline void *echo_ring(uint32_t life, uint32_t queue)
{
	return (void *)(uintptr_t)(ECHO_RINGS + (life * 2 + queue) % ECHO_AREAS * ECHO_AREA);
}

static inline uint64_t *echo_buffer(uint32_t life, uint32_t queue, uint32_t i)
{
	return (uint64_t *)(uintptr_t)(ECHO_BUFFERS + (life * 2 + queue) % ECHO_AREAS * ECHO_AREA + i * 16);
}

static inline void *echo_table(uint32_t life, uint32_t queue, uint32_t i)
{
	return (void *)(uintptr_t)(ECHO_BUFFERS + (life * 2 + queue) % ECHO_AREAS * ECHO_AREA + ECHO_TABLES +
	                           i * 32);
}

/* Every other life has the other layout, if both were asked for. */
static inline uint64_t echo_features(uint32_t life)
{
	return life & 1 ? echo->features & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED) : echo->features;
}

static inline void echo_open_queue(const struct virtio *dev, uint32_t life, uint16_t queue)
{
	virtq_init(&echo_queue[queue], dev, queue, (uint16_t)echo->size, echo_ring(life, queue));
	virtq_disarm(&echo_queue[queue]);
	/* The vectors are those of pci: queue interrupts by 1. */
	if (!virtq_enable(&echo_queue[queue], 1))
		echo_end(ECHO_REFUSED);
}

static inline void echo_open(struct virtio *dev, uint32_t life, uint16_t queues)
{
	__atomic_store_n(&echo->life, life + 1, __ATOMIC_RELEASE);
	if (!virtio_negotiate(dev, echo_features(life)))
		echo_end(ECHO_REFUSED);
	echo->negotiated = dev->features;
	for (uint16_t i = 0; i < queues; i++)
		echo_open_queue(dev, life, i);
	if (!virtio_drive(dev))
		echo_end(ECHO_REFUSED);
}

/* ---- Requests: 8 bytes there, 8 back ---- */

static inline void echo_send(struct virtq *q, uint32_t life, uint32_t i, uint64_t value)
{
	uint64_t *buffer = echo_buffer(life, q->index, i);
	struct virtq_buffer chain[2] = {{.addr = (uintptr_t)buffer, .len = 8},
	                                {.addr = (uintptr_t)(buffer + 1), .len = 8, .write = 1}};
	int id;

	buffer[0] = value;
	buffer[1] = 0;
	if (virtio_has(q->dev, VIRTIO_RING_F_INDIRECT_DESC) && i & 1)
		id = virtq_add_indirect(q, chain, 2, echo_table(life, q->index, i));
	else
		id = virtq_add(q, chain, 2);
	if (id < 0)
		echo_end(ECHO_NO_ROOM);
}

static inline int echo_wait(struct virtq *q, uint32_t *len)
{
	uint64_t seen;
	int id;

	while ((id = virtq_take(q, len)) < 0) {
		if (echo->mode != ECHO_IRQ) {
			guest_pause();
			continue;
		}
		seen = guest_irqs;
		if (virtq_arm(q))
			continue;
		guest_wait(seen);
		q->dev->ops->interrupt(q->dev);
		virtq_disarm(q);
	}
	return id;
}

static inline void echo_batch(struct virtq *q, uint32_t life, uint64_t value)
{
	uint32_t len = 0;

	for (uint32_t i = 0; i < echo->batch; i++)
		echo_send(q, life, i, value + i);
	virtq_publish(q);
	for (uint32_t i = 0; i < echo->batch; i++) {
		(void)echo_wait(q, &len);
		if (len != 8)
			echo_end(ECHO_WRONG);
	}
	for (uint32_t i = 0; i < echo->batch; i++) {
		if (echo_buffer(life, q->index, i)[1] != value + i)
			echo_end(ECHO_WRONG);
		echo->done++;
	}
}

static inline void echo_talk(struct virtio *dev)
{
	echo_open(dev, 0, 1);
	for (uint32_t i = 0; i < echo->rounds; i++)
		echo_batch(&echo_queue[0], 0, 1000ull * i + 1);
	virtio_reset(dev);
}

/* ---- Resets ---- */

/* What a queue had is ours again: if a word of it changes from now on, somebody wrote late. */
static inline void echo_seize(uint32_t life, uint32_t queue)
{
	volatile uint64_t *ring = echo_ring(life, queue), *buffer = echo_buffer(life, queue, 0);

	for (uint32_t i = 0; i < ECHO_TABLES / 8; i++)
		ring[i] = buffer[i] = ECHO_FILL;
}

static inline void echo_watch(uint32_t life, uint32_t queue)
{
	const volatile uint64_t *ring = echo_ring(life, queue), *buffer = echo_buffer(life, queue, 0);

	for (uint32_t i = 0; i < ECHO_TABLES / 8; i++)
		echo->touched += ring[i] != ECHO_FILL || buffer[i] != ECHO_FILL;
	if (echo->touched)
		echo_end(ECHO_TOUCHED);
}

static inline void echo_flood(uint32_t life, uint32_t queue)
{
	for (uint32_t i = 0; i < echo->batch; i++)
		echo_send(&echo_queue[queue], life, i, i);
	virtq_publish(&echo_queue[queue]);
	/* Some are taken, some are not: a different number each time. */
	for (uint32_t i = 0; i < life % 16 * 64; i++)
		guest_pause();
}

static inline void echo_resets(struct virtio *dev)
{
	for (uint32_t life = 0; life < echo->rounds; life++) {
		echo_open(dev, life, 2);
		if (life % 8 == 0 && !echo->quiet)
			echo_batch(&echo_queue[1], life, life);
		echo_flood(life, 0);
		echo_flood(life, 1);
		while (__atomic_load_n(&echo->quiet, __ATOMIC_ACQUIRE) == 1)
			guest_pause();
		virtio_reset(dev);
		echo_seize(life, 0);
		echo_seize(life, 1);
		for (uint32_t i = 0; i < echo->spin; i++)
			guest_pause();
		echo_watch(life, 0);
		echo_watch(life, 1);
	}
	echo_open(dev, 1, 1);
	echo_batch(&echo_queue[0], 1, 77);
}

/* Queue 0 has its lives; queue 1 lives all the time. */
static inline void echo_queue_resets(struct virtio *dev)
{
	echo_open(dev, 0, 2);
	for (uint32_t life = 0; life < echo->rounds; life++) {
		echo_flood(life, 0);
		dev->ops->queue_reset(dev, 0);
		echo_seize(life, 0);
		echo_batch(&echo_queue[1], 0, life);
		echo_watch(life, 0);
		echo_open_queue(dev, life + 1, 0);
		echo_batch(&echo_queue[0], life + 1, life);
	}
}

static inline void echo_run(struct virtio *dev)
{
	if (dev->id != ECHO_DEVICE)
		echo_end(ECHO_NOT_FOUND);
	switch (echo->mode) {
	case ECHO_RESETS:
		echo_resets(dev);
		break;
	case ECHO_QUEUE_RESETS:
		echo_queue_resets(dev);
		break;
	default:
		echo_talk(dev);
	}
	echo_end(ECHO_OK);
}

#endif
