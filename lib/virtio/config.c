/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config space (virtio 1.2, 2.5). The generation changes at the latest when the driver asks for it and
 * the content is no longer what it was when it last asked: so two reads of the same generation have
 * one content between them, whenever the device changed it and however late it tells.
 */
#include <string.h>

#include "base/atomic.h"
#include "base/export.h"
#include "virtio/core.h"

void vdb__virtio_notice(struct vdb_virtio *device)
{
	if (device->status & VIRTIO_CONFIG_S_DRIVER_OK && device->transport && !device->resetting)
		device->due.interrupt = true;
}

static void changed(struct vdb_virtio *device)
{
	device->generation++;
	vdb__virtio_notice(device);
}

VDB_EXPORT void vdb_virtio_config_changed(struct vdb_virtio *device)
{
	/* From one of the device's ops: the lock is ours already, and its holder does what is due. */
	if (pthread_equal(vdb__load(&device->owner), pthread_self())) {
		changed(device);
		return;
	}
	vdb__virtio_lock(device);
	changed(device);
	vdb__virtio_unlock(device);
}

static bool inside(const struct vdb_virtio *device, uint64_t offset, uint32_t len)
{
	uint32_t all = device->config.config_len;

	return (len == 1 || len == 2 || len == 4 || len == 8) && len <= all && offset <= all - len;
}

void vdb__virtio_config_read(struct vdb_virtio *device, uint64_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
	if (!device->ops.config_read || !inside(device, offset, len))
		return;
	vdb__virtio_lock(device);
	device->ops.config_read(device->ctx, (uint32_t)offset, data, len);
	vdb__virtio_unlock(device);
}

void vdb__virtio_config_write(struct vdb_virtio *device, uint64_t offset, const void *data, uint32_t len)
{
	if (!device->ops.config_write || !inside(device, offset, len))
		return;
	vdb__virtio_lock(device);
	device->ops.config_write(device->ctx, (uint32_t)offset, data, len);
	vdb__virtio_unlock(device);
}

/* In the pieces that a driver would use. */
static void look(struct vdb_virtio *device, uint8_t *to)
{
	uint32_t all = device->config.config_len, len;

	for (uint32_t at = 0; at < all; at += len) {
		len = all - at >= 8 ? 8 : all - at >= 4 ? 4 : 1;
		device->ops.config_read(device->ctx, at, to + at, len);
	}
}

static bool has_changed(struct vdb_virtio *device)
{
	uint8_t *now = device->scratch;

	look(device, now);
	if (memcmp(now, device->shown, device->config.config_len) == 0)
		return false;
	device->scratch = device->shown;
	device->shown = now;
	return true;
}

uint8_t vdb__virtio_generation(struct vdb_virtio *device)
{
	uint8_t generation;

	vdb__virtio_lock(device);
	if (device->ops.config_read && device->config.config_len && has_changed(device))
		device->generation++;
	generation = (uint8_t)device->generation;
	vdb__virtio_unlock(device);
	return generation;
}
