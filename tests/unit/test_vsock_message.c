/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* virtio-vsock's SEQPACKET sockets: messages stay whole, within a bound, whoever cuts them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run.h"
#include "vsock_rig.h"

enum { G = 5000, MAX = 128 * 1024 }; /* a port of the guest's; bytes of a message */

static const struct vdb_vsock_config config = {.flags = VDB_VSOCK_SEQPACKET};

static struct vsock_rig v;
static uint32_t port; /* of the host's end */
static int fd;        /* the host program's */

static void setup(void)
{
	vsock_rig_make(&v, &config, NULL);
	vsock_rig_up(&v, VRIG_BIT(1), VSOCK_BUFFERS);
	v.seqpacket = true;
}

static void setup_connected(void)
{
	setup();
	fd = vsock_rig_from_host(&v, G, &port);
}

static void teardown(void)
{
	vsock_rig_close(&v);
}

static void teardown_connected(void)
{
	close(fd);
	teardown();
}

static struct vsock_packet data_packet(uint32_t flags)
{
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);

	p.type = VSOCK_SEQPACKET;
	p.flags = flags;
	return p;
}

static void guest_sends(const void *data, uint32_t len, uint32_t flags)
{
	const struct vsock_packet p = data_packet(flags);

	vsock_rig_send(&v, &p, data, len);
}

/* From now on the guest has room for so many bytes, and has taken so many. */
static void guest_takes(uint32_t alloc, uint32_t taken)
{
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_CREDIT_UPDATE, G, port);

	p.type = VSOCK_SEQPACKET;
	p.buf_alloc = alloc;
	p.fwd_cnt = taken;
	vsock_rig_send(&v, &p, NULL, 0);
}

static void guest_shuts(uint32_t flags)
{
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_SHUTDOWN, G, port);

	p.type = VSOCK_SEQPACKET;
	p.flags = flags;
	vsock_rig_send(&v, &p, NULL, 0);
}

static void host_sends(const void *data, size_t len)
{
	ck_assert_int_eq(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* The next message is this, all of it. */
static void host_gets(const void *data, size_t len)
{
	static char got[MAX + 1];
	ssize_t n = recv(fd, got, sizeof(got), 0);

	ck_assert_msg(n == (ssize_t)len, "%zd of %zu bytes: %s", n, len, n < 0 ? strerror(errno) : "");
	ck_assert_mem_eq(got, data, len);
}

/* A message, in as many packets as it takes; the last one has EOM, and only that. */
static void guest_gets(const char *data, size_t len)
{
	static char got[VSOCK_DATA];
	struct vsock_packet p;

	do {
		p = vsock_rig_receive(&v, got);
		ck_assert_uint_eq(p.op, VIRTIO_VSOCK_OP_RW);
		ck_assert_uint_eq(p.type, VSOCK_SEQPACKET);
		ck_assert_uint_le(p.len, len);
		ck_assert_mem_eq(got, data, p.len);
		data += p.len;
		len -= p.len;
		ck_assert_uint_eq(p.flags, len ? 0 : VSOCK_EOM);
	} while (len);
}

static void guest_is_reset(void)
{
	struct vsock_packet p;

	do
		p = vsock_rig_receive(&v, NULL);
	while (p.op == VIRTIO_VSOCK_OP_RW || p.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	ck_assert_uint_eq(p.op, VIRTIO_VSOCK_OP_RST);
	ck_assert_uint_eq(p.src_port, port);
	vsock_rig_settle(&v, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).buffered, 0);
}

static void fill(char *data, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (char)(seed = seed * 1103515245 + 12345, seed >> 16);
}

static void unlisten(int listener, uint32_t number)
{
	char path[sizeof(v.path) + 16];

	(void)snprintf(path, sizeof(path), "%s_%u", v.path, number);
	ck_assert_int_eq(unlink(path), 0);
	close(listener);
}

/* ---- Opening ---- */

START_TEST(both_ways)
{
	host_sends("one", 3);
	host_sends("and two", 7);
	guest_gets("one", 3);
	guest_gets("and two", 7);
	guest_sends("three", 5, VSOCK_EOM);
	guest_sends("four", 4, VSOCK_EOM | 2);
	host_gets("three", 5);
	host_gets("four", 4);
	ck_assert_uint_eq(vsock_rig_stats(&v).messages_to_guest, 2);
	ck_assert_uint_eq(vsock_rig_stats(&v).messages_to_host, 2);
	ck_assert_uint_eq(vsock_rig_stats(&v).violations, 0);
}
END_TEST

START_TEST(the_guest_connects)
{
	int listener = vsock_host_listen(&v, 80);

	port = 80;
	fd = vsock_rig_from_guest(&v, G, 80, listener);
	guest_sends("from guest", 10, VSOCK_EOM);
	host_gets("from guest", 10);
	host_sends("from host", 9);
	guest_gets("from host", 9);
	close(fd);
	unlisten(listener, 80);
}
END_TEST

/* The same device has streams, too. */
START_TEST(a_port_of_the_host_has_one_type)
{
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_REQUEST, G, 80);
	int listener;

	v.seqpacket = !_i;
	listener = vsock_host_listen(&v, 80);
	p.type = _i ? VSOCK_SEQPACKET : VSOCK_STREAM;
	vsock_rig_send(&v, &p, NULL, 0);
	v.seqpacket = _i;
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, 80);
	v.seqpacket = !_i;
	close(vsock_rig_from_guest(&v, G, 80, listener));
	unlisten(listener, 80);
}
END_TEST

