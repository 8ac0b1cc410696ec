/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* WRAP: io_uring_queue_init_params io_uring_register_files */
/* WRAP: io_uring_register_buffers_sparse io_uring_register_buffers_update_tag */
/*
 * The ring that is polled. A device with queues for it is the lab's (tests/lab); here the ring is an ordinary
 * one to its tests, or the kernel says that the file is none to be polled for.
 */
#include <check.h>
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/io.h>

#include "base/list.h"
#include "loop/memory.h"
#include "loop/state.h"
#include "run.h"
#include "turn.h"

#define MANY 600
#define BLOCK 512u

static bool real;       /* the ring is polled indeed */
static int ring_error;  /* of making it */
static int table_error; /* of its table of files */
static int buffers_error, buffer_error;

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
int __real_io_uring_register_files(struct io_uring *ring, const int *files, unsigned n);
int __wrap_io_uring_register_files(struct io_uring *ring, const int *files, unsigned n);
int __real_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned n);
int __wrap_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned n);
int __real_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned at, const struct iovec *iov,
                                                const uint64_t *tags, unsigned n);
int __wrap_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned at, const struct iovec *iov,
                                                const uint64_t *tags, unsigned n);

static const struct io_uring *polled;

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
	if (!(p->flags & IORING_SETUP_IOPOLL))
		return __real_io_uring_queue_init_params(entries, ring, p);
	polled = ring;
	if (ring_error)
		return ring_error;
	if (!real)
		p->flags &= ~IORING_SETUP_IOPOLL;
	return __real_io_uring_queue_init_params(entries, ring, p);
}

int __wrap_io_uring_register_files(struct io_uring *ring, const int *files, unsigned n)
{
	return ring == polled && table_error ? table_error : __real_io_uring_register_files(ring, files, n);
}

int __wrap_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned n)
{
	return ring == polled && buffers_error ? buffers_error
	                                       : __real_io_uring_register_buffers_sparse(ring, n);
}

int __wrap_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned at, const struct iovec *iov,
                                                const uint64_t *tags, unsigned n)
{
	if (ring == polled && buffer_error)
		return buffer_error;
	return __real_io_uring_register_buffers_update_tag(ring, at, iov, tags, n);
}

struct job {
	struct vdb_io io;
	struct iovec iov[2];
	int64_t result;
	bool done;
};

static struct vdb_loop *loop;
static struct job jobs[MANY];
static unsigned char *memory;
static int file, pending;
static uint32_t number;

