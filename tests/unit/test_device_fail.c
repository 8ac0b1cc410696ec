/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: calloc malloc realloc eventfd timerfd_create fcntl epoll_ctl */
/* The ready devices on a host that runs out: each call of the system's that making one takes fails once. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vdb/vdb.h>

#include "fail.h"
#include "mock.h"
#include "null_netdev.h"
#include "run.h"
#include "turn.h"

static struct mock_ram ram;
static struct vdb_loop *loop;
static struct vdb_chardev *chardev;
static struct vdb_backend *backend;
static struct vdb_virtio_config at;
static int out[2], in[2], pair[2];
static uint64_t disk[512 / 8];

#define PMEM_GPA VDB_PMEM_ALIGN

/* A file as memory. */
static void add_pmem(void)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = PMEM_GPA, .len = VDB_PMEM_ALIGN, .backing = VDB_MEM_FD};
	int fd = memfd_create("pmem", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, VDB_PMEM_ALIGN), 0);
	region.fd = fd;
	ck_assert_int_eq(vdb_mem_add(ram.mem, &region), 0);
	close(fd);
}

static void setup(void)
{
	mock_ram_open(&ram, 0, 1 << 16);
	add_pmem();
	loop = test_loop_new();
	at = (struct vdb_virtio_config){.size = sizeof(at), .mem = ram.mem, .loop = loop};
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(vdb_backend_memory(disk, sizeof(disk), &backend), 0);
	ck_assert_int_eq(
	        vdb_chardev_create(loop,
	                           &(struct vdb_chardev_config){.size = sizeof(struct vdb_chardev_config)},
	                           &chardev),
	        0);
}

static void teardown(void)
{
	vdb_chardev_destroy(chardev, NULL, NULL);
	test_settle(loop);
	vdb_backend_destroy(backend);
	test_loop_end(loop);
	mock_ram_close(&ram);
	for (int i = 0; i < 2; i++) {
		close(out[i]);
		close(in[i]);
		close(pair[i]);
	}
}

/* What the loop holds of something it lets go at its turns. */
static void turn(void)
{
	for (int i = 0; i < 8; i++)
		fail_check(vdb_loop_step(loop) >= 0);
}

static int come_and_go(int err, struct vdb_virtio *device)
{
	if (!err)
		vdb_virtio_destroy(device, NULL, NULL);
	turn();
	return err;
}

static int make_blk(void *arg)
{
	const struct vdb_blk_config config = {
	        .size = sizeof(config), .at = &at, .backend = backend, .serial = "x", .queues = 4};
	struct vdb_virtio *device = NULL;
	int err = vdb_blk_create(&config, &device);

	(void)arg;
	return come_and_go(err, device);
}

static int make_console(void *arg)
{
	struct vdb_virtio *device = NULL;
	int err = vdb_console_create(&at, chardev, &device);

	(void)arg;
	return come_and_go(err, device);
}

static int make_rng(void *arg)
{
	struct vdb_virtio *device = NULL;
	int err = vdb_rng_create(&at, &device);

	(void)arg;
	return come_and_go(err, device);
}

static int make_balloon(void *arg)
{
	const struct vdb_balloon_config config = {
	        .size = sizeof(config), .at = &at, .flags = VDB_BALLOON_REPORTING};
	struct vdb_virtio *device = NULL;
	int err = vdb_balloon_create(&config, &device);

	(void)arg;
	return come_and_go(err, device);
}

static int make_net(void *arg)
{
	struct vdb_net_config config = {.size = sizeof(config), .pairs = 2};
	struct vdb_virtio *device = NULL;
	int err = null_netdev_create(2, &config.netdev);

	(void)arg;
	if (!err)
		err = vdb_net_create(&at, &config, &device);
	vdb_netdev_destroy(config.netdev);
	return come_and_go(err, device);
}

static int make_pmem(void *arg)
{
	const struct vdb_pmem_config config = {.size = sizeof(config), .at = &at, .gpa = PMEM_GPA};
	struct vdb_virtio *device = NULL;
	int err = vdb_pmem_create(&config, &device);

	(void)arg;
	return come_and_go(err, device);
}

START_TEST(devices)
{
	ck_assert_uint_ge(fail_sweep(make_net, NULL), 10);
	ck_assert_uint_ge(fail_sweep(make_blk, NULL), 3);
	ck_assert_uint_ge(fail_sweep(make_console, NULL), 3);
	ck_assert_uint_ge(fail_sweep(make_rng, NULL), 3);
	ck_assert_uint_ge(fail_sweep(make_balloon, NULL), 3);
	ck_assert_uint_ge(fail_sweep(make_pmem, NULL), 4);
}
END_TEST

static void count(void *arg)
{
	(*(unsigned *)arg)++;
}

static int make_chardev(void *arg)
{
	const int *fds = arg;
	const struct vdb_chardev_config config = {
	        .size = sizeof(config), .out_fd = fds[0], .in_fd = fds[1], .fifo = 4096};
	struct vdb_chardev *dev;
	int err = vdb_chardev_create(loop, &config, &dev);
	unsigned gone = 0;

	turn();
	if (err)
		return err;
	vdb_chardev_destroy(dev, count, &gone);
	turn();
	fail_check(gone == 1);
	return 0;
}

/* Pipes are opened anew, sockets duplicated. */
START_TEST(chardevs)
{
	ck_assert_uint_ge(fail_sweep(make_chardev, (int[]){out[1], in[0]}), 3);
	ck_assert_uint_ge(fail_sweep(make_chardev, (int[]){pair[0], pair[0]}), 3);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("device_fail");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, devices);
	tcase_add_test(tc, chardevs);
	return test_run("device_fail", tc);
}
