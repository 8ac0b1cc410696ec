/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* virtio-vsock: connections both ways, their data, and their ends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run.h"
#include "vsock_rig.h"

enum { G = 5000 }; /* a port of the guest's */

static struct vsock_rig v;

static void setup(void)
{
	vsock_rig_open(&v, NULL);
}

static void teardown(void)
{
	vsock_rig_close(&v);
}

static void unlisten(int fd, uint32_t port)
{
	char path[sizeof(v.path) + 16];

	(void)snprintf(path, sizeof(path), "%s_%u", v.path, port);
	ck_assert_int_eq(unlink(path), 0);
	close(fd);
}

static void guest_sends(uint32_t host_port, const char *data)
{
	const struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, host_port);

	vsock_rig_send(&v, &p, data, (uint32_t)strlen(data));
}

static void guest_shuts(uint32_t host_port, uint32_t flags)
{
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_SHUTDOWN, G, host_port);

	p.flags = flags;
	vsock_rig_send(&v, &p, NULL, 0);
}

/* ---- Opening ---- */

START_TEST(a_host_program_connects)
{
	uint32_t port = 0;
	int fd = vsock_rig_from_host(&v, G, &port);

	vsock_host_write(fd, "from host");
	vsock_rig_expect_data(&v, G, port, "from host");
	guest_sends(port, "from guest");
	vsock_host_expect(fd, "from guest");
	ck_assert_uint_eq(vsock_rig_stats(&v).opened_by_host, 1);
	close(fd);
}
END_TEST

START_TEST(the_guest_connects)
{
	int listener = vsock_host_listen(&v, 80), fd = vsock_rig_from_guest(&v, G, 80, listener);

	guest_sends(80, "from guest");
	vsock_host_expect(fd, "from guest");
	vsock_host_write(fd, "from host");
	vsock_rig_expect_data(&v, G, 80, "from host");
	ck_assert_uint_eq(vsock_rig_stats(&v).opened_by_guest, 1);
	close(fd);
	unlisten(listener, 80);
}
END_TEST

START_TEST(nobody_listens_on_the_host)
{
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G, 81);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, 81);
	ck_assert_uint_eq(vsock_rig_stats(&v).refused_by_host, 1);
	ck_assert_uint_eq(vsock_rig_stats(&v).connections, 0);
}
END_TEST

START_TEST(nobody_listens_in_the_guest)
{
	int fd = vsock_host_connect(&v);
	struct vsock_packet p;

	vsock_host_write(fd, "CONNECT 99\n");
	p = vsock_rig_receive(&v, NULL);
	ck_assert_uint_eq(p.op, VIRTIO_VSOCK_OP_REQUEST);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, 99, p.src_port);
	vsock_host_expect_end(fd);
	vsock_rig_settle(&v, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).failed, 1);
	close(fd);
}
END_TEST

static const char *const good_lines[] = {"CONNECT 5000\n", "connect 5000\n", "Connect 5000\r\n",
                                         "CONNECT 0000005000\n"};

START_TEST(ways_to_say_connect)
{
	int fd = vsock_host_connect(&v);

	vsock_host_write(fd, good_lines[_i]);
	ck_assert_uint_eq(vsock_rig_receive(&v, NULL).dst_port, G);
	close(fd);
}
END_TEST

START_TEST(a_line_may_come_in_pieces)
{
	int fd = vsock_host_connect(&v);
	const char *line = "CONNECT 5000\n";

	for (size_t i = 0; line[i]; i++) {
		ck_assert_int_eq(send(fd, line + i, 1, 0), 1);
		if (i % 4 == 0)
			vsock_rig_quiet(&v);
	}
	ck_assert_uint_eq(vsock_rig_receive(&v, NULL).dst_port, G);
	close(fd);
}
END_TEST

