/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device of any type whose queues another process serves: the front end of vhost-user (the back end
 * is virtiofsd, qemu-storage-daemon, SPDK, DPDK, ...). The guest's doorbells go to that process directly, and
 * its interrupts come back through an eventfd and the device's loop; no request passes here.
 *
 * Guest memory must be shared: every region that a device may write is VDB_MEM_MEMFD, or VDB_MEM_FD without
 * VDB_REGION_PRIVATE, at most 8 of them. Others are refused, when the device is made and by vdb_mem_add()
 * later on. Read-only regions are not shown to the back end. Memory may be added and removed while the device
 * runs; a removal is done when the back end has let go. A back end can read and write all of it: it is
 * trusted with the guest, not with this process. What it writes does not appear in dirty bitmaps.
 *
 * Each device has a thread of its own, named "vdb-vhost", for what is said to the back end: no loop waits for
 * that. A back end that dies, breaks the protocol, or does not answer within `timeout_ms` is lost: the guest
 * finds DEVICE_NEEDS_RESET. With reconnect_ms the next one that listens at `path` takes over at the driver's
 * reset; at once, and without the guest's notice, if the lost one kept its requests in a shared table
 * (VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) and the rings are split ones. A reset of a device whose back end
 * does not answer takes up to timeout_ms.
 */
#ifndef VDB_VHOST_USER_H
#define VDB_VHOST_USER_H

#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_vhost_user_config {
	uint32_t size;
	uint32_t device_id; /* virtio 1.2, 5 */
	/* mem, loop or loops, tenants, flags, queue_size, broken; the rest 0. limit must be NULL: what is
	 * served elsewhere is not measured here. */
	const struct vdb_virtio_config *at;
	const char *name; /* for messages; not copied. NULL = "vhost-user" */
	const char *path; /* the back end's Unix socket, where it listens */
	int32_t fd;       /* instead of path: a connected socket, duplicated. 0 = none */
	uint32_t queues;  /* 0 = as many as the back end has */
	/* Config space: its bytes, copied, or NULL: the back end is asked for them (PROTOCOL_F_CONFIG), is
	 * told of what the guest writes there, and may change them. */
	const void *config;
	uint32_t config_len;   /* at most 256 if it is asked */
	uint32_t timeout_ms;   /* for each thing that is asked; 0 = 10,000 */
	uint64_t features;     /* which of the device's may be offered, if the back end has them; 0 = all */
	uint32_t reconnect_ms; /* how often to try, after a loss; 0 = never. Not with fd */
	uint32_t reserved;     /* 0 */
};

/* Connects, asks, and makes the device; waits for the back end meanwhile. -ENOENT, -ECONNREFUSED: nobody
 * listens at path, as virtiofsd does not any more when it has its one machine; -EBADF, -ENOTSOCK,
 * -EPROTOTYPE: fd is no stream socket; -ETIMEDOUT: also a back end that is busy with another machine;
 * -EPROTO: not a back end, or it cannot do without what we lack; -EOPNOTSUPP, -ENOSPC: guest memory that
 * cannot be shared; -EINVAL, -ENOMEM, -EAGAIN. Control thread. vdb_virtio_destroy() ends it: its done() comes
 * on the device's own thread, and until then the memory is in use. */
VDB_MUST_CHECK int vdb_vhost_user_create(const struct vdb_vhost_user_config *config, struct vdb_virtio **out);

struct vdb_vhost_user_info {
	uint32_t size;
	uint32_t connected; /* 1 or 0, now */
	uint32_t lost;      /* so many times */
	uint32_t reserved;
	uint64_t features; /* VHOST_USER_PROTOCOL_F_*, bit numbers, in use since the last connection */
	char why[160];     /* it was lost the last time, or did not come back */
};
/* -EINVAL: not such a device. Any thread. */
VDB_MUST_CHECK int vdb_vhost_user_query(struct vdb_virtio *device, struct vdb_vhost_user_info *info);

#ifdef __cplusplus
}
#endif
#endif
