/* SPDX-License-Identifier: Apache-2.0 */
/* What is the same for both layouts of a virtqueue: its making, its requests, its end. */
#include "queue/virtq.h"

#include <stdlib.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"

#define ALL_FLAGS \
	(VDB_VIRTQ_PACKED | VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_INDIRECT | VDB_VIRTQ_IN_ORDER | VDB_VIRTQ_RESUME)
#define MAX_SEGMENTS 1024u
#define MAX_LEN 0x7ffff000u /* what one read() or write() moves, and a result can tell */

/* ---- Life ---- */

void vdb__virtq_break(struct vdb_queue *base, uint32_t reason)
{
	if (base->state == VDB_RING_BROKEN)
		return;
	base->state = VDB_RING_BROKEN;
	base->reason = reason;
	base->breaks++;
}

void vdb__virtq_attach(struct vdb_queue *base, const struct vdb__queue_identity *identity)
{
	struct vdb__virtq *q = vdb__virtq(base);

	(void)identity; /* a virtio device has a config space for that */
	(void)vdb__view_refresh(&base->view);
	if (!q->layout->translate(q))
		vdb__virtq_break(base, VDB_REASON_MEMORY);
	else
		base->state = VDB_RING_READY;
}

bool vdb__virtq_ready(struct vdb_queue *base, uint32_t inflight)
{
	struct vdb__virtq *q = vdb__virtq(base);

	(void)inflight; /* a virtqueue is reset by destroying it */
	if (base->state != VDB_RING_READY)
		return false;
	if (!q->awake)
		q->layout->hush(q);
	q->awake = true;
	return true;
}

void vdb__virtq_disarm(struct vdb_queue *base)
{
	struct vdb__virtq *q = vdb__virtq(base);

	if (base->state != VDB_RING_READY || q->awake)
		return;
	q->layout->disarm(q);
	q->awake = true;
}

void vdb__virtq_remap(struct vdb_queue *base)
{
	struct vdb__virtq *q = vdb__virtq(base);

	(void)vdb__view_refresh(&base->view);
	if (base->state == VDB_RING_READY && !q->layout->translate(q))
		vdb__virtq_break(base, VDB_REASON_MEMORY);
}

void vdb__virtq_destroy(struct vdb_queue *base)
{
	struct vdb__virtq *q = vdb__virtq(base);

	if (q->left_at)
		*q->left_at = q->layout->position(q);
	vdb__view_drop(&base->view);
	free(q->order);
	free(q->slots);
	free(q);
}

/* ---- Requests ---- */

/* Of what order_head and a count below `entries` add up to: no division. */
static uint32_t order_at(const struct vdb__virtq *q, uint32_t count)
{
	uint32_t at = q->order_head + count;

	return at < q->entries ? at : at - q->entries;
}

bool vdb__virtq_take(struct vdb__virtq *q, uint16_t id, struct vdb__chain *chain, struct vdb__elem *elem)
{
	struct vdb__virtq_slot *slot = &q->slots[id];

	*elem = (struct vdb__elem){0};
	if (!chain->error && chain->readable + chain->writable > q->base.max_len)
		chain->error = -E2BIG;
	if (slot->state != VDB__SLOT_FREE ||
	    !q->framing->parse(q->framing_ctx, &q->base.view, chain, elem, &slot->frame)) {
		vdb__virtq_break(&q->base, VDB_REASON_CHAIN);
		return false;
	}
	if (chain->error)
		elem->error = chain->error;
	if (elem->error)
		elem->nseg = elem->nread = 0;
	elem->steps = chain->steps;
	elem->cookie = id;
	slot->state = VDB__SLOT_TAKEN;
	if (q->order)
		q->order[order_at(q, q->order_count++)] = id;
	return true;
}

/* Every use that those before it do not hold back any more. */
static void stage_in_order(struct vdb__virtq *q)
{
	struct vdb__virtq_slot *slot;
	uint16_t id;

	for (; q->order_count; q->order_count--) {
		id = q->order[q->order_head];
		slot = &q->slots[id];
		if (slot->state != VDB__SLOT_DONE)
			return;
		slot->state = VDB__SLOT_FREE;
		q->layout->stage(q, id, slot->used_len);
		q->order_head = order_at(q, 1);
	}
}

void vdb__virtq_complete(struct vdb_queue *base, uint64_t cookie, int64_t result, uint64_t written)
{
	struct vdb__virtq *q = vdb__virtq(base);
	struct vdb__virtq_slot *slot = &q->slots[cookie];
	uint32_t used_len;

	if (base->state != VDB_RING_READY)
		return; /* a broken queue is not written to any more */
	used_len = q->framing->finish(q->framing_ctx, &base->view, &slot->frame, result, written);
	if (q->order) {
		slot->state = VDB__SLOT_DONE;
		slot->used_len = used_len;
		stage_in_order(q);
	} else {
		slot->state = VDB__SLOT_FREE;
		q->layout->stage(q, (uint16_t)cookie, used_len);
	}
}

