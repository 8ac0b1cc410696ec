/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that the library starts: pinned, named, deaf to signals, or not at all. */
/* WRAP: pthread_create */
#include <check.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#include "base/error.h"
#include "base/thread.h"
#include "fail.h"
#include "suite.h"

static const int thread_marker;

struct seen {
	cpu_set_t cpus;
	sigset_t mask;
};

static void *look(void *arg)
{
	struct seen *seen = arg;

	pthread_getaffinity_np(pthread_self(), sizeof(seen->cpus), &seen->cpus);
	pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
	return arg;
}

/* One that this process may use. */
static int some_cpu(void)
{
	cpu_set_t set;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
		if (CPU_ISSET((size_t)cpu, &set))
			return cpu;
	}
	return -1;
}

static int start(pthread_t *thread, const char *name, int cpu, void *arg)
{
	const struct vdb__thread_config config = {.name = name, .cpu = cpu, .kind = VDB_THREAD_CONTROL};

	return vdb__thread_start(thread, &config, look, arg);
}

START_TEST(pinned_and_deaf)
{
	struct seen seen;
	pthread_t thread;
	int cpu = some_cpu();

	ck_assert_int_eq(start(&thread, "pinned", cpu, &seen), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(CPU_COUNT(&seen.cpus), 1);
	ck_assert(CPU_ISSET((size_t)cpu, &seen.cpus));
	ck_assert_int_eq(sigismember(&seen.mask, SIGINT), 1);
	ck_assert_int_eq(sigismember(&seen.mask, SIGRTMIN), 1);
}
END_TEST

START_TEST(unpinned_has_all_cpus)
{
	struct seen seen;
	cpu_set_t mine;
	pthread_t thread;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(mine), &mine), 0);
	ck_assert_int_eq(start(&thread, "free", -1, &seen), 0);
	pthread_join(thread, NULL);
	ck_assert(CPU_EQUAL(&seen.cpus, &mine));
}
END_TEST

START_TEST(no_such_cpu)
{
	static const int cpus[] = {CPU_SETSIZE, CPU_SETSIZE - 1, 1 << 30};
	pthread_t thread;

	for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
		ck_assert_int_eq(start(&thread, "lost", cpus[i], NULL), -EINVAL);
		ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "lost"));
	}
}
END_TEST

START_TEST(no_thread_to_be_had)
{
	sigset_t before, after;
	pthread_t thread;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	fail_at(1);
	ck_assert_int_eq(start(&thread, "none", -1, NULL), -EAGAIN);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "none"));
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert_int_eq(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}
END_TEST

START_TEST(on_a_loops_thread)
{
	ck_assert(!vdb__on_loop_thread());
	vdb__thread_loop = &thread_marker;
	ck_assert(vdb__on_loop_thread());
	vdb__thread_loop = NULL;
}
END_TEST

SUITE("thread", pinned_and_deaf, unpinned_has_all_cpus, no_such_cpu, no_thread_to_be_had, on_a_loops_thread)
