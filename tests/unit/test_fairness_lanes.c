/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: slow */
/* TIMEOUT: 300 */
/* However much a VM asks for, and with however many rings: all are served the same. */
#include "crowd.h"
#include "rig.h"
#include "run.h"

START_TEST(demand_does_not_buy_service)
{
	uint64_t spread = crowd_spread(10000);

	ck_assert_msg(spread <= CROWD_QUANTUM, "after 10000 turns one VM is %llu bytes ahead of another",
	              (unsigned long long)spread);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fairness");

	tcase_add_test(tc, demand_does_not_buy_service);
	return test_run_within("fairness_lanes", tc, 280);
}
