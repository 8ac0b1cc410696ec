/* SPDX-License-Identifier: Apache-2.0 */
/* What the library's own devices have in common. */
#ifndef VDB_VIRTIO_READY_H
#define VDB_VIRTIO_READY_H

#include <vdb/virtio.h>

/* Takes the embedder's part of the config; the device's own (features, queues, max_segments, config_len)
 * must be 0 in it, and are to be filled in. */
int vdb__virtio_at(struct vdb_virtio_config *own, const struct vdb_virtio_config *at, const char *device);

#endif
