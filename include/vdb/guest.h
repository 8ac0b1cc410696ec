/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a native ring (layout: vdb/abi.h): for kernels,
 * unikernels and user-space programs inside a VM, and for tests outside one.
 * Freestanding, static inline, no libc; C11 and C++17; x86-64 and aarch64.
 *
 *     vdb_guest_find(page, 0, &desc);           the page says where the ring is
 *     vdb_guest_init(&g, &desc, ring, bell);    map what it names
 *     vdb_guest_reset(&g, VDB_F_EVENT_IDX);
 *     while ((r = vdb_guest_poll_ready(&g)) == 0)
 *             ;                                 or sleep, see vdb_guest_arm()
 *
 *     while ((sqe = vdb_guest_sqe(&g)))         prepare as many as there is room for
 *             sqe->op = ...
 *     vdb_guest_submit(&g);                     publish them; rings only if asked to
 *     while (vdb_guest_reap(&g, &cqe))
 *             ...                               before sleeping: vdb_guest_arm()
 *
 * One thread at a time. The ring's memory is little-endian and cached normally;
 * the bell is mapped uncached (device memory on arm64). The host is trusted.
 */
#ifndef VDB_GUEST_H
#define VDB_GUEST_H

#include <vdb/abi.h>

#if defined(__SANITIZE_THREAD__)
#define VDB_GUEST__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VDB_GUEST__TSAN 1
#endif
#endif

#define VDB_GUEST_EMAGIC (-1)   /* not a doorbell page */
#define VDB_GUEST_EVERSION (-2) /* a major version that we do not understand */
#define VDB_GUEST_ENORING (-3)  /* the page describes fewer rings */
#define VDB_GUEST_ELAYOUT (-4)  /* sizes that cannot be true, or a bell that cannot be rung here */

/* How far the handshake is; vdb_guest_poll_ready() drives it. */
#define VDB_GUEST_OFF 0u   /* before the first reset */
#define VDB_GUEST_ASKED 1u /* reset asked for: waits for our generation */
#define VDB_GUEST_GIVEN 2u /* driver line given: waits for the device's verdict */
#define VDB_GUEST_READY 3u

/* One ring, as its driver holds it. Read what you like; write only `user`. */
struct vdb_guest {
	struct vdb_ring *ring;
	struct vdb_sqe *sq;
	struct vdb_cqe *cq;
	uint32_t sq_mask;
	uint32_t cq_mask;
	uint32_t sq_tail;      /* prepared */
	uint32_t sq_published; /* what the device may see of it */
	uint32_t sq_head;      /* the device's, as last read */
	uint32_t cq_head;      /* taken */
	uint32_t cq_published; /* what the device knows of it */
	uint32_t cq_tail;      /* the device's, as last read */
	uint64_t features;     /* accepted; before GIVEN: wanted */
	uint32_t phase;        /* VDB_GUEST_OFF.. */
	uint32_t generation;   /* that we asked for */
	volatile void *bell;
	uint16_t bell_port;
	uint16_t reserved;
	uint32_t bell_kind;
	uint32_t bell_value;
	uint32_t reserved1;
	uint64_t rung;       /* bells rung */
	uint64_t suppressed; /* submissions that the device did not want to hear of */
	void *user;          /* the caller's: VDB_GUEST_RING() may want it */
};

/*
 * Store, then load another word: the device does the same crosswise, and the one
 * whose fence comes second sees the other's store. ThreadSanitizer knows no
 * fences; a locked operation orders the same on the machines it runs on.
 */
