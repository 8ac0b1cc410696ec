/* SPDX-License-Identifier: Apache-2.0 */
/* The main() of a test program with a fixture: one case, each test in a process of its own. */
#ifndef VDB_TESTS_RUN_H
#define VDB_TESTS_RUN_H

#include <check.h>
#include <stdlib.h>

static inline int test_run(const char *name, TCase *tc)
{
	Suite *suite = suite_create(name);
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
