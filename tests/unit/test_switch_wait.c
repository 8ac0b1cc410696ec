/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: clock_gettime timerfd_settime */
/* A switch whose receivers have no room: what waits, how long, and at whose cost. */
#include <string.h>

#include "suite.h"
#include "switch_rig.h"

#define ALL 255u
#define SHARE 64u

/* Everybody knows everybody. */
static void set_up(void)
{
	switch_rig_up((struct vdb_switch_config){0});
	for (uint8_t n = 0; n < SWITCH_GUESTS; n++)
		switch_rig_send(n, ALL, n, 0);
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++)
		nic_fill(&guest[n], SWITCH_GUESTS - 1, 2048);
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++)
		nic_drain(&guest[n]);
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++) {
		uint8_t packet[NIC_SLOT];

		for (uint32_t i = 1; i < SWITCH_GUESTS; i++)
			nic_until(loop, nic_take(&guest[n], packet));
	}
}

static void send_many(uint32_t from, uint8_t to, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		switch_rig_send(from, to, (uint8_t)from, i);
	test_settle(loop);
}

static void expect_many(uint32_t at, uint8_t from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		switch_rig_expect(at, (uint8_t)at, from, i);
}

/* The second tick after they came, at the latest, is their end. */
static void let_expire(void)
{
	for (int i = 0; i < 2; i++) {
		clock_ring(0);
		test_settle(loop);
	}
}

START_TEST(a_slow_receiver_gets_it_later)
{
	set_up();
	send_many(0, 1, 30);
	ck_assert_uint_eq(nic_reclaim(&guest[0]), 0);
	nic_fill(&guest[1], 10, 2048);
	expect_many(1, 0, 10);
	ck_assert_uint_eq(nic_reclaim(&guest[0]), 10);
	nic_fill(&guest[1], 30, 2048);
	for (uint32_t i = 10; i < 30; i++)
		switch_rig_expect(1, 1, 0, i);
	nic_drain(&guest[0]);
	ck_assert_uint_eq(switch_rig_stats(1).full, 0);
	switch_rig_down();
}
END_TEST

/* It costs the sender a part of its ring, for a while; and nothing turns. */
START_TEST(g67_a_receiver_that_never_reads)
{
	uint64_t turns;

	set_up();
	send_many(0, 1, 100);
	ck_assert_uint_eq(nic_reclaim(&guest[0]), 100 - SHARE);
	ck_assert_uint_eq(switch_rig_stats(1).full, 100 - SHARE);
	nic_fill(&guest[2], 8, 2048);
	send_many(0, 2, 8);
	expect_many(2, 0, 8);
	ck_assert_uint_eq(nic_reclaim(&guest[0]), 8);
	turns = test_loop_stats(loop).events;
	for (int i = 0; i < 10; i++)
		test_settle(loop);
	ck_assert_uint_eq(test_loop_stats(loop).events, turns);
	let_expire();
	ck_assert_uint_eq(nic_reclaim(&guest[0]), SHARE);
	ck_assert_uint_eq(switch_rig_stats(1).full, 100);
	ck_assert_uint_eq(guest[1].pair->stats.rx_dropped, 100);
	ck_assert_uint_eq(guest[0].pair->stats.tx_dropped, 0);
	ck_assert_uint_eq(clock_alarm, 0); /* no timer any more */
	switch_rig_down();
}
END_TEST

START_TEST(what_comes_later_waits_longer)
{
	set_up();
	send_many(0, 1, 3);
	clock_ring(0);
	test_settle(loop);
	send_many(2, 1, 2);
	clock_ring(0);
	test_settle(loop);
	ck_assert_uint_eq(nic_reclaim(&guest[0]), 3);
	ck_assert_uint_eq(nic_reclaim(&guest[2]), 0);
	nic_fill(&guest[1], 2, 2048);
	expect_many(1, 2, 2);
	switch_rig_down();
}
END_TEST

/* One that floods has its share of the queue; others have theirs. */
START_TEST(g67_a_flood_leaves_room_for_others)
{
	set_up();
	send_many(0, 1, 100);
	send_many(2, 1, 20);
	ck_assert_uint_eq(nic_reclaim(&guest[2]), 0);
	nic_fill(&guest[1], SHARE + 20, 2048);
	expect_many(1, 0, SHARE);
	expect_many(1, 2, 20);
	switch_rig_down();
}
END_TEST

#define CROWD 10u

