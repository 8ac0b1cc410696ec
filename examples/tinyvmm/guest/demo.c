/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo's guest: writes its slice of the image, flushes, reads it back and
 * verifies every block, round after round until its requests are used up. It
 * knows a doorbell page and a mailbox; vdb/guest.h does the rest.
 */
#include "block.h"
#include "layout.h"
#include "mailbox.h"
#include "ring.h"
#include "runtime.h"

#define MAX_DEPTH 1024u
#define WRONG_WORD 0xbadc0ffee0ddf00dull

/* A request under way. */
struct slot {
	uint64_t started;
	uint64_t block; /* in the slice */
	uint32_t op;    /* VDB_OP_* */
	uint32_t busy;
};

static struct vdb_guest ring;
static struct demo_mailbox *box;
static struct slot slots[MAX_DEPTH];
static uint32_t free_slots[MAX_DEPTH], free_count;
static uint64_t round;

_Noreturn static void end(uint32_t state)
{
	box->rung = ring.rung;
	box->suppressed = ring.suppressed;
	box->interrupts = guest_irqs;
	__atomic_store_n(&box->state, state, __ATOMIC_RELEASE);
	guest_out32(GUEST_EXIT_PORT, state);
	for (;;)
		guest_pause();
}

static void note(uint32_t error, int64_t detail, uint64_t block)
{
	box->errors++;
	if (box->error != DEMO_OK)
		return;
	box->error = error;
	box->detail = detail;
	box->error_block = block;
}

_Noreturn static void give_up(uint32_t error, int64_t detail)
{
	note(error, detail, 0);
	end(DEMO_FAILED);
}

static struct demo_block *buffer(uint32_t slot)
{
	return (struct demo_block *)(uintptr_t)(box->buffers + (uint64_t)slot * DEMO_BLOCK_BYTES);
}

static void name_block(struct demo_block *b, uint64_t block)
{
	b->vm = box->vm;
	b->block = box->first_block + block;
	b->round = round;
	b->seed = box->seed;
}

/* ---- The ring ---- */

/*
 * Nothing to do until the device has done something. The count of interrupts is
 * taken before asking for one, so that an early one is not slept through.
 */
static void wait(void)
{
	uint64_t seen = guest_irqs;

	if (box->mode == DEMO_POLL) {
		guest_pause();
		return;
	}
	if (!vdb_guest_arm(&ring))
		guest_wait(seen);
	vdb_guest_disarm(&ring);
}

static void open_ring(const void *page)
{
	int r = guest_find_ring(&ring, page);

	if (r)
		give_up(DEMO_BAD_PAGE, r);
	vdb_guest_reset(&ring, VDB_F_EVENT_IDX);
	while ((r = vdb_guest_poll_ready(&ring)) == 0)
		wait();
	if (r < 0)
		give_up(DEMO_NOT_READY, -r);
	vdb_guest_disarm(&ring);
}

/* ---- Requests ---- */

static void prepare(struct vdb_sqe *sqe, uint32_t op, uint64_t block)
{
	uint32_t index = free_slots[--free_count];
	struct slot *slot = &slots[index];
	struct demo_block *data = buffer(index);

	slot->op = op;
	slot->block = block;
	slot->busy = 1;
	sqe->op = (uint8_t)op;
	sqe->user_data = index;
	if (op != VDB_OP_FLUSH) {
		sqe->addr = (uintptr_t)data;
		sqe->len = DEMO_BLOCK_BYTES;
		sqe->offset = (box->first_block + block) * DEMO_BLOCK_BYTES;
	}
	if (op == VDB_OP_WRITE) {
		name_block(data, block);
		demo_block_fill(data);
	} else if (op == VDB_OP_READ) {
		/* What an earlier request left here must not pass for an answer. */
		data->magic = data->checksum = WRONG_WORD;
		data->word[DEMO_BLOCK_WORDS - DEMO_BLOCK_HEAD - 1] = WRONG_WORD;
	}
	slot->started = guest_tsc();
}

static void measure(const struct slot *slot)
{
	uint64_t turns = guest_tsc() - slot->started;

	box->latency[demo_bucket(turns)]++;
	if (turns > box->latency_max)
		box->latency_max = turns;
}

