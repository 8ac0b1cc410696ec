/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: calloc malloc eventfd fcntl socketpair pthread_create */
/* What cannot be made, and why; and each call of the system's that making takes, failing once. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vdb/vdb.h>

#include "fail.h"
#include "mock.h"
#include "run.h"
#include "turn.h"
#include "vu_backend.h"

static struct vu_backend vu;
static struct mock_ram ram, unshared;
static struct vdb_loop *loop;
static struct vdb_virtio_config at;
static struct vdb_vhost_user_config config;
static struct vdb_fs_config fs;

static void setup(void)
{
	memset(&vu, 0, sizeof(vu));
	vu_open(&vu);
	mock_ram_open_shared(&ram, 0, 1 << 16);
	mock_ram_open(&unshared, 0, 1 << 16);
	loop = test_loop_new();
	at = (struct vdb_virtio_config){.size = sizeof(at), .mem = ram.mem, .loop = loop};
	config = (struct vdb_vhost_user_config){.size = sizeof(config),
	                                        .at = &at,
	                                        .device_id = 42,
	                                        .path = vu.path,
	                                        .queues = 2,
	                                        .timeout_ms = 30000};
	fs = (struct vdb_fs_config){
	        .size = sizeof(fs), .at = &at, .tag = "host", .path = vu.path, .timeout_ms = 30000};
}

static void teardown(void)
{
	test_loop_end(loop);
	mock_ram_close(&ram);
	mock_ram_close(&unshared);
	vu_close(&vu);
}

static void refused(int rc, const char *why)
{
	struct vdb_virtio *device = NULL;

	ck_assert_int_eq(vdb_vhost_user_create(&config, &device), rc);
	ck_assert_msg(strstr(vdb_errmsg(), why) != NULL, "%s", vdb_errmsg());
	ck_assert_ptr_null(device);
	config.size = sizeof(config);
}

START_TEST(what_does_not_fit_together)
{
	char path[200];

	config.device_id = 0;
	refused(-EINVAL, "device_id");
	config.device_id = 42;
	config.fd = 1;
	refused(-EINVAL, "not both");
	config.fd = 0;
	config.path = NULL;
	refused(-EINVAL, "path");
	config.fd = 1;
	config.reconnect_ms = 10;
	refused(-EINVAL, "reconnect_ms");
	config.fd = 0;
	config.reconnect_ms = 0;
	config.path = vu.path;
	config.queues = 65;
	refused(-EINVAL, "65");
	config.queues = 2;
	config.config_len = 257;
	refused(-EINVAL, "257");
	config.config_len = 0;
	config.config = "x";
	refused(-EINVAL, "config_len");
	config.config = NULL;
	config.reserved = 1;
	refused(-EINVAL, "reserved");
	config.reserved = 0;
	config.at = NULL;
	refused(-EINVAL, "at");
	config.at = &at;
	at.mem = NULL;
	refused(-EINVAL, "mem");
	at.mem = ram.mem;
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = 0;
	config.path = path;
	refused(-ENAMETOOLONG, "longer");
}
END_TEST

START_TEST(a_descriptor_that_is_no_stream_socket)
{
	int pair[2], file = memfd_create("file", MFD_CLOEXEC);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	config.path = NULL;
	config.fd = 999;
	refused(-EBADF, "fd 999");
	config.fd = file;
	refused(-ENOTSOCK, "fd ");
	config.fd = pair[0];
	refused(-EPROTOTYPE, "is not a stream socket");
	close(pair[0]);
	close(pair[1]);
	close(file);
}
END_TEST

START_TEST(nobody_is_there)
{
	config.path = "/nowhere/vhost.sock";
	refused(-ENOENT, "/nowhere/vhost.sock");
	config.path = "/dev/null";
	refused(-ECONNREFUSED, "back end");
}
END_TEST

START_TEST(the_back_end_does_not_fit)
{
	config.queues = 5;
	refused(-EPROTO, "4 queues");
	config.queues = 2;
	vu.features &= ~(1ull << 32);
	refused(-EPROTO, "VERSION_1");
	vu.features |= 1ull << 32;
	vu.protocol = 0;
	config.config_len = 8;
	refused(-EPROTO, "config space");
	config.config_len = 0;
	config.queues = 0;
	refused(-EPROTO, "how many queues");
}
END_TEST

START_TEST(memory_cannot_be_shared)
{
	at.mem = unshared.mem;
	refused(-EOPNOTSUPP, "VDB_MEM_MEMFD");
}
END_TEST

START_TEST(a_tag_is_needed)
{
	struct vdb_virtio *device;

	fs.tag = NULL;
	ck_assert_int_eq(vdb_fs_create(&fs, &device), -EINVAL);
	fs.tag = "";
	ck_assert_int_eq(vdb_fs_create(&fs, &device), -EINVAL);
	fs.tag = "0123456789012345678901234567890123456";
	ck_assert_int_eq(vdb_fs_create(&fs, &device), -EINVAL);
	fs.tag = "host";
	fs.request_queues = 64;
	ck_assert_int_eq(vdb_fs_create(&fs, &device), -EINVAL);
}
END_TEST

START_TEST(other_devices_have_no_such_back_end)
{
	struct vdb_vhost_user_info info = {.size = sizeof(info)};
	struct vdb_virtio *rng;

	ck_assert_int_eq(vdb_rng_create(&at, &rng), 0);
	ck_assert_int_eq(vdb_vhost_user_query(rng, &info), -EINVAL);
	vdb_virtio_destroy(rng, NULL, NULL);
}
END_TEST

static void count(void *word)
{
	__atomic_fetch_add((uint32_t *)word, 1, __ATOMIC_ACQ_REL);
}

static int and_back(struct vdb_virtio *device)
{
	uint32_t gone = 0;

	vdb_virtio_destroy(device, count, &gone);
	while (!__atomic_load_n(&gone, __ATOMIC_ACQUIRE))
		usleep(100);
	return 0;
}

/* The back end's own calls are counted, too: it makes none that may fail before queues are started. */
static int there_and_back(void *arg)
{
	struct vdb_virtio *device;
	int rc = vdb_vhost_user_create(arg, &device);

	if (!rc)
		rc = and_back(device);
	vu_settle(&vu);
	return rc;
}

