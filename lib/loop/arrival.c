/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is to come to a loop later, by a post from another loop's thread. A loop that ends first says so
 * here: whoever has not set out yet finds that there is no loop any more; whoever has is waited for.
 */
#include <sched.h>

#include "loop/state.h"

bool vdb__loop_expect(struct vdb_loop *loop, struct vdb__arrival *arrival)
{
	bool open;

	pthread_mutex_lock(&loop->arrivals_lock);
	open = !loop->arrivals_closed;
	if (open) {
		vdb__list_init(&arrival->link);
		vdb__list_append(&loop->arrivals, &arrival->link);
		vdb__store_release(&arrival->loop, loop);
	}
	pthread_mutex_unlock(&loop->arrivals_lock);
	return open;
}

/* Until it is off the list, and a guest by then, the loop's end waits. */
struct vdb_loop *vdb__arrival_take(struct vdb__arrival *arrival)
{
	struct vdb_loop *loop = vdb__exchange(&arrival->loop, NULL);

	if (!loop)
		return NULL;
	vdb__ref_get(&loop->guests);
	pthread_mutex_lock(&loop->arrivals_lock);
	vdb__list_remove(&arrival->link);
	pthread_mutex_unlock(&loop->arrivals_lock);
	return loop;
}

void vdb__arrival_done(struct vdb_loop *loop)
{
	(void)vdb__ref_put(&loop->guests);
}

void vdb__arrival_drop(struct vdb__arrival *arrival)
{
	struct vdb_loop *loop = vdb__arrival_take(arrival);

	if (loop)
		vdb__arrival_done(loop);
}

static bool any_left(struct vdb_loop *loop)
{
	bool any;

	pthread_mutex_lock(&loop->arrivals_lock);
	any = !vdb__list_empty(&loop->arrivals);
	pthread_mutex_unlock(&loop->arrivals_lock);
	return any;
}

/* One whose word has been taken is on its way to the lock; any other may be freed as soon as its word
 * is empty, so it is off the list by then. */
static void turn_away(struct vdb_loop *loop)
{
	struct vdb__list taken, *entry;

	vdb__list_init(&taken);
	while ((entry = vdb__list_pop(&loop->arrivals))) {
		if (!vdb__exchange(&vdb__container(entry, struct vdb__arrival, link)->loop, NULL))
			vdb__list_append(&taken, entry);
	}
	vdb__list_splice(&loop->arrivals, &taken);
}

void vdb__arrivals_close(struct vdb_loop *loop)
{
	pthread_mutex_lock(&loop->arrivals_lock);
	loop->arrivals_closed = true;
	turn_away(loop);
	pthread_mutex_unlock(&loop->arrivals_lock);
	while (any_left(loop))
		sched_yield();
}
