/* SPDX-License-Identifier: Apache-2.0 */
/* Where io_uring is forbidden or missing (a seccomp filter plays that), AUTO takes epoll and
 * URING says why not. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <vdb/error.h>

#include "forbid.h"
#include "run.h"
#include "source.h"
#include "turn.h"

static const struct {
	int err;
	const char *word;
} ways[] = {{ENOSYS, "ENOSYS"}, {EPERM, "forbidden"}};

START_TEST(auto_takes_epoll)
{
	struct vdb_loop_config config = {.size = sizeof(config)};
	struct fake fake = {.work = 1};
	struct vdb_loop *loop;

	forbid(ways[_i].err);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_uint_eq(test_loop_stats(loop).engine, VDB_ENGINE_EPOLL);
	ck_assert_uint_eq(test_loop_stats(loop).uring_flags, 0);
	ck_assert_int_ge(vdb_loop_fd(loop), 0);
	fake_add(loop, &fake, NULL, 1);
	for (uint64_t i = 1; i <= 10; i++) {
		while (fake.served < i)
			test_turn_nested(loop);
		test_settle(loop);
		fake_produce(&fake, 1);
	}
	fake_remove(&fake);
	test_loop_end(loop);
	ck_assert_int_eq(vdb_loop_create(NULL, &loop), 0);
	test_loop_end(loop);
}
END_TEST

START_TEST(uring_says_why_not)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};
	struct vdb_loop *loop = NULL;

	forbid(ways[_i].err);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), -ways[_i].err);
	ck_assert_ptr_null(loop);
	ck_assert_msg(strstr(vdb_errmsg(), ways[_i].word) != NULL, "%s", vdb_errmsg());
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "VDB_ENGINE_EPOLL"));
}
END_TEST

START_TEST(auto_takes_io_uring_where_there_is_one)
{
	struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_URING};
	struct vdb_loop *loop;

	if (vdb_loop_create(&config, &loop)) {
		(void)printf("no io_uring here: %s\n", vdb_errmsg());
		return;
	}
	test_loop_end(loop);
	ck_assert_int_eq(vdb_loop_create(NULL, &loop), 0);
	ck_assert_uint_eq(test_loop_stats(loop).engine, VDB_ENGINE_URING);
	test_loop_end(loop);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("forbidden");

	tcase_add_loop_test(tc, auto_takes_epoll, 0, 2);
	tcase_add_loop_test(tc, uring_says_why_not, 0, 2);
	tcase_add_test(tc, auto_takes_io_uring_where_there_is_one);
	return test_run("forbidden", tc);
}
