/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: one a thread, whole sentences, never too long. */
/* LABELS: tsan */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "suite.h"

START_TEST(empty_before_the_first_failure)
{
	ck_assert_str_eq(vdb_errmsg(), "");
}
END_TEST

START_TEST(a_failure_says_what_and_returns_it)
{
	ck_assert_int_eq(vdb__fail(EINVAL, "ring of %d entries", 3), -EINVAL);
	ck_assert_str_eq(vdb_errmsg(), "ring of 3 entries");
	ck_assert_int_eq(vdb__fail_sys(ENOENT, "open %s", "disk"), -ENOENT);
	ck_assert_str_eq(vdb_errmsg(), "open disk: No such file or directory");
}
END_TEST

START_TEST(a_long_message_is_cut)
{
	char text[2000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ck_assert_int_eq(vdb__fail_sys(EIO, "%s", text), -EIO);
	ck_assert_uint_eq(strlen(vdb_errmsg()), 511);
	ck_assert_int_eq(vdb__fail_sys(EIO, "short"), -EIO);
	ck_assert_str_eq(vdb_errmsg(), "short: Input/output error");
}
END_TEST

static void *fail_elsewhere(void *arg)
{
	ck_assert_str_eq(vdb_errmsg(), "");
	(void)vdb__fail(EIO, "elsewhere");
	return arg;
}

START_TEST(each_thread_has_its_own)
{
	pthread_t thread;

	(void)vdb__fail(EIO, "here");
	ck_assert_int_eq(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
	pthread_join(thread, NULL);
	ck_assert_str_eq(vdb_errmsg(), "here");
}
END_TEST

START_TEST(the_version_is_the_headers)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%d.%d.%d", VDB_VERSION_MAJOR, VDB_VERSION_MINOR,
	               VDB_VERSION_PATCH);
	ck_assert_str_eq(vdb_version(), text);
}
END_TEST

SUITE("error", empty_before_the_first_failure, a_failure_says_what_and_returns_it, a_long_message_is_cut,
      each_thread_has_its_own, the_version_is_the_headers)
