/* SPDX-License-Identifier: Apache-2.0 */
/* The device's lock, and what is done when it is let go. */
#include "base/atomic.h"
#include "io/lane.h"
#include "virtio/core.h"

void vdb__virtio_lock(struct vdb_virtio *device)
{
	pthread_mutex_lock(&device->lock);
	vdb__store(&device->owner, pthread_self());
}

static void raise_config(struct vdb_virtio *device)
{
	device->transport->config_interrupt(device->transport_arg);
	pthread_mutex_lock(&device->lock);
	if (!--device->raising)
		pthread_cond_broadcast(&device->raised);
	pthread_mutex_unlock(&device->lock);
}

/* A lane's end may be told at once, by closed(), and be the device's end too: last. */
static void close_lanes(struct vdb_virtio *device, uint64_t which, bool finish)
{
	while (which) {
		struct vdb__vqueue *q = &device->queues[__builtin_ctzll(which)];

		which &= which - 1;
		vdb__lane_close(q->lane, finish, vdb__vqueue_closed, q);
	}
}

void vdb__virtio_unlock(struct vdb_virtio *device)
{
	struct vdb__due due = device->due;

	device->due = (struct vdb__due){0};
	/* Keeps the transport while it is called, see vdb__virtio_detach(). */
	if (due.interrupt)
		device->raising++;
	vdb__store(&device->owner, (pthread_t)0);
	pthread_mutex_unlock(&device->lock);
	if (due.report && device->config.broken)
		device->config.broken(device->config.broken_arg, due.queue, due.reason);
	if (due.interrupt)
		raise_config(device);
	close_lanes(device, due.close, due.finish);
}
