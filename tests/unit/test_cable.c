/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* A cable between two netdevs: what comes out of one goes into the other, and no more than there is room for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leak.h"
#include "nic_rig.h"
#include "outside.h"
#include "suite.h"

#define BUFFERS 80u

static struct vdb_loop *loop;
static struct outside ends[2];
static struct vdb_cable *cable;
static uint32_t unplugged, broken[2];

static void on_broken(void *arg, uint32_t end, uint32_t reason)
{
	ck_assert_ptr_eq(arg, broken);
	ck_assert_uint_eq(reason, VDB_REASON_HOST);
	broken[end]++;
}

static int plug(struct vdb_cable_config config)
{
	config.size = sizeof(config);
	for (int n = 0; n < 2; n++) {
		if (!config.netdev[n])
			config.netdev[n] = ends[n].netdev;
	}
	config.broken = on_broken;
	config.broken_arg = broken;
	return vdb_cable_create(loop, &config, &cable);
}

static void on_unplugged(void *arg)
{
	ck_assert_ptr_eq(arg, &unplugged);
	unplugged++;
}

static void unplug(void)
{
	unplugged = 0;
	vdb_cable_destroy(cable, on_unplugged, &unplugged);
	nic_until(loop, unplugged);
}

static void begin(uint32_t offloads0, uint32_t offloads1)
{
	loop = test_loop_new();
	outside_open(&ends[0], offloads0);
	outside_open(&ends[1], offloads1);
}

static void up(uint32_t buffers)
{
	begin(0, 0);
	ck_assert_msg(!plug((struct vdb_cable_config){.buffers = buffers}), "%s", vdb_errmsg());
	test_settle(loop);
	ck_assert_uint_eq(ends[0].opens + ends[1].opens, 2);
}

static void end(void)
{
	outside_close(&ends[0]);
	outside_close(&ends[1]);
	test_loop_end(loop);
}

static void down(void)
{
	unplug();
	end();
}

static void send_one(uint32_t from, uint32_t seed)
{
	uint8_t frame[300];

	nic_frame(frame, sizeof(frame), 1, 2, seed);
	outside_send(&ends[from], NULL, frame, 60 + seed % 200);
}

static void expect_one(uint32_t at, uint32_t seed)
{
	uint8_t frame[300];

	nic_frame(frame, sizeof(frame), 1, 2, seed);
	outside_expect(&ends[at], loop, NULL, frame, 60 + seed % 200);
}

static struct vdb_net_stats stats(uint32_t n)
{
	struct vdb_net_stats now = {.size = sizeof(now)};

	ck_assert_int_eq(vdb_cable_stats(cable, n, &now), 0);
	return now;
}

static uint64_t events(void)
{
	test_settle(loop);
	return test_loop_stats(loop).events;
}

/* ---- Packets ---- */

