/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: vdb__now */
/* When a guest is interrupted, and when the next completion is waited for; by a clock of the test's. */
#include "rig.h"
#include "run.h"

uint64_t __wrap_vdb__now(void);

#define COALESCE 20000u

static uint64_t fake_now = 1000000;
static struct rig rig;
static struct rig_guest guest;
static struct rig_hold hold;
static struct vdb_backend *backend;

uint64_t __wrap_vdb__now(void)
{
	return fake_now;
}

/* Every completion is to be told. */
static void ask(void)
{
	struct vdb_cqe cqe;

	do {
		while (vdb_guest_reap(&guest.m.g, &cqe))
			;
	} while (vdb_guest_arm(&guest.m.g));
}

static void rearm(struct rig_guest *g)
{
	(void)g;
	ask();
}

static void setup_with(uint32_t coalesce_ns)
{
	struct vdb_loop_config config = test_loop_config();

	config.coalesce_ns = coalesce_ns;
	config.poll_mode = VDB_POLL_NEVER;
	rig_open(&rig, &config);
	backend = rig_hold_open(&hold);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	guest.triggers = 0;
	guest.on_trigger = rearm;
	fake_now += 1000000; /* long after those of the handshake */
}

static void teardown(void)
{
	guest.on_trigger = NULL;
	while (hold.n)
		rig_hold_end(&hold, 512, 1);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}

static void submit(unsigned n)
{
	uint32_t before = hold.n;

	for (unsigned i = 0; i < n; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_READ, RIG_DATA, 512, 512, i));
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, hold.n == before + n);
}

/* One completion, and as many interrupts as there are by the end of that turn. A turn of run(), not a step:
 * who steps is away afterwards, so nothing is held. */
static void on_post(void *arg, int status)
{
	(void)status;
	rig_hold_end(&hold, 512, 1);
	if (arg)
		vdb_loop_stop(rig.loop);
}

static void stop_now(void *arg, int status)
{
	(void)arg;
	(void)status;
	vdb_loop_stop(rig.loop);
}

static void complete_in_one_run(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(vdb_loop_post(rig.loop, on_post, NULL), 0);
	ck_assert_int_eq(vdb_loop_post(rig.loop, stop_now, NULL), 0);
	ck_assert_int_eq(vdb_loop_run(rig.loop), 0);
}

START_TEST(the_last_in_flight_is_told_at_once)
{
	setup_with(COALESCE);
	for (unsigned i = 1; i <= 50; i++) {
		submit(1);
		complete_in_one_run(1);
		ck_assert_uint_eq(guest.triggers, i);
		fake_now += 100;
	}
	ck_assert_uint_eq(rig_stats(&guest).coalesced, 0);
	teardown();
}
END_TEST

START_TEST(frequent_interrupts_wait_for_more)
{
	uint64_t told;

	setup_with(COALESCE);
	submit(30);
	for (unsigned i = 0; i < 10; i++) {
		complete_in_one_run(1);
		fake_now += 3000;
	}
	told = guest.triggers;
	ck_assert_uint_gt(told, 0);
	ck_assert_uint_lt(told, 10);
	/* All of it is there, only untold. */
	ck_assert_uint_eq(rig_stats(&guest).completions, 10);
	/* Not for ever: when its time has come. */
	fake_now += COALESCE;
	complete_in_one_run(1);
	ck_assert_uint_eq(guest.triggers, told + 1);
	teardown();
}
END_TEST

START_TEST(rare_ones_do_not)
{
	setup_with(COALESCE);
	submit(30);
	for (unsigned i = 1; i <= 10; i++) {
		complete_in_one_run(1);
		ck_assert_uint_eq(guest.triggers, i);
		fake_now += COALESCE + 1;
	}
	teardown();
}
END_TEST

START_TEST(nothing_is_held_while_the_loop_sleeps)
{
	setup_with(COALESCE);
	submit(30);
	for (unsigned i = 1; i <= 10; i++) {
		rig_hold_end(&hold, 512, 1);
		while (vdb_loop_prepare(rig.loop) != 1)
			rig_turns(&rig, 1);
		ck_assert_uint_eq(guest.triggers, i);
		fake_now += 100;
	}
	teardown();
}
END_TEST

START_TEST(the_last_one_takes_along_what_was_held)
{
	setup_with(COALESCE);
	submit(12);
	for (unsigned i = 0; i < 11; i++)
		complete_in_one_run(1);
	ck_assert_uint_lt(guest.triggers, 11);
	complete_in_one_run(1);
	ck_assert_uint_eq(rig_stats(&guest).completions, 12);
	/* The guest has been told of the last: it has reaped all. */
	ck_assert_uint_eq(vdb_guest_outstanding(&guest.m.g), 0);
	teardown();
}
END_TEST

START_TEST(who_leaves_is_told_first)
{
	uint64_t told;

	setup_with(COALESCE);
	submit(20);
	for (unsigned i = 0; i < 10; i++)
		complete_in_one_run(1);
	told = guest.triggers;
	ck_assert_uint_lt(told, 10);
	while (hold.n)
		rig_hold_end(&hold, 512, 1);
	guest.on_trigger = NULL;
	rig_leave(&guest);
	ck_assert_uint_gt(guest.triggers, told);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("lane_irq");

	tcase_add_test(tc, the_last_in_flight_is_told_at_once);
	tcase_add_test(tc, frequent_interrupts_wait_for_more);
	tcase_add_test(tc, rare_ones_do_not);
	tcase_add_test(tc, nothing_is_held_while_the_loop_sleeps);
	tcase_add_test(tc, the_last_one_takes_along_what_was_held);
	tcase_add_test(tc, who_leaves_is_told_first);
	return test_run("lane_irq", tc);
}
