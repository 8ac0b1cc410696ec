/* SPDX-License-Identifier: Apache-2.0 */
/* The fairness test notices when tenants' deficits are not carried over, and the loop when who was served
 * comes first again. This program has its
 * own tenant.c, which the linker takes instead of the library's. */
#define VDB__NO_DEFICIT
#define VDB__LAST_FIRST
#include "../../lib/loop/tenant.c"

#include "fair.h"
#include "run.h"

static struct fair fair;

START_TEST(without_deficits_tenants_drift_apart)
{
	fair_setup(&fair);
	fair_turns(&fair, 10000);
	ck_assert_uint_gt(fair_spread(&fair), 100 * (256u << 10));
	fair_end(&fair);
}
END_TEST

START_TEST(who_comes_first_again_overtakes)
{
	fair_setup(&fair);
	fair_turns(&fair, 10);
	ck_assert_uint_gt(test_loop_stats(fair.loop).overtaken, 100);
	fair_end(&fair);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fair_broken");

	tcase_add_test(tc, without_deficits_tenants_drift_apart);
	tcase_add_test(tc, who_comes_first_again_overtakes);
	return test_run("fair, broken", tc);
}
