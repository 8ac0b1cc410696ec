/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: io_uring_submit io_uring_submit_and_wait io_uring_submit_and_get_events */
/* Eventfds written by the loop: at once, or with what is submitted; never lost, never somebody else's. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/io.h>

#include "base/atomic.h"
#include "loop/source.h"
#include "run.h"
#include "turn.h"

#define N 24

static int submit_error;

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);
int __real_io_uring_submit_and_get_events(struct io_uring *ring);
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring);

int __wrap_io_uring_submit(struct io_uring *ring)
{
	return submit_error ? submit_error : __real_io_uring_submit(ring);
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait)
{
	return submit_error ? submit_error : __real_io_uring_submit_and_wait(ring, wait);
}

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
	return submit_error ? submit_error : __real_io_uring_submit_and_get_events(ring);
}

static struct vdb_loop *loop;
static int fds[N];

static int new_fd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void setup(void)
{
	loop = test_loop_new();
	for (int i = 0; i < N; i++)
		fds[i] = new_fd();
	test_settle(loop);
}

static void teardown(void)
{
	test_loop_end(loop);
	for (int i = 0; i < N; i++)
		close(fds[i]);
}

/* How often it was written since. */
static uint64_t written(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static uint64_t batched(void)
{
	return test_loop_stats(loop).signals;
}

static bool is_uring(void)
{
	return test_loop_stats(loop).engine == VDB_ENGINE_URING;
}

static void run_post(void *fn, int status)
{
	ck_assert_int_eq(status, 0);
	((void (*)(void))(uintptr_t)fn)();
}

/* In one turn. */
static void in_turn(void (*fn)(void))
{
	ck_assert_int_eq(vdb_loop_post(loop, run_post, (void *)(uintptr_t)fn), 0);
	(void)!vdb_loop_step(loop);
}

static void nothing(void)
{
}

static void one(void)
{
	vdb__loop_signal(loop, fds[0]);
	ck_assert_uint_eq(written(fds[0]), 1);
}

START_TEST(alone_it_is_written_at_once)
{
	for (int i = 0; i < 5; i++)
		in_turn(one);
	ck_assert_uint_eq(batched(), 0);
}
END_TEST

static unsigned many = N;

static void all(void)
{
	for (unsigned i = 0; i < many; i++)
		vdb__loop_signal(loop, fds[i]);
}

static void check_all(void)
{
	for (unsigned i = 0; i < many; i++)
		ck_assert_uint_eq(written(fds[i]), 1);
}

START_TEST(many_in_each_turn_go_together)
{
	in_turn(all);
	check_all();
	ck_assert_uint_eq(batched(), 0);
	for (unsigned i = 1; i < 5; i++) {
		in_turn(all);
		check_all();
		ck_assert_uint_eq(batched(), is_uring() ? i * (N - 1) : 0);
	}
	in_turn(nothing);
	in_turn(all);
	check_all();
	ck_assert_uint_eq(batched(), is_uring() ? 4 * (N - 1) : 0);
}
END_TEST

START_TEST(few_do_not)
{
	many = 3;
	for (unsigned i = 1; i < 5; i++) {
		in_turn(all);
		check_all();
	}
	ck_assert_uint_eq(batched(), 0);
}
END_TEST

static struct vdb_io io;
static char byte;
static struct iovec iov = {&byte, 1};
static int file;
static bool io_ended;

static void io_done(struct vdb_io *self, int64_t result)
{
	(void)self;
	(void)result;
	io_ended = true;
}

static void start_io(void)
{
	io = (struct vdb_io){.op = VDB_IO_READV, .fd = file, .iov = &iov, .niov = 1, .done = io_done};
	vdb_io_submit(loop, &io);
}

static void beside_io(void)
{
	start_io();
	vdb__loop_signal(loop, fds[0]);
	ck_assert_uint_eq(written(fds[0]), !is_uring());
}

START_TEST(it_goes_with_io)
{
	file = memfd_create("signal", MFD_CLOEXEC);
	in_turn(beside_io);
	ck_assert_uint_eq(written(fds[0]), is_uring());
	ck_assert_uint_eq(batched(), is_uring());
	while (!io_ended)
		test_turn(loop);
	close(file);
}
END_TEST

/* The fd is closed and its number another's, before anything was handed over. */
static void withdraw(void)
{
	int old = fds[0], again;

	start_io();
	vdb__loop_signal(loop, old);
	vdb__loop_signal(loop, fds[1]);
	vdb__loop_unsignal(loop, old);
	ck_assert_uint_eq(written(old), 1);
	close(old);
	again = new_fd();
	ck_assert_int_eq(again, old);
	vdb__loop_unsignal(loop, -1);
}

START_TEST(none_is_left_for_an_fd_that_is_closed)
{
	file = memfd_create("signal", MFD_CLOEXEC);
	submit_error = _i ? -EAGAIN : 0;
	in_turn(withdraw);
	submit_error = 0;
	while (!io_ended)
		test_turn(loop);
	ck_assert_uint_eq(written(fds[0]), 0);
	ck_assert_uint_eq(written(fds[1]), 1);
	close(file);
}
END_TEST

static void fill(void)
{
	const uint64_t most = UINT64_MAX - 1;

	ck_assert_int_eq(write(fds[0], &most, sizeof(most)), sizeof(most));
	start_io();
	vdb__loop_signal(loop, fds[0]);
	vdb__loop_signal(loop, fds[1]);
}

START_TEST(a_full_counter_holds_up_nothing)
{
	file = memfd_create("signal", MFD_CLOEXEC);
	in_turn(fill);
	while (!io_ended)
		test_turn(loop);
	ck_assert_uint_eq(written(fds[0]), UINT64_MAX - 1);
	ck_assert_uint_eq(written(fds[1]), 1);
	close(file);
}
END_TEST

static void before_the_end(void)
{
	beside_io();
	submit_error = -EBADF;
}

START_TEST(an_engine_that_fails_writes_them_first)
{
	file = memfd_create("signal", MFD_CLOEXEC);
	if (!is_uring()) {
		close(file);
		return;
	}
	in_turn(before_the_end);
	ck_assert_uint_eq(written(fds[0]), 1);
	while (!io_ended)
		(void)!vdb_loop_step(loop);
	in_turn(one);
	close(file);
}
END_TEST

static void last_words(void *arg, int status)
{
	(void)arg;
	(void)status;
	start_io();
	vdb__loop_signal(loop, fds[0]);
	vdb_loop_stop(loop);
}

/* No turn follows that would hand them over. */
START_TEST(the_end_of_a_thread_loses_none)
{
	struct vdb_loop_config config = test_loop_config();

	test_loop_end(loop);
	file = memfd_create("signal", MFD_CLOEXEC);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_int_eq(vdb_loop_post(loop, last_words, NULL), 0);
	ck_assert_int_eq(vdb_loop_run(loop), 0);
	ck_assert_uint_eq(written(fds[0]), 1);
	close(file);
}
END_TEST

START_TEST(a_kernel_thread_gets_none)
{
	struct vdb_loop_config config = test_loop_config();

	test_loop_end(loop);
	config.flags = VDB_LOOP_SQPOLL;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	if (test_loop_stats(loop).features & VDB_LOOP_HAS_SQPOLL)
		ck_assert_uint_eq(test_loop_stats(loop).features & VDB_LOOP_HAS_SIGNALS, 0);
	for (int i = 0; i < 5; i++)
		in_turn(one);
	in_turn(all);
	in_turn(all);
	if (test_loop_stats(loop).features & VDB_LOOP_HAS_SQPOLL)
		ck_assert_uint_eq(batched(), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("signal");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, alone_it_is_written_at_once);
	tcase_add_test(tc, many_in_each_turn_go_together);
	tcase_add_test(tc, few_do_not);
	tcase_add_test(tc, it_goes_with_io);
	tcase_add_loop_test(tc, none_is_left_for_an_fd_that_is_closed, 0, 2);
	tcase_add_test(tc, a_full_counter_holds_up_nothing);
	tcase_add_test(tc, an_engine_that_fails_writes_them_first);
	tcase_add_test(tc, the_end_of_a_thread_loses_none);
	tcase_add_test(tc, a_kernel_thread_gets_none);
	return test_run("signal", tc);
}
