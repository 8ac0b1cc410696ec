/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/calls.h"

#include <sys/socket.h>

static const struct vdb_sandbox_call socket_calls[] = {
        VDB__CALL_IF(VDB__LOOP, socket, 1, AF_UNIX),
        VDB__CALL(VDB__LOOP, connect),
        VDB__CALL(VDB__LOOP, accept4),
        VDB__CALL(VDB__LOOP, shutdown),
        VDB__CALL(VDB__LOOP, getsockopt),
        VDB__CALL(VDB__LOOP, setsockopt),
        VDB__CALL(VDB__CONTROL, bind),
        VDB__CALL(VDB__CONTROL, listen),
};
const struct vdb__calls vdb__virtio_socket_calls = VDB__CALLS(socket_calls);
