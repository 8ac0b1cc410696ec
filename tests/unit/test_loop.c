/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Turns: doorbells, steps, running and stopping, batches, tenants. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>

#include "base/atomic.h"
#include "base/thread.h"
#include "engine.h"
#include "run.h"
#include "source.h"

static struct vdb_loop *loop;

static void setup(void)
{
	struct vdb_loop_config config = test_loop_config();

	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
}

static void teardown(void)
{
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
}

static struct vdb_loop_stats stats(void)
{
	struct vdb_loop_stats s = {.size = sizeof(s)};

	ck_assert_int_eq(vdb_loop_stats(loop, &s), 0);
	return s;
}

/* Sleeps as an embedder does, then steps. */
static void wait_and_step(void)
{
	struct pollfd fd = {.events = POLLIN};
	int idle = vdb_loop_prepare(loop);

	ck_assert_int_ge(idle, 0);
	fd.fd = vdb_loop_fd(loop);
	if (idle)
		ck_assert_int_eq(poll(&fd, 1, 20000), 1);
	ck_assert_int_ge(vdb_loop_step(loop), 0);
}

static void settle(void)
{
	while (vdb_loop_step(loop) > 0 || !vdb_loop_prepare(loop))
		;
}

static void remove_now(struct fake *fake)
{
	fake_remove(fake);
	ck_assert_int_eq(fake->gone, 0);
	while (!fake->gone)
		wait_and_step();
	ck_assert_int_eq(fake->gone, 1);
}

START_TEST(a_new_source_is_served_once)
{
	struct fake fake = {.work = 3, .bytes = 100};

	fake_add(loop, &fake, NULL, 1);
	ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_uint_eq(fake.served, 3);
	remove_now(&fake);
}
END_TEST

START_TEST(a_bell_brings_an_idle_source_back)
{
	struct fake fake = {0};
	struct vdb_loop_stats s;

	fake_add(loop, &fake, NULL, 1);
	settle();
	ck_assert_int_eq(fake.source.state, VDB__IDLE);
	fake_produce(&fake, 1);
	while (!fake.served)
		wait_and_step();
	ck_assert_uint_ge(fake.kicks, 1);
	s = stats();
	ck_assert_uint_ge(s.bells, 1);
	ck_assert_uint_eq(s.poll_hits, 0);
	remove_now(&fake);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("loop");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_new_source_is_served_once);
	tcase_add_test(tc, a_bell_brings_an_idle_source_back);
	return test_run("loop", tc);
}
