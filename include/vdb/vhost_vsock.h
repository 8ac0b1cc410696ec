/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock served by the kernel, /dev/vhost-vsock: programs on the host use AF_VSOCK, with the guest's
 * CID, which all virtual machines of the host share. vdb/vsock.h is the one whose host side are Unix sockets,
 * and needs nothing of the kernel.
 *
 * The guest's doorbells and memory go to the kernel; limits do not hold there, and what it writes is in no
 * dirty bitmap. A thread of the device's own, "vdb-vhost", makes the ioctls.
 */
#ifndef VDB_VHOST_VSOCK_H
#define VDB_VHOST_VSOCK_H

#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * at: mem, loop or loops, tenants, flags, queue_size, broken; the rest 0, limit NULL. cid: 3..0xfffffffe.
 * -EINVAL; -EADDRINUSE: another guest of this host has it; -ENOENT: no /dev/vhost-vsock; -EACCES; -ENOMEM,
 * -EAGAIN. Control thread. vdb_virtio_destroy() ends it: its done() comes on the device's own thread.
 */
VDB_MUST_CHECK int vdb_vhost_vsock_create(const struct vdb_virtio_config *at, uint64_t cid,
                                          struct vdb_virtio **out);

#ifdef __cplusplus
}
#endif
#endif
