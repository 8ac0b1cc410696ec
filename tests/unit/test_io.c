/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Host I/O: what each operation does, fails with, and how it is cancelled. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vdb/io.h>

#include "base/list.h"
#include "run.h"
#include "turn.h"

static struct vdb_loop *loop;
static int file;

/* One operation and how it ended. */
struct op {
	struct vdb_io io;
	struct iovec iov[4];
	int64_t result;
	int done;
	void (*then)(struct op *op);
};

static void finish(struct vdb_io *io, int64_t result)
{
	struct op *op = vdb__container(io, struct op, io);

	op->result = result;
	op->done++;
	if (op->then)
		op->then(op);
}

static void submit(struct op *op)
{
	int done = op->done;

	op->io.done = finish;
	vdb_io_submit(loop, &op->io);
	ck_assert_int_eq(op->done, done); /* never from within */
}

static void transfer(struct op *op, uint32_t kind, int fd, void *buf, size_t len, uint64_t offset)
{
	op->iov[0] = (struct iovec){buf, len};
	op->io = (struct vdb_io){.op = kind, .fd = fd, .iov = op->iov, .niov = 1, .offset = offset};
	submit(op);
}

static void op_on(struct op *op, uint32_t kind, int fd, int mode, uint64_t offset, uint64_t len)
{
	op->io = (struct vdb_io){.op = kind, .fd = fd, .mode = mode, .offset = offset, .len = len};
	submit(op);
}

static int64_t result_of(struct op *op)
{
	while (!op->done)
		test_turn(loop);
	ck_assert_int_eq(op->done, 1);
	op->done = 0;
	return op->result;
}

static void setup(void)
{
	loop = test_loop_new();
	file = memfd_create("io", MFD_CLOEXEC);
	ck_assert_int_ge(file, 0);
	ck_assert_int_eq(ftruncate(file, 1 << 20), 0);
}

static void setup_inline(void)
{
	struct vdb_loop_config config = test_loop_config();

	setup();
	test_loop_end(loop);
	config.pool_threads = 0;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
}

static void teardown(void)
{
	test_loop_end(loop);
	close(file);
}

START_TEST(writes_and_reads_with_one_piece_and_several)
{
	char a[3000], b[5000], back[8000];
	struct op op = {0};

	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	op.iov[0] = (struct iovec){a, sizeof(a)};
	op.iov[1] = (struct iovec){b, sizeof(b)};
	op.io = (struct vdb_io){.op = VDB_IO_WRITEV, .fd = file, .iov = op.iov, .niov = 2, .offset = 512};
	submit(&op);
	ck_assert_int_eq(result_of(&op), 8000);
	transfer(&op, VDB_IO_READV, file, back, sizeof(back), 512);
	ck_assert_int_eq(result_of(&op), 8000);
	ck_assert_int_eq(memcmp(back, a, sizeof(a)), 0);
	ck_assert_int_eq(memcmp(back + sizeof(a), b, sizeof(b)), 0);
	transfer(&op, VDB_IO_WRITEV, file, "xyz", 3, 100);
	ck_assert_int_eq(result_of(&op), 3);
	memset(back, 0, sizeof(back));
	op.iov[0] = (struct iovec){back, 1};
	op.iov[1] = (struct iovec){back + 1, 2};
	op.io = (struct vdb_io){.op = VDB_IO_READV, .fd = file, .iov = op.iov, .niov = 2, .offset = 100};
	submit(&op);
	ck_assert_int_eq(result_of(&op), 3);
	ck_assert_str_eq(back, "xyz");
	ck_assert_uint_eq(test_loop_stats(loop).ios, 4);
}
END_TEST

START_TEST(the_end_of_a_file_is_a_short_read)
{
	struct op op = {0};
	char buf[100];

	transfer(&op, VDB_IO_READV, file, buf, sizeof(buf), (1 << 20) - 40);
	ck_assert_int_eq(result_of(&op), 40);
	transfer(&op, VDB_IO_READV, file, buf, sizeof(buf), 1 << 20);
	ck_assert_int_eq(result_of(&op), 0);
	transfer(&op, VDB_IO_READV, file, buf, 0, 0);
	ck_assert_int_eq(result_of(&op), 0);
}
END_TEST

