/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Several pairs on a tap of several queues: flows are spread over those that the guest uses. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#include "run.h"
#include "tap_rig.h"

#define PAIRS 3u
#define FLOWS 60u
#define EACH 4u /* packets of a flow */
#define LEN 100u

static struct tap_rig t;
static uint8_t packet[PAIR_RIG_PACKET];

/* A datagram of a flow, with its place in it. */
static void fill(uint8_t *frame, uint32_t flow, uint32_t seq)
{
	struct iphdr ip = {.version = 4,
	                   .ihl = 5,
	                   .ttl = 64,
	                   .protocol = IPPROTO_UDP,
	                   .tot_len = htons(LEN - 14),
	                   .saddr = htonl(0xc0000201u),
	                   .daddr = htonl(0xc0000202u)};
	struct udphdr udp = {
	        .source = htons((uint16_t)(1000 + flow)), .dest = htons(9), .len = htons(LEN - 34)};

	static const uint8_t from[8] = {2, 'm', 'q', 0, 0, 0, 8, 0}; /* and IPv4 */

	memset(frame, 0, LEN);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, from, sizeof(from));
	memcpy(frame + 14, &ip, sizeof(ip));
	memcpy(frame + 34, &udp, sizeof(udp));
	memcpy(frame + 42, &flow, sizeof(flow));
	memcpy(frame + 46, &seq, sizeof(seq));
}

static void open_all(void)
{
	struct pair_rig_config config = {.pairs = PAIRS, .mergeable = true};

	tap_rig_open(&t, NULL, &config);
	for (uint32_t i = 0; i < PAIRS; i++)
		pair_rig_post(&t.pairs, i, 128);
}

static void use(uint32_t pairs)
{
	pair_rig_use(&t.pairs, pairs);
	for (uint32_t i = 0; i < PAIRS; i++)
		RIG_UNTIL(&t.pairs.rig, t.pairs.pair[i]->open == (i < pairs));
}

/* Each flow in its order; how many came by each pair. */
static void flood(uint32_t came[PAIRS])
{
	uint32_t next[FLOWS] = {0}, flow, seq, left = FLOWS * EACH;

	memset(came, 0, PAIRS * sizeof(came[0]));
	for (uint32_t i = 0; i < FLOWS * EACH; i++) {
		fill(packet, i % FLOWS, i / FLOWS);
		ck_assert_int_eq(send(t.socket, packet, LEN, 0), LEN);
	}
	while (left) {
		bool any = false;

		for (uint32_t i = 0; i < PAIRS; i++) {
			if (!pair_rig_poll(&t.pairs, i, packet))
				continue;
			memcpy(&flow, packet + VDB_NET_HDR + 42, sizeof(flow));
			memcpy(&seq, packet + VDB_NET_HDR + 46, sizeof(seq));
			ck_assert_uint_lt(flow, FLOWS);
			ck_assert_uint_eq(seq, next[flow]++);
			came[i]++;
			left--;
			any = true;
		}
		if (!any)
			rig_wait(&t.pairs.rig);
	}
}

START_TEST(flows_are_spread_over_the_pairs_in_use)
{
	uint32_t came[PAIRS];

	open_all();
	flood(came);
	for (uint32_t i = 0; i < PAIRS; i++)
		ck_assert_uint_gt(came[i], 0);
	use(1);
	flood(came);
	ck_assert_uint_eq(came[0], FLOWS * EACH);
	use(2);
	flood(came);
	ck_assert_uint_gt(came[0], 0);
	ck_assert_uint_gt(came[1], 0);
	ck_assert_uint_eq(came[2], 0);
	use(PAIRS);
	flood(came);
	for (uint32_t i = 0; i < PAIRS; i++)
		ck_assert_uint_gt(came[i], 0);
	ck_assert_uint_eq(tap_rig_info(&t).missed, 0);
	tap_rig_close(&t);
}
END_TEST

START_TEST(every_pair_sends)
{
	open_all();
	for (uint32_t i = 0; i < 300; i++) {
		memset(packet, 0, VDB_NET_HDR);
		tap_rig_fill(packet + VDB_NET_HDR, i, 200);
		pair_rig_add(&t.pairs, i % PAIRS, packet, VDB_NET_HDR + 200);
		pair_rig_ring(&t.pairs, i % PAIRS);
		tap_rig_expect_out(&t, i, 200);
	}
	tap_rig_close(&t);
}
END_TEST

/* While packets come: those in the queue of a pair that is given up are lost, no others. */
START_TEST(pairs_come_and_go_under_load)
{
	uint32_t seq = 0, got = 0;

	open_all();
	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 20; i++)
			if (tap_rig_send(&t, seq, 200))
				seq++;
		pair_rig_use(&t.pairs, 1 + (uint32_t)round % PAIRS);
		for (uint32_t i = 0; i < PAIRS; i++)
			while (pair_rig_poll(&t.pairs, i, packet))
				got++;
	}
	ck_assert_uint_le(got, seq);
	use(PAIRS);
	tap_rig_rest(&t);
	for (uint32_t i = 0; i < PAIRS; i++)
		while (pair_rig_poll(&t.pairs, i, packet))
			;
	for (uint32_t i = 0; i < 3; i++)
		flood((uint32_t[PAIRS]){0});
	tap_rig_close(&t);
}
END_TEST

START_TEST(a_deleted_tap_ends_all_pairs)
{
	open_all();
	for (uint32_t i = 0; i < 100; i++)
		(void)tap_rig_send(&t, i, 200);
	rig_turns(&t.pairs.rig, 2);
	netns_delete(t.name);
	RIG_UNTIL(&t.pairs.rig, vdb__load(&t.netdev->down));
	pair_rig_use(&t.pairs, 1);
	pair_rig_use(&t.pairs, PAIRS);
	tap_rig_rest(&t);
	ck_assert_uint_eq(t.pairs.failed, 0);
	tap_rig_close(&t);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("queues");
	int skip = netns_enter();

	if (skip)
		return skip;
	tcase_add_test(tc, flows_are_spread_over_the_pairs_in_use);
	tcase_add_test(tc, every_pair_sends);
	tcase_add_test(tc, pairs_come_and_go_under_load);
	tcase_add_test(tc, a_deleted_tap_ends_all_pairs);
	return test_run("tap queues", tc);
}
