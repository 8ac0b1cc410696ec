/* SPDX-License-Identifier: Apache-2.0 */
/* Timers: a binary heap, and one timerfd set to its top. */
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/export.h"
#include "loop/state.h"

struct vdb_timer {
	struct vdb_loop *loop;  /* NULL: that has been destroyed */
	struct vdb__list all;   /* in the loop's list */
	struct vdb__list due;   /* on the list of this turn */
	uint32_t slot;          /* in the heap + 1, 0 = not armed */
	uint64_t deadline, seq; /* ns of CLOCK_MONOTONIC */
	void (*fn)(void *arg);
	void *arg;
};

uint64_t vdb__now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool before(const struct vdb_timer *a, const struct vdb_timer *b)
{
	return a->deadline != b->deadline ? a->deadline < b->deadline : a->seq < b->seq;
}

static void place(struct vdb__timers *timers, uint32_t slot, struct vdb_timer *timer)
{
	timers->heap[slot] = timer;
	timer->slot = slot + 1;
}

static void sift_up(struct vdb__timers *timers, uint32_t slot, struct vdb_timer *timer)
{
	while (slot) {
		uint32_t parent = (slot - 1) / 2;

		if (!before(timer, timers->heap[parent]))
			break;
		place(timers, slot, timers->heap[parent]);
		slot = parent;
	}
	place(timers, slot, timer);
}

static void sift_down(struct vdb__timers *timers, uint32_t slot, struct vdb_timer *timer)
{
	for (;;) {
		uint32_t child = 2 * slot + 1;

		if (child >= timers->armed)
			break;
		if (child + 1 < timers->armed && before(timers->heap[child + 1], timers->heap[child]))
			child++;
		if (!before(timers->heap[child], timer))
			break;
		place(timers, slot, timers->heap[child]);
		slot = child;
	}
	place(timers, slot, timer);
}

static void heap_remove(struct vdb__timers *timers, struct vdb_timer *timer)
{
	uint32_t slot = timer->slot - 1;
	struct vdb_timer *last = timers->heap[--timers->armed];

	timer->slot = 0;
	if (last == timer)
		return;
	sift_down(timers, slot, last);
	sift_up(timers, last->slot - 1, last);
}

/* Room for every timer there is: arming cannot fail. */
static int reserve(struct vdb__timers *timers)
{
	uint32_t room = timers->room ? 2 * timers->room : 16;
	struct vdb_timer **heap;

	if (timers->total < timers->room)
		return 0;
	heap = realloc(timers->heap, room * sizeof(*heap));
	if (!heap)
		return vdb__fail(ENOMEM, "timer: no memory for %u", room);
	timers->heap = heap;
	timers->room = room;
	return 0;
}

VDB_EXPORT int vdb_timer_create(struct vdb_loop *loop, void (*fn)(void *arg), void *arg,
                                struct vdb_timer **out)
{
	struct vdb_timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		return vdb__fail(ENOMEM, "timer: no memory");
	if (reserve(&loop->timers)) {
		free(timer);
		return -ENOMEM;
	}
	timer->loop = loop;
	timer->fn = fn;
	timer->arg = arg;
	vdb__list_init(&timer->due);
	vdb__list_append(&loop->timers.all, &timer->all);
	loop->timers.total++;
	*out = timer;
	return 0;
}

void vdb__timer_arm_at(struct vdb_timer *timer, uint64_t deadline)
{
	struct vdb_loop *loop = timer->loop;

	vdb_timer_disarm(timer);
	if (!loop)
		return;
	timer->deadline = deadline;
	timer->seq = ++loop->timers.seq;
	sift_up(&loop->timers, loop->timers.armed++, timer);
	vdb__loop_nudge(loop);
}

VDB_EXPORT void vdb_timer_arm(struct vdb_timer *timer, uint64_t ns)
{
	uint64_t now = vdb__now();

	vdb__timer_arm_at(timer, ns > UINT64_MAX - now ? UINT64_MAX : now + ns);
}

VDB_EXPORT void vdb_timer_disarm(struct vdb_timer *timer)
{
	vdb__list_remove(&timer->due);
	if (timer->slot)
		heap_remove(&timer->loop->timers, timer);
}

VDB_EXPORT void vdb_timer_destroy(struct vdb_timer *timer)
{
	if (!timer)
		return;
	vdb_timer_disarm(timer);
	vdb__list_remove(&timer->all);
	if (timer->loop)
		timer->loop->timers.total--;
	free(timer);
}

/* All that is due is taken first: what a callback arms anew waits for the next turn, and
 * what it disarms is off the list. */
static void expired(struct vdb__watch *watch)
{
	struct vdb_loop *loop = watch->loop;
	struct vdb__timers *timers = &loop->timers;
	struct vdb__list due, *entry;
	uint64_t now = vdb__now();

	vdb__list_init(&due);
	timers->programmed = 0;
	while (timers->armed && timers->heap[0]->deadline <= now) {
		struct vdb_timer *timer = timers->heap[0];

		heap_remove(timers, timer);
		vdb__list_append(&due, &timer->due);
	}
	while ((entry = vdb__list_pop(&due))) {
		struct vdb_timer *timer = vdb__container(entry, struct vdb_timer, due);

		vdb__count(&loop->stats.timers, 1);
		timer->fn(timer->arg);
	}
}

/* Once a turn at most, and only if the earliest deadline is another. Setting it clears the
 * expirations, so that nobody needs to read them. */
void vdb__timers_program(struct vdb_loop *loop)
{
	struct vdb__timers *timers = &loop->timers;
	uint64_t next = timers->armed ? timers->heap[0]->deadline : 0;
	struct itimerspec at = {
	        .it_value.tv_sec = (time_t)(next / 1000000000u),
	        .it_value.tv_nsec = (long)(next % 1000000000u),
	};

	if (next == timers->programmed)
		return;
	(void)timerfd_settime(timers->fd, TFD_TIMER_ABSTIME, &at, NULL);
	timers->programmed = next;
}

int vdb__timers_init(struct vdb_loop *loop)
{
	struct vdb__timers *timers = &loop->timers;

	timers->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timers->fd < 0)
		return vdb__fail_sys(errno, "loop: timerfd");
	timers->watch = (struct vdb__watch){.loop = loop, .fd = timers->fd, .rang = expired};
	vdb__list_init(&timers->watch.link);
	vdb__list_append(&loop->watches, &timers->watch.all);
	return 0;
}

/* Timers that outlive the loop only wait to be destroyed. */
void vdb__timers_fini(struct vdb_loop *loop)
{
	struct vdb__timers *timers = &loop->timers;
	struct vdb__list *entry;

	while ((entry = vdb__list_pop(&timers->all))) {
		struct vdb_timer *timer = vdb__container(entry, struct vdb_timer, all);

		timer->slot = 0;
		timer->loop = NULL;
	}
	free(timers->heap);
	if (timers->fd >= 0)
		close(timers->fd);
}
