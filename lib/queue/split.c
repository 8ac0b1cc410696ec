/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split layout (virtio 1.2, 2.7): descriptor table, avail ring, used ring.
 *
 * Notification, both directions alike (here driver to device with EVENT_IDX; without it, for
 * avail_event read used->flags; the other way read used->idx, used_event and "interrupt"):
 *
 *     driver: store avail->idx; full fence; load avail_event; ring if it was passed
 *     device: store avail_event = taken; full fence; load avail->idx; sleep if equal
 *
 * as in ring.h, where it is said why neither fence may be missing. With EVENT_IDX avail_event stays
 * behind while the device is awake, and no bell rings; without it the device says NO_NOTIFY meanwhile.
 */
#include "base/atomic.h"
#include "base/error.h"
#include "queue/arm.h"
#include "queue/virtq.h"

/* Areas, with the words of EVENT_IDX behind the rings whether negotiated or not (2.7). */
static uint64_t desc_bytes(uint32_t entries)
{
	return (uint64_t)entries * sizeof(struct vring_desc);
}

static uint64_t avail_bytes(uint32_t entries)
{
	return sizeof(struct vring_avail) + ((uint64_t)entries + 1) * sizeof(uint16_t);
}

static uint64_t used_bytes(uint32_t entries)
{
	return sizeof(struct vring_used) + (uint64_t)entries * sizeof(struct vring_used_elem) +
	       sizeof(uint16_t);
}

static int split_check(const struct vdb_virtq_config *c)
{
	if (c->entries & (c->entries - 1))
		return vdb__fail(EINVAL, "virtqueue: %u entries; a split one has a power of two", c->entries);
	if (c->driver % VRING_AVAIL_ALIGN_SIZE || c->device % VRING_USED_ALIGN_SIZE)
		return vdb__fail(
		        EINVAL,
		        "virtqueue: avail ring at %#llx, used ring at %#llx: not multiples of 2 and 4",
		        (unsigned long long)c->driver, (unsigned long long)c->device);
	if (c->position > UINT16_MAX)
		return vdb__fail(EINVAL, "virtqueue: position %#x; of a split one it has 16 bits",
		                 c->position);
	return 0;
}

static bool split_translate(struct vdb__virtq *q)
{
	struct vdb__view *view = &q->base.view;
	struct vdb__split *s = &q->split;

	s->desc = vdb__view_ptr(view, q->desc, desc_bytes(q->entries), VDB__READ);
	s->avail = vdb__view_ptr(view, q->driver, avail_bytes(q->entries), VDB__READ);
	s->used = vdb__view_ptr(view, q->device, used_bytes(q->entries), VDB__WRITE);
	return s->desc && s->avail && s->used;
}

static void split_begin(struct vdb__virtq *q, const struct vdb_virtq_config *config)
{
	struct vdb__split *s = &q->split;

	s->mask = (uint16_t)(q->entries - 1);
	s->taken = s->seen = s->staged = s->published = (uint16_t)config->position;
}

static uint32_t split_position(const struct vdb__virtq *q)
{
	return q->split.taken;
}

/* ---- From the guest ---- */

static bool split_pending(struct vdb_queue *base)
{
	const struct vdb__virtq *q = vdb__virtq(base);

	return base->state == VDB_RING_READY && vdb__load(&q->split.avail->idx) != q->split.taken;
}

/* Looks how far the driver is. False: nothing new, or what it says cannot be. */
static bool look(struct vdb__virtq *q)
{
	struct vdb__split *s = &q->split;
	/* Acquire, pairs with the driver's release (or barrier): entries and descriptors are in memory. */
	uint16_t idx = vdb__load_acquire(&s->avail->idx);
	uint16_t ahead = (uint16_t)(idx - s->taken);
	uint16_t held = (uint16_t)(s->taken - s->published);

	if (ahead == 0)
		return false;
	/* Each buffer takes a descriptor at least, and gives it back with its use. */
	if (ahead + (uint32_t)held > q->entries) {
		vdb__virtq_break(&q->base, VDB_REASON_SQ_INDEX);
		return false;
	}
	s->seen = idx;
	return true;
}

static struct vdb__desc decode(uint64_t addr, uint64_t rest)
{
	return (struct vdb__desc){.addr = addr,
	                          .len = (uint32_t)rest,
	                          .flags = (uint16_t)(rest >> 32),
	                          .link = (uint16_t)(rest >> 48)};
}

