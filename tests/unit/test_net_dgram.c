/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* A netdev on a socket of datagrams: packets both ways, what does not fit, and the end of the peer (F22). */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leak.h"
#include "nic_rig.h"
#include "suite.h"

#define ALL (VDB_NET_CSUM | VDB_NET_TSO4)
#define LARGE 60000u

static struct vdb_loop *loop;
static struct nic nic;
static int peer;           /* the test's end */
static uint32_t closed;    /* times, */
static int closed_by = -1; /* and why */
static uint32_t told;      /* offloads */

static void on_closed(void *arg, int error)
{
	(void)arg;
	closed++;
	closed_by = error;
}

static void on_offload(void *arg, uint32_t offloads)
{
	(void)arg;
	told = offloads;
}

static struct vdb_net_socket_config config_of(int fd, uint32_t offloads)
{
	return (struct vdb_net_socket_config){
	        .size = sizeof(struct vdb_net_socket_config),
	        .flags = offloads ? VDB_NET_SOCKET_HEADER : 0,
	        .fd = fd,
	        .offloads = offloads,
	        .offload = on_offload,
	        .closed = on_closed,
	};
}

static void start(int fd, uint32_t offloads, const struct nic_config *guest)
{
	struct vdb_net_socket_config config = config_of(fd, offloads);
	struct vdb_netdev *netdev = NULL;

	ck_assert_msg(vdb_netdev_dgram(&config, &netdev) == 0, "%s", vdb_errmsg());
	close(fd);
	nic_open(&nic, loop, netdev, guest);
	vdb_netdev_destroy(netdev);
}

static void open_pair_of(int type, uint32_t offloads, bool mergeable)
{
	const struct nic_config guest = {.offloads = offloads, .mergeable = mergeable};
	int fds[2];

	loop = test_loop_new();
	ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
	peer = fds[0];
	start(fds[1], offloads, &guest);
}

static void finish(void)
{
	nic_close(&nic);
	test_loop_end(loop);
	if (peer >= 0)
		close(peer);
}

static void peer_sends(const void *data, size_t len)
{
	ck_assert_int_eq(send(peer, data, len, MSG_DONTWAIT), (ssize_t)len);
}

/* Waits for a datagram. */
static uint32_t peer_takes(uint8_t *data, size_t len)
{
	ssize_t n = -1;

	nic_until(loop, (n = recv(peer, data, len, MSG_DONTWAIT)) >= 0);
	return (uint32_t)n;
}

static void peer_expects(const uint8_t *frame, uint32_t len)
{
	uint8_t got[2048];

	ck_assert_uint_eq(peer_takes(got, sizeof(got)), len);
	ck_assert_mem_eq(got, frame, len);
}

static void there_and_back(void)
{
	uint8_t frame[1514];

	nic_fill(&nic, 4, 2048);
	for (uint32_t len = 14; len <= sizeof(frame); len += 500) {
		nic_frame(frame, len, 1, 2, len);
		peer_sends(frame, len);
		nic_expect(&nic, NULL, frame, len);
		nic_frame(frame, len, 2, 1, len + 1);
		nic_send(&nic, NULL, frame, len);
		peer_expects(frame, len);
	}
	nic_drain(&nic);
}

