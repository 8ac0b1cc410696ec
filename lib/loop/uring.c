/* SPDX-License-Identifier: Apache-2.0 */
/* Which io_uring the kernel has to offer, and what is asked of it. */
#include "loop/uring.h"

#include <errno.h>

#include "base/error.h"
#include "loop/state.h"

#define UNBOUND_WORKERS 64u

/* Newest kernel first: each step gives up what an older one does not know. Some make sense only with others,
 * or not with others at all. */
static const struct step {
	unsigned flags, needs;
} steps[] = {
        {IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_TASKRUN_FLAG},
        {IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_R_DISABLED}, /* or it is the creating thread's */
        {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0},
        {IORING_SETUP_SUBMIT_ALL, 0},
        {IORING_SETUP_R_DISABLED, 0},
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

static int setup(const struct vdb_loop_config *config, unsigned flags, struct io_uring *ring)
{
	struct io_uring_params params = {
	        .flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
	        .cq_entries = config->cq_entries,
	};
	int err;

	if (flags & IORING_SETUP_SQPOLL)
		params.sq_thread_idle = config->sq_idle_ms;
	if (flags & IORING_SETUP_SQ_AFF)
		params.sq_thread_cpu = config->sq_cpu - 1;
	err = io_uring_queue_init_params(config->sq_entries, ring, &params);
	if (!err && !(params.features & IORING_FEAT_RSRC_TAGS)) {
		io_uring_queue_exit(ring);
		return -ENOTSUP;
	}
	return err;
}

/* What was given up on the way to what works, but was not what did not: kept, if the kernel agrees. */
static void regain(const struct vdb_loop_config *config, unsigned dropped, struct io_uring *ring,
                   unsigned *flags)
{
	struct io_uring better;

	for (size_t i = STEPS; i--;) {
		const struct step *step = &steps[i];

		if (!(dropped & step->flags) || (*flags & step->needs) != step->needs ||
		    setup(config, *flags | step->flags, &better))
			continue;
		io_uring_queue_exit(ring);
		*ring = better;
		*flags |= step->flags;
	}
}

static int open_best(const struct vdb_loop_config *config, unsigned wanted, struct io_uring *ring,
                     unsigned *used)
{
	unsigned flags = wanted, last = 0;
	int err = setup(config, flags, ring);

	for (size_t i = 0; i < STEPS && err == -EINVAL; i++) {
		last = flags & steps[i].flags;
		flags &= ~steps[i].flags;
		if (last)
			err = setup(config, flags, ring);
	}
	if (!err)
		regain(config, wanted & ~flags & ~last, ring, &flags);
	*used = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
	return err;
}

/* The thread takes what the others are about upon itself. */
static unsigned with_thread(const struct vdb_loop_config *config)
{
	return IORING_SETUP_SQPOLL | (config->sq_cpu ? (unsigned)IORING_SETUP_SQ_AFF : 0) |
	       IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED;
}

static unsigned without_thread(const struct vdb_loop *loop)
{
	unsigned flags = 0;

	/* Under DEFER_TASKRUN nobody is woken who sleeps elsewhere (Linux 6.18: poll of the
	 * ring's fd sees nothing; a registered eventfd is not signalled from an eventfd). */
	for (size_t i = loop->nested ? 1 : 0; i < STEPS; i++)
		flags |= steps[i].flags;
	return flags;
}

static int explain(int err, unsigned sq_entries)
{
	if (err == -ENOTSUP)
		return vdb__fail(ENOSYS, "loop: this kernel's io_uring lacks multishot polls (5.13)");
	if (err == -ENOSYS || err == -EINVAL)
		return vdb__fail(ENOSYS,
		                 "loop: this kernel has no io_uring that fits (%s); use VDB_ENGINE_EPOLL",
		                 err == -ENOSYS ? "ENOSYS" : "EINVAL");
	if (err == -EPERM || err == -EACCES)
		return vdb__fail(EPERM, "loop: io_uring is forbidden here (seccomp, or the sysctl "
		                        "kernel.io_uring_disabled); use VDB_ENGINE_EPOLL");
	return vdb__fail_sys(-err, "loop: io_uring_setup of %u entries", sq_entries);
}

int vdb__uring_open(const struct vdb_loop *loop, struct io_uring *ring, unsigned *used)
{
	const struct vdb_loop_config *config = &loop->config;
	int err = -EINVAL;

	if (config->flags & VDB_LOOP_SQPOLL)
		err = open_best(config, with_thread(config), ring, used);
	/* For want of a thread, of the right to have one, or of the CPU: without. */
	if (err)
		err = open_best(config, without_thread(loop), ring, used);
	return err ? explain(err, config->sq_entries) : 0;
}

int vdb__uring_open_polled(const struct vdb_loop *loop, struct io_uring *ring)
{
	unsigned used;

	return open_best(&loop->config,
	                 IORING_SETUP_IOPOLL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SUBMIT_ALL |
	                         IORING_SETUP_R_DISABLED,
	                 ring, &used);
}

/* liburing 2.3 declares io_uring_enable_rings() but lacks it. */
int vdb__uring_enable(struct io_uring *ring)
{
	int err = io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	return err < 0 ? -err : 0;
}

/* Of itself the kernel makes as many as RLIMIT_NPROC allows, for what may wait for ever. Before Linux 5.15 it
 * is not to be told. */
void vdb__uring_limit_workers(struct io_uring *ring, uint32_t most)
{
	unsigned values[2] = {most, most ? most : UNBOUND_WORKERS};

	(void)io_uring_register_iowq_max_workers(ring, values);
}

/* They belong to the thread, which the kernel knows once it has submitted something, were it nothing. Linux
 * 5.14. */
bool vdb__uring_place_workers(struct io_uring *ring, const cpu_set_t *cpus)
{
	(void)io_uring_enter((unsigned)ring->ring_fd, 1, 0, 0, NULL);
	return !io_uring_register_iowq_aff(ring, sizeof(*cpus), cpus);
}
