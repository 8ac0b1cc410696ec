/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* TIMEOUT: 300 */
/* G77, G79: one bad VM of each class beside many good ones on a loop, and VMs that go with all in flight. */
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "rig.h"
#include "run.h"

#define GOOD 60u
#define BAD 5u
#define TURNS 1500u
#define LEN 4096u

struct member {
	struct rig_guest guest;
	uint64_t done, wrong;
};

static struct rig rig;
static struct vdb_backend *backend;
static struct member *good, bad[BAD];
static struct vdb_tenant **tenants, *bad_tenants[BAD];

/* 999 with VDB_TEST_LONG. */
static unsigned many(void)
{
	return getenv("VDB_TEST_LONG") ? 999 : GOOD;
}

/* ---- The good ---- */

static void refill(struct rig_guest *guest)
{
	struct member *member = guest->user;
	struct vdb_cqe cqe;

	do {
		while (vdb_guest_reap(&guest->m.g, &cqe)) {
			member->done++;
			member->wrong += cqe.result != (int32_t)LEN;
		}
		while (mock_prepare(&guest->m, VDB_OP_READ, RIG_DATA, LEN, 0, 0))
			;
		(void)vdb_guest_submit(&guest->m.g);
	} while (vdb_guest_arm(&guest->m.g));
}

static void join(struct member *member, struct vdb_tenant **tenant, uint32_t entries)
{
	ck_assert_int_eq(vdb_tenant_create(rig.loop, tenant), 0);
	rig_join(&rig, &member->guest,
	         &(struct rig_guest_config){.backend = backend,
	                                    .ram = 512u * 1024,
	                                    .entries = entries,
	                                    .lane = {.tenant = *tenant}});
	member->guest.user = member;
}

/* ---- The bad: what each does in every turn ---- */

/* As much as its ring has room for, as large as it may be. */
static void flood(struct member *b)
{
	struct vdb_cqe cqe;

	while (vdb_guest_reap(&b->guest.m.g, &cqe))
		;
	while (mock_prepare(&b->guest.m, VDB_OP_READ, 0x10000, 400u * 1024, 0, 0))
		;
	(void)vdb_guest_submit(&b->guest.m.g);
	(void)vdb_guest_arm(&b->guest.m.g);
}

/* Bells, and nothing else. */
static void ring_bells(struct member *b)
{
	for (int i = 0; i < 100; i++)
		mock_bell(&b->guest.m.g);
}

/* Breaks its ring, resets it, breaks it again. */
static void break_ring(struct member *b)
{
	struct vdb_ring *ring = mock_at(&b->guest.ram, RIG_RING);

	if (__atomic_load_n(&ring->device.state, __ATOMIC_RELAXED) == VDB_RING_READY)
		__atomic_store_n(&ring->sq_tail.value, 0x7fff1234u, __ATOMIC_RELAXED);
	else if (__atomic_load_n(&ring->device.state, __ATOMIC_RELAXED) == VDB_RING_BROKEN)
		vdb_guest_reset(&b->guest.m.g, VDB_F_EVENT_IDX);
	else
		(void)vdb_guest_poll_ready(&b->guest.m.g);
	mock_bell(&b->guest.m.g);
}

/* Requests that make no sense. */
static void send_garbage(struct member *b)
{
	struct vdb_cqe cqe;

	while (vdb_guest_reap(&b->guest.m.g, &cqe))
		b->wrong += cqe.result >= 0;
	while (mock_prepare(&b->guest.m, VDB_OP_READ, UINT64_MAX - 100, UINT32_MAX, UINT64_MAX - 5, 0) &&
	       mock_prepare(&b->guest.m, 77, 0, LEN, 0, 0))
		;
	(void)vdb_guest_submit(&b->guest.m.g);
	mock_bell(&b->guest.m.g);
}

/* An interrupt for each request of a byte. */
static void ask_for_interrupts(struct member *b)
{
	struct vdb_cqe cqe;

	while (vdb_guest_reap(&b->guest.m.g, &cqe))
		;
	while (mock_submit(&b->guest.m, VDB_OP_READ, RIG_DATA, 1, 0, 0))
		(void)vdb_guest_arm(&b->guest.m.g);
	(void)vdb_guest_arm(&b->guest.m.g);
}

static void (*const classes[BAD])(struct member *) = {flood, ring_bells, break_ring, send_garbage,
                                                      ask_for_interrupts};

/* ---- Together ---- */

static void be_bad(void)
{
	for (unsigned i = 0; i < BAD; i++)
		classes[i](&bad[i]);
}

static uint64_t done_by_all(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < many(); i++)
		sum += good[i].done;
	return sum;
}

/* What the good ones get done in so many turns. */
static uint64_t work(bool with_bad)
{
	uint64_t before = done_by_all();

	for (unsigned turn = 0; turn < TURNS; turn++) {
		if (with_bad)
			be_bad();
		rig_turns(&rig, 1);
	}
	return done_by_all() - before;
}

