/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/ring.h"

#include <stdlib.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "queue/arm.h"
#include "queue/index.h"

#define ALL_FEATURES (VDB_F_EVENT_IDX | VDB_F_SG | VDB_F_MEMOPS)
#define MAX_SEGMENTS 1024u
#define MAX_LEN 0x7ffff000u /* what one read() or write() moves, and a result can tell */

static bool ring_pending(struct vdb_queue *q)
{
	const struct vdb__ring *ring = vdb__ring(q);

	if (!ring->shared)
		return false;
	if (q->state == VDB_RING_READY && !ring->resetting &&
	    vdb__load(&ring->shared->sq_tail.value) != ring->sq_head)
		return true;
	return vdb__ring_beckons(ring);
}

/* Looks how far the driver is. False: nothing new, or what it says cannot be. */
static bool look(struct vdb__ring *ring)
{
	/* Acquire, pairs with the driver's release: the requests before it are in memory, and so is the
	 * cq_head that its count of outstanding requests was made by. */
	uint32_t tail = vdb__load_acquire(&ring->shared->sq_tail.value);
	uint32_t head;

	if (tail == ring->sq_head)
		return false;
	if (!vdb__index_tail_ok(ring->sq_head, tail, ring->sq_entries)) {
		vdb__ring_break(ring, VDB_REASON_SQ_INDEX);
		return false;
	}
	/* Acquire, pairs with the driver's release: it has copied what was in the slots before. */
	head = vdb__load_acquire(&ring->shared->cq_head.value);
	if (!vdb__index_head_ok(ring->cq_head, head, ring->cq_published)) {
		vdb__ring_break(ring, VDB_REASON_CQ_INDEX);
		return false;
	}
	ring->sq_tail = tail;
	ring->cq_head = head;
	return true;
}

static bool ring_pop(struct vdb_queue *q, struct vdb__elem *elem, struct vdb__seg *segs)
{
	struct vdb__ring *ring = vdb__ring(q);

	if (q->state != VDB_RING_READY || ring->resetting || !ring->shared)
		return false;
	if (ring->sq_head == ring->sq_tail && !look(ring))
		return false;
	/* Every request that is taken has a slot for its completion. */
	if (!vdb__index_room(ring->cq_head, ring->sq_head, ring->cq_entries)) {
		vdb__ring_break(ring, VDB_REASON_CQ_FULL);
		return false;
	}
	vdb__ring_fetch(ring, elem, segs);
	ring->sq_head++;
	ring->inflight++;
	elem->more = (uint16_t)vdb__index_count(ring->sq_head, ring->sq_tail);
	return true;
}

static int32_t clamp_result(int64_t result)
{
	if (result > INT32_MAX)
		return INT32_MAX;
	return result < INT32_MIN ? INT32_MIN : (int32_t)result;
}

static void ring_complete(struct vdb_queue *q, uint64_t cookie, int64_t result, uint64_t written)
{
	struct vdb__ring *ring = vdb__ring(q);
	uint64_t *slot;

	(void)written; /* a READ tells the same by its result */
	ring->inflight--;
	if (q->state != VDB_RING_READY || ring->resetting || !ring->shared)
		return;
	slot = ring->cq + (uint64_t)vdb__index_slot(ring->cq_tail, ring->cq_entries) * 2;
	vdb__store(&slot[0], cookie);
	vdb__store(&slot[1], (uint64_t)(uint32_t)clamp_result(result));
	ring->cq_tail++;
}

/* Entries before the index that makes them good: who harvests after having seen a completion
 * finds it marked. */
