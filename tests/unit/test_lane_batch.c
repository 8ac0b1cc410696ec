/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* When the guest is told: once a batch, if it asked; and what happens when requests run out or a reset waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vdb/error.h>

#include "rig.h"
#include "run.h"

static struct rig rig;
static struct rig_guest guest;
static struct rig_hold hold;
static struct vdb_backend *backend;

static void setup_with(struct vdb_backend *with, uint32_t max_inflight, int by_fd)
{
	rig_open(&rig, NULL);
	backend = with;
	rig_join(&rig, &guest,
	         &(struct rig_guest_config){
	                 .backend = backend, .by_fd = by_fd, .lane = {.max_inflight = max_inflight}});
	guest.triggers = 0;
}

static void teardown(void)
{
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}

static void prepare(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_READ, RIG_DATA, 512, 512, i));
}

static void reap(unsigned n)
{
	struct vdb_cqe cqe;

	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(rig_reap(&guest).result, 512);
	ck_assert_int_eq(vdb_guest_reap(&guest.m.g, &cqe), 0);
}

/* Asks for an interrupt at the next completion, as a guest does that goes to sleep. */
static void ask(void)
{
	ck_assert_int_eq(vdb_guest_arm(&guest.m.g), 0);
}

static struct vdb_backend *null_backend(void)
{
	struct vdb_backend *made;

	ck_assert_int_eq(vdb_backend_null(1 << 30, &made), 0);
	return made;
}

START_TEST(what_completes_in_a_visit_is_one_interrupt)
{
	struct vdb_lane_stats before, after;

	setup_with(null_backend(), 0, 0);
	before = rig_stats(&guest);
	ask();
	prepare(32);
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, guest.triggers);
	rig_turns(&rig, 4);
	after = rig_stats(&guest);
	ck_assert_uint_eq(guest.triggers, 1);
	ck_assert_uint_eq(after.triggers - before.triggers, 1);
	ck_assert_uint_eq(after.completions - before.completions, 32);
	reap(32);
	teardown();
}
END_TEST

/* ---- A guest that has not much more to wait for is shown the first half of what a visit completes ---- */

static uint32_t shown[64]; /* completions that the guest sees when the n-th request of a batch starts */
static unsigned started;

static int look_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	(void)req;
	shown[started++] = *(volatile uint32_t *)&guest.m.g.ring->cq_tail.value - guest.m.g.cq_head;
	return VDB_REQ_DONE;
}

static void batch_of(unsigned n)
{
	started = 0;
	prepare(n);
	ask();
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, started == n);
	rig_turns(&rig, 2);
}

START_TEST(a_guest_that_waits_is_shown_a_half)
{
	const struct vdb_backend_ops ops = {.size = sizeof(ops), .start = look_start};
	const struct vdb_backend_info info = {
	        .size = sizeof(info), .capacity = 1 << 20, .ops = 1u << VDB_OP_READ};
	struct vdb_backend *looks;

	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &looks), 0);
	setup_with(looks, 0, 0);
	batch_of(32);
	ck_assert_uint_eq(shown[15], 0);
	ck_assert_uint_eq(shown[16], 16);
	ck_assert_uint_eq(shown[31], 16);
	ck_assert_uint_eq(guest.triggers, 1);
	reap(32);
	ck_assert_uint_eq(rig_stats(&guest).completions, 32);
	/* Less than that is not worth it. */
	batch_of(15);
	ck_assert_uint_eq(shown[14], 0);
	reap(15);
	/* There is enough behind these to go on with, until 31 are left. */
	batch_of(60);
	ck_assert_uint_eq(shown[28], 0);
	ck_assert_uint_eq(shown[29], 29);
	reap(60);
	teardown();
}
END_TEST

START_TEST(what_completes_between_visits_is_one_interrupt)
{
	setup_with(rig_hold_open(&hold), 0, 0);
	ask();
	prepare(32);
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, hold.n == 32);
	rig_turns(&rig, 3);
	ck_assert_uint_eq(guest.triggers, 0);
	while (hold.n)
		rig_hold_end(&hold, 512, 1);
	ck_assert_uint_eq(guest.triggers, 0); /* not each, and not from within */
	rig_turns(&rig, 3);
	ck_assert_uint_eq(guest.triggers, 1);
	reap(32);
	teardown();
}
END_TEST