static const char *const bad_lines[] = {
        "CONNECT 5000",
        "CONNECT 5000\nmore",
        "CONNECT",
        "\n",
        "CONNECT 5000\n and then more than fits into it",
};

START_TEST(what_is_not_connect_is_closed)
{
	int stranger = vsock_host_connect(&v);

	vsock_host_write(stranger, bad_lines[_i]);
	vsock_host_expect_end(stranger);
	vsock_rig_settle(&v, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).failed, 1);
	close(stranger);
}
END_TEST

/* The driver has not agreed to it. */
START_TEST(a_driver_that_knows_streams_only)
{
	int listener = vsock_host_listen(&v, 80), stranger;

	virtio_rig_reset(&v.rig);
	stranger = vsock_host_connect(&v);
	vsock_host_write(stranger, "CONNECT 5000\n");
	vsock_rig_settle(&v, 1);
	vsock_rig_up(&v, 0, VSOCK_BUFFERS);
	vsock_host_expect_end(stranger);
	vsock_rig_settle(&v, 0);
	close(stranger);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G, 80);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, 80);
	ck_assert_uint_eq(vsock_rig_stats(&v).packets_to_guest, 1);
	unlisten(listener, 80);
}
END_TEST

/* ---- Messages in pieces ---- */

START_TEST(messages_of_many_packets)
{
	static char data[MAX];

	fill(data, sizeof(data), 1);
	for (uint32_t at = 0; at < 60000; at += 20000)
		guest_sends(data + at, 20000, at == 40000 ? VSOCK_EOM : 0);
	host_gets(data, 60000);
	host_sends(data, 50000);
	guest_gets(data, 50000);
}
END_TEST

/* Without data of its own. */
START_TEST(an_empty_packet_may_end_a_message)
{
	guest_sends("begun", 5, 0);
	guest_sends(NULL, 0, 0);
	guest_sends(NULL, 0, VSOCK_EOM);
	host_gets("begun", 5);
	ck_assert_uint_eq(vsock_rig_stats(&v).violations, 0);
}
END_TEST

START_TEST(the_longest_message)
{
	static char data[MAX];
	const uint32_t piece = 16384;

	fill(data, sizeof(data), 2);
	for (uint32_t at = 0; at < MAX; at += piece)
		guest_sends(data + at, piece, at + piece == MAX ? VSOCK_EOM : 0);
	host_gets(data, MAX);
	ck_assert_uint_eq(vsock_rig_stats(&v).buffered, 0);
	guest_takes(MAX, 0);
	host_sends(data, MAX);
	do
		vsock_rig_drain(&v);
	while (vsock_rig_stats(&v).bytes_to_guest < MAX);
	ck_assert_uint_eq(vsock_rig_stats(&v).messages_to_guest, 1);
}
END_TEST

/* It begins with the credit that there is, and goes on with more. */
START_TEST(credit_for_half_a_message)
{
	static char data[5000], got[VSOCK_DATA];
	struct vsock_packet p;

	fill(data, sizeof(data), 3);
	guest_takes(6000, 0);
	host_sends(data, 3000);
	guest_gets(data, 3000);
	host_sends(data, 5000);
	p = vsock_rig_receive(&v, got);
	ck_assert_uint_eq(p.len, 3000);
	ck_assert_uint_eq(p.flags, 0);
	ck_assert_mem_eq(got, data, 3000);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_CREDIT_REQUEST, G, port);
	guest_takes(6000, 6000);
	guest_gets(data + 3000, 2000);
}
END_TEST

static uint32_t padded(char text[128], unsigned round, unsigned i)
{
	return (uint32_t)snprintf(text, 128, "%*u", (int)(20 + (i * 7 + round * 13) % 80), i);
}

