/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: clock_gettime timerfd_settime */
/* Guests of a switch, and what is behind its uplink: a cable to a netdev whose outside is the test. */
#include <errno.h>
#include <string.h>

#include "net/vnet.h"
#include "outside.h"
#include "suite.h"
#include "switch_rig.h"

#define GUESTS 3u   /* they have addresses 0 to 2 */
#define STATION 50u /* behind the uplink */
#define ALL 255u
#define OFFLOADS (VDB_NET_CSUM | VDB_NET_TSO4)

static struct outside outside;
static struct vdb_netdev *uplink; /* the port */
static struct vdb_cable *cable;
static uint32_t unplugged;

static void on_unplugged(void *arg)
{
	(void)arg;
	unplugged++;
}

static void plug_uplink(uint32_t macs)
{
	struct vdb_switch_port_config port = {.size = sizeof(port), .macs = macs};
	struct vdb_cable_config config = {.size = sizeof(config)};

	ck_assert_msg(!vdb_switch_port(sw, &port, &uplink), "%s", vdb_errmsg());
	config.netdev[0] = uplink;
	config.netdev[1] = outside.netdev;
	ck_assert_msg(!vdb_cable_create(loop, &config, &cable), "%s", vdb_errmsg());
	test_settle(loop);
}

static void unplug_uplink(void)
{
	vdb_cable_destroy(cable, on_unplugged, NULL);
	cable = NULL;
	nic_until(loop, unplugged);
}

static void up_with(uint32_t offloads, const struct nic_config *nic, uint32_t macs)
{
	switch_rig_make((struct vdb_switch_config){0});
	for (uint32_t n = 0; n < GUESTS; n++)
		switch_rig_plug(n, 0, false, nic);
	outside_open(&outside, offloads);
	plug_uplink(macs);
}

static void up(void)
{
	up_with(0, NULL, 0);
}

static void down(void)
{
	if (cable)
		unplug_uplink();
	vdb_netdev_destroy(uplink);
	outside_close(&outside);
	switch_rig_down();
}

static struct vdb_switch_port_stats uplink_stats(void)
{
	struct vdb_switch_port_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_switch_port_stats(uplink, &stats), 0);
	return stats;
}

static void outside_sends(uint8_t to, uint8_t from, uint32_t seed)
{
	uint8_t frame[100];

	nic_frame(frame, sizeof(frame), to, from, seed);
	outside_send(&outside, NULL, frame, sizeof(frame));
}

static void outside_gets(uint8_t to, uint8_t from, uint32_t seed)
{
	uint8_t frame[100];

	nic_frame(frame, sizeof(frame), to, from, seed);
	outside_expect(&outside, loop, NULL, frame, sizeof(frame));
}

static void outside_gets_none(void)
{
	uint8_t packet[VDB_NET_MAX];

	test_settle(loop);
	ck_assert_uint_eq(outside_take(&outside, packet), 0);
}

/* Everybody knows everybody. */
static void introduce(void)
{
	for (uint8_t n = 0; n < GUESTS; n++) {
		nic_fill(&guest[n], GUESTS, 2048);
		switch_rig_send(n, ALL, n, n);
		outside_gets(ALL, n, n);
	}
	outside_sends(ALL, STATION, 9);
	for (uint32_t n = 0; n < GUESTS; n++) {
		for (uint8_t from = 0; from < GUESTS; from++) {
			if (from != n)
				switch_rig_expect(n, ALL, from, from);
		}
		switch_rig_expect(n, ALL, STATION, 9);
		nic_drain(&guest[n]);
	}
}

/* ---- Who gets what ---- */

