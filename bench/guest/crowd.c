/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of the benchmarks of scale and of life cycles: one request and the end, one request and
 * sleep, or the rings of a whole crowd of lanes. It polls for its completions.
 */
#include "crowd.h"
#include "layout.h"
#include "ring.h"
#include "runtime.h"

#define PAGE 4096u
#define BITE 16u /* completions of ring 1 between two looks at ring 0 */

static struct crowd_box *box;
static struct vdb_guest rings[CROWD_LANES];
static uint64_t *counts, *samples;
static uint64_t chance = 88172645463325252u;

static void finish(uint32_t state, int64_t detail)
{
	for (uint32_t i = 0; i < box->lanes; i++)
		box->rung += rings[i].rung;
	box->detail = detail;
	vdb_guest_store(&box->state, state);
}

_Noreturn static void end(uint32_t state, int64_t detail)
{
	finish(state, detail);
	for (;;)
		guest_out32(GUEST_EXIT_PORT, state);
}

static void open_ring(uint32_t i)
{
	int r = guest_find_ring(&rings[i], (const void *)(uintptr_t)(box->page + (uint64_t)i * PAGE));

	if (r)
		end(CROWD_NO_RING, r);
	vdb_guest_reset(&rings[i], VDB_F_EVENT_IDX);
}

static void await_ring(uint32_t i)
{
	int r;

	while ((r = vdb_guest_poll_ready(&rings[i])) == 0)
		guest_pause();
	if (r < 0)
		end(CROWD_NOT_READY, -r);
	vdb_guest_disarm(&rings[i]);
}

static void open_rings(void)
{
	for (uint32_t i = 0; i < box->lanes; i++)
		open_ring(i);
	for (uint32_t i = 0; i < box->lanes; i++)
		await_ring(i);
}

/* ---- Requests ---- */

/* xorshift64; the high half of the product: no division. */
static uint64_t some_block(void)
{
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return (uint64_t)((unsigned __int128)chance * box->blocks >> 64);
}

static void fill(struct vdb_guest *ring, uint32_t depth, uint32_t bytes)
{
	uint32_t under_way = vdb_guest_outstanding(ring);
	struct vdb_sqe *sqe;

	if (under_way >= depth)
		return;
	while (under_way < depth && (sqe = vdb_guest_sqe(ring))) {
		sqe->op = VDB_OP_READ;
		sqe->addr = box->buffer;
		sqe->len = bytes;
		sqe->offset = some_block() * bytes;
		under_way++;
	}
	(void)vdb_guest_submit(ring);
}

static uint32_t drain(struct vdb_guest *ring, uint32_t bytes, uint32_t most)
{
	struct vdb_cqe cqe;
	uint32_t n = 0;

	for (; n < most && vdb_guest_reap(ring, &cqe); n++)
		box->wrong += cqe.result != (int32_t)bytes;
	box->all += n;
	return n;
}

static void one_request(void)
{
	open_ring(0);
	await_ring(0);
	fill(&rings[0], 1, box->bytes);
	while (!drain(&rings[0], box->bytes, 1))
		guest_pause();
}

/* What the kernel and the processor alone take: no ring, no library. */
static void bare(void)
{
	volatile uint32_t *bell = (volatile uint32_t *)(uintptr_t)box->page;

	*bell = 1;
	while (!__atomic_load_n(&box->answer, __ATOMIC_ACQUIRE))
		guest_pause();
}

/* ---- A crowd ---- */

static uint64_t go_round(uint64_t ticks)
{
	uint64_t start = guest_tsc(), total = 0;
	uint32_t lanes = box->lanes, depth = box->depth, bytes = box->bytes, n;

	do {
		for (uint32_t i = 0; i < lanes; i++) {
			n = drain(&rings[i], bytes, UINT32_MAX);
			counts[i] += n;
			total += n;
			fill(&rings[i], depth, bytes);
		}
		box->ran = guest_tsc() - start;
	} while (box->ran < ticks);
	return total;
}