START_TEST(frames_go_there_and_back)
{
	static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
	int fds = leak_fds();

	for (unsigned i = 0; i < 2; i++) {
		open_pair_of(types[i], 0, true);
		there_and_back();
		finish();
	}
	ck_assert_uint_eq(closed, 0);
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

/* A burst in one call, either way, and in order. */
START_TEST(many_at_once)
{
	enum { MANY = 60 };
	uint8_t frame[100];

	open_pair_of(SOCK_SEQPACKET, 0, true);
	nic_fill(&nic, MANY, 2048);
	for (uint32_t i = 0; i < MANY; i++) {
		nic_frame(frame, sizeof(frame), 1, 2, i);
		peer_sends(frame, sizeof(frame));
		nic_send(&nic, NULL, frame, sizeof(frame));
	}
	for (uint32_t i = 0; i < MANY; i++) {
		nic_frame(frame, sizeof(frame), 1, 2, i);
		nic_expect(&nic, NULL, frame, sizeof(frame));
		peer_expects(frame, sizeof(frame));
	}
	nic_drain(&nic);
	ck_assert_uint_eq(nic.pair->stats.tx_packets, MANY);
	ck_assert_uint_eq(nic.pair->stats.rx_packets, MANY);
	finish();
}
END_TEST

/* What the peer has no room for waits in the guest's ring, and nothing is lost. */
START_TEST(a_slow_peer_makes_the_guest_wait)
{
	enum { MANY = 100 };
	static uint8_t frame[1500];

	open_pair_of(SOCK_DGRAM, 0, true);
	for (uint32_t i = 0; i < MANY; i++) {
		nic_frame(frame, sizeof(frame), 1, 2, i);
		nic_send(&nic, NULL, frame, sizeof(frame));
	}
	test_settle(loop);
	ck_assert_uint_lt(nic_reclaim(&nic), MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		nic_frame(frame, sizeof(frame), 1, 2, i);
		peer_expects(frame, sizeof(frame));
	}
	nic_drain(&nic);
	ck_assert_uint_eq(nic.pair->stats.tx_packets, MANY);
	finish();
}
END_TEST

/* F22, EAGAIN for ever: there is nothing to do meanwhile, and the guest's reset is not held up. */
START_TEST(a_peer_that_never_reads)
{
	static uint8_t frame[1500];
	uint64_t before;

	open_pair_of(SOCK_DGRAM, 0, true);
	nic_frame(frame, sizeof(frame), 1, 2, 0);
	for (int i = 0; i < 100; i++)
		nic_send(&nic, NULL, frame, sizeof(frame));
	test_settle(loop);
	before = test_loop_stats(loop).events;
	for (int i = 0; i < 10; i++)
		test_settle(loop);
	ck_assert_uint_eq(test_loop_stats(loop).events, before);
	finish();
	ck_assert_uint_eq(closed, 0);
}
END_TEST

/* The guest has no room: what there is stays in the socket, and nobody looks at it again and again. */
START_TEST(a_guest_without_room_makes_the_peer_wait)
{
	uint8_t frame[200];
	uint64_t before;

	open_pair_of(SOCK_DGRAM, 0, true);
	for (uint32_t i = 0; i < 5; i++) {
		nic_frame(frame, sizeof(frame), 1, 2, i);
		peer_sends(frame, sizeof(frame));
	}
	nic_expect_none(&nic);
	before = test_loop_stats(loop).ios;
	for (int i = 0; i < 10; i++)
		test_settle(loop);
	ck_assert_uint_eq(test_loop_stats(loop).ios, before);
	nic_fill(&nic, 5, 2048);
	for (uint32_t i = 0; i < 5; i++) {
		nic_frame(frame, sizeof(frame), 1, 2, i);
		nic_expect(&nic, NULL, frame, sizeof(frame));
	}
	ck_assert_uint_eq(nic.pair->stats.rx_dropped, 0);
	finish();
}
END_TEST

/* ---- Headers ---- */

START_TEST(headers_go_along)
{
	static const uint8_t header[VDB_NET_HDR] = {[0] = 1, [6] = 34, [8] = 16};
	uint8_t frame[500], packet[600];

	open_pair_of(SOCK_SEQPACKET, ALL, true);
	ck_assert_uint_eq(told, ALL);
	nic_fill(&nic, 1, 2048);
	nic_frame(frame, sizeof(frame), 1, 2, 3);
	memcpy(packet, header, VDB_NET_HDR);
	memcpy(packet + VDB_NET_HDR, frame, sizeof(frame));
	peer_sends(packet, VDB_NET_HDR + sizeof(frame));
	nic_expect(&nic, header, frame, sizeof(frame));
	nic_send(&nic, header, frame, sizeof(frame));
	ck_assert_uint_eq(peer_takes(packet, sizeof(packet)), VDB_NET_HDR + sizeof(frame));
	ck_assert_mem_eq(packet, header, VDB_NET_HDR);
	ck_assert_mem_eq(packet + VDB_NET_HDR, frame, sizeof(frame));
	finish();
}
END_TEST

/* Nothing that the guest has not agreed to, or that points outside. */
START_TEST(wrong_headers_are_dropped)
{
	static const uint8_t wrong[][VDB_NET_HDR] = {
	        {[0] = 1, [6] = 200, [8] = 99}, /* a checksum behind the end */
	        {[0] = 8},                      /* an unknown flag */
	        {[0] = 1, [1] = 4, [4] = 100},  /* TSO6 */
	        {[0] = 1, [1] = 1},             /* segments of nothing */
	        {[1] = 1, [4] = 100},           /* segments without a checksum */
	        {[1] = 7},
	};
	const uint32_t count = sizeof(wrong) / sizeof(wrong[0]);
	uint8_t packet[VDB_NET_HDR + 300];

	open_pair_of(SOCK_SEQPACKET, ALL, true);
	nic_fill(&nic, 4, 2048);
	nic_frame(packet + VDB_NET_HDR, 300, 1, 2, 3);
	for (uint32_t i = 0; i < count; i++) {
		memcpy(packet, wrong[i], VDB_NET_HDR);
		peer_sends(packet, sizeof(packet));
	}
	nic_until(loop, nic.pair->stats.rx_dropped == count);
	nic_expect_none(&nic);
	finish();
}
END_TEST

/* Without being asked for such ones, rooms are of the size of ordinary packets: the first large one comes by
 * way of the host's memory, the next ones do not. */
START_TEST(large_packets)
{
	static const uint8_t header[VDB_NET_HDR] = {[0] = 1, [1] = 1, [4] = 100, [6] = 34, [8] = 16};
	static uint8_t packet[VDB_NET_HDR + LARGE];
	int size = 1 << 20;

	open_pair_of(SOCK_SEQPACKET, ALL, false);
	ck_assert_int_eq(setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	nic_fill(&nic, 8, NIC_SLOT);
	nic_frame(packet + VDB_NET_HDR, LARGE, 1, 2, 3);
	memcpy(packet, header, VDB_NET_HDR);
	for (int i = 0; i < 3; i++) {
		peer_sends(packet, sizeof(packet));
		nic_expect(&nic, header, packet + VDB_NET_HDR, LARGE);
		nic_send(&nic, header, packet + VDB_NET_HDR, LARGE);
		ck_assert_uint_eq(peer_takes(packet, sizeof(packet)), sizeof(packet));
		ck_assert_mem_eq(packet, header, VDB_NET_HDR);
	}
	finish();
}
END_TEST

/* Of several buffers: it waits until there are enough, and those behind it do not get lost. */
START_TEST(a_large_packet_waits_for_room)
{
	static const uint8_t header[VDB_NET_HDR] = {[0] = 1, [1] = 1, [4] = 100, [6] = 34, [8] = 16};
	static uint8_t packet[VDB_NET_HDR + 10000], got[NIC_SLOT];
	uint32_t len = 0, part;

	open_pair_of(SOCK_SEQPACKET, ALL, true);
	nic_frame(packet + VDB_NET_HDR, 10000, 1, 2, 3);
	memcpy(packet, header, VDB_NET_HDR);
	nic_fill(&nic, 2, 2048);
	peer_sends(packet, sizeof(packet));
	nic_expect_none(&nic);
	nic_fill(&nic, 8, 2048);
	while (len < sizeof(packet)) {
		nic_until(loop, (part = nic_take(&nic, got + len)));
		len += part;
	}
	ck_assert_uint_eq(len, sizeof(packet));
	ck_assert_mem_eq(got + VDB_NET_HDR, packet + VDB_NET_HDR, 10000);
	ck_assert_uint_eq(nic.pair->stats.rx_dropped, 0);
	finish();
}
END_TEST

/* ---- What is wrong ---- */

START_TEST(too_short_and_too_long)
{
	static uint8_t frame[VDB_NET_MAX + 100];

	open_pair_of(SOCK_DGRAM, 0, false);
	nic_fill(&nic, 4, 2048);
	nic_frame(frame, sizeof(frame), 1, 2, 3);
	peer_sends(frame, 13);
	peer_sends(frame, 0);
	nic_until(loop, nic.pair->stats.rx_dropped == 2);
	peer_sends(frame, 3000); /* longer than a buffer of the guest's */
	peer_sends(frame, sizeof(frame));
	nic_until(loop, nic.pair->stats.rx_oversized == 2);
	peer_sends(frame, 100);
	nic_expect(&nic, NULL, frame, 100);
	finish();
}
END_TEST

/* Of buffers that not even a header fits into nothing is made, and they go back. */
static void give_single_bytes(bool mergeable)
{
	const struct nic_config guest = {.mergeable = mergeable, .entries = 4};
	uint8_t frame[100];
	int fds[2];

	loop = test_loop_new();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	peer = fds[0];
	start(fds[1], 0, &guest);
	nic_frame(frame, sizeof(frame), 1, 2, 3);
	nic_fill(&nic, 4, 1);
	peer_sends(frame, sizeof(frame));
	nic_until(loop, nic.pair->stats.rx_bad == 4);
	for (int i = 0; i < 4; i++)
		nic_expect_none(&nic);
	nic_fill(&nic, 1, 2048);
	nic_expect(&nic, NULL, frame, sizeof(frame));
	finish();
}

START_TEST(g67_buffers_shorter_than_a_header)
{
	give_single_bytes(false);
}
END_TEST

/* All that there are, together. */
START_TEST(g67_a_ring_shorter_than_a_header)
{
	give_single_bytes(true);
}
END_TEST

/* F22: the link goes down, once; nothing waits, nothing is raised. */
static void lose_peer(int type, int why)
{
	uint8_t frame[100];

	open_pair_of(type, 0, true);
	nic_frame(frame, sizeof(frame), 1, 2, 3);
	nic_fill(&nic, 2, 2048);
	test_settle(loop);
	close(peer);
	peer = -1;
	nic_send(&nic, NULL, frame, sizeof(frame));
	nic_drain(&nic);
	nic_until(loop, closed);
	nic_send(&nic, NULL, frame, sizeof(frame));
	nic_drain(&nic);
	ck_assert_uint_eq(closed, 1);
	if (why)
		ck_assert_int_eq(closed_by, why);
	ck_assert_uint_eq(nic.net.down, 1);
	ck_assert_uint_eq(nic.pair->stats.tx_dropped, 2);
	finish();
}

START_TEST(the_peer_goes)
{
	lose_peer(SOCK_DGRAM, ECONNREFUSED);
	closed = 0;
	lose_peer(SOCK_SEQPACKET, 0);
}
END_TEST

/* With packets that wait for it. */
START_TEST(a_full_peer_goes)
{
	static uint8_t frame[1500];

	open_pair_of(SOCK_SEQPACKET, 0, true);
	nic_frame(frame, sizeof(frame), 1, 2, 0);
	for (int i = 0; i < 100; i++)
		nic_send(&nic, NULL, frame, sizeof(frame));
	test_settle(loop);
	close(peer);
	peer = -1;
	nic_drain(&nic);
	ck_assert_uint_eq(closed, 1);
	finish();
}
END_TEST

/* UDP's peers come and go. */
START_TEST(udp)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, own = at;
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint8_t frame[100];

	loop = test_loop_new();
	peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(peer, (struct sockaddr *)&at, len), 0);
	ck_assert_int_eq(getsockname(peer, (struct sockaddr *)&at, &len), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&own, &len), 0);
	ck_assert_int_eq(connect(peer, (struct sockaddr *)&own, len), 0);
	start(fd, 0, NULL);
	there_and_back();
	close(peer);
	nic_frame(frame, sizeof(frame), 1, 2, 3);
	for (int i = 0; i < 10; i++) {
		nic_send(&nic, NULL, frame, sizeof(frame));
		nic_drain(&nic);
	}
	ck_assert_uint_eq(nic.net.down, 0);
	ck_assert_uint_eq(closed, 0);
	peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(peer, (struct sockaddr *)&at, len), 0);
	ck_assert_int_eq(connect(peer, (struct sockaddr *)&own, len), 0);
	nic_fill(&nic, 1, 2048);
	peer_sends(frame, sizeof(frame));
	nic_expect(&nic, NULL, frame, sizeof(frame));
	finish();
}
END_TEST

