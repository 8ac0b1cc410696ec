/* SPDX-License-Identifier: Apache-2.0 */
/* Who runs a loop: here until stopped, on a thread of its own, or nested in another's loop. */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/export.h"
#include "base/thread.h"
#include "loop/state.h"

static int32_t thread_id(void)
{
	static _Thread_local int32_t id;

	if (!id)
		id = (int32_t)syscall(SYS_gettid);
	return id;
}

static int busy(void)
{
	return vdb__fail(EBUSY, "loop: it is running; stop it first, and not from its own callbacks");
}

/* A ring serves one thread only: who takes over a loop that had another makes a new one. */
static int take(struct vdb_loop *loop)
{
	int err = 0;

	if (loop->bound)
		err = vdb__engine_renew(loop);
	loop->bound = true;
	return err;
}

/* Who only comes to end it does without. */
static void renew_rest(struct vdb_loop *loop)
{
	if (!loop->renewed)
		return;
	loop->renewed = false;
	vdb__files_renew(loop);
	vdb__memory_renew(loop);
}

/* Takes the loop for this thread, for the first time or again. `from`: whose it may be; `stays`: until
 * park(). */
static int own(struct vdb_loop *loop, int32_t from, bool stays)
{
	int32_t me = thread_id(), owner = vdb__load_acquire(&loop->owner);
	int err = 0;

	if (owner != me) {
		if (owner != from || !vdb__cas(&loop->owner, from, me))
			return vdb__fail(EPERM, "loop: it belongs to thread %d, which ran it first", owner);
		err = take(loop);
	}
	if (!err)
		err = loop->engine->ops->bind(loop->engine, stays);
	if (err)
		vdb__store_release(&loop->owner, owner);
	return err;
}

static int enter(struct vdb_loop *loop, bool take_over, bool stays)
{
	int err;

	if (!vdb__cas(&loop->running, 0, 1))
		return busy();
	loop->ending = take_over;
	err = own(loop, take_over ? vdb__load(&loop->owner) : 0, stays);
	if (err)
		vdb__store_release(&loop->running, 0);
	else if (!take_over)
		renew_rest(loop);
	return err;
}

int vdb__loop_enter(struct vdb_loop *loop, bool take_over)
{
	return enter(loop, take_over, false);
}

void vdb__loop_leave(struct vdb_loop *loop)
{
	vdb__store_release(&loop->running, 0);
}

VDB_EXPORT int vdb_loop_here(const struct vdb_loop *loop)
{
	return vdb__thread_loop == loop || vdb__load(&loop->owner) == thread_id();
}

static int run(struct vdb_loop *loop)
{
	int err;

	for (;;) {
		vdb__turn(loop);
		if (vdb__load(&loop->stop) && vdb__exchange(&loop->stop, 0))
			return 0;
		err = loop->engine->ops->enter(loop->engine, vdb__loop_settle(loop));
		if (err)
			return err;
	}
}

VDB_EXPORT int vdb_loop_run(struct vdb_loop *loop)
{
	int err = enter(loop, false, true), parked;

	if (err)
		return err;
	err = run(loop);
	parked = loop->engine->ops->park(loop->engine);
	vdb__loop_leave(loop);
	return err ? err : parked;
}

VDB_EXPORT int vdb_loop_fd(struct vdb_loop *loop)
{
	int err;

	if (!loop->nested && loop->bound)
		return vdb__fail(EBUSY, "loop: it has been running; call vdb_loop_fd() first of all");
	if (!loop->nested) {
		loop->nested = true;
		err = vdb__engine_renew(loop);
		loop->nested = !err;
		if (err)
			return err;
	}
	return loop->engine->ops->fd(loop->engine);
}

VDB_EXPORT int vdb_loop_prepare(struct vdb_loop *loop)
{
	int err = vdb__loop_enter(loop, false), idle;

	if (err)
		return err;
	idle = vdb__loop_settle(loop);
	err = loop->engine->ops->enter(loop->engine, false);
	idle = idle && !loop->engine->ops->ready(loop->engine);
	vdb__loop_leave(loop);
	return err ? err : idle;
}

VDB_EXPORT int vdb_loop_step(struct vdb_loop *loop)
{
	int err = vdb__loop_enter(loop, false);
	unsigned did;

	if (err)
		return err;
	err = loop->engine->ops->enter(loop->engine, false);
	did = vdb__turn(loop);
	vdb__holds_release(loop, true); /* who knows when the next one comes */
	vdb__timers_program(loop);
	if (!err)
		err = loop->engine->ops->enter(loop->engine, false);
	vdb__loop_leave(loop);
	return err ? err : did > 0;
}

static void *loop_thread(void *arg)
{
	struct vdb_loop *loop = arg;

	loop->result = vdb_loop_run(loop);
	return NULL;
}

VDB_EXPORT int vdb_loop_start(struct vdb_loop *loop, int cpu, const char *name)
{
	const struct vdb__thread_config thread = {
	        .name = name ? name : "vdb-loop", .cpu = cpu, .kind = VDB_THREAD_LOOP};
	int err;

	if (vdb__load(&loop->running) || !vdb__cas(&loop->started, 0, 1))
		return busy();
	err = vdb__thread_start(&loop->thread, &thread, loop_thread, loop);
	if (err)
		vdb__store_release(&loop->started, 0);
	return err;
}

VDB_EXPORT int vdb_loop_join(struct vdb_loop *loop)
{
	if (!vdb__load_acquire(&loop->started))
		return vdb__fail(EINVAL, "loop: vdb_loop_join() without vdb_loop_start()");
	if (pthread_equal(loop->thread, pthread_self()))
		return vdb__fail(EDEADLK, "loop: vdb_loop_join() on its own thread; use vdb_loop_stop()");
	vdb_loop_stop(loop);
	(void)pthread_join(loop->thread, NULL);
	vdb__store(&loop->stop, 0);
	vdb__store_release(&loop->owner, 0); /* that thread is no more: another may take over */
	vdb__store_release(&loop->started, 0);
	return loop->result ? vdb__fail(-loop->result, "loop: its thread ended: %s", strerror(-loop->result))
	                    : 0;
}

VDB_EXPORT void vdb_loop_stop(struct vdb_loop *loop)
{
	vdb__ref_get(&loop->guests);
	vdb__store_release(&loop->stop, 1);
	vdb__loop_wake(loop);
	(void)vdb__ref_put(&loop->guests);
}