static void drain_all(void)
{
	for (uint32_t i = 0; i < box->lanes; i++) {
		while (vdb_guest_outstanding(&rings[i])) {
			if (!drain(&rings[i], box->bytes, UINT32_MAX))
				guest_pause();
		}
	}
}

static void rounds(void)
{
	open_rings();
	(void)go_round(box->warm_up);
	for (uint32_t i = 0; i < box->lanes; i++)
		counts[i] = 0;
	box->completed = go_round(box->duration);
	drain_all();
}

/* ---- A quiet ring beside one that floods ---- */

static void flood(void)
{
	(void)drain(&rings[1], box->bytes, BITE);
	fill(&rings[1], box->depth, box->bytes);
}

static void garble(void)
{
	struct vdb_guest *ring = &rings[1];
	struct vdb_sqe *sqe;
	struct vdb_cqe cqe;

	for (uint32_t n = 0; n < BITE && vdb_guest_reap(ring, &cqe); n++)
		;
	while (vdb_guest_outstanding(ring) < box->depth && (sqe = vdb_guest_sqe(ring))) {
		sqe->op = VDB_OP_READ;
		sqe->addr = UINT64_MAX - 100;
		sqe->len = UINT32_MAX;
		sqe->offset = UINT64_MAX - 5;
	}
	(void)vdb_guest_submit(ring);
}

static void break_it(void)
{
	struct vdb_guest *ring = &rings[1];

	if (vdb_guest_state(ring) == VDB_RING_BROKEN) {
		vdb_guest_reset(ring, 0);
	} else if (vdb_guest_poll_ready(ring) == 1) {
		vdb_guest_store(&ring->ring->sq_tail.value, 0x7fff1234u);
		vdb_guest_ring_bell(ring);
	}
}

static void disturb(void)
{
	struct vdb_guest *ring = &rings[1];
	struct vdb_cqe cqe;

	for (uint32_t n = 0; n < BITE && vdb_guest_reap(ring, &cqe); n++)
		;
	(void)vdb_guest_arm(ring);
	if (box->depth)
		fill(ring, box->depth, 1);
}

static void misbehave(void)
{
	if (!box->depth)
		return;
	switch (box->misdeed) {
	case CROWD_RINGS:
		vdb_guest_ring_bell(&rings[1]);
		break;
	case CROWD_GARBLES:
		garble();
		break;
	case CROWD_BREAKS:
		break_it();
		break;
	case CROWD_DISTURBS:
		disturb();
		break;
	default:
		flood();
		break;
	}
}

static void quiet_one(void)
{
	uint64_t start = guest_tsc();

	fill(&rings[0], 1, PAGE);
	while (!drain(&rings[0], PAGE, 1))
		misbehave();
	samples[box->sampled++] = guest_tsc() - start;
}

static void beside(void)
{
	uint64_t last;

	open_rings();
	while (box->sampled < box->room) {
		last = guest_tsc();
		while (guest_tsc() - last < box->gap)
			misbehave();
		quiet_one();
	}
	if (box->misdeed == CROWD_FLOODS)
		drain_all();
}

void guest_main(uint64_t mailbox, uint64_t unused1, uint64_t unused2)
{
	(void)unused1;
	(void)unused2;
	box = (struct crowd_box *)(uintptr_t)mailbox;
	guest_out32(CROWD_BORN_PORT, 0);
	counts = (uint64_t *)(uintptr_t)box->counts;
	samples = (uint64_t *)(uintptr_t)box->samples;
	switch (box->mode) {
	case CROWD_ONCE:
		one_request();
		break;
	case CROWD_HALT:
		one_request();
		finish(CROWD_HALTED, 0);
		for (;;)
			guest_wait(guest_irqs);
	case CROWD_BARE:
		bare();
		break;
	case CROWD_ROUND:
		rounds();
		break;
	default:
		beside();
		break;
	}
	end(CROWD_DONE, 0);
}
