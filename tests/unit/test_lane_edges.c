/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* Where two ends meet: budget and pool, sleep and new memory, a callback and the lane that calls it. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <vdb/error.h>

#include "rig.h"
#include "run.h"

static struct rig rig;
static struct rig_guest guest;
static struct rig_hold hold;
static struct vdb_backend *backend;

static struct vdb_backend *null_backend(void)
{
	struct vdb_backend *made;

	ck_assert_int_eq(vdb_backend_null(1 << 30, &made), 0);
	return made;
}

static void setup_with(struct vdb_backend *with, const struct vdb_loop_config *config, uint32_t max_inflight)
{
	rig_open(&rig, config);
	backend = with;
	rig_join(&rig, &guest,
	         &(struct rig_guest_config){.backend = backend, .lane = {.max_inflight = max_inflight}});
	guest.triggers = 0;
}

static void teardown(void)
{
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}

/* As an embedder's loop that is about to wait: what is due is done, every ring is armed. */
static void fall_asleep(void)
{
	while (vdb_loop_prepare(rig.loop) != 1)
		rig_turns(&rig, 1);
}

/* ---- Sleep ---- */

/* The request that uses up the budget takes the last slot, too: nobody has met the empty pool. */
START_TEST(budget_and_pool_end_with_the_same_request)
{
	struct vdb_loop_config config = test_loop_config();

	config.request_cost = 4096;
	config.quantum = 2 * (4096 + 512);
	setup_with(rig_hold_open(&hold), &config, 2);
	fall_asleep();
	for (unsigned i = 0; i < 3; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, i));
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, hold.n == 2);
	ck_assert_uint_eq(rig_stats(&guest).requests, 2);
	fall_asleep();
	rig_hold_end(&hold, 512, 1);
	rig_turns(&rig, 5);
	ck_assert_uint_eq(rig_stats(&guest).requests, 3);
	rig_hold_end(&hold, 512, 1);
	rig_hold_end(&hold, 512, 1);
	teardown();
}
END_TEST

/* ---- Memory that changes ---- */

static void unplug_ram(void)
{
	ck_assert_int_eq(vdb_mem_remove(guest.ram.mem, 0, NULL, NULL), 0);
}

static void plug_ram(void *host)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .len = RIG_RAM, .backing = VDB_MEM_HOST, .host = host};

	ck_assert_int_eq(vdb_mem_add(guest.ram.mem, &region), 0);
}

/* A VM has its memory back before the lane has: the bell of a driver that asks at once finds nothing. */
START_TEST(a_reset_asked_for_before_memory_is_back)
{
	setup_with(null_backend(), NULL, 0);
	unplug_ram();
	rig_turns(&rig, 5);
	ck_assert_uint_eq(guest.broken, VDB_REASON_MEMORY);
	vdb_guest_reset(&guest.m.g, 0);
	fall_asleep();
	plug_ram(guest.ram.host);
	for (unsigned i = 0; i < 10; i++) {
		(void)vdb_guest_poll_ready(&guest.m.g);
		rig_turns(&rig, 1);
	}
	ck_assert_int_eq(vdb_guest_poll_ready(&guest.m.g), 1);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_NOP, 0, 0, 0), 0);
	teardown();
}
END_TEST

/* The guest is moved to a copy of its memory, made before the lane went to sleep: the copy asks for no
 * bell. */
START_TEST(memory_replaced_under_a_sleeping_lane)
{
	uint8_t *copy = mmap(NULL, RIG_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *original;
	struct vdb_cqe cqe;

	ck_assert_ptr_ne(copy, MAP_FAILED);
	setup_with(null_backend(), NULL, 0);
	original = guest.ram.host;
	fall_asleep();
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(rig_do(&guest, VDB_OP_NOP, 0, 0, 0), 0);
	memcpy(copy, original, RIG_RAM);
	fall_asleep();
	unplug_ram();
	plug_ram(copy);
	guest.m.g.ring = (struct vdb_ring *)(void *)(copy + RIG_RING);
	guest.m.g.sq = (struct vdb_sqe *)(void *)(guest.m.g.ring + 1);
	guest.m.g.cq = (struct vdb_cqe *)(void *)(guest.m.g.sq + RIG_DEPTH);
	rig_turns(&rig, 5);
	fall_asleep();
	ck_assert(mock_submit(&guest.m, VDB_OP_NOP, 0, 0, 0, 7));
	rig_turns(&rig, 5);
	ck_assert_int_eq(vdb_guest_reap(&guest.m.g, &cqe), 1);
	ck_assert_uint_eq(cqe.user_data, 7);
	teardown();
	munmap(copy, RIG_RAM);
}
END_TEST

/* ---- Inline work ---- */

/* Requests that each cost more than a visit's budget, and no end of them. */
START_TEST(inline_work_goes_on_beside_large_requests)
{
	unsigned served = 0, filled = 0;
	struct vdb_cqe cqe;

	setup_with(null_backend(), NULL, 0);
	ck_assert(mock_submit(&guest.m, VDB_OP_FILL, RIG_DATA, 1 << 20, 5, 1000));
	for (unsigned i = 0; i < 500 && !filled; i++) {
		while (vdb_guest_reap(&guest.m.g, &cqe)) {
			if (cqe.user_data == 1000)
				filled++;
			else
				served++;
		}
		while (mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 1 << 20, 0, 1))
			;
		rig_turns(&rig, 1);
	}
	ck_assert_uint_eq(filled, 1);
	ck_assert_uint_gt(served, 0);
	while (vdb_guest_outstanding(&guest.m.g))
		(void)rig_reap(&guest);
	teardown();
}
END_TEST

