/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* The example of a network of VMs (examples/lan), with two guests, behind a tap of the kernel's. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <vdb/tap.h>

#include "../../examples/lan/lan.c"
#include "leak.h"
#include "netns.h"
#include "nic_rig.h"
#include "run.h"

#define GUESTS 2u
#define STATION 50u
#define ALL 0xff

static struct vdb_loop *loop;
static struct vdb_netdev *tap;
static struct lan lan;
static struct nic guest[GUESTS];
static char name[VDB_TAP_NAME];
static int far; /* the tap's other end */
static uint32_t gone;

static void on_gone(void *arg)
{
	(void)arg;
	gone++;
}

static void up(void)
{
	static unsigned names;
	struct vdb_tap_config config = {.size = sizeof(config), .flags = VDB_TAP_UP, .name = name};

	(void)snprintf(name, sizeof(name), "l%d.%u", (int)getpid(), ++names);
	loop = test_loop_new();
	ck_assert_msg(!vdb_netdev_tap(&config, &tap), "%s", vdb_errmsg());
	far = netns_packets(name, false);
	ck_assert_msg(!lan_create(loop, tap, &lan), "%s", vdb_errmsg());
	for (uint8_t n = 0; n < GUESTS; n++) {
		const uint8_t mac[6] = {2, 0, 0, 0, 0, n};
		struct vdb_netdev *card = NULL;

		ck_assert_msg(!lan_card(&lan, mac, &card), "%s", vdb_errmsg());
		nic_open(&guest[n], loop, card, NULL);
		vdb_netdev_destroy(card);
		nic_fill(&guest[n], 100, 2048);
	}
	/* By then the link has been seen to be up: what was sent before is lost, as on any wire. */
	nic_until(loop, !vdb__load(&tap->down));
}

static void down(void)
{
	gone = 0;
	lan_destroy(&lan, on_gone, NULL);
	nic_until(loop, gone);
	for (uint32_t n = 0; n < GUESTS; n++)
		nic_close(&guest[n]);
	vdb_netdev_destroy(tap);
	close(far);
	test_loop_end(loop);
}

static void guest_sends(uint32_t n, uint8_t to, uint8_t from, uint32_t seed)
{
	uint8_t frame[200];

	nic_frame(frame, sizeof(frame), to, from, seed);
	nic_send(&guest[n], NULL, frame, sizeof(frame));
}

static void guest_gets(uint32_t n, uint8_t to, uint8_t from, uint32_t seed)
{
	uint8_t frame[200];

	nic_frame(frame, sizeof(frame), to, from, seed);
	nic_expect(&guest[n], NULL, frame, sizeof(frame));
}

static void far_sends(uint8_t to, uint32_t seed)
{
	uint8_t frame[200];

	nic_frame(frame, sizeof(frame), to, STATION, seed);
	ck_assert_int_eq(send(far, frame, sizeof(frame), 0), sizeof(frame));
}

static void far_gets(uint8_t to, uint8_t from, uint32_t seed)
{
	uint8_t frame[200], got[400];
	ssize_t n = 0;

	nic_frame(frame, sizeof(frame), to, from, seed);
	nic_until(loop, (n = recv(far, got, sizeof(got), 0)) >= 0);
	ck_assert_int_eq(n, sizeof(frame));
	ck_assert_mem_eq(got, frame, sizeof(frame));
}

START_TEST(guests_share_a_tap)
{
	uint8_t byte;
	int fds = leak_fds();

	up();
	for (uint32_t i = 0; i < 90; i++) {
		for (uint8_t n = 0; n < GUESTS; n++) {
			guest_sends(n, STATION, n, i);
			far_gets(STATION, n, i);
			far_sends(n, i);
			guest_gets(n, n, STATION, i);
		}
	}
	/* Neither each other, nor in each other's name. */
	guest_sends(0, 1, 0, 1);
	guest_sends(0, STATION, 1, 2);
	nic_drain(&guest[0]);
	nic_expect_none(&guest[1]);
	ck_assert_int_eq(recv(far, &byte, 1, 0), -1);
	far_sends(ALL, 3);
	for (uint32_t n = 0; n < GUESTS; n++)
		guest_gets(n, ALL, STATION, 3);
	down();
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

/* On the way out. */
static uint64_t dropped(void)
{
	struct vdb_net_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_cable_stats(lan.uplink, 1, &stats), 0);
	return stats.tx_dropped;
}

/* What guests send out is dropped and counted, and nothing spins. */
START_TEST(f22_the_tap_of_an_uplink_is_deleted)
{
	uint64_t before;

	up();
	guest_sends(0, STATION, 0, 1);
	far_gets(STATION, 0, 1);
	for (uint32_t i = 0; i < 20; i++) {
		guest_sends(0, STATION, 0, i);
		far_sends((uint8_t)(i % 2), i);
	}
	netns_delete(name);
	nic_until(loop, vdb__load(&tap->down));
	nic_drain(&guest[0]);
	before = dropped();
	for (uint32_t i = 0; i < 10; i++)
		guest_sends(1, STATION, 1, i);
	nic_drain(&guest[1]);
	nic_until(loop, dropped() == before + 10);
	test_settle(loop);
	before = test_loop_stats(loop).turns;
	while (vdb_loop_prepare(loop) != 1)
		test_settle(loop);
	down();
}
END_TEST

START_TEST(it_goes_while_packets_are_on_their_way)
{
	for (uint32_t round = 0; round < 5; round++) {
		up();
		for (uint32_t i = 0; i < 60; i++) {
			guest_sends(i % GUESTS, STATION, (uint8_t)(i % GUESTS), i);
			far_sends(ALL, i);
		}
		for (uint32_t i = 0; i < round; i++)
			(void)test_turn_within(loop, 0);
		down();
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("lan");
	int skip = netns_enter();

	if (skip)
		return skip;
	tcase_add_test(tc, guests_share_a_tap);
	tcase_add_test(tc, f22_the_tap_of_an_uplink_is_deleted);
	tcase_add_test(tc, it_goes_while_packets_are_on_their_way);
	return test_run("lan", tc);
}