static const char *const bad_lines[] = {
        "\n",
        "CONNECT\n",
        "CONNECT \n",
        "CONNECT x\n",
        "CONNECT 1 2\n",
        "CONNECT -1\n",
        "CONNECT 4294967295\n", /* any port */
        "CONNECT 4294967296\n",
        "CONNECT 99999999999\n",
        "CONNECT 1\r \n",
        "GET / HTTP/1.1\r\n",
        "no end of the line in thirty-two bytes",
};

START_TEST(what_is_not_connect_is_closed)
{
	int fd = vsock_host_connect(&v);

	vsock_host_write(fd, bad_lines[_i]);
	vsock_host_expect_end(fd);
	vsock_rig_settle(&v, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).failed, 1);
	ck_assert_uint_eq(vsock_rig_stats(&v).packets_to_guest, 0);
	close(fd);
}
END_TEST

START_TEST(data_behind_connect_is_for_the_guest)
{
	int fd = vsock_host_connect(&v);
	struct vsock_packet p;

	vsock_host_write(fd, "CONNECT 5000\nat once");
	p = vsock_rig_receive(&v, NULL);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RESPONSE, G, p.src_port);
	vsock_rig_expect_data(&v, G, p.src_port, "at once");
	close(fd);
}
END_TEST

START_TEST(a_host_program_may_come_before_the_driver)
{
	int fd;
	struct vsock_packet p;

	virtio_rig_reset(&v.rig);
	fd = vsock_host_connect(&v);
	vsock_host_write(fd, "CONNECT 5000\n");
	vsock_rig_settle(&v, 1);
	vsock_rig_up(&v, 0, VSOCK_BUFFERS);
	p = vsock_rig_receive(&v, NULL);
	ck_assert_uint_eq(p.op, VIRTIO_VSOCK_OP_REQUEST);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RESPONSE, G, p.src_port);
	vsock_rig_expect_data(&v, G, p.src_port, "");
	close(fd);
}
END_TEST

/* ---- Data ---- */

static void fill(char *data, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (char)(seed = seed * 1103515245 + 12345, seed >> 16);
}

/* The guest sends as it has credit, the host reads all of it afterwards. */
START_TEST(much_data_to_the_host)
{
	enum { LEN = 200 * 1024 };
	char *data = malloc(LEN), *got = malloc(LEN);
	uint32_t port = 0, at, part;
	int fd = vsock_rig_from_host(&v, G, &port);
	const struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);

	fill(data, LEN, 1);
	for (at = 0; at < LEN; at += part) {
		part = LEN - at < 20000 ? LEN - at : 20000;
		vsock_rig_send(&v, &p, data + at, part);
	}
	vsock_host_read(fd, got, LEN);
	ck_assert(!memcmp(data, got, LEN));
	ck_assert_uint_eq(vsock_rig_stats(&v).bytes_to_host, LEN);
	free(data);
	free(got);
	close(fd);
}
END_TEST

/* The host writes all of it, and the guest takes it within its credit, which it gives back now and then. */
START_TEST(much_data_to_the_guest)
{
	enum { LEN = 150 * 1024 };
	char *data = malloc(LEN), got[VSOCK_DATA];
	uint32_t port = 0, at = 0, said = 0;
	int fd = vsock_rig_from_host(&v, G, &port);
	struct vsock_packet p, update = vsock_rig_packet(VIRTIO_VSOCK_OP_CREDIT_UPDATE, G, port);

	fill(data, LEN, 2);
	ck_assert_int_eq(send(fd, data, LEN, 0), LEN);
	while (at < LEN) {
		p = vsock_rig_receive(&v, got);
		if (p.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST) {
			update.fwd_cnt = said = at;
			vsock_rig_send(&v, &update, NULL, 0);
			continue;
		}
		ck_assert_uint_eq(p.op, VIRTIO_VSOCK_OP_RW);
		ck_assert(!memcmp(got, data + at, p.len));
		at += p.len;
		ck_assert_uint_le(at - said, update.buf_alloc);
	}
	ck_assert_uint_eq(vsock_rig_stats(&v).bytes_to_guest, LEN);
	ck_assert_uint_ge(vsock_rig_stats(&v).credit_stalls, 1);
	free(data);
	close(fd);
}
END_TEST

