/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine. Its life, and who waits in it when.
 *
 * Doorbells are multishot polls: one CQE per edge, the eventfd is never read. A poll
 * that ends (a full CQ ends them) is armed anew, and arming reports at once what is
 * readable already, so no ring is lost. What finds no room in the SQ waits in a list.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "loop/engine_uring.h"

/* ---- Failure for good ---- */

int vdb__uring_fail(struct uring *u, int err)
{
	struct vdb_loop *loop = u->engine.loop;
	struct vdb__list *entry, *next;

	if (u->failed)
		return vdb__fail_sys(-u->failed, "loop: io_uring had failed; destroy the loop");
	u->failed = err;
	vdb__uring_signal_all(u);
	io_uring_queue_exit(&u->ring);
	vdb__uring_polled_close(u);
	vdb__list_splice(&loop->inflight, &loop->backlog);
	for (entry = loop->inflight.next; entry != &loop->inflight; entry = next) {
		next = entry->next;
		vdb__io_done_later(loop, vdb__io_of(vdb__container(entry, struct vdb__io, link)), err);
	}
	for (entry = loop->watches.next; entry != &loop->watches; entry = entry->next) {
		struct vdb__watch *watch = vdb__container(entry, struct vdb__watch, all);

		watch->armed = false;
		if (watch->closing)
			vdb__watch_gone(watch);
	}
	return vdb__fail_sys(-err, "loop: io_uring_enter; destroy the loop");
}

/* ---- Waiting ---- */

static void nap(void)
{
	const struct timespec millisecond = {.tv_nsec = 1000000};

	(void)nanosleep(&millisecond, NULL);
}

/* EINTR, EAGAIN and ENOMEM (no memory just now), EBUSY (the CQ must be reaped first): go on. */
static int judge(struct uring *u, int ret)
{
	if (ret >= 0 || ret == -EINTR || ret == -ETIME) {
		u->barren = 0;
		return 0;
	}
	if (ret == -EAGAIN || ret == -EBUSY || ret == -ENOMEM) {
		if (!io_uring_cq_ready(&u->ring) && ++u->barren > 1)
			nap();
		return 0;
	}
	return vdb__uring_fail(u, ret);
}

static int uring_enter(struct vdb__engine *engine, bool wait)
{
	struct uring *u = vdb__uring_of(engine);

	if (u->failed) {
		if (wait)
			nap(); /* only others' posts can help now */
		return vdb__uring_fail(u, u->failed);
	}
	vdb__uring_flush(u);
	if (u->polling) {
		int err = judge(u, vdb__uring_poll(u));

		if (err)
			return err;
		wait = false; /* nobody would wake us */
	}
	if (wait && !vdb__uring_waits_for_room(u) && !io_uring_cq_ready(&u->ring)) {
		vdb__count(&engine->loop->stats.sleeps, 1);
		return judge(u, vdb__uring_hand_over(u, 1));
	}
	if (wait && u->ring.flags & IORING_SETUP_SQPOLL)
		(void)io_uring_sqring_wait(&u->ring);
	return judge(u, vdb__uring_hand_over(u, 0));
}

/* ---- Which thread ---- */

void vdb__uring_has(struct uring *u, uint64_t feature, bool has)
{
	uint64_t *features = &u->engine.loop->stats.features;

	vdb__store(features, has ? *features | feature : *features & ~feature);
}

/* The number is the thread's, not the process's: only park() ends it, on the same thread. */
static void know_ring(struct uring *u)
{
	if (u->known)
		return;
	u->known = io_uring_register_ring_fd(&u->ring) == 1;
	vdb__uring_has(u, VDB_LOOP_HAS_RING_FD, u->known);
}

static void forget_ring(struct uring *u)
{
	if (u->known && !u->failed)
		(void)io_uring_unregister_ring_fd(&u->ring);
	u->known = false;
	vdb__uring_has(u, VDB_LOOP_HAS_RING_FD, false);
}

/* They are shared with other rings of the thread: one that comes to end the loop keeps its own. */
static void place_workers(struct uring *u)
{
	const struct vdb__io_cpus *io_cpus = &u->engine.loop->io_cpus;
	cpu_set_t cpus;

	if (!io_cpus->asked || u->engine.loop->ending)
		return;
	cpus = vdb__io_cpus_here(io_cpus, u->ring.flags & IORING_SETUP_SQPOLL);
	vdb__uring_has(u, VDB_LOOP_HAS_IO_CPUS, vdb__uring_place_workers(&u->ring, &cpus));
}

