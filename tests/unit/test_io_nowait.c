/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* I/O that waits for nothing: in order, all of a turn in one call, and where the kernel has another way. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vdb/io.h>

#include "base/list.h"
#include "run.h"
#include "turn.h"

#define MANY 64

static struct vdb_loop *loop;
static int fds[2]; /* a pair of packet sockets */

struct op {
	struct vdb_io io;
	struct iovec iov[2];
	char bytes[64];
	int64_t result;
	int done; /* 1 = the first of all */
};

static int done;

static void finish(struct vdb_io *io, int64_t result)
{
	struct op *op = vdb__container(io, struct op, io);

	ck_assert_int_eq(op->done, 0);
	op->done = ++done;
	op->result = result;
}

static void submit(struct op *op, uint32_t kind, int fd, size_t len)
{
	op->done = 0;
	op->iov[0] = (struct iovec){op->bytes, len / 2};
	op->iov[1] = (struct iovec){op->bytes + len / 2, len - len / 2};
	op->io = (struct vdb_io){.op = kind,
	                         .fd = fd,
	                         .iov = op->iov,
	                         .niov = 2,
	                         .file = op->io.file,
	                         .flags = VDB_IO_NOWAIT,
	                         .offset = UINT64_MAX,
	                         .done = finish};
	vdb_io_submit(loop, &op->io);
	ck_assert_int_eq(op->done, 0); /* never from within */
}

static int64_t result_of(struct op *op)
{
	while (!op->done)
		test_turn(loop);
	return op->result;
}

static int64_t once(struct op *op, uint32_t kind, int fd, size_t len)
{
	submit(op, kind, fd, len);
	return result_of(op);
}

static bool is_uring(void)
{
	return test_loop_stats(loop).engine == VDB_ENGINE_URING;
}

static void setup(void)
{
	loop = test_loop_new();
	done = 0;
	ck_assert_int_ge(vdb_loop_step(loop), 0); /* it is this thread's */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
}

static void teardown(void)
{
	test_loop_end(loop);
	close(fds[0]);
	close(fds[1]);
}

START_TEST(what_is_not_there_is_not_waited_for)
{
	struct op op = {0};

	ck_assert_int_eq(once(&op, VDB_IO_READV, fds[0], 64), -EAGAIN);
	ck_assert_int_eq(send(fds[1], "packet", 6, 0), 6);
	test_settle(loop);
	ck_assert_int_eq(once(&op, VDB_IO_READV, fds[0], 64), 6);
	ck_assert_mem_eq(op.bytes, "packet", 6);
	ck_assert_int_eq(once(&op, VDB_IO_READV, fds[0], 64), -EAGAIN);
}
END_TEST

START_TEST(what_finds_no_room_is_not_waited_for)
{
	struct op op = {0};
	int64_t sent = 0, got;

	while ((got = once(&op, VDB_IO_WRITEV, fds[0], 64)) == 64)
		ck_assert_int_lt(++sent, 1 << 20);
	ck_assert_int_eq(got, -EAGAIN);
	while (recv(fds[1], op.bytes, sizeof(op.bytes), 0) == 64)
		sent--;
	ck_assert_int_eq(sent, 0);
	ck_assert_int_eq(once(&op, VDB_IO_WRITEV, fds[0], 64), 64);
}
END_TEST

static void check_burst(struct op *ops, int there)
{
	for (int i = 0; i < MANY; i++) {
		(void)result_of(&ops[i]);
		ck_assert_int_eq(ops[i].done, i + 1);
		if (i >= there) {
			ck_assert_int_eq(ops[i].result, -EAGAIN);
			continue;
		}
		ck_assert_int_eq(ops[i].result, 2);
		ck_assert_int_eq(ops[i].bytes[0], i);
		ck_assert_int_eq(ops[i].bytes[1], ~i);
	}
}

/* By numbers, and without. */
START_TEST(a_burst_is_done_in_order)
{
	uint32_t file = _i ? vdb_io_file_add(loop, fds[0]) : 0;
	struct op *ops = calloc(MANY, sizeof(*ops));
	const int there[] = {0, 1, 17, MANY};

	ck_assert_ptr_nonnull(ops);
	for (unsigned n = 0; n < sizeof(there) / sizeof(there[0]); n++) {
		for (int i = 0; i < there[n]; i++) {
			char packet[2] = {(char)i, (char)~i};

			ck_assert_int_eq(send(fds[1], packet, 2, 0), 2);
		}
		test_settle(loop);
		done = 0;
		for (int i = 0; i < MANY; i++) {
			ops[i].io.file = file;
			submit(&ops[i], VDB_IO_READV, fds[0], 64);
		}
		check_burst(ops, there[n]);
	}
	vdb_io_file_remove(loop, file);
	free(ops);
}
END_TEST

