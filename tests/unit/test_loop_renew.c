/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: io_uring_queue_init_params epoll_ctl */
/* A loop gets another engine, and that one cannot watch everything: the loop is as it was. */
#include <check.h>
#include <errno.h>
#include <liburing.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <vdb/error.h>

#include "run.h"
#include "source.h"
#include "turn.h"

#define FAKES 4

static bool forbidden; /* no further io_uring */
static int watches;    /* that epoll takes, then no more */
static struct vdb_loop *loop;
static struct fake fakes[FAKES];

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
int __real_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
	return forbidden ? -EPERM : __real_io_uring_queue_init_params(entries, ring, p);
}

int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	if (op != EPOLL_CTL_ADD || watches-- > 0)
		return __real_epoll_ctl(epoll, op, fd, event);
	errno = ENOSPC;
	return -1;
}

static void setup(void)
{
	struct vdb_loop_config config = {.size = sizeof(config)};

	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	if (test_loop_stats(loop).engine != VDB_ENGINE_URING)
		exit(77);
	for (int i = 0; i < FAKES; i++)
		fake_add(loop, &fakes[i], NULL, 1);
}

static void forbid(int allowed_watches)
{
	forbidden = true;
	watches = allowed_watches;
}

/* Every bell is heard, once; nobody else's memory is touched at the end. */
static void check_bells(int first)
{
	test_settle(loop);
	for (int i = first; i < FAKES; i++)
		fake_produce(&fakes[i], 1);
	for (int i = first; i < FAKES; i++) {
		while (!fakes[i].served)
			test_turn(loop);
		ck_assert_uint_eq(fakes[i].kicks, 1);
	}
}

/* Bells that ring when their sources are gone reach nobody. */
static void end(void)
{
	int bells[FAKES];

	for (int i = 0; i < FAKES; i++) {
		bells[i] = fakes[i].gone ? -1 : dup(fakes[i].kick_fd);
		if (!fakes[i].gone)
			fake_remove(&fakes[i]);
	}
	test_settle(loop);
	for (int i = 0; i < FAKES; i++) {
		ck_assert_int_eq(fakes[i].gone, 1);
		if (bells[i] >= 0)
			ck_assert_int_eq(eventfd_write(bells[i], 1), 0);
	}
	test_settle(loop);
	for (int i = 0; i < FAKES; i++)
		close(bells[i]);
	test_loop_end(loop);
}

/* vdb_loop_fd() replaces an engine that nobody has used; the loop goes on with the old one. */
START_TEST(asking_for_the_fd)
{
	setup();
	forbid(_i);
	ck_assert_int_eq(vdb_loop_fd(loop), -ENOSPC);
	ck_assert_uint_eq(test_loop_stats(loop).engine, VDB_ENGINE_URING);
	check_bells(0);
	end();
}
END_TEST

/* Another thread takes over, with one source about to leave. */
START_TEST(a_change_of_threads)
{
	setup();
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	fake_remove(&fakes[0]);
	for (int i = 0; i < 3; i++) {
		forbid(_i);
		ck_assert_int_eq(vdb_loop_step(loop), -ENOSPC);
		ck_assert_int_eq(fakes[0].gone, 0);
	}
	forbidden = false;
	check_bells(1);
	end();
}
END_TEST

/* It may be an epoll in the end. */
START_TEST(another_engine)
{
	setup();
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	fake_remove(&fakes[0]);
	forbid(2);
	ck_assert_int_eq(vdb_loop_step(loop), -ENOSPC);
	forbid(100);
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	ck_assert_uint_eq(test_loop_stats(loop).engine, VDB_ENGINE_EPOLL);
	check_bells(1);
	end();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("renew");

	/* The loop watches two fds of its own. */
	tcase_add_loop_test(tc, asking_for_the_fd, 0, FAKES + 2);
	tcase_add_loop_test(tc, a_change_of_threads, 0, FAKES + 1);
	tcase_add_test(tc, another_engine);
	return test_run("renew", tc);
}
