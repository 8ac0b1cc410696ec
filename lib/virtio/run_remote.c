/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue that is served elsewhere. What it needs here is its call: an eventfd that whoever serves writes to,
 * and a source of the queue's loop that makes interrupts of that.
 *
 * A call lives as a lane does (io/lane_life.c): one word and one post cross threads. It ends when the remote
 * has stopped and the engine has let go of the eventfd; when the loop goes first, nobody listens any more,
 * and the remote's end is the call's.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/error.h"
#include "loop/source.h"
#include "virtio/core.h"

#define WAKE_ATTACH 1u /* the post takes the call to its loop */
#define WAKE_LEAVE 2u  /* the remote has stopped */
#define WAKE_DEAD 4u   /* nobody may post any more */
#define WAKE_GONE 8u   /* nothing of the loop's refers to it */

struct vdb__call {
	struct vdb__source source; /* first */
	struct vdb__vqueue *q;
	struct vdb_tenant *tenant;
	int fd;
	bool belled; /* since the last visit */
	bool attached, leaving;
	uint32_t wake; /* WAKE_*, shared with other threads */
	struct vdb__post post;
	struct vdb__member member;
	uint64_t kicks, visits, triggers; /* written on the loop's thread only */
	uint32_t position;                /* where the remote has stopped */
};

/* ---- Interrupts, on the loop's thread ---- */

static bool pending(struct vdb__source *source)
{
	return ((struct vdb__call *)source)->belled;
}

/* Ever: it is never read, so that a bell is an edge. */
static bool has_rung(const struct vdb__call *call)
{
	struct pollfd look = {.fd = call->fd, .events = POLLIN};

	return poll(&look, 1, 0) == 1;
}

static void interrupt(struct vdb__call *call)
{
	call->belled = false;
	vdb__count(&call->triggers, 1);
	vdb__vqueue_interrupt(call->q);
}

/* Without a bell it is looked at when it is new, or when the loop has lost bells: one too many is harmless.
 */
static uint64_t serve(struct vdb__source *source, uint64_t budget)
{
	struct vdb__call *call = (struct vdb__call *)source;

	(void)budget;
	vdb__count(&call->visits, 1);
	if (call->belled || has_rung(call))
		interrupt(call);
	source->requests++;
	return vdb__loop_request_cost(source->loop);
}

static bool arm(struct vdb__source *source)
{
	return pending(source);
}

static void kicked(struct vdb__source *source)
{
	struct vdb__call *call = (struct vdb__call *)source;

	call->belled = true;
	vdb__count(&call->kicks, 1);
}

static const struct vdb__source_ops source_ops = {
        .pending = pending,
        .serve = serve,
        .arm = arm,
        .kicked = kicked,
};

/* ---- Life ---- */

/* The loop has let go, and no post is on its way. */
static void end(struct vdb__call *call)
{
	bool left = call->leaving;

	/* From here on whoever wants it gone does that alone: leave(). */
	if ((vdb__fetch_or(&call->wake, WAKE_GONE) & WAKE_LEAVE) || left)
		vdb__vqueue_closed(call->q); /* frees it */
}

/* A post that is queued still points into the call: it will come and end it. */
static void end_unless_awaited(struct vdb__call *call)
{
	if (!vdb__fetch_or(&call->wake, WAKE_DEAD))
		end(call);
}

static void source_gone(struct vdb__source *source)
{
	struct vdb__call *call = (struct vdb__call *)source;

	vdb__loop_part_member(&call->member);
	end_unless_awaited(call);
}

/* A bell between the last visit and here would be lost: the driver is told once more. */
static void detach(struct vdb__call *call)
{
	if (!call->attached)
		return;
	call->attached = false;
	if (has_rung(call))
		interrupt(call);
	vdb__source_remove(&call->source, source_gone);
}

static void member_leave(struct vdb__member *member)
{
	detach(vdb__container(member, struct vdb__call, member));
}

/* False: it may be gone. */
static bool attach(struct vdb__call *call, int status)
{
	int rc = status;

	if (!rc)
		rc = vdb__source_add(call->q->loop, &call->source, call->tenant, call->fd);
	if (!rc) {
		call->attached = true;
		vdb__loop_join_member(call->q->loop, &call->member);
		return true;
	}
	if (!status)
		vdb__vqueue_broke(call->q, VDB_REASON_HOST);
	end_unless_awaited(call);
	return false;
}

