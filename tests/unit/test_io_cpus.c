/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: io_uring_register_iowq_aff pthread_create */
/* On which CPUs the threads are that do I/O which has to wait: io_uring's kernel threads, and the pool's. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/io.h>

#include "base/atomic.h"
#include "engine.h"
#include "run.h"
#include "turn.h"

static bool refuse;    /* the kernel, to put a thread on a set of CPUs */
static unsigned moved; /* times that a thread's were put on one */

int __real_io_uring_register_iowq_aff(struct io_uring *ring, size_t size, const cpu_set_t *cpus);
int __wrap_io_uring_register_iowq_aff(struct io_uring *ring, size_t size, const cpu_set_t *cpus);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

int __wrap_io_uring_register_iowq_aff(struct io_uring *ring, size_t size, const cpu_set_t *cpus)
{
	moved++;
	return refuse ? -EINVAL : __real_io_uring_register_iowq_aff(ring, size, cpus);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	cpu_set_t cpus;

	/* All there could be, where none were set. */
	if (refuse && attr && !pthread_attr_getaffinity_np(attr, sizeof(cpus), &cpus) &&
	    CPU_COUNT(&cpus) != CPU_SETSIZE)
		return EINVAL;
	return __real_pthread_create(thread, attr, fn, arg);
}

/* ---- CPUs ---- */

static cpu_set_t mine;
static int first = -1, second = -1; /* of them */

static cpu_set_t only(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return set;
}

static cpu_set_t without(int cpu)
{
	cpu_set_t set = mine;

	CPU_CLR((size_t)cpu, &set);
	return set;
}

static void find_cpus(void)
{
	(void)sched_getaffinity(0, sizeof(mine), &mine); /* failed: no CPUs */
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET((size_t)cpu, &mine))
			continue;
		if (first < 0)
			first = cpu;
		else if (second < 0)
			second = cpu;
	}
}

/* ---- A loop that has such threads ---- */

static struct vdb_loop *loop;
static int file;

static void make_loop(uint32_t engine, uint32_t flags, const cpu_set_t *io_cpus)
{
	struct vdb_loop_config config = test_loop_config();

	config.engine = engine;
	config.flags = flags;
	config.io_cpus = io_cpus;
	config.io_cpus_size = io_cpus ? sizeof(*io_cpus) : 0;
	ck_assert_msg(!vdb_loop_create(&config, &loop), "%s", vdb_errmsg());
	file = memfd_create("io_cpus", MFD_CLOEXEC);
	ck_assert_int_ge(file, 0);
}

static void end_loop(void)
{
	test_loop_end(loop);
	close(file);
}

static bool told(void)
{
	return test_loop_stats(loop).features & VDB_LOOP_HAS_IO_CPUS;
}

struct job {
	struct vdb_io io;
	int64_t result;
	uint32_t done;
};

static void job_done(struct vdb_io *io, int64_t result)
{
	struct job *job = (struct job *)(void *)io;

	job->result = result;
	vdb__store_release(&job->done, 1);
}

/* What io_uring never does where it is asked to. */
static int start_job(void *arg)
{
	struct job *job = arg;

	*job = (struct job){.io = {.op = VDB_IO_FALLOCATE, .fd = file, .len = 4096, .done = job_done}};
	vdb_io_submit(loop, &job->io);
	return 0;
}

static void do_one(void)
{
	static struct job job;

	if (vdb_loop_here(loop)) {
		start_job(&job);
		while (!vdb__load_acquire(&job.done))
			ck_assert_int_ge(vdb_loop_step(loop), 0);
	} else {
		ck_assert_int_eq(vdb_loop_call(loop, start_job, &job), 0);
		while (!vdb__load_acquire(&job.done))
			usleep(100);
	}
	ck_assert_int_eq(job.result, 0);
}

/* ---- Those threads ---- */

static bool is_called(const char *tid, const char *prefix)
{
	char path[300], name[32] = {0};
	bool is;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	is = read(fd, name, sizeof(name) - 1) > 0 && !strncmp(name, prefix, strlen(prefix));
	close(fd);
	return is;
}