/* Short ones, so that there are many in what is kept; and so often that it goes round. */
START_TEST(a_program_that_reads_late)
{
	enum { MANY = 1500, ROUNDS = 3 };
	char text[128];

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			uint32_t len = padded(text, round, i);

			guest_sends(text, len, VSOCK_EOM);
		}
		if (!vsock_rig_stats(&v).buffered) {
			test_skipped_part("what is kept", "a socket takes it all: net.core.wmem_default");
			return;
		}
		ck_assert_uint_eq(vsock_rig_stats(&v).host_stalls, round + 1);
		for (unsigned i = 0; i < MANY; i++) {
			uint32_t len = padded(text, round, i);

			host_gets(text, len);
		}
		vsock_rig_quiet(&v);
		ck_assert_uint_eq(vsock_rig_stats(&v).buffered, 0);
	}
	ck_assert_uint_eq(vsock_rig_stats(&v).messages_to_host, ROUNDS * MANY);
}
END_TEST

/* What it is told would do for a stream, where half of the window is enough to go on. */
START_TEST(credit_comes_before_a_message_must_wait)
{
	static char data[60000];
	struct vsock_packet p;

	fill(data, sizeof(data), 4);
	for (int i = 0; i < 2; i++) {
		for (uint32_t at = 0; at < 60000; at += 20000)
			guest_sends(data + at, 20000, at == 40000 && !i ? VSOCK_EOM : 0);
	}
	host_gets(data, 60000);
	p = vsock_rig_expect(&v, VIRTIO_VSOCK_OP_CREDIT_UPDATE, G, port);
	ck_assert_uint_eq(p.fwd_cnt, 60000);
	ck_assert_uint_eq(p.buf_alloc, MAX);
}
END_TEST

/* ---- Ends ---- */

START_TEST(an_empty_message_of_the_host_is_left_out)
{
	host_sends("", 0);
	host_sends("", 0);
	host_sends("behind it", 9);
	host_sends("", 0);
	guest_gets("behind it", 9);
	host_sends("", 0);
	host_sends("last", 4);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	guest_gets("last", 4);
	ck_assert_uint_eq(vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port).flags,
	                  VIRTIO_VSOCK_SHUTDOWN_SEND);
	ck_assert_uint_eq(vsock_rig_stats(&v).messages_to_guest, 2);
}
END_TEST

/* It has not read what the guest has sent: the kernel says so first. */
START_TEST(the_last_words_of_a_program)
{
	guest_sends("unread", 6, VSOCK_EOM);
	vsock_rig_quiet(&v);
	host_sends("last words", 10);
	close(fd);
	guest_gets("last words", 10);
	fd = -1;
}
END_TEST

START_TEST(a_message_that_was_not_ended_is_not_delivered)
{
	guest_sends("whole", 5, VSOCK_EOM);
	guest_sends("half", 4, 0);
	guest_shuts(VIRTIO_VSOCK_SHUTDOWN_SEND);
	host_gets("whole", 5);
	vsock_host_expect_end(fd);
	ck_assert_uint_eq(vsock_rig_stats(&v).buffered, 0);
	host_sends("still", 5);
	guest_gets("still", 5);
}
END_TEST

START_TEST(whole_ones_are_delivered_behind_the_end)
{
	char text[16];

	for (int i = 0; i < 3000; i++)
		guest_sends(text, (uint32_t)snprintf(text, sizeof(text), "%d", i), VSOCK_EOM);
	guest_sends("half", 4, 0);
	guest_shuts(VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV);
	for (int i = 0; i < 3000; i++)
		host_gets(text, (size_t)snprintf(text, sizeof(text), "%d", i));
	vsock_host_expect_end(fd);
	vsock_rig_settle(&v, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).buffered, 0);
}
END_TEST

/* ---- Against the rules ---- */

/* Its credit is the bound. */
START_TEST(g70_a_message_that_never_ends)
{
	static char data[16384];

	for (unsigned i = 0; i < MAX / sizeof(data); i++)
		guest_sends(data, sizeof(data), 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).buffered, MAX);
	guest_sends(data, 1, 0);
	guest_is_reset();
	vsock_host_expect_end(fd);
	ck_assert_uint_eq(vsock_rig_stats(&v).violations, 1);
}
END_TEST

START_TEST(g69_a_message_of_nothing)
{
	guest_sends("first", 5, VSOCK_EOM);
	guest_sends(NULL, 0, VSOCK_EOM);
	guest_is_reset();
	ck_assert_uint_eq(vsock_rig_stats(&v).violations, 1);
}
END_TEST

