/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: io_uring_register_files io_uring_register_files_update */
/* Files that a loop is told of beforehand, and kernels that will not hear of it. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/io.h>

#include "run.h"
#include "turn.h"

#define ALL 1024u

static int table_error, update_error; /* of the kernel's */
static unsigned largest = ALL;        /* table that it allows */

int __real_io_uring_register_files(struct io_uring *ring, const int *files, unsigned n);
int __wrap_io_uring_register_files(struct io_uring *ring, const int *files, unsigned n);
int __real_io_uring_register_files_update(struct io_uring *ring, unsigned at, const int *files, unsigned n);
int __wrap_io_uring_register_files_update(struct io_uring *ring, unsigned at, const int *files, unsigned n);

int __wrap_io_uring_register_files(struct io_uring *ring, const int *files, unsigned n)
{
	if (table_error)
		return table_error;
	return n > largest ? -EMFILE : __real_io_uring_register_files(ring, files, n);
}

int __wrap_io_uring_register_files_update(struct io_uring *ring, unsigned at, const int *files, unsigned n)
{
	return update_error ? update_error : __real_io_uring_register_files_update(ring, at, files, n);
}

static struct vdb_loop *loop;
static char bytes[8];
static struct iovec iov = {bytes, sizeof(bytes)};
static struct vdb_io io;
static int64_t got;
static int done;

static void io_done(struct vdb_io *self, int64_t result)
{
	(void)self;
	got = result;
	done++;
}

static int make_file(const char *text)
{
	int fd = memfd_create("files", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, text, sizeof(bytes), 0), sizeof(bytes));
	return fd;
}

static int start_read(void *arg)
{
	(void)arg;
	io.op = VDB_IO_READV;
	io.iov = &iov;
	io.niov = 1;
	io.done = io_done;
	vdb_io_submit(loop, &io);
	return 0;
}

/* By turns of this thread; says whether the engine went by the number. */
static bool reads(int fd, uint32_t file, const char *text)
{
	uint64_t before = test_loop_stats(loop).fixed_files;

	memset(bytes, 0, sizeof(bytes));
	done = 0;
	io.fd = fd;
	io.file = file;
	(void)start_read(NULL);
	while (!done)
		test_turn(loop);
	ck_assert_int_eq(got, sizeof(bytes));
	ck_assert_mem_eq(bytes, text, sizeof(bytes));
	return test_loop_stats(loop).fixed_files > before;
}

static bool is_uring(void)
{
	return test_loop_stats(loop).engine == VDB_ENGINE_URING;
}

static bool has_files(void)
{
	return test_loop_stats(loop).features & VDB_LOOP_HAS_FILES;
}

/* Of this thread from here on. */
static void setup(void)
{
	loop = test_loop_new();
	ck_assert_int_ge(vdb_loop_step(loop), 0);
}

static void teardown(void)
{
	test_loop_end(loop);
}

START_TEST(a_file_told_of_needs_no_look_up)
{
	int fd = make_file("told off"), other = make_file("untold..");
	uint32_t file = vdb_io_file_add(loop, fd);

	ck_assert_uint_gt(file, 0);
	ck_assert(reads(fd, file, "told off") == is_uring());
	ck_assert(!reads(other, 0, "untold.."));
	ck_assert(has_files() == is_uring());
	vdb_io_file_remove(loop, file);
	ck_assert(!reads(fd, 0, "told off"));
	close(fd);
	close(other);
}
END_TEST

/* The same fd and the same number, another file. */
START_TEST(a_number_used_again_is_the_new_file)
{
	int fd = make_file("old file"), again;
	uint32_t file = vdb_io_file_add(loop, fd);

	ck_assert(reads(fd, file, "old file") == is_uring());
	vdb_io_file_remove(loop, file);
	close(fd);
	again = make_file("new file");
	ck_assert_int_eq(again, fd);
	ck_assert_uint_eq(vdb_io_file_add(loop, again), file);
	ck_assert(reads(again, file, "new file") == is_uring());
	vdb_io_file_remove(loop, file);
	close(again);
}
END_TEST