/* How many of them there are, each on `cpus`; NULL: wherever. */
static unsigned look(const char *prefix, const cpu_set_t *cpus)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	cpu_set_t set;
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		if (!is_called(entry->d_name, prefix) ||
		    sched_getaffinity((pid_t)strtol(entry->d_name, NULL, 10), sizeof(set), &set))
			continue; /* idle ones end */
		ck_assert_msg(!cpus || CPU_EQUAL(&set, cpus), "%s is on %d CPUs, not on the %d it belongs on",
		              prefix, CPU_COUNT(&set), CPU_COUNT(cpus));
		n++;
	}
	closedir(dir);
	return n;
}

static void expect_workers(const char *prefix, cpu_set_t cpus)
{
	do
		do_one();
	while (!look(prefix, &cpus));
}

#define KERNELS "iou-wrk"
#define POOLS "vdb-io"

/* A thread that has been waited for, and one that has ended with it, are seen for a moment yet. */
static void wait_gone(const char *prefix)
{
	while (look(prefix, NULL))
		usleep(100);
}

static void end_joined(void)
{
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	end_loop();
	wait_gone(KERNELS);
	wait_gone(POOLS);
}

/* ---- By default ---- */

START_TEST(kernel_threads_are_the_kernels_business)
{
	make_loop(VDB_ENGINE_URING, 0, NULL);
	ck_assert_int_eq(vdb_loop_start(loop, _i ? first : -1, NULL), 0);
	do_one();
	ck_assert(!told());
	end_joined();
}
END_TEST

START_TEST(pools_are_where_the_creator_may_be)
{
	make_loop(VDB_ENGINE_EPOLL, 0, NULL);
	ck_assert_int_eq(vdb_loop_start(loop, first, NULL), 0);
	expect_workers(POOLS, mine);
	ck_assert(!told());
	end_joined();
}
END_TEST

/* ---- As asked ---- */

static void as_asked(uint32_t engine, int pin, cpu_set_t asked, cpu_set_t expected)
{
	make_loop(engine, 0, &asked);
	CPU_ZERO(&asked); /* it was copied */
	ck_assert_int_eq(vdb_loop_start(loop, pin, NULL), 0);
	expect_workers(engine == VDB_ENGINE_URING ? KERNELS : POOLS, expected);
	ck_assert(told());
	end_joined();
}

START_TEST(kernel_threads_are_where_they_are_asked_to_be)
{
	as_asked(VDB_ENGINE_URING, -1, only(second), only(second));
	as_asked(VDB_ENGINE_URING, first, only(second), only(second));
	as_asked(VDB_ENGINE_URING, first, only(first), only(first));
}
END_TEST

START_TEST(a_loops_own_cpu_is_left_out_of_a_set_with_others)
{
	as_asked(VDB_ENGINE_URING, first, mine, without(first));
	as_asked(VDB_ENGINE_URING, second, mine, without(second));
}
END_TEST

START_TEST(another_thread_takes_them_along)
{
	const int cpus[] = {first, second, first};

	make_loop(VDB_ENGINE_URING, 0, &mine);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(vdb_loop_start(loop, cpus[i], NULL), 0);
		expect_workers(KERNELS, without(cpus[i]));
		ck_assert_int_eq(vdb_loop_join(loop), 0);
		wait_gone(KERNELS);
	}
	end_loop();
	ck_assert_uint_eq(moved, 3); /* not those of who ends it */
}
END_TEST

/* The embedder's own thread, which binds itself and does not stay. */
START_TEST(who_turns_the_loop_by_hand_has_the_same)
{
	cpu_set_t one = only(second);

	make_loop(VDB_ENGINE_URING, 0, &mine);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	expect_workers(KERNELS, without(second));
	ck_assert(told());
	end_loop();
}
END_TEST

/* The kernel's thread that submits has threads of its own: Linux 6.5 puts them there, an older one leaves
 * them. */
START_TEST(a_kernel_thread_that_submits_does)
{
	make_loop(VDB_ENGINE_URING, VDB_LOOP_SQPOLL, &mine);
	ck_assert_int_eq(vdb_loop_start(loop, first, NULL), 0);
	if (test_loop_stats(loop).features & VDB_LOOP_HAS_SQPOLL)
		expect_workers(KERNELS, mine);
	else
		test_skipped_part("SQPOLL", "this kernel gives no thread");
	end_joined();
}
END_TEST

