/* SPDX-License-Identifier: Apache-2.0 */
/* FAULTS */
/* WRAP: io_uring_register_ring_fd io_uring_register_files io_uring_register_buffers_sparse */
/* WRAP: io_uring_register_iowq_max_workers */
/* io_uring that is short of memory, overflows, is old, forbidden or absent: F9 to F13, F17 and F30. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vdb/error.h>

#include "fault.h"
#include "forbid.h"
#include "image.h"
#include "rig.h"
#include "run.h"
#include "turn.h"

#define GUESTS 100
#define SIZE (1u << 20)
#define SMALL_RAM 0x60000u

static char path[64];
static unsigned char bytes[SIZE];
static struct vdb_backend *backend;
static struct rig rig;
static struct rig_guest guests[GUESTS];

static void open_disk(void)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = path};

	image_make(path, SIZE, 5);
	image_pattern(bytes, SIZE, 5);
	ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
}

static void setup(struct vdb_loop_config config, unsigned n)
{
	config.size = sizeof(config);
	config.pool_threads = -1;
	open_disk();
	rig_open(&rig, &config);
	for (unsigned i = 0; i < n; i++)
		rig_join(&rig, &guests[i], &(struct rig_guest_config){.backend = backend, .ram = SMALL_RAM});
}

static void teardown(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		rig_leave(&guests[i]);
	rig_close(&rig);
	vdb_backend_destroy(backend);
	unlink(path);
	ck_assert_uint_eq(fault_left(), 0);
}

static uint64_t offset_of(unsigned guest, unsigned round)
{
	return (guest * 4096 + round * 512) % SIZE;
}

static void submit(unsigned i, unsigned round)
{
	ck_assert(mock_submit(&guests[i].m, VDB_OP_READ, RIG_DATA, 512, offset_of(i, round), round));
}

static void check(unsigned i, unsigned round)
{
	struct vdb_cqe cqe = rig_reap(&guests[i]);

	ck_assert_uint_eq(cqe.user_data, round);
	ck_assert_int_eq(cqe.result, 512);
	ck_assert_mem_eq(rig_at(&guests[i], RIG_DATA), bytes + offset_of(i, round), 512);
}

static void serve_all(unsigned n, unsigned rounds)
{
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < n; i++)
			submit(i, round);
		for (unsigned i = 0; i < n; i++)
			check(i, round);
	}
}

/* ---- F9: the CQ is full ---- */

/* All doorbells at once, and the disk's answers, in a CQ of 16: polls are ended by the kernel, and armed
 * again; no ring is forgotten. */
START_TEST(f9_a_full_cq_loses_no_doorbell)
{
	struct vdb_loop_config config = {.engine = VDB_ENGINE_URING, .sq_entries = 8, .cq_entries = 16};

	fault_always(FAULT_READ, 512); /* each goes by way of the ring, none by RWF_NOWAIT */
	setup(config, GUESTS);
	for (unsigned round = 0; round < 10; round++) {
		/* Idle as far as it goes, so that all bells ring at once. */
		for (int i = 0; i < 1000 && vdb_loop_prepare(rig.loop) == 0; i++)
			rig_turns(&rig, 1);
		for (unsigned i = 0; i < GUESTS; i++) {
			submit(i, round);
			ck_assert_int_eq(eventfd_write(guests[i].m.kick, 1), 0);
		}
		for (unsigned i = 0; i < GUESTS; i++)
			check(i, round);
	}
	ck_assert_uint_gt(test_loop_stats(rig.loop).rearms, 0); /* it did overflow */
	teardown(GUESTS);
}
END_TEST

/* The same told by the kernel: polls end, whatever the reason. */
START_TEST(f9_polls_that_end_are_armed_again)
{
	static const int errors[] = {0, -ECANCELED, -ENOMEM, -EINTR};

	for (int i = 0; i < 8; i++)
		fault_say(FAULT_POLL, errors[i % 4]);
	setup((struct vdb_loop_config){.engine = VDB_ENGINE_URING}, 4);
	serve_all(4, 10);
	ck_assert_uint_ge(test_loop_stats(rig.loop).rearms, 8);
	teardown(4);
}
END_TEST

/* ---- F10: the SQ is full ---- */