static const uint16_t ops[] = {
        VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE,      VIRTIO_VSOCK_OP_SHUTDOWN,
        VIRTIO_VSOCK_OP_RW,      VIRTIO_VSOCK_OP_CREDIT_UPDATE, VIRTIO_VSOCK_OP_CREDIT_REQUEST,
        VIRTIO_VSOCK_OP_RST};
#define OPS (int)(sizeof(ops) / sizeof(ops[0]))

/* Packets of one type on connections of the other. */
START_TEST(g69_types_that_do_not_mix)
{
	struct vsock_packet p;

	v.seqpacket = _i >= OPS;
	fd = vsock_rig_from_host(&v, G, &port);
	p = vsock_rig_packet(ops[_i % OPS], G, port);
	p.type = v.seqpacket ? VSOCK_STREAM : VSOCK_SEQPACKET;
	vsock_rig_send(&v, &p, "data", p.op == VIRTIO_VSOCK_OP_RW ? 4 : 0);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_host_expect_end(fd);
	vsock_rig_settle(&v, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).violations, 1);
	close(fd);
}
END_TEST

/* More than the guest has room for at all, or than the bound. */
START_TEST(a_message_too_long_ends_its_connection)
{
	static char data[MAX + 1];

	guest_takes(_i ? 1u << 20 : 1000, 0);
	host_sends(data, _i ? sizeof(data) : 1001);
	guest_is_reset();
	ck_assert_uint_eq(vsock_rig_stats(&v).messages_too_long, 1);
	ck_assert_uint_eq(vsock_rig_stats(&v).violations, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).bytes_to_guest, 0);
}
END_TEST

/* Each has its whole share, or is none: streams get less instead. */
START_TEST(g71_no_more_than_there_is_memory_for)
{
	const struct vdb_vsock_config few = {.flags = VDB_VSOCK_SEQPACKET,
	                                     .max_connections = 4,
	                                     .buf_bytes = 8192,
	                                     .max_buffered = 2 * 8192 + 2 * 4096};
	int fds[3];
	uint32_t ports[3];

	vsock_rig_make(&v, &few, NULL);
	vsock_rig_up(&v, VRIG_BIT(1), VSOCK_BUFFERS);
	v.seqpacket = true;
	fds[0] = vsock_rig_from_host(&v, 1, &ports[0]);
	fds[1] = vsock_rig_from_host(&v, 2, &ports[1]);
	fds[2] = vsock_host_connect(&v);
	vsock_host_expect_end(fds[2]);
	close(fds[2]);
	v.seqpacket = false;
	fds[2] = vsock_rig_from_host(&v, 3, &ports[2]);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	vsock_rig_close(&v);
}
END_TEST

static TCase *alone(void)
{
	TCase *tc = tcase_create("alone");

	tcase_add_test(tc, g71_no_more_than_there_is_memory_for);
	return tc;
}

static TCase *opening(void)
{
	TCase *tc = tcase_create("opening");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_guest_connects);
	tcase_add_loop_test(tc, a_port_of_the_host_has_one_type, 0, 2);
	tcase_add_loop_test(tc, what_is_not_connect_is_closed, 0, sizeof(bad_lines) / sizeof(bad_lines[0]));
	tcase_add_test(tc, a_driver_that_knows_streams_only);
	tcase_add_loop_test(tc, g69_types_that_do_not_mix, 0, 2 * OPS);
	return tc;
}

static TCase *connected(void)
{
	TCase *tc = tcase_create("connected");

	tcase_add_checked_fixture(tc, setup_connected, teardown_connected);
	tcase_add_test(tc, both_ways);
	tcase_add_test(tc, messages_of_many_packets);
	tcase_add_test(tc, an_empty_packet_may_end_a_message);
	tcase_add_test(tc, the_longest_message);
	tcase_add_test(tc, credit_for_half_a_message);
	tcase_add_test(tc, a_program_that_reads_late);
	tcase_add_test(tc, credit_comes_before_a_message_must_wait);
	tcase_add_test(tc, an_empty_message_of_the_host_is_left_out);
	tcase_add_test(tc, the_last_words_of_a_program);
	tcase_add_test(tc, a_message_that_was_not_ended_is_not_delivered);
	tcase_add_test(tc, whole_ones_are_delivered_behind_the_end);
	tcase_add_test(tc, g70_a_message_that_never_ends);
	tcase_add_test(tc, g69_a_message_of_nothing);
	tcase_add_loop_test(tc, a_message_too_long_ends_its_connection, 0, 2);
	return tc;
}

int main(void)
{
	TCase *const tcases[] = {opening(), connected(), alone()};

	return test_run_all("vsock messages", 3, tcases);
}