/* ---- Lives ---- */

/* A driver comes back; meanwhile everything stays in the socket. */
START_TEST(a_second_life)
{
	struct vdb_net_socket_config config;
	struct vdb_netdev *netdev = NULL;
	uint8_t frame[100];
	int fds[2];

	loop = test_loop_new();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	peer = fds[0];
	config = config_of(fds[1], 0);
	ck_assert_int_eq(vdb_netdev_dgram(&config, &netdev), 0);
	close(fds[1]);
	nic_frame(frame, sizeof(frame), 1, 2, 3);
	for (int life = 0; life < 3; life++) {
		nic_open(&nic, loop, netdev, NULL);
		nic_fill(&nic, 1, 2048);
		peer_sends(frame, sizeof(frame));
		nic_expect(&nic, NULL, frame, sizeof(frame));
		nic_close(&nic);
	}
	vdb_netdev_destroy(netdev);
	test_settle(loop);
	ck_assert_int_eq(recv(peer, frame, sizeof(frame), 0), 0); /* ours is closed */
	test_loop_end(loop);
	close(peer);
}
END_TEST

/* The loop ends first. */
START_TEST(the_loop_ends)
{
	static uint8_t frame[1500];

	open_pair_of(SOCK_DGRAM, 0, true);
	nic_frame(frame, sizeof(frame), 1, 2, 0);
	for (int i = 0; i < 100; i++)
		nic_send(&nic, NULL, frame, sizeof(frame));
	test_settle(loop);
	test_loop_end(loop);
	nic.loop = NULL;
	nic_close(&nic);
	close(peer);
}
END_TEST

