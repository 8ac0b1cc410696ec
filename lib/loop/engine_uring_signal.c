/* SPDX-License-Identifier: Apache-2.0 */
/* Writes to eventfds as SQEs: they leave no trace unless they fail, and then it does not matter. */
#include "loop/engine_uring.h"

#define TOGETHER 16u /* more gain little by waiting for each other */

static const uint64_t one = 1;

/* With a thread of the kernel's, nobody would know when the fd may be closed. */
bool vdb__uring_signals(const struct uring *u)
{
	return u->ring.features & IORING_FEAT_CQE_SKIP && !(u->ring.flags & IORING_SETUP_SQPOLL);
}

bool vdb__uring_signal(struct vdb__engine *engine, int fd)
{
	struct uring *u = vdb__uring_of(engine);
	struct io_uring_sqe *sqe;

	if (u->failed || !u->enabled || u->parked || !vdb__uring_signals(u))
		return false;
	sqe = io_uring_get_sqe(&u->ring);
	if (!sqe)
		return false;
	io_uring_prep_write(sqe, fd, &one, sizeof(one), 0);
	io_uring_sqe_set_data(sqe, tagged(NULL, TAG_NONE));
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	if (++u->signals >= TOGETHER)
		(void)vdb__uring_hand_over(u, 0); /* an error comes again, where it can be told */
	return true;
}

/* The kernel has not seen them: it may have had no memory to take them. fd -1: all. */
static void take_back(struct uring *u, int fd)
{
	unsigned mask = u->ring.sq.ring_entries - 1;

	for (unsigned i = *u->ring.sq.khead; u->signals && i != u->ring.sq.sqe_tail; i++) {
		struct io_uring_sqe *sqe = &u->ring.sq.sqes[i & mask];

		if (sqe->opcode != IORING_OP_WRITE || sqe->addr != (uintptr_t)&one)
			continue;
		if (fd >= 0 && sqe->fd != fd)
			continue;
		vdb__signal_now(sqe->fd);
		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data(sqe, tagged(NULL, TAG_NONE));
	}
}

void vdb__uring_unsignal(struct vdb__engine *engine, int fd)
{
	struct uring *u = vdb__uring_of(engine);

	if (!u->failed)
		take_back(u, fd);
}

void vdb__uring_signal_all(struct uring *u)
{
	take_back(u, -1);
}