START_TEST(packets_pass_both_ways_in_order)
{
	int fds = leak_fds();

	up(0);
	for (uint32_t i = 0; i < 3000; i += 100) {
		for (uint32_t k = i; k < i + 100; k++) {
			send_one(0, k);
			send_one(1, k + 7);
		}
		for (uint32_t k = i; k < i + 100; k++) {
			expect_one(1, k);
			expect_one(0, k + 7);
		}
	}
	for (uint32_t n = 0; n < 2; n++) {
		ck_assert_uint_eq(stats(n).rx_packets, 3000);
		ck_assert_uint_eq(stats(n).tx_packets, 3000);
		ck_assert_uint_eq(stats(n).rx_bytes, stats(!n).tx_bytes);
		ck_assert_uint_eq(stats(n).tx_dropped + stats(n).rx_dropped + stats(n).tx_bad, 0);
	}
	down();
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

/* The longest, and what is too long or too short for one. */
START_TEST(of_every_length)
{
	uint8_t *frame = calloc(1, VDB_NET_MAX + 200);

	ck_assert_ptr_nonnull(frame);
	nic_frame(frame, VDB_NET_MAX, 1, 2, 3);
	up(0);
	outside_send(&ends[0], NULL, frame, VDB_NET_MAX - VDB_NET_HDR);
	outside_expect(&ends[1], loop, NULL, frame, VDB_NET_MAX - VDB_NET_HDR);
	outside_send(&ends[0], NULL, frame, 14);
	outside_expect(&ends[1], loop, NULL, frame, 14);
	outside_send(&ends[0], NULL, frame, 13);
	outside_send(&ends[0], NULL, frame, VDB_NET_MAX - VDB_NET_HDR + 1);
	send_one(0, 9);
	expect_one(1, 9);
	ck_assert_uint_eq(ends[1].taken, 3);
	ck_assert_uint_eq(stats(0).rx_dropped, 1);
	ck_assert_uint_eq(stats(1).tx_bad, 1);
	down();
	free(frame);
}
END_TEST

/* ---- Offloads ---- */

#define TSO (VDB_NET_TSO4 | VDB_NET_TSO6)

START_TEST(offloads_are_what_both_ends_know)
{
	static const struct {
		uint32_t have[2], both;
	} cases[] = {
	        {{0, 0}, 0},
	        {{VDB_NET_CSUM | TSO, 0}, 0},
	        {{VDB_NET_CSUM | TSO | VDB_NET_ECN, VDB_NET_CSUM | VDB_NET_TSO6},
	         VDB_NET_CSUM | VDB_NET_TSO6},
	        {{VDB_NET_CSUM | VDB_NET_TSO4 | VDB_NET_ECN, VDB_NET_CSUM | VDB_NET_TSO6 | VDB_NET_ECN},
	         VDB_NET_CSUM},
	        {{VDB_NET_CSUM | TSO | VDB_NET_ECN, VDB_NET_CSUM | TSO | VDB_NET_ECN},
	         VDB_NET_CSUM | TSO | VDB_NET_ECN},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(cases[i].have[0], cases[i].have[1]);
		ck_assert_int_eq(plug((struct vdb_cable_config){0}), 0);
		ck_assert_uint_eq(ends[0].offloads, cases[i].both);
		ck_assert_uint_eq(ends[1].offloads, cases[i].both);
		down();
	}
}
END_TEST

START_TEST(a_packet_keeps_its_header)
{
	static const uint8_t left[VDB_NET_HDR] = {1, 0, 0, 0, 0, 0, 34, 0, 6};
	uint8_t frame[100];

	nic_frame(frame, sizeof(frame), 1, 2, 3);
	begin(VDB_NET_CSUM, VDB_NET_CSUM);
	ck_assert_int_eq(plug((struct vdb_cable_config){0}), 0);
	outside_send(&ends[0], left, frame, sizeof(frame));
	outside_expect(&ends[1], loop, left, frame, sizeof(frame));
	down();
}
END_TEST

/* What was not agreed on does not pass. */
START_TEST(g66_a_netdev_that_sends_more_than_was_agreed)
{
	static const uint8_t left[VDB_NET_HDR] = {1, 0, 0, 0, 0, 0, 34, 0, 6};
	static const uint8_t outside_of_it[VDB_NET_HDR] = {1, 0, 0, 0, 0, 0, 99, 0, 6};
	uint8_t frame[100];

	nic_frame(frame, sizeof(frame), 1, 2, 3);
	begin(VDB_NET_CSUM, 0);
	ck_assert_int_eq(plug((struct vdb_cable_config){0}), 0);
	outside_send(&ends[0], left, frame, sizeof(frame));
	outside_send(&ends[0], outside_of_it, frame, sizeof(frame));
	send_one(0, 1);
	expect_one(1, 1);
	ck_assert_uint_eq(stats(0).rx_dropped, 2);
	down();
}
END_TEST

/* ---- Who does not keep up ---- */

/* No more than there are buffers; the rest stays where it is, nothing turns, and the other way is free. */
START_TEST(g67_an_end_that_is_stuck)
{
	uint64_t before;
	uint32_t calls;

	up(BUFFERS);
	ends[1].holds = true;
	for (uint32_t i = 0; i < 3 * BUFFERS; i++)
		send_one(0, i);
	nic_until(loop, ends[1].nheld == BUFFERS);
	before = events();
	calls = ends[0].receives;
	for (int i = 0; i < 20; i++)
		test_settle(loop);
	ck_assert_uint_eq(ends[1].nheld, BUFFERS);
	ck_assert_uint_eq(ends[0].receives, calls);
	ck_assert_uint_eq(events(), before);
	send_one(1, 5);
	expect_one(0, 5);
	ends[1].holds = false;
	outside_release(&ends[1]);
	for (uint32_t i = 0; i < 3 * BUFFERS; i++)
		expect_one(1, i);
	down();
}
END_TEST

START_TEST(a_link_that_is_down)
{
	up(BUFFERS);
	vdb_netdev_link(ends[1].netdev, false);
	for (uint32_t i = 0; i < 2 * BUFFERS; i++)
		send_one(0, i);
	nic_until(loop, ends[0].given == 2 * BUFFERS && stats(1).tx_dropped == 2 * BUFFERS);
	send_one(1, 1);
	nic_until(loop, stats(1).rx_dropped == 1);
	ck_assert_uint_eq(ends[1].taken + ends[0].taken, 0);
	vdb_netdev_link(ends[1].netdev, true);
	send_one(0, 3);
	expect_one(1, 3);
	send_one(1, 4);
	expect_one(0, 4);
	down();
}
END_TEST

START_TEST(an_idle_cable_is_asleep)
{
	uint64_t before;

	up(0);
	send_one(0, 1);
	expect_one(1, 1);
	before = events();
	for (int i = 0; i < 50; i++)
		test_settle(loop);
	ck_assert_int_eq(vdb_loop_prepare(loop), 1);
	ck_assert_uint_eq(events(), before);
	down();
}
END_TEST

/* Each packet once, whichever way it goes. */
START_TEST(a_limit_counts_packets_once)
{
	const struct vdb_limit_config unlimited = {.size = sizeof(unlimited)};
	struct vdb_limit_stats counted = {.size = sizeof(counted)};
	struct vdb_limit *limit = NULL;

	begin(0, 0);
	ck_assert_int_eq(vdb_limit_create(&unlimited, &limit), 0);
	ck_assert_int_eq(plug((struct vdb_cable_config){.limit = limit}), 0);
	for (uint32_t i = 0; i < 10; i++)
		send_one(i % 2, i);
	for (uint32_t i = 0; i < 10; i++)
		expect_one(!(i % 2), i);
	test_settle(loop);
	ck_assert_int_eq(vdb_limit_stats(limit, &counted), 0);
	ck_assert_uint_eq(counted.ops, 10);
	unplug();
	vdb_limit_destroy(limit);
	end();
}
END_TEST

START_TEST(a_tenant_of_the_embedder)
{
	struct vdb_tenant_stats counted = {.size = sizeof(counted)};
	struct vdb_tenant *tenant = NULL;

	begin(0, 0);
	ck_assert_int_eq(vdb_tenant_create(loop, &tenant), 0);
	ck_assert_int_eq(plug((struct vdb_cable_config){.tenant = tenant}), 0);
	send_one(0, 1);
	expect_one(1, 1);
	ck_assert_int_eq(vdb_tenant_stats(tenant, &counted), 0);
	ck_assert_uint_ge(counted.requests, 2);
	vdb_tenant_destroy(tenant);
	down();
}
END_TEST

/* ---- Its end ---- */

/* With packets everywhere; and the netdevs can be used again. */
START_TEST(unplugged_in_flight)
{
	up(BUFFERS);
	for (int round = 0; round < 4; round++) {
		ends[0].holds = ends[1].holds = true;
		for (uint32_t i = 0; i < 2 * BUFFERS; i++) {
			send_one(0, i);
			if (round % 2)
				send_one(1, i);
		}
		for (int i = 0; i < round; i++)
			(void)test_turn_within(loop, 0);
		unplug();
		ck_assert_ptr_null(ends[0].pair);
		ck_assert_ptr_null(ends[1].pair);
		ends[0].holds = ends[1].holds = false;
		ck_assert_int_eq(plug((struct vdb_cable_config){.buffers = BUFFERS}), 0);
		nic_until(loop, ends[0].out.head == ends[0].out.tail && ends[1].out.head == ends[1].out.tail);
		test_settle(loop);
		for (uint32_t n = 0; n < 2; n++) {
			uint8_t packet[VDB_NET_MAX];

			while (outside_take(&ends[n], packet))
				;
		}
	}
	down();
}
END_TEST

/* Before the loop has seen it. */
START_TEST(unplugged_at_once)
{
	begin(0, 0);
	ck_assert_int_eq(plug((struct vdb_cable_config){0}), 0);
	unplug();
	ck_assert_int_eq(plug((struct vdb_cable_config){0}), 0);
	send_one(0, 1);
	expect_one(1, 1);
	vdb_cable_destroy(NULL, NULL, NULL);
	down();
}
END_TEST

START_TEST(the_loop_ends)
{
	up(BUFFERS);
	ends[1].holds = true;
	for (uint32_t i = 0; i < 2 * BUFFERS; i++)
		send_one(0, i);
	nic_until(loop, ends[1].nheld);
	test_loop_end(loop);
	ck_assert_ptr_null(ends[0].pair);
	ck_assert_ptr_null(ends[1].pair);
	unplugged = 0;
	vdb_cable_destroy(cable, on_unplugged, &unplugged);
	ck_assert_uint_eq(unplugged, 1);
	outside_close(&ends[0]);
	outside_close(&ends[1]);
}
END_TEST

/* It holds the netdevs. */
START_TEST(the_callers_references_go_first)
{
	up(0);
	for (uint32_t n = 0; n < 2; n++) {
		vdb_netdev_destroy(ends[n].netdev);
		ck_assert_uint_eq(ends[n].destroyed, 0);
	}
	send_one(0, 1);
	expect_one(1, 1);
	unplug();
	for (uint32_t n = 0; n < 2; n++) {
		ck_assert_uint_eq(ends[n].destroyed, 1);
		ends[n].netdev = NULL;
	}
	end();
}
END_TEST

/* ---- What cannot be ---- */

/* Nothing comes from there, and what goes there is dropped. */
START_TEST(an_end_that_cannot_be_opened)
{
	begin(0, 0);
	ends[1].open_fails = -EIO;
	ck_assert_int_eq(plug((struct vdb_cable_config){.buffers = BUFFERS}), 0);
	nic_until(loop, broken[1]);
	for (uint32_t i = 0; i < 2 * BUFFERS; i++)
		send_one(0, i);
	nic_until(loop, stats(1).tx_dropped == 2 * BUFFERS);
	test_settle(loop);
	ck_assert_uint_eq(broken[0], 0);
	ck_assert_uint_eq(broken[1], 1);
	ck_assert_uint_eq(ends[1].taken, 0);
	down();
}
END_TEST

START_TEST(cables_that_cannot_be)
{
	struct vdb_net_stats none = {.size = sizeof(none)};
	const struct vdb_cable_config half = {.size = sizeof(half), .netdev = {NULL, NULL}};
	struct vdb_cable *made = NULL;

	begin(0, 0);
	ck_assert_int_eq(vdb_cable_create(loop, &half, &made), -EINVAL);
	ck_assert_int_eq(plug((struct vdb_cable_config){.buffers = VDB_CABLE_BUFFERS_MAX + 1}), -EINVAL);
	ck_assert_int_eq(plug((struct vdb_cable_config){.netdev = {ends[1].netdev, ends[1].netdev}}), -EBUSY);
	ends[1].offload_fails = -EIO;
	ck_assert_int_eq(plug((struct vdb_cable_config){0}), -EIO);
	ends[1].offload_fails = 0;
	ck_assert_ptr_null(cable);
	ck_assert_int_eq(plug((struct vdb_cable_config){0}), 0);
	ck_assert_int_eq(vdb_cable_stats(cable, 2, &none), -ENOENT);
	made = cable;
	ck_assert_int_eq(plug((struct vdb_cable_config){0}), -EBUSY);
	cable = made;
	down();
}
END_TEST

/* ---- Of sockets ---- */

static int pair_of(int type, struct vdb_netdev **out)
{
	struct vdb_net_socket_config config = {.size = sizeof(config)};
	int fds[2], rc;

	ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	config.fd = fds[0];
	rc = type == SOCK_STREAM ? vdb_netdev_stream(&config, out) : vdb_netdev_dgram(&config, out);
	ck_assert_msg(!rc, "%s", vdb_errmsg());
	close(fds[0]);
	return fds[1];
}

/* From datagrams to a stream, and back. */
START_TEST(between_two_sockets)
{
	struct vdb_cable_config config = {.size = sizeof(config)};
	int far[2] = {pair_of(SOCK_DGRAM, &config.netdev[0]), pair_of(SOCK_STREAM, &config.netdev[1])};
	uint8_t frame[100], got[200], prefixed[104] = {0, 0, 0, 100};
	ssize_t n;

	loop = test_loop_new();
	nic_frame(frame, sizeof(frame), 1, 2, 3);
	memcpy(prefixed + 4, frame, sizeof(frame));
	ck_assert_int_eq(vdb_cable_create(loop, &config, &cable), 0);
	for (int i = 0; i < 200; i++) {
		ck_assert_int_eq(send(far[0], frame, sizeof(frame), 0), sizeof(frame));
		nic_until(loop, (n = recv(far[1], got, sizeof(got), 0)) >= 0);
		ck_assert_int_eq(n, sizeof(prefixed));
		ck_assert_mem_eq(got, prefixed, sizeof(prefixed));
		ck_assert_int_eq(send(far[1], prefixed, sizeof(prefixed), 0), sizeof(prefixed));
		nic_until(loop, (n = recv(far[0], got, sizeof(got), 0)) >= 0);
		ck_assert_int_eq(n, sizeof(frame));
		ck_assert_mem_eq(got, frame, sizeof(frame));
	}
	/* One peer goes: the other's packets are dropped. */
	close(far[1]);
	nic_until(loop, vdb__load(&config.netdev[1]->down));
	ck_assert_int_eq(send(far[0], frame, sizeof(frame), 0), sizeof(frame));
	nic_until(loop, stats(1).tx_dropped == 1);
	unplug();
	vdb_netdev_destroy(config.netdev[0]);
	vdb_netdev_destroy(config.netdev[1]);
	close(far[0]);
	test_loop_end(loop);
}
END_TEST

SUITE("cable", packets_pass_both_ways_in_order, of_every_length, offloads_are_what_both_ends_know,
      a_packet_keeps_its_header, g66_a_netdev_that_sends_more_than_was_agreed, g67_an_end_that_is_stuck,
      a_link_that_is_down, an_idle_cable_is_asleep, a_limit_counts_packets_once, a_tenant_of_the_embedder,
      unplugged_in_flight, unplugged_at_once, the_loop_ends, the_callers_references_go_first,
      an_end_that_cannot_be_opened, cables_that_cannot_be, between_two_sockets)
