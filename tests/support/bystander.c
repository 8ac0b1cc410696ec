/* SPDX-License-Identifier: Apache-2.0 */
#include "bystander.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>

#include "base/atomic.h"
#include "image.h"
#include "loop/state.h"

#define RING 0x1000u
#define DATA 0x10000u  /* what is written; */
#define BACK 0x50000u  /* what is read */
#define STRIDE 0x8000u /* of a slot, in memory and on the disk */
#define RAM (1u << 20)
#define DISK ((uint64_t)BYSTANDER_SLOTS * STRIDE)
#define BEAT_NS 2000000u

#define must(rc) ck_assert_msg((rc) >= 0, "bystander: %s: %s", #rc, vdb_errmsg())

/* ---- Whoever runs the loop ---- */

static bool runs_elsewhere(struct vdb_loop *loop)
{
	return vdb__load_acquire(&loop->started) || (vdb__load(&loop->owner) && !vdb_loop_here(loop));
}

void bystander_pass(struct vdb_loop *loop)
{
	int did = 0;

	if (!runs_elsewhere(loop))
		must(did = vdb_loop_step(loop));
	if (!did)
		usleep(100);
}

void bystander_call(struct vdb_loop *loop, int (*fn)(void *arg), void *arg)
{
	if (runs_elsewhere(loop)) {
		must(vdb_loop_call(loop, fn, arg));
		return;
	}
	must(vdb_loop_step(loop)); /* from now on it is this thread's */
	must(fn(arg));
}

/* ---- Its requests: loop's thread ---- */

/* The first thing that is wrong stays. */
static void complain(struct bystander *b, const char *what, unsigned slot, int64_t value)
{
	if (vdb__load(&b->wrong))
		return;
	(void)snprintf(b->said_wrong, sizeof(b->said_wrong), "%s: slot %u, beat %llu, %lld", what, slot,
	               (unsigned long long)b->seed[slot], (long long)value);
	vdb__store_release(&b->wrong, 1u);
}

static uint32_t len_of(uint64_t seed)
{
	return 512u * (uint32_t)(1 + seed * 7 % (STRIDE / 512));
}

static void ask(struct bystander *b, unsigned slot, uint8_t op)
{
	uint64_t place = (uint64_t)slot * STRIDE;
	vdb_gpa_t gpa = (op == VDB_OP_WRITE ? DATA : BACK) + place;

	if (!mock_submit(&b->m, op, gpa, len_of(b->seed[slot]), place, slot))
		complain(b, "no room in its ring", slot, op);
}

static void write_some(struct bystander *b, unsigned slot)
{
	uint64_t place = (uint64_t)slot * STRIDE;

	b->seed[slot] += 1 + slot;
	b->step[slot] = 1;
	image_pattern(mock_at(&b->ram, DATA + place), len_of(b->seed[slot]), (unsigned)b->seed[slot]);
	memset(mock_at(&b->ram, BACK + place), 0xdb, STRIDE);
	ask(b, slot, VDB_OP_WRITE);
}

/* All bytes, and none behind them. */
static bool same(const uint8_t *wrote, const uint8_t *back, uint32_t len)
{
	if (memcmp(wrote, back, len))
		return false;
	while (len < STRIDE && back[len] == 0xdb)
		len++;
	return len == STRIDE;
}

static void look(struct bystander *b, unsigned slot)
{
	uint64_t place = (uint64_t)slot * STRIDE;
	const uint8_t *wrote = mock_at(&b->ram, DATA + place);
	uint32_t len = len_of(b->seed[slot]);

	b->step[slot] = 0;
	if (!same(wrote, mock_at(&b->ram, BACK + place), len) || memcmp(wrote, b->disk + place, len))
		complain(b, "it reads other than it wrote", slot, len);
	vdb__store_release(&b->beats, b->beats + 1);
}

static void finish(struct bystander *b, const struct vdb_cqe *cqe)
{
	unsigned slot = (unsigned)cqe->user_data;

	if (slot >= BYSTANDER_SLOTS || !b->step[slot]) {
		complain(b, "a completion that it did not wait for", 0, (int64_t)cqe->user_data);
	} else if (cqe->result != (int32_t)len_of(b->seed[slot])) {
		complain(b, "a request failed", slot, cqe->result);
	} else if (b->step[slot] == 1) {
		b->step[slot] = 2;
		ask(b, slot, VDB_OP_READ);
	} else {
		look(b, slot);
	}
}