START_TEST(f10_a_submission_queue_of_one)
{
	struct vdb_loop_config config = {.engine = VDB_ENGINE_URING, .sq_entries = 1, .cq_entries = 64};
	struct vdb_loop_stats stats;

	fault_always(FAULT_READ, 512);
	setup(config, 20);
	serve_all(20, 20);
	stats = test_loop_stats(rig.loop);
	/* What finds no room waits; it is not tried again and again. */
	ck_assert_uint_lt(stats.enters, 20 * stats.ios);
	teardown(20);
}
END_TEST

/* ---- F11: io_uring_enter() fails ---- */

START_TEST(f11_what_passes_is_waited_out)
{
	static const int errors[] = {EINTR, EAGAIN, ENOMEM, EBUSY};

	setup((struct vdb_loop_config){.engine = VDB_ENGINE_URING, .sq_entries = 2}, 4);
	for (unsigned round = 0; round < 12; round++) {
		for (int i = 0; i < 3; i++)
			fault_say(FAULT_ENTER, -errors[round % 4]);
		fault_say(FAULT_READ, 256); /* not by RWF_NOWAIT */
		for (unsigned i = 0; i < 4; i++)
			submit(i, round);
		for (unsigned i = 0; i < 4; i++)
			check(i, round);
	}
	while (fault_left())
		rig_turns(&rig, 1);
	teardown(4);
}
END_TEST

/* For good: the loop says so, each request ends, with that error, and so does the loop. */
START_TEST(f11_what_does_not_pass_is_said)
{
	struct vdb_cqe cqe;

	setup((struct vdb_loop_config){.engine = VDB_ENGINE_URING}, 2);
	fault_hold(FAULT_READ);
	submit(0, 0);
	while (!fault_held())
		rig_wait(&rig);
	fault_always(FAULT_ENTER, -ENXIO);
	submit(1, 0);
	while (vdb_loop_prepare(rig.loop) >= 0 && vdb_loop_step(rig.loop) >= 0)
		;
	ck_assert_int_eq(vdb_loop_step(rig.loop), -ENXIO);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "destroy the loop"));
	while (!vdb_guest_reap(&guests[0].m.g, &cqe))
		ck_assert_int_eq(vdb_loop_step(rig.loop), -ENXIO);
	ck_assert_int_eq(cqe.result, -ENXIO);
	fault_release();
	for (int i = 0; i < 2; i++)
		vdb_lane_destroy(guests[i].lane, NULL, NULL);
	rig_close(&rig);
	for (int i = 0; i < 2; i++) {
		mock_close(&guests[i].m);
		mock_ram_close(&guests[i].ram);
	}
	vdb_backend_destroy(backend);
	unlink(path);
}
END_TEST

/* ---- F12: there is none ---- */

static const struct {
	int err, told;
	const char *word;
} absences[] = {
        {ENOSYS, ENOSYS, "ENOSYS"},    /* a kernel without */
        {EPERM, EPERM, "forbidden"},   /* seccomp, kernel.io_uring_disabled */
        {EACCES, EPERM, "forbidden"},  /* SELinux and the like */
        {ENOMEM, ENOMEM, "io_uring_"}, /* F13: RLIMIT_MEMLOCK of old kernels, or no memory */
};

START_TEST(f12_without_io_uring_all_is_served)
{
	forbid(absences[_i].err);
	setup((struct vdb_loop_config){0}, 4);
	ck_assert_uint_eq(test_loop_stats(rig.loop).engine, VDB_ENGINE_EPOLL);
	serve_all(4, 10);
	ck_assert_int_eq(rig_do(&guests[0], VDB_OP_WRITE, RIG_DATA, 512, 0), 512);
	ck_assert_int_eq(rig_do(&guests[0], VDB_OP_FLUSH, 0, 0, 0), 0);
	teardown(4);
}
END_TEST

START_TEST(f12_who_insists_is_told_why_not)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};
	struct vdb_loop *loop = NULL;

	forbid(absences[_i].err);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), -absences[_i].told);
	ck_assert_ptr_null(loop);
	ck_assert_msg(strstr(vdb_errmsg(), absences[_i].word) != NULL, "%s", vdb_errmsg());
}
END_TEST

/* ---- F13: no memory for it ---- */

static void serve_registered(unsigned n, uint64_t refused)
{
	struct vdb_loop_stats stats;

	setup((struct vdb_loop_config){.engine = VDB_ENGINE_URING, .flags = VDB_LOOP_REGISTER_MEMORY}, n);
	serve_all(n, 10);
	stats = test_loop_stats(rig.loop);
	ck_assert_uint_ge(stats.memory_refused, refused);
	ck_assert_uint_eq(stats.memory + stats.memory_refused, n * (uint64_t)SMALL_RAM);
	teardown(n);
}

