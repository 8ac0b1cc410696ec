/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* More at once than the kernel's queues hold: nothing is lost. */
#include <check.h>

#include "run.h"
#include "source.h"
#include "turn.h"

#define SOURCES 100

static struct vdb_loop *loop;
static struct fake fakes[SOURCES];

static void begin(uint32_t sq, uint32_t cq)
{
	struct vdb_loop_config config = test_loop_config();

	config.sq_entries = sq;
	config.cq_entries = cq;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	for (int i = 0; i < SOURCES; i++)
		fake_add(loop, &fakes[i], NULL, 1);
	test_settle(loop);
}

static void end(void)
{
	for (int i = 0; i < SOURCES; i++)
		fake_remove(&fakes[i]);
	test_loop_end(loop);
	for (int i = 0; i < SOURCES; i++)
		ck_assert_int_eq(fakes[i].gone, 1);
}

START_TEST(all_bells_at_once_in_a_tiny_cq)
{
	begin(8, 16);
	for (uint64_t round = 1; round <= 50; round++) {
		for (int i = 0; i < SOURCES; i++) {
			ck_assert_int_eq(fakes[i].source.state, VDB__IDLE);
			fake_produce(&fakes[i], 1);
		}
		for (int i = 0; i < SOURCES; i++) {
			while (fakes[i].served < round)
				test_turn(loop);
			ck_assert_uint_eq(fakes[i].served, round);
		}
		test_settle(loop);
	}
	if (test_loop_stats(loop).engine == VDB_ENGINE_URING)
		ck_assert_uint_gt(test_loop_stats(loop).rearms, 0); /* it did overflow */
	end();
}
END_TEST

START_TEST(a_submission_queue_of_one)
{
	begin(1, 2);
	for (uint64_t round = 1; round <= 10; round++) {
		for (int i = 0; i < SOURCES; i++)
			fake_produce(&fakes[i], 1);
		for (int i = 0; i < SOURCES; i++)
			while (fakes[i].served < round)
				test_turn(loop);
		test_settle(loop);
	}
	end();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("storm");

	tcase_add_test(tc, all_bells_at_once_in_a_tiny_cq);
	tcase_add_test(tc, a_submission_queue_of_one);
	return test_run("storm", tc);
}
