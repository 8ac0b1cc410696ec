/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/ready.h"

#include <stdio.h>

#include "base/config.h"
#include "base/error.h"

int vdb__virtio_at(struct vdb_virtio_config *own, const struct vdb_virtio_config *at, const char *device)
{
	char what[64];
	int rc;

	if (!at)
		return vdb__fail(EINVAL, "%s: `at` must be given", device);
	snprintf(what, sizeof(what), "%s: `at`", device);
	rc = vdb__config_take(own, sizeof(*own), at, what);
	if (rc)
		return rc;
	if (own->features || own->queues || own->max_segments || own->config_len || own->together)
		return vdb__fail(EINVAL,
		                 "%s: features, queues, max_segments, config_len and together of `at` are "
		                 "the device's own; leave them 0",
		                 device);
	return 0;
}
