/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: fdatasync io_uring_submit io_uring_submit_and_wait io_uring_submit_and_get_events */
/* A FLUSH's completion is a promise: it is given only after the kernel has given it. */
#include "flush_watch.h"
#include "run.h"

START_TEST(a_flush_is_published_after_its_fdatasync)
{
	struct flush_watch watch = flush_watch_run(600);

	ck_assert_uint_eq(watch.broken, 0);
	ck_assert_uint_ge(watch.flushes, 100);
	ck_assert_uint_ge(watch.writes, 200);
	ck_assert_uint_ge(watch.syncs, 10);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("flush_order");

	tcase_add_test(tc, a_flush_is_published_after_its_fdatasync);
	return test_run_within("flush_order", tc, 100);
}
