/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: accept4 */
/* virtio-vsock and hosts that fail: programs that go, or say nothing, and want of fds (HOSTILE F22, F15). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"
#include "run.h"
#include "vsock_rig.h"

enum { G = 5000, P = 80 };

static struct vsock_rig v;

/* ---- F22: the host's program has gone ---- */

static void on_sigpipe(int number)
{
	(void)number;
	_exit(99);
}

static void setup(void)
{
	ck_assert_ptr_ne(signal(SIGPIPE, on_sigpipe), SIG_ERR);
}

/* The guest goes on sending: what is lost counts as taken, no signal comes, and it hears of the end. */
START_TEST(f22_a_program_that_goes)
{
	struct vsock_packet p;
	uint32_t port = 0;
	int fd;

	vsock_rig_open(&v, NULL);
	fd = vsock_rig_from_host(&v, G, &port);
	close(fd);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	for (int i = 0; i < 200; i++) {
		vsock_rig_send(&v, &p, "to nobody", 9);
		vsock_rig_drain(&v);
	}
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_rig_settle(&v, 0);
	vsock_rig_send(&v, &p, "to nobody", 9);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_rig_close(&v);
}
END_TEST

/* It reads no more, but has said something before: the guest has that still. */
START_TEST(f22_a_program_that_stops_reading)
{
	struct vsock_packet p, rw;
	uint32_t port = 0;
	int fd;

	vsock_rig_open(&v, NULL);
	fd = vsock_rig_from_host(&v, G, &port);
	rw = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	ck_assert_int_eq(shutdown(fd, SHUT_RD), 0);
	vsock_rig_send(&v, &rw, "to nobody", 9);
	p = vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port);
	ck_assert_uint_eq(p.flags, VIRTIO_VSOCK_SHUTDOWN_RCV);
	ck_assert_uint_eq(p.fwd_cnt, 9);
	vsock_rig_send(&v, &rw, "to nobody", 9);
	vsock_host_write(fd, "last words");
	vsock_rig_expect_data(&v, G, port, "last words");
	close(fd);
	ck_assert_uint_eq(vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port).flags, 3);
	vsock_rig_close(&v);
}
END_TEST

/* With bytes of the guest unread: what it has said before is not lost by that. */
START_TEST(f22_a_program_that_goes_without_reading)
{
	struct vsock_packet p;
	uint32_t port = 0;
	int fd;

	vsock_rig_open(&v, NULL);
	fd = vsock_rig_from_host(&v, G, &port);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	vsock_rig_send(&v, &p, "unread", 6);
	vsock_host_write(fd, "last words");
	close(fd);
	vsock_rig_expect_data(&v, G, port, "last words");
	p = vsock_rig_receive(&v, NULL);
	ck_assert(p.op == VIRTIO_VSOCK_OP_SHUTDOWN || p.op == VIRTIO_VSOCK_OP_RST);
	vsock_rig_close(&v);
}
END_TEST

/* Its listener has gone, and its file is there still. */
START_TEST(f22_a_listener_that_has_gone)
{
	char path[sizeof(v.path) + 16];

	vsock_rig_open(&v, NULL);
	close(vsock_host_listen(&v, P));
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G, P);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, P);
	(void)snprintf(path, sizeof(path), "%s_%u", v.path, P);
	ck_assert_int_eq(unlink(path), 0);
	vsock_rig_close(&v);
}
END_TEST

/* ---- Time ---- */

START_TEST(who_says_nothing_is_closed)
{
	const struct vdb_vsock_config config = {.timeout_ms = 50};
	struct vsock_packet p;
	int silent, unheard;

	vsock_rig_open(&v, &config);
	silent = vsock_host_connect(&v);
	unheard = vsock_host_connect(&v);
	vsock_host_write(unheard, "CONNECT 5000\n");
	p = vsock_rig_receive(&v, NULL); /* and the guest does not answer */
	vsock_host_expect_end(silent);
	vsock_host_expect_end(unheard);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, p.src_port);
	vsock_rig_settle(&v, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).timeouts, 2);
	ck_assert_uint_eq(vsock_rig_stats(&v).failed, 2);
	close(silent);
	close(unheard);
	vsock_rig_close(&v);
}
END_TEST