static void make(void)
{
	struct vdb_loop_config config = {.size = sizeof(config),
	                                 .engine = VDB_ENGINE_URING,
	                                 .flags = VDB_LOOP_IOPOLL | VDB_LOOP_REGISTER_MEMORY};

	ck_assert_msg(!vdb_loop_create(&config, &loop), "%s", vdb_errmsg());
	memory = mmap(NULL, MANY * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(memory, MAP_FAILED);
	file = memfd_create("polled", MFD_CLOEXEC);
	for (unsigned i = 0; i < MANY; i++) {
		memset(memory + i * BLOCK, (int)(i % 251), BLOCK);
		ck_assert_int_eq(pwrite(file, memory + i * BLOCK, BLOCK, i * BLOCK), BLOCK);
	}
}

static void setup(void)
{
	make();
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	number = vdb_io_file_add(loop, file);
	ck_assert_uint_ne(number, 0);
}

static void teardown(void)
{
	vdb_io_file_remove(loop, number);
	test_loop_end(loop);
	close(file);
	munmap(memory, MANY * BLOCK);
}

static struct vdb_loop_stats stats(void)
{
	return test_loop_stats(loop);
}

static void job_done(struct vdb_io *io, int64_t result)
{
	struct job *job = vdb__container(io, struct job, io);

	job->result = result;
	job->done = true;
	pending--;
}

static void start(unsigned i, uint32_t op, uint32_t flags, uint32_t niov)
{
	struct job *job = &jobs[i];

	*job = (struct job){
	        .iov = {{memory + i * BLOCK, BLOCK / niov}, {memory + i * BLOCK + BLOCK / 2, BLOCK / 2}}};
	job->io = (struct vdb_io){.op = op,
	                          .fd = file,
	                          .file = number,
	                          .flags = flags,
	                          .iov = job->iov,
	                          .niov = niov,
	                          .offset = (uint64_t)i * BLOCK,
	                          .done = job_done};
	pending++;
	vdb_io_submit(loop, &job->io);
}

static void finish(void)
{
	while (pending)
		test_turn(loop);
}

static void check(unsigned i, int64_t result)
{
	ck_assert(jobs[i].done);
	ck_assert_int_eq(jobs[i].result, result);
	ck_assert_uint_eq(memory[i * BLOCK], i % 251);
	ck_assert_uint_eq(memory[i * BLOCK + BLOCK - 1], i % 251);
}

/* More than the ring takes at once. */
static void read_many(void)
{
	memset(memory, 255, MANY * BLOCK);
	for (unsigned i = 0; i < MANY; i++)
		start(i, VDB_IO_READV, VDB_IO_DIRECT, 1 + i % 2);
	finish();
	for (unsigned i = 0; i < MANY; i++)
		check(i, BLOCK);
}

START_TEST(direct_io_goes_to_the_ring_that_is_polled)
{
	ck_assert_uint_ne(stats().features & VDB_LOOP_HAS_IOPOLL, 0);
	read_many();
	ck_assert_uint_eq(stats().polled, MANY);
	memset(memory, 9, BLOCK);
	start(0, VDB_IO_WRITEV, VDB_IO_DIRECT, 1);
	finish();
	ck_assert_uint_eq(stats().polled, MANY + 1);
	ck_assert_int_eq(pread(file, memory + BLOCK, BLOCK, 0), BLOCK);
	ck_assert_mem_eq(memory, memory + BLOCK, BLOCK);
}
END_TEST

START_TEST(all_else_goes_the_ordinary_way)
{
	start(1, VDB_IO_READV, 0, 1);
	start(2, VDB_IO_FDATASYNC, VDB_IO_DIRECT, 1);
	number = 0;
	start(3, VDB_IO_READV, VDB_IO_DIRECT, 1);
	finish();
	check(1, BLOCK);
	ck_assert_int_eq(jobs[2].result, 0);
	check(3, BLOCK);
	ck_assert_uint_eq(stats().polled, 0);
}
END_TEST

START_TEST(nobody_sleeps_while_something_is_polled_for)
{
	uint64_t sleeps = stats().sleeps;

	test_settle(loop);
	start(0, VDB_IO_READV, VDB_IO_DIRECT, 1);
	ck_assert_int_eq(vdb_loop_prepare(loop), 0);
	finish();
	ck_assert_uint_eq(stats().sleeps, sleeps);
	test_settle(loop);
	ck_assert_int_eq(vdb_loop_prepare(loop), 1);
}
END_TEST

START_TEST(an_unknown_flag_is_refused)
{
	start(0, VDB_IO_READV, 1u << 31, 1);
	finish();
	ck_assert_int_eq(jobs[0].result, -EINVAL);
}
END_TEST

/* memfds are not: the kernel says so, once for all that are on their way. */
START_TEST(a_file_that_cannot_be_polled_for)
{
	test_loop_end(loop);
	real = true;
	close(file);
	make();
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	number = vdb_io_file_add(loop, file);
	read_many();
	ck_assert_uint_eq(stats().polled, 0);
	ck_assert(!vdb__file_known(&loop->files, number)->pollable);
	start(0, VDB_IO_READV, VDB_IO_DIRECT, 1);
	finish();
	check(0, BLOCK);
}
END_TEST

static const int refusals[] = {-EINVAL, -EPERM, -ENOMEM};

START_TEST(without_the_ring_all_is_as_before)
{
	test_loop_end(loop);
	close(file);
	ring_error = refusals[_i];
	make();
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	number = vdb_io_file_add(loop, file);
	ck_assert_uint_eq(stats().features & VDB_LOOP_HAS_IOPOLL, 0);
	read_many();
	ck_assert_uint_eq(stats().polled, 0);
}
END_TEST

START_TEST(without_its_table_all_is_as_before)
{
	test_loop_end(loop);
	close(file);
	table_error = -ENOMEM;
	make();
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	number = vdb_io_file_add(loop, file);
	read_many();
	ck_assert_uint_eq(stats().polled, 0);
	ck_assert_uint_eq(stats().fixed_files, MANY);
}
END_TEST

/* Registered with both rings, or used on the one that has it. */
START_TEST(memory_is_known_to_both_or_one)
{
	buffers_error = _i == 1 ? -ENOMEM : 0;
	buffer_error = _i == 2 ? -ENOMEM : 0;
	ck_assert(vdb__memory_add(loop, NULL, memory, MANY * BLOCK));
	start(0, VDB_IO_READV, VDB_IO_DIRECT, 1);
	start(1, VDB_IO_READV, 0, 1);
	finish();
	check(0, BLOCK);
	check(1, BLOCK);
	ck_assert_uint_eq(stats().fixed_buffers, _i ? 1 : 2);
	ck_assert_uint_eq(stats().polled, 1);
	vdb__memory_remove(loop, memory, MANY * BLOCK);
}
END_TEST

static int start_many(void *arg)
{
	(void)arg;
	if (!number)
		number = vdb_io_file_add(loop, file);
	for (unsigned i = 0; i < MANY; i++)
		start(i, VDB_IO_READV, VDB_IO_DIRECT, 1);
	return 0;
}

static int left(void *arg)
{
	(void)arg;
	return pending;
}

static int forget(void *arg)
{
	(void)arg;
	vdb_io_file_remove(loop, number);
	number = 0;
	return 0;
}

/* The next one's ring knows the file, too. */
START_TEST(threads_take_turns)
{
	test_loop_end(loop);
	close(file);
	number = 0;
	make();
	for (uint64_t i = 0; i < 3; i++) {
		ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
		ck_assert_int_eq(vdb_loop_call(loop, start_many, NULL), 0);
		/* The end of a thread waits for what is polled for; what found no room is the next one's. */
		if (i)
			ck_assert_int_eq(vdb_loop_join(loop), 0);
		if (i)
			ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
		while (vdb_loop_call(loop, left, NULL))
			usleep(100);
		if (i == 2)
			ck_assert_int_eq(vdb_loop_call(loop, forget, NULL), 0);
		ck_assert_int_eq(vdb_loop_join(loop), 0);
		ck_assert_uint_ne(stats().features & VDB_LOOP_HAS_IOPOLL, 0);
		for (unsigned j = 0; j < MANY; j++)
			check(j, BLOCK);
	}
	ck_assert_uint_gt(stats().polled, 0);
}
END_TEST

int main(void)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};
	TCase *tc = tcase_create("polled");

	if (vdb_loop_create(&config, &loop)) {
		(void)fprintf(stderr, "no io_uring here: %s\n", vdb_errmsg());
		return 77;
	}
	(void)!vdb_loop_destroy(loop);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, direct_io_goes_to_the_ring_that_is_polled);
	tcase_add_test(tc, all_else_goes_the_ordinary_way);
	tcase_add_test(tc, nobody_sleeps_while_something_is_polled_for);
	tcase_add_test(tc, an_unknown_flag_is_refused);
	tcase_add_test(tc, a_file_that_cannot_be_polled_for);
	tcase_add_loop_test(tc, without_the_ring_all_is_as_before, 0, 3);
	tcase_add_test(tc, without_its_table_all_is_as_before);
	tcase_add_loop_test(tc, memory_is_known_to_both_or_one, 0, 3);
	tcase_add_test(tc, threads_take_turns);
	return test_run("polled", tc);
}
