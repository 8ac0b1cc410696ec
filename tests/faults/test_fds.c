/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: pthread_create */
/* F15 and F17: a process that may open no more files, or start no more threads. The real limit of files, at
 * every number that could matter. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vdb/vdb.h>

#include "fail.h"
#include "image.h"
#include "leak.h"
#include "rig.h"
#include "run.h"
#include "turn.h"

#define SIZE (1u << 20)
#define ROOM 200 /* fds that whatever is tried here stays below */

static char path[64];

static void allow(rlim_t files)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = files;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* The lowest number that is free, so that a limit of as many leaves none. */
static int next_fd(void)
{
	int fd = dup(0);

	ck_assert_int_ge(fd, 0);
	close(fd);
	return fd;
}

/* With ever more files to be opened, until it works: an error with a word each time, nothing left. */
static unsigned sweep(int (*fn)(void *arg), void *arg)
{
	int first = next_fd(), before = leak_fds(), err = -1;
	struct rlimit old;
	unsigned n = 0;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (; err; n++) {
		ck_assert_uint_lt(n, ROOM);
		allow((rlim_t)first + n);
		err = fn(arg);
		allow(old.rlim_cur);
		ck_assert_int_eq(leak_fds(), before);
		if (err)
			ck_assert_msg(vdb_errmsg()[0], "%u more: %d without a word", n, err);
	}
	return n - 1;
}

/* ---- A loop with a disk, and a device on it ---- */

static int with_device(struct vdb_loop *loop, struct vdb_mem *mem, struct vdb_backend *disk)
{
	const struct vdb_virtio_config at = {.size = sizeof(at), .mem = mem, .loop = loop};
	const struct vdb_blk_config blk = {.size = sizeof(blk), .at = &at, .backend = disk};
	const struct vdb_vsock_config vsock = {.size = sizeof(vsock), .cid = 5, .path = path};
	struct vdb_virtio *devices[2] = {NULL, NULL};
	int err = vdb_blk_create(&blk, &devices[0]);

	if (!err)
		err = vdb_vsock_create(&at, &vsock, &devices[1]);
	for (int i = 0; i < 2; i++)
		vdb_virtio_destroy(devices[i], NULL, NULL);
	for (int i = 0; i < 8; i++)
		ck_assert_int_ge(vdb_loop_step(loop), 0);
	return err;
}

static int all_of_it(void *arg)
{
	const struct vdb_file_config file = {.size = sizeof(file), .path = arg};
	const struct vdb_region_config region = {
	        .size = sizeof(region), .len = SIZE, .backing = VDB_MEM_MEMFD};
	struct vdb_loop_config config = test_loop_config();
	struct vdb_backend *disk = NULL;
	struct vdb_loop *loop = NULL;
	struct vdb_mem *mem = NULL;
	int err = vdb_loop_create(&config, &loop), fd;

	if (!err) {
		fd = vdb_loop_fd(loop);
		err = fd < 0 ? fd : 0;
	}
	if (!err)
		err = vdb_mem_create(&mem);
	if (!err)
		err = vdb_mem_add(mem, &region);
	if (!err)
		err = vdb_backend_file(&file, &disk);
	if (!err)
		err = with_device(loop, mem, disk);
	vdb_backend_destroy(disk);
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	return err;
}

START_TEST(f15_no_more_files_at_any_step)
{
	char image[64];

	(void)snprintf(path, sizeof(path), "/tmp/vdb-fds-%d", (int)getpid());
	image_make(image, SIZE, 5);
	ck_assert_uint_ge(sweep(all_of_it, image), 5);
	unlink(image);
}
END_TEST

/* What runs goes on, with no file to be had. */
START_TEST(f15_who_has_its_files_needs_no_more)
{
	struct vdb_file_config file = {.size = sizeof(file), .path = path};
	struct vdb_backend *disk;
	struct rig_guest guest;
	struct rlimit old;
	struct rig rig;

	image_make(path, SIZE, 5);
	ck_assert_int_eq(vdb_backend_file(&file, &disk), 0);
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = disk});
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	allow(1); /* fewer than are open; poll(2) must take one */
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 4096, (uint64_t)i * 4096), 4096);
		ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), 0);
		ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 4096, (uint64_t)i * 4096), 4096);
	}
	rig_leave(&guest);
	allow(old.rlim_cur);
	vdb_backend_destroy(disk);
	rig_close(&rig);
	unlink(path);
}
END_TEST

/* ---- F17: threads ---- */

static int loop_with_thread(void *arg)
{
	struct vdb_loop_config config = test_loop_config();
	struct vdb_loop *loop = NULL;
	int err;

	(void)arg;
	config.pool_threads = 4;
	err = vdb_loop_create(&config, &loop);
	if (err)
		return err;
	err = vdb_loop_start(loop, -1, NULL);
	if (!err)
		err = vdb_loop_join(loop);
	fail_check(!vdb_loop_destroy(loop));
	return err;
}

static int worker(void *arg)
{
	struct vdb_worker *w = NULL;
	int err = vdb_worker_create(NULL, &w);

	(void)arg;
	fail_check(!vdb_worker_destroy(w));
	return err;
}

START_TEST(f17_a_thread_that_cannot_be_started_is_an_error)
{
	struct vdb_loop_config config = test_loop_config();
	struct vdb_loop *loop;

	ck_assert_uint_ge(fail_sweep(loop_with_thread, NULL), 1);
	ck_assert_uint_eq(fail_sweep(worker, NULL), 1);
	/* A loop that got none may be given another, or be run. */
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	fail_at(1);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), -EAGAIN);
	fail_at(0);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fds");

	tcase_add_test(tc, f15_no_more_files_at_any_step);
	tcase_add_test(tc, f15_who_has_its_files_needs_no_more);
	tcase_add_test(tc, f17_a_thread_that_cannot_be_started_is_an_error);
	return test_run("faults_fds", tc);
}
