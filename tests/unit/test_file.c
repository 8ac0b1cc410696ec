/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: calloc fcntl fstat */
/* Which images are taken, and what is said of the others. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vdb/backend.h>
#include <vdb/error.h>

#include "fail.h"
#include "image.h"
#include "leak.h"
#include "run.h"

#define SIZE 65536u

static char path[64];
static int fds;

static void setup(void)
{
	image_make(path, SIZE, 1);
	fds = leak_fds();
}

static void teardown(void)
{
	ck_assert_int_eq(leak_fds(), fds);
	unlink(path);
}

static struct vdb_backend_info open_ok(const struct vdb_file_config *with)
{
	struct vdb_file_config config = *with;
	struct vdb_backend_info info = {.size = sizeof(info)};
	struct vdb_backend *backend = NULL;

	config.size = sizeof(config);
	ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
	ck_assert_int_eq(vdb_backend_query(backend, &info), 0);
	vdb_backend_destroy(backend);
	return info;
}

static void refused(const struct vdb_file_config *with, int err, const char *words)
{
	struct vdb_file_config config = *with;
	struct vdb_backend *backend = NULL;

	config.size = sizeof(config);
	ck_assert_int_eq(vdb_backend_file(&config, &backend), -err);
	ck_assert_msg(strstr(vdb_errmsg(), words), "\"%s\" does not say \"%s\"", vdb_errmsg(), words);
	ck_assert_ptr_null(backend);
}

START_TEST(an_image_is_what_it_is)
{
	struct vdb_backend_info info = open_ok(&(struct vdb_file_config){.path = path});

	ck_assert_uint_eq(info.capacity, SIZE);
	ck_assert_uint_eq(info.block_size, 512);
	ck_assert_uint_eq(info.flags, 0);
	ck_assert_uint_eq(info.ops, 0x3e);
	info = open_ok(
	        &(struct vdb_file_config){.path = path, .block_size = 4096, .flags = VDB_FILE_READONLY});
	ck_assert_uint_eq(info.block_size, 4096);
	ck_assert_uint_eq(info.flags, VDB_BACKEND_READONLY);
}
END_TEST

START_TEST(a_read_only_file_needs_the_flag)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	fds = leak_fds();
	refused(&(struct vdb_file_config){.fd = fd}, EBADF, "O_RDWR");
	(void)open_ok(&(struct vdb_file_config){.fd = fd, .flags = VDB_FILE_READONLY});
	close(fd);
	fds--;
}
END_TEST

START_TEST(an_fd_is_duplicated)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	(void)open_ok(&(struct vdb_file_config){.fd = fd});
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}
END_TEST

START_TEST(fds_that_would_misbehave_are_refused)
{
	static const struct {
		int flags, err;
		const char *words;
	} bad[] = {
	        {O_RDWR | O_APPEND, EINVAL, "O_APPEND"},  {O_RDWR | O_NONBLOCK, EINVAL, "O_NONBLOCK"},
	        {O_WRONLY, EBADF, "reading and writing"}, {O_PATH, EBADF, "reading and writing"},
	        {O_RDWR | O_DIRECT, EINVAL, "O_DIRECT"},
	};
	int fd, pair[2];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fd = open(path, bad[i].flags | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		refused(&(struct vdb_file_config){.fd = fd}, bad[i].err, bad[i].words);
		close(fd);
	}
	fd = open(path, O_RDWR | O_CLOEXEC);
	refused(&(struct vdb_file_config){.fd = fd, .flags = VDB_FILE_DIRECT}, EINVAL, "O_DIRECT");
	close(fd);
	refused(&(struct vdb_file_config){.fd = 9999}, EBADF, "9999");
	refused(&(struct vdb_file_config){.fd = 9999, .path = path}, EINVAL, "one of the two");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	refused(&(struct vdb_file_config){.fd = pair[0]}, EINVAL, "neither");
	close(pair[0]);
	close(pair[1]);
}
END_TEST

START_TEST(what_is_no_image_is_refused)
{
	char fifo[80];

	refused(&(struct vdb_file_config){.path = "/nonexistent/image"}, ENOENT, "/nonexistent/image");
	refused(&(struct vdb_file_config){.path = "/"}, EISDIR, "directory");
	refused(&(struct vdb_file_config){.path = "/dev/null"}, EINVAL, "neither");
	refused(&(struct vdb_file_config){.path = NULL}, EINVAL, "neither a path nor an fd");
	refused(&(struct vdb_file_config){.path = path, .flags = 0x80}, EINVAL, "0x80");
	/* Opening this would wait for a writer. */
	(void)snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	refused(&(struct vdb_file_config){.path = fifo, .flags = VDB_FILE_READONLY}, EINVAL, "neither");
	unlink(fifo);
}
END_TEST

