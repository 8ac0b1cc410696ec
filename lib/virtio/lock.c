/* SPDX-License-Identifier: Apache-2.0 */
/* The device's lock, and what is done when it is let go. */
#include "base/atomic.h"
#include "virtio/core.h"

void vdb__virtio_lock(struct vdb_virtio *device)
{
	pthread_mutex_lock(&device->lock);
	vdb__store(&device->owner, pthread_self());
}

void vdb__virtio_wait(struct vdb_virtio *device)
{
	pthread_cond_wait(&device->told, &device->lock);
	vdb__store(&device->owner, pthread_self());
}

static void count_off(struct vdb_virtio *device, uint32_t *word)
{
	pthread_mutex_lock(&device->lock);
	if (!--*word)
		pthread_cond_broadcast(&device->told);
	pthread_mutex_unlock(&device->lock);
}

/* A runner's end may be told at once, and be the device's end too: last. */
static void close_runners(struct vdb_virtio *device, uint64_t which)
{
	while (which) {
		struct vdb__vqueue *q = &device->queues[__builtin_ctzll(which)];

		which &= which - 1;
		q->runner->close(q);
	}
}

void vdb__virtio_unlock(struct vdb_virtio *device)
{
	struct vdb__due due = device->due;

	device->due = (struct vdb__due){0};
	/* Who resets the device waits for the one, the transport's end for both. */
	device->raising += due.interrupt;
	device->telling += due.report;
	vdb__store(&device->owner, (pthread_t)0);
	pthread_mutex_unlock(&device->lock);
	if (due.interrupt) {
		device->transport->config_interrupt(device->transport_arg);
		count_off(device, &device->raising);
	}
	if (due.report) {
		if (device->config.broken)
			device->config.broken(device->config.broken_arg, due.queue, due.reason);
		count_off(device, &device->telling);
	}
	close_runners(device, due.close);
}
