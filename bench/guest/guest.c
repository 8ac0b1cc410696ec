/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of all benchmarks: rings bells, or keeps a number of requests under way,
 * and notes times. It polls; all of it runs in CPL 3.
 */
#include "layout.h"
#include "mailbox.h"
#include "ring.h"
#include "runtime.h"

static struct bench_mailbox *box;
static uint64_t *samples;
static struct vdb_guest ring;
static uint64_t chance;
static struct slot {
	uint64_t started;
} slots[BENCH_DEPTH];
static uint32_t free_slots[BENCH_DEPTH], free_count;

_Noreturn static void end(uint32_t state, int64_t detail)
{
	box->rung = ring.rung;
	box->suppressed = ring.suppressed;
	box->detail = detail;
	vdb_guest_store(&box->state, state);
	for (;;)
		guest_out32(GUEST_EXIT_PORT, state);
}

/* xorshift64 */
static uint64_t dice(void)
{
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return chance;
}

static void note(uint64_t ticks)
{
	if (box->sampled < box->room)
		samples[box->sampled++] = ticks;
}

static void idle(uint64_t gap)
{
	uint64_t start = guest_tsc(), length = gap ? gap - gap / 4 + dice() % (gap / 2 + 1) : 0;

	while (guest_tsc() - start < length)
		guest_pause();
}

/* The host asks for the time again and again, and learns from the narrowest answer what our TSC
 * says when its own says something. */
static void answer_questions(void)
{
	uint32_t asked, answered = 0;

	while ((asked = vdb_guest_load(&box->asked)) != BENCH_GO) {
		if (asked == answered)
			continue;
		answered = asked;
		box->tsc = guest_tsc();
		vdb_guest_store(&box->answered, answered);
	}
}

/* ---- Bells ---- */

static void ring_bells(void)
{
	uint64_t count = box->count, gap = box->gap, start;
	uint32_t await = box->await, silent = box->silent;

	for (uint64_t i = 1; i <= count; i++) {
		idle(gap);
		start = guest_tsc();
		__atomic_store_n(&box->stamp, start, __ATOMIC_RELEASE);
		if (!silent)
			vdb_guest_bell(&ring);
		note(guest_tsc() - start);
		while (await && __atomic_load_n(&box->taken, __ATOMIC_ACQUIRE) < i)
			guest_pause();
	}
}

/* ---- Requests ---- */

static void find_ring(const void *page)
{
	int r = guest_find_ring(&ring, page);

	if (r)
		end(BENCH_NO_RING, r);
}

static void open_ring(void)
{
	int r;

	vdb_guest_reset(&ring, VDB_F_EVENT_IDX);
	while ((r = vdb_guest_poll_ready(&ring)) == 0)
		guest_pause();
	if (r < 0)
		end(BENCH_NOT_READY, -r);
	vdb_guest_disarm(&ring);
}

/* The stamp travels in the request's offset, which means nothing to USER. */
static void single(void)
{
	struct vdb_sqe *sqe = vdb_guest_sqe(&ring);
	struct vdb_cqe cqe;

	sqe->op = VDB_OP_USER;
	sqe->offset = guest_tsc();
	box->stamp = sqe->offset;
	(void)vdb_guest_submit(&ring);
	if (!box->trips)
		note(guest_tsc() - box->stamp);
	while (!vdb_guest_reap(&ring, &cqe))
		guest_pause();
	if (box->trips)
		note(guest_tsc() - box->stamp);
	box->all++;
	box->wrong += cqe.result != 0;
}

static void singles(void)
{
	uint64_t count = box->count, gap = box->gap;

	open_ring();
	while (count--) {
		idle(gap);
		single();
	}
	box->completed = box->all;
}

static uint64_t buffer(uint32_t slot)
{
	return box->buffers + (uint64_t)slot * BENCH_BLOCK;
}

static void prepare(struct vdb_sqe *sqe)
{
	uint32_t index = free_slots[--free_count];
	/* The high half of the product: no division. */
	uint64_t block = (uint64_t)((unsigned __int128)dice() * box->blocks >> 64);

	sqe->op = VDB_OP_READ;
	sqe->user_data = index;
	sqe->addr = buffer(index);
	sqe->len = BENCH_BLOCK;
	sqe->offset = block * BENCH_BLOCK;
	slots[index].started = guest_tsc();
}

static void fill(void)
{
	struct vdb_sqe *sqe;

	while (free_count && (sqe = vdb_guest_sqe(&ring)))
		prepare(sqe);
	(void)vdb_guest_submit(&ring);
}

static void finish(const struct vdb_cqe *cqe, int record)
{
	uint32_t index = (uint32_t)cqe->user_data % BENCH_DEPTH;

	if (record)
		note(guest_tsc() - slots[index].started);
	if (cqe->result != (int32_t)BENCH_BLOCK)
		box->wrong++;
	free_slots[free_count++] = index;
}

static uint64_t drain(int record)
{
	struct vdb_cqe cqe;
	uint64_t count = 0;

	for (; vdb_guest_reap(&ring, &cqe); count++)
		finish(&cqe, record);
	if (!count)
		guest_pause();
	box->all += count;
	return count;
}

/* Keeps `depth` requests under way for so long. Returns how many were completed. */
static uint64_t keep_going(uint64_t ticks, int record)
{
	uint64_t start = guest_tsc(), count = 0;

	do {
		fill();
		count += drain(record);
		box->ran = guest_tsc() - start;
	} while (box->ran < ticks);
	return count;
}

static void requests(void)
{
	for (uint32_t i = 0; i < box->depth; i++)
		free_slots[free_count++] = i;
	open_ring();
	(void)keep_going(box->warm_up, 0);
	box->completed = keep_going(box->duration, box->depth == 1);
	while (free_count < box->depth)
		(void)drain(0);
}

void guest_main(uint64_t page, uint64_t mailbox, uint64_t unused)
{
	(void)unused;
	box = (struct bench_mailbox *)(uintptr_t)mailbox;
	samples = (uint64_t *)(uintptr_t)box->samples;
	chance = guest_tsc() | 1;
	/* The first touch of a page is slow: not while the clock is running. */
	for (uint64_t i = 0; i < box->room; i++)
		samples[i] = 0;
	for (uint32_t i = 0; i < box->depth; i++)
		*(volatile uint64_t *)(uintptr_t)buffer(i) = 0;
	find_ring((const void *)(uintptr_t)page);
	answer_questions();
	switch (box->mode) {
	case BENCH_BELLS:
		ring_bells();
		break;
	case BENCH_SINGLES:
		singles();
		break;
	default:
		requests();
		break;
	}
	end(BENCH_DONE, 0);
}
