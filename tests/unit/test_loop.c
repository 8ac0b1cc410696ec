/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Turns: doorbells, hot and cold sources, batches, tenants' counters. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/io.h>

#include "base/thread.h"
#include "run.h"
#include "source.h"
#include "turn.h"

static struct vdb_loop *loop;

static void setup(void)
{
	loop = test_loop_new();
}

static void teardown(void)
{
	test_loop_end(loop);
}

static void remove_now(struct fake *fake)
{
	fake_remove(fake);
	ck_assert_int_eq(fake->gone, 0);
	while (!fake->gone)
		test_turn(loop);
	ck_assert_int_eq(fake->gone, 1);
}

START_TEST(a_new_source_is_served_once)
{
	struct fake fake = {.work = 3, .bytes = 100};

	fake_add(loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_uint_eq(fake.served, 3);
	test_settle(loop);
	ck_assert_uint_eq(fake.serves, 1);
	remove_now(&fake);
}
END_TEST

START_TEST(a_bell_brings_an_idle_source_back)
{
	struct fake fake = {0};

	fake_add(loop, &fake, NULL, 1);
	test_settle(loop);
	for (uint64_t i = 1; i <= 100; i++) {
		ck_assert_int_eq(fake.source.state, VDB__IDLE);
		fake_produce(&fake, 1);
		while (fake.served < i)
			test_turn(loop);
		ck_assert_uint_ge(fake.kicks, i);
		test_settle(loop);
	}
	ck_assert_uint_ge(test_loop_stats(loop).bells, 100);
	ck_assert_uint_eq(test_loop_stats(loop).poll_hits, 0);
	ck_assert_uint_eq(test_loop_stats(loop).rearms, 0);
	remove_now(&fake);
}
END_TEST

START_TEST(a_bell_that_rang_before_is_heard)
{
	struct fake fake = {.work = 1};

	fake_add(loop, &fake, NULL, 1);
	fake_ring(&fake);
	while (!fake.kicks)
		test_turn(loop);
	remove_now(&fake);
}
END_TEST

START_TEST(work_that_arrives_while_arming_forbids_sleep)
{
	struct fake fake = {.arm_finds = 1};

	fake_add(loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_step(loop), 1); /* served, finds nothing, is hot */
	ck_assert_int_eq(fake.source.state, VDB__HOT);
	while (fake.arm_finds) {
		ck_assert_int_eq(vdb_loop_prepare(loop), 0);
		ck_assert_int_ge(vdb_loop_step(loop), 0);
	}
	ck_assert_uint_eq(fake.served, 1);
	ck_assert_uint_eq(fake.kicks, 0);
	test_settle(loop);
	remove_now(&fake);
}
END_TEST

START_TEST(hot_work_is_found_by_looking)
{
	struct fake fake = {0};

	fake_add(loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_step(loop), 1);
	fake.work = 5; /* no bell: nobody asked for one */
	ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_uint_eq(fake.served, 5);
	ck_assert_uint_eq(fake.kicks, 0);
	ck_assert_uint_eq(test_loop_stats(loop).poll_hits, 1);
	remove_now(&fake);
}
END_TEST

START_TEST(an_empty_source_is_not_looked_at_for_ever)
{
	struct fake busy = {.refill = 1, .bytes = 100}, empty = {0};

	fake_add(loop, &busy, NULL, 1);
	fake_add(loop, &empty, NULL, 1);
	for (int i = 0; i < 2000; i++)
		ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_int_eq(empty.source.state, VDB__IDLE);
	ck_assert_uint_eq(empty.arms, 1);
	ck_assert_uint_lt(empty.looks, 1100);
	fake_produce(&empty, 1);
	for (int i = 0; i < 200 && !empty.served; i++)
		ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_uint_eq(empty.served, 1);
	remove_now(&empty);
	remove_now(&busy);
}
END_TEST

START_TEST(polling_finds_work_without_a_bell)
{
	struct vdb_loop_config config = test_loop_config();
	struct fake fake = {.finds_at_look = 1000};

	test_loop_end(loop);
	config.poll_ns = 2000000000;
	config.poll_mode = VDB_POLL_ALWAYS; /* far more than the looks need */
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	fake_add(loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_step(loop), 1);
	while (!fake.served) {
		ck_assert_int_eq(vdb_loop_prepare(loop), 0);
		ck_assert_int_ge(vdb_loop_step(loop), 0);
	}
	ck_assert_uint_eq(fake.kicks, 0);
	ck_assert_uint_eq(fake.arms, 0);
	ck_assert_uint_eq(test_loop_stats(loop).poll_hits, 1);
	remove_now(&fake);
}
END_TEST

static struct vdb_io one_read;

static void read_done(struct vdb_io *io, int64_t result)
{
	(void)io;
	ck_assert_int_eq(result, 4);
	vdb_loop_stop(loop);
}

static void submit_read(struct fake *fake)
{
	if (fake->serves == 1)
		vdb_io_submit(loop, &one_read);
}

/* The kernel is to have it first. */
START_TEST(polling_does_not_hold_back_what_is_queued)
{
	struct vdb_loop_config config = test_loop_config();
	struct fake fake = {.on_serve = submit_read};
	char data[4];
	struct iovec iov = {data, sizeof(data)};

	if (config.engine == VDB_ENGINE_EPOLL)
		config.pool_threads = 0; /* else a thread has it at once */
	test_loop_end(loop);
	config.poll_ns = 2000000000;
	config.poll_mode = VDB_POLL_ALWAYS;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	/* It is in the page cache, so the read is done when it is begun. */
	one_read = (struct vdb_io){.op = VDB_IO_READV,
	                           .fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
	                           .iov = &iov,
	                           .niov = 1,
	                           .done = read_done};
	ck_assert_int_ge(one_read.fd, 0);
	fake_add(loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_run(loop), 0);
	ck_assert_uint_lt(fake.looks, 100);
	remove_now(&fake);
	close(one_read.fd);
}
END_TEST

START_TEST(a_source_without_a_bell_is_made_ready_by_hand)
{
	struct fake fake = {0};

	fake_add(loop, &fake, NULL, 0);
	test_settle(loop);
	ck_assert_int_eq(fake.source.state, VDB__IDLE);
	fake.work = 2;
	vdb__source_ready(&fake.source);
	while (fake.served < 2)
		test_turn(loop);
	remove_now(&fake);
}
END_TEST

static void make_ready_again(struct fake *fake)
{
	if (fake->serves < 3)
		vdb__source_ready(&fake->source);
}

START_TEST(a_source_may_ask_to_be_served_again_while_served)
{
	struct fake fake = {.on_serve = make_ready_again};

	fake_add(loop, &fake, NULL, 1);
	test_settle(loop);
	ck_assert_uint_eq(fake.serves, 3);
	ck_assert_int_eq(fake.source.state, VDB__IDLE);
	remove_now(&fake);
}
END_TEST

static void leave_while_served(struct fake *fake)
{
	fake_remove(fake);
}

START_TEST(a_source_may_leave_while_served)
{
	struct fake fake = {.work = 1, .on_serve = leave_while_served};
	struct fake other = {.work = 1};

	fake_add(loop, &fake, NULL, 1);
	fake_add(loop, &other, NULL, 1);
	while (!fake.gone)
		test_turn(loop);
	ck_assert_uint_eq(fake.serves, 1);
	ck_assert_uint_eq(other.served, 1);
	remove_now(&other);
}
END_TEST

START_TEST(a_rung_source_that_leaves_is_not_touched_again)
{
	struct fake fake[20] = {0};
	uint64_t kicks[20];

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 20; i++) {
			memset(&fake[i], 0, sizeof(fake[i]));
			fake_add(loop, &fake[i], NULL, 1);
		}
		if (round & 1)
			test_settle(loop);
		for (int i = 0; i < 20; i++) {
			fake_ring(&fake[i]);
			if (round & 2)
				(void)!vdb_loop_prepare(loop);
			fake_remove(&fake[i]);
			kicks[i] = fake[i].kicks;
			fake_ring(&fake[i]);
		}
		for (int i = 0; i < 20; i++) {
			while (!fake[i].gone)
				test_turn(loop);
			ck_assert_int_eq(fake[i].gone, 1);
			ck_assert_uint_eq(fake[i].kicks, kicks[i]);
		}
	}
}
END_TEST

