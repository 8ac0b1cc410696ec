/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: write */
/* Work from other threads. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <vdb/error.h>

#include "base/atomic.h"
#include "loop/source.h"
#include "run.h"
#include "turn.h"

#define THREADS 8
#define POSTS 5000u

static struct vdb_loop *loop;

static void setup(void)
{
	loop = test_loop_new();
}

static void start(void)
{
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
}

static void stop(void)
{
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	test_loop_end(loop);
}

struct poster {
	pthread_t thread;
	uint32_t posted, seen; /* seen: the loop's */
};

struct message {
	struct poster *poster;
	uint32_t number;
};

static void receive(void *arg, int status)
{
	struct message *message = arg;

	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(message->number, message->poster->seen); /* in order of posting */
	vdb__store_release(&message->poster->seen, message->number + 1);
	free(message);
}

static void *post_many(void *arg)
{
	struct poster *poster = arg;

	for (; poster->posted < POSTS; poster->posted++) {
		struct message *message = malloc(sizeof(*message));

		*message = (struct message){poster, poster->posted};
		ck_assert_int_eq(vdb_loop_post(loop, receive, message), 0);
		if (poster->posted % 64 == 0) /* so that the loop sleeps now and then */
			while (vdb__load_acquire(&poster->seen) < poster->posted)
				sched_yield();
	}
	return NULL;
}

START_TEST(posts_of_many_threads_arrive_once_and_in_order)
{
	struct poster posters[THREADS] = {0};

	start();
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(posters[i].thread, NULL);
		while (vdb__load_acquire(&posters[i].seen) < POSTS)
			sched_yield();
	}
	ck_assert_uint_eq(test_loop_stats(loop).posts, (uint64_t)THREADS * POSTS);
	stop();
}
END_TEST

static void count(void *arg, int status)
{
	ck_assert_int_eq(status, 0);
	++*(int *)arg;
}

START_TEST(a_burst_wakes_once)
{
	struct vdb_loop_stats before, after;
	int n = 0;

	test_settle(loop);
	before = test_loop_stats(loop);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(vdb_loop_post(loop, count, &n), 0);
	test_turn(loop);
	after = test_loop_stats(loop);
	ck_assert_int_eq(n, 1000);
	ck_assert_uint_le(after.events - before.events, 1);
	test_loop_end(loop);
}
END_TEST

static uint32_t writes; /* of 8 bytes: to eventfds */

/* A loop that is awake is not rung for: it looks before it sleeps. */
static int keep_busy(void *arg)
{
	uint32_t before = vdb__load(&writes);
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, arg, NULL), 0);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(vdb__load(&writes), before);
	return 0;
}

static uint32_t ran; /* atomic */

static void run_one(void *arg, int status)
{
	(void)arg;
	ck_assert_int_eq(status, 0);
	(void)vdb__fetch_add(&ran, 1u);
}

static void *post_some(void *arg)
{
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(vdb_loop_post(loop, run_one, NULL), 0);
	return arg;
}

START_TEST(who_is_awake_is_not_rung_for)
{
	start();
	for (unsigned i = 1; i <= 20; i++) {
		ck_assert_int_eq(vdb_loop_call(loop, keep_busy, post_some), 0);
		while (vdb__load(&ran) < i * 100)
			usleep(10);
	}
	stop();
}
END_TEST

/* A ball between two loops, each of which is falling asleep when it comes, or has just done so: if
 * one throw were missed, it would lie there for ever. */
struct game {
	struct vdb_loop *loops[2];
	uint32_t ball;
};

static void caught(void *arg, int status)
{
	struct game *game = arg;
	uint32_t ball = vdb__load(&game->ball) + 1;

	ck_assert_int_eq(status, 0);
	vdb__store(&game->ball, ball);
	for (uint32_t i = 0; i < ball % 64; i++)
		vdb__cpu_relax();
	if (ball < 30000)
		ck_assert_int_eq(vdb_loop_post(game->loops[ball % 2], caught, game), 0);
}

