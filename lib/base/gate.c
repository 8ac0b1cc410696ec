/* SPDX-License-Identifier: Apache-2.0 */
#include "base/gate.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/export.h"
#include "base/thread.h"

struct vdb_gate {
	uint32_t refs;
	bool open;
	int64_t result; /* final once open */
	pthread_mutex_t lock;
	pthread_cond_t opened;
	struct vdb__list watches;
};

static int init_sync(struct vdb_gate *gate)
{
	pthread_condattr_t attr;
	int err = pthread_condattr_init(&attr);

	if (err)
		return err;
	err = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (!err)
		err = pthread_cond_init(&gate->opened, &attr);
	pthread_condattr_destroy(&attr);
	if (err)
		return err;
	err = pthread_mutex_init(&gate->lock, NULL);
	if (err)
		pthread_cond_destroy(&gate->opened);
	return err;
}

VDB_EXPORT int vdb_gate_create(struct vdb_gate **out)
{
	struct vdb_gate *gate = calloc(1, sizeof(*gate));
	int err;

	if (!gate)
		return vdb__fail(ENOMEM, "gate: no memory");
	err = init_sync(gate);
	if (err) {
		free(gate);
		return vdb__fail_sys(err, "gate: cannot be made");
	}
	gate->refs = 1;
	vdb__list_init(&gate->watches);
	*out = gate;
	return 0;
}

VDB_EXPORT struct vdb_gate *vdb_gate_ref(struct vdb_gate *gate)
{
	vdb__ref_get(&gate->refs);
	return gate;
}

VDB_EXPORT void vdb_gate_unref(struct vdb_gate *gate)
{
	if (!gate || !vdb__ref_put(&gate->refs))
		return;
	pthread_cond_destroy(&gate->opened);
	pthread_mutex_destroy(&gate->lock);
	free(gate);
}

/* The opener owns a reference, so the gate outlives the last unlock here even if
 * every waiter has left. */
VDB_EXPORT void vdb_gate_open(struct vdb_gate *gate, int64_t result)
{
	struct vdb__list *l;
	struct vdb__gate_watch *watch;

	pthread_mutex_lock(&gate->lock);
	if (!gate->open) {
		gate->open = true;
		gate->result = result;
		pthread_cond_broadcast(&gate->opened);
		while ((l = vdb__list_pop(&gate->watches))) {
			watch = vdb__container(l, struct vdb__gate_watch, link);
			watch->notify(watch);
		}
	}
	pthread_mutex_unlock(&gate->lock);
}

VDB_EXPORT int vdb_gate_peek(struct vdb_gate *gate, int64_t *result)
{
	int open;

	pthread_mutex_lock(&gate->lock);
	open = gate->open;
	if (open)
		*result = gate->result;
	pthread_mutex_unlock(&gate->lock);
	return open;
}

/* The moment `timeout_ns` from now: at most 292 years ahead, which a time_t holds. */
static struct timespec deadline(int64_t timeout_ns)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	now.tv_sec += (time_t)(timeout_ns / 1000000000);
	now.tv_nsec += (long)(timeout_ns % 1000000000);
	if (now.tv_nsec >= 1000000000) {
		now.tv_nsec -= 1000000000;
		now.tv_sec++;
	}
	return now;
}

VDB_EXPORT int vdb_gate_wait(struct vdb_gate *gate, int64_t timeout_ns, int64_t *result)
{
	struct timespec end = {0};
	int err = 0;

	if (vdb__on_loop_thread())
		return vdb__fail(EDEADLK,
		                 "gate: a loop's thread must not wait; let the opener post to the loop");
	if (timeout_ns >= 0)
		end = deadline(timeout_ns);
	pthread_mutex_lock(&gate->lock);
	while (!gate->open && !err) {
		if (timeout_ns < 0)
			err = pthread_cond_wait(&gate->opened, &gate->lock);
		else
			err = pthread_cond_timedwait(&gate->opened, &gate->lock, &end);
	}
	/* Opened in the very moment of the timeout: open. */
	if (gate->open) {
		*result = gate->result;
		err = 0;
	}
	pthread_mutex_unlock(&gate->lock);
	if (err)
		return vdb__fail(err, "gate: still closed after %lld ns", (long long)timeout_ns);
	return 0;
}

bool vdb__gate_attach(struct vdb_gate *gate, struct vdb__gate_watch *watch)
{
	bool open;

	vdb__list_init(&watch->link);
	pthread_mutex_lock(&gate->lock);
	open = gate->open;
	if (!open)
		vdb__list_append(&gate->watches, &watch->link);
	pthread_mutex_unlock(&gate->lock);
	return !open;
}

void vdb__gate_detach(struct vdb_gate *gate, struct vdb__gate_watch *watch)
{
	pthread_mutex_lock(&gate->lock);
	vdb__list_remove(&watch->link);
	pthread_mutex_unlock(&gate->lock);
}