START_TEST(a_bad_kick_fd_is_refused)
{
	struct fake fake = {0};
	struct vdb_tenant *tenant;

	ck_assert_int_eq(vdb_tenant_create(loop, &tenant), 0);
	ck_assert_int_eq(fake_try(loop, &fake, tenant, 999), -EBADF);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "999"));
	vdb_tenant_destroy(tenant);
	ck_assert_int_eq(fake_try(loop, &fake, NULL, 999), -EBADF);
}
END_TEST

struct counted {
	struct vdb__batch batch;
	struct fake *requeue;
	int runs;
};

static void count_batch(struct vdb__batch *batch)
{
	struct counted *counted = vdb__container(batch, struct counted, batch);

	ck_assert_ptr_eq(vdb__thread_loop, loop);
	counted->runs++;
}

static struct counted batched = {.batch.fn = count_batch};

static void queue_batch_twice(struct fake *fake)
{
	(void)fake;
	vdb__loop_batch(loop, &batched.batch);
	vdb__loop_batch(loop, &batched.batch);
}

START_TEST(a_batch_runs_once_a_turn)
{
	struct fake fake = {.on_serve = queue_batch_twice};

	fake_add(loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_int_eq(batched.runs, 1);
	vdb__loop_batch(loop, &batched.batch);
	ck_assert_int_eq(vdb_loop_prepare(loop), 0);
	test_turn(loop);
	ck_assert_int_eq(batched.runs, 2);
	test_settle(loop);
	ck_assert_int_eq(batched.runs, 2);
	remove_now(&fake);
}
END_TEST

START_TEST(a_tenant_is_charged_and_counted)
{
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};
	struct fake one = {.work = 3, .bytes = 1000}, two = {.work = 4, .bytes = 10};
	struct vdb_tenant *tenant;

	ck_assert_int_eq(vdb_tenant_create(loop, &tenant), 0);
	fake_add(loop, &one, tenant, 1);
	fake_add(loop, &two, tenant, 1);
	test_settle(loop);
	ck_assert_int_eq(vdb_tenant_stats(tenant, &stats), 0);
	ck_assert_uint_eq(stats.requests, 7);
	ck_assert_uint_eq(stats.bytes, 3040);
	ck_assert_uint_eq(stats.turns, 1);
	vdb__tenant_charge(tenant, 500, 400, 2);
	ck_assert_int_eq(vdb_tenant_stats(tenant, &stats), 0);
	ck_assert_uint_eq(stats.requests, 9);
	ck_assert_uint_eq(stats.bytes, 3440);
	vdb_tenant_destroy(tenant); /* the sources hold theirs */
	fake_produce(&one, 1);
	while (one.served < 4)
		test_turn(loop);
	remove_now(&one);
	remove_now(&two);
	vdb_tenant_destroy(NULL);
}
END_TEST

