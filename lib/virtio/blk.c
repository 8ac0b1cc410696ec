/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk as a device: made, and told of a resize. */
#include "virtio/blk.h"

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "virtio/device.h"
#include "virtio/ready.h"

static void fill(const struct vdb__blk *blk, struct vdb_virtio_config *at)
{
	at->features = blk->offered;
	at->queues = blk->queues;
	at->max_segments = blk->seg_max + VDB__BLK_FRAME;
	at->config_len = VDB__BLK_CONFIG;
}

VDB_EXPORT int vdb_blk_create(const struct vdb_blk_config *config, struct vdb_virtio **out)
{
	struct vdb_virtio_config at;
	struct vdb_blk_config own;
	struct vdb__blk *blk;
	int rc = vdb__config_take(&own, sizeof(own), config, "blk config");

	if (!rc)
		rc = vdb__virtio_at(&at, own.at, "blk");
	if (rc)
		return rc;
	own.at = &at;
	rc = vdb__blk_make(&own, &blk);
	if (rc)
		return rc;
	fill(blk, &at);
	rc = vdb__virtio_create(&vdb__blk_ops, &vdb__blk_framing, blk, &at, out);
	if (rc)
		vdb__blk_free(blk);
	return rc;
}

/* Capacity is read where it is: the device sees that its config space is another. */
VDB_EXPORT int vdb_blk_resized(struct vdb_virtio *device)
{
	if (!vdb__virtio_ctx(device, &vdb__blk_ops))
		return -EINVAL;
	vdb_virtio_config_changed(device);
	return 0;
}
