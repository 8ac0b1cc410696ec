/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VDB_TEST_CASE=NAME in the environment runs one START_TEST of a program alone: so each case of a
 * hostile guest (g27_...) and of a failing host (f5_...) has a line of its own in ctest's list. With
 * VDB_TEST_CASES=apart programs leave out what has such a line, when all lines are run anyway. Every
 * test program is linked with these two in the place of Check's, see cmake/AddTest.cmake.
 */
#include <check.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void __real__tcase_add_test(TCase *tc, const TTest *test, int signal, int status, int start, int end);
int __real_srunner_ntests_failed(SRunner *runner);
void __wrap__tcase_add_test(TCase *tc, const TTest *test, int signal, int status, int start, int end);
int __wrap_srunner_ntests_failed(SRunner *runner);

static bool apart(void)
{
	const char *cases = getenv("VDB_TEST_CASES");

	return cases && !strcmp(cases, "apart");
}

static bool is_case(const char *name)
{
	return (name[0] == 'g' || name[0] == 'f') && isdigit((unsigned char)name[1]);
}

static bool wanted(const char *name)
{
	const char *only = getenv("VDB_TEST_CASE");

	return only ? !strcmp(only, name) : !apart() || !is_case(name);
}

void __wrap__tcase_add_test(TCase *tc, const TTest *test, int signal, int status, int start, int end)
{
	if (wanted(test->name))
		__real__tcase_add_test(tc, test, signal, status, start, end);
}

/* A case that is in no list would pass for ever. */
int __wrap_srunner_ntests_failed(SRunner *runner)
{
	bool nothing = !srunner_ntests_run(runner) && (getenv("VDB_TEST_CASE") || !apart());

	return nothing ? 1 : __real_srunner_ntests_failed(runner);
}