START_TEST(sizes_that_do_not_fit_are_refused)
{
	refused(&(struct vdb_file_config){.path = path, .block_size = 256}, EINVAL, "256");
	refused(&(struct vdb_file_config){.path = path, .block_size = 1000}, EINVAL, "1000");
	refused(&(struct vdb_file_config){.path = path, .block_size = 2u << 20}, EINVAL, "2097152");
	refused(&(struct vdb_file_config){.path = path, .block_size = 1u << 20}, EINVAL, "not a multiple");
	ck_assert_int_eq(truncate(path, 1000), 0);
	refused(&(struct vdb_file_config){.path = path}, EINVAL, "not a multiple");
	ck_assert_int_eq(truncate(path, 511), 0);
	refused(&(struct vdb_file_config){.path = path}, EINVAL, "not a multiple");
	ck_assert_int_eq(truncate(path, 0), 0);
	refused(&(struct vdb_file_config){.path = path}, EINVAL, "empty");
}
END_TEST

START_TEST(a_newer_callers_config_is_refused)
{
	struct {
		struct vdb_file_config config;
		uint64_t newer;
	} c = {{.size = sizeof(c), .path = path}, 1};
	struct vdb_backend *backend;

	ck_assert_int_eq(vdb_backend_file(&c.config, &backend), -E2BIG);
	c.newer = 0;
	ck_assert_int_eq(vdb_backend_file(&c.config, &backend), 0);
	vdb_backend_destroy(backend);
}
END_TEST

static int life(void *arg)
{
	struct vdb_file_config config = {.size = sizeof(config)};
	struct vdb_backend *backend;
	int fd = open(path, O_RDWR | O_CLOEXEC), err;

	if (arg)
		config.path = path;
	else
		config.fd = fd;
	err = vdb_backend_file(&config, &backend);
	if (!err)
		vdb_backend_destroy(backend);
	close(fd);
	return err;
}

START_TEST(failures_leave_nothing)
{
	ck_assert_uint_ge(fail_sweep(life, NULL), 4);
	ck_assert_uint_ge(fail_sweep(life, path), 2);
}
END_TEST

/* ---- The others are refused in words, too ---- */

START_TEST(memory_and_null_check_their_sizes)
{
	struct vdb_backend *backend = NULL;
	char memory[1024];

	ck_assert_int_eq(vdb_backend_memory(NULL, 512, &backend), -EINVAL);
	ck_assert_int_eq(vdb_backend_memory(memory, 0, &backend), -EINVAL);
	ck_assert_int_eq(vdb_backend_memory(memory, 1000, &backend), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "1000"));
	ck_assert_int_eq(vdb_backend_null(1, &backend), -EINVAL);
	ck_assert_ptr_null(backend);
	ck_assert_int_eq(vdb_backend_null(0, &backend), 0);
	vdb_backend_destroy(backend);
	vdb_backend_destroy(NULL);
}
END_TEST

static int some_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	(void)req;
	return 0;
}

START_TEST(an_embedders_table_is_checked)
{
	struct vdb_backend_ops ops = {.size = sizeof(ops), .start = some_start};
	struct vdb_backend_info info = {.size = sizeof(info), .capacity = 4096, .ops = 2};
	struct vdb_backend_info got = {.size = sizeof(got)};
	struct vdb_backend *backend = NULL;

	ck_assert_int_eq(vdb_backend_create(NULL, NULL, &info, &backend), -EINVAL);
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, NULL, &backend), -EINVAL);
	info.ops = 1;
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), -EINVAL);
	info.ops = 2;
	info.flags = 4;
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), -EINVAL);
	info.flags = 0;
	info.block_size = 768;
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), -EINVAL);
	info.block_size = 8192;
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), -EINVAL);
	info.block_size = 0;
	ops.start = NULL;
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), -EINVAL);
	ops.start = some_start;
	ck_assert_ptr_null(backend);
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), 0);
	ck_assert_int_eq(vdb_backend_query(backend, &got), 0);
	ck_assert_uint_eq(got.block_size, 512);
	got.size = 0;
	ck_assert_int_eq(vdb_backend_query(backend, &got), -EINVAL);
	vdb_backend_destroy(backend);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("file");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_image_is_what_it_is);
	tcase_add_test(tc, a_read_only_file_needs_the_flag);
	tcase_add_test(tc, an_fd_is_duplicated);
	tcase_add_test(tc, fds_that_would_misbehave_are_refused);
	tcase_add_test(tc, what_is_no_image_is_refused);
	tcase_add_test(tc, sizes_that_do_not_fit_are_refused);
	tcase_add_test(tc, a_newer_callers_config_is_refused);
	tcase_add_test(tc, failures_leave_nothing);
	tcase_add_test(tc, memory_and_null_check_their_sizes);
	tcase_add_test(tc, an_embedders_table_is_checked);
	return test_run("file", tc);
}
