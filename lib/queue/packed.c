/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed layout (virtio 1.2, 2.8): one ring of descriptors that driver and device
 * both write, each lap told from the last by a wrap counter, and a word for each side that says
 * when it wants to be notified.
 *
 *     driver: flags of a buffer's first descriptor (release); full fence; load device event; ring?
 *     device: store device event; full fence; load the flags where the next buffer will be; sleep?
 *
 * and the other way round with used descriptors, driver event and interrupts. One of the two fences comes
 * first in the order of all fences: ring.h says what follows.
 */
#include "base/atomic.h"
#include "base/error.h"
#include "queue/arm.h"
#include "queue/virtq.h"

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1u << VRING_PACKED_DESC_F_USED)
#define WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)
#define FRESH WRAP /* offset 0, first lap */

/* ---- Places ---- */

static struct vdb__packed_place place_of(uint32_t word)
{
	return (struct vdb__packed_place){.at = word & (WRAP - 1), .wrap = (word & WRAP) != 0};
}

static uint32_t word_of(struct vdb__packed_place place)
{
	return place.at | (place.wrap ? WRAP : 0);
}

/* n <= entries: at most one lap. */
static struct vdb__packed_place move(const struct vdb__virtq *q, struct vdb__packed_place place, uint32_t n)
{
	uint32_t at = place.at + n;

	if (at < q->entries)
		return (struct vdb__packed_place){.at = (uint16_t)at, .wrap = place.wrap};
	return (struct vdb__packed_place){.at = (uint16_t)(at - q->entries), .wrap = !place.wrap};
}

/* ---- Life ---- */

static int packed_check(const struct vdb_virtq_config *c)
{
	uint32_t avail = c->position & 0xffff, used = c->position >> 16;

	if (c->driver % sizeof(uint32_t) || c->device % sizeof(uint32_t))
		return vdb__fail(EINVAL, "virtqueue: events at %#llx and %#llx: not multiples of 4",
		                 (unsigned long long)c->driver, (unsigned long long)c->device);
	if ((avail & (WRAP - 1)) >= c->entries || avail != used)
		return vdb__fail(EINVAL, "virtqueue: position %#x; its halves are equal, offsets below %u",
		                 c->position, c->entries);
	return 0;
}

static bool packed_translate(struct vdb__virtq *q)
{
	struct vdb__view *view = &q->base.view;
	struct vdb__packed *p = &q->packed;

	p->desc = vdb__view_ptr(view, q->desc, q->entries * sizeof(*p->desc), VDB__WRITE);
	p->driver_event = vdb__view_ptr(view, q->driver, sizeof(uint32_t), VDB__READ);
	p->device_event = vdb__view_ptr(view, q->device, sizeof(uint32_t), VDB__WRITE);
	return p->desc && p->driver_event && p->device_event;
}

static void packed_begin(struct vdb__virtq *q, const struct vdb_virtq_config *config)
{
	struct vdb__packed *p = &q->packed;

	p->avail = place_of(config->flags & VDB_VIRTQ_RESUME ? config->position : FRESH);
	p->used = p->published = p->avail;
}

static uint32_t packed_position(const struct vdb__virtq *q)
{
	return word_of(q->packed.avail) | word_of(q->packed.used) << 16;
}

/* ---- From the guest ---- */

/* The second word of a descriptor: len, id, flags. */
static uint64_t *rest_of(const struct vdb__virtq *q, uint32_t at)
{
	return (uint64_t *)(void *)&q->packed.desc[at].len;
}

static struct vdb__desc decode(uint64_t addr, uint64_t rest)
{
	return (struct vdb__desc){.addr = addr,
	                          .len = (uint32_t)rest,
	                          .link = (uint16_t)(rest >> 32),
	                          .flags = (uint16_t)(rest >> 48)};
}

/* 2.8.1: the driver's bit is this lap's, the device's not yet. */
static bool is_available(uint32_t flags, bool wrap)
{
	return ((flags & F_AVAIL) != 0) == wrap && ((flags & F_USED) != 0) != wrap;
}

static bool packed_pending(struct vdb_queue *base)
{
	const struct vdb__virtq *q = vdb__virtq(base);
	struct vdb__packed_place place = q->packed.avail;

	return base->state == VDB_RING_READY &&
	       is_available(vdb__load(&q->packed.desc[place.at].flags), place.wrap);
}

