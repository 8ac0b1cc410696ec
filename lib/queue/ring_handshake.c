/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a driver and a ring's device come together, and come together again.
 *
 *     device: attach: a generation that the driver's words do not mean, state RESET
 *     driver: ready = 0; reset = R (neither 0 nor what it was); rings
 *     device: takes no more requests; when none is in flight: its indices = 0,
 *             state = RESET, generation = R (release); interrupts
 *     driver: sees generation R (acquire): its indices = 0, version, features,
 *             ready = R (release); rings
 *     device: sees ready R (acquire): latches version and features, once;
 *             state = READY or BROKEN; interrupts
 *
 * What memory holds from before the boot never counts as a driver, since `ready` is not the
 * generation of a device that has just been attached.
 */
#include "base/atomic.h"
#include "queue/index.h"
#include "queue/ring.h"

/* After the store: a harvest in between takes the mark with the old content, and nobody copies
 * the new one. */
static void mark_header(struct vdb__ring *ring)
{
	vdb__view_mark(&ring->base.view, ring->gpa, sizeof(struct vdb_ring));
}

bool vdb__ring_translate(struct vdb__ring *ring)
{
	uint64_t bytes = VDB_RING_BYTES(ring->sq_entries, ring->cq_entries);

	ring->shared = vdb__view_ptr(&ring->base.view, ring->gpa, bytes, VDB__WRITE);
	if (!ring->shared)
		return false;
	ring->sq = (const uint64_t *)(const void *)(ring->shared + 1);
	ring->cq = (uint64_t *)(void *)(ring->shared + 1) + (uint64_t)ring->sq_entries * 4;
	return true;
}

static void write_state(struct vdb__ring *ring, uint32_t state, uint32_t reason)
{
	struct vdb_ring_device *device;

	ring->base.state = state;
	ring->changed = true;
	if (!ring->shared)
		return;
	device = &ring->shared->device;
	vdb__store(&device->reason, reason);
	/* Release, pairs with the driver's acquire of state: it reads the reason after. */
	vdb__store_release(&device->state, state);
	mark_header(ring);
}

/* What is staged is dropped: its driver is stopped, or has asked for it. */
void vdb__ring_break(struct vdb__ring *ring, uint32_t reason)
{
	if (ring->base.state == VDB_RING_BROKEN)
		return;
	ring->base.reason = reason;
	ring->base.breaks++;
	write_state(ring, VDB_RING_BROKEN, reason);
}

/* The device's line and indices as they are at the beginning of a generation. */
static void begin(struct vdb__ring *ring, uint32_t generation)
{
	struct vdb_ring *shared = ring->shared;

	ring->sq_head = ring->sq_published = ring->sq_tail = 0;
	ring->cq_head = ring->cq_published = ring->cq_tail = 0;
	ring->accepted = 0;
	ring->generation = generation;
	vdb__store(&shared->sq_head.value, 0);
	vdb__store(&shared->sq_event.value, 0);
	vdb__store(&shared->cq_tail.value, 0);
	vdb__store(&shared->device.version, VDB_ABI_VERSION);
	vdb__store(&shared->device.features, ring->offered);
	vdb__store(&shared->device.capacity, ring->base.capacity);
	vdb__store(&shared->device.block_size, ring->identity.block_size);
	vdb__store(&shared->device.max_segments, ring->base.max_segments);
	vdb__store(&shared->device.max_len, ring->base.max_len);
	vdb__store(&shared->device.ops, ring->identity.ops);
	write_state(ring, VDB_RING_RESET, VDB_REASON_NONE);
	/* Release, pairs with the driver's acquire of generation: all of the above is old news then. */
	vdb__store_release(&shared->device.generation, generation);
	mark_header(ring);
}

void vdb__ring_attach(struct vdb_queue *q, const struct vdb__queue_identity *identity)
{
	struct vdb__ring *ring = vdb__ring(q);
	uint32_t ready, reset;

	ring->identity = *identity;
	q->capacity = identity->capacity;
	(void)vdb__view_refresh(&q->view);
	if (!vdb__ring_translate(ring)) {
		vdb__ring_break(ring, VDB_REASON_MEMORY);
		return;
	}
	reset = vdb__load_acquire(&ring->shared->driver.reset);
	ready = vdb__load(&ring->shared->driver.ready);
	begin(ring, vdb__index_first_generation(ready, reset));
}

