/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: io_uring_queue_init_params io_uring_submit io_uring_submit_and_wait */
/* WRAP: io_uring_submit_and_get_events io_uring_register_ring_fd */
/* Kernels that know less, and kernels that are short of memory: played by wrappers of liburing. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/io.h>

#include "base/atomic.h"
#include "loop/uring.h"
#include "run.h"
#include "source.h"
#include "turn.h"

static unsigned unknown;        /* flags that this kernel refuses */
static int refusal = -EINVAL;   /* how */
static unsigned lacks;          /* features */
static unsigned hiccups, calls; /* of `hiccups` submissions only one gets through */
static const int hiccup_errors[] = {EAGAIN, EBUSY, EINTR};

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);
int __real_io_uring_submit_and_get_events(struct io_uring *ring);
int __real_io_uring_register_ring_fd(struct io_uring *ring);
int __wrap_io_uring_register_ring_fd(struct io_uring *ring);
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring);

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
	int err = p->flags & unknown ? refusal : __real_io_uring_queue_init_params(entries, ring, p);

	p->features &= ~lacks;
	return err;
}

static int ring_fd_error;

int __wrap_io_uring_register_ring_fd(struct io_uring *ring)
{
	return ring_fd_error ? ring_fd_error : __real_io_uring_register_ring_fd(ring);
}

/* What is not on the list could be forbidden to the ring. */
static void check_opcodes(const struct io_uring *ring)
{
	unsigned entries = ring->sq.ring_entries;

	for (unsigned i = *ring->sq.khead; i != ring->sq.sqe_tail; i++)
		if (!vdb__uring_submits(ring->sq.sqes[i & (entries - 1)].opcode))
			abort();
}

static bool strict; /* takes nothing while there is anything to be reaped */

static int hiccup(const struct io_uring *ring)
{
	check_opcodes(ring);
	if (__atomic_load_n(&strict, __ATOMIC_RELAXED) && io_uring_cq_ready(ring))
		return -EBUSY;
	if (!hiccups || ++calls % hiccups == 0)
		return 0;
	return -hiccup_errors[calls % 3];
}

int __wrap_io_uring_submit(struct io_uring *ring)
{
	int err = hiccup(ring);

	return err ? err : __real_io_uring_submit(ring);
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait)
{
	int err = hiccup(ring);

	return err ? err : __real_io_uring_submit_and_wait(ring, wait);
}

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
	int err = hiccup(ring);

	return err ? err : __real_io_uring_submit_and_get_events(ring);
}

struct read {
	struct vdb_io io;
	struct iovec iov;
	char buf[64];
	int64_t result;
	uint32_t done;
};

static struct vdb_loop *loop;
static uint64_t features, flags; /* while it ran */
static struct fake fakes[20];
static struct read reads[50], stuck;
static int file, fds[2];

static void read_done(struct vdb_io *io, int64_t result)
{
	struct read *read = vdb__container(io, struct read, io);

	read->result = result;
	vdb__store_release(&read->done, 1);
}

static void start_read(struct read *read, int fd)
{
	read->iov = (struct iovec){read->buf, sizeof(read->buf)};
	read->io = (struct vdb_io){
	        .op = VDB_IO_READV, .fd = fd, .iov = &read->iov, .niov = 1, .done = read_done};
	vdb_io_submit(loop, &read->io);
}

static int start_reads(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++)
		start_read(&reads[i], file);
	start_read(&stuck, fds[0]);
	return 0;
}

static int leave(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++)
		fake_remove(&fakes[i]);
	return 0;
}