static void mark_completions(struct vdb__ring *ring)
{
	vdb_gpa_t cq = ring->gpa + VDB_RING_BYTES(ring->sq_entries, 0);
	uint32_t n = vdb__index_count(ring->cq_published, ring->cq_tail);
	uint32_t run = vdb__index_run(ring->cq_published, n, ring->cq_entries);
	uint32_t slot = vdb__index_slot(ring->cq_published, ring->cq_entries);

	vdb__view_mark(&ring->base.view, cq + (uint64_t)slot * sizeof(struct vdb_cqe),
	               (uint64_t)run * sizeof(struct vdb_cqe));
	if (run < n)
		vdb__view_mark(&ring->base.view, cq, (uint64_t)(n - run) * sizeof(struct vdb_cqe));
}

/* The driver wants to hear of completions [old_tail, cq_tail). */
static bool interrupt_wanted(const struct vdb__ring *ring, uint32_t old_tail)
{
	if ((ring->accepted & VDB_F_EVENT_IDX) == 0)
		return true;
	/* cq_tail is stored, cq_event is loaded: pairs with vdb_guest_arm(). */
	vdb__fence_full();
	return vdb__index_wants(vdb__load(&ring->shared->cq_event.value), old_tail, ring->cq_tail);
}

/* One store for each index, however many requests there were. */
static bool publish_indices(struct vdb__ring *ring)
{
	uint32_t old_tail = ring->cq_published;

	if (ring->sq_published == ring->sq_head && old_tail == ring->cq_tail)
		return false;
	if (old_tail != ring->cq_tail)
		mark_completions(ring);
	/* Release, pairs with vdb_guest_sqe()'s acquire: those slots have been copied. */
	vdb__store_release(&ring->shared->sq_head.value, ring->sq_head);
	ring->sq_published = ring->sq_head;
	/* Release, pairs with vdb_guest_reap()'s acquire: the entries are in memory. */
	vdb__store_release(&ring->shared->cq_tail.value, ring->cq_tail);
	ring->cq_published = ring->cq_tail;
	/* Indices after their stores: else a harvest in between would take the mark with the old
	 * values, and the new ones would never be copied. */
	vdb__view_mark(&ring->base.view, ring->gpa, sizeof(struct vdb_ring));
	return old_tail != ring->cq_tail && interrupt_wanted(ring, old_tail);
}

static bool ring_publish(struct vdb_queue *q)
{
	struct vdb__ring *ring = vdb__ring(q);
	bool interrupt = ring->changed;

	ring->changed = false;
	if (q->state == VDB_RING_READY && !ring->resetting && ring->shared)
		interrupt |= publish_indices(ring);
	return interrupt;
}

static bool ring_arm(struct vdb_queue *q)
{
	struct vdb__ring *ring = vdb__ring(q);
	bool pending;

	if (q->state != VDB_RING_READY || !ring->shared)
		return ring_pending(q); /* handshakes ring without being asked */
	vdb__store(&ring->shared->sq_event.value, ring->sq_head);
	vdb__arm_fence(); /* pairs with vdb_guest_submit() */
	pending = ring_pending(q);
	/* Last: marking has a fence of its own, which must not do the work of ours. */
	vdb__view_mark(&q->view, ring->gpa, sizeof(struct vdb_ring));
	return pending;
}

/* An event that lies behind is passed by nobody. */
static void ring_disarm(struct vdb_queue *q)
{
	struct vdb__ring *ring = vdb__ring(q);

	if (q->state != VDB_RING_READY || !ring->shared)
		return;
	vdb__store(&ring->shared->sq_event.value, ring->sq_head - 1);
	vdb__view_mark(&q->view, ring->gpa, sizeof(struct vdb_ring));
}

static void ring_fail(struct vdb_queue *q, uint32_t reason)
{
	vdb__ring_break(vdb__ring(q), reason);
}

static void ring_destroy(struct vdb_queue *q)
{
	vdb__view_drop(&q->view);
	free(vdb__ring(q));
}

static const struct vdb__queue_ops ring_ops = {
        .name = "ring",
        .in_band = true,
        .attach = vdb__ring_attach,
        .pending = ring_pending,
        .ready = vdb__ring_ready,
        .pop = ring_pop,
        .complete = ring_complete,
        .publish = ring_publish,
        .arm = ring_arm,
        .disarm = ring_disarm,
        .remap = vdb__ring_remap,
        .fail = ring_fail,
        .destroy = ring_destroy,
};

