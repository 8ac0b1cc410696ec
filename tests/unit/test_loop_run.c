/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Whose a loop is, running it and stopping it, and its end. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/io.h>

#include "base/atomic.h"
#include "base/thread.h"
#include "leak.h"
#include "run.h"
#include "source.h"
#include "turn.h"

static void stop_it(void *arg, int status)
{
	ck_assert_int_eq(status, 0);
	vdb_loop_stop(arg);
}

START_TEST(run_returns_after_stop_and_again)
{
	struct vdb_loop *loop = test_loop_new();

	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(vdb_loop_post(loop, stop_it, loop), 0);
		ck_assert_int_eq(vdb_loop_run(loop), 0);
	}
	ck_assert(!vdb__on_loop_thread());
	test_loop_end(loop);
}
END_TEST

START_TEST(a_stop_before_the_run_is_not_lost)
{
	struct vdb_loop *loop = test_loop_new();
	struct fake fake = {.work = 1};

	fake_add(loop, &fake, NULL, 1);
	vdb_loop_stop(loop);
	ck_assert_int_eq(vdb_loop_run(loop), 0);
	ck_assert_uint_eq(fake.served, 1);
	fake_remove(&fake);
	test_loop_end(loop);
	ck_assert_int_eq(fake.gone, 1);
}
END_TEST

START_TEST(a_thread_of_its_own_starts_and_is_joined)
{
	struct vdb_loop *loop = test_loop_new();

	ck_assert_int_eq(vdb_loop_join(loop), -EINVAL);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(vdb_loop_start(loop, -1, i ? NULL : "mine"), 0);
		ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), -EBUSY);
		ck_assert_int_eq(vdb_loop_destroy(loop), -EBUSY);
		ck_assert_int_eq(vdb_loop_join(loop), 0);
	}
	ck_assert_int_eq(vdb_loop_start(loop, 100000, NULL), -EINVAL);
	ck_assert_int_eq(vdb_loop_join(loop), -EINVAL);
	test_loop_end(loop);
}
END_TEST

static int join_here(void *arg)
{
	return vdb_loop_join(arg);
}

static int misuse_here(void *arg)
{
	struct vdb_loop *loop = arg;

	ck_assert_int_eq(vdb_loop_here(loop), 1);
	ck_assert_int_eq(vdb_loop_step(loop), -EBUSY);
	ck_assert_int_eq(vdb_loop_run(loop), -EBUSY);
	ck_assert_int_eq(vdb_loop_prepare(loop), -EBUSY);
	ck_assert_int_eq(vdb_loop_destroy(loop), -EBUSY);
	return 17;
}

START_TEST(a_loop_is_not_entered_from_within)
{
	struct vdb_loop *loop = test_loop_new();

	ck_assert_int_eq(vdb_loop_start(loop, 0, NULL), 0);
	ck_assert_int_eq(vdb_loop_here(loop), 0);
	ck_assert_int_eq(vdb_loop_call(loop, misuse_here, loop), 17);
	ck_assert_int_eq(vdb_loop_call(loop, join_here, loop), -EDEADLK);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	test_loop_end(loop);
}
END_TEST

static void *foreign(void *arg)
{
	struct vdb_loop *loop = arg;

	ck_assert_int_eq(vdb_loop_step(loop), -EPERM);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "thread"));
	ck_assert_int_eq(vdb_loop_prepare(loop), -EPERM);
	ck_assert_int_eq(vdb_loop_run(loop), -EPERM);
	ck_assert_int_eq(vdb_loop_here(loop), 0);
	return NULL;
}

START_TEST(another_thread_is_refused)
{
	struct vdb_loop *loop = test_loop_new();
	pthread_t thread;

	ck_assert_int_eq(vdb_loop_here(loop), 0);
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	ck_assert_int_eq(vdb_loop_here(loop), 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, foreign, loop), 0);
	pthread_join(thread, NULL);
	ck_assert_int_ge(vdb_loop_step(loop), 0);
	test_loop_end(loop);
}
END_TEST

struct pipe_io {
	struct vdb_io io;
	struct iovec iov;
	struct vdb_loop *loop;
	int fds[2];
	char buf[64];
	int64_t result;
	uint32_t done;
};

static void pipe_done(struct vdb_io *io, int64_t result)
{
	struct pipe_io *p = vdb__container(io, struct pipe_io, io);

	p->result = result;
	vdb__store_release(&p->done, p->done + 1);
}

static int pipe_read(void *arg)
{
	struct pipe_io *p = arg;

	p->iov = (struct iovec){p->buf, sizeof(p->buf)};
	p->io = (struct vdb_io){
	        .op = VDB_IO_READV, .fd = p->fds[0], .iov = &p->iov, .niov = 1, .done = pipe_done};
	vdb_io_submit(p->loop, &p->io);
	return 0;
}

START_TEST(destroy_with_a_read_pending_cancels_it)
{
	struct pipe_io p = {.loop = test_loop_new()};

	ck_assert_int_eq(pipe2(p.fds, O_CLOEXEC), 0);
	pipe_read(&p);
	test_settle(p.loop);
	ck_assert_uint_eq(p.done, 0);
	test_loop_end(p.loop);
	ck_assert_uint_eq(p.done, 1);
	ck_assert_int_eq(p.result, -ECANCELED);
}
END_TEST