START_TEST(credit_is_told_when_asked_for)
{
	uint32_t port = 0;
	int fd = vsock_rig_from_host(&v, G, &port);
	struct vsock_packet p;

	guest_sends(port, "12345");
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_CREDIT_REQUEST, G, port);
	p = vsock_rig_expect(&v, VIRTIO_VSOCK_OP_CREDIT_UPDATE, G, port);
	ck_assert_uint_eq(p.buf_alloc, 256 * 1024);
	ck_assert_uint_eq(p.fwd_cnt, 5);
	close(fd);
}
END_TEST

START_TEST(credit_is_told_before_the_guest_runs_out)
{
	static char data[VSOCK_MOST];
	const struct vdb_vsock_config config = {.buf_bytes = 64 * 1024};
	uint32_t port = 0, sent = 0;
	struct vsock_packet p, rw;
	int fd;

	vsock_rig_close(&v);
	vsock_rig_open(&v, &config);
	fd = vsock_rig_from_host(&v, G, &port);
	rw = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	for (int i = 0; i < 2; i++, sent += sizeof(data))
		vsock_rig_send(&v, &rw, data, sizeof(data));
	p = vsock_rig_expect(&v, VIRTIO_VSOCK_OP_CREDIT_UPDATE, G, port);
	ck_assert_uint_ge(p.fwd_cnt, 32 * 1024);
	close(fd);
}
END_TEST

/* ---- Ends ---- */

START_TEST(the_guest_ends_its_direction)
{
	uint32_t port = 0;
	int fd = vsock_rig_from_host(&v, G, &port);

	guest_sends(port, "last");
	guest_shuts(port, VIRTIO_VSOCK_SHUTDOWN_SEND);
	vsock_host_expect(fd, "last");
	vsock_host_expect_end(fd);
	vsock_host_write(fd, "answer");
	vsock_rig_expect_data(&v, G, port, "answer");
	/* With the other direction all of it ends. */
	close(fd);
	ck_assert_uint_eq(vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port).flags, 3);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_rig_settle(&v, 0);
}
END_TEST

START_TEST(the_host_ends_its_direction)
{
	uint32_t port = 0;
	int fd = vsock_rig_from_host(&v, G, &port);

	vsock_host_write(fd, "last");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	vsock_rig_expect_data(&v, G, port, "last");
	ck_assert_uint_eq(vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port).flags,
	                  VIRTIO_VSOCK_SHUTDOWN_SEND);
	guest_sends(port, "answer");
	vsock_host_expect(fd, "answer");
	vsock_rig_quiet(&v); /* half closed it costs nothing */
	guest_shuts(port, 3);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_host_expect_end(fd);
	vsock_rig_settle(&v, 0);
	close(fd);
}
END_TEST

/* The host's program is half closed, and ends then, while the guest has nothing to say. */
START_TEST(the_host_ends_in_two_steps)
{
	uint32_t port = 0;
	int fd = vsock_rig_from_host(&v, G, &port);

	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	ck_assert_uint_eq(vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port).flags,
	                  VIRTIO_VSOCK_SHUTDOWN_SEND);
	close(fd);
	ck_assert_uint_eq(vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port).flags, 3);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_rig_settle(&v, 0);
}
END_TEST

START_TEST(the_guest_ends_both)
{
	uint32_t port = 0;
	int fd = vsock_rig_from_host(&v, G, &port);

	guest_sends(port, "last");
	guest_shuts(port, 3);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_host_expect(fd, "last");
	vsock_host_expect_end(fd);
	vsock_rig_settle(&v, 0);
	close(fd);
}
END_TEST

START_TEST(the_guest_reads_no_more)
{
	uint32_t port = 0;
	int fd = vsock_rig_from_host(&v, G, &port);

	guest_shuts(port, VIRTIO_VSOCK_SHUTDOWN_RCV);
	guest_sends(port, "goes on");
	vsock_host_expect(fd, "goes on");
	ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	vsock_rig_quiet(&v);
	close(fd);
	ck_assert_uint_eq(vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port).flags, 3);
	guest_shuts(port, 3);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_rig_settle(&v, 0);
}
END_TEST