/* Puts the defaults where zeroes are, and refuses what cannot be. */
static int check_config(struct vdb_ring_config *c)
{
	if (!VDB_RING_ENTRIES_OK(c->sq_entries))
		return vdb__fail(EINVAL, "ring at %#llx: sq_entries %u is not a power of two from 1 to %u",
		                 (unsigned long long)c->gpa, c->sq_entries, VDB_RING_MAX_ENTRIES);
	if (c->cq_entries == 0)
		c->cq_entries = c->sq_entries;
	if (!VDB_RING_ENTRIES_OK(c->cq_entries) || c->cq_entries < c->sq_entries)
		return vdb__fail(EINVAL, "ring at %#llx: cq_entries %u is not a power of two from %u to %u",
		                 (unsigned long long)c->gpa, c->cq_entries, c->sq_entries,
		                 VDB_RING_MAX_ENTRIES);
	if (c->max_segments == 0)
		c->max_segments = 128;
	if (c->max_segments > MAX_SEGMENTS)
		return vdb__fail(EINVAL, "ring at %#llx: max_segments %u; at most %u",
		                 (unsigned long long)c->gpa, c->max_segments, MAX_SEGMENTS);
	if (c->max_len == 0)
		c->max_len = MAX_LEN;
	if (c->max_len > MAX_LEN)
		return vdb__fail(EINVAL, "ring at %#llx: max_len %u; at most %u", (unsigned long long)c->gpa,
		                 c->max_len, MAX_LEN);
	if (c->features == 0)
		c->features = ALL_FEATURES;
	if ((c->features & ~ALL_FEATURES) != 0)
		return vdb__fail(EINVAL, "ring at %#llx: features %#llx; this library has %#llx",
		                 (unsigned long long)c->gpa, (unsigned long long)c->features, ALL_FEATURES);
	if (c->reserved != 0)
		return vdb__fail(EINVAL, "ring at %#llx: reserved must be 0", (unsigned long long)c->gpa);
	if (c->gpa % VDB_RING_ALIGN != 0)
		return vdb__fail(EINVAL, "ring at %#llx: not a multiple of %u", (unsigned long long)c->gpa,
		                 VDB_RING_ALIGN);
	return 0;
}

VDB_EXPORT int vdb_ring_create(struct vdb_mem *mem, const struct vdb_ring_config *config,
                               struct vdb_queue **out)
{
	struct vdb_ring_config c;
	struct vdb__ring *ring;
	int err = vdb__config_take(&c, sizeof(c), config, "vdb_ring_config");

	if (!err)
		err = check_config(&c);
	if (err)
		return err;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return vdb__fail(ENOMEM, "ring at %#llx: out of memory", (unsigned long long)c.gpa);
	err = vdb__view_init(&ring->base.view, mem);
	if (err) {
		free(ring);
		return err;
	}
	ring->base.ops = &ring_ops;
	ring->base.max_segments = c.max_segments;
	ring->base.max_len = c.max_len;
	ring->gpa = c.gpa;
	ring->sq_entries = c.sq_entries;
	ring->cq_entries = c.cq_entries;
	ring->offered = c.features;
	if (!vdb__ring_translate(ring)) {
		ring_destroy(&ring->base);
		return vdb__fail(EFAULT,
		                 "ring at %#llx: its %llu bytes do not lie in one writable region of memory",
		                 (unsigned long long)c.gpa,
		                 (unsigned long long)VDB_RING_BYTES(c.sq_entries, c.cq_entries));
	}
	*out = &ring->base;
	return 0;
}

VDB_EXPORT void vdb_queue_destroy(struct vdb_queue *queue)
{
	if (queue)
		queue->ops->destroy(queue);
}