static void woken(struct vdb__post *post, int status)
{
	struct vdb__call *call = vdb__container(post, struct vdb__call, post);
	uint32_t why = vdb__load(&call->wake);

	if (why & WAKE_DEAD) {
		end(call);
		return;
	}
	/* Acquire: what was done before it was asked for. From here on it may be posted again. */
	why = vdb__exchange(&call->wake, 0u);
	call->leaving |= (why & WAKE_LEAVE) != 0;
	if (why & WAKE_ATTACH && !attach(call, status))
		return;
	if (call->leaving)
		detach(call);
}

static void leave(struct vdb__call *call)
{
	uint32_t before = vdb__fetch_or(&call->wake, WAKE_LEAVE);

	if (!before)
		vdb__loop_post(call->q->loop, &call->post);
	else if (before & WAKE_GONE)
		vdb__vqueue_closed(call->q);
}

static void free_call(struct vdb__call *call)
{
	if (call->fd >= 0)
		close(call->fd);
	vdb_tenant_destroy(call->tenant);
	free(call);
}

/* Its tenant is its own: interrupts are not what a VM's limits are for, and who floods them waits in line. */
static int make_call(struct vdb__vqueue *q, struct vdb__call **out)
{
	struct vdb__call *call = calloc(1, sizeof(*call));
	int rc;

	if (!call)
		return vdb__fail(ENOMEM, "virtio '%s': no memory", q->device->ops.name);
	call->q = q;
	call->source.ops = &source_ops;
	vdb__list_init(&call->source.link);
	vdb__list_init(&call->member.link);
	call->member.leave = member_leave;
	call->post.fn = woken;
	call->wake = WAKE_ATTACH;
	call->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = call->fd < 0 ? vdb__fail_sys(errno, "virtio '%s': eventfd", q->device->ops.name)
	                  : vdb_tenant_create(q->loop, &call->tenant);
	if (rc)
		free_call(call);
	else
		*out = call;
	return rc;
}

/* ---- Runner ---- */

/* Memory may have gone since it was enabled. */
static int check_fits(struct vdb__vqueue *q)
{
	struct vdb_queue *queue;
	int rc = vdb__vqueue_make(q, NULL, &queue);

	if (!rc) {
		q->position = vdb_virtq_position(queue);
		vdb_queue_destroy(queue);
	}
	return rc;
}

static int start(struct vdb__vqueue *q)
{
	struct vdb_virtio *device = q->device;
	int rc = check_fits(q);

	if (!rc)
		rc = make_call(q, &q->call);
	if (rc)
		return rc;
	vdb__loop_post(q->loop, &q->call->post);
	device->remote->ops->start(device->remote, &(struct vdb__remote_queue){
	                                                   .index = q->index,
	                                                   .entries = q->size,
	                                                   .desc = q->addr[VDB__QUEUE_DESC],
	                                                   .driver = q->addr[VDB__QUEUE_DRIVER],
	                                                   .device = q->addr[VDB__QUEUE_DEVICE],
	                                                   .position = q->position,
	                                                   .kick_fd = device->transport->kick_fd(
	                                                           device->transport_arg, q->index),
	                                                   .call_fd = q->call->fd,
	                                                   .features = device->accepted,
	                                           });
	return 0;
}

static void close_remote(struct vdb__vqueue *q)
{
	q->device->remote->ops->stop(q->device->remote, q->index);
}

static void drop(struct vdb__vqueue *q)
{
	q->position = q->call->position;
	free_call(q->call);
	q->call = NULL;
}

static void stats(const struct vdb__vqueue *q, struct vdb_lane_stats *now)
{
	now->kicks = vdb__load(&q->call->kicks);
	now->visits = vdb__load(&q->call->visits);
	now->triggers = vdb__load(&q->call->triggers);
}

static int moves(const struct vdb__vqueue *q)
{
	return vdb__fail(EOPNOTSUPP, "virtio '%s': queue %u is served elsewhere, not on a loop",
	                 q->device->ops.name, q->index);
}

const struct vdb__runner vdb__run_remote = {
        .start = start,
        .close = close_remote,
        .drop = drop,
        .stats = stats,
        .moves = moves, /* never, so there is no move */
};

/* ---- What the remote says ---- */

void vdb__remote_stopped(struct vdb__remote *remote, uint32_t index, uint32_t position)
{
	struct vdb__call *call = remote->device->queues[index].call;

	call->position = position;
	leave(call);
}

void vdb__remote_broken(struct vdb__remote *remote, uint32_t index, uint32_t reason)
{
	vdb__vqueue_broke(&remote->device->queues[index], reason);
}

void vdb__remote_ended(struct vdb_virtio *device)
{
	vdb__virtio_ended(device);
}