/* Played, since root may lock as much as it likes. */
START_TEST(f13_memory_that_cannot_be_pinned_is_served_unpinned)
{
	static const int errors[] = {ENOMEM, EFAULT, EOPNOTSUPP};

	fault_always(FAULT_BUFFERS, -errors[_i]);
	serve_registered(2, 2 * SMALL_RAM);
	ck_assert_uint_eq(fault_asked(FAULT_BUFFERS), 2);
}
END_TEST

/* The real limit, as a user of its own: it holds for all of a user's processes, and not for root. The ring
 * itself counts, too. */
START_TEST(f13_rlimit_memlock)
{
	struct rlimit limit = {2u << 20, 2u << 20};
	unsigned user = 1000000 + (unsigned)getpid();

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (geteuid() != 0 || setgid(user) || setuid(user)) {
		test_skipped_part("RLIMIT_MEMLOCK", "only root can become a user that has nothing else");
		return;
	}
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0); /* or leaks cannot be looked for */
	serve_registered(8, SMALL_RAM);
}
END_TEST

/* ---- F17: threads of the kernel's ---- */

#define FILES 64

struct job {
	struct vdb_io io;
	struct iovec iov;
	uint32_t *left;
};

static void job_done(struct vdb_io *io, int64_t result)
{
	ck_assert_int_eq(result, 0);
	__atomic_sub_fetch(((struct job *)io)->left, 1, __ATOMIC_RELEASE);
}

static struct vdb_loop *loop;
static struct job jobs[FILES];
static int fds[FILES];
static uint32_t left;

static int start_jobs(void *arg)
{
	(void)arg;
	for (int i = 0; i < FILES; i++) {
		jobs[i] = (struct job){
		        .io = {.op = VDB_IO_FALLOCATE, .fd = fds[i], .len = SIZE, .done = job_done},
		        .left = &left,
		};
		vdb_io_submit(loop, &jobs[i].io);
	}
	return 0;
}

static unsigned kernel_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		char name[300], text[32] = {0};
		int fd;

		(void)snprintf(name, sizeof(name), "/proc/self/task/%s/comm", entry->d_name);
		fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n += read(fd, text, sizeof(text) - 1) > 0 && !strncmp(text, "iou-wrk", 7);
		close(fd);
	}
	closedir(dir);
	return n;
}

static struct io_uring *told; /* of a limit */

int __real_io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned *values);
int __wrap_io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned *values);
int __wrap_io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned *values)
{
	told = ring;
	return __real_io_uring_register_iowq_max_workers(ring, values);
}

static int ask_limits(void *values)
{
	return __real_io_uring_register_iowq_max_workers(told, values);
}

static void start_limited(uint32_t workers)
{
	struct vdb_loop_config config = {
	        .size = sizeof(config), .engine = VDB_ENGINE_URING, .io_workers = workers};

	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
}

static void end_limited(void)
{
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
}

/* What the kernel says of itself, once it has begun to make some. */
START_TEST(f17_the_kernel_knows_its_limits)
{
	for (unsigned workers = 0; workers < 4; workers += 3) {
		unsigned values[2] = {0, 0};

		start_limited(workers);
		for (int i = 0; i < FILES; i++)
			fds[i] = memfd_create("workers", MFD_CLOEXEC);
		left = FILES;
		ck_assert_int_eq(vdb_loop_call(loop, start_jobs, NULL), 0);
		while (__atomic_load_n(&left, __ATOMIC_ACQUIRE))
			usleep(100);
		ck_assert_int_eq(vdb_loop_call(loop, ask_limits, values), 0);
		ck_assert_uint_eq(values[1], workers ? workers : 64);
		if (workers)
			ck_assert_uint_eq(values[0], workers);
		end_limited();
		for (int i = 0; i < FILES; i++)
			close(fds[i]);
	}
}
END_TEST

