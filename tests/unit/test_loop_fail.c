/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: malloc calloc realloc aligned_alloc pthread_create io_uring_queue_init_params */
/* WRAP: eventfd timerfd_create epoll_create1 epoll_ctl fcntl */
/* Every call that can fail fails once: nothing is left behind, and there is a message. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <vdb/error.h>

#include "fail.h"
#include "run.h"
#include "source.h"
#include "turn.h"

int __real_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);

/* To remove what is there does not fail. */
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	if (op != EPOLL_CTL_DEL && fail_now("epoll_ctl")) {
		errno = ENOSPC;
		return -1;
	}
	return __real_epoll_ctl(epoll, op, fd, event);
}

static int a_loop(void *arg)
{
	struct vdb_loop_config config = test_loop_config();
	struct vdb_loop *loop;
	int err = vdb_loop_create(&config, &loop);

	(void)arg;
	return err ? err : vdb_loop_destroy(loop);
}

START_TEST(create_fails_cleanly)
{
	ck_assert_uint_ge(fail_sweep(a_loop, NULL), 4);
}
END_TEST

static int a_nested_loop(void *arg)
{
	struct vdb_loop_config config = test_loop_config();
	struct vdb_loop *loop;
	int err = vdb_loop_create(&config, &loop), fd;

	(void)arg;
	if (err)
		return err;
	fd = vdb_loop_fd(loop);
	err = vdb_loop_destroy(loop);
	return fd < 0 ? fd : err;
}

START_TEST(asking_for_the_fd_fails_cleanly)
{
	ck_assert_uint_ge(fail_sweep(a_nested_loop, NULL), 4);
}
END_TEST

static int a_thread(void *arg)
{
	struct vdb_loop *loop = arg;
	int err = vdb_loop_start(loop, -1, NULL);

	return err ? err : vdb_loop_join(loop);
}

START_TEST(start_fails_cleanly)
{
	struct vdb_loop *loop = test_loop_new();

	ck_assert_uint_ge(fail_sweep(a_thread, loop), 1);
	test_loop_end(loop);
}
END_TEST

static void never(void *arg)
{
	(void)arg;
}

static int timers(void *arg)
{
	struct vdb_timer *timers[40] = {NULL};
	int err = 0;

	for (int i = 0; i < 40 && !err; i++)
		err = vdb_timer_create(arg, never, NULL, &timers[i]);
	for (int i = 0; i < 40; i++)
		vdb_timer_destroy(timers[i]);
	return err;
}

START_TEST(timer_create_fails_cleanly)
{
	struct vdb_loop *loop = test_loop_new();

	ck_assert_uint_ge(fail_sweep(timers, loop), 40);
	test_loop_end(loop);
}
END_TEST

static int a_tenant(void *arg)
{
	struct vdb_tenant *tenant = NULL;
	int err = vdb_tenant_create(arg, &tenant);

	vdb_tenant_destroy(tenant);
	return err;
}

START_TEST(tenant_create_fails_cleanly)
{
	struct vdb_loop *loop = test_loop_new();

	ck_assert_uint_eq(fail_sweep(a_tenant, loop), 1);
	test_loop_end(loop);
}
END_TEST

/* Check's assertions allocate: none of them where an allocation is to fail. */
static void step(struct vdb_loop *loop)
{
	if (vdb_loop_step(loop) < 0)
		abort();
}

static void ran(void *arg, int status)
{
	(void)status;
	++*(int *)arg;
}

static int a_post(void *arg)
{
	int n = 0, err = vdb_loop_post(arg, ran, &n);

	while (!err && !n)
		step(arg);
	return err;
}

START_TEST(post_fails_cleanly)
{
	struct vdb_loop *loop = test_loop_new();

	ck_assert_uint_eq(fail_sweep(a_post, loop), 1);
	test_loop_end(loop);
}
END_TEST

static struct fake fake;
static int kick_fd;

static int a_source(void *arg)
{
	int fd = dup(kick_fd), err;

	if (fd < 0)
		abort();
	err = fake_try(arg, &fake, NULL, fd);
	if (!err) {
		fake.kick_fd = fd;
		fake.gone = 0;
		fake_remove(&fake);
		while (!fake.gone)
			step(arg);
		return 0;
	}
	for (int i = 0; i < 5; i++)
		step(arg);
	close(fd);
	return err;
}

START_TEST(a_source_is_added_or_not)
{
	struct vdb_loop *loop = test_loop_new();

	kick_fd = eventfd(0, EFD_CLOEXEC);
	ck_assert_uint_ge(fail_sweep(a_source, loop), 2);
	close(kick_fd);
	test_loop_end(loop);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fail");

	tcase_add_test(tc, create_fails_cleanly);
	tcase_add_test(tc, asking_for_the_fd_fails_cleanly);
	tcase_add_test(tc, start_fails_cleanly);
	tcase_add_test(tc, timer_create_fails_cleanly);
	tcase_add_test(tc, tenant_create_fails_cleanly);
	tcase_add_test(tc, post_fails_cleanly);
	tcase_add_test(tc, a_source_is_added_or_not);
	return test_run("fail", tc);
}