START_TEST(destroy_by_another_thread_with_a_read_pending)
{
	struct pipe_io p = {.loop = test_loop_new()};

	ck_assert_int_eq(pipe2(p.fds, O_CLOEXEC), 0);
	ck_assert_int_eq(vdb_loop_start(p.loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_call(p.loop, pipe_read, &p), 0);
	ck_assert_int_eq(vdb_loop_join(p.loop), 0);
	ck_assert_uint_eq(p.done, 0);
	test_loop_end(p.loop);
	ck_assert_uint_eq(p.done, 1);
	ck_assert_int_eq(p.result, -ECANCELED);
}
END_TEST

START_TEST(what_is_in_flight_survives_a_change_of_threads)
{
	struct pipe_io p = {.loop = test_loop_new()};
	struct fake fake = {0};

	ck_assert_int_eq(pipe2(p.fds, O_CLOEXEC), 0);
	ck_assert_int_eq(vdb_loop_start(p.loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_call(p.loop, pipe_read, &p), 0);
	ck_assert_int_eq(vdb_loop_join(p.loop), 0);
	fake_add(p.loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_start(p.loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_join(p.loop), 0);
	ck_assert_int_eq(write(p.fds[1], "hello", 5), 5);
	ck_assert_int_eq(vdb_loop_start(p.loop, -1, NULL), 0);
	fake_produce(&fake, 1);
	while (!vdb__load_acquire(&p.done) || vdb__load_acquire(&fake.work))
		usleep(1000);
	ck_assert_int_eq(vdb_loop_join(p.loop), 0);
	ck_assert_int_eq(p.result, 5);
	ck_assert_int_eq(memcmp(p.buf, "hello", 5), 0);
	ck_assert_uint_eq(fake.served, 1);
	fake_remove(&fake);
	test_loop_end(p.loop);
	ck_assert_int_eq(fake.gone, 1);
}
END_TEST

struct member {
	struct vdb__member member;
	struct vdb_loop *loop;
	struct fake fake;
	struct vdb_timer *timer;
	int asked, parted;
};

static void part(void *arg)
{
	struct member *member = arg;

	vdb__loop_part_member(&member->member);
	member->parted++;
	vdb_timer_destroy(member->timer);
}

static void leave(struct vdb__member *m)
{
	struct member *member = vdb__container(m, struct member, member);

	member->asked++;
	fake_remove(&member->fake);
	ck_assert_int_eq(vdb_timer_create(member->loop, part, member, &member->timer), 0);
	vdb_timer_arm(member->timer, 3000000);
}

static void *end_loop(void *arg)
{
	ck_assert_int_eq(vdb_loop_destroy(arg), 0);
	return NULL;
}

START_TEST(members_are_asked_once_and_waited_for)
{
	static struct member members[5];
	struct vdb_loop *loop = test_loop_new();
	pthread_t thread;

	for (int i = 0; i < 5; i++) {
		members[i].loop = loop;
		members[i].member.leave = leave;
		fake_add(loop, &members[i].fake, NULL, 1);
		vdb__loop_join_member(loop, &members[i].member);
	}
	if (_i) {
		ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
		ck_assert_int_eq(vdb_loop_join(loop), 0);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, end_loop, loop), 0);
	pthread_join(thread, NULL);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(members[i].asked, 1);
		ck_assert_int_eq(members[i].parted, 1);
		ck_assert_int_eq(members[i].fake.gone, 1);
	}
}
END_TEST

struct late {
	struct vdb__member member;
	struct pipe_io pipe;
};

static void late_done(struct vdb_io *io, int64_t result)
{
	struct late *late = vdb__container(io, struct late, pipe.io);

	pipe_done(io, result);
	vdb__loop_part_member(&late->member);
}

static void late_leave(struct vdb__member *member)
{
	struct late *late = vdb__container(member, struct late, member);

	pipe_read(&late->pipe);
	late->pipe.io.done = late_done;
}

START_TEST(what_a_leaving_member_waits_for_in_vain_is_cancelled)
{
	struct late late = {.pipe.loop = test_loop_new(), .member.leave = late_leave};

	ck_assert_int_eq(pipe2(late.pipe.fds, O_CLOEXEC), 0);
	vdb__loop_join_member(late.pipe.loop, &late.member);
	test_loop_end(late.pipe.loop);
	ck_assert_uint_eq(late.pipe.done, 1);
	ck_assert_int_eq(late.pipe.result, -ECANCELED);
}
END_TEST

struct joiner {
	struct vdb_io io;
	struct member member;
};

static void join_late(struct vdb_io *io, int64_t result)
{
	struct joiner *joiner = vdb__container(io, struct joiner, io);

	ck_assert_int_eq(result, -ECANCELED);
	fake_add(joiner->member.loop, &joiner->member.fake, NULL, 1);
	vdb__loop_join_member(joiner->member.loop, &joiner->member.member);
}

/* As a lane does that was posted to the loop just before the end. */
START_TEST(a_member_that_joins_at_the_end_is_asked_too)
{
	struct joiner joiner = {.io = {.op = VDB_IO_POLL, .mode = POLLIN, .done = join_late}};
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	joiner.io.fd = fds[0];
	joiner.member.loop = test_loop_new();
	joiner.member.member.leave = leave;
	vdb_io_submit(joiner.member.loop, &joiner.io);
	test_settle(joiner.member.loop);
	test_loop_end(joiner.member.loop);
	ck_assert_int_eq(joiner.member.asked, 1);
	ck_assert_int_eq(joiner.member.parted, 1);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static void life(void *arg)
{
	struct vdb_loop *loop = test_loop_new();
	struct fake fake = {.work = 1};

	(void)arg;
	fake_add(loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	fake_remove(&fake);
	test_loop_end(loop);
	ck_assert_int_eq(fake.gone, 1);
}

START_TEST(a_life_leaves_nothing_behind)
{
	leak_check(life, NULL, 1 << 18);
	test_loop_end(NULL);
}
END_TEST

START_TEST(bad_configs_are_refused)
{
	static const struct {
		struct vdb_loop_config config;
		int err;
		const char *words;
	} bad[] = {
	        {{.size = 4}, -EINVAL, "size"},
	        {{.engine = 3}, -EINVAL, "engine 3"},
	        {{.pool_threads = -2}, -EINVAL, "pool_threads -2"},
	        {{.pool_threads = 65}, -EINVAL, "pool_threads 65"},
	        {{.sq_entries = 32769}, -EINVAL, "32769"},
	        {{.sq_entries = 64, .cq_entries = 32}, -EINVAL, "cq_entries 32"},
	        {{.quantum = UINT64_MAX}, -EINVAL, "quantum"},
	        {{.flags = 1u << 31}, -EINVAL, "flags 0x80000000"},
	        {{.sq_idle_ms = 1}, -EINVAL, "sq_idle_ms"},
	        {{.sq_cpu = 1}, -EINVAL, "sq_cpu"},
	        {{.poll_mode = 3}, -EINVAL, "poll_mode 3"},
	        {{.poll_cpu = 101}, -EINVAL, "poll_cpu 101"},
	};
	struct vdb_loop *loop = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vdb_loop_config config = bad[i].config;

		config.size = config.size ? config.size : sizeof(config);
		ck_assert_int_eq(vdb_loop_create(&config, &loop), bad[i].err);
		ck_assert_msg(strstr(vdb_errmsg(), bad[i].words) != NULL, "%s", vdb_errmsg());
		ck_assert_ptr_null(loop);
	}
}
END_TEST

/* What no embedder does. */
static void close_engine(void)
{
	char path[64], name[64];
	ssize_t len;

	for (int fd = 3; fd < 100; fd++) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, name, sizeof(name) - 1);
		name[len > 0 ? len : 0] = 0;
		if (strstr(name, "[io_uring]") || strstr(name, "[eventpoll]"))
			close(fd);
	}
}

