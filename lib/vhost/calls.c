/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/calls.h"

#include <linux/vhost.h>
#include <sys/socket.h>

#define VHOST(request) VDB__IOCTL(VDB__VCPU, request)

static const struct vdb_sandbox_call calls[] = {
        VHOST(VHOST_GET_FEATURES),      VHOST(VHOST_SET_FEATURES),        VHOST(VHOST_SET_OWNER),
        VHOST(VHOST_RESET_OWNER),       VHOST(VHOST_SET_MEM_TABLE),       VHOST(VHOST_SET_VRING_NUM),
        VHOST(VHOST_SET_VRING_ADDR),    VHOST(VHOST_SET_VRING_BASE),      VHOST(VHOST_GET_VRING_BASE),
        VHOST(VHOST_SET_VRING_KICK),    VHOST(VHOST_SET_VRING_CALL),      VHOST(VHOST_SET_VRING_ERR),
        VHOST(VHOST_NET_SET_BACKEND),   VHOST(VHOST_VSOCK_SET_GUEST_CID), VHOST(VHOST_VSOCK_SET_RUNNING),
        VDB__CALL(VDB__EACH, sendmsg),  VDB__CALL(VDB__EACH, recvmsg),    VDB__CALL(VDB__EACH, sendto),
        VDB__CALL(VDB__EACH, shutdown),
};
const struct vdb__calls vdb__vhost_calls = VDB__CALLS(calls);

static const struct vdb_sandbox_call socket_calls[] = {
        VDB__CALL_IF(VDB__CONTROL, socket, 1, AF_UNIX),
        VDB__CALL(VDB__CONTROL, connect),
};
const struct vdb__calls vdb__vhost_socket_calls = VDB__CALLS(socket_calls);