START_TEST(who_does_not_ask_is_not_interrupted)
{
	setup_with(null_backend(), 0, 0);
	ask();
	for (unsigned i = 0; i < 20; i++) {
		prepare(1);
		(void)vdb_guest_submit(&guest.m.g);
		reap(1);
	}
	/* The first was asked for, the others were polled. */
	ck_assert_uint_eq(guest.triggers, 1);
	ck_assert_uint_eq(rig_stats(&guest).suppressed, 19);
	teardown();
}
END_TEST

START_TEST(interrupts_go_to_the_call_fd)
{
	uint64_t count = 0;

	setup_with(null_backend(), 0, 1);
	(void)!read(guest.m.call, &count, sizeof(count)); /* of the handshake */
	ask();
	prepare(5);
	(void)vdb_guest_submit(&guest.m.g);
	reap(5);
	ck_assert_int_eq(read(guest.m.call, &count, sizeof(count)), 8);
	ck_assert_uint_eq(count, 1);
	teardown();
}
END_TEST

/* A peer may hand over a blocking eventfd, and fill it. */
START_TEST(a_full_call_fd_does_not_stop_the_loop)
{
	struct vdb_lane_config config = {.size = sizeof(config)};
	uint64_t full = UINT64_MAX - 1;
	struct rig_guest peer = {.rig = &rig};
	struct vdb_ring_config ring = {.gpa = RIG_RING, .sq_entries = 8};

	setup_with(null_backend(), 0, 0);
	mock_ram_open(&peer.ram, 0, RIG_RAM);
	mock_open(&peer.m, &peer.ram, &ring);
	config.kick_fd = peer.m.kick;
	config.call_fd = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_eq(write(config.call_fd, &full, 8), 8);
	ck_assert_int_eq(vdb_lane_create(rig.loop, peer.m.queue, backend, &config, &peer.lane), 0);
	peer.m.queue = NULL;
	rig_handshake(&peer); /* interrupts at every step */
	ck_assert_int_eq(rig_do(&peer, VDB_OP_NOP, 0, 0, 0), 0);
	ck_assert_int_eq(fcntl(config.call_fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	close(config.call_fd);
	rig_leave(&peer);
	teardown();
}
END_TEST

START_TEST(more_requests_than_slots)
{
	setup_with(rig_hold_open(&hold), 4, 0);
	prepare(20);
	(void)vdb_guest_submit(&guest.m.g);
	for (unsigned left = 20; left; left -= 4) {
		RIG_UNTIL(&rig, hold.n == 4);
		rig_turns(&rig, 5);
		ck_assert_uint_eq(hold.n, 4);
		ck_assert_uint_eq(rig_stats(&guest).inflight, 4);
		for (unsigned i = 0; i < 4; i++)
			rig_hold_end(&hold, 512, 0);
	}
	reap(20);
	teardown();
}
END_TEST

/* While all slots are taken the lane sleeps: it does not look at the ring again and again. */
START_TEST(no_slot_no_spinning)
{
	uint64_t visits;

	setup_with(rig_hold_open(&hold), 1, 0);
	prepare(2);
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, hold.n == 1);
	rig_turns(&rig, 3);
	visits = rig_stats(&guest).visits;
	rig_turns(&rig, 20);
	ck_assert_uint_eq(rig_stats(&guest).visits, visits);
	ck_assert_int_eq(vdb_loop_prepare(rig.loop), 1);
	rig_hold_end(&hold, 512, 0);
	RIG_UNTIL(&rig, hold.n == 1);
	rig_hold_end(&hold, 512, 0);
	reap(2);
	teardown();
}
END_TEST

START_TEST(reset_waits_for_what_is_in_flight)
{
	uint64_t visits;

	setup_with(rig_hold_open(&hold), 0, 0);
	prepare(3);
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, hold.n == 3);
	vdb_guest_reset(&guest.m.g, 0);
	rig_turns(&rig, 10);
	visits = rig_stats(&guest).visits;
	rig_turns(&rig, 10);
	ck_assert_uint_eq(rig_stats(&guest).visits, visits);
	ck_assert_int_eq(vdb_guest_poll_ready(&guest.m.g), 0);
	rig_hold_end(&hold, 512, 0);
	rig_hold_end(&hold, 512, 0);
	rig_turns(&rig, 10);
	ck_assert_int_eq(vdb_guest_poll_ready(&guest.m.g), 0);
	/* The loop sleeps, the ring's bell has rung long ago: the last completion is what wakes the lane. */
	while (vdb_loop_prepare(rig.loop) != 1)
		rig_turns(&rig, 1);
	rig_hold_end(&hold, 512, 0);
	RIG_UNTIL(&rig, vdb_guest_poll_ready(&guest.m.g) == 1);
	ck_assert_uint_eq(vdb_guest_outstanding(&guest.m.g), 0);
	/* Nothing of the old life comes up in the new one. */
	prepare(1);
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, hold.n == 1);
	rig_hold_end(&hold, 512, 0);
	reap(1);
	ck_assert_uint_eq(rig_stats(&guest).resets, 2);
	teardown();
}
END_TEST

