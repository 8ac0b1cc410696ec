/* SPDX-License-Identifier: Apache-2.0 */
/* Which io_uring the kernel has to offer. */
#include "loop/uring.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "loop/state.h"

/* Newest kernel first: each step gives up what an older one does not know. */
static const unsigned setup_flags[] = {
        IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_SINGLE_ISSUER,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_R_DISABLED,
};
#define STEPS (sizeof(setup_flags) / sizeof(setup_flags[0]))

int vdb__uring_open(const struct vdb_loop *loop, struct io_uring *ring, unsigned *used)
{
	const struct vdb_loop_config *config = &loop->config;
	int err = -EINVAL;

	/* Under DEFER_TASKRUN nobody is woken who sleeps elsewhere (Linux 6.18: poll of the
	 * ring's fd sees nothing; a registered eventfd is not signalled from an eventfd). */
	for (size_t given_up = loop->nested ? 1 : 0; given_up <= STEPS && err == -EINVAL; given_up++) {
		struct io_uring_params params = {
		        .flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		        .cq_entries = config->cq_entries,
		};

		for (size_t i = given_up; i < STEPS; i++)
			params.flags |= setup_flags[i];
		err = io_uring_queue_init_params(config->sq_entries, ring, &params);
		if (!err && !(params.features & IORING_FEAT_RSRC_TAGS)) {
			io_uring_queue_exit(ring);
			return vdb__fail(ENOSYS, "loop: this kernel's io_uring lacks multishot polls (5.13)");
		}
		*used = params.flags;
	}
	if (err == -ENOSYS || err == -EINVAL)
		return vdb__fail(ENOSYS,
		                 "loop: this kernel has no io_uring that fits (%s); use VDB_ENGINE_EPOLL",
		                 err == -ENOSYS ? "ENOSYS" : "EINVAL");
	if (err == -EPERM || err == -EACCES)
		return vdb__fail(EPERM, "loop: io_uring is forbidden here (seccomp, or the sysctl "
		                        "kernel.io_uring_disabled); use VDB_ENGINE_EPOLL");
	return err ? vdb__fail_sys(-err, "loop: io_uring_setup of %u entries", config->sq_entries) : 0;
}

/* liburing 2.3 declares io_uring_enable_rings() but lacks it. */
int vdb__uring_enable(const struct io_uring *ring)
{
	if (syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
		return errno;
	return 0;
}
