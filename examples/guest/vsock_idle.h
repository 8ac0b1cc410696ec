/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-vsock device (virtio 1.2, 5.10) whose driver waits: it has given buffers to receive into and for
 * events, wants to be told of their use, and has nothing to say.
 */
#ifndef EXAMPLES_GUEST_VSOCK_IDLE_H
#define EXAMPLES_GUEST_VSOCK_IDLE_H

#include "virtq.h"

#define VSOCK_IDLE_QUEUES 3u /* receive, transmit, events */
#define VSOCK_IDLE_SIZE 16u
#define VSOCK_IDLE_BUFFER 4096u
#define VSOCK_IDLE_BYTES (VSOCK_IDLE_QUEUES * (VSOCK_IDLE_SIZE + 1) * VSOCK_IDLE_BUFFER)

static struct virtq vsock_idle_queues[VSOCK_IDLE_QUEUES];

static inline bool vsock_idle_queue(const struct virtio *dev, uint16_t index, uint8_t *memory)
{
	struct virtq *q = &vsock_idle_queues[index];

	virtq_init(q, dev, index, VSOCK_IDLE_SIZE, memory);
	if (!virtq_enable(q, VIRTIO_NO_VECTOR))
		return false;
	for (uint32_t i = 1; index != 1 && i <= VSOCK_IDLE_SIZE; i++) {
		const struct virtq_buffer buffer = {.addr = (uintptr_t)memory + i * VSOCK_IDLE_BUFFER,
		                                    .len = VSOCK_IDLE_BUFFER,
		                                    .write = 1};

		(void)virtq_add(q, &buffer, 1);
	}
	(void)virtq_arm(q);
	return true;
}

/* `dev` was found; `memory`: VSOCK_IDLE_BYTES, page-aligned. False: the device does not go on. */
static inline bool vsock_idle_open(struct virtio *dev, uint8_t *memory)
{
	if (!virtio_negotiate(dev, VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)))
		return false;
	for (uint16_t i = 0; i < VSOCK_IDLE_QUEUES; i++)
		if (!vsock_idle_queue(dev, i, memory + i * (VSOCK_IDLE_SIZE + 1) * VSOCK_IDLE_BUFFER))
			return false;
	if (!virtio_drive(dev))
		return false;
	(void)virtq_publish(&vsock_idle_queues[0]);
	(void)virtq_publish(&vsock_idle_queues[2]);
	return true;
}

#endif