START_TEST(syncs_and_punches_holes)
{
	char buf[4096];
	struct op op = {0};

	memset(buf, 7, sizeof(buf));
	transfer(&op, VDB_IO_WRITEV, file, buf, sizeof(buf), 8192);
	ck_assert_int_eq(result_of(&op), 4096);
	op_on(&op, VDB_IO_FDATASYNC, file, 0, 0, 0);
	ck_assert_int_eq(result_of(&op), 0);
	op_on(&op, VDB_IO_FALLOCATE, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 4096);
	ck_assert_int_eq(result_of(&op), 0);
	transfer(&op, VDB_IO_READV, file, buf, sizeof(buf), 8192);
	ck_assert_int_eq(result_of(&op), 4096);
	for (size_t i = 0; i < sizeof(buf); i++)
		ck_assert_int_eq(buf[i], 0);
}
END_TEST

START_TEST(errors_are_results)
{
	int reader = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[2];
	struct op op = {0};
	char buf[8];

	transfer(&op, VDB_IO_READV, 999, buf, sizeof(buf), 0);
	ck_assert_int_eq(result_of(&op), -EBADF);
	transfer(&op, VDB_IO_WRITEV, reader, buf, sizeof(buf), 0);
	ck_assert_int_eq(result_of(&op), -EBADF);
	op_on(&op, VDB_IO_FDATASYNC, 999, 0, 0, 0);
	ck_assert_int_eq(result_of(&op), -EBADF);
	op_on(&op, VDB_IO_POLL, 999, POLLIN, 0, 0);
	ck_assert_int_eq(result_of(&op), -EBADF);
	op_on(&op, VDB_IO_FALLOCATE, file, 0x4000, 0, 4096);
	ck_assert_int_eq(result_of(&op), -EOPNOTSUPP);
	op_on(&op, VDB_IO_FALLOCATE, file, 0, 0, 0);
	ck_assert_int_eq(result_of(&op), -EINVAL);
	op_on(&op, 0, file, 0, 0, 0);
	ck_assert_int_eq(result_of(&op), -EINVAL);
	op_on(&op, 99, file, 0, 0, 0);
	ck_assert_int_eq(result_of(&op), -EINVAL);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	op_on(&op, VDB_IO_FDATASYNC, fds[0], 0, 0, 0);
	ck_assert_int_eq(result_of(&op), -EINVAL);
	transfer(&op, VDB_IO_READV, file, (void *)8, 4096, 0);
	ck_assert_int_eq(result_of(&op), -EFAULT);
	close(fds[0]);
	close(fds[1]);
	close(reader);
}
END_TEST

static void again(struct op *op)
{
	if (op->io.offset < 100) {
		op->io.offset++;
		vdb_io_submit(loop, &op->io);
	}
}

START_TEST(an_io_may_be_submitted_again_when_done)
{
	struct op op = {.then = again};
	char buf[8];

	transfer(&op, VDB_IO_READV, file, buf, sizeof(buf), 0);
	while (op.done < 101)
		test_turn(loop);
	test_settle(loop);
	ck_assert_int_eq(op.done, 101);
}
END_TEST

static void free_op(struct op *op)
{
	++*(int *)op->iov[3].iov_base;
	free(op);
}

START_TEST(an_io_may_be_freed_when_done)
{
	int freed = 0;
	char buf[64][8];

	for (int i = 0; i < 64; i++) {
		struct op *op = calloc(1, sizeof(*op));

		op->then = free_op;
		op->iov[3].iov_base = &freed;
		transfer(op, VDB_IO_READV, file, buf[i], sizeof(buf[i]), 0);
	}
	while (freed < 64)
		test_turn(loop);
}
END_TEST