/* All of its descriptors, in order; of their flags only WRITE counts (2.8.7). */
static bool walk_table(struct vdb__virtq *q, const struct vdb__desc *indirect, struct vdb__chain *chain)
{
	struct vdb__table table;
	struct vdb__desc d;
	uint64_t words[2];

	if (!vdb__table_open(q, indirect, &table))
		return false;
	for (uint32_t i = 0; i < table.n; i++) {
		if (!vdb__table_get(&table, i, words))
			return false;
		d = decode(words[0], words[1]);
		if (!vdb__chain_add(q, chain, &d))
			return false;
	}
	return true;
}

/*
 * The buffer whose first descriptor has `rest` as its second word. Its id is in the last one. Only what the
 * driver may have made available belongs to it: a ring's worth less what we have not given back.
 */
static bool walk(struct vdb__virtq *q, uint64_t rest, struct vdb__chain *chain, uint16_t *id, uint32_t *n)
{
	struct vdb__packed *p = &q->packed;
	uint32_t at = p->avail.at, room = q->entries - p->taken;
	struct vdb__desc d;

	for (*n = 1; *n <= room; ++*n) {
		d = decode(vdb__load(&p->desc[at].addr), rest);
		*id = d.link;
		if (d.flags & VRING_DESC_F_INDIRECT)
			return walk_table(q, &d, chain);
		if (!vdb__chain_add(q, chain, &d))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return true;
		at = at + 1 < q->entries ? at + 1 : 0;
		rest = vdb__load(rest_of(q, at));
	}
	return false;
}

static bool packed_pop(struct vdb_queue *base, struct vdb__elem *elem, struct vdb__seg *segs)
{
	struct vdb__virtq *q = vdb__virtq(base);
	struct vdb__packed *p = &q->packed;
	struct vdb__chain chain = {.segs = segs};
	uint64_t rest;
	uint32_t n;
	uint16_t id;

	if (base->state != VDB_RING_READY)
		return false;
	/* Acquire, pairs with the driver's release of these flags: all of the buffer is in memory. */
	rest = vdb__load_acquire(rest_of(q, p->avail.at));
	if (!is_available((uint32_t)(rest >> 48), p->avail.wrap))
		return false;
	if (!walk(q, rest, &chain, &id, &n) || id >= q->entries) {
		vdb__virtq_break(base, VDB_REASON_CHAIN);
		return false;
	}
	if (!vdb__virtq_take(q, id, &chain, elem))
		return false;
	q->slots[id].descs = (uint16_t)n;
	p->avail = move(q, p->avail, n);
	p->taken += n;
	/* Acquire, as above: its address may be read now. */
	elem->more = is_available(vdb__load_acquire(&p->desc[p->avail.at].flags), p->avail.wrap);
	if (elem->more) /* see split.c; the descriptors lie in a row, which processors know */
		vdb__view_prefetch(&q->base.view, vdb__load(&p->desc[p->avail.at].addr),
		                   vdb__load(&p->desc[p->avail.at].len));
	return true;
}

/* ---- To the guest ---- */

/* The driver finds uses in order: as long as the first of a batch is missing it does not see the
 * others. So that one is kept back for publish(). */
static void packed_stage(struct vdb__virtq *q, uint16_t id, uint32_t used_len)
{
	struct vdb__packed *p = &q->packed;
	uint32_t n = q->slots[id].descs, flags = p->used.wrap ? F_AVAIL | F_USED : 0;
	uint64_t rest;

	if (used_len)
		flags |= VRING_DESC_F_WRITE; /* len counts */
	rest = used_len | (uint64_t)id << 32 | (uint64_t)flags << 48;
	if (p->staged)
		vdb__store(rest_of(q, p->used.at), rest);
	else
		p->first = rest;
	p->last = p->used.at;
	p->used = move(q, p->used, n);
	p->staged += n;
}

static void mark(struct vdb__virtq *q, uint32_t from, uint32_t to)
{
	vdb__view_mark(&q->base.view, q->desc + (uint64_t)from * sizeof(struct vring_packed_desc),
	               (uint64_t)(to - from) * sizeof(struct vring_packed_desc));
}

