/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* The example of an embedder's netdev: it answers ARP and ping, and nothing else. */
#include "../../examples/custom_netdev/echo.c"
#include "nic_rig.h"
#include "suite.h"

static const uint8_t guest_mac[6] = {2, 0, 0, 0, 0, 9};
static struct vdb_loop *loop;
static struct nic nic;

static void setup(void)
{
	static const uint8_t ip[4] = {10, 0, 0, 1};
	struct vdb_netdev *netdev = NULL;

	loop = test_loop_new();
	ck_assert_int_eq(echo_create(ip, &netdev), 0);
	nic_open(&nic, loop, netdev, NULL);
	vdb_netdev_destroy(netdev);
}

static void finish(void)
{
	nic_close(&nic);
	test_loop_end(loop);
}

static const uint8_t arp_for[] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0,  9, 8, 6,
                                  0,   1,   8,   0,   6,   4,   0, 1, 2, 0, 0,  0, 0, 9,
                                  10,  0,   0,   2,   0,   0,   0, 0, 0, 0, 10, 0, 0, 1};

START_TEST(arp)
{
	static const uint8_t reply[] = {2, 0, 0, 0, 0, 9, 2, 0,  0, 0, 0, 1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
	                                2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 2};

	setup();
	nic_fill(&nic, 1, 2048);
	nic_send(&nic, NULL, arp_for, sizeof(arp_for));
	nic_expect(&nic, NULL, reply, sizeof(reply));
	finish();
}
END_TEST

/* Over the ICMP message, in network order: 0xffff if it is right. */
static uint32_t sum_of(const uint8_t *frame, uint32_t len)
{
	uint32_t sum = 0;

	for (uint32_t i = 34; i < len; i++)
		sum += i % 2 ? frame[i] : (uint32_t)frame[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

START_TEST(ping)
{
	static const uint8_t ip4[] = {8, 0, 0x45};
	static const uint8_t asks[] = {10, 0, 0, 2, 10, 0, 0, 1, 8, 0, 0, 0};
	static const uint8_t answers[] = {10, 0, 0, 1, 10, 0, 0, 2, 0, 0};
	uint8_t frame[14 + 20 + 8 + 56], packet[NIC_SLOT];
	const uint8_t *got = packet + VDB_NET_HDR;

	setup();
	nic_fill(&nic, 100, 2048);
	for (uint32_t seed = 0; seed < 100; seed++) {
		uint32_t sum;

		nic_frame(frame, sizeof(frame), 1, 9, seed * 37);
		memcpy(frame + 12, ip4, sizeof(ip4));
		memcpy(frame + 26, asks, sizeof(asks));
		frame[23] = 1;
		sum = 0xffff - sum_of(frame, sizeof(frame));
		frame[36] = (uint8_t)(sum >> 8);
		frame[37] = (uint8_t)sum;
		nic_send(&nic, NULL, frame, sizeof(frame));
		nic_until(loop, nic_take(&nic, packet));
		nic_drain(&nic);
		ck_assert_mem_eq(got, guest_mac, 6);
		ck_assert_mem_eq(got + 26, answers, sizeof(answers));
		ck_assert_mem_eq(got + 38, frame + 38, sizeof(frame) - 38);
		ck_assert_uint_eq(sum_of(got, sizeof(frame)), 0xffff);
	}
	finish();
}
END_TEST

START_TEST(what_it_does_not_know)
{
	uint8_t frame[200];

	setup();
	nic_fill(&nic, 4, 2048);
	nic_frame(frame, sizeof(frame), 1, 9, 1);
	nic_send(&nic, NULL, frame, sizeof(frame));
	nic_send(&nic, NULL, arp_for, sizeof(arp_for) - 1);
	nic_expect_none(&nic);
	finish();
}
END_TEST

/* An answer waits for the guest; further questions meanwhile are lost, and counted. */
START_TEST(a_guest_without_room)
{
	uint8_t packet[NIC_SLOT];

	setup();
	for (int i = 0; i < 3; i++)
		nic_send(&nic, NULL, arp_for, sizeof(arp_for));
	nic_drain(&nic);
	ck_assert_uint_eq(nic.pair->stats.tx_dropped, 2);
	nic_fill(&nic, 2, 2048);
	nic_until(loop, nic_take(&nic, packet));
	nic_expect_none(&nic);
	finish();
}
END_TEST

SUITE("custom_netdev", arp, ping, what_it_does_not_know, a_guest_without_room)
