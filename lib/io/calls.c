/* SPDX-License-Identifier: Apache-2.0 */
#include "io/calls.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

static const struct vdb_sandbox_call calls[] = {
        /* Files: how large, whose. */
        VDB__IOCTL(VDB__CONTROL, BLKGETSIZE64),
        VDB__IOCTL(VDB__CONTROL, BLKSSZGET),
        VDB__CALL_IF(VDB__CONTROL, fcntl, 2, F_OFD_SETLK),
        VDB__CALL_IF(VDB__CONTROL, fcntl, 2, F_OFD_GETLK),
        VDB__CALL(VDB__CONTROL, pread64),
        VDB__CALL(VDB__CONTROL, pwrite64),
        VDB__CALL(VDB__CONTROL, fsync),
        /* Streams. */
        VDB__CALL(VDB__LOOP, sendmsg),
        VDB__CALL(VDB__LOOP, recvfrom),
        VDB__IOCTL(VDB__CONTROL, TCGETS),
        VDB__IOCTL(VDB__CONTROL, TIOCGPTN),
};
const struct vdb__calls vdb__io_calls = VDB__CALLS(calls);
