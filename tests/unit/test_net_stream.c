/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* A netdev on a stream of frames: both ways, in whatever pieces they come; garbage, and the end of the peer
 * (F22). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leak.h"
#include "nic_rig.h"
#include "suite.h"

#define PREFIX 4u
#define FRAME_MAX 65550u

static struct vdb_loop *loop;
static struct vdb_netdev *netdev;
static struct nic nic;
static int peer;
static uint32_t closed;
static int closed_by;

static void on_closed(void *arg, int error)
{
	(void)arg;
	closed++;
	closed_by = error;
}

static struct vdb_net_socket_config config_of(int fd)
{
	return (struct vdb_net_socket_config){
	        .size = sizeof(struct vdb_net_socket_config), .fd = fd, .closed = on_closed};
}

static void start(int fd)
{
	struct vdb_net_socket_config config = config_of(fd);

	loop = test_loop_new();
	ck_assert_msg(vdb_netdev_stream(&config, &netdev) == 0, "%s", vdb_errmsg());
	close(fd);
	nic_open(&nic, loop, netdev, NULL);
}

static void setup(void)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	peer = fds[0];
	start(fds[1]);
}

static void finish(void)
{
	nic_close(&nic);
	vdb_netdev_destroy(netdev);
	test_loop_end(loop);
	if (peer >= 0)
		close(peer);
}

/* As much as there is room for, again and again. */
static void peer_sends(const void *data, size_t len)
{
	const uint8_t *at = data;
	ssize_t n;

	while (len) {
		n = send(peer, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			(void)test_turn_within(loop, 1);
		at += n < 0 ? 0 : n;
		len -= n < 0 ? 0 : (size_t)n;
	}
}

static void peer_sends_frame(const uint8_t *frame, uint32_t len)
{
	const uint32_t prefix = htonl(len);

	peer_sends(&prefix, sizeof(prefix));
	peer_sends(frame, len);
}

static void peer_takes(void *to, size_t len)
{
	uint8_t *at = to;
	ssize_t n;

	while (len) {
		nic_until(loop, (n = recv(peer, at, len, MSG_DONTWAIT)) > 0);
		at += n;
		len -= (size_t)n;
	}
}

static void peer_expects(const uint8_t *frame, uint32_t len)
{
	static uint8_t got[FRAME_MAX];
	uint32_t prefix;

	peer_takes(&prefix, sizeof(prefix));
	ck_assert_uint_eq(ntohl(prefix), len);
	peer_takes(got, len);
	ck_assert_mem_eq(got, frame, len);
}

static void there_and_back(void)
{
	static uint8_t frame[FRAME_MAX];

	nic_fill(&nic, 7, NIC_SLOT);
	for (uint32_t len = 14; len < FRAME_MAX; len = len * 5 + 1) {
		nic_frame(frame, len, 1, 2, len);
		peer_sends_frame(frame, len);
		nic_expect(&nic, NULL, frame, len);
		nic_send(&nic, NULL, frame, len);
		peer_expects(frame, len);
	}
	nic_frame(frame, FRAME_MAX, 1, 2, 9);
	peer_sends_frame(frame, FRAME_MAX);
	nic_expect(&nic, NULL, frame, FRAME_MAX);
	nic_send(&nic, NULL, frame, FRAME_MAX);
	peer_expects(frame, FRAME_MAX);
	nic_drain(&nic);
}

START_TEST(frames_go_there_and_back)
{
	int fds = leak_fds();

	setup();
	there_and_back();
	finish();
	ck_assert_uint_eq(closed, 0);
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

START_TEST(over_tcp)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);

	ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, len), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, len), 0);
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(peer, 0);
	close(listener);
	start(fd);
	there_and_back();
	finish();
}
END_TEST

/* ---- Pieces ---- */

START_TEST(frames_in_any_pieces)
{
	enum { MANY = 20 };
	static uint8_t bytes[MANY * 400];
	uint8_t frame[300];
	uint32_t len = 0, prefix, size;

	setup();
	nic_fill(&nic, MANY, 2048);
	for (uint32_t i = 0; i < MANY; i++) {
		size = 20u + i * 13u;
		prefix = htonl(size);
		nic_frame(frame, size, 1, 2, i);
		memcpy(bytes + len, &prefix, PREFIX);
		memcpy(bytes + len + PREFIX, frame, size);
		len += PREFIX + size;
	}
	for (uint32_t at = 0, part = 1; at < len; at += part, part = part % 97 + 1) {
		part = part < len - at ? part : len - at;
		peer_sends(bytes + at, part);
		test_settle(loop);
	}
	for (uint32_t i = 0; i < MANY; i++) {
		size = 20u + i * 13u;
		nic_frame(frame, size, 1, 2, i);
		nic_expect(&nic, NULL, frame, size);
	}
	finish();
}
END_TEST