static inline void vdb_guest_fence(void)
{
#ifdef VDB_GUEST__TSAN
	uint32_t word = 0;

	(void)__atomic_fetch_add(&word, 1u, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/*
 * One plain 32-bit store, or a 32-bit out. In assembly: a hypervisor decodes the
 * trapped instruction, and arm64 reports nothing about the fancier forms that a
 * compiler might choose (write-back, pairs, vectors).
 */
static inline void vdb_guest_bell(struct vdb_guest *g)
{
#if defined(__x86_64__) || defined(__i386__)
	if (g->bell_kind == VDB_BELL_PIO)
		__asm__ __volatile__("outl %0, %w1" ::"a"(g->bell_value), "Nd"(g->bell_port) : "memory");
	else
		__asm__ __volatile__("movl %1, %0"
		                     : "=m"(*(volatile uint32_t *)g->bell)
		                     : "r"(g->bell_value)
		                     : "memory");
#elif defined(__aarch64__)
	__asm__ __volatile__("str %w0, [%1]" ::"r"(g->bell_value), "r"(g->bell) : "memory");
#else
	*(volatile uint32_t *)g->bell = g->bell_value;
#endif
}

/* How to ring. Define it before including this header to ring some other way
 * (a test writes an eventfd). */
#ifndef VDB_GUEST_RING
#define VDB_GUEST_RING(g) vdb_guest_bell(g)
#endif

/* Rings without being asked. The full fence puts what was published before it. */
static inline void vdb_guest_ring_bell(struct vdb_guest *g)
{
	vdb_guest_fence();
	g->rung++;
	VDB_GUEST_RING(g);
}

/* ---- Finding and mapping ---- */

/* Field by field and volatile: no compiler makes a call to memcpy() of this. */
static inline void vdb_guest_copy_ring(struct vdb_page_ring *to, const volatile struct vdb_page_ring *from)
{
	to->ring_gpa = from->ring_gpa;
	to->ring_bytes = from->ring_bytes;
	to->features = from->features;
	to->bell_addr = from->bell_addr;
	to->bell_kind = from->bell_kind;
	to->bell_value = from->bell_value;
	to->sq_entries = from->sq_entries;
	to->cq_entries = from->cq_entries;
	to->irq = from->irq;
	to->ring_id = from->ring_id;
	to->reserved[0] = from->reserved[0];
	to->reserved[1] = from->reserved[1];
}

/*
 * Copies the description of ring `index` (from 0) out of a doorbell page, wherever that is
 * mapped. 0, VDB_GUEST_EMAGIC, _EVERSION, _ENORING, or _ELAYOUT. A newer host of the
 * same major may describe more per ring (a larger stride): what we know comes first.
 */
static inline int vdb_guest_find(const void *page, uint32_t index, struct vdb_page_ring *out)
{
	const volatile struct vdb_page *head = (const volatile struct vdb_page *)page;
	uint32_t offset, stride;
	uint64_t at;

	if (head->magic != VDB_ABI_MAGIC)
		return VDB_GUEST_EMAGIC;
	if (head->version >> 16 != VDB_ABI_MAJOR)
		return VDB_GUEST_EVERSION;
	if (index >= head->ring_count)
		return VDB_GUEST_ENORING;
	offset = head->ring_offset;
	stride = head->ring_stride;
	if (stride < sizeof(*out) || (stride | offset) % 8 != 0)
		return VDB_GUEST_ELAYOUT;
	at = offset + (uint64_t)index * stride;
	if (at > 4096 - sizeof(*out))
		return VDB_GUEST_ELAYOUT;
	vdb_guest_copy_ring(out,
	                    (const volatile struct vdb_page_ring *)((const volatile uint8_t *)page + at));
	return 0;
}

static inline int vdb_guest_bell_ok(const struct vdb_page_ring *ring, volatile void *bell)
{
	if (ring->bell_kind == VDB_BELL_MMIO)
		return bell != NULL;
#if defined(__x86_64__) || defined(__i386__)
	return ring->bell_kind == VDB_BELL_PIO && ring->bell_addr <= 0xffff;
#else
	return 0;
#endif
}

/*
 * `ring_memory` is where ring->ring_gpa is mapped, `bell` where ring->bell_addr is (NULL for a
 * PIO bell, which is known by its port). Touches neither. 0, or VDB_GUEST_ELAYOUT.
 */
static inline int vdb_guest_init(struct vdb_guest *g, const struct vdb_page_ring *ring, void *ring_memory,
                                 volatile void *bell)
{
	if (!VDB_RING_ENTRIES_OK(ring->sq_entries) || !VDB_RING_ENTRIES_OK(ring->cq_entries) ||
	    ring->cq_entries < ring->sq_entries || !vdb_guest_bell_ok(ring, bell) ||
	    ring->ring_bytes < VDB_RING_BYTES(ring->sq_entries, ring->cq_entries))
		return VDB_GUEST_ELAYOUT;
	g->ring = (struct vdb_ring *)ring_memory;
	g->sq = (struct vdb_sqe *)(void *)(g->ring + 1);
	g->cq = (struct vdb_cqe *)(void *)(g->sq + ring->sq_entries);
	g->sq_mask = ring->sq_entries - 1;
	g->cq_mask = ring->cq_entries - 1;
	g->sq_tail = g->sq_published = g->sq_head = 0;
	g->cq_head = g->cq_published = g->cq_tail = 0;
	g->features = 0;
	g->phase = VDB_GUEST_OFF;
	g->generation = 0;
	g->bell = bell;
	g->bell_port = (uint16_t)ring->bell_addr;
	g->reserved = 0;
	g->bell_kind = ring->bell_kind;
	g->bell_value = ring->bell_value;
	g->reserved1 = 0;
	g->rung = g->suppressed = 0;
	g->user = NULL;
	return 0;
}

/* ---- The handshake ---- */

static inline uint32_t vdb_guest_load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void vdb_guest_store(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* VDB_RING_* and, when that is BROKEN, VDB_REASON_*, as the device has them now. */
static inline uint32_t vdb_guest_state(const struct vdb_guest *g)
{
	return vdb_guest_load(&g->ring->device.state);
}

static inline uint32_t vdb_guest_reason(const struct vdb_guest *g)
{
	return vdb_guest_load(&g->ring->device.reason);
}

/*
 * Asks the device for a fresh start, whatever the ring's state is and whoever used it before, and
 * rings. Requests that are prepared are dropped; what was submitted may or may not be done, and its
 * completions are lost. `features`: what this driver wants; it gets those of them that are offered.
 */
static inline void vdb_guest_reset(struct vdb_guest *g, uint64_t features)
{
	struct vdb_ring_driver *driver = &g->ring->driver;
	uint32_t asked = __atomic_load_n(&driver->reset, __ATOMIC_RELAXED);
	uint32_t want = vdb_guest_load(&g->ring->device.generation);

	/* Later than what the device has, and than what a driver before us asked for: it may have
	 * died before its answer came, and that answer is not ours. */
	if ((int32_t)(asked - want) > 0)
		want = asked;
	if (++want == 0)
		want = 1;
	g->features = features;
	g->generation = want;
	g->phase = VDB_GUEST_ASKED;
	/* Nobody's old `ready` may answer for us when our generation comes. */
	vdb_guest_store(&driver->ready, 0);
	vdb_guest_store(&driver->reset, want);
	vdb_guest_ring_bell(g);
}

/* Our generation has come: the device's indices are zero and it does not look at ours. */
static inline void vdb_guest_give(struct vdb_guest *g)
{
	struct vdb_ring *ring = g->ring;

	g->sq_tail = g->sq_published = g->sq_head = 0;
	g->cq_head = g->cq_published = g->cq_tail = 0;
	g->features &= __atomic_load_n(&ring->device.features, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->sq_tail.value, 0u, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->cq_head.value, 0u, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->cq_event.value, 0u, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->driver.version, VDB_ABI_VERSION, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->driver.features, g->features, __ATOMIC_RELAXED);
	g->phase = VDB_GUEST_GIVEN;
	/* Release: the device reads all of the above after it has seen this. */
	vdb_guest_store(&ring->driver.ready, g->generation);
	vdb_guest_ring_bell(g);
}

/*
 * Drives the handshake; also says later whether all is well. 1: ready. 0: not yet; each of the
 * device's steps raises an interrupt. < 0: -(VDB_REASON_*), stopped until a reset.
 */
static inline int vdb_guest_poll_ready(struct vdb_guest *g)
{
	uint32_t state;

	if (g->phase == VDB_GUEST_OFF)
		return 0;
	/* Acquire, pairs with the device's release: its lines are fresh once this is ours. */
	if (vdb_guest_load(&g->ring->device.generation) != g->generation)
		/* Once it was ours, another one means that the device was made anew. */
		return g->phase == VDB_GUEST_ASKED ? 0 : -(int)VDB_REASON_HOST;
	if (g->phase == VDB_GUEST_ASKED)
		vdb_guest_give(g);
	/* Acquire: the reason was stored before the state. */
	state = vdb_guest_state(g);
	if (state == VDB_RING_BROKEN)
		return -(int)vdb_guest_reason(g);
	if (state != VDB_RING_READY)
		return 0;
	g->phase = VDB_GUEST_READY;
	return 1;
}

/* ---- Requests ---- */

/* Requests prepared or submitted whose completion was not reaped yet. */
static inline uint32_t vdb_guest_outstanding(const struct vdb_guest *g)
{
	/* Each request has exactly one completion, and both counts start at zero. */
	return g->sq_tail - g->cq_head;
}

/*
 * The next free slot, zeroed, to be filled before the next submit; NULL if there is none: reap
 * first (cq_entries are outstanding), or the device has yet to take some (all slots in use).
 */
static inline struct vdb_sqe *vdb_guest_sqe(struct vdb_guest *g)
{
	struct vdb_sqe *sqe;

	if (g->phase != VDB_GUEST_READY || vdb_guest_outstanding(g) > g->cq_mask)
		return NULL;
	/* Acquire, pairs with the device's release of sq_head: it has copied what was there. */
	if (g->sq_tail - g->sq_head > g->sq_mask)
		g->sq_head = vdb_guest_load(&g->ring->sq_head.value);
	if (g->sq_tail - g->sq_head > g->sq_mask)
		return NULL;
	sqe = &g->sq[g->sq_tail++ & g->sq_mask];
	sqe->op = 0;
	sqe->flags = 0;
	sqe->segments = 0;
	sqe->len = 0;
	sqe->addr = 0;
	sqe->offset = 0;
	sqe->user_data = 0;
	return sqe;
}

/* Tells the device which completions were taken: their slots are free. */
static inline void vdb_guest_publish_head(struct vdb_guest *g)
{
	if (g->cq_published == g->cq_head)
		return;
	/* Release: we have copied what was in those slots. */
	vdb_guest_store(&g->ring->cq_head.value, g->cq_head);
	g->cq_published = g->cq_head;
}

/* True if `event` is among the entries [old_tail, new_tail): its owner wants to hear of it. */
static inline int vdb_guest_wants(uint32_t event, uint32_t old_tail, uint32_t new_tail)
{
	return new_tail - event - 1 < new_tail - old_tail;
}

/* Publishes all that is prepared, and rings if the device asked for it. 1: rang. 0: it is awake and
 * will see them, or there was nothing. */
static inline int vdb_guest_submit(struct vdb_guest *g)
{
	uint32_t old_tail = g->sq_published;
	uint32_t event;

	if (g->sq_tail == old_tail)
		return 0;
	/* First: the device counts what is outstanding by it. */
	vdb_guest_publish_head(g);
	/* Release, pairs with the device's acquire: the requests are in memory. */
	vdb_guest_store(&g->ring->sq_tail.value, g->sq_tail);
	g->sq_published = g->sq_tail;
	/* sq_tail is stored, then sq_event is loaded. The device stores sq_event, then loads sq_tail. */
	vdb_guest_fence();
	event = __atomic_load_n(&g->ring->sq_event.value, __ATOMIC_RELAXED);
	if ((g->features & VDB_F_EVENT_IDX) != 0 && !vdb_guest_wants(event, old_tail, g->sq_tail)) {
		g->suppressed++;
		return 0;
	}
	g->rung++;
	VDB_GUEST_RING(g);
	return 1;
}

/* ---- Completions ---- */

/* Looks for completions: whether there are any. */
static inline int vdb_guest_look(struct vdb_guest *g)
{
	/* Acquire, pairs with the device's release: the entries are in memory. */
	uint32_t cq_tail = vdb_guest_load(&g->ring->cq_tail.value);

	/* Gone back: the device was made anew, as vdb_guest_poll_ready() will say. */
	if (cq_tail - g->cq_head > g->cq_mask + 1)
		cq_tail = g->cq_head;
	g->cq_tail = cq_tail;
	return cq_tail != g->cq_head;
}

/* Takes the next completion: 1, or 0 if there is none. */
static inline int vdb_guest_reap(struct vdb_guest *g, struct vdb_cqe *out)
{
	const struct vdb_cqe *cqe;

	if (g->cq_head == g->cq_tail) {
		if (g->phase != VDB_GUEST_READY)
			return 0;
		if (!vdb_guest_look(g)) {
			vdb_guest_publish_head(g);
			return 0;
		}
	}
	cqe = &g->cq[g->cq_head & g->cq_mask];
	out->user_data = cqe->user_data;
	out->result = cqe->result;
	out->flags = cqe->flags;
	g->cq_head++;
	return 1;
}

/* What the device's next step would change, seen without taking it. */
static inline int vdb_guest_changed(const struct vdb_guest *g)
{
	uint32_t generation = vdb_guest_load(&g->ring->device.generation);

	switch (g->phase) {
	case VDB_GUEST_ASKED:
		return generation == g->generation;
	case VDB_GUEST_GIVEN:
		return generation != g->generation || vdb_guest_state(g) != VDB_RING_RESET;
	case VDB_GUEST_READY:
		return generation != g->generation || vdb_guest_state(g) != VDB_RING_READY;
	default:
		return 1;
	}
}

/*
 * Before sleeping: asks for an interrupt at the next completion, then looks again. 1: do not
 * sleep, there are completions already, or poll_ready() has news. 0: an interrupt will come. Works in
 * every phase. Between this and the sleep, interrupts must be held back (cli ... sti; hlt), or counted
 * (an eventfd).
 */
static inline int vdb_guest_arm(struct vdb_guest *g)
{
	if (g->phase != VDB_GUEST_READY) {
		vdb_guest_fence();
		return vdb_guest_changed(g);
	}
	vdb_guest_publish_head(g);
	__atomic_store_n(&g->ring->cq_event.value, g->cq_head, __ATOMIC_RELAXED);
	/* cq_event is stored, then cq_tail is loaded. The device stores cq_tail, then loads cq_event. */
	vdb_guest_fence();
	return vdb_guest_look(g) || vdb_guest_changed(g);
}

/* No more interrupts for completions (with VDB_F_EVENT_IDX; else they come anyway). A hint: one may
 * still be under way. Undone by vdb_guest_arm(). */
static inline void vdb_guest_disarm(struct vdb_guest *g)
{
	/* An entry that lies behind us is not passed again for 2^32 completions. */
	__atomic_store_n(&g->ring->cq_event.value, g->cq_head - 1, __ATOMIC_RELAXED);
}

#endif
