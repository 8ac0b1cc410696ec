/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One turn: what has arrived is reported, one round is served, what is hot is looked
 * at; and the rest between turns, where everything is handed to the kernel at once.
 */
#include "base/thread.h"
#include "loop/state.h"

void vdb__loop_batch(struct vdb_loop *loop, struct vdb__batch *batch)
{
	if (!batch->link.next)
		vdb__list_init(&batch->link);
	if (vdb__list_empty(&batch->link))
		vdb__list_append(&loop->batches, &batch->link);
	vdb__loop_nudge(loop);
}

static void run_batches(struct vdb_loop *loop)
{
	struct vdb__list round, *entry;

	vdb__list_init(&round);
	vdb__list_splice(&round, &loop->batches);
	while ((entry = vdb__list_pop(&round))) {
		struct vdb__batch *batch = vdb__container(entry, struct vdb__batch, link);

		batch->fn(batch);
	}
}

unsigned vdb__loop_reap(struct vdb_loop *loop)
{
	const void *outer = vdb__thread_loop;
	unsigned did;

	vdb__thread_loop = loop;
	loop->polling.now = 0;
	did = loop->engine->ops->reap(loop->engine);
	if (loop->rescan) {
		loop->rescan = false;
		vdb__sources_rescan(loop);
	}
	did += vdb__posts_run(loop, 0);
	did += vdb__ios_done(loop);
	did += vdb__sources_gone(loop);
	vdb__thread_loop = outer;
	return did;
}

unsigned vdb__turn(struct vdb_loop *loop)
{
	const void *outer = vdb__thread_loop;
	unsigned did;

	vdb__thread_loop = loop;
	vdb__store(&loop->asleep, 0u);
	loop->turn++;
	did = vdb__loop_reap(loop);
	vdb__holds_release(loop, false);
	run_batches(loop);
	did += vdb__tenants_serve(loop);
	run_batches(loop);
	if (did)
		loop->polling.quiet = 0;
	did += vdb__sources_look(loop, !vdb__list_empty(&loop->active) || (loop->polling.max_ns && did));
	vdb__thread_loop = outer;
	return did;
}

bool vdb__loop_idle(const struct vdb_loop *loop)
{
	return vdb__list_empty(&loop->active) && vdb__list_empty(&loop->done) &&
	       vdb__list_empty(&loop->gone) && vdb__list_empty(&loop->batches) && !vdb__load(&loop->posts) &&
	       !vdb__load(&loop->stop);
}

static bool may_sleep(struct vdb_loop *loop)
{
	if (!vdb__loop_idle(loop) || loop->engine->ops->ready(loop->engine))
		return false;
	if (loop->polling.max_ns && !vdb__list_empty(&loop->hot)) {
		/* What is queued would wait all the while. */
		if (loop->engine->ops->queued(loop->engine))
			return false;
		if (!loop->engine->blind && vdb__poll(loop))
			return false;
	}
	vdb__holds_release(loop, true);
	return vdb__loop_arm(loop) && vdb__loop_idle(loop);
}

/* From now on posts wake it; those before are seen here. See rouse() in post.c. */
static bool lie_down(struct vdb_loop *loop)
{
	vdb__store(&loop->asleep, 1u);
	vdb__fence_full();
	if (vdb__loop_idle(loop))
		return true;
	vdb__store(&loop->asleep, 0u);
	return false;
}

bool vdb__loop_settle(struct vdb_loop *loop)
{
	const void *outer = vdb__thread_loop;
	bool idle;

	vdb__thread_loop = loop;
	idle = may_sleep(loop) && lie_down(loop);
	vdb__thread_loop = outer;
	vdb__timers_program(loop);
	return idle;
}