/* Bells, disk, posts, a change of thread, an end with a read pending. */
static void work(struct vdb_loop_config config)
{
	config.size = sizeof(config);
	config.engine = VDB_ENGINE_URING;
	ck_assert_msg(!vdb_loop_create(&config, &loop), "%s", vdb_errmsg());
	ck_assert_uint_eq(test_loop_stats(loop).uring_flags & unknown, 0);
	file = memfd_create("kernels", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(file, 4096), 0);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	for (int i = 0; i < 20; i++)
		fake_add(loop, &fakes[i], NULL, 1);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_call(loop, start_reads, NULL), 0);
	features = test_loop_stats(loop).features;
	flags = test_loop_stats(loop).uring_flags;
	for (uint64_t round = 0; round < 20; round++) {
		for (int i = 0; i < 20; i++)
			fake_produce(&fakes[i], 1);
		for (int i = 0; i < 20; i++)
			while (vdb__load_acquire(&fakes[i].work))
				usleep(100);
	}
	for (int i = 0; i < 50; i++) {
		while (!vdb__load_acquire(&reads[i].done))
			usleep(100);
		ck_assert_int_eq(reads[i].result, 64);
	}
	ck_assert_int_eq(vdb_loop_call(loop, leave, NULL), 0);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_uint_eq(stuck.done, 0);
	test_loop_end(loop);
	ck_assert_int_eq(stuck.result, -ECANCELED);
	for (int i = 0; i < 20; i++) {
		ck_assert_uint_eq(fakes[i].served, 20);
		ck_assert_int_eq(fakes[i].gone, 1);
	}
}

static const unsigned age[] = {
        0,
        IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_SINGLE_ISSUER,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_R_DISABLED,
};

static const unsigned known = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
                              IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                              IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED;

START_TEST(older_kernels_do)
{
	for (int i = 0; i <= _i; i++)
		unknown |= age[i];
	work((struct vdb_loop_config){0});
	ck_assert_uint_eq(flags & known & ~unknown, known & ~unknown);
}
END_TEST

START_TEST(hiccups_lose_nothing)
{
	hiccups = (unsigned)_i;
	work((struct vdb_loop_config){.sq_entries = 2});
	ck_assert_uint_gt(calls, 10);
}
END_TEST

/* What cannot do without it goes as well, nothing else. */
START_TEST(one_unknown_flag_costs_no_other)
{
	unsigned with = 0;

	unknown = age[_i];
	if (unknown & (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_TASKRUN_FLAG))
		with = IORING_SETUP_DEFER_TASKRUN;
	if (unknown & IORING_SETUP_R_DISABLED)
		with = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER;
	work((struct vdb_loop_config){0});
	ck_assert_uint_eq(flags & known, known & ~unknown & ~with);
}
END_TEST

START_TEST(a_ring_that_cannot_be_known_serves_by_its_fd)
{
	ring_fd_error = -EINVAL;
	work((struct vdb_loop_config){0});
	ck_assert_uint_eq(features & VDB_LOOP_HAS_RING_FD, 0);
}
END_TEST

START_TEST(the_ring_is_known_to_the_thread_that_stays)
{
	work((struct vdb_loop_config){0});
	if (!(features & VDB_LOOP_HAS_RING_FD))
		(void)fprintf(stderr, "this kernel has no registered ring fds\n");
}
END_TEST

START_TEST(a_kernel_thread_submits)
{
	struct vdb_loop_config config = {.flags = VDB_LOOP_SQPOLL, .sq_idle_ms = 5};

	config.sq_entries = (uint32_t)_i;
	config.sq_cpu = _i == 2;
	work(config);
	if (!(features & VDB_LOOP_HAS_SQPOLL)) {
		(void)fprintf(stderr, "this kernel gives no thread\n");
		return;
	}
	ck_assert_uint_ne(flags & IORING_SETUP_SQPOLL, 0);
	ck_assert_uint_eq(flags & (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN), 0);
}
END_TEST

START_TEST(without_a_kernel_thread_the_loop_submits)
{
	unknown = IORING_SETUP_SQPOLL;
	refusal = _i ? -EPERM : -EINVAL;
	work((struct vdb_loop_config){.flags = VDB_LOOP_SQPOLL});
	ck_assert_uint_eq(features & VDB_LOOP_HAS_SQPOLL, 0);
	ck_assert_uint_eq(flags & known, known);
}
END_TEST