/* Each of these may wait in a thread of the kernel's, of which there would be four for each CPU. */
START_TEST(f17_kernel_threads_are_bounded)
{
	unsigned most = 0;

	start_limited(2);
	for (int i = 0; i < FILES; i++)
		fds[i] = memfd_create("workers", MFD_CLOEXEC);
	for (int round = 0; round < 5; round++) {
		__atomic_store_n(&left, FILES, __ATOMIC_RELEASE);
		ck_assert_int_eq(vdb_loop_call(loop, start_jobs, NULL), 0);
		do {
			unsigned n = kernel_threads();

			most = n > most ? n : most;
		} while (__atomic_load_n(&left, __ATOMIC_ACQUIRE));
		for (int i = 0; i < FILES; i++)
			ck_assert_int_eq(ftruncate(fds[i], 0), 0);
	}
	ck_assert_uint_ge(most, 1);
	ck_assert_uint_le(most, 2 + 2);
	end_limited();
	for (int i = 0; i < FILES; i++)
		close(fds[i]);
}
END_TEST

/* ---- F30: an old one ---- */

static bool bare; /* it registers nothing */

int __real_io_uring_register_ring_fd(struct io_uring *ring);
int __wrap_io_uring_register_ring_fd(struct io_uring *ring);
int __real_io_uring_register_files(struct io_uring *ring, const int *files, unsigned n);
int __wrap_io_uring_register_files(struct io_uring *ring, const int *files, unsigned n);
int __real_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned n);
int __wrap_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned n);

int __wrap_io_uring_register_ring_fd(struct io_uring *ring)
{
	return bare ? -EINVAL : __real_io_uring_register_ring_fd(ring);
}

int __wrap_io_uring_register_files(struct io_uring *ring, const int *files, unsigned n)
{
	return bare ? -EINVAL : __real_io_uring_register_files(ring, files, n);
}

int __wrap_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned n)
{
	return bare ? -EINVAL : __real_io_uring_register_buffers_sparse(ring, n);
}

static const unsigned ages[] = {
        0,
        IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_SINGLE_ISSUER,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_R_DISABLED,
};
#define AGES (int)(sizeof(ages) / sizeof(ages[0]))

START_TEST(f30_flags_are_dropped_one_by_one)
{
	unsigned unknown = 0;

	for (int i = 0; i <= _i; i++)
		unknown |= ages[i];
	fault_forget_flags(unknown);
	setup((struct vdb_loop_config){.engine = VDB_ENGINE_URING}, 4);
	serve_all(4, 10);
	ck_assert_uint_eq(test_loop_stats(rig.loop).uring_flags & unknown, 0);
	teardown(4);
}
END_TEST

START_TEST(f30_a_ring_that_registers_nothing)
{
	bare = true;
	setup((struct vdb_loop_config){.engine = VDB_ENGINE_URING, .flags = VDB_LOOP_REGISTER_MEMORY}, 4);
	serve_all(4, 10);
	ck_assert_uint_eq(test_loop_stats(rig.loop).fixed_files, 0);
	teardown(4);
}
END_TEST

START_TEST(f30_no_flag_that_fits_is_no_io_uring)
{
	fault_forget_flags(~0u);
	setup((struct vdb_loop_config){0}, 2);
	ck_assert_uint_eq(test_loop_stats(rig.loop).engine, VDB_ENGINE_EPOLL);
	serve_all(2, 5);
	teardown(2);
}
END_TEST

int main(void)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};
	TCase *tc = tcase_create("uring");

	if (vdb_loop_create(&config, &loop)) {
		(void)fprintf(stderr, "no io_uring here: %s\n", vdb_errmsg());
		return 77;
	}
	(void)!vdb_loop_destroy(loop);
	tcase_add_test(tc, f9_a_full_cq_loses_no_doorbell);
	tcase_add_test(tc, f9_polls_that_end_are_armed_again);
	tcase_add_test(tc, f10_a_submission_queue_of_one);
	tcase_add_test(tc, f11_what_passes_is_waited_out);
	tcase_add_test(tc, f11_what_does_not_pass_is_said);
	tcase_add_loop_test(tc, f12_without_io_uring_all_is_served, 0, 4);
	tcase_add_loop_test(tc, f12_who_insists_is_told_why_not, 0, 4);
	tcase_add_loop_test(tc, f13_memory_that_cannot_be_pinned_is_served_unpinned, 0, 3);
	tcase_add_test(tc, f13_rlimit_memlock);
	tcase_add_test(tc, f17_the_kernel_knows_its_limits);
	tcase_add_test(tc, f17_kernel_threads_are_bounded);
	tcase_add_loop_test(tc, f30_flags_are_dropped_one_by_one, 0, AGES);
	tcase_add_test(tc, f30_a_ring_that_registers_nothing);
	tcase_add_test(tc, f30_no_flag_that_fits_is_no_io_uring);
	return test_run("faults_uring", tc);
}
