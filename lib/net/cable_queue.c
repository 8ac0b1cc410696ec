/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way through a cable: two queues without a guest. What `in` gives out are empty buffers, and those that
 * come back with something in them are what `out` gives out, which come back empty. Each is the other's
 * driver, and rings its doorbell, which is a word: both are on one thread.
 */
#include "net/cable.h"

#include <stdlib.h>

#include "base/error.h"
#include "io/lane.h"

static struct vdb__cable_queue *queue_of(struct vdb_queue *q)
{
	return (struct vdb__cable_queue *)q;
}

/* ---- Both queues ---- */

static void attach(struct vdb_queue *q, const struct vdb__queue_identity *identity)
{
	(void)q;
	(void)identity; /* nobody to tell */
}

static bool ready(struct vdb_queue *q, uint32_t inflight)
{
	(void)inflight;
	return q->state == VDB_RING_READY;
}

static bool arm(struct vdb_queue *q)
{
	queue_of(q)->armed = true;
	return q->ops->pending(q);
}

static void disarm(struct vdb_queue *q)
{
	queue_of(q)->armed = false;
}

/* Once for all that came of a visit or a batch. */
static bool publish(struct vdb_queue *q)
{
	struct vdb__cable_queue *other = queue_of(q)->other;

	if (!other->armed || !other->base.ops->pending(&other->base))
		return false;
	other->armed = false;
	if (other->lane->phase == VDB__LANE_OPEN)
		vdb__source_ready(&other->lane->source);
	return false; /* there is nobody to interrupt */
}

static void remap(struct vdb_queue *q)
{
	(void)q; /* the memory is what it is */
}

static void fail(struct vdb_queue *q, uint32_t reason)
{
	if (q->state == VDB_RING_BROKEN)
		return;
	q->state = VDB_RING_BROKEN;
	q->reason = reason;
	q->breaks++;
}

static void destroy(struct vdb_queue *q)
{
	vdb__view_drop(&q->view);
}

static struct vdb__elem elem_of(const struct vdb__cable_way *way, const struct vdb__cable_buf *buf,
                                uint32_t len, struct vdb__seg *seg)
{
	uint64_t index = (uint64_t)(buf - way->bufs);

	*seg = (struct vdb__seg){way->gpa + index * VDB__CABLE_BUFFER, len};
	return (struct vdb__elem){.cookie = index, .op = VDB_OP_USER, .nseg = 1, .len = len};
}

static void put_empty(struct vdb__cable_way *way, struct vdb__cable_buf *buf)
{
	vdb__list_append(way->empty.next, &buf->link);
}

/* ---- Into the cable ---- */

static bool in_pending(struct vdb_queue *q)
{
	return !vdb__list_empty(&queue_of(q)->way->empty);
}

static bool in_pop(struct vdb_queue *q, struct vdb__elem *elem, struct vdb__seg *segs)
{
	struct vdb__cable_way *way = queue_of(q)->way;
	struct vdb__list *link = vdb__list_pop(&way->empty);

	if (!link)
		return false;
	*elem = elem_of(way, vdb__container(link, struct vdb__cable_buf, link), VDB__CABLE_BUFFER, segs);
	elem->more = !vdb__list_empty(&way->empty);
	return true;
}

static void in_complete(struct vdb_queue *q, uint64_t cookie, int64_t result, uint64_t written)
{
	struct vdb__cable_way *way = queue_of(q)->way;
	struct vdb__cable_buf *buf = &way->bufs[cookie];

	(void)result;
	buf->len = (uint32_t)written;
	if (written)
		vdb__list_append(&way->filled, &buf->link);
	else
		put_empty(way, buf);
}

static const struct vdb__queue_ops in_ops = {
        .name = "cable in",
        .attach = attach,
        .pending = in_pending,
        .ready = ready,
        .pop = in_pop,
        .complete = in_complete,
        .publish = publish,
        .arm = arm,
        .disarm = disarm,
        .remap = remap,
        .fail = fail,
        .destroy = destroy,
};

/* ---- Out of it ---- */

static bool out_pending(struct vdb_queue *q)
{
	return !vdb__list_empty(&queue_of(q)->way->filled);
}

static bool out_pop(struct vdb_queue *q, struct vdb__elem *elem, struct vdb__seg *segs)
{
	struct vdb__cable_way *way = queue_of(q)->way;
	struct vdb__list *link = vdb__list_pop(&way->filled);
	struct vdb__cable_buf *buf;

	if (!link)
		return false;
	buf = vdb__container(link, struct vdb__cable_buf, link);
	*elem = elem_of(way, buf, buf->len, segs);
	elem->nread = 1;
	elem->more = !vdb__list_empty(&way->filled);
	return true;
}

static void out_complete(struct vdb_queue *q, uint64_t cookie, int64_t result, uint64_t written)
{
	struct vdb__cable_way *way = queue_of(q)->way;

	(void)result;
	(void)written;
	put_empty(way, &way->bufs[cookie]);
}

static const struct vdb__queue_ops out_ops = {
        .name = "cable out",
        .attach = attach,
        .pending = out_pending,
        .ready = ready,
        .pop = out_pop,
        .complete = out_complete,
        .publish = publish,
        .arm = arm,
        .disarm = disarm,
        .remap = remap,
        .fail = fail,
        .destroy = destroy,
};

/* ---- Life ---- */

static int queue_init(struct vdb__cable_queue *q, const struct vdb__queue_ops *ops,
                      struct vdb__cable_way *way, struct vdb_mem *mem)
{
	q->way = way;
	q->other = q == &way->in ? &way->out : &way->in;
	q->base.ops = ops;
	q->base.state = VDB_RING_READY;
	q->base.max_segments = 1;
	q->base.max_len = VDB__CABLE_BUFFER;
	return vdb__view_init(&q->base.view, mem);
}

int vdb__cable_way_init(struct vdb__cable_way *way, struct vdb_mem *mem, vdb_gpa_t gpa, uint32_t buffers)
{
	int rc;

	way->gpa = gpa;
	vdb__list_init(&way->empty);
	vdb__list_init(&way->filled);
	way->bufs = calloc(buffers, sizeof(*way->bufs));
	if (!way->bufs)
		return vdb__fail(ENOMEM, "cable: no memory for %u buffers", buffers);
	for (uint32_t i = buffers; i-- > 0;)
		put_empty(way, &way->bufs[i]);
	rc = queue_init(&way->in, &in_ops, way, mem);
	return rc ? rc : queue_init(&way->out, &out_ops, way, mem);
}

void vdb__cable_way_fini(struct vdb__cable_way *way)
{
	vdb__view_drop(&way->in.base.view);
	vdb__view_drop(&way->out.base.view);
	free(way->bufs);
}