START_TEST(polls_report_what_is_ready)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	struct op op = {0};

	op_on(&op, VDB_IO_POLL, fd, POLLOUT, 0, 0);
	ck_assert_int_eq(result_of(&op), POLLOUT);
	op_on(&op, VDB_IO_POLL, fd, POLLIN, 0, 0);
	test_settle(loop);
	ck_assert_int_eq(op.done, 0);
	eventfd_write(fd, 1);
	ck_assert_int_eq(result_of(&op) & POLLIN, POLLIN);
	eventfd_write(fd, 1);
	test_settle(loop);
	ck_assert_int_eq(op.done, 0); /* one shot */
	op_on(&op, VDB_IO_POLL, file, POLLIN, 0, 0);
	ck_assert_int_eq(result_of(&op), POLLIN); /* a file always is */
	close(fd);
}
END_TEST

START_TEST(several_may_wait_for_one_fd)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct op ops[5] = {0};

	for (int i = 0; i < 5; i++)
		op_on(&ops[i], VDB_IO_POLL, fd, POLLIN, 0, 0);
	test_settle(loop);
	eventfd_write(fd, 1);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(result_of(&ops[i]) & POLLIN, POLLIN);
	close(fd);
}
END_TEST

/* Blocking or not: what would block is waited for. */
START_TEST(a_pipe_is_waited_for)
{
	struct op op = {0}, full = {0};
	char buf[16] = "", *big = calloc(1, 1 << 20);
	int fds[2], flags = _i ? O_NONBLOCK : 0;
	ssize_t first, more = 0;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC | flags), 0);
	transfer(&op, VDB_IO_READV, fds[0], buf, sizeof(buf), 0);
	test_settle(loop);
	ck_assert_int_eq(op.done, 0);
	ck_assert_int_eq(write(fds[1], "hello", 5), 5);
	ck_assert_int_eq(result_of(&op), 5);
	ck_assert_str_eq(buf, "hello");

	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while ((first = write(fds[1], big, 1 << 20)) > 0)
		;
	fcntl(fds[1], F_SETFL, flags);
	transfer(&full, VDB_IO_WRITEV, fds[1], "tail", 4, 0);
	test_settle(loop);
	ck_assert_int_eq(full.done, 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (!full.done) {
		more += read(fds[0], big, 8192) > 0;
		ck_assert_int_lt(more, 1000);
		(void)test_turn_within(loop, 10);
	}
	ck_assert_int_eq(full.result, 4);
	close(fds[0]);
	close(fds[1]);
	free(big);
}
END_TEST

START_TEST(a_socket_is_waited_for)
{
	struct op op = {0};
	char buf[16] = "";
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	transfer(&op, VDB_IO_READV, fds[0], buf, sizeof(buf), 0);
	test_settle(loop);
	ck_assert_int_eq(op.done, 0);
	ck_assert_int_eq(write(fds[1], "hey", 3), 3);
	ck_assert_int_eq(result_of(&op), 3);
	close(fds[1]);
	transfer(&op, VDB_IO_READV, fds[0], buf, sizeof(buf), 0);
	ck_assert_int_eq(result_of(&op), 0);
	close(fds[0]);
}
END_TEST

START_TEST(a_device_without_poll_is_read)
{
	int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
	struct op op = {0};
	char buf[16] = "x";

	transfer(&op, VDB_IO_READV, zero, buf, sizeof(buf), 0);
	ck_assert_int_eq(result_of(&op), 16);
	ck_assert_int_eq(buf[0], 0);
	close(zero);
}
END_TEST

