/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's state as bytes: a header, a record for each queue, what the device itself adds. What
 * comes back is held to what a driver could have brought about.
 */
#include <string.h>

#include "base/error.h"
#include "base/export.h"
#include "virtio/core.h"

#define MAGIC 0x76626476u /* "vdbv" */
#define VERSION 1u

#define CONFIG_BITS                                                                           \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | \
	 VIRTIO_CONFIG_S_DRIVER_OK)
#define ENDED (VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET)

struct header {
	uint32_t magic, version;
	uint32_t device_id, queues;
	uint64_t accepted;
	uint32_t beyond, generation;
	uint32_t status;
	uint32_t extra; /* bytes behind the queues, the device's own */
};

struct record {
	uint64_t addr[3];
	uint32_t position;
	uint16_t size;
	uint8_t enabled, resume;
};

static size_t fixed_size(const struct vdb_virtio *device)
{
	return sizeof(struct header) + device->config.queues * sizeof(struct record);
}

/* ---- Save ---- */

static int extra_size(struct vdb_virtio *device, size_t *len)
{
	*len = 0;
	return device->ops.save ? device->ops.save(device->ctx, NULL, len) : 0;
}

static void save_fixed(const struct vdb_virtio *device, uint32_t extra, uint8_t *to)
{
	const struct header header = {
	        .magic = MAGIC,
	        .version = VERSION,
	        .device_id = device->ops.device_id,
	        .queues = device->config.queues,
	        .accepted = device->accepted,
	        .beyond = device->beyond,
	        .generation = device->generation,
	        .status = device->status,
	        .extra = extra,
	};

	memcpy(to, &header, sizeof(header));
	to += sizeof(header);
	for (uint32_t i = 0; i < header.queues; i++, to += sizeof(struct record)) {
		const struct vdb__vqueue *q = &device->queues[i];
		struct record record = {.position = q->resume ? q->position : 0,
		                        .size = q->size,
		                        .enabled = q->enabled,
		                        .resume = q->resume};

		memcpy(record.addr, q->addr, sizeof(record.addr));
		memcpy(to, &record, sizeof(record));
	}
}

static int save(struct vdb_virtio *device, uint8_t *buf, size_t *len)
{
	size_t room = *len, extra;
	int rc;

	if (!device->quiesced || device->stopping)
		return vdb__fail(EBUSY, "virtio '%s': quiesce it and wait for its done(), then save",
		                 device->ops.name);
	rc = extra_size(device, &extra);
	if (rc)
		return rc;
	*len = fixed_size(device) + extra;
	if (!buf)
		return 0;
	if (room < *len)
		return vdb__fail(ENOSPC, "virtio '%s': %zu bytes of state, room for %zu", device->ops.name,
		                 *len, room);
	rc = extra ? device->ops.save(device->ctx, buf + fixed_size(device), &extra) : 0;
	if (!rc)
		save_fixed(device, (uint32_t)extra, buf);
	return rc;
}

VDB_EXPORT int vdb_virtio_save(struct vdb_virtio *device, void *buf, size_t *len)
{
	size_t own = *len;
	int rc;

	vdb__virtio_lock(device);
	rc = save(device, buf, &own);
	vdb__virtio_unlock(device);
	if (!rc)
		*len = own;
	return rc;
}

/* ---- Restore ---- */

static int refuse(const struct vdb_virtio *device, const char *what)
{
	return vdb__fail(EINVAL, "virtio '%s': not a state of this device: %s", device->ops.name, what);
}

/* Bits in their order, each only with those before it. */
static bool status_can_be(uint32_t status)
{
	uint32_t steps = status & CONFIG_BITS;

	if (status & ~(uint32_t)(CONFIG_BITS | ENDED))
		return false;
	return steps == 0 || steps == 1 || steps == 3 || steps == 0xb || steps == 0xf;
}

static int check_header(const struct vdb_virtio *device, const struct header *header, size_t len)
{
	if (header->magic != MAGIC || header->version != VERSION)
		return refuse(device, "another format");
	if (header->device_id != device->ops.device_id || header->queues != device->config.queues)
		return refuse(device, "another device, or other queues");
	if (len - fixed_size(device) != header->extra)
		return refuse(device, "its length");
	if (!status_can_be(header->status))
		return refuse(device, "its status");
	return 0;
}

/* Queues that nobody will serve before a reset may be anything. */
static int take_queue(struct vdb__vqueue *q, const struct record *record)
{
	const struct vdb_virtio *device = q->device;

	if (record->enabled > 1 || record->resume > 1 || (!record->resume && record->position))
		return refuse(device, "a queue's flags");
	if (record->enabled && !(device->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return refuse(device, "a queue that is enabled too early");
	memcpy(q->addr, record->addr, sizeof(q->addr));
	q->size = record->size;
	q->position = record->position;
	q->resume = record->resume;
	if (record->enabled && !(device->status & ENDED) && !vdb__vqueue_fits(q))
		return refuse(device, "a queue that cannot be");
	q->enabled = record->enabled;
	return 0;
}

static int take_queues(struct vdb_virtio *device, const uint8_t *from)
{
	struct record record;
	int rc = 0;

	for (uint32_t i = 0; i < device->config.queues && !rc; i++) {
		memcpy(&record, from + i * sizeof(record), sizeof(record));
		rc = take_queue(&device->queues[i], &record);
	}
	return rc;
}

static int take_extra(struct vdb_virtio *device, const uint8_t *from, uint32_t len)
{
	if (device->ops.restore)
		return device->ops.restore(device->ctx, from, len);
	return len ? refuse(device, "it has bytes that this device does not know") : 0;
}

static int take(struct vdb_virtio *device, const struct header *header, const uint8_t *queues)
{
	int rc = 0;

	device->accepted = header->accepted;
	device->beyond = header->beyond;
	device->status = (uint8_t)header->status;
	if (header->status & VIRTIO_CONFIG_S_FEATURES_OK)
		rc = header->beyond ? refuse(device, "its features")
		                    : vdb__virtio_features_fit(device, header->accepted);
	if (!rc)
		rc = take_queues(device, queues);
	if (!rc)
		rc = take_extra(device, queues + device->config.queues * sizeof(struct record),
		                header->extra);
	return rc;
}

/* It was fresh: back to that. */
static void undo(struct vdb_virtio *device)
{
	device->accepted = 0;
	device->beyond = 0;
	device->status = 0;
	for (uint32_t i = 0; i < device->config.queues; i++)
		vdb__vqueue_clear(&device->queues[i]);
	if (device->ops.reset)
		device->ops.reset(device->ctx);
	if (device->remote)
		device->remote->ops->reset(device->remote);
}

static int restore(struct vdb_virtio *device, const uint8_t *buf, size_t len)
{
	struct header header;
	int rc;

	if (device->status || device->stopping || device->resetting)
		return vdb__fail(EBUSY, "virtio '%s': in use; restore into a fresh device", device->ops.name);
	if (len < fixed_size(device))
		return refuse(device, "too short");
	memcpy(&header, buf, sizeof(header));
	rc = check_header(device, &header, len);
	if (rc)
		return rc;
	rc = take(device, &header, buf + sizeof(header));
	if (rc) {
		undo(device);
		return rc;
	}
	device->generation = header.generation;
	device->quiesced = true;
	return 0;
}

VDB_EXPORT int vdb_virtio_restore(struct vdb_virtio *device, const void *buf, size_t len)
{
	int rc;

	vdb__virtio_lock(device);
	rc = restore(device, buf, len);
	vdb__virtio_unlock(device);
	return rc;
}
