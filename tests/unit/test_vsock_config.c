/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: calloc malloc realloc epoll_create1 fcntl timerfd_create */
/* What a vsock device is made from: refusals, the embedder's own sockets, a host that runs out. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fail.h"
#include "leak.h"
#include "mock.h"
#include "run.h"
#include "turn.h"
#include "vsock_rig.h"

static struct mock_ram ram;
static struct vdb_loop *loop;
static struct vdb_virtio_config at;
static struct vdb_vsock_config config;
static char dir[32], path[64];
static int fds;

static void setup(void)
{
	fds = leak_fds();
	mock_ram_open(&ram, 0, 1 << 16);
	loop = test_loop_new();
	at = (struct vdb_virtio_config){.size = sizeof(at), .mem = ram.mem, .loop = loop};
	(void)snprintf(dir, sizeof(dir), "/tmp/vdb-vsock-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/v", dir);
	config = (struct vdb_vsock_config){.size = sizeof(config), .cid = VSOCK_CID, .path = path};
}

static void teardown(void)
{
	test_loop_end(loop);
	mock_ram_close(&ram);
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(leak_fds(), fds);
}

static int make_and_destroy(void *arg)
{
	struct vdb_virtio *device = NULL;
	int rc = vdb_vsock_create(&at, &config, &device);

	(void)arg;
	if (rc)
		return rc;
	vdb_virtio_destroy(device, NULL, NULL);
	for (int i = 0; i < 8; i++)
		fail_check(vdb_loop_step(loop) >= 0);
	return 0;
}

static void made(void)
{
	ck_assert_msg(make_and_destroy(NULL) == 0, "%s", vdb_errmsg());
}

/* The message says what is wrong. */
static void refused(int err, const char *word)
{
	ck_assert_int_eq(make_and_destroy(NULL), -err);
	ck_assert_msg(strstr(vdb_errmsg(), word), "'%s' is not in: %s", word, vdb_errmsg());
	ck_assert_ptr_null(strchr(vdb_errmsg(), '\n'));
}

START_TEST(reserved_cids)
{
	static const uint64_t cids[] = {0, 1, 2, 0xffffffff};

	for (unsigned i = 0; i < sizeof(cids) / sizeof(cids[0]); i++) {
		config.cid = cids[i];
		refused(EINVAL, "reserved");
	}
	config.cid = 1ull << 32;
	refused(EINVAL, "32 bits");
	config.cid = 3;
	made();
	config.cid = 0xfffffffe;
	made();
}
END_TEST

START_TEST(numbers_out_of_range)
{
	config.max_connections = 65537;
	refused(EINVAL, "max_connections");
	config.max_connections = 0;
	config.buf_bytes = 4095;
	refused(EINVAL, "buf_bytes");
	config.buf_bytes = (16u << 20) + 1;
	refused(EINVAL, "buf_bytes");
	config.buf_bytes = 0;
	config.timeout_ms = UINT32_MAX;
	refused(EINVAL, "timeout_ms");
	config.timeout_ms = 0;
	config.max_buffered = 1024 * 4096 - 1;
	refused(EINVAL, "max_buffered");
	config.max_buffered++;
	made();
	config.max_connections = 65536;
	config.max_buffered = 0;
	made();
	config.flags = 2;
	refused(EINVAL, "flags");
	config.flags = 0;
	config.reserved = 1;
	refused(EINVAL, "reserved");
}
END_TEST

START_TEST(paths_that_cannot_be)
{
	char longest[200];

	memset(longest, 'x', sizeof(longest));
	memcpy(longest, dir, strlen(dir));
	longest[strlen(dir)] = '/';
	longest[97] = 0;
	config.path = longest;
	refused(ENAMETOOLONG, "97 bytes");
	longest[96] = 0;
	made();
	config.path = "";
	refused(EINVAL, "empty");
	config.path = NULL;
	refused(EINVAL, "host side");
	config.path = "/nowhere/at/all";
	refused(ENOENT, "/nowhere/at/all");
}
END_TEST

START_TEST(a_path_with_a_listener)
{
	struct vdb_virtio *first = NULL;

	ck_assert_int_eq(vdb_vsock_create(&at, &config, &first), 0);
	refused(EADDRINUSE, "in use");
	vdb_virtio_destroy(first, NULL, NULL);
	/* The name is free at once. */
	made();
}
END_TEST