/*
 * A driver that asks has taken `ready` back, and names what it wants; one that was served has
 * ready == reset == generation; anything else is from before our time. No memory of what was
 * asked before: a driver may have asked before we came, or have been stopped between two words.
 *
 * One that starts over with memory wiped may ask with the very word that was served last, since
 * it cannot know. Then our own line was wiped too, which tells.
 */
static bool wants_reset(const struct vdb__ring *ring, uint32_t reset, uint32_t ready)
{
	return reset != 0 && ready != reset &&
	       (reset != ring->generation || vdb__load(&ring->shared->device.generation) != ring->generation);
}

bool vdb__ring_beckons(const struct vdb__ring *ring)
{
	uint32_t reset, ready;

	if (!ring->shared)
		return false;
	reset = vdb__load_acquire(&ring->shared->driver.reset);
	ready = vdb__load(&ring->shared->driver.ready);
	if (ring->resetting || wants_reset(ring, reset, ready))
		/* Seen already and waiting: nothing to do before the last completion. */
		return !ring->resetting || ring->inflight == 0;
	return ring->base.state == VDB_RING_RESET && ready == ring->generation;
}

/* Returns whether there is no reset under way (any more). */
static bool serve_reset(struct vdb__ring *ring, uint32_t inflight)
{
	/* Acquire, pairs with the driver's release: it has taken back `ready` before. */
	uint32_t reset = vdb__load_acquire(&ring->shared->driver.reset);
	uint32_t ready = vdb__load(&ring->shared->driver.ready);

	if (!ring->resetting && !wants_reset(ring, reset, ready))
		return true;
	ring->resetting = true;
	if (inflight != 0 || ring->inflight != 0)
		return false;
	ring->resetting = false;
	ring->base.resets++;
	/* Not asked for any more: memory was wiped while we waited. Whoever comes will ask again. */
	if (reset == 0 || reset == ready)
		reset = vdb__index_first_generation(ready, reset);
	begin(ring, reset);
	return true;
}

/* The driver's line is read here and nowhere else, once per generation. */
static void take_driver(struct vdb__ring *ring)
{
	const struct vdb_ring_driver *driver = &ring->shared->driver;
	uint32_t version;
	uint64_t features;

	/* Acquire, pairs with the driver's release of ready. */
	if (vdb__load_acquire(&driver->ready) != ring->generation)
		return;
	version = vdb__load(&driver->version);
	features = vdb__load(&driver->features);
	if (version >> 16 != VDB_ABI_MAJOR) {
		vdb__ring_break(ring, VDB_REASON_VERSION);
	} else if ((features & ~ring->offered) != 0) {
		vdb__ring_break(ring, VDB_REASON_FEATURES);
	} else {
		ring->accepted = features;
		write_state(ring, VDB_RING_READY, VDB_REASON_NONE);
	}
}

bool vdb__ring_ready(struct vdb_queue *q, uint32_t inflight)
{
	struct vdb__ring *ring = vdb__ring(q);

	if (!ring->shared || !serve_reset(ring, inflight))
		return false;
	if (q->state == VDB_RING_RESET)
		take_driver(ring);
	return q->state == VDB_RING_READY;
}

/* A ring whose memory comes back stays broken until its driver resets it. */
void vdb__ring_remap(struct vdb_queue *q)
{
	struct vdb__ring *ring = vdb__ring(q);
	bool was_there = ring->shared;

	(void)vdb__view_refresh(&q->view);
	if (!vdb__ring_translate(ring)) {
		vdb__ring_break(ring, VDB_REASON_MEMORY);
	} else if (!was_there) {
		write_state(ring, VDB_RING_BROKEN, VDB_REASON_MEMORY);
		vdb__store_release(&ring->shared->device.generation, ring->generation);
		mark_header(ring);
	}
}
