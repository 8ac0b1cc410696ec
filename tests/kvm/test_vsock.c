/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: vsock */
/* LABELS: slow */
/* TIMEOUT: 400 */
/*
 * A bare-metal guest with virtio-vsock sends back what host programs send: much of it, on many connections,
 * beside one whose program never reads (HOSTILE G71), and on one that the guest has made; and messages.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../kvm/guest/vsock_abi.h"
#include "engine.h"
#include "guest_image.h"
#include "run.h"

#define BASE 0xe0000000u
#define GSI 5u
#define CID 42u
#define BIT(feature) (1ull << (feature))
#define MANY 1000u

GUEST_IMAGE(vsock);

static struct kvm_fixture f;
static struct vdb_loop *loop;
static struct vdb_virtio *device;
static struct vdb_virtio_mmio *mmio;
static char dir[32], path[64];
static pthread_t vcpu;

static const uint64_t rings[] = {
        0,
        BIT(VIRTIO_RING_F_EVENT_IDX),
        BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX),
};

static struct vsock_params *params(void)
{
	return (struct vsock_params *)(void *)(f.ram + VSOCK_PARAMS);
}

static void setup(void)
{
	const struct vdb_virtio_mmio_config config = {.size = sizeof(config), .gsi = GSI, .base = BASE};
	const struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = VSOCK_MEMORY, .len = VSOCK_MEMORY_BYTES};
	struct vdb_loop_config loop_config = test_loop_config();
	struct vdb_virtio_config at = {.size = sizeof(at)};
	const struct vdb_vsock_config vsock = {
	        .size = sizeof(vsock), .flags = VDB_VSOCK_SEQPACKET, .cid = CID, .path = path};

	(void)snprintf(dir, sizeof(dir), "/tmp/vdb-vsock-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/v", dir);
	kvm_fixture_make(&f, NULL, 1);
	must(vdb_mem_add(f.mem, &region));
	must(vdb_loop_create(&loop_config, &loop));
	must(vdb_loop_start(loop, -1, NULL));
	at.mem = f.mem;
	at.loop = loop;
	must(vdb_vsock_create(&at, &vsock, &device));
	must(vdb_virtio_mmio_create(f.vm, device, &config, &mmio));
}

static void teardown(void)
{
	uint32_t gone = 0;

	vdb_virtio_mmio_destroy(mmio);
	vdb_virtio_destroy(device, count_done, &gone);
	wait_for32(&gone, 1);
	must(vdb_loop_join(loop));
	must(vdb_loop_destroy(loop));
	kvm_fixture_end(&f);
	ck_assert_int_eq(rmdir(dir), 0);
}

static struct vdb_vsock_stats stats(void)
{
	struct vdb_vsock_stats now = {.size = sizeof(now)};

	must(vdb_vsock_stats(device, &now));
	return now;
}

/* ---- The guest, on a thread of its own ---- */

static void *run(void *arg)
{
	(void)arg;
	kvm_fixture_run(&f, 0);
	return NULL;
}

static void start_guest(uint64_t features, uint32_t window, uint32_t ends, uint32_t connect_to)
{
	*params() = (struct vsock_params){
	        .features = features, .window = window, .ends = ends, .connect = connect_to};
	LOAD_IMAGE(&f, vsock, false, BASE);
	ck_assert_int_eq(pthread_create(&vcpu, NULL, run, NULL), 0);
}

/* At most so many connections were reset before their end. */
static void join_guest(uint32_t resets)
{
	pthread_join(vcpu, NULL);
	ck_assert_uint_eq(f.reports, 1);
	ck_assert_msg(f.report[0] == VSOCK_OK, "the guest reports %#x, with %u; %u opened, %u closed",
	              f.report[0], params()->wrong, params()->opened, params()->closed);
	ck_assert_uint_eq(params()->cid, CID);
	ck_assert_uint_eq(stats().violations, 0);
	ck_assert_uint_eq(stats().drops, 0);
	ck_assert_uint_le(params()->resets, resets);
}

/* ---- Host programs ---- */

