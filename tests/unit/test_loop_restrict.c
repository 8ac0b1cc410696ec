/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: io_uring_register */
/* LABELS: tsan */
/* A loop's ring takes what the loop submits, and nothing else: whoever has the ring cannot open a file by it.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/io.h>

#include "loop/engine_uring.h"
#include "run.h"
#include "turn.h"

static int refusal; /* of restrictions by the kernel */

int __real_io_uring_register(unsigned fd, unsigned opcode, void *arg, unsigned n);
int __wrap_io_uring_register(unsigned fd, unsigned opcode, void *arg, unsigned n);

int __wrap_io_uring_register(unsigned fd, unsigned opcode, void *arg, unsigned n)
{
	if (opcode == IORING_REGISTER_RESTRICTIONS && refusal)
		return refusal;
	return __real_io_uring_register(fd, opcode, arg, n);
}

/* NULL: io_uring is not to be had here. */
static struct vdb_loop *make_loop(uint32_t flags)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING, .flags = flags};
	struct vdb_loop *loop;

	if (vdb_loop_create(&config, &loop)) {
		test_skipped_part("a ring's restrictions", vdb_errmsg());
		return NULL;
	}
	ck_assert_int_ge(vdb_loop_step(loop), 0); /* the ring is this thread's, and enabled */
	return loop;
}

static struct io_uring *ring_of(struct vdb_loop *loop)
{
	return &vdb__uring_of(loop->engine)->ring;
}

static bool restricted(struct vdb_loop *loop)
{
	return test_loop_stats(loop).features & VDB_LOOP_HAS_RESTRICTIONS;
}

/* What the kernel says to one SQE, of somebody who got hold of the ring. */
static int submit(struct io_uring *ring, void (*prep)(struct io_uring_sqe *sqe))
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int res;

	ck_assert_ptr_nonnull(sqe);
	prep(sqe);
	io_uring_sqe_set_data64(sqe, TAG_NONE);
	ck_assert_int_ge(io_uring_submit(ring), 0);
	ck_assert_int_eq(io_uring_wait_cqe(ring, &cqe), 0);
	res = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

static void prep_openat(struct io_uring_sqe *sqe)
{
	io_uring_prep_openat(sqe, AT_FDCWD, "/dev/null", O_RDONLY, 0);
}

static void prep_connect(struct io_uring_sqe *sqe)
{
	static const struct sockaddr_in nowhere = {.sin_family = AF_INET};

	io_uring_prep_connect(sqe, 0, (const struct sockaddr *)&nowhere, sizeof(nowhere));
}

static void prep_sendmsg(struct io_uring_sqe *sqe)
{
	static const struct msghdr nothing;

	io_uring_prep_sendmsg(sqe, 0, &nothing, 0);
}

static void prep_unlinkat(struct io_uring_sqe *sqe)
{
	io_uring_prep_unlinkat(sqe, AT_FDCWD, "/nowhere/nothing", 0);
}

static void prep_linked(struct io_uring_sqe *sqe)
{
	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_IO_LINK;
}

static void prep_async(struct io_uring_sqe *sqe)
{
	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_ASYNC;
}

static void prep_nop(struct io_uring_sqe *sqe)
{
	io_uring_prep_nop(sqe);
}

static void (*const forbidden[])(struct io_uring_sqe *sqe) = {
        prep_openat, prep_connect, prep_sendmsg, prep_unlinkat, prep_linked, prep_async,
};
#define FORBIDDEN (sizeof(forbidden) / sizeof(forbidden[0]))

static const uint32_t ways[] = {0, VDB_LOOP_REGISTER_MEMORY, VDB_LOOP_IOPOLL};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

START_TEST(what_a_loop_never_submits_is_refused)
{
	struct vdb_loop *loop = make_loop(ways[_i]);

	if (!loop)
		return;
	if (restricted(loop)) {
		for (size_t i = 0; i < FORBIDDEN; i++)
			ck_assert_int_eq(submit(ring_of(loop), forbidden[i]), -EACCES);
		ck_assert_int_eq(submit(ring_of(loop), prep_nop), 0);
	} else {
		test_skipped_part("a ring's restrictions", "this kernel has none (before 5.10)");
	}
	test_loop_end(loop);
}
END_TEST

START_TEST(the_ring_that_is_polled_only_reads_and_writes)
{
	struct vdb_loop *loop = make_loop(VDB_LOOP_IOPOLL);
	struct uring *u;

	if (!loop)
		return;
	u = vdb__uring_of(loop->engine);
	if (restricted(loop) && u->has_polled) {
		ck_assert_int_eq(submit(&u->polled, prep_openat), -EACCES);
		ck_assert_int_eq(submit(&u->polled, prep_connect), -EACCES);
		ck_assert_int_eq(submit(&u->polled, prep_nop), -EACCES);
	} else {
		test_skipped_part("a polled ring's restrictions", "this kernel has no such ring");
	}
	test_loop_end(loop);
}
END_TEST

START_TEST(what_a_loop_never_registers_is_refused)
{
	struct vdb_loop *loop = make_loop(0);
	int bell;

	if (!loop)
		return;
	bell = eventfd(0, EFD_CLOEXEC);
	if (restricted(loop)) {
		ck_assert_int_eq(io_uring_register_eventfd(ring_of(loop), bell), -EACCES);
		ck_assert_int_eq(io_uring_register_personality(ring_of(loop)), -EACCES);
	}
	close(bell);
	test_loop_end(loop);
}
END_TEST

struct reading {
	struct vdb_io io;
	int64_t result;
};

static void done(struct vdb_io *io, int64_t result)
{
	((struct reading *)(void *)io)->result = result;
}

/* Files, memory and requests come and go while it runs, restricted or not. */
static void works(struct vdb_loop *loop)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct iovec iov = {page, sizeof(page)};
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct reading reading = {.io = {.op = VDB_IO_READV, .fd = fd, .iov = &iov, .niov = 1, .done = done},
	                          .result = INT64_MIN};

	ck_assert_int_ge(fd, 0);
	reading.io.file = vdb_io_file_add(loop, fd);
	vdb_io_submit(loop, &reading.io);
	while (reading.result == INT64_MIN)
		ck_assert_int_ge(vdb_loop_step(loop), 0);
	ck_assert_int_eq(reading.result, (int64_t)sizeof(page));
	vdb_io_file_remove(loop, reading.io.file);
	close(fd);
}

START_TEST(all_that_a_loop_does_it_still_does)
{
	struct vdb_loop *loop = make_loop(ways[_i]);

	if (!loop)
		return;
	works(loop);
	test_loop_end(loop);
}
END_TEST

START_TEST(an_old_kernel_has_no_restrictions_and_it_is_said)
{
	struct vdb_loop *loop;

	refusal = -EINVAL;
	loop = make_loop(ways[_i]);
	if (!loop)
		return;
	ck_assert(!restricted(loop));
	works(loop);
	test_loop_end(loop);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("restrict");

	tcase_add_loop_test(tc, what_a_loop_never_submits_is_refused, 0, WAYS);
	tcase_add_test(tc, the_ring_that_is_polled_only_reads_and_writes);
	tcase_add_test(tc, what_a_loop_never_registers_is_refused);
	tcase_add_loop_test(tc, all_that_a_loop_does_it_still_does, 0, WAYS);
	tcase_add_loop_test(tc, an_old_kernel_has_no_restrictions_and_it_is_said, 0, WAYS);
	return test_run("restrict", tc);
}
