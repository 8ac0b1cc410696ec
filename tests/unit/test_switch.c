/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: clock_gettime timerfd_settime */
/* A switch between guests: who gets what. */
#include <errno.h>
#include <string.h>

#include "leak.h"
#include "suite.h"
#include "switch_rig.h"

#define SECOND 1000000000ull
#define NOBODY 99u

/* It comes to the guests of the mask, and to no others. */
static void expect_at(uint32_t mask, uint8_t to, uint8_t source, uint32_t seed)
{
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++) {
		if (mask >> n & 1)
			switch_rig_expect(n, to, source, seed);
	}
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++) {
		if (switch_rig_open[n])
			nic_expect_none(&guest[n]);
	}
}

static void fill_all(uint32_t packets)
{
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++) {
		if (switch_rig_open[n])
			nic_fill(&guest[n], packets, 2048);
	}
}

START_TEST(it_learns)
{
	int fds = leak_fds();

	switch_rig_up((struct vdb_switch_config){0});
	fill_all(8);
	switch_rig_send(0, 1, 0, 5);
	expect_at(0xe, 1, 0, 5); /* not known yet */
	switch_rig_send(1, 0, 1, 6);
	expect_at(0x1, 0, 1, 6);
	switch_rig_send(0, 1, 0, 7);
	expect_at(0x2, 1, 0, 7);
	ck_assert_uint_eq(switch_rig_stats(0).flooded, 1);
	ck_assert_uint_eq(switch_rig_stats(0).sent, 2);
	ck_assert_uint_eq(switch_rig_stats(1).received, 2);
	ck_assert_uint_eq(switch_rig_stats(1).macs, 1);
	/* To itself: nobody else needs it. */
	switch_rig_send(0, 0, 0, 8);
	expect_at(0, 0, 0, 8);
	ck_assert_uint_eq(switch_rig_stats(0).lost, 1);
	nic_drain(&guest[0]);
	switch_rig_down();
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

/* A frame of 100 bytes to this address. */
static void send_to(uint32_t from, const uint8_t *to, uint8_t first_of_source)
{
	uint8_t frame[100];

	nic_frame(frame, sizeof(frame), 0, (uint8_t)from, 3);
	memcpy(frame, to, 6);
	frame[6] = first_of_source;
	nic_send(&guest[from], NULL, frame, sizeof(frame));
}

START_TEST(groups)
{
	static const uint8_t all[] = {255, 255, 255, 255, 255, 255}, many[] = {1, 0, 0x5e, 1, 2, 3};
	static const uint8_t link_local[] = {1, 0x80, 0xc2, 0, 0, 0x0e}, next[] = {1, 0x80, 0xc2, 0, 0, 0x10};
	static const uint8_t *to[] = {all, many, next};
	uint8_t packet[NIC_SLOT];

	switch_rig_up((struct vdb_switch_config){0});
	fill_all(8);
	for (uint32_t i = 0; i < 3; i++) {
		send_to(0, to[i], 2);
		for (uint32_t n = 1; n < SWITCH_GUESTS; n++) {
			nic_until(loop, nic_take(&guest[n], packet));
			ck_assert_mem_eq(packet + VDB_NET_HDR, to[i], 6);
		}
		nic_expect_none(&guest[0]);
	}
	send_to(0, link_local, 2);
	send_to(0, all, 3); /* no station has such an address */
	nic_drain(&guest[0]);
	expect_at(0, 0, 0, 0);
	ck_assert_uint_eq(switch_rig_stats(0).lost, 2);
	switch_rig_down();
}
END_TEST

START_TEST(a_station_moves)
{
	switch_rig_up((struct vdb_switch_config){0});
	fill_all(8);
	switch_rig_send(0, NOBODY, 50, 1);
	expect_at(0xe, NOBODY, 50, 1);
	switch_rig_send(1, 50, 1, 2);
	expect_at(0x1, 50, 1, 2);
	switch_rig_send(2, NOBODY, 50, 3);
	expect_at(0xb, NOBODY, 50, 3);
	switch_rig_send(1, 50, 1, 4);
	expect_at(0x4, 50, 1, 4);
	ck_assert_uint_eq(switch_rig_stats(0).macs, 0);
	switch_rig_down();
}
END_TEST

START_TEST(who_is_silent_is_forgotten)
{
	switch_rig_up((struct vdb_switch_config){.age_s = 100});
	fill_all(8);
	switch_rig_send(0, 1, 0, 1);
	expect_at(0xe, 1, 0, 1);
	clock_pass(99 * SECOND);
	switch_rig_send(1, 0, 1, 2);
	expect_at(0x1, 0, 1, 2);
	clock_pass(2 * SECOND);
	switch_rig_send(1, 0, 1, 3);
	expect_at(0xd, 0, 1, 3);
	switch_rig_down();
}
END_TEST

/* A guest with ever new addresses makes the switch forget its own. */
START_TEST(too_many_addresses)
{
	switch_rig_up((struct vdb_switch_config){.macs = 4});
	fill_all(60);
	switch_rig_send(1, NOBODY, 1, 0);
	expect_at(0xd, NOBODY, 1, 0);
	for (uint8_t i = 0; i < 40; i++) {
		clock_pass(SECOND);
		switch_rig_send(0, 1, 100 + i, i);
		switch_rig_expect(1, 1, 100 + i, i);
	}
	ck_assert_uint_eq(switch_rig_stats(0).macs, 4);
	ck_assert_uint_eq(switch_rig_stats(1).macs, 1);
	switch_rig_send(1, 139, 1, 1);
	expect_at(0x1, 139, 1, 1);
	switch_rig_send(1, 135, 1, 2);
	expect_at(0xd, 135, 1, 2);
	switch_rig_send(2, 1, 2, 3);
	expect_at(0x2, 1, 2, 3);
	switch_rig_down();
}
END_TEST

START_TEST(isolated_ports)
{
	switch_rig_make((struct vdb_switch_config){0});
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++)
		switch_rig_plug(n, n < 2 ? VDB_SWITCH_PORT_ISOLATED : 0, false, NULL);
	fill_all(8);
	switch_rig_send(0, NOBODY, 0, 1);
	expect_at(0xc, NOBODY, 0, 1);
	switch_rig_send(2, NOBODY, 2, 2);
	expect_at(0xb, NOBODY, 2, 2);
	switch_rig_send(1, 0, 1, 3); /* known by now */
	expect_at(0, 0, 1, 3);
	ck_assert_uint_eq(switch_rig_stats(1).lost, 1);
	switch_rig_send(1, 2, 1, 4);
	expect_at(0x4, 2, 1, 4);
	switch_rig_down();
}
END_TEST