START_TEST(what_waits_is_cancelled)
{
	struct op ops[3] = {0};
	char buf[8];
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC | (_i & 2 ? O_NONBLOCK : 0)), 0);
	transfer(&ops[0], VDB_IO_READV, fds[0], buf, sizeof(buf), 0);
	op_on(&ops[1], VDB_IO_POLL, fds[0], POLLIN, 0, 0);
	transfer(&ops[2], VDB_IO_READV, fds[0], buf, sizeof(buf), 0);
	if (_i & 1)
		test_settle(loop);
	for (int i = 0; i < 3; i++) {
		vdb_io_cancel(loop, &ops[i].io);
		vdb_io_cancel(loop, &ops[i].io); /* once more is as good */
		ck_assert_int_eq(ops[i].done, 0);
	}
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(result_of(&ops[i]), -ECANCELED);
	test_settle(loop);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	test_settle(loop);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(ops[i].done, 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_ready_one_is_cancelled_or_not_but_once)
{
	struct op op = {0};
	char buf[8];
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	for (int i = 0; i < 100; i++) {
		transfer(&op, VDB_IO_READV, fds[0], buf, sizeof(buf), 0);
		test_settle(loop);
		ck_assert_int_eq(write(fds[1], "x", 1), 1);
		if (i & 1)
			ck_assert_int_ge(vdb_loop_prepare(loop), 0); /* may have fetched the event */
		vdb_io_cancel(loop, &op.io);
		if (result_of(&op) == -ECANCELED)
			ck_assert_int_eq(read(fds[0], buf, 1), 1);
		else
			ck_assert_int_eq(op.result, 1);
		test_settle(loop);
		ck_assert_int_eq(op.done, 0);
	}
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(disk_io_is_cancelled_or_done)
{
	struct op ops[64] = {0};
	char buf[64][512];

	for (int i = 0; i < 64; i++)
		transfer(&ops[i], VDB_IO_READV, file, buf[i], 512, 0);
	for (int i = 0; i < 64; i++)
		vdb_io_cancel(loop, &ops[i].io);
	for (int i = 0; i < 64; i++) {
		result_of(&ops[i]);
		ck_assert(ops[i].result == 512 || ops[i].result == -ECANCELED);
	}
}
END_TEST

/* Far more than the SQ holds, in one turn. */
START_TEST(a_small_submission_queue_is_no_limit)
{
	struct vdb_loop_config config = test_loop_config();
	struct op *ops = calloc(1000, sizeof(*ops));
	static char buf[1000][64];
	int fds[2];

	test_loop_end(loop);
	config.sq_entries = 2;
	config.cq_entries = 4;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	for (int i = 0; i < 1000; i++) {
		if (i % 4)
			transfer(&ops[i], VDB_IO_READV, file, buf[i], sizeof(buf[i]), 0);
		else
			op_on(&ops[i], VDB_IO_POLL, fds[0], POLLIN, 0, 0);
	}
	for (int i = 0; i < 1000; i += 8)
		vdb_io_cancel(loop, &ops[i].io);
	for (int i = 0; i < 1000; i++)
		if (i % 4 || i % 8 == 0)
			ck_assert_int_eq(result_of(&ops[i]), i % 4 ? 64 : -ECANCELED);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	for (int i = 4; i < 1000; i += 8)
		ck_assert_int_eq(result_of(&ops[i]), POLLIN);
	close(fds[0]);
	close(fds[1]);
	free(ops);
}
END_TEST

static void all_tests(TCase *tc)
{
	tcase_add_test(tc, writes_and_reads_with_one_piece_and_several);
	tcase_add_test(tc, the_end_of_a_file_is_a_short_read);
	tcase_add_test(tc, syncs_and_punches_holes);
	tcase_add_test(tc, errors_are_results);
	tcase_add_test(tc, an_io_may_be_submitted_again_when_done);
	tcase_add_test(tc, an_io_may_be_freed_when_done);
	tcase_add_test(tc, polls_report_what_is_ready);
	tcase_add_test(tc, several_may_wait_for_one_fd);
	tcase_add_loop_test(tc, a_pipe_is_waited_for, 0, 2);
	tcase_add_test(tc, a_socket_is_waited_for);
	tcase_add_test(tc, a_device_without_poll_is_read);
	tcase_add_loop_test(tc, what_waits_is_cancelled, 0, 4);
	tcase_add_test(tc, a_ready_one_is_cancelled_or_not_but_once);
	tcase_add_test(tc, disk_io_is_cancelled_or_done);
	tcase_add_test(tc, a_small_submission_queue_is_no_limit);
}

int main(void)
{
	TCase *pool = tcase_create("engine"), *own = tcase_create("no pool");
	int status;

	tcase_add_checked_fixture(pool, setup, teardown);
	all_tests(pool);
	status = test_run("io", pool);
	if (test_engine() != VDB_ENGINE_EPOLL)
		return status;
	tcase_add_checked_fixture(own, setup_inline, teardown);
	all_tests(own);
	return test_run("io on the loop's thread", own) | status;
}