/* The socket takes a few thousand bytes at a time: packets of the guest's wait, go in pieces, and come whole.
 */
START_TEST(a_slow_peer_makes_the_guest_wait)
{
	enum { MANY = 40, LEN = 30000 };
	static uint8_t frame[LEN];

	setup();
	for (uint32_t i = 0; i < MANY; i++) {
		nic_frame(frame, LEN, 1, 2, i);
		nic_send(&nic, NULL, frame, LEN);
	}
	test_settle(loop);
	ck_assert_uint_lt(nic_reclaim(&nic), MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		nic_frame(frame, LEN, 1, 2, i);
		peer_expects(frame, LEN);
	}
	nic_drain(&nic);
	ck_assert_uint_eq(nic.pair->stats.tx_packets, MANY);
	ck_assert_uint_eq(nic.pair->stats.tx_dropped, 0);
	finish();
}
END_TEST

/* No reading meanwhile, and no looking. */
START_TEST(a_guest_without_room_makes_the_peer_wait)
{
	uint8_t frame[1000];
	uint64_t before;

	setup();
	for (uint32_t i = 0; i < 100; i++) {
		nic_frame(frame, sizeof(frame), 1, 2, i);
		peer_sends_frame(frame, sizeof(frame));
	}
	nic_expect_none(&nic);
	before = test_loop_stats(loop).ios;
	for (int i = 0; i < 10; i++)
		test_settle(loop);
	ck_assert_uint_eq(test_loop_stats(loop).ios, before);
	for (uint32_t i = 0; i < 100; i++) {
		nic_fill(&nic, 1, 2048);
		nic_frame(frame, sizeof(frame), 1, 2, i);
		nic_expect(&nic, NULL, frame, sizeof(frame));
	}
	ck_assert_uint_eq(nic.pair->stats.rx_dropped, 0);
	finish();
}
END_TEST

/* ---- What is wrong ---- */

static void expect_end(int why)
{
	nic_until(loop, closed);
	ck_assert_uint_eq(closed, 1);
	ck_assert_int_eq(closed_by, why);
	ck_assert_uint_eq(nic.net.down, 1);
}

/* Nobody knows where the next frame begins: what came before is the guest's, the rest is nobody's. */
static void garbage(uint32_t length)
{
	const uint32_t prefix = htonl(length);
	uint8_t frame[100];
	uint64_t before;

	closed = 0;
	setup();
	nic_frame(frame, sizeof(frame), 1, 2, 3);
	peer_sends_frame(frame, sizeof(frame));
	peer_sends(&prefix, sizeof(prefix));
	peer_sends_frame(frame, sizeof(frame));
	nic_fill(&nic, 3, 2048);
	expect_end(EPROTO);
	ck_assert_uint_eq(nic.pair->stats.rx_packets, 1);
	nic_send(&nic, NULL, frame, sizeof(frame));
	nic_drain(&nic);
	ck_assert_uint_eq(nic.pair->stats.tx_dropped, 1);
	test_settle(loop);
	before = test_loop_stats(loop).ios;
	peer_sends_frame(frame, sizeof(frame));
	test_settle(loop);
	ck_assert_uint_eq(test_loop_stats(loop).ios, before);
	finish();
}

START_TEST(garbage_ends_it)
{
	garbage(0);
	garbage(FRAME_MAX + 1);
	garbage(UINT32_MAX);
}
END_TEST

/* These have a length that is one, and are skipped. */
START_TEST(too_short_and_too_long)
{
	static uint8_t frame[5000];

	setup();
	nic_fill(&nic, 1, 2048);
	nic_frame(frame, sizeof(frame), 1, 2, 3);
	peer_sends_frame(frame, 1);
	peer_sends_frame(frame, 13);
	peer_sends_frame(frame, sizeof(frame)); /* longer than the guest's buffer */
	peer_sends_frame(frame, 100);
	nic_expect(&nic, NULL, frame, 100);
	ck_assert_uint_eq(nic.pair->stats.rx_dropped, 2);
	ck_assert_uint_eq(nic.pair->stats.rx_oversized, 1);
	ck_assert_uint_eq(closed, 0);
	finish();
}
END_TEST

/* F22: no SIGPIPE, no spinning. */
START_TEST(the_peer_goes)
{
	uint8_t frame[100];

	setup();
	nic_frame(frame, sizeof(frame), 1, 2, 3);
	nic_fill(&nic, 2, 2048);
	peer_sends_frame(frame, sizeof(frame));
	close(peer);
	peer = -1;
	nic_expect(&nic, NULL, frame, sizeof(frame)); /* it had been sent */
	expect_end(0);
	nic_send(&nic, NULL, frame, sizeof(frame));
	nic_drain(&nic);
	ck_assert_uint_eq(nic.pair->stats.tx_dropped, 1);
	finish();
}
END_TEST

