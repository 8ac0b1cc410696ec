/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* A chardev between a device, played by the test, and every kind of host fd. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <vdb/error.h>

#include "io/chardev.h"
#include "leak.h"
#include "run.h"
#include "turn.h"

#define FIFO 8192u

static struct vdb_loop *loop;
static struct vdb_chardev *dev;
static struct {
	unsigned readable, writable, done;
	int closed[2], error[2]; /* input, output */
} seen;
static int fds;

static void on_readable(void *arg)
{
	(void)arg;
	seen.readable++;
}

static void on_writable(void *arg)
{
	(void)arg;
	seen.writable++;
}

static void on_closed(void *arg, int output, int error)
{
	(void)arg;
	seen.closed[output]++;
	seen.error[output] = error;
}

static void on_done(void *arg)
{
	(void)arg;
	seen.done++;
}

static const struct vdb__chardev_user user = {.readable = on_readable, .writable = on_writable};

static void setup(void)
{
	fds = leak_fds();
	memset(&seen, 0, sizeof(seen));
	loop = test_loop_new();
}

static void teardown(void)
{
	test_loop_end(loop);
	ck_assert_int_eq(leak_fds(), fds);
}

static void make(const struct vdb_chardev_config *with)
{
	struct vdb_chardev_config config = *with;

	config.size = sizeof(config);
	config.fifo = config.fifo ? config.fifo : FIFO;
	config.closed = on_closed;
	ck_assert_msg(vdb_chardev_create(loop, &config, &dev) == 0, "%s", vdb_errmsg());
	ck_assert_int_eq(vdb__chardev_bind(dev, &user), 0);
	test_settle(loop);
}

static void end(void)
{
	vdb__chardev_unbind(dev);
	vdb_chardev_destroy(dev, on_done, NULL);
	while (!seen.done)
		test_turn(loop);
	ck_assert_uint_eq(seen.done, 1);
}

static void until(const unsigned *count, unsigned n)
{
	while (__atomic_load_n(count, __ATOMIC_RELAXED) < n)
		test_turn(loop);
}

static void put_all(const char *text)
{
	ck_assert_uint_eq(vdb__chardev_put(dev, text, strlen(text)), strlen(text));
}

static void expect_fd(int fd, const char *text)
{
	char got[64] = "";

	ck_assert_int_eq(read(fd, got, sizeof(got) - 1), (ssize_t)strlen(text));
	ck_assert_str_eq(got, text);
}

static void expect_input(const char *text)
{
	char got[64] = "";

	ck_assert_uint_eq(vdb__chardev_get(dev, got, sizeof(got) - 1), strlen(text));
	ck_assert_str_eq(got, text);
}

/* Two ends and how to make them. */
enum kind { PIPE, SOCKET, PTY, PTY_MASTER, KINDS };

