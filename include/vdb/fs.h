/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-fs (virtio 1.2, 5.11): a folder of the host, mounted in the guest by its tag (Linux: mount -t
 * virtiofs TAG /mnt). The file system is served by virtiofsd, to whose socket this connects: vdb/vhost_user.h
 * says what that asks of guest memory, and what happens when virtiofsd goes. It does not come back: it
 * forgets what the guest has open.
 */
#ifndef VDB_FS_H
#define VDB_FS_H

#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VDB_FS_TAG 36u /* bytes of a tag at most */

struct vdb_fs_config {
	uint32_t size;
	uint32_t request_queues; /* 0 = 1; the virtiofsd of Debian 12 has no more */
	/* mem, loop or loops, tenants, flags, queue_size, broken; the rest 0. Debian's virtiofsd wants queues
	 * of at most 1024. */
	const struct vdb_virtio_config *at;
	const char *tag;     /* 1 to 36 bytes; what the guest mounts */
	const char *path;    /* virtiofsd's socket (its --socket-path) */
	int32_t fd;          /* or a connected socket, duplicated; 0 = none */
	uint32_t timeout_ms; /* as in struct vdb_vhost_user_config */
};

/* As vdb_vhost_user_create(); -EINVAL: no tag, or too long. vdb_vhost_user_query() works for it. */
VDB_MUST_CHECK int vdb_fs_create(const struct vdb_fs_config *config, struct vdb_virtio **out);

#ifdef __cplusplus
}
#endif
#endif