START_TEST(no_system_call_while_there_is_work)
{
	struct fake fake = {.refill = 1, .bytes = 100};
	struct vdb_loop_stats before, after;

	if (test_loop_stats(loop).engine != VDB_ENGINE_URING)
		return; /* epoll asks the kernel every turn */
	fake_add(loop, &fake, NULL, 1);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(vdb_loop_step(loop), 1);
	before = test_loop_stats(loop);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(vdb_loop_step(loop), 1);
	after = test_loop_stats(loop);
	ck_assert_uint_eq(after.turns - before.turns, 1000);
	ck_assert_uint_eq(after.enters, before.enters);
	remove_now(&fake);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("loop");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_new_source_is_served_once);
	tcase_add_test(tc, a_bell_brings_an_idle_source_back);
	tcase_add_test(tc, a_bell_that_rang_before_is_heard);
	tcase_add_test(tc, work_that_arrives_while_arming_forbids_sleep);
	tcase_add_test(tc, hot_work_is_found_by_looking);
	tcase_add_test(tc, an_empty_source_is_not_looked_at_for_ever);
	tcase_add_test(tc, polling_finds_work_without_a_bell);
	tcase_add_test(tc, polling_does_not_hold_back_what_is_queued);
	tcase_add_test(tc, a_source_without_a_bell_is_made_ready_by_hand);
	tcase_add_test(tc, a_source_may_ask_to_be_served_again_while_served);
	tcase_add_test(tc, a_source_may_leave_while_served);
	tcase_add_test(tc, a_rung_source_that_leaves_is_not_touched_again);
	tcase_add_test(tc, a_bad_kick_fd_is_refused);
	tcase_add_test(tc, a_batch_runs_once_a_turn);
	tcase_add_test(tc, a_tenant_is_charged_and_counted);
	tcase_add_test(tc, no_system_call_while_there_is_work);
	return test_run("loop", tc);
}
