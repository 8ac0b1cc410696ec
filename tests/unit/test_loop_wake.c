/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Nothing that arrives while a loop goes to sleep is slept over: run() and nested in poll(2). */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/io.h>

#include "base/atomic.h"
#include "run.h"
#include "source.h"
#include "turn.h"

#define ROUNDS 3000u

static struct vdb_loop *loop;
static struct fake fakes[2];
static uint32_t posted, over;

static void count_post(void *arg, int status)
{
	(void)arg;
	(void)status;
	vdb__store_release(&posted, posted + 1);
}

/* Each round waits for its answer, so the loop is about to sleep, or asleep, at the next. */
static void *guest(void *arg)
{
	struct fake *fake = arg;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		fake_produce(fake, 1);
		while (vdb__load_acquire(&fake->work))
			sched_yield();
		for (volatile unsigned spin = 0; spin < i % 300; spin++)
			;
	}
	vdb__fetch_add(&over, 1);
	return NULL;
}

static void *poster(void *arg)
{
	(void)arg;
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		if (vdb_loop_post(loop, count_post, NULL))
			abort();
		while (vdb__load_acquire(&posted) < i)
			sched_yield();
		for (volatile unsigned spin = 0; spin < i % 500; spin++)
			;
	}
	vdb__fetch_add(&over, 1);
	return NULL;
}

static void *stopper(void *arg)
{
	pthread_t *threads = arg;

	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	vdb_loop_stop(loop);
	return NULL;
}

static void begin(pthread_t threads[4], bool nested)
{
	loop = nested ? test_loop_new_nested() : test_loop_new();
	for (int i = 0; i < 2; i++)
		fake_add(loop, &fakes[i], NULL, 1);
	ck_assert_int_eq(pthread_create(&threads[0], NULL, guest, &fakes[0]), 0);
	ck_assert_int_eq(pthread_create(&threads[1], NULL, guest, &fakes[1]), 0);
	ck_assert_int_eq(pthread_create(&threads[2], NULL, poster, NULL), 0);
	ck_assert_int_eq(pthread_create(&threads[3], NULL, stopper, threads), 0);
}

static void end(void)
{
	ck_assert_uint_eq(posted, ROUNDS);
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(fakes[i].served, ROUNDS);
		fake_remove(&fakes[i]);
	}
	test_loop_end(loop);
}

START_TEST(run_sleeps_over_nothing)
{
	pthread_t threads[4];

	begin(threads, false);
	ck_assert_int_eq(vdb_loop_run(loop), 0);
	pthread_join(threads[3], NULL);
	ck_assert_uint_gt(test_loop_stats(loop).sleeps, 0);
	end();
}
END_TEST

START_TEST(a_nested_loop_sleeps_over_nothing)
{
	pthread_t threads[4];

	begin(threads, true);
	while (vdb__load_acquire(&over) < 3)
		test_turn_nested(loop);
	pthread_join(threads[3], NULL);
	end();
}
END_TEST

struct disk {
	struct vdb_io io;
	struct iovec iov;
	char buf[512];
	int file, done;
};

static void disk_done(struct vdb_io *io, int64_t result)
{
	ck_assert_int_eq(result, 512);
	vdb__container(io, struct disk, io)->done++;
}

static void timer_done(void *arg)
{
	++*(int *)arg;
}

static void *later(void *arg)
{
	usleep(20000);
	if (arg)
		fake_produce(arg, 1);
	else if (vdb_loop_post(loop, count_post, NULL))
		abort();
	return NULL;
}

/* Each kind of event alone ends the sleep of an embedder's poll(2). */
START_TEST(every_kind_of_event_wakes_an_embedder)
{
	struct disk disk = {.file = memfd_create("disk", MFD_CLOEXEC)};
	struct vdb_timer *timer;
	pthread_t thread;
	int fired = 0;

	loop = test_loop_new_nested();
	ck_assert_int_eq(ftruncate(disk.file, 512), 0);
	fake_add(loop, &fakes[0], NULL, 1);
	ck_assert_int_eq(vdb_timer_create(loop, timer_done, &fired, &timer), 0);
	for (int i = 1; i <= 5; i++) {
		test_settle(loop);
		vdb_timer_arm(timer, 20000000);
		while (fired < i)
			test_turn_nested(loop);

		test_settle(loop);
		pthread_create(&thread, NULL, later, &fakes[0]);
		while (fakes[0].served < (unsigned)i)
			test_turn_nested(loop);
		pthread_join(thread, NULL);

		test_settle(loop);
		pthread_create(&thread, NULL, later, NULL);
		while (posted < (unsigned)i)
			test_turn_nested(loop);
		pthread_join(thread, NULL);

		test_settle(loop);
		disk.iov = (struct iovec){disk.buf, 512};
		disk.io = (struct vdb_io){
		        .op = VDB_IO_READV, .fd = disk.file, .iov = &disk.iov, .niov = 1, .done = disk_done};
		vdb_io_submit(loop, &disk.io);
		while (disk.done < i)
			test_turn_nested(loop);
	}
	vdb_timer_destroy(timer);
	fake_remove(&fakes[0]);
	test_loop_end(loop);
	close(disk.file);
}
END_TEST

/* What its owner asks for between prepare and sleep is no exception. */
START_TEST(an_afterthought_wakes_an_embedder)
{
	struct pollfd fd = {.events = POLLIN};
	struct vdb_timer *timer;
	int fired = 0;

	loop = test_loop_new_nested();
	fd.fd = vdb_loop_fd(loop);
	ck_assert_int_eq(vdb_timer_create(loop, timer_done, &fired, &timer), 0);
	fake_add(loop, &fakes[0], NULL, 0);
	for (int i = 0; i < 3; i++) {
		test_settle(loop);
		ck_assert_int_eq(vdb_loop_prepare(loop), 1);
		if (i == 0)
			vdb_timer_arm(timer, 0);
		else if (i == 1)
			ck_assert_int_eq(vdb_loop_post(loop, count_post, NULL), 0);
		else
			vdb__source_ready(&fakes[0].source);
		ck_assert_int_eq(poll(&fd, 1, 20000), 1);
		test_settle(loop);
	}
	ck_assert_int_eq(fired, 1);
	ck_assert_uint_eq(posted, 1);
	ck_assert_uint_eq(fakes[0].serves, 2);
	vdb_timer_destroy(timer);
	fake_remove(&fakes[0]);
	test_loop_end(loop);
}
END_TEST

START_TEST(the_fd_is_asked_for_first)
{
	int fd;

	loop = test_loop_new_nested();
	fd = vdb_loop_fd(loop);
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	ck_assert_int_eq(vdb_loop_fd(loop), fd);
	test_loop_end(loop);
	loop = test_loop_new();
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	ck_assert_int_eq(vdb_loop_fd(loop), -EBUSY);
	test_loop_end(loop);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("wake");

	tcase_add_test(tc, run_sleeps_over_nothing);
	tcase_add_test(tc, a_nested_loop_sleeps_over_nothing);
	tcase_add_test(tc, every_kind_of_event_wakes_an_embedder);
	tcase_add_test(tc, an_afterthought_wakes_an_embedder);
	tcase_add_test(tc, the_fd_is_asked_for_first);
	return test_run("wake", tc);
}