START_TEST(guests_reach_the_outside_and_each_other)
{
	up();
	introduce();
	for (uint32_t n = 0; n < GUESTS; n++)
		nic_fill(&guest[n], 8, 2048);
	switch_rig_send(0, STATION, 0, 1);
	outside_gets(STATION, 0, 1);
	outside_sends(1, STATION, 2);
	switch_rig_expect(1, 1, STATION, 2);
	switch_rig_send(0, 2, 0, 3);
	switch_rig_expect(2, 2, 0, 3);
	outside_gets_none();
	for (uint32_t n = 0; n < GUESTS; n++)
		nic_expect_none(&guest[n]);
	ck_assert_uint_eq(uplink_stats().macs, 1);
	ck_assert_uint_eq(uplink_stats().sent, 2);
	ck_assert_uint_eq(uplink_stats().received, GUESTS + 1);
	ck_assert_uint_eq(uplink_stats().flooded, 1);
	down();
}
END_TEST

/* There are more stations outside than behind a guest. */
START_TEST(the_port_of_an_uplink_knows_more_addresses)
{
	uint64_t flooded;

	up_with(0, NULL, 64);
	introduce();
	for (uint8_t i = 0; i < 40; i++) {
		nic_fill(&guest[0], 1, 2048);
		outside_sends(0, 100 + i, i);
		switch_rig_expect(0, 0, 100 + i, i);
	}
	ck_assert_uint_eq(uplink_stats().macs, 41);
	flooded = switch_rig_stats(0).flooded;
	for (uint8_t i = 0; i < 40; i++) {
		switch_rig_send(0, 100 + i, 0, i);
		outside_gets(100 + i, 0, i);
	}
	ck_assert_uint_eq(switch_rig_stats(0).flooded, flooded);
	down();
}
END_TEST

/* Nobody outside takes the address that a guest was given. */
START_TEST(an_outside_with_a_guests_address)
{
	switch_rig_make((struct vdb_switch_config){0});
	switch_rig_plug(0, VDB_SWITCH_PORT_GUARD, true, NULL);
	switch_rig_plug(1, 0, false, NULL);
	outside_open(&outside, 0);
	plug_uplink(0);
	nic_fill(&guest[0], 4, 2048);
	nic_fill(&guest[1], 4, 2048);
	outside_sends(1, 0, 1);
	switch_rig_send(1, 0, 1, 2);
	switch_rig_expect(0, 0, 1, 2);
	outside_gets_none();
	ck_assert_uint_eq(uplink_stats().spoofed, 1);
	down();
}
END_TEST

/* ---- Offloads ---- */

#define HEADERS 54u
#define SEGMENT 1000u
#define PAYLOAD 2500u

/* TCP of IPv4 that is to be cut into three. */
static const uint8_t to_be_cut[VDB_NET_HDR] = {
        1, VDB__VNET_GSO_TCP4, HEADERS, 0, SEGMENT & 0xff, SEGMENT >> 8, 34, 0, 16};

static void make_long(uint8_t *frame, uint8_t to, uint8_t from)
{
	static const uint8_t ip[] = {
	        8,    0, 0x45, 0, (HEADERS - 14 + PAYLOAD) >> 8, (HEADERS - 14 + PAYLOAD) & 0xff, 0, 1,
	        0x40, 0, 64,   6};

	nic_frame(frame, HEADERS + PAYLOAD, to, from, 3);
	memcpy(frame + 12, ip, sizeof(ip));
	frame[34 + 12] = 5 << 4;
}

static void check_segment(const uint8_t *frame, const uint8_t *packet, uint32_t n)
{
	uint32_t at = HEADERS + n * SEGMENT, len = PAYLOAD - n * SEGMENT;

	len = len < SEGMENT ? len : SEGMENT;
	for (uint32_t i = 0; i < VDB_NET_HDR - 2; i++)
		ck_assert_uint_eq(packet[i], 0);
	ck_assert_mem_eq(packet + VDB_NET_HDR, frame, 12);
	ck_assert_uint_eq(packet[VDB_NET_HDR + 16] << 8 | packet[VDB_NET_HDR + 17], HEADERS - 14 + len);
	ck_assert_mem_eq(packet + VDB_NET_HDR + HEADERS, frame + at, len);
}

