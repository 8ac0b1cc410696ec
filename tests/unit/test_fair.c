/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Who is served how much. */
#include "base/atomic.h"
#include "fair.h"
#include "run.h"

#define QUANTUM (256u << 10)

static struct fair fair;

START_TEST(tenants_differ_by_at_most_a_quantum)
{
	fair_setup(&fair);
	fair_turns(&fair, 10000);
	ck_assert_uint_le(fair_spread(&fair), QUANTUM);
	fair_end(&fair);
}
END_TEST

/* At every moment, not only in the end. */
START_TEST(nobody_is_ahead_for_a_while)
{
	fair_setup(&fair);
	for (int i = 0; i < 200; i++) {
		fair_turns(&fair, 7);
		ck_assert_uint_le(fair_spread(&fair), QUANTUM);
	}
	fair_end(&fair);
}
END_TEST

/* Of everybody else at most one budget goes before one's own. */
START_TEST(nobody_is_served_twice_while_another_waits)
{
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};
	struct vdb_loop_stats loop;

	fair_setup(&fair);
	fair_turns(&fair, 2000);
	loop = test_loop_stats(fair.loop);
	ck_assert_uint_eq(loop.overtaken, 0);
	ck_assert_uint_ge(loop.visit_most, QUANTUM);
	ck_assert_uint_le(loop.visit_most, QUANTUM + (128u << 10) + 4096);
	ck_assert_uint_ge(loop.visit_requests, QUANTUM / (4096 + 512));
	ck_assert_uint_le(loop.visit_requests, QUANTUM / 4096 + 1);
	for (int i = 0; i < FAIR_TENANTS; i++) {
		ck_assert_int_eq(vdb_tenant_stats(fair.tenants[i], &stats), 0);
		ck_assert_uint_eq(stats.overtaken, 0);
		ck_assert_uint_gt(stats.wait_most, QUANTUM);
		ck_assert_uint_le(stats.wait_most, (FAIR_TENANTS - 1) * loop.visit_most);
	}
	fair_end(&fair);
}
END_TEST

/* One that wakes up now and then waits for one budget of each, whenever it does. */
START_TEST(who_has_just_become_ready_waits_for_one_budget_of_each)
{
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};
	struct fake sleeper = {.bytes = 512};
	struct vdb_tenant *tenant;

	fair_setup(&fair);
	ck_assert_int_eq(vdb_tenant_create(fair.loop, &tenant), 0);
	fake_add(fair.loop, &sleeper, tenant, 1);
	for (int i = 0; i < 300; i++) {
		fake_produce(&sleeper, 1);
		fair_turns(&fair, 3 + i % 5);
		while (vdb__load_acquire(&sleeper.work))
			fair_turns(&fair, 1);
	}
	ck_assert_int_eq(vdb_tenant_stats(tenant, &stats), 0);
	ck_assert_uint_eq(stats.overtaken, 0);
	ck_assert_uint_gt(stats.wait_most, 0);
	ck_assert_uint_le(stats.wait_most, FAIR_TENANTS * test_loop_stats(fair.loop).visit_most);
	fake_remove(&sleeper);
	vdb_tenant_destroy(tenant);
	fair_end(&fair);
}
END_TEST

START_TEST(rings_of_a_tenant_share_its_turns)
{
	struct fake *rings = &fair.rings[FAIR_TENANTS - 1]; /* the 16 of the last tenant */
	uint64_t least = UINT64_MAX;

	fair_setup(&fair);
	fair_turns(&fair, 4000);
	for (int i = 0; i < 16; i++)
		least = rings[i].serves < least ? rings[i].serves : least;
	for (int i = 0; i < 16; i++)
		ck_assert_uint_le(rings[i].serves, least + 1); /* in turn */
	fair_end(&fair);
}
END_TEST

/* Idle time is not saved up; debt is. */
START_TEST(an_idle_tenant_hoards_nothing)
{
	struct vdb_loop *loop = test_loop_new();
	struct fake steady = {.refill = 8, .bytes = 1000}, sleeper = {.bytes = 1000};
	uint64_t before;

	fake_add(loop, &steady, NULL, 0);
	fake_add(loop, &sleeper, NULL, 0);
	for (int i = 0; i < 1000; i++) {
		vdb__source_ready(&sleeper.source); /* a bell without work earns nothing */
		ck_assert_int_eq(vdb_loop_step(loop), 1);
	}
	before = steady.cost;
	sleeper.work = 1000000;
	vdb__source_ready(&sleeper.source);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_uint_ge(sleeper.cost, 9ull * QUANTUM);
	ck_assert_uint_le(sleeper.cost, steady.cost - before + 2ull * QUANTUM);
	fake_remove(&sleeper);
	fake_remove(&steady);
	test_loop_end(loop);
}
END_TEST

