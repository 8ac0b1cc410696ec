/* SPDX-License-Identifier: Apache-2.0 */
#include "play.h"

#include <errno.h>

void play_open(struct play *p, struct vdb_queue *queue, bool unique)
{
	static const struct vdb__queue_identity identity = {
	        .capacity = 1 << 20, .block_size = 512, .ops = 0x8000003eu};

	memset(p, 0, sizeof(*p));
	p->queue = queue;
	p->unique = unique;
	queue->capacity = identity.capacity;
	queue->ops->attach(queue, &identity);
}

static void check_elem(const struct play *p)
{
	const struct vdb__elem *e = &p->elem;
	uint64_t len = 0;

	for (uint32_t i = 0; p->unique && i < p->count; i++)
		fuzz_check(p->inflight[i] != e->cookie);
	fuzz_check(p->count < PLAY_INFLIGHT);
	if (e->error) {
		fuzz_check(e->error < 0);
		return;
	}
	fuzz_check((uint64_t)e->first + e->nseg <= p->queue->max_segments);
	fuzz_check(e->nread <= e->nseg);
	for (uint32_t i = 0; i < e->nseg; i++) {
		const struct vdb__seg *s = &p->segs[e->first + i];

		/* A native ring's are the lane's to check. */
		fuzz_check(!p->unique || (s->len && s->gpa + s->len >= s->gpa));
		len += s->len;
	}
	fuzz_check(!e->nseg || len == e->len);
}

static void look(struct play *p)
{
	p->open = p->queue->ops->ready(p->queue, p->count);
}

static bool pop(struct play *p)
{
	look(p);
	if (!p->open || p->count == PLAY_INFLIGHT)
		return false;
	memset(p->segs, 0xee, sizeof(p->segs));
	if (!p->queue->ops->pop(p->queue, &p->elem, p->segs))
		return false;
	check_elem(p);
	p->inflight[p->count++] = p->elem.cookie;
	p->popped++;
	return true;
}

static void complete(struct play *p, uint32_t which, int64_t result)
{
	uint64_t cookie = p->inflight[which];

	p->inflight[which] = p->inflight[--p->count];
	p->completed++;
	p->queue->ops->complete(p->queue, cookie, result, result > 0 ? (uint64_t)result : 0);
}

static void serve(struct play *p)
{
	uint32_t n = 0;

	/* As much as there can be at once, and no more: a guest that goes on is another visit's. */
	while (n++ <= PLAY_INFLIGHT && pop(p))
		complete(p, p->count - 1, p->elem.error ? p->elem.error : 0);
	(void)p->queue->ops->publish(p->queue);
}

void play_step(struct play *p, enum play_step step, struct fuzz_input *in)
{
	const struct vdb__queue_ops *ops = p->queue->ops;

	switch (step) {
	case PLAY_POP:
		(void)pop(p);
		break;
	case PLAY_COMPLETE:
		if (p->count)
			complete(p, fuzz_u8(in) % p->count, (int8_t)fuzz_u8(in));
		break;
	case PLAY_PUBLISH:
		(void)ops->publish(p->queue);
		break;
	case PLAY_ARM:
		(void)ops->arm(p->queue);
		break;
	case PLAY_DISARM:
		ops->disarm(p->queue);
		break;
	case PLAY_PENDING:
		(void)ops->pending(p->queue);
		break;
	case PLAY_REMAP:
		ops->remap(p->queue);
		break;
	case PLAY_FAIL:
		ops->fail(p->queue, VDB_REASON_HOST);
		break;
	default:
		serve(p);
	}
	fuzz_check(p->queue->state <= VDB_RING_BROKEN && p->popped - p->completed == p->count);
}

void play_close(struct play *p)
{
	while (p->count)
		complete(p, p->count - 1, -ECANCELED);
	(void)p->queue->ops->publish(p->queue);
	fuzz_check(p->popped == p->completed);
	vdb_queue_destroy(p->queue);
}