/* All but the first, which is written after: who harvests after having seen a use finds it marked. */
static void mark_batch(struct vdb__virtq *q)
{
	const struct vdb__packed *p = &q->packed;

	if (p->last > p->published.at) {
		mark(q, p->published.at + 1u, p->last + 1u);
	} else if (p->last < p->published.at) {
		mark(q, p->published.at, q->entries);
		mark(q, 0, p->last + 1u);
	}
}

/* The event is among the `n` descriptors from `from` on. */
static bool event_passed(const struct vdb__virtq *q, struct vdb__packed_place event,
                         struct vdb__packed_place from, uint32_t n)
{
	uint32_t distance = event.at - (uint32_t)from.at + (event.wrap != from.wrap ? q->entries : 0);

	return distance < n;
}

static bool interrupt_wanted(const struct vdb__virtq *q, struct vdb__packed_place from, uint32_t n)
{
	struct vdb__packed_place place;
	uint32_t event, flags;

	/* Used descriptors are stored, the driver's event is loaded: pairs with the fence of a driver that
	 * enables interrupts and looks again. */
	vdb__fence_full();
	event = vdb__load(q->packed.driver_event);
	flags = event >> 16;
	place = place_of(event & 0xffff);
	if (flags == VRING_PACKED_EVENT_FLAG_DISABLE)
		return false;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !vdb__virtq_has(q, VDB_VIRTQ_EVENT_IDX) ||
	    place.at >= q->entries)
		return true; /* enabled, or nonsense: rather once too often */
	return event_passed(q, place, from, n);
}

static bool packed_publish(struct vdb_queue *base)
{
	struct vdb__virtq *q = vdb__virtq(base);
	struct vdb__packed *p = &q->packed;
	struct vdb__packed_place from = p->published;
	uint32_t n = p->staged;

	if (base->state != VDB_RING_READY || n == 0)
		return false;
	mark_batch(q);
	/* Release, pairs with the driver's acquire of these flags: the rest of the batch and its data
	 * are in memory. */
	vdb__store_release(rest_of(q, from.at), p->first);
	mark(q, from.at, from.at + 1u);
	p->published = p->used;
	p->taken -= n;
	p->staged = 0;
	return interrupt_wanted(q, from, n);
}

static void write_event(struct vdb__virtq *q, uint32_t word)
{
	vdb__store(q->packed.device_event, word);
}

/* After what is written must not be reordered: marking has a fence of its own. */
static void mark_event(struct vdb__virtq *q)
{
	vdb__view_mark(&q->base.view, q->device, sizeof(uint32_t));
}

static void packed_hush(struct vdb__virtq *q)
{
	write_event(q, VRING_PACKED_EVENT_FLAG_DISABLE << 16);
	mark_event(q);
}

static bool packed_arm(struct vdb_queue *base)
{
	struct vdb__virtq *q = vdb__virtq(base);
	bool pending;

	if (base->state != VDB_RING_READY)
		return false;
	q->awake = false;
	if (vdb__virtq_has(q, VDB_VIRTQ_EVENT_IDX))
		write_event(q, word_of(q->packed.avail) | VRING_PACKED_EVENT_FLAG_DESC << 16);
	else
		write_event(q, VRING_PACKED_EVENT_FLAG_ENABLE << 16);
	vdb__arm_fence();
	pending = packed_pending(base);
	mark_event(q); /* last: its fence must not do the work of ours */
	return pending;
}

const struct vdb__virtq_layout vdb__virtq_packed = {
        .ops =
                {
                        .name = "packed virtqueue",
                        .attach = vdb__virtq_attach,
                        .pending = packed_pending,
                        .ready = vdb__virtq_ready,
                        .pop = packed_pop,
                        .complete = vdb__virtq_complete,
                        .publish = packed_publish,
                        .arm = packed_arm,
                        .disarm = vdb__virtq_disarm,
                        .remap = vdb__virtq_remap,
                        .fail = vdb__virtq_break,
                        .destroy = vdb__virtq_destroy,
                },
        .check = packed_check,
        .translate = packed_translate,
        .begin = packed_begin,
        .position = packed_position,
        .stage = packed_stage,
        .hush = packed_hush,
        .disarm = packed_hush,
};