static void interrupted(void *arg)
{
	struct bystander *b = arg;
	struct vdb_cqe cqe;

	if (!vdb__load(&b->live))
		return;
	do {
		while (vdb_guest_reap(&b->m.g, &cqe))
			finish(b, &cqe);
	} while (vdb_guest_arm(&b->m.g));
}

static void beat(void *arg)
{
	struct bystander *b = arg;

	if (b->rests)
		return;
	for (unsigned slot = 0; slot < BYSTANDER_SLOTS; slot++) {
		if (!b->step[slot])
			write_some(b, slot);
	}
	interrupted(b);
	vdb_timer_arm(b->timer, BEAT_NS);
}

static void broke(void *arg, uint32_t reason)
{
	complain(arg, "its ring broke", 0, reason);
}

/* ---- Life ---- */

static int start(void *arg)
{
	struct bystander *b = arg;

	must(vdb_timer_create(b->loop, beat, b, &b->timer));
	vdb__store(&b->live, 1u);
	beat(b);
	return 0;
}

static int stop(void *arg)
{
	struct bystander *b = arg;

	vdb__store(&b->live, 0u);
	vdb_timer_destroy(b->timer);
	return 0;
}

static int rest(void *arg)
{
	struct bystander *b = arg;

	b->rests = true;
	vdb_timer_disarm(b->timer);
	return 0;
}

static int resume(void *arg)
{
	struct bystander *b = arg;

	b->rests = false;
	beat(b);
	return 0;
}

static int count_open(void *arg)
{
	struct bystander *b = arg;

	b->open = 0;
	for (unsigned slot = 0; slot < BYSTANDER_SLOTS; slot++)
		b->open += b->step[slot] != 0;
	return 0;
}

void bystander_rest(struct bystander *b)
{
	bystander_call(b->loop, rest, b);
	for (;;) {
		bystander_call(b->loop, count_open, b);
		if (!b->open || bystander_wrong(b))
			return;
		bystander_pass(b->loop);
	}
}

void bystander_resume(struct bystander *b)
{
	bystander_call(b->loop, resume, b);
}

static void handshake(struct bystander *b)
{
	int ready;

	vdb_guest_reset(&b->m.g, VDB_F_EVENT_IDX);
	while ((ready = vdb_guest_poll_ready(&b->m.g)) == 0)
		bystander_pass(b->loop);
	ck_assert_int_eq(ready, 1);
}

void bystander_join(struct bystander *b, struct vdb_loop *loop)
{
	struct vdb_lane_config lane = {.size = sizeof(lane),
	                               .trigger = interrupted,
	                               .trigger_arg = b,
	                               .broken = broke,
	                               .broken_arg = b};

	memset(b, 0, sizeof(*b));
	b->loop = loop;
	b->disk = calloc(1, DISK);
	ck_assert_ptr_nonnull(b->disk);
	must(vdb_backend_memory(b->disk, DISK, &b->backend));
	must(vdb_tenant_create(loop, &b->tenant));
	mock_ram_open(&b->ram, 0, RAM);
	mock_open(&b->m, &b->ram, &(struct vdb_ring_config){.gpa = RING, .sq_entries = 16});
	lane.kick_fd = b->m.kick;
	lane.tenant = b->tenant;
	must(vdb_lane_create(loop, b->m.queue, b->backend, &lane, &b->lane));
	b->m.queue = NULL;
	handshake(b);
	bystander_call(loop, start, b);
}

static void on_gone(void *arg)
{
	struct bystander *b = arg;

	vdb__store_release(&b->gone, 1u);
}

void bystander_leave(struct bystander *b)
{
	bystander_call(b->loop, stop, b);
	vdb_lane_destroy(b->lane, on_gone, b);
	while (!vdb__load_acquire(&b->gone))
		bystander_pass(b->loop);
	vdb_tenant_destroy(b->tenant);
	vdb_backend_destroy(b->backend);
	mock_close(&b->m);
	mock_ram_close(&b->ram);
	free(b->disk);
}

const char *bystander_wrong(const struct bystander *b)
{
	return vdb__load_acquire(&b->wrong) ? b->said_wrong : NULL;
}

bool bystander_goes_on(struct bystander *b, uint64_t beats, unsigned ms)
{
	uint64_t until = vdb__load_acquire(&b->beats) + beats, end = vdb__now() + ms * UINT64_C(1000000);

	while (vdb__load_acquire(&b->beats) < until && !vdb__load_acquire(&b->wrong) && vdb__now() < end)
		bystander_pass(b->loop);
	return vdb__load_acquire(&b->beats) >= until;
}