START_TEST(what_the_outside_does_not_take_is_cut)
{
	const struct nic_config takes = {.offloads = OFFLOADS};
	uint8_t frame[HEADERS + PAYLOAD], packet[VDB_NET_MAX];

	make_long(frame, STATION, 0);
	up_with(0, &takes, 0);
	ck_assert_uint_eq(outside.offloads, 0);
	nic_send(&guest[0], to_be_cut, frame, sizeof(frame));
	for (uint32_t n = 0; n < 3; n++) {
		nic_until(loop, outside_take(&outside, packet));
		check_segment(frame, packet, n);
	}
	ck_assert_uint_eq(uplink_stats().segments, 3);
	down();
}
END_TEST

START_TEST(what_a_guest_does_not_take_is_cut)
{
	uint8_t frame[HEADERS + PAYLOAD], packet[NIC_SLOT];

	make_long(frame, 0, STATION);
	up_with(OFFLOADS, NULL, 0);
	ck_assert_uint_eq(outside.offloads, OFFLOADS);
	introduce();
	nic_fill(&guest[0], 3, 2048);
	outside_send(&outside, to_be_cut, frame, sizeof(frame));
	for (uint32_t n = 0; n < 3; n++) {
		nic_until(loop, nic_take(&guest[0], packet));
		check_segment(frame, packet, n);
	}
	down();
}
END_TEST

START_TEST(what_both_take_passes_as_it_is)
{
	const struct nic_config takes = {.offloads = OFFLOADS};
	uint8_t frame[HEADERS + PAYLOAD];

	up_with(OFFLOADS, &takes, 0);
	introduce();
	make_long(frame, STATION, 0);
	nic_send(&guest[0], to_be_cut, frame, sizeof(frame));
	outside_expect(&outside, loop, to_be_cut, frame, sizeof(frame));
	make_long(frame, 0, STATION);
	nic_fill(&guest[0], 1, 4096);
	outside_send(&outside, to_be_cut, frame, sizeof(frame));
	nic_expect(&guest[0], to_be_cut, frame, sizeof(frame));
	down();
}
END_TEST

/* ---- Who does not keep up ---- */

/* They hold some of what came in, for a while, and others go on. */
START_TEST(g67_an_uplink_floods_guests_that_never_read)
{
	uint64_t turns;

	up();
	introduce();
	for (uint32_t i = 0; i < 900; i++)
		outside_sends((uint8_t)(1 + i % 2), STATION, i);
	nic_until(loop, outside.out.head == outside.out.tail);
	for (uint32_t i = 0; i < 100; i++) {
		nic_fill(&guest[0], 1, 2048);
		outside_sends(0, STATION, i);
		switch_rig_expect(0, 0, STATION, i);
	}
	ck_assert_uint_eq(switch_rig_stats(1).full + switch_rig_stats(2).full, 900 - 2 * 64);
	test_settle(loop);
	turns = test_loop_stats(loop).events;
	for (int i = 0; i < 10; i++)
		test_settle(loop);
	ck_assert_uint_eq(test_loop_stats(loop).events, turns);
	for (int i = 0; i < 2; i++) {
		clock_ring(0);
		test_settle(loop);
	}
	ck_assert_uint_eq(switch_rig_stats(1).full + switch_rig_stats(2).full, 900);
	ck_assert_uint_eq(clock_alarm, 0);
	down();
}
END_TEST

/* The outside takes nothing: guests lose what they send there, after a while, and talk to each other
 * meanwhile. */
START_TEST(g67_an_outside_that_takes_nothing)
{
	up();
	introduce();
	outside.holds = true;
	for (uint32_t i = 0; i < 1200; i++) {
		switch_rig_send(0, STATION, 0, i);
		if (i % 32 == 31) {
			test_settle(loop);
			for (int k = 0; k < 2 && clock_alarm; k++) {
				clock_ring(0);
				test_settle(loop);
			}
			nic_drain(&guest[0]);
		}
	}
	ck_assert_uint_eq(outside.nheld, 512);
	ck_assert_uint_gt(uplink_stats().full, 0);
	nic_fill(&guest[2], 1, 2048);
	switch_rig_send(1, 2, 1, 7);
	switch_rig_expect(2, 2, 1, 7);
	nic_fill(&guest[1], 1, 2048);
	outside_sends(1, STATION, 8);
	switch_rig_expect(1, 1, STATION, 8);
	down();
}
END_TEST