static void check(const struct slot *slot, uint32_t index, int32_t result)
{
	struct demo_block want;
	uint32_t wrong;

	if (result != (slot->op == VDB_OP_FLUSH ? 0 : (int32_t)DEMO_BLOCK_BYTES)) {
		note(DEMO_BAD_RESULT, result, box->first_block + slot->block);
		return;
	}
	if (slot->op != VDB_OP_READ)
		return;
	name_block(&want, slot->block);
	wrong = demo_block_check(buffer(index), &want);
	if (wrong)
		note(DEMO_BAD_BLOCK, wrong - 1, want.block);
}

static void count(const struct slot *slot)
{
	if (slot->op == VDB_OP_FLUSH) {
		box->flushes++;
	} else {
		box->bytes += DEMO_BLOCK_BYTES;
		if (slot->op == VDB_OP_WRITE)
			box->writes++;
		else
			box->reads++;
	}
	box->rung = ring.rung;
	box->suppressed = ring.suppressed;
	box->interrupts = guest_irqs;
	box->completed++;
}

/* Takes what is complete. Returns how many. */
static uint64_t reap(void)
{
	struct vdb_cqe cqe;
	uint64_t n = 0;

	while (vdb_guest_reap(&ring, &cqe)) {
		uint32_t index = (uint32_t)cqe.user_data;

		if (cqe.user_data >= box->depth || !slots[index].busy)
			give_up(DEMO_BAD_COMPLETION, (int64_t)cqe.user_data);
		measure(&slots[index]);
		check(&slots[index], index, cqe.result);
		count(&slots[index]);
		slots[index].busy = 0;
		free_slots[free_count++] = index;
		n++;
	}
	return n;
}

/* `n` requests of one kind, for blocks from `block` on, wrapping at `wrap`; up to
 * `depth` at once. Returns when all are complete. */
static void run(uint32_t op, uint64_t block, uint64_t n, uint64_t wrap)
{
	uint64_t started = 0, finished = 0;

	while (finished < n) {
		struct vdb_sqe *sqe;
		uint64_t got;

		while (started < n && free_count && (sqe = vdb_guest_sqe(&ring))) {
			prepare(sqe, op, block);
			started++;
			if (++block == wrap)
				block = 0;
		}
		vdb_guest_submit(&ring);
		got = reap();
		finished += got;
		if (got)
			continue;
		if (vdb_guest_poll_ready(&ring) < 0)
			give_up(DEMO_BROKEN, vdb_guest_reason(&ring));
		wait();
	}
}

/* ---- The plan: `requests` in all, whatever the slice ---- */

/* Blocks to write in a round for which `left` requests are left: each is also read back, and
 * every flush_every of them, begun or full, take a flush. */
static uint64_t fit(uint64_t left)
{
	uint64_t every = box->flush_every;
	uint64_t blocks = left * every / (2 * every + 1);

	if (blocks > box->slice)
		return box->slice;
	while (blocks && 2 * blocks + (blocks + every - 1) / every > left)
		blocks--;
	return blocks;
}

static uint64_t write_and_flush(uint64_t blocks)
{
	uint64_t flushes = 0;

	for (uint64_t block = 0, n; block < blocks; block += n) {
		n = blocks - block < box->flush_every ? blocks - block : box->flush_every;
		run(VDB_OP_WRITE, block, n, 0);
		run(VDB_OP_FLUSH, 0, 1, 0);
		if (!box->errors)
			__atomic_store_n(&box->flushed, round << 32 | (block + n), __ATOMIC_RELEASE);
		flushes++;
	}
	return flushes;
}

static void work(void)
{
	uint64_t left = box->requests, blocks, reads;

	while (left) {
		blocks = fit(left);
		round++;
		left -= blocks + write_and_flush(blocks);
		/* What is too little for one more round is read again. */
		reads = fit(left - blocks) ? blocks : left;
		run(VDB_OP_READ, 0, reads, blocks);
		left -= reads;
	}
}

_Noreturn void guest_main(uint64_t page, uint64_t mailbox, uint64_t unused)
{
	(void)unused;
	box = (struct demo_mailbox *)(uintptr_t)mailbox;
	if (box->depth > MAX_DEPTH)
		box->depth = MAX_DEPTH;
	while (free_count < box->depth) {
		free_slots[free_count] = free_count;
		free_count++;
	}
	open_ring((const void *)(uintptr_t)page);
	__atomic_store_n(&box->state, DEMO_RUNNING, __ATOMIC_RELEASE);
	work();
	end(DEMO_DONE);
}