static void open_pty(int end[2])
{
	end[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(end[0], 0);
	ck_assert_int_eq(grantpt(end[0]), 0);
	ck_assert_int_eq(unlockpt(end[0]), 0);
	end[1] = open(ptsname(end[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(end[1], 0);
}

/* end[0] is what a peer reads, end[1] what the chardev writes. */
static void open_kind(int kind, int end[2])
{
	int swap;

	if (kind == PIPE)
		ck_assert_int_eq(pipe2(end, O_CLOEXEC), 0);
	else if (kind == SOCKET)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, end), 0);
	else
		open_pty(end);
	if (kind == PTY_MASTER) {
		swap = end[0];
		end[0] = end[1];
		end[1] = swap;
	}
}

START_TEST(output_arrives)
{
	int end2[2], flags;

	open_kind(_i, end2);
	flags = fcntl(end2[1], F_GETFL);
	make(&(struct vdb_chardev_config){.out_fd = end2[1]});
	/* Whoever shares the description is not to notice. */
	if (_i != PTY_MASTER)
		ck_assert_int_eq(fcntl(end2[1], F_GETFL), flags);
	put_all(_i == PTY_MASTER ? "hello\n" : "hello");
	test_turn(loop);
	expect_fd(end2[0], _i == PTY_MASTER ? "hello\n" : "hello");
	end();
	ck_assert_int_eq(fcntl(end2[1], F_GETFL), flags);
	close(end2[0]);
	close(end2[1]);
}
END_TEST

START_TEST(input_arrives)
{
	int end2[2];

	open_kind(_i, end2);
	/* A pipe has one direction only, and a terminal hands out lines. */
	make(&(struct vdb_chardev_config){.in_fd = _i == PIPE ? end2[0] : end2[1]});
	ck_assert_uint_eq(seen.readable, 0);
	ck_assert_int_eq(write(_i == PIPE ? end2[1] : end2[0], "line\n", 5), 5);
	until(&seen.readable, 1);
	expect_input(_i == PTY_MASTER ? "line\r\n" : "line\n");
	end();
	close(end2[0]);
	close(end2[1]);
}
END_TEST

/* A user's terminal becomes raw, and is given back, while a guest has it. */
START_TEST(a_terminal_may_be_set_anew_meanwhile)
{
	struct termios settings;
	int end2[2];

	open_pty(end2);
	make(&(struct vdb_chardev_config){.in_fd = end2[1]});
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_int_eq(tcgetattr(end2[1], &settings), 0);
		settings.c_lflag ^= ICANON;
		ck_assert_int_eq(tcsetattr(end2[1], TCSANOW, &settings), 0);
		test_settle(loop);
		ck_assert_int_eq(seen.closed[0], 0);
		ck_assert_int_eq(write(end2[0], "line\n", 5), 5);
		until(&seen.readable, i);
		expect_input("line\n");
	}
	end();
	close(end2[0]);
	close(end2[1]);
}
END_TEST

static uint8_t byte_at(size_t n)
{
	return (uint8_t)(n * 7 + (n >> 8));
}

/* Puts until the peer, the kernel and the FIFO are full. */
static size_t fill(void)
{
	uint8_t block[1000];
	size_t total = 0, n, i;

	for (;;) {
		for (i = 0; i < sizeof(block); i++)
			block[i] = byte_at(total + i);
		n = vdb__chardev_put(dev, block, sizeof(block));
		total += n;
		if (n < sizeof(block) && !test_turn_within(loop, 50))
			return total;
	}
}

START_TEST(f29_a_peer_that_never_reads_costs_a_fifo)
{
	struct vdb_loop_stats before, after;
	size_t total, got = 0, i;
	uint8_t block[3000];
	ssize_t n;
	int end2[2];

	open_kind(_i, end2);
	make(&(struct vdb_chardev_config){.out_fd = end2[1]});
	total = fill();
	ck_assert_uint_ge(total, FIFO);
	/* The loop sleeps: nothing spins. */
	before = test_loop_stats(loop);
	ck_assert(!test_turn_within(loop, 20));
	after = test_loop_stats(loop);
	ck_assert_uint_eq(after.ios, before.ios);
	seen.writable = 0;
	while (got < total) {
		n = read(end2[0], block, sizeof(block));
		ck_assert_int_gt(n, 0);
		for (i = 0; i < (size_t)n; i++)
			ck_assert_uint_eq(block[i], byte_at(got + i));
		got += (size_t)n;
		test_settle(loop);
		(void)test_turn_within(loop, got < total ? 1 : 0);
	}
	ck_assert_uint_eq(seen.writable, 1);
	end();
	close(end2[0]);
	close(end2[1]);
}
END_TEST

START_TEST(f29_destroyed_while_the_peer_does_not_read)
{
	int end2[2];

	open_kind(_i, end2);
	make(&(struct vdb_chardev_config){.out_fd = end2[1], .in_fd = _i == PIPE ? 0 : end2[1]});
	(void)fill();
	end();
	close(end2[0]);
	close(end2[1]);
}
END_TEST

/* Nobody but the test blocks SIGPIPE here: the default action would kill it. */
START_TEST(f22_a_peer_that_is_gone_is_said_once)
{
	int end2[2];

	(void)signal(SIGPIPE, SIG_DFL);
	open_kind(_i, end2);
	make(&(struct vdb_chardev_config){.out_fd = end2[1]});
	close(end2[0]);
	put_all("lost");
	while (!seen.closed[1])
		test_turn(loop);
	ck_assert_int_eq(seen.error[1], EPIPE);
	/* Output goes on, to nowhere. */
	for (unsigned i = 0; i < 2 * FIFO; i += 4)
		put_all("lost");
	test_settle(loop);
	ck_assert_int_eq(seen.closed[1], 1);
	end();
	close(end2[1]);
}
END_TEST

START_TEST(a_guest_that_waits_for_room_hears_of_the_end)
{
	int end2[2];

	open_kind(_i, end2);
	make(&(struct vdb_chardev_config){.out_fd = end2[1]});
	(void)fill();
	seen.writable = 0;
	close(end2[0]);
	until(&seen.writable, 1);
	ck_assert_int_eq(seen.closed[1], 1);
	put_all("lost");
	end();
	close(end2[1]);
}
END_TEST

START_TEST(the_end_of_input_is_said)
{
	int end2[2];

	open_kind(_i, end2);
	make(&(struct vdb_chardev_config){.in_fd = _i == PIPE ? end2[0] : end2[1]});
	ck_assert_int_eq(write(_i == PIPE ? end2[1] : end2[0], "last", 4), 4);
	until(&seen.readable, 1);
	expect_input("last");
	close(_i == PIPE ? end2[1] : end2[0]);
	while (!seen.closed[0])
		test_turn(loop);
	ck_assert_int_eq(seen.error[0], 0);
	end();
	close(_i == PIPE ? end2[0] : end2[1]);
}
END_TEST

START_TEST(a_file_is_read_and_written_at_its_position)
{
	char name[] = "/tmp/vdb-chardev-XXXXXX", got[16] = "";
	int fd = mkstemp(name);

	ck_assert_int_ge(fd, 0);
	unlink(name);
	ck_assert_int_eq(write(fd, "before ", 7), 7);
	make(&(struct vdb_chardev_config){.out_fd = fd});
	put_all("after");
	end(); /* writes out what it has */
	ck_assert_int_eq(write(fd, "!", 1), 1);
	ck_assert_int_eq(pread(fd, got, sizeof(got) - 1, 0), 13);
	ck_assert_str_eq(got, "before after!");
	ck_assert_int_eq(lseek(fd, 7, SEEK_SET), 7);
	seen.done = seen.readable = 0;
	make(&(struct vdb_chardev_config){.in_fd = fd});
	until(&seen.readable, 1);
	while (!seen.closed[0])
		test_turn(loop);
	expect_input("after!");
	end();
	close(fd);
}
END_TEST

START_TEST(input_waits_for_a_guest_that_does_not_read)
{
	uint8_t block[1000];
	size_t sent = 0, got = 0, n, i;
	int end2[2];

	ck_assert_int_eq(pipe2(end2, O_CLOEXEC | O_NONBLOCK), 0);
	make(&(struct vdb_chardev_config){.in_fd = end2[0]});
	for (;;) {
		ssize_t w;

		for (i = 0; i < sizeof(block); i++)
			block[i] = byte_at(sent + i);
		w = write(end2[1], block, sizeof(block));
		if (w > 0)
			sent += (size_t)w;
		else if (!test_turn_within(loop, 50))
			break;
	}
	ck_assert_uint_gt(sent, FIFO);
	ck_assert_uint_eq(seen.readable, 1);
	while (got < sent) {
		n = vdb__chardev_get(dev, block, sizeof(block));
		for (i = 0; i < n; i++)
			ck_assert_uint_eq(block[i], byte_at(got + i));
		got += n;
		if (!n)
			test_turn(loop);
	}
	end();
	close(end2[0]);
	close(end2[1]);
}
END_TEST

/* ---- The embedder's own ends ---- */

static struct {
	char text[64];
	size_t len, room;
	unsigned calls;
} taken;

static size_t take_output(void *arg, const void *data, size_t len)
{
	(void)arg;
	taken.calls++;
	if (len > taken.room)
		len = taken.room;
	memcpy(taken.text + taken.len, data, len);
	taken.len += len;
	taken.room -= len;
	return len;
}

START_TEST(an_embedder_takes_output_when_it_can)
{
	memset(&taken, 0, sizeof(taken));
	taken.room = 3;
	make(&(struct vdb_chardev_config){.output = take_output, .fifo = 8});
	put_all("abcdefgh");
	ck_assert_uint_eq(vdb__chardev_put(dev, "i", 1), 0);
	test_settle(loop);
	ck_assert_str_eq(taken.text, "abc");
	ck_assert_uint_eq(seen.writable, 1);
	put_all("ijk");
	test_settle(loop);
	ck_assert_str_eq(taken.text, "abc");
	ck_assert_uint_eq(taken.calls, 1); /* not asked again before it says so */
	taken.room = 32;
	vdb_chardev_writable(dev);
	test_settle(loop);
	ck_assert_str_eq(taken.text, "abcdefghijk");
	end();
}
END_TEST

/* Two pieces of a FIFO that wraps, of which a turn takes one. */
START_TEST(what_is_left_at_the_end_is_written_out)
{
	memset(&taken, 0, sizeof(taken));
	taken.room = 32;
	make(&(struct vdb_chardev_config){.output = take_output, .fifo = 8});
	put_all("abcdef");
	test_settle(loop);
	put_all("123456");
	end();
	ck_assert_str_eq(taken.text, "abcdef123456");
}
END_TEST

START_TEST(an_embedder_gives_input)
{
	char big[12];

	memset(big, 'x', sizeof(big));
	make(&(struct vdb_chardev_config){.fifo = 8});
	ck_assert_uint_eq(vdb_chardev_input(dev, "abc", 3), 3);
	until(&seen.readable, 1);
	ck_assert_uint_eq(vdb_chardev_input(dev, big, sizeof(big)), 5);
	test_settle(loop);
	ck_assert_uint_eq(seen.readable, 1); /* it has not looked yet */
	expect_input("abcxxxxx");
	ck_assert_uint_eq(vdb__chardev_get(dev, big, 1), 0);
	ck_assert_uint_eq(vdb_chardev_input(dev, "y", 1), 1);
	until(&seen.readable, 2);
	put_all("to nowhere, since there is no output");
	end();
}
END_TEST

static size_t no_dots(void *arg, char *data, size_t len)
{
	size_t left = 0;

	(void)arg;
	for (size_t i = 0; i < len; i++) {
		if (data[i] != '.')
			data[left++] = data[i];
	}
	return left;
}

START_TEST(a_filter_takes_out_what_is_not_for_the_guest)
{
	int end2[2];

	open_kind(PIPE, end2);
	make(&(struct vdb_chardev_config){.in_fd = end2[0], .filter = no_dots});
	ck_assert_int_eq(write(end2[1], "..", 2), 2);
	test_turn(loop);
	ck_assert_int_eq(write(end2[1], "a.b", 3), 3);
	until(&seen.readable, 1);
	expect_input("ab");
	end();
	close(end2[0]);
	close(end2[1]);
}
END_TEST

START_TEST(input_that_came_before_the_device_waits_for_it)
{
	struct vdb_chardev_config config = {.size = sizeof(config)};

	ck_assert_int_eq(vdb_chardev_create(loop, &config, &dev), 0);
	ck_assert_uint_eq(vdb_chardev_input(dev, "early", 5), 5);
	test_settle(loop);
	ck_assert_int_eq(vdb__chardev_bind(dev, &user), 0);
	until(&seen.readable, 1);
	expect_input("early");
	ck_assert_int_eq(vdb__chardev_bind(dev, &user), -EBUSY);
	vdb__chardev_unbind(dev);
	ck_assert_int_eq(vdb__chardev_bind(dev, &user), 0);
	end();
}
END_TEST

/* ---- Life ---- */

/* The teardown of the loop comes first here; with and without a turn. */
START_TEST(the_loop_may_go_first)
{
	struct vdb_chardev_config config = {.size = sizeof(config)};
	int end2[2];

	open_kind(SOCKET, end2);
	config.in_fd = config.out_fd = end2[1];
	ck_assert_int_eq(vdb_chardev_create(loop, &config, &dev), 0);
	if (_i)
		test_settle(loop);
	ck_assert_int_eq(vdb__chardev_bind(dev, &user), 0);
	put_all("posted");
	test_loop_end(loop);
	put_all("dead");
	ck_assert_uint_eq(vdb_chardev_input(dev, "dead", 4), 4);
	vdb__chardev_unbind(dev);
	vdb_chardev_destroy(dev, on_done, NULL);
	ck_assert_uint_eq(seen.done, 1);
	close(end2[0]);
	close(end2[1]);
	loop = test_loop_new();
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
	static const struct {
		struct vdb_chardev_config config;
		int err;
	} bad[] = {
	        {{.out_fd = 9999}, EBADF},
	        {{.in_fd = 9999}, EBADF},
	        {{.fifo = 17u << 20}, EINVAL},
	};
	int end2[2];

	open_kind(PIPE, end2);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vdb_chardev_config config = bad[i].config;

		config.size = sizeof(config);
		ck_assert_int_eq(vdb_chardev_create(loop, &config, &dev), -bad[i].err);
	}
	/* The wrong ends of a pipe, and two outputs. */
	ck_assert_int_eq(
	        vdb_chardev_create(loop,
	                           &(struct vdb_chardev_config){.size = sizeof(struct vdb_chardev_config),
	                                                        .out_fd = end2[0]},
	                           &dev),
	        -EBADF);
	ck_assert_int_eq(
	        vdb_chardev_create(loop,
	                           &(struct vdb_chardev_config){.size = sizeof(struct vdb_chardev_config),
	                                                        .in_fd = end2[1]},
	                           &dev),
	        -EBADF);
	ck_assert_int_eq(
	        vdb_chardev_create(loop,
	                           &(struct vdb_chardev_config){.size = sizeof(struct vdb_chardev_config),
	                                                        .out_fd = end2[1],
	                                                        .output = take_output},
	                           &dev),
	        -EINVAL);
	close(end2[0]);
	close(end2[1]);
	vdb_chardev_destroy(NULL, NULL, NULL);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("chardev");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, output_arrives, 0, KINDS);
	tcase_add_loop_test(tc, input_arrives, 0, KINDS);
	tcase_add_test(tc, a_terminal_may_be_set_anew_meanwhile);
	tcase_add_loop_test(tc, f29_a_peer_that_never_reads_costs_a_fifo, 0, PTY);
	tcase_add_loop_test(tc, f29_destroyed_while_the_peer_does_not_read, 0, KINDS);
	tcase_add_loop_test(tc, f22_a_peer_that_is_gone_is_said_once, 0, PTY);
	tcase_add_loop_test(tc, a_guest_that_waits_for_room_hears_of_the_end, 0, PTY);
	tcase_add_loop_test(tc, the_end_of_input_is_said, 0, PTY);
	tcase_add_test(tc, a_file_is_read_and_written_at_its_position);
	tcase_add_test(tc, input_waits_for_a_guest_that_does_not_read);
	tcase_add_test(tc, an_embedder_takes_output_when_it_can);
	tcase_add_test(tc, what_is_left_at_the_end_is_written_out);
	tcase_add_test(tc, an_embedder_gives_input);
	tcase_add_test(tc, a_filter_takes_out_what_is_not_for_the_guest);
	tcase_add_test(tc, input_that_came_before_the_device_waits_for_it);
	tcase_add_loop_test(tc, the_loop_may_go_first, 0, 2);
	tcase_add_test(tc, what_cannot_be_is_refused);
	return test_run("chardev", tc);
}