START_TEST(each_call_fails_once)
{
	config.config_len = 8;
	ck_assert_uint_ge(fail_sweep(there_and_back, &config), 5);
}
END_TEST

static int fs_and_back(void *arg)
{
	struct vdb_virtio *device;
	int rc = vdb_fs_create(arg, &device);

	if (!rc)
		rc = and_back(device);
	vu_settle(&vu);
	return rc;
}

START_TEST(each_call_for_a_file_system_fails_once)
{
	ck_assert_uint_ge(fail_sweep(fs_and_back, &fs), 5);
}
END_TEST

START_TEST(a_file_system_tells_its_tag)
{
	struct vdb_virtio *device;
	struct vdb_virtio_info info = {.size = sizeof(info)};

	fs.request_queues = 3;
	vu.features |= 1; /* VIRTIO_FS_F_NOTIFICATION: would be another layout of queues */
	ck_assert_msg(!vdb_fs_create(&fs, &device), "%s", vdb_errmsg());
	ck_assert_int_eq(vdb_virtio_query(device, &info), 0);
	ck_assert_uint_eq(info.device_id, 26);
	ck_assert_uint_eq(info.queues, 4);
	ck_assert_uint_eq(info.offered & 1, 0);
	(void)and_back(device);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vhost_user_refusals");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_does_not_fit_together);
	tcase_add_test(tc, a_descriptor_that_is_no_stream_socket);
	tcase_add_test(tc, nobody_is_there);
	tcase_add_test(tc, the_back_end_does_not_fit);
	tcase_add_test(tc, memory_cannot_be_shared);
	tcase_add_test(tc, a_tag_is_needed);
	tcase_add_test(tc, other_devices_have_no_such_back_end);
	tcase_add_test(tc, each_call_fails_once);
	tcase_add_test(tc, each_call_for_a_file_system_fails_once);
	tcase_add_test(tc, a_file_system_tells_its_tag);
	return test_run("vhost_user_refusals", tc);
}
