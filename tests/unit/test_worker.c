/* SPDX-License-Identifier: Apache-2.0 */
/* Workers: jobs in order on one thread, all of them before the end. */
/* LABELS: tsan */
/* WRAP: calloc malloc pthread_create */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/error.h>
#include <vdb/worker.h>

#include "base/thread.h"
#include "fail.h"
#include "leak.h"
#include "suite.h"

#define JOBS 1000

struct log {
	int order[JOBS];
	int count;
	struct vdb_worker *worker;
	char name[16];
	sigset_t mask;
	int err;
};

struct entry {
	struct log *log;
	int number;
};

static void note(void *arg)
{
	struct entry *e = arg;

	e->log->order[e->log->count++] = e->number;
}

START_TEST(jobs_run_in_order_and_all)
{
	static struct log log;
	static struct entry entries[JOBS];
	struct vdb_worker *worker;

	ck_assert_int_eq(vdb_worker_create(NULL, &worker), 0);
	for (int i = 0; i < JOBS; i++) {
		entries[i] = (struct entry){&log, i};
		ck_assert_int_eq(vdb_worker_submit(worker, note, &entries[i]), 0);
	}
	ck_assert_int_eq(vdb_worker_destroy(worker), 0);
	ck_assert_int_eq(log.count, JOBS);
	for (int i = 0; i < JOBS; i++)
		ck_assert_int_eq(log.order[i], i);
}
END_TEST

static void look_around(void *arg)
{
	struct log *log = arg;

	pthread_getname_np(pthread_self(), log->name, sizeof(log->name));
	pthread_sigmask(SIG_SETMASK, NULL, &log->mask);
}

START_TEST(named_and_deaf_to_signals)
{
	struct log log = {.count = 0};
	struct vdb_worker *worker;
	sigset_t before, after;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	ck_assert_int_eq(vdb_worker_create("a-name-of-more-than-15", &worker), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert_int_eq(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
	ck_assert_int_eq(vdb_worker_submit(worker, look_around, &log), 0);
	ck_assert_int_eq(vdb_worker_destroy(worker), 0);
	ck_assert_str_eq(log.name, "a-name-of-more-");
	ck_assert_int_eq(sigismember(&log.mask, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&log.mask, SIGUSR1), 1);
}
END_TEST

static void submit_another(void *arg)
{
	struct log *log = arg;

	if (++log->count < 10)
		ck_assert_int_eq(vdb_worker_submit(log->worker, submit_another, log), 0);
}

START_TEST(a_jobs_jobs_are_finished_too)
{
	struct log log = {.count = 0};

	ck_assert_int_eq(vdb_worker_create(NULL, &log.worker), 0);
	ck_assert_int_eq(vdb_worker_submit(log.worker, submit_another, &log), 0);
	ck_assert_int_eq(vdb_worker_destroy(log.worker), 0);
	ck_assert_int_eq(log.count, 10);
}
END_TEST

static void end_it(void *arg)
{
	struct log *log = arg;

	log->err = vdb_worker_destroy(log->worker);
}

START_TEST(not_ended_by_itself_or_a_loop)
{
	struct log log = {.count = 0};

	ck_assert_int_eq(vdb_worker_destroy(NULL), 0);
	ck_assert_int_eq(vdb_worker_create(NULL, &log.worker), 0);
	vdb__thread_loop = &log;
	ck_assert_int_eq(vdb_worker_destroy(log.worker), -EDEADLK);
	vdb__thread_loop = NULL;
	ck_assert_int_eq(vdb_worker_submit(log.worker, end_it, &log), 0);
	ck_assert_int_eq(vdb_worker_destroy(log.worker), 0);
	ck_assert_int_eq(log.err, -EDEADLK);
}
END_TEST

static void nothing(void *arg)
{
	(void)arg;
}

static int make(void *arg)
{
	struct vdb_worker *worker = arg;
	int err = vdb_worker_create("sweep", &worker), err2;

	if (err) {
		fail_check(worker == arg);
		return err;
	}
	err = vdb_worker_submit(worker, nothing, NULL);
	err2 = vdb_worker_destroy(worker);
	return err ? err : err2;
}

START_TEST(no_memory_no_thread)
{
	int dummy;

	/* The worker, its thread, the job; the C library's own calls are not wrapped. */
	ck_assert_uint_eq(fail_sweep(make, &dummy), 3);
}
END_TEST

static void make_and_end(void *arg)
{
	ck_assert_int_eq(make(arg), 0);
}

START_TEST(leaves_nothing)
{
	int dummy;

	leak_check(make_and_end, &dummy, 1 << 20);
}
END_TEST

SUITE("worker", jobs_run_in_order_and_all, named_and_deaf_to_signals, a_jobs_jobs_are_finished_too,
      not_ended_by_itself_or_a_loop, no_memory_no_thread, leaves_nothing)