START_TEST(a_failed_engine_ends_the_run_with_its_error)
{
	struct pipe_io p = {.loop = test_loop_new()};
	struct fake fake = {0};
	int err;

	ck_assert_int_eq(pipe2(p.fds, O_CLOEXEC), 0);
	fake_add(p.loop, &fake, NULL, 1);
	pipe_read(&p);
	test_settle(p.loop);
	close_engine();
	err = vdb_loop_run(p.loop);
	ck_assert_int_lt(err, 0);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "destroy"));
	ck_assert_int_eq(vdb_loop_run(p.loop), err);
	fake_remove(&fake);
	test_loop_end(p.loop);
	ck_assert_uint_eq(p.done, 1);
	ck_assert_int_eq(p.result, err);
	ck_assert_int_eq(fake.gone, 1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("run");

	tcase_add_test(tc, run_returns_after_stop_and_again);
	tcase_add_test(tc, a_stop_before_the_run_is_not_lost);
	tcase_add_test(tc, a_thread_of_its_own_starts_and_is_joined);
	tcase_add_test(tc, a_loop_is_not_entered_from_within);
	tcase_add_test(tc, another_thread_is_refused);
	tcase_add_test(tc, destroy_with_a_read_pending_cancels_it);
	tcase_add_test(tc, destroy_by_another_thread_with_a_read_pending);
	tcase_add_test(tc, what_is_in_flight_survives_a_change_of_threads);
	tcase_add_loop_test(tc, members_are_asked_once_and_waited_for, 0, 2);
	tcase_add_test(tc, what_a_leaving_member_waits_for_in_vain_is_cancelled);
	tcase_add_test(tc, a_member_that_joins_at_the_end_is_asked_too);
	tcase_add_test(tc, a_life_leaves_nothing_behind);
	tcase_add_test(tc, bad_configs_are_refused);
	tcase_add_test(tc, a_failed_engine_ends_the_run_with_its_error);
	return test_run("loop run", tc);
}