/* ---- Callbacks ---- */

static void count_gone(void *arg)
{
	++*(int *)arg;
}

static int gone;

static void destroy_lane(struct rig_guest *g)
{
	g->on_trigger = NULL;
	vdb_lane_destroy(g->lane, count_gone, &gone);
}

static void close_guest(void)
{
	mock_close(&guest.m);
	mock_ram_close(&guest.ram);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}

START_TEST(the_trigger_destroys_the_lane)
{
	gone = 0;
	setup_with(null_backend(), NULL, 0);
	ck_assert_int_eq(vdb_guest_arm(&guest.m.g), 0);
	guest.on_trigger = destroy_lane;
	for (unsigned i = 0; i < 8; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_FILL, RIG_DATA, 1 << 20, 5, i));
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, gone);
	ck_assert_int_eq(gone, 1);
	close_guest();
}
END_TEST

static void broken_destroys(void *arg, uint32_t reason)
{
	struct rig_guest *g = arg;

	g->broken = reason;
	vdb_lane_destroy(g->lane, count_gone, &gone);
}

START_TEST(the_broken_callback_destroys_the_lane)
{
	struct vdb_lane_config config = {.size = sizeof(config), .broken = broken_destroys};
	struct vdb_ring_config ring = {.gpa = RIG_RING, .sq_entries = 8};

	gone = 0;
	rig_open(&rig, NULL);
	backend = rig_hold_open(&hold);
	memset(&guest, 0, sizeof(guest));
	guest.rig = &rig;
	mock_ram_open(&guest.ram, 0, RIG_RAM);
	mock_open(&guest.m, &guest.ram, &ring);
	config.broken_arg = &guest;
	config.kick_fd = guest.m.kick;
	ck_assert_int_eq(vdb_lane_create(rig.loop, guest.m.queue, backend, &config, &guest.lane), 0);
	guest.m.queue = NULL;
	vdb_guest_reset(&guest.m.g, 0);
	while (vdb_guest_poll_ready(&guest.m.g) == 0)
		rig_turns(&rig, 1);
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&rig, hold.n == 1);
	guest.m.g.ring->sq_tail.value += 1000;
	vdb_guest_ring_bell(&guest.m.g);
	RIG_UNTIL(&rig, guest.broken);
	rig_turns(&rig, 5);
	ck_assert_int_eq(gone, 0);
	rig_hold_end(&hold, 512, 1);
	RIG_UNTIL(&rig, gone);
	ck_assert_int_eq(gone, 1);
	close_guest();
}
END_TEST

/* An embedder whose requests wait for the guest's next interrupt. */
static void end_one(struct rig_guest *g)
{
	(void)g;
	if (hold.n)
		rig_hold_end(&hold, 512, 1);
}

START_TEST(the_trigger_completes_requests)
{
	setup_with(rig_hold_open(&hold), NULL, 4);
	for (unsigned i = 0; i < 8; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, i));
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, hold.n == 4);
	guest.on_trigger = end_one;
	for (unsigned i = 0; i < 8; i++) {
		if (!vdb_guest_arm(&guest.m.g))
			rig_hold_end(&hold, 512, 1); /* and the interrupt ends another */
		ck_assert_int_eq(rig_reap(&guest).result, 512);
		rig_turns(&rig, 3);
	}
	ck_assert_uint_eq(rig_stats(&guest).inflight, 0);
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("edges");

	tcase_add_test(tc, budget_and_pool_end_with_the_same_request);
	tcase_add_test(tc, a_reset_asked_for_before_memory_is_back);
	tcase_add_test(tc, memory_replaced_under_a_sleeping_lane);
	tcase_add_test(tc, inline_work_goes_on_beside_large_requests);
	tcase_add_test(tc, the_trigger_destroys_the_lane);
	tcase_add_test(tc, the_broken_callback_destroys_the_lane);
	tcase_add_test(tc, the_trigger_completes_requests);
	return test_run("lane_edges", tc);
}