static int connect_host_to(int type, const char *to_path, uint32_t port)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const struct timeval wait = {.tv_sec = 200};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	char line[32];

	(void)snprintf(to.sun_path, sizeof(to.sun_path), "%s", to_path);
	ck_assert_msg(fd >= 0, "socket: %s", strerror(errno));
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)), 0);
	ck_assert_msg(!connect(fd, (const struct sockaddr *)&to, sizeof(to)), "%s: %s", to_path,
	              strerror(errno));
	(void)snprintf(line, sizeof(line), "CONNECT %u\n", port);
	ck_assert_int_eq(send(fd, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
	return fd;
}

static int connect_host(uint32_t port)
{
	return connect_host_to(SOCK_STREAM, path, port);
}

/* "OK <port>\n", byte by byte: what follows is data. */
static void expect_ok(int fd)
{
	char c = 0, first[2] = {0};

	for (unsigned i = 0; c != '\n'; i++) {
		ck_assert_msg(recv(fd, &c, 1, 0) == 1, "no OK: %s", strerror(errno));
		if (i < 2)
			first[i] = c;
	}
	ck_assert(!memcmp(first, "OK", 2));
}

static uint64_t word_at(uint64_t seed, uint64_t i)
{
	return (seed << 40) ^ i * 0x9e3779b97f4a7c15ull;
}

struct writer {
	int fd;
	uint64_t seed, bytes;
};

static void *write_all(void *arg)
{
	const struct writer *w = arg;
	uint64_t words[4096], sent = 0;
	ssize_t n;

	while (sent < w->bytes) {
		for (uint64_t i = 0; i < 4096; i++)
			words[i] = word_at(w->seed, sent / 8 + i);
		for (size_t part = 0; part < sizeof(words); part += (size_t)n) {
			n = send(w->fd, (const char *)words + part, sizeof(words) - part, MSG_NOSIGNAL);
			if (n <= 0)
				return (void *)1; /* a failure of the reader, or of this */
		}
		sent += sizeof(words);
	}
	return NULL;
}

static void expect_all(const struct writer *w)
{
	uint64_t words[4096], got = 0;
	ssize_t n;

	while (got < w->bytes) {
		for (size_t part = 0; part < sizeof(words); part += (size_t)n) {
			n = recv(w->fd, (char *)words + part, sizeof(words) - part, 0);
			ck_assert_msg(n > 0, "after %llu bytes: %s", (unsigned long long)(got + part),
			              n ? strerror(errno) : "end");
		}
		for (uint64_t i = 0; i < 4096; i++)
			ck_assert(words[i] == word_at(w->seed, got / 8 + i));
		got += sizeof(words);
	}
}

static void echo(int fd, uint64_t seed, uint64_t bytes)
{
	struct writer w = {fd, seed, bytes};
	pthread_t thread;
	void *failed;

	ck_assert_int_eq(pthread_create(&thread, NULL, write_all, &w), 0);
	expect_all(&w);
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
}

/* ---- Tests ---- */

START_TEST(many_bytes_there_and_back)
{
	const uint64_t bytes = _i ? 1 << 20 : 4 << 20;
	char byte;
	int fd;

	start_guest(rings[_i], 65536, 1, 0);
	fd = connect_host(1234);
	expect_ok(fd);
	echo(fd, 1, bytes);
	/* Half closed, the guest ends the other half. */
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
	close(fd);
	join_guest(0);
	ck_assert_uint_eq(params()->bytes, bytes);
	ck_assert_uint_eq(stats().bytes_to_guest, bytes);
	ck_assert_uint_eq(stats().bytes_to_host, bytes);
}
END_TEST

/* For both ends of each, and what the test has besides. */
static bool fds_for(uint32_t connections)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < 2 * connections + 100)
		limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return limit.rlim_cur >= 2 * connections + 100;
}

START_TEST(a_thousand_connections)
{
	static int fds[MANY];
	char text[32], got[32];

	if (!fds_for(MANY)) {
		test_skipped_part("a thousand connections", "too few files may be open: ulimit -n");
		return;
	}
	start_guest(BIT(VIRTIO_RING_F_EVENT_IDX), 4096, MANY, 0);
	for (uint32_t i = 0; i < MANY; i++)
		fds[i] = connect_host(i);
	for (uint32_t i = 0; i < MANY; i++)
		expect_ok(fds[i]);
	ck_assert_uint_eq(stats().connections, MANY);
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < MANY; i++) {
			(void)snprintf(text, sizeof(text), "%8u of %8u", i, round);
			ck_assert_int_eq(send(fds[i], text, 20, MSG_NOSIGNAL), 20);
		}
		for (uint32_t i = 0; i < MANY; i++) {
			(void)snprintf(text, sizeof(text), "%8u of %8u", i, round);
			ck_assert_int_eq(recv(fds[i], got, 20, MSG_WAITALL), 20);
			ck_assert(!memcmp(got, text, 20));
		}
	}
	for (uint32_t i = 0; i < MANY; i++)
		close(fds[i]);
	join_guest(0);
	ck_assert_uint_eq(params()->opened, MANY);
	ck_assert_uint_eq(stats().opened_by_host, MANY);
}
END_TEST

