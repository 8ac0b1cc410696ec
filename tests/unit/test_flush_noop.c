/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: fdatasync io_uring_submit io_uring_submit_and_wait io_uring_submit_and_get_events */
/* The watch of test_flush_order notices a FLUSH that does nothing: the file backend's, compiled to be one,
 * takes the place of the library's. */
#define VDB__NOOP_FLUSH
#include "io/file_flush.c"

#include "flush_watch.h"
#include "run.h"

START_TEST(a_flush_that_does_nothing_is_noticed)
{
	struct flush_watch watch = flush_watch_run(100);

	ck_assert_uint_ge(watch.flushes, 10);
	ck_assert_uint_eq(watch.syncs, 0);
	ck_assert_uint_eq(watch.broken, watch.flushes);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("flush_noop");

	tcase_add_test(tc, a_flush_that_does_nothing_is_noticed);
	return test_run_within("flush_noop", tc, 100);
}
