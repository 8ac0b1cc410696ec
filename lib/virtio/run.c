/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues while they run: a runner for each one that is enabled on a driven device, from DRIVER_OK (or its
 * enabling after that) until it is reset or stopped.
 */
#include "base/atomic.h"
#include "base/error.h"
#include "virtio/core.h"
#include "virtio/stats.h"

/* ---- Called by runners. The transport stays while there are any. ---- */

void vdb__vqueue_interrupt(void *queue)
{
	struct vdb__vqueue *q = queue;

	q->device->transport->queue_interrupt(q->device->transport_arg, q->index);
}

void vdb__vqueue_broke(void *queue, uint32_t reason)
{
	struct vdb__vqueue *q = queue;

	vdb__virtio_lock(q->device);
	if (q->runs && !q->stopping)
		vdb__virtio_break(q->device, q->index, reason);
	vdb__virtio_unlock(q->device);
}

/* ---- Start ---- */

/* Made while failing is still possible: whoever stops the queue must have something to wait at. */
static int make_gates(struct vdb__vqueue *q)
{
	int rc = q->device->reset_done ? 0 : vdb_gate_create(&q->device->reset_done);

	return rc ? rc : vdb_gate_create(&q->stopped);
}

static int start(struct vdb__vqueue *q)
{
	int rc = make_gates(q);

	if (!rc)
		rc = q->runner->start(q);
	if (!rc)
		return 0;
	vdb_gate_unref(q->stopped);
	q->stopped = NULL;
	return rc;
}

/* It fitted when it was enabled: if it does not now, memory has gone, or the host is short of something. */
static uint32_t reason_of(int rc)
{
	return rc == -EFAULT || rc == -EINVAL ? VDB_REASON_MEMORY : VDB_REASON_HOST;
}

void vdb__vqueue_start(struct vdb__vqueue *q)
{
	struct vdb_virtio *device = q->device;
	int rc;

	if (!q->enabled || q->runs || q->stopping || device->quiesced || device->held || !device->transport ||
	    !vdb__virtio_driven(device))
		return;
	rc = start(q);
	q->runs = !rc;
	if (rc)
		vdb__virtio_break(device, q->index, reason_of(rc));
}

void vdb__virtio_start(struct vdb_virtio *device)
{
	for (uint32_t i = 0; i < device->config.queues; i++)
		vdb__vqueue_start(&device->queues[i]);
}

/* ---- Stop ---- */

void vdb__vqueue_stop(struct vdb__vqueue *q)
{
	if (!q->runs || q->stopping)
		return;
	q->stopping = true;
	q->device->stopping++;
	q->device->due.close |= 1ull << q->index;
	vdb__store(&q->device->finish, (uint32_t)(q->device->quiesced || q->device->held));
}

void vdb__virtio_stop(struct vdb_virtio *device)
{
	for (uint32_t i = 0; i < device->config.queues; i++)
		vdb__vqueue_stop(&device->queues[i]);
}

void vdb__virtio_hold(struct vdb_virtio *device, bool hold)
{
	vdb__virtio_lock(device);
	device->held = hold;
	if (hold)
		vdb__virtio_stop(device);
	else
		vdb__virtio_start(device);
	vdb__virtio_unlock(device);
}

void vdb__vqueue_closed(void *queue)
{
	struct vdb__vqueue *q = queue;
	struct vdb_virtio *device = q->device;
	struct vdb__settled settled;
	struct vdb_lane_stats last = {.size = sizeof(last)};
	struct vdb_gate *gate;

	vdb__virtio_lock(device);
	q->runner->stats(q, &last);
	vdb__stats_add(&q->past, &last);
	q->runs = false;
	vdb__virtio_unlock(device);
	/* Before anybody hears of it: leaves the position. */
	q->runner->drop(q);
	vdb__virtio_lock(device);
	gate = q->stopped;
	q->stopped = NULL;
	q->stopping = false;
	q->resume = true;
	if (q->resetting)
		vdb__vqueue_clear(q);
	device->stopping--;
	settled = vdb__virtio_settle(device);
	/* Held, and let go since: nothing else leaves a queue that has stopped where it may run. */
	if (!device->doomed)
		vdb__vqueue_start(q);
	vdb__virtio_unlock(device);
	vdb_gate_open(gate, 0);
	vdb_gate_unref(gate);
	vdb__virtio_tell(device, &settled);
}