START_TEST(the_host_ends_both)
{
	uint32_t port = 0;
	int fd = vsock_rig_from_host(&v, G, &port);

	vsock_host_write(fd, "last");
	close(fd);
	vsock_rig_expect_data(&v, G, port, "last");
	ck_assert_uint_eq(vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port).flags, 3);
	ck_assert_uint_eq(vsock_rig_stats(&v).connections, 1); /* until the guest has said RST */
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_rig_settle(&v, 0);
}
END_TEST

START_TEST(the_guest_resets)
{
	uint32_t port = 0;
	int fd = vsock_rig_from_host(&v, G, &port);

	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_host_expect_end(fd);
	vsock_rig_settle(&v, 0);
	/* And is not answered. */
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, G, port);
	ck_assert_uint_eq(vsock_rig_stats(&v).resets, 0);
	close(fd);
}
END_TEST

/* A port of the guest's is used again and again. */
START_TEST(ports_are_used_again)
{
	int listener = vsock_host_listen(&v, 80);

	for (int i = 0; i < 20; i++) {
		int fd = vsock_rig_from_guest(&v, G, 80, listener);

		guest_sends(80, "once more");
		guest_shuts(80, 3);
		(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, 80);
		vsock_host_expect(fd, "once more");
		vsock_host_expect_end(fd);
		close(fd);
	}
	vsock_rig_settle(&v, 0);
	unlisten(listener, 80);
}
END_TEST

START_TEST(a_reset_of_the_device_ends_them)
{
	int listener = vsock_host_listen(&v, 80);
	uint32_t port = 0;
	int one = vsock_rig_from_host(&v, G, &port), other = vsock_rig_from_guest(&v, G, 80, listener);

	guest_sends(80, "before");
	virtio_rig_reset(&v.rig);
	vsock_host_expect_end(one);
	vsock_host_expect(other, "before");
	vsock_host_expect_end(other);
	vsock_rig_settle(&v, 0);
	vsock_rig_up(&v, 0, VSOCK_BUFFERS);
	close(one);
	one = vsock_rig_from_host(&v, G, &port);
	close(one);
	close(other);
	unlisten(listener, 80);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vsock");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_host_program_connects);
	tcase_add_test(tc, the_guest_connects);
	tcase_add_test(tc, nobody_listens_on_the_host);
	tcase_add_test(tc, nobody_listens_in_the_guest);
	tcase_add_loop_test(tc, ways_to_say_connect, 0, sizeof(good_lines) / sizeof(good_lines[0]));
	tcase_add_test(tc, a_line_may_come_in_pieces);
	tcase_add_loop_test(tc, what_is_not_connect_is_closed, 0, sizeof(bad_lines) / sizeof(bad_lines[0]));
	tcase_add_test(tc, data_behind_connect_is_for_the_guest);
	tcase_add_test(tc, a_host_program_may_come_before_the_driver);
	tcase_add_test(tc, much_data_to_the_host);
	tcase_add_test(tc, much_data_to_the_guest);
	tcase_add_test(tc, credit_is_told_when_asked_for);
	tcase_add_test(tc, credit_is_told_before_the_guest_runs_out);
	tcase_add_test(tc, the_guest_ends_its_direction);
	tcase_add_test(tc, the_host_ends_its_direction);
	tcase_add_test(tc, the_host_ends_in_two_steps);
	tcase_add_test(tc, the_guest_ends_both);
	tcase_add_test(tc, the_guest_reads_no_more);
	tcase_add_test(tc, the_host_ends_both);
	tcase_add_test(tc, the_guest_resets);
	tcase_add_test(tc, ports_are_used_again);
	tcase_add_test(tc, a_reset_of_the_device_ends_them);
	return test_run("vsock", tc);
}