START_TEST(no_post_is_slept_through)
{
	struct game game = {.loops = {loop, test_loop_new()}};

	start();
	ck_assert_int_eq(vdb_loop_start(game.loops[1], -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_post(game.loops[0], caught, &game), 0);
	while (vdb__load(&game.ball) < 30000)
		usleep(100);
	ck_assert_int_eq(vdb_loop_join(game.loops[1]), 0);
	stop();
	test_loop_end(game.loops[1]);
}
END_TEST

struct chain {
	int left, ran;
};

static void post_next(void *arg, int status)
{
	struct chain *chain = arg;

	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(vdb_loop_here(loop), 1);
	chain->ran++;
	if (chain->left--)
		ck_assert_int_eq(vdb_loop_post(loop, post_next, chain), 0);
}

START_TEST(a_post_from_a_post_runs_next_turn)
{
	struct chain chain = {.left = 3};

	ck_assert_int_eq(vdb_loop_post(loop, post_next, &chain), 0);
	ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_int_eq(chain.ran, 1);
	ck_assert_int_eq(vdb_loop_prepare(loop), 0);
	ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_int_eq(chain.ran, 2);
	test_settle(loop);
	ck_assert_int_eq(chain.ran, 4);
	test_loop_end(loop);
}
END_TEST

static void expect_cancelled(void *arg, int status)
{
	ck_assert_int_eq(status, -ECANCELED);
	++*(int *)arg;
}

START_TEST(posts_that_did_not_run_are_cancelled)
{
	int n = 0;

	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(vdb_loop_post(loop, expect_cancelled, &n), 0);
	test_loop_end(loop);
	ck_assert_int_eq(n, 10);
}
END_TEST

struct own_post {
	struct vdb__post post;
	int ran;
};

static void own_ran(struct vdb__post *post, int status)
{
	ck_assert_int_eq(status, 0);
	vdb__container(post, struct own_post, post)->ran++;
}

START_TEST(a_post_of_the_callers_memory_can_be_queued_again)
{
	struct own_post own = {.post.fn = own_ran};

	for (int i = 1; i <= 100; i++) {
		vdb__loop_post(loop, &own.post);
		test_turn(loop);
		ck_assert_int_eq(own.ran, i);
	}
	test_loop_end(loop);
}
END_TEST

static int answer(void *arg)
{
	ck_assert_int_eq(vdb_loop_here(loop), 1);
	return ++*(int *)arg;
}

static int call_again(void *arg)
{
	return vdb_loop_call(loop, answer, arg); /* at once */
}

START_TEST(a_call_waits_for_its_answer)
{
	int n = 0;

	start();
	for (int i = 1; i <= 1000; i++)
		ck_assert_int_eq(vdb_loop_call(loop, i & 1 ? answer : call_again, &n), i);
	stop();
}
END_TEST

static void *call_in_vain(void *arg)
{
	(void)arg;
	ck_assert_int_eq(vdb_loop_call(loop, answer, NULL), -ECANCELED);
	return NULL;
}

START_TEST(a_call_ends_with_the_loop)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, call_in_vain, NULL), 0);
	usleep(50000); /* it waits, or will find the post cancelled; both are fine */
	test_loop_end(loop);
	pthread_join(thread, NULL);
}
END_TEST

static struct vdb_loop *other;

static int call_other(void *arg)
{
	return vdb_loop_call(other, answer, arg);
}

START_TEST(a_loop_does_not_wait_for_another)
{
	int n = 0;

	other = test_loop_new();
	start();
	ck_assert_int_eq(vdb_loop_call(loop, call_other, &n), -EDEADLK);
	stop();
	test_loop_end(other);
}
END_TEST

/* A thread that is slow to ring. */
static uint32_t slow;

ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	if (vdb__load_acquire(&slow))
		usleep(3000);
	(void)vdb__fetch_add(&writes, (uint32_t)(len == 8));
	return __real_write(fd, buf, len);
}

/* The callback lets the main thread free the loop while the poster may still be ringing. */
static void let_go(void *arg, int status)
{
	(void)status;
	vdb__store_release((uint32_t *)arg, 1);
}

static void *post_last(void *arg)
{
	ck_assert_int_eq(vdb_loop_post(loop, let_go, arg), 0);
	return NULL;
}

START_TEST(a_loop_may_be_freed_when_a_post_has_run)
{
	for (int i = 0; i < 40; i++) {
		uint32_t gone = 0;

		pthread_t thread;

		vdb__store_release(&slow, (uint32_t)i & 1);

		ck_assert_int_eq(pthread_create(&thread, NULL, post_last, &gone), 0);
		while (!vdb__load_acquire(&gone)) {
			ck_assert_int_ge(vdb_loop_prepare(loop), 0); /* or nobody rings */
			ck_assert_int_ge(vdb_loop_step(loop), 0);
		}
		test_loop_end(loop);
		pthread_join(thread, NULL);
		loop = test_loop_new();
	}
	vdb__store_release(&slow, 0);
	test_loop_end(loop);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("post");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, posts_of_many_threads_arrive_once_and_in_order);
	tcase_add_test(tc, a_burst_wakes_once);
	tcase_add_test(tc, who_is_awake_is_not_rung_for);
	tcase_add_test(tc, no_post_is_slept_through);
	tcase_add_test(tc, a_post_from_a_post_runs_next_turn);
	tcase_add_test(tc, posts_that_did_not_run_are_cancelled);
	tcase_add_test(tc, a_post_of_the_callers_memory_can_be_queued_again);
	tcase_add_test(tc, a_call_waits_for_its_answer);
	tcase_add_test(tc, a_call_ends_with_the_loop);
	tcase_add_test(tc, a_loop_does_not_wait_for_another);
	tcase_add_test(tc, a_loop_may_be_freed_when_a_post_has_run);
	return test_run("post", tc);
}