/* Nobody sends in the name of one whose address was given, while that one is away either. */
START_TEST(addresses_that_are_given)
{
	switch_rig_make((struct vdb_switch_config){0});
	switch_rig_plug(0, VDB_SWITCH_PORT_GUARD, true, NULL);
	switch_rig_plug(1, 0, true, NULL);
	switch_rig_plug(2, 0, false, NULL);
	fill_all(8);
	switch_rig_send(2, 1, 2, 1); /* is known without having said a word */
	expect_at(0x2, 1, 2, 1);
	switch_rig_send(0, 2, 50, 2);
	switch_rig_send(2, 0, 1, 3);
	nic_drain(&guest[0]);
	nic_drain(&guest[2]);
	expect_at(0, 0, 0, 0);
	ck_assert_uint_eq(switch_rig_stats(0).spoofed, 1);
	ck_assert_uint_eq(switch_rig_stats(2).spoofed, 1);
	switch_rig_send(1, 2, 50, 4); /* has an address, but is not held to it */
	expect_at(0x4, 2, 50, 4);
	switch_rig_send(0, 2, 0, 5);
	expect_at(0x4, 2, 0, 5);
	clock_pass(1000 * SECOND);
	switch_rig_send(2, 1, 2, 6);
	expect_at(0x2, 1, 2, 6);
	switch_rig_down();
}
END_TEST

START_TEST(of_one_that_is_away)
{
	struct vdb_switch_port_config config = {.size = sizeof(config), .mac = {2, 0, 0, 0, 0, 1}};
	struct vdb_netdev *away = NULL;

	switch_rig_make((struct vdb_switch_config){0});
	ck_assert_int_eq(vdb_switch_port(sw, &config, &away), 0);
	switch_rig_plug(0, 0, false, NULL);
	switch_rig_plug(2, 0, false, NULL);
	fill_all(4);
	switch_rig_send(0, 2, 1, 3);
	nic_drain(&guest[0]);
	expect_at(0, 0, 0, 0);
	ck_assert_uint_eq(switch_rig_stats(0).spoofed, 1);
	vdb_netdev_destroy(away);
	switch_rig_send(0, 2, 1, 3);
	expect_at(0x4, 2, 1, 3);
	switch_rig_down();
}
END_TEST

/* What was looked at is what arrives, whatever the guest makes of its memory meanwhile. */
START_TEST(the_first_bytes_are_read_once)
{
	uint8_t frame[100], packet[NIC_SLOT];

	switch_rig_make((struct vdb_switch_config){0});
	switch_rig_plug(0, VDB_SWITCH_PORT_GUARD, true, NULL);
	switch_rig_plug(1, 0, true, NULL);
	nic_frame(frame, sizeof(frame), 1, 0, 1);
	nic_send(&guest[0], NULL, frame, sizeof(frame));
	test_settle(loop);
	memset(nic_sent_at(&guest[0], 0), 0xee, 14);
	nic_fill(&guest[1], 1, 2048);
	nic_until(loop, nic_take(&guest[1], packet));
	ck_assert_mem_eq(packet + VDB_NET_HDR, frame, 14);
	switch_rig_down();
}
END_TEST

