/* SPDX-License-Identifier: Apache-2.0 */
/* Work from other threads: a list that anybody pushes to and the loop takes whole. */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/export.h"
#include "base/thread.h"
#include "loop/state.h"

void vdb__loop_wake(struct vdb_loop *loop)
{
	const uint64_t one = 1;
	int saved = errno;
	ssize_t done = write(loop->wake_fd, &one, sizeof(one));

	(void)done; /* EAGAIN: it is readable for ever, and no edge was missed in 2^64 writes */
	errno = saved;
}

void vdb__loop_nudge(struct vdb_loop *loop)
{
	if (vdb__thread_loop != loop)
		vdb__loop_wake(loop);
}

/* Stores the post, then looks whether anybody sleeps; the loop says that it sleeps, then looks for posts
 * (vdb__loop_settle()). With both fences one of the two sees what the other has stored. */
static void rouse(struct vdb_loop *loop)
{
	if (vdb__thread_loop == loop)
		return;
	vdb__fence_full();
	if (vdb__load(&loop->asleep))
		vdb__loop_wake(loop);
}

/* Who finds the list empty rouses the loop; who does not knows that somebody has or will. */
void vdb__loop_post(struct vdb_loop *loop, struct vdb__post *post)
{
	struct vdb__post *head = vdb__load(&loop->posts);

	vdb__ref_get(&loop->guests);
	/* Releases the post to the exchange in vdb__posts_run(). */
	do {
		post->next = head;
	} while (!__atomic_compare_exchange_n(&loop->posts, &head, post, true, __ATOMIC_ACQ_REL,
	                                      __ATOMIC_ACQUIRE));
	if (!head)
		rouse(loop);
	(void)vdb__ref_put(&loop->guests);
}

static struct vdb__post *reversed(struct vdb__post *post)
{
	struct vdb__post *first = NULL;

	while (post) {
		struct vdb__post *next = post->next;

		post->next = first;
		first = post;
		post = next;
	}
	return first;
}

/* What is posted meanwhile has its turn next turn. */
unsigned vdb__posts_run(struct vdb_loop *loop, int status)
{
	struct vdb__post *post;
	unsigned count = 0;

	if (!vdb__load(&loop->posts))
		return 0;
	post = reversed(vdb__exchange(&loop->posts, NULL));
	while (post) {
		struct vdb__post *next = post->next;

		post->fn(post, status);
		post = next;
		count++;
	}
	vdb__count(&loop->stats.posts, count);
	return count;
}

struct user_post {
	struct vdb__post post;
	void (*fn)(void *arg, int status);
	void *arg;
};

static void run_user_post(struct vdb__post *post, int status)
{
	struct user_post own = *vdb__container(post, struct user_post, post);

	free(vdb__container(post, struct user_post, post));
	own.fn(own.arg, status);
}

VDB_EXPORT int vdb_loop_post(struct vdb_loop *loop, void (*fn)(void *arg, int status), void *arg)
{
	struct user_post *own = malloc(sizeof(*own));

	if (!own)
		return vdb__fail(ENOMEM, "post to a loop: no memory");
	own->post.fn = run_user_post;
	own->fn = fn;
	own->arg = arg;
	vdb__loop_post(loop, &own->post);
	return 0;
}

struct call {
	struct vdb__post post;
	int (*fn)(void *arg);
	void *arg;
	int result;
	sem_t done;
};

static void run_call(struct vdb__post *post, int status)
{
	struct call *call = vdb__container(post, struct call, post);

	call->result = status ? status : call->fn(call->arg);
	sem_post(&call->done); /* the call is gone from here on */
}

static int call_and_wait(struct vdb_loop *loop, struct call *call)
{
	vdb__loop_post(loop, &call->post);
	while (sem_wait(&call->done) && errno == EINTR)
		;
	sem_destroy(&call->done);
	return call->result;
}

VDB_EXPORT int vdb_loop_call(struct vdb_loop *loop, int (*fn)(void *arg), void *arg)
{
	struct call call = {.post.fn = run_call, .fn = fn, .arg = arg};

	if (vdb_loop_here(loop))
		return fn(arg);
	if (vdb__on_loop_thread())
		return vdb__fail(EDEADLK, "call to a loop from another loop's thread: loops do not wait; "
		                          "use vdb_loop_post()");
	if (sem_init(&call.done, 0, 0))
		return vdb__fail_sys(errno, "call to a loop");
	return call_and_wait(loop, &call);
}
