/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/calls.h"

#include <liburing.h>

#define REGISTER(what) VDB__CALL_IF(VDB__LOOP, io_uring_register, 2, what)

static const struct vdb_sandbox_call calls[] = {
        VDB__CALL(VDB__CONTROL, io_uring_setup),
        VDB__CALL(VDB__LOOP, io_uring_enter),
        REGISTER(IORING_REGISTER_RESTRICTIONS),
        REGISTER(IORING_REGISTER_ENABLE_RINGS),
        REGISTER(IORING_REGISTER_FILES),
        REGISTER(IORING_REGISTER_FILES_UPDATE),
        REGISTER(IORING_REGISTER_BUFFERS2),
        REGISTER(IORING_REGISTER_BUFFERS_UPDATE),
        REGISTER(IORING_REGISTER_IOWQ_MAX_WORKERS),
        REGISTER(IORING_REGISTER_IOWQ_AFF),
        REGISTER(IORING_REGISTER_RING_FDS),
        REGISTER(IORING_UNREGISTER_RING_FDS),
        VDB__CALL_IF(VDB__LOOP, sched_getaffinity, 1, 0), /* its own */
        VDB__CALL(VDB__CONTROL, epoll_create1),
        VDB__CALL(VDB__LOOP, epoll_ctl),
        VDB__CALL(VDB__LOOP, epoll_wait),
        VDB__CALL(VDB__LOOP, epoll_pwait),
        VDB__CALL(VDB__CONTROL, timerfd_create),
        VDB__CALL(VDB__LOOP, timerfd_settime),
        VDB__CALL(VDB__LOOP, preadv),
        VDB__CALL(VDB__LOOP, pwritev),
        VDB__CALL(VDB__LOOP, preadv2),
        VDB__CALL(VDB__LOOP, pwritev2),
        VDB__CALL(VDB__LOOP, fdatasync),
};
const struct vdb__calls vdb__loop_calls = VDB__CALLS(calls);