static int uring_bind(struct vdb__engine *engine, bool stays)
{
	struct uring *u = vdb__uring_of(engine);
	int err;

	if (u->failed)
		return 0; /* enter() says so */
	if (!u->enabled && u->ring.flags & IORING_SETUP_R_DISABLED) {
		err = vdb__uring_enable(&u->ring);
		if (err)
			return vdb__fail_sys(err, "loop: enable the io_uring");
	}
	if (!u->enabled) {
		vdb__uring_polled_enable(u);
		vdb__uring_limit_workers(&u->ring, engine->loop->config.io_workers);
		place_workers(u);
	}
	u->enabled = true;
	u->parked = false;
	if (stays)
		know_ring(u);
	return 0;
}

static unsigned uring_inflight(const struct vdb__engine *engine)
{
	return vdb__uring_of(engine)->inflight;
}

/* Cancelled here, what is in flight goes to the backlog (again()). What cannot be cancelled
 * ends by itself, and is reported. Each cancellation is sent when it finds room, while what
 * has arrived is reaped: a full CQ would take no more. */
static int uring_park(struct vdb__engine *engine)
{
	struct uring *u = vdb__uring_of(engine);
	struct vdb__list *entry, *list = &engine->loop->inflight;
	int err = 0;

	u->parked = true;
	u->uncancelled = 0;
	for (entry = list->next; entry != list; entry = entry->next, u->uncancelled++)
		vdb__container(entry, struct vdb__io, link)->flags |= IO_UNCANCELLED;
	/* At least once: eventfds may be waiting to be written. */
	while (!err && (u->inflight || (!u->failed && vdb__uring_unsent(u)))) {
		err = uring_enter(engine, u->inflight);
		vdb__loop_reap(engine->loop);
	}
	forget_ring(u);
	return err;
}

static int uring_fd(const struct vdb__engine *engine)
{
	return vdb__uring_of(engine)->failed ? -1 : vdb__uring_of(engine)->ring.ring_fd;
}

static void uring_destroy(struct vdb__engine *engine)
{
	struct uring *u = vdb__uring_of(engine);

	if (!u->failed) {
		io_uring_queue_exit(&u->ring);
		vdb__uring_polled_close(u);
	}
	free(u);
}

static const struct vdb__engine_ops uring_ops = {
        .kind = VDB_ENGINE_URING,
        .destroy = uring_destroy,
        .bind = uring_bind,
        .park = uring_park,
        .inflight = uring_inflight,
        .fd = uring_fd,
        .watch = vdb__uring_watch,
        .unwatch = vdb__uring_unwatch,
        .submit = vdb__uring_submit,
        .cancel = vdb__uring_cancel,
        .file = vdb__uring_file,
        .polls = vdb__uring_polls,
        .signal = vdb__uring_signal,
        .unsignal = vdb__uring_unsignal,
        .buffer = vdb__uring_buffer,
        .enter = uring_enter,
        .reap = vdb__uring_reap,
        .ready = vdb__uring_ready,
        .queued = vdb__uring_queued,
};

/* ---- Creation ---- */

int vdb__uring_create(struct vdb_loop *loop, struct vdb__engine **out)
{
	struct uring *u = calloc(1, sizeof(*u));
	unsigned flags = 0;
	int err;

	if (!u)
		return vdb__fail(ENOMEM, "loop: no memory");
	err = vdb__uring_open(loop, &u->ring, &flags);
	if (err) {
		free(u);
		return err;
	}
	u->engine.ops = &uring_ops;
	u->engine.loop = loop;
	vdb__list_init(&u->unarmed);
	vdb__list_init(&u->unsent);
	vdb__store(&loop->stats.uring_flags, flags);
	vdb__store(&loop->stats.features, flags & IORING_SETUP_SQPOLL ? VDB_LOOP_HAS_SQPOLL : 0);
	vdb__uring_has(u, VDB_LOOP_HAS_SIGNALS, vdb__uring_signals(u));
	vdb__uring_has(u, VDB_LOOP_HAS_RESTRICTIONS, vdb__uring_restrict(&u->ring, false));
	vdb__uring_polled_open(u);
	*out = &u->engine;
	return 0;
}
