/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock device's life on its loop: it comes by a post, its connections are dropped by another when the
 * guest resets it, and it goes by a third, or with the loop. As of lanes: one word and one post; whoever
 * finds the word 0 posts, and DEAD in it says that nobody will any more.
 */
#include <stdlib.h>
#include <unistd.h>

#include "virtio/vsock.h"

/* ---- The end ---- */

/* The backends, too: the loop wakes their queues, which are none, until it has heard of the end. */
void vdb__vsock_free(struct vdb__vsock *v)
{
	for (unsigned i = 0; i < VDB__VSOCK_QUEUES; i++)
		vdb_backend_destroy(v->backends[i]);
	for (unsigned i = 0; i < VDB__VSOCK_LISTENERS; i++)
		if (v->listeners[i].fd >= 0)
			close(v->listeners[i].fd);
	if (v->epoll_fd >= 0)
		close(v->epoll_fd);
	free(v->table);
	free(v->spill);
	free((char *)(uintptr_t)v->config.path);
	vdb_tenant_destroy(v->tenant);
	free(v);
}

/* The loop holds nothing of it, and no post is on its way. */
static void end(struct vdb__vsock *v)
{
	bool doomed = v->doomed;

	/* From here on whoever destroys the device does all of it. */
	if (vdb__fetch_or(&v->why, VDB__VSOCK_GONE) & VDB__VSOCK_LEAVE || doomed)
		vdb__vsock_free(v);
}

void vdb__vsock_settled(struct vdb__vsock *v)
{
	if (!v->closing || v->polling || v->dead)
		return;
	v->dead = true;
	vdb_timer_destroy(v->timer);
	v->timer = NULL;
	vdb__list_remove(&v->batch.link);
	if (v->member)
		vdb__loop_part_member(&v->as_member);
	v->member = false;
	/* A post that is on its way points here still: it will come and end it. */
	if (!vdb__fetch_or(&v->why, VDB__VSOCK_DEAD))
		end(v);
}

static void start_closing(struct vdb__vsock *v)
{
	if (v->closing)
		return;
	v->closing = true;
	vdb__vsock_drop_all(v);
	vdb__vsock_close_listener(v);
	if (v->polling)
		vdb_io_cancel(v->loop, &v->io);
}

static void member_leave(struct vdb__member *member)
{
	struct vdb__vsock *v = vdb__container(member, struct vdb__vsock, as_member);

	start_closing(v);
	vdb__vsock_settled(v);
}

/* ---- The post: on the loop's thread, or on the one that destroys the loop ---- */

static void attach(struct vdb__vsock *v, int status)
{
	if (status < 0) { /* the loop never ran, and never will */
		start_closing(v);
		return;
	}
	v->member = true;
	vdb__loop_join_member(v->loop, &v->as_member);
	vdb__vsock_watch_listener(v);
	vdb__vsock_poll(v);
}

static void woken(struct vdb__post *post, int status)
{
	struct vdb__vsock *v = vdb__container(post, struct vdb__vsock, post);
	uint32_t why = vdb__load(&v->why);

	if (why & VDB__VSOCK_DEAD) {
		v->doomed |= (why & VDB__VSOCK_LEAVE) != 0;
		end(v);
		return;
	}
	/* Acquire: what others did before they asked. They may post it again. */
	why = vdb__exchange(&v->why, 0u);
	if (why & VDB__VSOCK_ATTACH)
		attach(v, status);
	if (why & VDB__VSOCK_RESET)
		vdb__vsock_drop_all(v);
	if (why & VDB__VSOCK_LEAVE) {
		v->doomed = true;
		start_closing(v);
	}
	vdb__vsock_settled(v);
}

static void timer_fired(void *arg)
{
	struct vdb__vsock *v = arg;

	v->timer_at = 0;
	vdb__vsock_timeout(v);
}

bool vdb__vsock_timer(struct vdb__vsock *v, uint64_t at)
{
	uint64_t now;

	if (!v->timer && vdb_timer_create(v->loop, timer_fired, v, &v->timer)) {
		v->timer = NULL;
		return false;
	}
	if (at == UINT64_MAX || (v->timer_at && v->timer_at <= at))
		return true;
	now = vdb__vsock_now();
	v->timer_at = at;
	vdb_timer_arm(v->timer, at > now ? at - now : 0);
	return true;
}

/* ---- Any thread ---- */

uint32_t vdb__vsock_wake(struct vdb__vsock *v, uint32_t why)
{
	/* Acquire, pairs with the exchange in woken(): the loop has let go of the post. */
	uint32_t before = vdb__fetch_or(&v->why, why);

	if (!before)
		vdb__loop_post(v->loop, &v->post);
	return before;
}

void vdb__vsock_set_up(struct vdb__vsock *v)
{
	vdb__list_init(&v->all);
	vdb__list_init(&v->ready);
	vdb__list_init(&v->timed);
	vdb__list_init(&v->batch.link);
	vdb__list_init(&v->as_member.link);
	v->batch.fn = vdb__vsock_batch;
	v->as_member.leave = member_leave;
	v->post.fn = woken;
	v->epoll_fd = -1;
	v->listeners[0] = (struct vdb__vsock_listener){.fd = -1};
	v->listeners[1] = (struct vdb__vsock_listener){.fd = -1, .seqpacket = true};
}