START_TEST(debt_is_paid_before_the_next_service)
{
	struct vdb_loop *loop = test_loop_new();
	struct fake debtor = {.refill = 8, .bytes = 1000}, other = {.refill = 8, .bytes = 1000};
	uint64_t before;

	fake_add(loop, &debtor, NULL, 0);
	fake_add(loop, &other, NULL, 0);
	ck_assert_int_eq(vdb_loop_step(loop), 1);
	before = debtor.cost;
	vdb__tenant_charge(debtor.source.tenant, 5ull * QUANTUM, 0, 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_uint_eq(debtor.cost, before);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_uint_gt(debtor.cost, before);
	ck_assert_uint_ge(other.cost, 10ull * QUANTUM);
	fake_remove(&debtor);
	fake_remove(&other);
	test_loop_end(loop);
}
END_TEST

/* A request of 4 GiB that is worked on in steps, as lanes do with FILL. */
struct giant {
	struct vdb__source source;
	uint64_t left, longest;
};

static bool giant_pending(struct vdb__source *source)
{
	return vdb__container(source, struct giant, source)->left > 0;
}

static uint64_t giant_serve(struct vdb__source *source, uint64_t budget)
{
	struct giant *giant = vdb__container(source, struct giant, source);
	uint64_t step = budget < giant->left ? budget : giant->left;

	giant->left -= step;
	source->bytes += step;
	giant->longest = step > giant->longest ? step : giant->longest;
	return step;
}

static void nothing(struct vdb__source *source)
{
	(void)source;
}

static const struct vdb__source_ops giant_ops = {
        .pending = giant_pending, .serve = giant_serve, .arm = giant_pending, .kicked = nothing};

START_TEST(a_giant_leaves_every_turn_to_a_bystander)
{
	struct vdb_loop *loop = test_loop_new();
	struct giant giant = {.source.ops = &giant_ops, .left = 4ull << 30};
	struct fake bystander = {.bytes = 512};
	uint64_t steps = 0;

	ck_assert_int_eq(vdb__source_add(loop, &giant.source, NULL, -1), 0);
	fake_add(loop, &bystander, NULL, 1);
	while (giant.left) {
		fake_produce(&bystander, 1);
		ck_assert_int_eq(vdb_loop_step(loop), 1);
		if (++steps % 2 == 0) /* rung or found by looking, one turn later at most */
			ck_assert_uint_ge(bystander.served + 1, steps);
	}
	ck_assert_uint_le(giant.longest, QUANTUM);
	ck_assert_uint_ge(steps, (4ull << 30) / QUANTUM);
	vdb__source_remove(&giant.source, nothing);
	fake_remove(&bystander);
	test_loop_end(loop);
}
END_TEST

START_TEST(quantum_and_cost_are_settings)
{
	struct vdb_loop_config config = test_loop_config();
	struct fake fake = {.refill = 8, .bytes = 0};
	struct vdb_loop *loop;

	config.quantum = 1000;
	config.request_cost = 100;
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_uint_eq(vdb__loop_quantum(loop), 1000);
	ck_assert_uint_eq(vdb__loop_request_cost(loop), 100);
	fake_add(loop, &fake, NULL, 0);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(vdb_loop_step(loop), 1);
	ck_assert_uint_eq(fake.served, 500);
	fake_remove(&fake);
	test_loop_end(loop);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fair");

	tcase_add_test(tc, tenants_differ_by_at_most_a_quantum);
	tcase_add_test(tc, nobody_is_ahead_for_a_while);
	tcase_add_test(tc, nobody_is_served_twice_while_another_waits);
	tcase_add_test(tc, who_has_just_become_ready_waits_for_one_budget_of_each);
	tcase_add_test(tc, rings_of_a_tenant_share_its_turns);
	tcase_add_test(tc, an_idle_tenant_hoards_nothing);
	tcase_add_test(tc, debt_is_paid_before_the_next_service);
	tcase_add_test(tc, a_giant_leaves_every_turn_to_a_bystander);
	tcase_add_test(tc, quantum_and_cost_are_settings);
	return test_run("fair", tc);
}
