/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue registers (virtio 1.2, 4.1.4.3 and 4.2.2): what the driver sets up, and its check
 * when the driver enables it; from then on it is frozen. The check makes the virtqueue and drops it again.
 */
#include "virtio/core.h"

struct vdb__vqueue *vdb__virtio_queue(struct vdb_virtio *device, uint32_t queue)
{
	return queue < device->config.queues ? &device->queues[queue] : NULL;
}

void vdb__vqueue_clear(struct vdb__vqueue *q)
{
	q->size = (uint16_t)q->device->config.queue_size;
	q->enabled = q->resetting = q->resume = false;
	q->position = 0;
	for (unsigned i = 0; i < 3; i++)
		q->addr[i] = 0;
}

/* ---- The virtqueue behind it ---- */

static uint32_t ring_flags(uint64_t features)
{
	uint32_t flags = 0;

	if (features & VDB__BIT(VIRTIO_F_RING_PACKED))
		flags |= VDB_VIRTQ_PACKED;
	if (features & VDB__BIT(VIRTIO_RING_F_EVENT_IDX))
		flags |= VDB_VIRTQ_EVENT_IDX;
	if (features & VDB__BIT(VIRTIO_RING_F_INDIRECT_DESC))
		flags |= VDB_VIRTQ_INDIRECT;
	if (features & VDB__BIT(VIRTIO_F_IN_ORDER))
		flags |= VDB_VIRTQ_IN_ORDER;
	return flags;
}

int vdb__vqueue_make(struct vdb__vqueue *q, uint32_t *left_at, struct vdb_queue **out)
{
	const struct vdb_virtio *device = q->device;
	const struct vdb_virtq_config config = {
	        .size = sizeof(config),
	        .flags = ring_flags(device->accepted) | (q->resume ? VDB_VIRTQ_RESUME : 0),
	        .entries = q->size,
	        .max_segments = device->config.max_segments,
	        .position = q->resume ? q->position : 0,
	        .desc = q->addr[VDB__QUEUE_DESC],
	        .driver = q->addr[VDB__QUEUE_DRIVER],
	        .device = q->addr[VDB__QUEUE_DEVICE],
	        .left_at = left_at,
	};

	return vdb__virtq_create(device->config.mem, &config, device->framing, device->ctx, out);
}

bool vdb__vqueue_fits(struct vdb__vqueue *q)
{
	struct vdb_queue *queue;

	if (!q->size || q->size > q->device->config.queue_size || vdb__vqueue_make(q, NULL, &queue))
		return false;
	vdb_queue_destroy(queue);
	return true;
}

/* ---- Registers ---- */

uint16_t vdb__virtio_queue_max(struct vdb_virtio *device, uint32_t queue)
{
	return vdb__virtio_queue(device, queue) ? (uint16_t)device->config.queue_size : 0;
}

uint16_t vdb__virtio_queue_size(struct vdb_virtio *device, uint32_t queue)
{
	const struct vdb__vqueue *q = vdb__virtio_queue(device, queue);
	uint16_t size;

	if (!q)
		return 0;
	vdb__virtio_lock(device);
	size = q->size;
	vdb__virtio_unlock(device);
	return size;
}

uint64_t vdb__virtio_queue_addr(struct vdb_virtio *device, uint32_t queue, enum vdb__queue_area area)
{
	const struct vdb__vqueue *q = vdb__virtio_queue(device, queue);
	uint64_t addr;

	if (!q)
		return 0;
	vdb__virtio_lock(device);
	addr = q->addr[area];
	vdb__virtio_unlock(device);
	return addr;
}

static bool read_flag(struct vdb_virtio *device, const bool *flag)
{
	bool value;

	vdb__virtio_lock(device);
	value = *flag;
	vdb__virtio_unlock(device);
	return value;
}

bool vdb__virtio_queue_enabled(struct vdb_virtio *device, uint32_t queue)
{
	const struct vdb__vqueue *q = vdb__virtio_queue(device, queue);

	return q && read_flag(device, &q->enabled);
}

bool vdb__virtio_queue_in_reset(struct vdb_virtio *device, uint32_t queue)
{
	const struct vdb__vqueue *q = vdb__virtio_queue(device, queue);

	return q && read_flag(device, &q->resetting);
}

/* Locked: the driver may set the queue up. */
static bool is_open(const struct vdb__vqueue *q)
{
	const struct vdb_virtio *device = q->device;

	return !q->enabled && !device->resetting &&
	       !(device->status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED));
}

void vdb__virtio_queue_set_size(struct vdb_virtio *device, uint32_t queue, uint16_t size)
{
	struct vdb__vqueue *q = vdb__virtio_queue(device, queue);

	if (!q)
		return;
	vdb__virtio_lock(device);
	if (is_open(q))
		q->size = size;
	vdb__virtio_unlock(device);
}

void vdb__virtio_queue_set_addr(struct vdb_virtio *device, uint32_t queue, enum vdb__queue_area area,
                                uint32_t half, uint32_t value)
{
	struct vdb__vqueue *q = vdb__virtio_queue(device, queue);

	if (!q)
		return;
	vdb__virtio_lock(device);
	if (is_open(q) && half)
		q->addr[area] = (uint32_t)q->addr[area] | (uint64_t)value << 32;
	else if (is_open(q))
		q->addr[area] = (q->addr[area] & ~(uint64_t)UINT32_MAX) | value;
	vdb__virtio_unlock(device);
}

/* Not before FEATURES_OK: whether the rings are right depends on what was negotiated. */
void vdb__virtio_queue_enable(struct vdb_virtio *device, uint32_t queue)
{
	struct vdb__vqueue *q = vdb__virtio_queue(device, queue);

	if (!q)
		return;
	vdb__virtio_lock(device);
	if (is_open(q) && device->status & VIRTIO_CONFIG_S_FEATURES_OK && vdb__vqueue_fits(q)) {
		q->enabled = true;
		vdb__vqueue_start(q);
	}
	vdb__virtio_unlock(device);
}

/* One of a device that is being reset goes with it. */
void vdb__virtio_queue_reset(struct vdb_virtio *device, uint32_t queue, struct vdb_gate **wait)
{
	struct vdb__vqueue *q = vdb__virtio_queue(device, queue);
	struct vdb_gate *gate = NULL;

	if (q) {
		vdb__virtio_lock(device);
		vdb__vqueue_stop(q);
		q->resetting = q->stopping;
		if (q->stopping)
			gate = vdb_gate_ref(q->stopped);
		else
			vdb__vqueue_clear(q);
		vdb__virtio_unlock(device);
	}
	if (wait)
		*wait = gate;
	else
		vdb_gate_unref(gate);
}