START_TEST(the_uplink_is_down)
{
	struct vdb_net_stats stats = {.size = sizeof(stats)};

	up();
	introduce();
	vdb_netdev_link(outside.netdev, false);
	nic_fill(&guest[1], 2, 2048);
	switch_rig_send(0, STATION, 0, 1);
	outside_sends(1, STATION, 2);
	switch_rig_send(0, 1, 0, 3);
	switch_rig_expect(1, 1, 0, 3);
	nic_drain(&guest[0]);
	outside_gets_none();
	nic_expect_none(&guest[1]);
	ck_assert_int_eq(vdb_cable_stats(cable, 1, &stats), 0);
	ck_assert_uint_eq(stats.tx_dropped, 1);
	ck_assert_uint_eq(stats.rx_dropped, 1);
	vdb_netdev_link(outside.netdev, true);
	switch_rig_send(0, STATION, 0, 4);
	outside_gets(STATION, 0, 4);
	down();
}
END_TEST

/* ---- Its end ---- */

/* Guests have packets of the uplink's, the outside has some of the guests', and more are on their way. */
static void fill_everything(void)
{
	introduce();
	outside.holds = true;
	for (uint32_t i = 0; i < 20; i++) {
		outside_sends(0, STATION, i);
		outside_sends(ALL, STATION, i);
		switch_rig_send(1, STATION, 1, i);
		switch_rig_send(2, ALL, 2, i);
	}
	for (int i = 0; i < 3; i++)
		(void)test_turn_within(loop, 0);
}

START_TEST(the_uplink_goes_in_flight)
{
	up();
	fill_everything();
	unplug_uplink();
	nic_fill(&guest[1], 60, 2048);
	switch_rig_send(0, 1, 0, 77);
	nic_drain(&guest[0]);
	ck_assert_uint_eq(uplink_stats().macs, 0);
	down();
}
END_TEST

START_TEST(the_guests_go_first)
{
	up();
	fill_everything();
	for (uint32_t n = 0; n < GUESTS; n++)
		switch_rig_unplug(n);
	vdb_switch_destroy(sw);
	sw = NULL;
	down();
}
END_TEST

START_TEST(the_loop_goes_first)
{
	up();
	fill_everything();
	test_loop_end(loop);
	for (uint32_t n = 0; n < GUESTS; n++) {
		guest[n].loop = NULL;
		switch_rig_unplug(n);
	}
	vdb_cable_destroy(cable, on_unplugged, NULL);
	ck_assert_uint_eq(unplugged, 1);
	vdb_netdev_destroy(uplink);
	outside_close(&outside);
	vdb_switch_destroy(sw);
}
END_TEST

START_TEST(another_loop_than_the_switchs)
{
	struct vdb_cable_config config = {.size = sizeof(config)};
	struct vdb_loop *other;

	switch_rig_make((struct vdb_switch_config){0});
	other = switch_rig_loop();
	outside_open(&outside, 0);
	ck_assert_int_eq(vdb_switch_port(sw, NULL, &uplink), 0);
	config.netdev[0] = uplink;
	config.netdev[1] = outside.netdev;
	ck_assert_int_eq(vdb_cable_create(other, &config, &cable), 0);
	outside_sends(ALL, STATION, 1);
	nic_until(other, outside.given == 1);
	vdb_cable_destroy(cable, on_unplugged, NULL);
	cable = NULL;
	nic_until(other, unplugged);
	test_loop_end(other);
	down();
}
END_TEST

SUITE("switch_uplink", guests_reach_the_outside_and_each_other, the_port_of_an_uplink_knows_more_addresses,
      an_outside_with_a_guests_address, what_the_outside_does_not_take_is_cut,
      what_a_guest_does_not_take_is_cut, what_both_take_passes_as_it_is,
      g67_an_uplink_floods_guests_that_never_read, g67_an_outside_that_takes_nothing, the_uplink_is_down,
      the_uplink_goes_in_flight, the_guests_go_first, the_loop_goes_first, another_loop_than_the_switchs)