/* The guest never says that it has heard of the end. */
START_TEST(who_does_not_hear_of_the_end_is_reset)
{
	const struct vdb_vsock_config config = {.timeout_ms = 50};
	uint32_t port = 0;
	int fd;

	vsock_rig_open(&v, &config);
	fd = vsock_rig_from_host(&v, G, &port);
	close(fd);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_rig_settle(&v, 0);
	vsock_rig_close(&v);
}
END_TEST

/* The guest has closed; what it sent waits for the host, but not for ever. */
static void fill_and_close(uint32_t port)
{
	static char data[VSOCK_MOST];
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);

	while (!vsock_rig_stats(&v).buffered)
		vsock_rig_send(&v, &p, data, sizeof(data));
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_SHUTDOWN, G, port);
	p.flags = 3;
	vsock_rig_send(&v, &p, NULL, 0);
	do
		p = vsock_rig_receive(&v, NULL);
	while (p.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	ck_assert_uint_eq(p.op, VIRTIO_VSOCK_OP_RST);
}

START_TEST(who_has_closed_is_delivered)
{
	uint32_t port = 0;
	uint64_t got = 0, sent;
	char data[4096];
	ssize_t n;
	int fd;

	vsock_rig_open(&v, NULL);
	fd = vsock_rig_from_host(&v, G, &port);
	fill_and_close(port);
	sent = vsock_rig_stats(&v).bytes_to_host;
	ck_assert_uint_eq(vsock_rig_stats(&v).connections, 1);
	while ((n = recv(fd, data, sizeof(data), 0)) > 0)
		got += (uint64_t)n;
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(got, sent);
	vsock_rig_settle(&v, 0);
	close(fd);
	vsock_rig_close(&v);
}
END_TEST

START_TEST(who_has_closed_is_not_kept_for_ever)
{
	const struct vdb_vsock_config config = {.timeout_ms = 100};
	uint32_t port = 0;
	int fd;

	vsock_rig_open(&v, &config);
	fd = vsock_rig_from_host(&v, G, &port);
	fill_and_close(port);
	vsock_rig_settle(&v, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).buffered, 0);
	ck_assert_uint_ge(vsock_rig_stats(&v).timeouts, 1);
	close(fd);
	vsock_rig_close(&v);
}
END_TEST

/* Half closed by the host, which then takes nothing: nothing turns while it waits. */
START_TEST(a_half_closed_host_that_never_reads)
{
	static char data[VSOCK_MOST];
	struct vdb_loop_stats before = {.size = sizeof(before)}, after = before;
	uint32_t port = 0;
	struct vsock_packet p;
	int fd;

	vsock_rig_open(&v, NULL);
	fd = vsock_rig_from_host(&v, G, &port);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, G, port);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	while (!vsock_rig_stats(&v).buffered)
		vsock_rig_send(&v, &p, data, sizeof(data));
	vsock_rig_quiet(&v);
	ck_assert_int_eq(vdb_loop_stats(v.rig.loop, &before), 0);
	usleep(20000);
	ck_assert_int_eq(vdb_loop_stats(v.rig.loop, &after), 0);
	ck_assert_uint_eq(after.events, before.events);
	close(fd);
	vsock_rig_close(&v);
}
END_TEST

/* ---- F15: no fds ---- */

static uint32_t shortage; /* atomic: accept4() has nothing left so often */

int __real_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);

int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	/* The rig's own calls are for sockets that block. */
	if (flags & SOCK_NONBLOCK && __atomic_load_n(&shortage, __ATOMIC_ACQUIRE)) {
		__atomic_fetch_sub(&shortage, 1, __ATOMIC_ACQ_REL);
		errno = EMFILE;
		return -1;
	}
	return __real_accept4(fd, addr, len, flags);
}

START_TEST(f15_a_host_program_waits_for_an_fd)
{
	uint32_t port = 0;
	int fd;

	vsock_rig_open(&v, NULL);
	__atomic_store_n(&shortage, 3, __ATOMIC_RELEASE);
	fd = vsock_rig_from_host(&v, G, &port);
	ck_assert_uint_eq(vsock_rig_stats(&v).accept_errors, 3);
	close(fd);
	vsock_rig_close(&v);
}
END_TEST

