/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VDB_TEST_CASE=NAME in the environment runs one START_TEST of a program alone: so each case of a
 * hostile guest (g27_...) and of a failing host (f5_...) has a line of its own in ctest's list. Every
 * test program is linked with these two in the place of Check's, see cmake/AddTest.cmake.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

void __real__tcase_add_test(TCase *tc, const TTest *test, int signal, int status, int start, int end);
int __real_srunner_ntests_failed(SRunner *runner);
void __wrap__tcase_add_test(TCase *tc, const TTest *test, int signal, int status, int start, int end);
int __wrap_srunner_ntests_failed(SRunner *runner);

void __wrap__tcase_add_test(TCase *tc, const TTest *test, int signal, int status, int start, int end)
{
	const char *only = getenv("VDB_TEST_CASE");

	if (!only || !strcmp(only, test->name))
		__real__tcase_add_test(tc, test, signal, status, start, end);
}

/* A case that is in no list would pass for ever. */
int __wrap_srunner_ntests_failed(SRunner *runner)
{
	return srunner_ntests_run(runner) ? __real_srunner_ntests_failed(runner) : 1;
}