/* At every moment until its end: what the netdev has asked for does not outlive the pair. */
START_TEST(packets_come_as_the_guest_goes)
{
	open_pair_of(SOCK_DGRAM, 0, true);
	nic_leave(&nic);
	while (nic.gone < 2) {
		vdb_net_wake(nic.pair, 1); /* as the netdev would have it */
		test_turn(loop);
	}
	finish();
}
END_TEST

static int refused(const struct vdb_net_socket_config *config)
{
	struct vdb_netdev *netdev = NULL;
	int rc = vdb_netdev_dgram(config, &netdev);

	ck_assert_ptr_eq(netdev, NULL);
	return rc;
}

START_TEST(what_is_refused)
{
	struct vdb_net_socket_config config;
	int fds[2], lone = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), open = leak_fds();

	config = config_of(lone, 0);
	ck_assert_int_eq(refused(&config), -ENOTCONN);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	config = config_of(fds[0], 0);
	ck_assert_int_eq(refused(&config), -EPROTOTYPE);
	config.fd = -1;
	ck_assert_int_eq(refused(&config), -EBADF);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	config = config_of(fds[0], 0);
	config.flags = 2;
	ck_assert_int_eq(refused(&config), -EINVAL);
	config = config_of(fds[0], 0);
	config.reserved = 1;
	ck_assert_int_eq(refused(&config), -EINVAL);
	config = config_of(fds[0], ALL);
	config.flags = 0;
	ck_assert_int_eq(refused(&config), -EINVAL);
	config = config_of(fds[0], VDB_NET_TSO4);
	ck_assert_int_eq(refused(&config), -EINVAL);
	ck_assert_int_lt(refused(NULL), 0);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_eq(leak_fds(), open);
	close(lone);
}
END_TEST

SUITE("net_dgram", frames_go_there_and_back, many_at_once, a_slow_peer_makes_the_guest_wait,
      a_peer_that_never_reads, a_guest_without_room_makes_the_peer_wait, headers_go_along,
      wrong_headers_are_dropped, large_packets, a_large_packet_waits_for_room, too_short_and_too_long,
      g67_buffers_shorter_than_a_header, g67_a_ring_shorter_than_a_header, the_peer_goes, a_full_peer_goes,
      udp, a_second_life, the_loop_ends, packets_come_as_the_guest_goes, what_is_refused)