START_TEST(pools_are_where_they_are_asked_to_be)
{
	as_asked(VDB_ENGINE_EPOLL, -1, only(second), only(second));
	as_asked(VDB_ENGINE_EPOLL, first, only(first), only(first));
	as_asked(VDB_ENGINE_EPOLL, first, mine, mine);
}
END_TEST

START_TEST(what_the_kernel_refuses_is_done_without)
{
	cpu_set_t asked = only(second);

	refuse = true;
	make_loop(_i ? VDB_ENGINE_EPOLL : VDB_ENGINE_URING, 0, &asked);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	do_one();
	ck_assert(!told());
	end_joined();
}
END_TEST

/* ---- What makes no sense ---- */

static void refused(const void *cpus, uint64_t size, const char *words)
{
	struct vdb_loop_config config = test_loop_config();

	config.io_cpus = cpus;
	config.io_cpus_size = size;
	loop = NULL;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), -EINVAL);
	ck_assert_msg(strstr(vdb_errmsg(), words) != NULL, "%s", vdb_errmsg());
	ck_assert_ptr_null(loop);
}

START_TEST(sets_that_make_no_sense_are_refused)
{
	static const unsigned long none[8192 / sizeof(long) + 1];
	cpu_set_t set = mine;
	size_t cpus = (size_t)sysconf(_SC_NPROCESSORS_CONF);

	refused(NULL, sizeof(set), "io_cpus_size of 128");
	refused(&set, 0, "empty");
	refused(&set, 12, "io_cpus_size of 12");
	refused(none, sizeof(none), "io_cpus_size of 8200");
	refused(none, sizeof(none) - sizeof(long), "empty");
	for (size_t cpu = cpus; cpu < CPU_SETSIZE; cpu += 300) {
		set = mine;
		CPU_SET(cpu, &set);
		refused(&set, sizeof(set), "does not exist");
	}
}
END_TEST

START_TEST(a_set_may_be_shorter_or_longer_than_libcs)
{
	unsigned long shorter[1] = {1}, longer[64] = {1};
	struct vdb_loop_config config = test_loop_config();

	config.io_cpus = _i ? longer : shorter;
	config.io_cpus_size = _i ? sizeof(longer) : sizeof(shorter);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	test_loop_end(loop);
	if (_i) {
		longer[63] = 1;
		refused(longer, sizeof(longer), "host CPU 4032 does not exist");
	}
}
END_TEST

int main(void)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};
	TCase *tc = tcase_create("io_cpus");
	bool uring = !vdb_loop_create(&config, &loop);

	find_cpus();
	if (second < 0)
		test_skipped_part("where threads are", "this process may use one CPU only");
	if (!uring)
		test_skipped_part("where io_uring's threads are", vdb_errmsg());
	else
		(void)!vdb_loop_destroy(loop);
	if (uring && second >= 0) {
		tcase_add_loop_test(tc, kernel_threads_are_the_kernels_business, 0, 2);
		tcase_add_test(tc, kernel_threads_are_where_they_are_asked_to_be);
		tcase_add_test(tc, a_loops_own_cpu_is_left_out_of_a_set_with_others);
		tcase_add_test(tc, another_thread_takes_them_along);
		tcase_add_test(tc, who_turns_the_loop_by_hand_has_the_same);
		tcase_add_test(tc, a_kernel_thread_that_submits_does);
		tcase_add_loop_test(tc, what_the_kernel_refuses_is_done_without, 0, 1);
	}
	if (second >= 0) {
		tcase_add_test(tc, pools_are_where_the_creator_may_be);
		tcase_add_test(tc, pools_are_where_they_are_asked_to_be);
		tcase_add_loop_test(tc, what_the_kernel_refuses_is_done_without, 1, 2);
	}
	tcase_add_test(tc, sets_that_make_no_sense_are_refused);
	tcase_add_loop_test(tc, a_set_may_be_shorter_or_longer_than_libcs, 0, 2);
	return test_run("io_cpus", tc);
}