static struct vdb_tenant_stats stats_of(const struct vdb_tenant *tenant)
{
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_tenant_stats(tenant, &stats), 0);
	return stats;
}

static void open_crowd(void)
{
	struct vdb_loop_config config = test_loop_config();

	config.poll_mode = VDB_POLL_NEVER;
	rig_open(&rig, &config);
	ck_assert_int_eq(vdb_backend_null(1 << 30, &backend), 0);
	good = calloc(many(), sizeof(*good));
	tenants = calloc(many(), sizeof(struct vdb_tenant *));
	ck_assert(good && tenants);
	for (unsigned i = 0; i < many(); i++)
		join(&good[i], &tenants[i], 8);
	for (unsigned i = 0; i < BAD; i++)
		join(&bad[i], &bad_tenants[i], 256);
	for (unsigned i = 0; i < many(); i++) {
		good[i].guest.on_trigger = refill;
		refill(&good[i].guest);
	}
	rig_turns(&rig, 20);
}

static void close_crowd(void)
{
	for (unsigned i = 0; i < many(); i++)
		good[i].guest.on_trigger = NULL;
	for (unsigned i = 0; i < many(); i++) {
		ck_assert_uint_eq(good[i].wrong, 0);
		rig_leave(&good[i].guest);
		vdb_tenant_destroy(tenants[i]);
	}
	for (unsigned i = 0; i < BAD; i++) {
		rig_leave(&bad[i].guest);
		vdb_tenant_destroy(bad_tenants[i]);
	}
	vdb_backend_destroy(backend);
	rig_close(&rig);
	free(good);
	free(tenants);
}

/* In turns of the loop, which is what it shares out: the same work, but for 5 %. */
START_TEST(g77_one_of_each_class_beside_many_good)
{
	uint64_t alone, beside;

	open_crowd();
	alone = work(false);
	beside = work(true);
	ck_assert_uint_gt(alone, TURNS);
	ck_assert_msg(beside * 100 >= alone * 95, "alone %llu requests, beside the bad %llu",
	              (unsigned long long)alone, (unsigned long long)beside);
	for (unsigned i = 0; i < many(); i++) {
		ck_assert_uint_eq(stats_of(tenants[i]).overtaken, 0);
		ck_assert_uint_eq(stats_of(tenants[i]).errors, 0);
	}
	close_crowd();
}
END_TEST

/* Their accounts name them, each by what it does. */
START_TEST(g77_the_accounts_say_who_is_bad)
{
	struct vdb_tenant_stats s;

	open_crowd();
	(void)work(true);
	s = stats_of(tenants[0]);
	ck_assert_uint_eq(s.broken + s.refused + s.errors, 0);
	ck_assert_uint_gt(stats_of(bad_tenants[0]).bytes, s.bytes);
	ck_assert_uint_gt(stats_of(bad_tenants[1]).bells_vain, TURNS / 10);
	ck_assert_uint_gt(stats_of(bad_tenants[2]).broken, TURNS / 100);
	ck_assert_uint_gt(stats_of(bad_tenants[3]).refused, TURNS);
	ck_assert_uint_eq(bad[3].wrong, 0);
	ck_assert_uint_gt(stats_of(bad_tenants[4]).irqs, TURNS / 10);
	close_crowd();
}
END_TEST

/* ---- G79 ---- */

/* Memory that is registered, a file that is, requests of all kinds on their way to a disk: the lane goes at
 * once, and its memory as soon as it may. */
START_TEST(g79_vms_go_with_everything_in_flight)
{
	struct vdb_loop_config config = test_loop_config();
	struct rig_guest guest;

	config.flags = VDB_LOOP_REGISTER_MEMORY;
	rig_open(&rig, &config);
	backend = arena_file(4u << 20, 0);
	for (unsigned life = 0; life < 3; life++) { /* what the loop takes once */
		memset(&guest, 0, sizeof(guest));
		rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
		rig_leave(&guest);
	}
	arena_begin(rig.loop);
	for (unsigned life = 0; life < 60; life++) {
		memset(&guest, 0, sizeof(guest));
		rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
		for (unsigned i = 0; i < RIG_DEPTH; i++)
			ck_assert(mock_prepare(
			        &guest.m,
			        (uint8_t)(i % 7 ? i % 2 ? VDB_OP_READ : VDB_OP_WRITE : VDB_OP_FLUSH),
			        RIG_DATA + i * 16384u, 16384, (uint64_t)i * 16384, i));
		(void)vdb_guest_submit(&guest.m.g);
		rig_turns(&rig, life % 4);
		rig_leave(&guest);
	}
	arena_goes_on();
	arena_end();
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("crowd");

	tcase_add_test(tc, g77_one_of_each_class_beside_many_good);
	tcase_add_test(tc, g77_the_accounts_say_who_is_bad);
	tcase_add_test(tc, g79_vms_go_with_everything_in_flight);
	return test_run_within("crowd", tc, 250);
}