/* What a reset waits for may be the lane's own work. */
START_TEST(reset_during_inline_work)
{
	setup_with(null_backend(), 0, 0);
	for (unsigned i = 0; i < 32; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_FILL, RIG_DATA, 1 << 20, 0, i));
	(void)vdb_guest_submit(&guest.m.g);
	rig_turns(&rig, 2);
	ck_assert_uint_gt(rig_stats(&guest).inflight, 0);
	rig_handshake(&guest);
	ck_assert_uint_eq(rig_stats(&guest).inflight, 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_NOP, 0, 0, 0), 0);
	teardown();
}
END_TEST

START_TEST(kick_without_an_eventfd)
{
	struct vdb_lane_config config = {.size = sizeof(config)};
	struct rig_guest plain = {.rig = &rig};
	struct vdb_ring_config ring = {.gpa = RIG_RING, .sq_entries = 8};

	setup_with(null_backend(), 0, 0);
	mock_ram_open(&plain.ram, 0, RIG_RAM);
	mock_open(&plain.m, &plain.ram, &ring);
	ck_assert_int_eq(vdb_lane_create(rig.loop, plain.m.queue, backend, &config, &plain.lane), 0);
	plain.m.queue = NULL;
	vdb_guest_reset(&plain.m.g, 0);
	for (int i = 0; i < 3; i++) {
		vdb_lane_kick(plain.lane);
		vdb_lane_kick(plain.lane); /* merges */
		rig_turns(&rig, 2);
		(void)vdb_guest_poll_ready(&plain.m.g);
	}
	ck_assert_int_eq(vdb_guest_poll_ready(&plain.m.g), 1);
	while (vdb_loop_prepare(rig.loop) != 1)
		rig_turns(&rig, 1);
	ck_assert(mock_submit(&plain.m, VDB_OP_NOP, 0, 0, 0, 1));
	vdb_lane_kick(plain.lane);
	ck_assert_int_eq(rig_reap(&plain).result, 0);
	ck_assert_uint_ge(rig_stats(&plain).kicks, 4);
	rig_leave(&plain);
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("batch");

	tcase_add_test(tc, what_completes_in_a_visit_is_one_interrupt);
	tcase_add_test(tc, a_guest_that_waits_is_shown_a_half);
	tcase_add_test(tc, what_completes_between_visits_is_one_interrupt);
	tcase_add_test(tc, who_does_not_ask_is_not_interrupted);
	tcase_add_test(tc, interrupts_go_to_the_call_fd);
	tcase_add_test(tc, a_full_call_fd_does_not_stop_the_loop);
	tcase_add_test(tc, more_requests_than_slots);
	tcase_add_test(tc, no_slot_no_spinning);
	tcase_add_test(tc, reset_waits_for_what_is_in_flight);
	tcase_add_test(tc, reset_during_inline_work);
	tcase_add_test(tc, kick_without_an_eventfd);
	return test_run("lane_batch", tc);
}
