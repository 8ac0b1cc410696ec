/* SPDX-License-Identifier: Apache-2.0 */
#include "net/calls.h"

#include <linux/if_tun.h>
#include <sys/ioctl.h>

static const struct vdb_sandbox_call calls[] = {
        VDB__CALL(VDB__LOOP, sendto),
        VDB__CALL(VDB__LOOP, sendmsg),
        VDB__CALL(VDB__LOOP, sendmmsg),
        VDB__CALL(VDB__LOOP, recvfrom),
        VDB__CALL(VDB__LOOP, recvmsg),
        VDB__CALL(VDB__LOOP, recvmmsg),
        VDB__CALL(VDB__LOOP, getsockopt),
        /* What the guest's driver asks of a tap, and whether that is still there. */
        VDB__IOCTL(VDB__EACH, TUNSETOFFLOAD),
        VDB__IOCTL(VDB__EACH, TUNSETQUEUE),
        VDB__IOCTL(VDB__EACH, TUNSETVNETHDRSZ),
        VDB__IOCTL(VDB__EACH, TUNGETIFF),
        VDB__IOCTL(VDB__EACH, SIOCGIFHWADDR),
};
const struct vdb__calls vdb__net_calls = VDB__CALLS(calls);
