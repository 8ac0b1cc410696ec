/* SPDX-License-Identifier: Apache-2.0 */
/* A guest runs, its accesses reach the buses, and how it ends is told in words. */
/* LABELS: tsan */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kvm_fixture.h"

static struct kvm_fixture f;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 1);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

GUEST(hello, "mov $0x1234, %eax\n out %eax, $0x10\n inc %eax\n out %eax, $0x10\n ud2");

START_TEST(guest_reports_by_port)
{
	LOAD(&f, 0, hello, 0);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.reports, 2);
	ck_assert_uint_eq(f.report[0], 0x1234);
	ck_assert_uint_eq(f.report[1], 0x1235);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).exits_pio, 2);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).unclaimed, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vcpu");
	TCase *tc = tcase_create("vcpu");
	SRunner *runner;
	int failed;

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, guest_reports_by_port);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