/* ---- Making ---- */

static int check_limits(struct vdb_virtq_config *c)
{
	if ((c->flags & ~ALL_FLAGS) != 0)
		return vdb__fail(EINVAL, "virtqueue: flags %#x; see VDB_VIRTQ_*", c->flags);
	if (c->entries == 0 || c->entries > VDB_VIRTQ_MAX_SIZE)
		return vdb__fail(EINVAL, "virtqueue: %u entries; give 1 to %u", c->entries,
		                 VDB_VIRTQ_MAX_SIZE);
	if (c->max_segments == 0)
		c->max_segments = 128;
	if (c->max_segments > MAX_SEGMENTS)
		return vdb__fail(EINVAL, "virtqueue: max_segments %u; at most %u", c->max_segments,
		                 MAX_SEGMENTS);
	if (c->max_len == 0)
		c->max_len = MAX_LEN;
	if (c->max_len > MAX_LEN)
		return vdb__fail(EINVAL, "virtqueue: max_len %u; at most %u", c->max_len, MAX_LEN);
	if (!(c->flags & VDB_VIRTQ_RESUME) && c->position)
		return vdb__fail(EINVAL, "virtqueue: position %#x without VDB_VIRTQ_RESUME", c->position);
	if (c->desc % 16)
		return vdb__fail(EINVAL, "virtqueue: descriptors at %#llx: not a multiple of 16",
		                 (unsigned long long)c->desc);
	return 0;
}

static const struct vdb__virtq_layout *layout_of(const struct vdb_virtq_config *c)
{
	return c->flags & VDB_VIRTQ_PACKED ? &vdb__virtq_packed : &vdb__virtq_split;
}

static void set_up(struct vdb__virtq *q, const struct vdb_virtq_config *c)
{
	q->layout = layout_of(c);
	q->base.ops = &q->layout->ops;
	q->base.max_segments = c->max_segments;
	q->base.max_len = c->max_len;
	q->flags = c->flags;
	q->entries = c->entries;
	q->desc = c->desc;
	q->driver = c->driver;
	q->device = c->device;
	q->layout->begin(q, c);
}

static int acquire(struct vdb__virtq *q, struct vdb_mem *mem)
{
	q->slots = calloc(q->entries, sizeof(*q->slots));
	if (vdb__virtq_has(q, VDB_VIRTQ_IN_ORDER))
		q->order = calloc(q->entries, sizeof(*q->order));
	if (!q->slots || (vdb__virtq_has(q, VDB_VIRTQ_IN_ORDER) && !q->order))
		return vdb__fail(ENOMEM, "virtqueue: no memory for %u entries", q->entries);
	return vdb__view_init(&q->base.view, mem);
}

int vdb__virtq_create(struct vdb_mem *mem, const struct vdb_virtq_config *config,
                      const struct vdb__framing *framing, void *ctx, struct vdb_queue **out)
{
	struct vdb_virtq_config c;
	struct vdb__virtq *q;
	int err = vdb__config_take(&c, sizeof(c), config, "vdb_virtq_config");

	if (!err)
		err = check_limits(&c);
	if (!err)
		err = layout_of(&c)->check(&c);
	if (err)
		return err;
	q = calloc(1, sizeof(*q));
	if (!q)
		return vdb__fail(ENOMEM, "virtqueue: no memory");
	set_up(q, &c);
	q->framing = framing;
	q->framing_ctx = ctx;
	err = acquire(q, mem);
	if (!err && !q->layout->translate(q))
		err = vdb__fail(
		        EFAULT,
		        "virtqueue at %#llx, %#llx, %#llx: each of its areas must lie in one region of "
		        "memory, and what the device writes in a writable one",
		        (unsigned long long)c.desc, (unsigned long long)c.driver,
		        (unsigned long long)c.device);
	if (err) {
		vdb__virtq_destroy(&q->base);
		return err;
	}
	q->left_at = c.left_at; /* not written for a queue that never was */
	*out = &q->base;
	return 0;
}

VDB_EXPORT int vdb_virtq_create(struct vdb_mem *mem, const struct vdb_virtq_config *config,
                                struct vdb_queue **out)
{
	return vdb__virtq_create(mem, config, &vdb__framing_plain, NULL, out);
}

VDB_EXPORT uint32_t vdb_virtq_position(const struct vdb_queue *queue)
{
	const struct vdb__virtq *q = (const struct vdb__virtq *)(const void *)queue;

	return q->layout->position(q);
}
