/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a loop: everybody leaves, what is in flight comes back, then it is freed. */
#include <sched.h>

#include "base/error.h"
#include "base/export.h"
#include "base/thread.h"
#include "loop/state.h"

void vdb__loop_join_member(struct vdb_loop *loop, struct vdb__member *member)
{
	vdb__list_append(&loop->members, &member->link);
}

void vdb__loop_part_member(struct vdb__member *member)
{
	vdb__list_remove(&member->link);
}

static void ask_to_leave(struct vdb_loop *loop)
{
	const void *outer = vdb__thread_loop;
	struct vdb__list *entry;

	vdb__thread_loop = loop;
	while ((entry = vdb__list_pop(&loop->members))) {
		vdb__list_append(&loop->leaving, entry);
		vdb__container(entry, struct vdb__member, link)
		        ->leave(vdb__container(entry, struct vdb__member, link));
	}
	vdb__thread_loop = outer;
}

static bool peopled(const struct vdb_loop *loop)
{
	return !vdb__list_empty(&loop->members) || !vdb__list_empty(&loop->leaving);
}

static bool removing(const struct vdb_loop *loop)
{
	struct vdb__list *entry = loop->watches.next;

	for (; entry != &loop->watches; entry = entry->next) {
		if (vdb__container(entry, struct vdb__watch, all)->closing)
			return true;
	}
	return false;
}

static bool working(const struct vdb_loop *loop)
{
	return !vdb__list_empty(&loop->inflight) || !vdb__list_empty(&loop->backlog) ||
	       !vdb__list_empty(&loop->done) || removing(loop);
}

/* Whoever joined in this turn is asked before the sleep. An engine that failed says so
 * each time, and naps: what its I/O threads have still comes back, and members leave. */
static void one_turn(struct vdb_loop *loop)
{
	bool idle;

	vdb__turn(loop);
	ask_to_leave(loop);
	vdb__store(&loop->stop, 0);
	idle = vdb__loop_settle(loop);
	(void)loop->engine->ops->enter(loop->engine, idle && (peopled(loop) || working(loop)));
}

/* Members first: their requests are completed, not cut off, but for those that nobody may
 * ever complete. What is left then belongs to nobody and is cancelled; its callbacks may
 * bring members, too. */
static void wind_up(struct vdb_loop *loop)
{
	vdb__ios_cancel(loop, false);
	while (peopled(loop))
		one_turn(loop);
	vdb__ios_cancel(loop, true);
	while (peopled(loop) || working(loop))
		one_turn(loop);
}

static void cancel_posts(struct vdb_loop *loop)
{
	const void *outer = vdb__thread_loop;

	vdb__thread_loop = loop;
	while (vdb__posts_run(loop, -ECANCELED))
		;
	vdb__thread_loop = outer;
}

/* What they posted, or took on themselves to post, is there then. */
static void wait_for_guests(const struct vdb_loop *loop)
{
	while (vdb__load_acquire(&loop->guests))
		sched_yield();
}

VDB_EXPORT int vdb_loop_destroy(struct vdb_loop *loop)
{
	int err;

	if (!loop)
		return 0;
	if (vdb__load(&loop->started))
		return vdb__fail(EBUSY, "loop: its thread has not been joined; call vdb_loop_join()");
	err = vdb__loop_enter(loop, true);
	if (err)
		return err;
	loop->closing = true;
	vdb__arrivals_close(loop);
	wind_up(loop);
	wait_for_guests(loop);
	cancel_posts(loop);
	wait_for_guests(loop);
	vdb__loop_free(loop);
	return 0;
}
