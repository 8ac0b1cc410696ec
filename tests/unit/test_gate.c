/* SPDX-License-Identifier: Apache-2.0 */
/* Gates: opened once, waited for by threads and by watches. */
/* LABELS: tsan */
/* WRAP: calloc */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <vdb/error.h>
#include <vdb/gate.h>

#include "base/atomic.h"
#include "base/gate.h"
#include "base/thread.h"
#include "fail.h"
#include "suite.h"

START_TEST(the_first_open_counts)
{
	struct vdb_gate *gate;
	int64_t result = 99;

	ck_assert_int_eq(vdb_gate_create(&gate), 0);
	ck_assert_int_eq(vdb_gate_peek(gate, &result), 0);
	ck_assert_int_eq(result, 99);
	vdb_gate_open(gate, -7);
	vdb_gate_open(gate, 8);
	ck_assert_int_eq(vdb_gate_peek(gate, &result), 1);
	ck_assert_int_eq(result, -7);
	result = 0;
	ck_assert_int_eq(vdb_gate_wait(gate, 0, &result), 0);
	ck_assert_int_eq(result, -7);
	vdb_gate_unref(gate);
	vdb_gate_unref(NULL);
}
END_TEST

START_TEST(a_wait_ends_at_its_time)
{
	static const int64_t waits[] = {0, 1, 1000000};
	struct vdb_gate *gate;
	int64_t result = 99;

	ck_assert_int_eq(vdb_gate_create(&gate), 0);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(vdb_gate_wait(gate, waits[i], &result), -ETIMEDOUT);
	ck_assert_int_eq(result, 99);
	vdb_gate_unref(gate);
}
END_TEST

START_TEST(a_loops_thread_does_not_wait)
{
	struct vdb_gate *gate;
	int64_t result = 99;

	ck_assert_int_eq(vdb_gate_create(&gate), 0);
	vdb__thread_loop = &gate;
	ck_assert_int_eq(vdb_gate_wait(gate, -1, &result), -EDEADLK);
	vdb__thread_loop = NULL;
	vdb_gate_unref(gate);
}
END_TEST

static void *wait_for_ever(void *arg)
{
	int64_t result = 0;

	ck_assert_int_eq(vdb_gate_wait(arg, -1, &result), 0);
	vdb_gate_unref(arg);
	return (void *)(intptr_t)result;
}

static void *wait_long(void *arg)
{
	int64_t result = 0;

	/* The longest wait there is must not wrap into the past. */
	ck_assert_int_eq(vdb_gate_wait(arg, INT64_MAX, &result), 0);
	vdb_gate_unref(arg);
	return (void *)(intptr_t)result;
}

START_TEST(opening_wakes_all_who_wait)
{
	pthread_t threads[4];
	struct vdb_gate *gate;
	void *result;

	ck_assert_int_eq(vdb_gate_create(&gate), 0);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, i % 2 ? wait_long : wait_for_ever,
		                                vdb_gate_ref(gate)),
		                 0);
	vdb_gate_open(gate, 42);
	vdb_gate_unref(gate);
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], &result);
		ck_assert_int_eq((intptr_t)result, 42);
	}
}
END_TEST

static void *open_and_drop(void *arg)
{
	vdb_gate_open(arg, 1);
	vdb_gate_unref(arg);
	return NULL;
}

/* The waiter leaves early, the opener comes late, or both at once: whoever is last frees. */
START_TEST(a_waiter_may_leave_early)
{
	struct vdb_gate *gate;
	pthread_t thread;
	int64_t result;

	for (int i = 0; i < 500; i++) {
		ck_assert_int_eq(vdb_gate_create(&gate), 0);
		ck_assert_int_eq(pthread_create(&thread, NULL, open_and_drop, vdb_gate_ref(gate)), 0);
		(void)!vdb_gate_wait(gate, i % 50 * 1000, &result);
		vdb_gate_unref(gate);
		pthread_join(thread, NULL);
	}
}
END_TEST

struct watched {
	struct vdb__gate_watch watch;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int notified;
};

static void notify(struct vdb__gate_watch *watch)
{
	struct watched *w = vdb__container(watch, struct watched, watch);

	pthread_mutex_lock(&w->lock);
	w->notified++;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

#define WATCHED                                                                                             \
	{                                                                                                   \
		.watch.notify = notify, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER \
	}

START_TEST(a_watch_is_notified_once)
{
	struct watched w = WATCHED, late = WATCHED, gone = WATCHED;
	struct vdb_gate *gate;

	ck_assert_int_eq(vdb_gate_create(&gate), 0);
	ck_assert(vdb__gate_attach(gate, &w.watch));
	ck_assert(vdb__gate_attach(gate, &gone.watch));
	vdb__gate_detach(gate, &gone.watch);
	vdb_gate_open(gate, 0);
	vdb_gate_open(gate, 0);
	ck_assert_int_eq(w.notified, 1);
	ck_assert_int_eq(gone.notified, 0);
	ck_assert(!vdb__gate_attach(gate, &late.watch));
	vdb__gate_detach(gate, &late.watch);
	vdb__gate_detach(gate, &w.watch);
	ck_assert_int_eq(late.notified, 0);
	vdb_gate_unref(gate);
}
END_TEST

/* A detached watch's stack frame is gone: TSan and ASan see a notify that comes too late. */
START_TEST(detach_against_open)
{
	struct vdb_gate *gate;
	pthread_t thread;

	for (int i = 0; i < 500; i++) {
		struct watched w = WATCHED;

		ck_assert_int_eq(vdb_gate_create(&gate), 0);
		ck_assert_int_eq(pthread_create(&thread, NULL, open_and_drop, vdb_gate_ref(gate)), 0);
		if (vdb__gate_attach(gate, &w.watch) && i % 2) {
			pthread_mutex_lock(&w.lock);
			while (!w.notified)
				pthread_cond_wait(&w.cond, &w.lock);
			pthread_mutex_unlock(&w.lock);
		}
		vdb__gate_detach(gate, &w.watch);
		pthread_mutex_destroy(&w.lock);
		pthread_cond_destroy(&w.cond);
		vdb_gate_unref(gate);
		pthread_join(thread, NULL);
	}
}
END_TEST

static int make(void *arg)
{
	struct vdb_gate *gate = arg;
	int err = vdb_gate_create(&gate);

	fail_check(!err || gate == arg);
	if (!err)
		vdb_gate_unref(gate);
	return err;
}

START_TEST(no_memory)
{
	int dummy;

	ck_assert_uint_eq(fail_sweep(make, &dummy), 1);
}
END_TEST

SUITE("gate", the_first_open_counts, a_wait_ends_at_its_time, a_loops_thread_does_not_wait,
      opening_wakes_all_who_wait, a_waiter_may_leave_early, a_watch_is_notified_once, detach_against_open,
      no_memory)