START_TEST(a_full_table_is_gone_without)
{
	int fd = make_file("crowded.");
	uint32_t files[ALL];

	for (uint32_t i = 0; i < ALL; i++) {
		files[i] = vdb_io_file_add(loop, fd);
		ck_assert_uint_eq(files[i], i + 1);
	}
	ck_assert_uint_eq(vdb_io_file_add(loop, fd), 0);
	ck_assert(reads(fd, files[ALL - 1], "crowded.") == is_uring());
	vdb_io_file_remove(loop, files[7]);
	ck_assert_uint_eq(vdb_io_file_add(loop, fd), files[7]);
	for (uint32_t i = 0; i < ALL; i++)
		vdb_io_file_remove(loop, files[i]);
	vdb_io_file_remove(loop, 0);
	close(fd);
}
END_TEST

static const struct {
	int table, update;
	unsigned largest;
	bool known[2]; /* the first, the 65th */
} kernels[] = {
        {-EINVAL, 0, ALL, {false, false}}, {-ENOMEM, 0, ALL, {false, false}},
        {-EPERM, 0, ALL, {false, false}},  {0, -ENFILE, ALL, {false, false}},
        {0, 0, 32, {false, false}},        {0, 0, 64, {true, false}},
        {0, 0, 1000, {true, true}},
};

START_TEST(what_the_kernel_refuses_is_gone_without)
{
	int fd = make_file("refused.");
	uint32_t files[65];

	table_error = kernels[_i].table;
	update_error = kernels[_i].update;
	largest = kernels[_i].largest;
	for (int i = 0; i < 65; i++)
		files[i] = vdb_io_file_add(loop, fd);
	ck_assert(reads(fd, files[0], "refused.") == (kernels[_i].known[0] && is_uring()));
	ck_assert(reads(fd, files[64], "refused.") == (kernels[_i].known[1] && is_uring()));
	for (int i = 0; i < 65; i++)
		vdb_io_file_remove(loop, files[i]);
	close(fd);
}
END_TEST

START_TEST(a_bad_fd_has_no_number)
{
	ck_assert_uint_eq(vdb_io_file_add(loop, -1), 0);
}
END_TEST

/* A number from nowhere is none. */
START_TEST(a_wrong_number_is_not_gone_by)
{
	int fd = make_file("by fd...");

	ck_assert(!reads(fd, 7, "by fd..."));
	ck_assert(!reads(fd, UINT32_MAX, "by fd..."));
	close(fd);
}
END_TEST

static int add_file(void *fd)
{
	io.fd = *(int *)fd;
	io.file = vdb_io_file_add(loop, io.fd);
	return io.file ? 0 : -1;
}

static int is_done(void *arg)
{
	(void)arg;
	return done;
}

static int remove_file(void *arg)
{
	(void)arg;
	vdb_io_file_remove(loop, io.file);
	return 0;
}

/* Each thread has a ring of its own, which knows what the one before knew. */
START_TEST(the_next_thread_knows_it_too)
{
	struct vdb_loop_config config = test_loop_config();
	int fd = make_file("threads.");

	test_loop_end(loop);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
		if (!i)
			ck_assert_int_eq(vdb_loop_call(loop, add_file, &fd), 0);
		done = 0;
		ck_assert_int_eq(vdb_loop_call(loop, start_read, NULL), 0);
		while (!vdb_loop_call(loop, is_done, NULL))
			usleep(100);
		ck_assert_mem_eq(bytes, "threads.", sizeof(bytes));
		ck_assert_uint_eq(test_loop_stats(loop).fixed_files, is_uring() ? (uint64_t)i + 1 : 0);
		if (i == 2)
			ck_assert_int_eq(vdb_loop_call(loop, remove_file, NULL), 0);
		ck_assert_int_eq(vdb_loop_join(loop), 0);
	}
	close(fd);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("files");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_file_told_of_needs_no_look_up);
	tcase_add_test(tc, a_number_used_again_is_the_new_file);
	tcase_add_test(tc, a_full_table_is_gone_without);
	tcase_add_loop_test(tc, what_the_kernel_refuses_is_gone_without, 0,
	                    sizeof(kernels) / sizeof(kernels[0]));
	tcase_add_test(tc, a_bad_fd_has_no_number);
	tcase_add_test(tc, a_wrong_number_is_not_gone_by);
	tcase_add_test(tc, the_next_thread_knows_it_too);
	return test_run("files", tc);
}
