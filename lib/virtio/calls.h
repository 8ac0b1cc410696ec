/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VDB_VIRTIO_CALLS_H
#define VDB_VIRTIO_CALLS_H

#include "base/calls.h"

/* The host's end of a vsock: VDB_SANDBOX_SOCKETS. */
extern const struct vdb__calls vdb__virtio_socket_calls;

#endif