/* One call hands all of them over, and they are done with it. */
START_TEST(a_burst_is_one_system_call)
{
	struct op *ops = calloc(MANY, sizeof(*ops));
	uint64_t before, nowaits;

	ck_assert_ptr_nonnull(ops);
	for (int i = 0; i < MANY; i++)
		ck_assert_int_eq(send(fds[1], "x", 1, 0), 1);
	test_settle(loop);
	before = test_loop_stats(loop).enters;
	nowaits = test_loop_stats(loop).nowaits;
	for (int i = 0; i < MANY; i++)
		submit(&ops[i], VDB_IO_READV, fds[0], 64);
	for (int i = 0; i < MANY; i++)
		ck_assert_int_eq(result_of(&ops[i]), 1);
	/* The turns that it takes, and no more; an old kernel's sockets are read one by one. */
	if (is_uring() && test_loop_stats(loop).nowaits == nowaits)
		ck_assert_uint_le(test_loop_stats(loop).enters - before, 4);
	else
		ck_assert_uint_eq(test_loop_stats(loop).nowaits - nowaits, MANY);
	free(ops);
}
END_TEST

/* An inotify fd is none of those that can be told not to wait but by O_NONBLOCK. */
START_TEST(a_file_that_cannot_be_asked_is_read_by_itself)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	uint32_t file = vdb_io_file_add(loop, fd);
	struct op op = {.io.file = file};
	uint64_t calls;

	ck_assert_int_ge(fd, 0);
	for (uint64_t i = 1; i <= 3; i++) {
		ck_assert_int_eq(once(&op, VDB_IO_READV, fd, 64), -EAGAIN);
		ck_assert_uint_eq(test_loop_stats(loop).nowaits, i);
	}
	ck_assert_uint_eq(test_loop_stats(loop).nowait_hits, 0);
	calls = test_loop_stats(loop).fixed_files;
	ck_assert_uint_le(calls, 1); /* and does not come by the ring again */
	op.io.file = 0;
	ck_assert_int_eq(once(&op, VDB_IO_READV, fd, 64), -EAGAIN);
	vdb_io_file_remove(loop, file);
	close(fd);
}
END_TEST

START_TEST(errors_are_results)
{
	struct op op = {0};

	ck_assert_int_eq(once(&op, VDB_IO_READV, 999, 64), -EBADF);
	close(fds[1]);
	fds[1] = -1;
	ck_assert_int_eq(once(&op, VDB_IO_READV, fds[0], 64), 0);
}
END_TEST

START_TEST(flags_that_do_not_fit_are_refused)
{
	static const struct {
		uint32_t op, flags;
	} wrong[] = {{VDB_IO_POLL, VDB_IO_NOWAIT},      {VDB_IO_FDATASYNC, VDB_IO_NOWAIT},
	             {VDB_IO_FALLOCATE, VDB_IO_NOWAIT}, {VDB_IO_READV, VDB_IO_NOWAIT | VDB_IO_DIRECT},
	             {VDB_IO_READV, 1u << 2},           {VDB_IO_WRITEV, VDB_IO_NOWAIT | 1u << 31}};
	struct op op = {0};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		op.done = 0;
		op.iov[0] = (struct iovec){op.bytes, 1};
		op.io = (struct vdb_io){.op = wrong[i].op,
		                        .fd = fds[0],
		                        .iov = op.iov,
		                        .niov = 1,
		                        .flags = wrong[i].flags,
		                        .done = finish};
		vdb_io_submit(loop, &op.io);
		ck_assert_int_eq(result_of(&op), -EINVAL);
	}
}
END_TEST

START_TEST(it_ends_at_once_when_cancelled)
{
	struct op ops[2] = {0};

	submit(&ops[0], VDB_IO_READV, fds[0], 64);
	submit(&ops[1], VDB_IO_READV, fds[0], 64);
	vdb_io_cancel(loop, &ops[0].io);
	vdb_io_cancel(loop, &ops[1].io);
	for (int i = 0; i < 2; i++) {
		int64_t result = result_of(&ops[i]);

		ck_assert(result == -ECANCELED || result == -EAGAIN);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("nowait");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_not_there_is_not_waited_for);
	tcase_add_test(tc, what_finds_no_room_is_not_waited_for);
	tcase_add_loop_test(tc, a_burst_is_done_in_order, 0, 2);
	tcase_add_test(tc, a_burst_is_one_system_call);
	tcase_add_test(tc, a_file_that_cannot_be_asked_is_read_by_itself);
	tcase_add_test(tc, errors_are_results);
	tcase_add_test(tc, flags_that_do_not_fit_are_refused);
	tcase_add_test(tc, it_ends_at_once_when_cancelled);
	return test_run("io that does not wait", tc);
}