/* ---- The embedder's own sockets ---- */

static int own_connect(void *arg, uint32_t port)
{
	int *ends = arg;

	if (port == 1)
		return -ECONNREFUSED;
	if (port == 2)
		return dup(STDIN_FILENO); /* not a stream socket */
	return dup(ends[0]);
}

START_TEST(a_host_that_connects_by_itself)
{
	int ends[2];
	const struct vdb_vsock_config config = {.connect = own_connect, .connect_arg = ends};
	struct vsock_packet p;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	vsock_rig_make(&v, &config, NULL);
	vsock_rig_up(&v, 0, VSOCK_BUFFERS);
	for (uint32_t port = 1; port <= 2; port++) {
		vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G, port);
		(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, port);
	}
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G, 3);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RESPONSE, G, 3);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, 3);
	vsock_rig_send(&v, &p, "there", 5);
	vsock_host_expect(ends[1], "there");
	vsock_host_write(ends[1], "back");
	vsock_rig_expect_data(&v, G, 3, "back");
	v.fds -= 2;
	close(ends[0]);
	close(ends[1]);
	vsock_rig_close(&v);
}
END_TEST

static char rig_dir[sizeof(v.dir)];

/* Returns it; v.dir is where it listens. */
static int open_with_listener(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct vdb_vsock_config config = {0};
	char dir[sizeof(v.dir)] = "/tmp/vdb-vsock-XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/v", dir);
	config.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(config.listen_fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(config.listen_fd, 16), 0);
	vsock_rig_open(&v, &config);
	memcpy(rig_dir, v.dir, sizeof(dir));
	memcpy(v.dir, dir, sizeof(dir));
	return config.listen_fd;
}

/* It was not made by the device, and is not removed by it. */
static void close_with_listener(int listener)
{
	char dir[sizeof(v.dir)], path[sizeof(dir) + 2];

	memcpy(dir, v.dir, sizeof(dir));
	memcpy(v.dir, rig_dir, sizeof(dir));
	close(listener);
	v.fds--;
	vsock_rig_close(&v);
	(void)snprintf(path, sizeof(path), "%s/v", dir);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}

START_TEST(a_socket_that_listens_already)
{
	int listener = open_with_listener();
	uint32_t port = 0;

	close(vsock_rig_from_host(&v, G, &port));
	close_with_listener(listener);
}
END_TEST

/* It is readable for ever then, and there is nobody to accept: nothing spins. */
START_TEST(f22_a_listener_that_is_shut_down)
{
	int listener = open_with_listener(), fd;
	struct vsock_packet p;
	uint32_t port = 0;

	fd = vsock_rig_from_host(&v, G, &port);
	ck_assert_int_eq(shutdown(listener, _i ? SHUT_RD : SHUT_RDWR), 0);
	vsock_rig_quiet(&v);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	vsock_rig_send(&v, &p, "still", 5);
	vsock_host_expect(fd, "still");
	ck_assert_uint_eq(vsock_rig_stats(&v).accept_errors, 0);
	close(fd);
	close_with_listener(listener);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vsock host");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, f22_a_program_that_goes);
	tcase_add_test(tc, f22_a_program_that_stops_reading);
	tcase_add_test(tc, f22_a_program_that_goes_without_reading);
	tcase_add_test(tc, f22_a_listener_that_has_gone);
	tcase_add_test(tc, who_says_nothing_is_closed);
	tcase_add_test(tc, who_does_not_hear_of_the_end_is_reset);
	tcase_add_test(tc, who_has_closed_is_delivered);
	tcase_add_test(tc, who_has_closed_is_not_kept_for_ever);
	tcase_add_test(tc, a_half_closed_host_that_never_reads);
	tcase_add_test(tc, f15_a_host_program_waits_for_an_fd);
	tcase_add_test(tc, a_host_that_connects_by_itself);
	tcase_add_test(tc, a_socket_that_listens_already);
	tcase_add_loop_test(tc, f22_a_listener_that_is_shut_down, 0, 2);
	return test_run("vsock host", tc);
}