static bool from_table(const struct vdb__table *table, uint32_t i, struct vdb__desc *d)
{
	uint64_t words[2];

	if (!vdb__table_get(table, i, words))
		return false;
	*d = decode(words[0], words[1]);
	return true;
}

/* Its descriptors are linked as those of the ring, beginning with the first. */
static bool walk_table(struct vdb__virtq *q, const struct vdb__desc *indirect, struct vdb__chain *chain)
{
	struct vdb__table table;
	struct vdb__desc d;
	uint32_t i = 0, steps;

	if (!vdb__table_open(q, indirect, &table))
		return false;
	for (steps = 0; steps < table.n; steps++) {
		if (i >= table.n || !from_table(&table, i, &d) || (d.flags & VRING_DESC_F_INDIRECT))
			return false;
		if (!vdb__chain_add(q, chain, &d))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return true;
		i = d.link;
	}
	return false; /* a loop */
}

/* False: the chain cannot be. As many steps as there are descriptors, and the table's. */
static bool walk(struct vdb__virtq *q, uint32_t i, struct vdb__chain *chain)
{
	const uint64_t *words;
	struct vdb__desc d;
	uint32_t steps;

	for (steps = 0; steps < q->entries; steps++) {
		if (i >= q->entries)
			return false;
		words = (const uint64_t *)(const void *)&q->split.desc[i];
		d = decode(vdb__load(&words[0]), vdb__load(&words[1]));
		if (d.flags & VRING_DESC_F_INDIRECT)
			return walk_table(q, &d, chain);
		if (!vdb__chain_add(q, chain, &d))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return true;
		i = d.link;
	}
	return false; /* a loop */
}

/* What will be read first of the next chain: its descriptor, and what that names, a table, a header or a
 * packet. They were written last on the driver's processor, from where they take longer than this request.
 * Only hints are made of what is read here. */
static void prefetch_next(const struct vdb__virtq *q)
{
	const struct vdb__split *s = &q->split;
	uint16_t next = s->taken, head = vdb__load(&s->avail->ring[next & s->mask]);
	const uint64_t *words;

	if (head < q->entries) {
		words = (const uint64_t *)(const void *)&s->desc[head];
		vdb__view_prefetch(&q->base.view, vdb__load(&words[0]), (uint32_t)vdb__load(&words[1]));
	}
	if (++next == s->seen) /* what lies behind may be about to be written */
		return;
	head = vdb__load(&s->avail->ring[next & s->mask]);
	if (head < q->entries)
		__builtin_prefetch(&s->desc[head]);
}

static bool split_pop(struct vdb_queue *base, struct vdb__elem *elem, struct vdb__seg *segs)
{
	struct vdb__virtq *q = vdb__virtq(base);
	struct vdb__split *s = &q->split;
	struct vdb__chain chain = {.segs = segs};
	uint16_t head;

	if (base->state != VDB_RING_READY || (s->taken == s->seen && !look(q)))
		return false;
	head = vdb__load(&s->avail->ring[s->taken & s->mask]);
	if (!walk(q, head, &chain)) {
		vdb__virtq_break(base, VDB_REASON_CHAIN);
		return false;
	}
	s->taken++;
	if (s->taken != s->seen)
		prefetch_next(q);
	if (!vdb__virtq_take(q, head, &chain, elem))
		return false;
	elem->more = (uint16_t)(s->seen - s->taken);
	return true;
}

/* ---- To the guest ---- */

static void split_stage(struct vdb__virtq *q, uint16_t id, uint32_t used_len)
{
	struct vdb__split *s = &q->split;
	vring_used_elem_t *elem = &s->used->ring[s->staged & s->mask];

	vdb__store(&elem->id, id);
	vdb__store(&elem->len, used_len);
	s->staged++;
}

/* Before the index that makes them good: who harvests after having seen a use finds it marked. */
static void mark_entries(struct vdb__virtq *q)
{
	const struct vdb__split *s = &q->split;
	vdb_gpa_t ring = q->device + sizeof(struct vring_used);
	uint32_t n = (uint16_t)(s->staged - s->published), slot = s->published & s->mask;
	uint32_t run = n < q->entries - slot ? n : q->entries - slot;

	vdb__view_mark(&q->base.view, ring + slot * sizeof(struct vring_used_elem),
	               run * sizeof(struct vring_used_elem));
	if (run < n)
		vdb__view_mark(&q->base.view, ring, (n - run) * sizeof(struct vring_used_elem));
}

