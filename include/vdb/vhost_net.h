/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net on a tap, with packets that the kernel moves: /dev/vhost-net. The device is that of vdb/net.h,
 * which answers its control queue; the guest's doorbells and memory go to the kernel, and packets cost this
 * process nothing but interrupts. Limits do not hold there, and what the kernel writes is in no dirty bitmap.
 * A thread of the device's own, "vdb-vhost", makes the ioctls.
 *
 * Of what a driver asks its control queue for, addresses and VLANs are not filtered, which it must be ready
 * for (virtio 1.2, 5.1.6.5.1 and 5.1.6.5.3). A driver that has CTRL_VQ without MQ is refused (FEATURES_OK
 * does not stay) if there are several pairs.
 */
#ifndef VDB_VHOST_NET_H
#define VDB_VHOST_NET_H

#include <vdb/net.h>
#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * As vdb_net_create(), but at->limit is NULL, and the netdev is one of vdb_netdev_tap(). Rings are split, and
 * what is offered is what both know. vdb_net_link(), _announce() and _mac() are for it, too; of
 * vdb_net_stats() only in_use is: packets are counted by the tap's interface. If the kernel fails while it
 * runs, the device needs a reset, VDB_REASON_HOST, which opens /dev/vhost-net anew.
 *
 * -EINVAL: as there, a limit, or a netdev that is no tap; -ENOENT: no /dev/vhost-net; -EACCES; -EBUSY,
 * -EMFILE, -ENOMEM, -EAGAIN. Control thread. vdb_virtio_destroy() ends it: its done() comes on the device's
 * own thread.
 */
VDB_MUST_CHECK int vdb_vhost_net_create(const struct vdb_virtio_config *at,
                                        const struct vdb_net_config *config, struct vdb_virtio **out);

#ifdef __cplusplus
}
#endif
#endif