/* A sender whose packets many do not read has entries for those who do. */
START_TEST(g67_however_many_never_read)
{
	static struct nic crowd[CROWD];
	uint8_t frame[100];

	switch_rig_up((struct vdb_switch_config){0});
	for (uint8_t n = 0; n < CROWD; n++) {
		struct vdb_switch_port_config config = {.size = sizeof(config),
		                                        .mac = {2, 0, 0, 0, 0, 100 + n}};
		struct vdb_netdev *port = NULL;

		ck_assert_int_eq(vdb_switch_port(sw, &config, &port), 0);
		nic_open(&crowd[n], loop, port, NULL);
		vdb_netdev_destroy(port);
	}
	nic_fill(&crowd[CROWD - 1], 64, 2048);
	for (uint32_t i = 0; i < 64; i += 4) {
		send_many(0, ALL, 4);
		for (uint32_t k = 0; k < 4; k++) {
			nic_frame(frame, sizeof(frame), ALL, 0, k);
			nic_expect(&crowd[CROWD - 1], NULL, frame, sizeof(frame));
		}
	}
	for (uint32_t n = 0; n < CROWD; n++)
		nic_close(&crowd[n]);
	switch_rig_down();
}
END_TEST

/* Each has it as soon as it can, and the sender has it back when the last one has. */
START_TEST(to_all_of_whom_some_are_slow)
{
	set_up();
	nic_fill(&guest[1], 1, 2048);
	switch_rig_send(0, ALL, 0, 7);
	switch_rig_expect(1, ALL, 0, 7);
	ck_assert_uint_eq(nic_reclaim(&guest[0]), 0);
	nic_fill(&guest[2], 1, 2048);
	switch_rig_expect(2, ALL, 0, 7);
	test_settle(loop);
	ck_assert_uint_eq(nic_reclaim(&guest[0]), 0);
	let_expire();
	ck_assert_uint_eq(nic_reclaim(&guest[0]), 1);
	ck_assert_uint_eq(switch_rig_stats(3).full, 1);
	switch_rig_down();
}
END_TEST

/* A sender has so many entries in all: beyond that it is told, by drops. */
START_TEST(a_flood_to_all)
{
	set_up();
	send_many(0, ALL, 120);
	ck_assert_uint_eq(switch_rig_stats(1).full, 120 - SHARE);
	ck_assert_uint_eq(switch_rig_stats(3).full, 120 - SHARE);
	let_expire();
	ck_assert_uint_eq(nic_reclaim(&guest[0]), 120);
	switch_rig_down();
}
END_TEST

START_TEST(the_receiver_goes)
{
	set_up();
	send_many(0, 1, 10);
	send_many(2, ALL, 1);
	switch_rig_unplug(1);
	ck_assert_uint_eq(nic_reclaim(&guest[0]), 10);
	nic_fill(&guest[0], 1, 2048);
	nic_fill(&guest[3], 1, 2048);
	switch_rig_expect(0, ALL, 2, 0);
	switch_rig_expect(3, ALL, 2, 0);
	nic_drain(&guest[2]);
	/* And another one comes in its place. */
	switch_rig_plug(1, 0, false, NULL);
	send_many(1, 0, 2);
	nic_fill(&guest[0], 2, 2048);
	expect_many(0, 1, 2);
	switch_rig_down();
}
END_TEST

START_TEST(the_sender_goes)
{
	set_up();
	send_many(0, 1, 10);
	send_many(0, ALL, 5);
	switch_rig_unplug(0);
	send_many(2, 1, 3);
	nic_fill(&guest[1], 3, 2048);
	expect_many(1, 2, 3);
	nic_expect_none(&guest[1]);
	switch_rig_down();
}
END_TEST

/* In any order. */
START_TEST(all_go_at_once)
{
	for (uint32_t first = 0; first < SWITCH_GUESTS; first++) {
		set_up();
		for (uint32_t n = 0; n < SWITCH_GUESTS; n++) {
			send_many(n, ALL, 10);
			send_many(n, (uint8_t)((n + 1) % SWITCH_GUESTS), 10);
		}
		for (uint32_t i = 0; i < SWITCH_GUESTS; i++)
			switch_rig_unplug((first + i) % SWITCH_GUESTS);
		switch_rig_down();
	}
}
END_TEST

START_TEST(the_loop_ends)
{
	set_up();
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++)
		send_many(n, ALL, 10);
	test_loop_end(loop);
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++) {
		guest[n].loop = NULL;
		switch_rig_unplug(n);
	}
	vdb_switch_destroy(sw);
}
END_TEST

/* Ports go on without the caller's reference. */
START_TEST(the_switch_goes_first)
{
	set_up();
	vdb_switch_destroy(sw);
	sw = NULL;
	send_many(0, 1, 1);
	nic_fill(&guest[1], 1, 2048);
	expect_many(1, 0, 1);
	switch_rig_down();
}
END_TEST

SUITE("switch_wait", a_slow_receiver_gets_it_later, g67_a_receiver_that_never_reads,
      what_comes_later_waits_longer, g67_a_flood_leaves_room_for_others, g67_however_many_never_read,
      to_all_of_whom_some_are_slow, a_flood_to_all, the_receiver_goes, the_sender_goes, all_go_at_once,
      the_loop_ends, the_switch_goes_first)
