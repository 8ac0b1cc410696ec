/* SPDX-License-Identifier: Apache-2.0 */
/* The main() of a test program: one suite, each test in a process of its own. */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <check.h>
#include <stddef.h>

/* Runs them, each for at most 60 seconds (more under sanitizers, see CK_TIMEOUT_MULTIPLIER). For
 * main() to return. */
int suite_run(const char *name, const TTest *const *tests, size_t count);

#define SUITE(name, ...)                                                         \
	int main(void)                                                           \
	{                                                                        \
		const TTest *const tests[] = {__VA_ARGS__};                      \
                                                                                 \
		return suite_run(name, tests, sizeof(tests) / sizeof(tests[0])); \
	}

#endif