START_TEST(no_such_cpu_is_no_kernel_thread)
{
	work((struct vdb_loop_config){.flags = VDB_LOOP_SQPOLL, .sq_cpu = 1u << 20});
	ck_assert_uint_eq(features & VDB_LOOP_HAS_SQPOLL, 0);
}
END_TEST

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static int end_another(void *arg)
{
	return vdb_loop_destroy(arg);
}

/* Each thread numbers its rings for itself: the end of one on another's thread must not take that one's. */
START_TEST(the_end_of_one_loop_leaves_another_its_ring)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};
	struct vdb_loop *other;

	ck_assert_int_eq(vdb_loop_create(&config, &other), 0);
	ck_assert_int_eq(vdb_loop_start(other, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_call(other, nothing, NULL), 0);
	ck_assert_int_eq(vdb_loop_join(other), 0);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_call(loop, end_another, other), 0);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(vdb_loop_call(loop, nothing, NULL), 0);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_uint_eq(test_loop_stats(loop).features & VDB_LOOP_HAS_RING_FD, 0);
	test_loop_end(loop);
}
END_TEST

static int wait_for_nothing(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++)
		start_read(&reads[i], fds[0]);
	return 0;
}

static void end_thread(int (*last)(void *arg))
{
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_call(loop, last, NULL), 0);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
}

/* A thread that ends takes back what is in flight; to cancel it all takes room, which only
 * reaping makes. */
START_TEST(a_full_completion_queue_does_not_hold_up_an_end)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING, .sq_entries = 2};

	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	strict = true;
	end_thread(wait_for_nothing);
	end_thread(nothing);
	for (int i = 0; i < 50; i++)
		ck_assert_uint_eq(reads[i].done, 0);
	test_loop_end(loop);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(reads[i].result, -ECANCELED);
}
END_TEST

START_TEST(no_multishot_poll_is_no_io_uring)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};

	lacks = IORING_FEAT_RSRC_TAGS;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), -ENOSYS);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "multishot"));
	config.engine = VDB_ENGINE_AUTO;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_uint_eq(test_loop_stats(loop).engine, VDB_ENGINE_EPOLL);
	test_loop_end(loop);
}
END_TEST

START_TEST(all_flags_refused_is_no_io_uring)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};

	unknown = ~0u;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), -ENOSYS);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "EINVAL"));
}
END_TEST

int main(void)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};
	TCase *tc = tcase_create("kernels");

	if (vdb_loop_create(&config, &loop)) {
		(void)fprintf(stderr, "no io_uring here: %s\n", vdb_errmsg());
		return 77;
	}
	(void)!vdb_loop_destroy(loop);
	tcase_add_loop_test(tc, older_kernels_do, 0, 6);
	tcase_add_loop_test(tc, one_unknown_flag_costs_no_other, 1, 6);
	tcase_add_loop_test(tc, hiccups_lose_nothing, 2, 5);
	tcase_add_test(tc, a_ring_that_cannot_be_known_serves_by_its_fd);
	tcase_add_test(tc, the_ring_is_known_to_the_thread_that_stays);
	tcase_add_test(tc, the_end_of_one_loop_leaves_another_its_ring);
	tcase_add_loop_test(tc, a_kernel_thread_submits, 0, 5);
	tcase_add_loop_test(tc, without_a_kernel_thread_the_loop_submits, 0, 2);
	tcase_add_test(tc, no_such_cpu_is_no_kernel_thread);
	tcase_add_test(tc, a_full_completion_queue_does_not_hold_up_an_end);
	tcase_add_test(tc, no_multishot_poll_is_no_io_uring);
	tcase_add_test(tc, all_flags_refused_is_no_io_uring);
	return test_run("kernels", tc);
}