/* With packets that wait for it, one of them half sent. */
START_TEST(a_full_peer_goes)
{
	enum { MANY = 40, LEN = 30000 };
	static uint8_t frame[LEN];

	setup();
	nic_frame(frame, LEN, 1, 2, 3);
	for (int i = 0; i < MANY; i++)
		nic_send(&nic, NULL, frame, LEN);
	test_settle(loop);
	close(peer);
	peer = -1;
	nic_drain(&nic);
	ck_assert_uint_eq(closed, 1);
	ck_assert_uint_eq(nic.pair->stats.tx_packets + nic.pair->stats.tx_dropped, MANY);
	finish();
}
END_TEST

/* ---- Lives ---- */

/* The guest takes its packets back when one is half sent, and half received: for the peer it goes on as if
 * nothing had happened. */
START_TEST(a_second_life)
{
	enum { MANY = 40, LEN = 30000 };
	static uint8_t frame[LEN];
	const uint32_t prefix = htonl(100);
	uint32_t whole = 0, got;

	setup();
	nic_frame(frame, LEN, 1, 2, 3);
	for (int i = 0; i < MANY; i++)
		nic_send(&nic, NULL, frame, LEN);
	peer_sends(&prefix, sizeof(prefix));
	peer_sends(frame, 60);
	test_settle(loop);
	whole = nic_reclaim(&nic);
	ck_assert_uint_lt(whole, MANY);
	nic_close(&nic);

	nic_open(&nic, loop, netdev, NULL);
	nic_fill(&nic, 1, 2048);
	peer_sends(frame + 60, 40);
	nic_expect(&nic, NULL, frame, 100);
	nic_send(&nic, NULL, frame, 100);
	for (got = 0;; got++) {
		uint32_t len;

		peer_takes(&len, sizeof(len));
		if (ntohl(len) == 100)
			break;
		ck_assert_uint_eq(ntohl(len), LEN);
		static uint8_t copy[LEN];
		peer_takes(copy, LEN);
		ck_assert_mem_eq(copy, frame, LEN);
	}
	ck_assert_uint_ge(got, whole);
	ck_assert_uint_le(got, whole + 1);
	finish();
}
END_TEST

/* Frames that had been read, and the guest's next driver finds. */
START_TEST(what_was_read_is_kept)
{
	uint8_t frame[100];

	setup();
	for (uint32_t i = 0; i < 3; i++) {
		nic_frame(frame, sizeof(frame), 1, 2, i);
		peer_sends_frame(frame, sizeof(frame));
	}
	nic_fill(&nic, 1, 2048);
	nic_frame(frame, sizeof(frame), 1, 2, 0);
	nic_expect(&nic, NULL, frame, sizeof(frame));
	nic_close(&nic);
	nic_open(&nic, loop, netdev, NULL);
	nic_fill(&nic, 2, 2048);
	for (uint8_t i = 1; i < 3; i++) {
		nic_frame(frame, sizeof(frame), 1, 2, i);
		nic_expect(&nic, NULL, frame, sizeof(frame));
	}
	finish();
}
END_TEST

START_TEST(the_loop_ends)
{
	enum { MANY = 40, LEN = 30000 };
	static uint8_t frame[LEN];

	setup();
	nic_frame(frame, LEN, 1, 2, 0);
	for (int i = 0; i < MANY; i++)
		nic_send(&nic, NULL, frame, LEN);
	test_settle(loop);
	test_loop_end(loop);
	nic.loop = NULL;
	nic_close(&nic);
	vdb_netdev_destroy(netdev);
	close(peer);
}
END_TEST

static int refused(const struct vdb_net_socket_config *config)
{
	struct vdb_netdev *none = NULL;
	int rc = vdb_netdev_stream(config, &none);

	ck_assert_ptr_eq(none, NULL);
	return rc;
}

START_TEST(what_is_refused)
{
	int fds[2], lone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), open = leak_fds();
	struct vdb_net_socket_config config = config_of(lone);

	ck_assert_int_eq(refused(&config), -ENOTCONN);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	config.fd = fds[0];
	ck_assert_int_eq(refused(&config), -EPROTOTYPE);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	config.fd = fds[0];
	config.flags = VDB_NET_SOCKET_HEADER;
	ck_assert_int_eq(refused(&config), -EINVAL);
	config.flags = 0;
	config.mtu = 10;
	ck_assert_int_eq(refused(&config), -EINVAL);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_eq(leak_fds(), open);
	close(lone);
}
END_TEST

SUITE("net_stream", frames_go_there_and_back, over_tcp, frames_in_any_pieces,
      a_slow_peer_makes_the_guest_wait, a_guest_without_room_makes_the_peer_wait, garbage_ends_it,
      too_short_and_too_long, the_peer_goes, a_full_peer_goes, a_second_life, what_was_read_is_kept,
      the_loop_ends, what_is_refused)