/* ---- What is refused ---- */

START_TEST(another_loop)
{
	struct vdb_netdev *port = NULL;
	struct vdb_loop *other;
	struct nic nic;

	switch_rig_make((struct vdb_switch_config){0});
	other = switch_rig_loop();
	ck_assert_int_eq(vdb_switch_port(sw, NULL, &port), 0);
	nic_open(&nic, other, port, NULL);
	ck_assert_uint_eq(nic.failed, 1);
	nic_close(&nic);
	vdb_netdev_destroy(port);
	test_loop_end(other);
	switch_rig_down();
}
END_TEST

static int refused(struct vdb_switch_config config)
{
	struct vdb_switch *made = NULL;
	int rc;

	config.size = sizeof(config);
	rc = vdb_switch_create(loop, &config, &made);
	ck_assert_ptr_eq(made, NULL);
	return rc;
}

START_TEST(switches_that_cannot_be)
{
	switch_rig_make((struct vdb_switch_config){0});
	ck_assert_int_eq(refused((struct vdb_switch_config){.ports = VDB_SWITCH_PORTS_MAX + 1}), -EINVAL);
	ck_assert_int_eq(refused((struct vdb_switch_config){.macs = VDB_SWITCH_MACS_MAX + 1}), -EINVAL);
	ck_assert_int_eq(refused((struct vdb_switch_config){.mtu = 67}), -EINVAL);
	ck_assert_int_eq(refused((struct vdb_switch_config){.mtu = 65536}), -EINVAL);
	ck_assert_int_eq(refused((struct vdb_switch_config){.reserved = 1}), -EINVAL);
	ck_assert_int_eq(refused((struct vdb_switch_config){.flags = 2}), -EINVAL);
	ck_assert_int_eq(refused((struct vdb_switch_config){.offloads = VDB_NET_TSO4}), -EINVAL);
	ck_assert_int_eq(refused((struct vdb_switch_config){.offloads = VDB_NET_CSUM | VDB_NET_UFO}),
	                 -EINVAL);
	ck_assert_int_eq(
	        refused((struct vdb_switch_config){.offloads = VDB_NET_CSUM, .flags = VDB_SWITCH_PLAIN}),
	        -EINVAL);
	switch_rig_down();
}
END_TEST

static int port_refused(const struct vdb_switch_port_config *config)
{
	struct vdb_netdev *made = NULL;
	int rc = vdb_switch_port(sw, config, &made);

	ck_assert_ptr_eq(made, NULL);
	return rc;
}

START_TEST(ports_that_cannot_be)
{
	struct vdb_switch_port_config config = {.size = sizeof(config)}, group = config, guard = config;
	struct vdb_switch_port_stats stats = {.size = sizeof(stats)};
	const struct vdb_netdev_ops ops = {0};
	struct vdb_netdev *port = NULL, none = {.ops = ops};

	switch_rig_make((struct vdb_switch_config){.ports = 2});
	group.mac[0] = 1;
	ck_assert_int_eq(port_refused(&group), -EINVAL);
	guard.flags = VDB_SWITCH_PORT_GUARD;
	ck_assert_int_eq(port_refused(&guard), -EINVAL);
	guard.flags = 4;
	ck_assert_int_eq(port_refused(&guard), -EINVAL);
	guard = config;
	guard.macs = VDB_SWITCH_MACS_MAX + 1;
	ck_assert_int_eq(port_refused(&guard), -EINVAL);
	guard = config;
	guard.reserved[1] = 1;
	ck_assert_int_eq(port_refused(&guard), -EINVAL);
	config.mac[0] = 2;
	ck_assert_int_eq(vdb_switch_port(sw, &config, &port), 0);
	ck_assert_int_eq(port_refused(&config), -EEXIST);
	vdb_netdev_destroy(port);
	switch_rig_plug(0, 0, false, NULL);
	switch_rig_plug(1, 0, false, NULL);
	ck_assert_int_eq(port_refused(NULL), -ENOSPC);
	ck_assert_int_eq(vdb_switch_port_stats(&none, &stats), -EINVAL);
	switch_rig_down();
}
END_TEST

SUITE("switch", it_learns, groups, a_station_moves, who_is_silent_is_forgotten, too_many_addresses,
      isolated_ports, addresses_that_are_given, of_one_that_is_away, the_first_bytes_are_read_once,
      another_loop, switches_that_cannot_be, ports_that_cannot_be)