/* It writes until nothing goes any more: the guest is stopped by its credit, and the host by the guest's. */
START_TEST(g71_a_program_that_never_reads)
{
	static char data[65536];
	int deaf, fd, flags;

	start_guest(BIT(VIRTIO_RING_F_EVENT_IDX), 65536, 2, 0);
	deaf = connect_host(1);
	expect_ok(deaf);
	flags = fcntl(deaf, F_GETFL);
	ck_assert_int_eq(fcntl(deaf, F_SETFL, flags | O_NONBLOCK), 0);
	fd = connect_host(2);
	expect_ok(fd);
	for (uint64_t seed = 1; seed <= 2; seed++) {
		while (send(deaf, data, sizeof(data), MSG_NOSIGNAL) > 0)
			;
		ck_assert_int_eq(errno, EAGAIN);
		echo(fd, seed, 64 << 10);
		ck_assert_uint_le(stats().buffered, 2 * 256 * 1024);
	}
	close(deaf);
	close(fd);
	join_guest(1); /* that of what it has not read */
}
END_TEST

START_TEST(the_guest_connects)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/v_80", dir);
	ck_assert_int_eq(bind(listener, (const struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	start_guest(0, 65536, 1, 80);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	echo(fd, 3, 256 << 10);
	close(fd);
	join_guest(0);
	ck_assert_uint_eq(stats().opened_by_guest, 1);
	close(listener);
	ck_assert_int_eq(unlink(at.sun_path), 0);
}
END_TEST

/* ---- Messages ---- */

#define MESSAGES 200u
#define LONGEST 30000u /* some packets, and less than the guest's window */

static uint32_t message_len(uint32_t i)
{
	return i % 3 ? 1 + i * 7919 % LONGEST : 1 + i % 5;
}

static void message_fill(uint8_t *data, uint32_t i)
{
	uint32_t len = message_len(i);

	for (uint32_t at = 0; at < len; at++)
		data[at] = (uint8_t)(i + at * 31);
}

static void *write_messages(void *arg)
{
	static uint8_t data[LONGEST];
	int fd = *(const int *)arg;

	for (uint32_t i = 0; i < MESSAGES; i++) {
		message_fill(data, i);
		if (send(fd, data, message_len(i), MSG_NOSIGNAL) != (ssize_t)message_len(i))
			return (void *)1;
	}
	return NULL;
}

START_TEST(messages_there_and_back)
{
	static uint8_t data[LONGEST], got[LONGEST + 1];
	char seqpacket[80];
	pthread_t thread;
	void *failed;
	int fd;

	start_guest(rings[_i] | BIT(1), 65536, 1, 0);
	(void)snprintf(seqpacket, sizeof(seqpacket), "%s_seqpacket", path);
	fd = connect_host_to(SOCK_SEQPACKET, seqpacket, 1234);
	ck_assert_int_gt(recv(fd, got, sizeof(got), 0), 3);
	ck_assert(!memcmp(got, "OK ", 3));
	ck_assert_int_eq(pthread_create(&thread, NULL, write_messages, &fd), 0);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		message_fill(data, i);
		ck_assert_int_eq(recv(fd, got, sizeof(got), 0), message_len(i));
		ck_assert(!memcmp(got, data, message_len(i)));
	}
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
	close(fd);
	join_guest(0);
	ck_assert_uint_eq(stats().messages_to_guest, MESSAGES);
	ck_assert_uint_eq(stats().messages_to_host, MESSAGES);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vsock");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, many_bytes_there_and_back, 0, sizeof(rings) / sizeof(rings[0]));
	tcase_add_loop_test(tc, messages_there_and_back, 0, sizeof(rings) / sizeof(rings[0]));
	tcase_add_test(tc, a_thousand_connections);
	tcase_add_test(tc, g71_a_program_that_never_reads);
	tcase_add_test(tc, the_guest_connects);
	return test_run_within("vsock", tc, 120);
}
