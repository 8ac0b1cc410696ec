/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-fs: queue 0 is for what must not wait (FORGET, INTERRUPT), the others are for requests. */
#include <endian.h>
#include <linux/virtio_fs.h>
#include <string.h>
#include <vdb/fs.h>
#include <vdb/vhost_user.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"

#define DEVICE_ID 26u
#define HIPRIO_QUEUES 1u
#define NOTIFICATION 1ull /* a queue more, between these, and a word of config space: not spoken */

static int check(const struct vdb_fs_config *config)
{
	size_t len = config->tag ? strlen(config->tag) : 0;

	if (!len || len > VDB_FS_TAG)
		return vdb__fail(EINVAL, "virtio-fs: a tag of 1 to %u bytes is needed, not %zu", VDB_FS_TAG,
		                 len);
	if (config->request_queues > VDB_VIRTIO_MAX_QUEUES - HIPRIO_QUEUES)
		return vdb__fail(EINVAL, "virtio-fs: %u request queues; at most %u", config->request_queues,
		                 VDB_VIRTIO_MAX_QUEUES - HIPRIO_QUEUES);
	return 0;
}

VDB_EXPORT int vdb_fs_create(const struct vdb_fs_config *config, struct vdb_virtio **out)
{
	struct vdb_vhost_user_config user = {.size = sizeof(user),
	                                     .device_id = DEVICE_ID,
	                                     .name = "virtio-fs",
	                                     .config_len = sizeof(struct virtio_fs_config)};
	struct virtio_fs_config space = {0};
	struct vdb_fs_config own;
	int rc = vdb__config_take(&own, sizeof(own), config, "virtio-fs config");

	if (!rc)
		rc = check(&own);
	if (rc)
		return rc;
	if (!own.request_queues)
		own.request_queues = 1;
	memcpy(space.tag, own.tag, strlen(own.tag));
	space.num_request_queues = htole32(own.request_queues);
	user.at = own.at;
	user.path = own.path;
	user.fd = own.fd;
	user.queues = HIPRIO_QUEUES + own.request_queues;
	user.config = &space;
	user.timeout_ms = own.timeout_ms;
	user.features = ~NOTIFICATION;
	return vdb_vhost_user_create(&user, out);
}
