/* SPDX-License-Identifier: Apache-2.0 */
/* The main() of a test program with a fixture: one case, each test in a process of its own. */
#ifndef VDB_TESTS_RUN_H
#define VDB_TESTS_RUN_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Another round of what two threads do to each other? n are always played; in the configuration `full` 400
 * times as many, but for no longer than five minutes: how fast two threads get on depends on who else wants
 * the CPUs. */
static inline bool test_goes_on(uint64_t round, unsigned n)
{
	static time_t end;
	struct timespec now;

	if (round < n || !getenv("VDB_TEST_LONG") || round >= 400ull * n)
		return round < n;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	end = end ? end : now.tv_sec + 300;
	return now.tv_sec < end;
}

/* `seconds` for each test. */
static inline int test_run_within(const char *name, TCase *tc, double seconds)
{
	Suite *suite = suite_create(name);
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, seconds);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Several fixtures. */
static inline int test_run_all(const char *name, unsigned n, TCase *const *tcases)
{
	Suite *suite = suite_create(name);
	SRunner *runner;
	int failed;

	for (unsigned i = 0; i < n; i++) {
		tcase_set_timeout(tcases[i], 60);
		suite_add_tcase(suite, tcases[i]);
	}
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline int test_run(const char *name, TCase *tc)
{
	return test_run_within(name, tc, 60);
}

/* What a host does not let be shown, while the rest of the program is: nobody shall take it for passed. */
static inline void test_skipped_part(const char *what, const char *reason)
{
	(void)fprintf(stderr, "skipped part: %s: %s\n", what, reason);
}

#endif