/* The driver wants to hear of uses [old, published). */
static bool interrupt_wanted(const struct vdb__virtq *q, uint16_t old)
{
	const struct vdb__split *s = &q->split;
	uint16_t event;

	/* used->idx is stored, used_event or flags are loaded: pairs with the fence of a driver that
	 * enables interrupts and looks again. */
	vdb__fence_full();
	if (!vdb__virtq_has(q, VDB_VIRTQ_EVENT_IDX))
		return !(vdb__load(&s->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	event = vdb__load(&s->avail->ring[q->entries]);
	return (uint16_t)(event - old) < (uint16_t)(s->published - old);
}

static bool split_publish(struct vdb_queue *base)
{
	struct vdb__virtq *q = vdb__virtq(base);
	struct vdb__split *s = &q->split;
	uint16_t old = s->published;

	if (base->state != VDB_RING_READY || old == s->staged)
		return false;
	mark_entries(q);
	/* Release, pairs with the driver's acquire of used->idx: entries and data are in memory. */
	vdb__store_release(&s->used->idx, s->staged);
	s->published = s->staged;
	/* After the store: else a harvest in between would take the mark with the old index. */
	vdb__view_mark(&base->view, q->device, sizeof(struct vring_used));
	return interrupt_wanted(q, old);
}

/* Where the driver looks before it rings. */
static uint16_t *avail_event(const struct vdb__virtq *q)
{
	return (uint16_t *)(void *)&q->split.used->ring[q->entries];
}

/* What tells the driver whether to ring has been written. */
static void mark_request(struct vdb__virtq *q)
{
	if (vdb__virtq_has(q, VDB_VIRTQ_EVENT_IDX))
		vdb__view_mark(&q->base.view, q->device + used_bytes(q->entries) - sizeof(uint16_t),
		               sizeof(uint16_t));
	else
		vdb__view_mark(&q->base.view, q->device, sizeof(struct vring_used));
}

static void split_hush(struct vdb__virtq *q)
{
	if (vdb__virtq_has(q, VDB_VIRTQ_EVENT_IDX))
		return;
	vdb__store(&q->split.used->flags, (uint16_t)VRING_USED_F_NO_NOTIFY);
	mark_request(q);
}

/* An event that lies behind is passed by nobody. */
static void split_disarm(struct vdb__virtq *q)
{
	if (vdb__virtq_has(q, VDB_VIRTQ_EVENT_IDX)) {
		vdb__store(avail_event(q), (uint16_t)(q->split.taken - 1));
		mark_request(q);
	} else {
		split_hush(q);
	}
}

static bool split_arm(struct vdb_queue *base)
{
	struct vdb__virtq *q = vdb__virtq(base);
	struct vdb__split *s = &q->split;
	bool pending;

	if (base->state != VDB_RING_READY)
		return false;
	q->awake = false;
	if (vdb__virtq_has(q, VDB_VIRTQ_EVENT_IDX))
		vdb__store(avail_event(q), s->taken);
	else
		vdb__store(&s->used->flags, (uint16_t)0);
	vdb__arm_fence();
	pending = split_pending(base);
	/* Last: marking has a fence of its own, which must not do the work of ours. */
	mark_request(q);
	return pending;
}

const struct vdb__virtq_layout vdb__virtq_split = {
        .ops =
                {
                        .name = "split virtqueue",
                        .attach = vdb__virtq_attach,
                        .pending = split_pending,
                        .ready = vdb__virtq_ready,
                        .pop = split_pop,
                        .complete = vdb__virtq_complete,
                        .publish = split_publish,
                        .arm = split_arm,
                        .disarm = vdb__virtq_disarm,
                        .remap = vdb__virtq_remap,
                        .fail = vdb__virtq_break,
                        .destroy = vdb__virtq_destroy,
                },
        .check = split_check,
        .translate = split_translate,
        .begin = split_begin,
        .position = split_position,
        .stage = split_stage,
        .hush = split_hush,
        .disarm = split_disarm,
};
