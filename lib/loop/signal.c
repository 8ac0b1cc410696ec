/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eventfds that are written to tell others: guests' interrupts. A system call each costs about 160 ns
 * here; as part of a call that is made anyway, or of one for many, 115 ns; alone in one, 250 ns.
 */
#include <unistd.h>

#include "loop/state.h"

/* In the turn before: so many are about to come again. */
#define MANY 4u

static bool worth_a_batch(struct vdb_loop *loop)
{
	struct vdb__signals *signals = &loop->signals;

	if (signals->turn != loop->turn) {
		signals->before = signals->turn + 1 == loop->turn ? signals->count : 0;
		signals->turn = loop->turn;
		signals->count = 0;
	}
	/* The first goes at once, unless there is a call to come anyway. */
	return (signals->count++ && signals->before >= MANY) || loop->engine->ops->queued(loop->engine);
}

void vdb__loop_signal(struct vdb_loop *loop, int fd)
{
	const struct vdb__engine_ops *ops = loop->engine->ops;

	if (ops->signal && worth_a_batch(loop) && ops->signal(loop->engine, fd))
		vdb__count(&loop->stats.signals, 1);
	else
		vdb__signal_now(fd);
}

void vdb__loop_unsignal(struct vdb_loop *loop, int fd)
{
	if (fd >= 0 && loop->engine->ops->unsignal)
		loop->engine->ops->unsignal(loop->engine, fd);
}

void vdb__signal_now(int fd)
{
	const uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n; /* EAGAIN: the counter is full, so they have been told */
}