START_TEST(a_stale_socket)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(name.sun_path, path, sizeof(path));
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&name, sizeof(name)), 0);
	close(fd);
	refused(EADDRINUSE, "remove it");
	ck_assert_int_eq(unlink(path), 0);
	made();
}
END_TEST

START_TEST(a_file_that_is_no_socket)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	close(fd);
	refused(EADDRINUSE, "not a socket");
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* Somebody has put another socket there since: it stays. */
START_TEST(only_its_own_file_is_removed)
{
	struct vdb_virtio *device = NULL;
	struct stat st;
	int fd;

	ck_assert_int_eq(vdb_vsock_create(&at, &config, &device), 0);
	ck_assert_int_eq(unlink(path), 0);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	vdb_virtio_destroy(device, NULL, NULL);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(unlink(path), 0);
	close(fd);
}
END_TEST

START_TEST(fds_that_do_not_listen)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct vdb_virtio *device = NULL;

	config.listen_fd = fd;
	refused(EINVAL, "listens");
	config.listen_fd = file;
	refused(ENOTSOCK, "listen_fd");
	config.listen_fd = 1000;
	refused(EBADF, "listen_fd");
	close(fd);
	close(file);
	ck_assert_int_eq(vdb_vsock_create(&at, NULL, &device), -EINVAL);
}
END_TEST

START_TEST(no_loop_of_its_own)
{
	struct vdb_loops *loops;
	struct vdb_loops_config group = {.size = sizeof(group)};

	at.queues = 3;
	refused(EINVAL, "queues");
	at.queues = 0;
	at.loop = NULL;
	refused(EINVAL, "one loop");
	group.count = 1;
	ck_assert_int_eq(vdb_loops_create(&group, &loops), 0);
	at.loops = loops;
	refused(EINVAL, "one loop");
	ck_assert_int_eq(vdb_loops_destroy(loops), 0);
}
END_TEST

/* Its second socket, and how much that takes at once. */
START_TEST(seqpacket_is_asked_for)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char second[80];

	(void)snprintf(second, sizeof(second), "%s_seqpacket", path);
	config.listen_seqpacket_fd = fd;
	refused(EINVAL, "VDB_VSOCK_SEQPACKET");
	config.flags = VDB_VSOCK_SEQPACKET;
	refused(EINVAL, "not a seqpacket socket");
	config.listen_seqpacket_fd = 0;
	made();
	close(fd);
	fd = open(second, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	refused(EADDRINUSE, "_seqpacket exists");
	ck_assert_int_eq(unlink(second), 0);
	close(fd);
}
END_TEST

START_TEST(each_call_fails_once)
{
	config.flags = _i ? VDB_VSOCK_SEQPACKET : 0;
	ck_assert_uint_ge(fail_sweep(make_and_destroy, NULL), 8);
}
END_TEST

/* The loop goes first, or never runs at all. */
START_TEST(a_loop_that_ends_before_it)
{
	struct vdb_virtio *device = NULL;

	for (int turns = 0; turns < 2; turns++) {
		at.loop = test_loop_new();
		ck_assert_int_eq(vdb_vsock_create(&at, &config, &device), 0);
		for (int i = 0; i < turns * 4; i++)
			ck_assert_int_ge(vdb_loop_step(at.loop), 0);
		ck_assert_int_eq(vdb_loop_destroy(at.loop), 0);
		vdb_virtio_destroy(device, NULL, NULL);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vsock config");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, reserved_cids);
	tcase_add_test(tc, numbers_out_of_range);
	tcase_add_test(tc, paths_that_cannot_be);
	tcase_add_test(tc, a_path_with_a_listener);
	tcase_add_test(tc, a_stale_socket);
	tcase_add_test(tc, a_file_that_is_no_socket);
	tcase_add_test(tc, only_its_own_file_is_removed);
	tcase_add_test(tc, fds_that_do_not_listen);
	tcase_add_test(tc, no_loop_of_its_own);
	tcase_add_test(tc, seqpacket_is_asked_for);
	tcase_add_loop_test(tc, each_call_fails_once, 0, 2);
	tcase_add_test(tc, a_loop_that_ends_before_it);
	return test_run("vsock config", tc);
}
