/* SPDX-License-Identifier: Apache-2.0 */
/* Feature bits (virtio 1.2, 2.2): offered, asked for, accepted. */
#include "base/error.h"
#include "virtio/core.h"

uint64_t vdb__virtio_offer(const struct vdb_virtio_config *config)
{
	uint64_t offer = config->features | VDB__BIT(VIRTIO_F_VERSION_1);

	if (!(config->flags & VDB_VIRTIO_NO_PACKED))
		offer |= VDB__BIT(VIRTIO_F_RING_PACKED);
	if (!(config->flags & VDB_VIRTIO_NO_EVENT_IDX))
		offer |= VDB__BIT(VIRTIO_RING_F_EVENT_IDX);
	if (!(config->flags & VDB_VIRTIO_NO_INDIRECT))
		offer |= VDB__BIT(VIRTIO_RING_F_INDIRECT_DESC);
	if (!(config->flags & VDB_VIRTIO_NO_RING_RESET))
		offer |= VDB__BIT(VDB__FEATURE_RING_RESET);
	if (config->flags & VDB_VIRTIO_IN_ORDER)
		offer |= VDB__BIT(VIRTIO_F_IN_ORDER);
	return offer;
}

int vdb__virtio_features_fit(struct vdb_virtio *device, uint64_t features)
{
	if (features & ~device->offered)
		return vdb__fail(EINVAL, "virtio '%s': features %#llx were not offered", device->ops.name,
		                 (unsigned long long)(features & ~device->offered));
	/* There is no legacy interface behind which a driver could do without (6.1). */
	if (!(features & VDB__BIT(VIRTIO_F_VERSION_1)))
		return vdb__fail(EINVAL, "virtio '%s': VERSION_1 is missing", device->ops.name);
	return device->ops.negotiate ? device->ops.negotiate(device->ctx, features) : 0;
}

static uint32_t half(uint64_t features, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(features >> 32 * select);
}

uint32_t vdb__virtio_device_features(struct vdb_virtio *device, uint32_t select)
{
	return half(device->offered, select);
}

uint32_t vdb__virtio_driver_features(struct vdb_virtio *device, uint32_t select)
{
	uint64_t features;

	vdb__virtio_lock(device);
	features = device->accepted;
	vdb__virtio_unlock(device);
	return half(features, select);
}

bool vdb__virtio_accepted(struct vdb_virtio *device, uint32_t feature)
{
	bool accepted;

	vdb__virtio_lock(device);
	accepted = device->status & VIRTIO_CONFIG_S_FEATURES_OK && device->accepted & VDB__BIT(feature);
	vdb__virtio_unlock(device);
	return accepted;
}

/* What is wrong with them is said by FEATURES_OK, which is not set then. Bits of a select beyond ours are
 * remembered, too: they were not offered. */
void vdb__virtio_accept(struct vdb_virtio *device, uint32_t select, uint32_t features)
{
	vdb__virtio_lock(device);
	if (device->status & VIRTIO_CONFIG_S_FEATURES_OK || device->resetting)
		;
	else if (select > 1)
		device->beyond |= features;
	else if (select)
		device->accepted = (uint32_t)device->accepted | (uint64_t)features << 32;
	else
		device->accepted = (device->accepted & ~(uint64_t)UINT32_MAX) | features;
	vdb__virtio_unlock(device);
}
