/* SPDX-License-Identifier: Apache-2.0 */
/* Without the deficit the fairness test would fail: the loop's tenants, compiled without it,
 * take the place of the library's. */
#define VDB__NO_DEFICIT
#include "loop/tenant.c"

#include "crowd.h"
#include "rig.h"
#include "run.h"

START_TEST(fairness_comes_from_the_deficit)
{
	ck_assert_uint_gt(crowd_spread(1000), CROWD_QUANTUM);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fairness_off");

	tcase_add_test(tc, fairness_comes_from_the_deficit);
	return test_run_within("fairness_lanes_off", tc, 100);
}
