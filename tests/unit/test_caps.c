/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: vdb__now */
/* What one VM may have: each cap is reached, and service goes on after it; by a clock of the test's. */
#include <errno.h>
#include <vdb/caps.h>
#include <vdb/error.h>

#include "rig.h"
#include "run.h"

uint64_t __wrap_vdb__now(void);

#define MS 1000000u

static uint64_t fake_now = 1000 * MS;
static struct rig rig;
static struct vdb_tenant *tenant;
static struct rig_guest guests[2];
static struct rig_hold holds[2];
static struct vdb_backend *backends[2];

uint64_t __wrap_vdb__now(void)
{
	return fake_now;
}

static struct vdb_tenant_stats stats_of(const struct vdb_tenant *whose)
{
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_tenant_stats(whose, &stats), 0);
	return stats;
}

/* A VM with two rings, whose requests end when the test says so. */
static void open_vm(const struct vdb_caps *caps)
{
	struct vdb_loop_config config = test_loop_config();

	config.poll_mode = VDB_POLL_NEVER;
	rig_open(&rig, &config);
	ck_assert_int_eq(vdb_tenant_create(rig.loop, &tenant), 0);
	ck_assert_msg(vdb_tenant_caps(tenant, caps) == 0, "%s", vdb_errmsg());
	for (int i = 0; i < 2; i++) {
		backends[i] = rig_hold_open(&holds[i]);
		rig_join(&rig, &guests[i],
		         &(struct rig_guest_config){.backend = backends[i], .lane.tenant = tenant});
	}
}

static void close_vm(void)
{
	for (int i = 0; i < 2; i++) {
		while (holds[i].n)
			rig_hold_end(&holds[i], 512, 1);
		rig_leave(&guests[i]);
		vdb_backend_destroy(backends[i]);
	}
	ck_assert_uint_eq(stats_of(tenant).inflight, 0);
	vdb_tenant_destroy(tenant);
	rig_close(&rig);
}

static void submit(int i, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		ck_assert(mock_submit(&guests[i].m, VDB_OP_READ, RIG_DATA, 512, 512, k));
	rig_turns(&rig, 4);
}

static void end_one(int i)
{
	rig_hold_end(&holds[i], 512, 1);
	rig_turns(&rig, 4);
}

/* Nothing is due: who waits must be woken by what comes. */
static void sleep_once(void)
{
	while (!vdb_loop_prepare(rig.loop))
		rig_turns(&rig, 1);
}

static unsigned reap(int i)
{
	struct vdb_cqe cqe;
	unsigned n = 0;

	for (; vdb_guest_reap(&guests[i].m.g, &cqe); n++)
		ck_assert_int_eq(cqe.result, 512);
	return n;
}

static void went(void *arg)
{
	struct rig_guest *guest = arg;

	guest->gone++;
}

/* Its memory stays. */
static void destroy_lane(int i)
{
	vdb_lane_destroy(guests[i].lane, went, &guests[i]);
	guests[i].lane = NULL;
}

/* ---- In flight ---- */

START_TEST(no_more_is_in_flight_than_the_cap)
{
	unsigned done = 0;

	open_vm(&(struct vdb_caps){.size = sizeof(struct vdb_caps), .inflight = 4});
	submit(0, 20);
	ck_assert_uint_eq(holds[0].n, 4);
	ck_assert_uint_eq(stats_of(tenant).inflight, 4);
	ck_assert_uint_gt(stats_of(tenant).crowded, 0);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_uint_eq(holds[0].n, 20 - i < 4 ? 20 - i : 4);
		end_one(0);
		done += reap(0);
	}
	ck_assert_uint_eq(done, 20);
	submit(0, 1); /* and on */
	ck_assert_uint_eq(holds[0].n, 1);
	close_vm();
}
END_TEST

/* The one that has all of it is not the one that waits: that one is woken though nobody rings. */
START_TEST(another_ring_of_the_vm_has_its_turn)
{
	open_vm(&(struct vdb_caps){.size = sizeof(struct vdb_caps), .inflight = 4});
	submit(0, 20);
	submit(1, 3);
	ck_assert_uint_eq(holds[0].n, 4);
	ck_assert_uint_eq(holds[1].n, 1); /* each may have one */
	sleep_once();
	end_one(1);
	ck_assert_uint_eq(holds[1].n, 1);
	sleep_once();
	end_one(0);
	sleep_once();
	end_one(0);
	ck_assert_uint_eq(holds[0].n + holds[1].n, 4);
	for (unsigned i = 0; i < 30 && holds[0].n + holds[1].n; i++) {
		sleep_once();
		ck_assert_uint_le(holds[0].n + holds[1].n, 5);
		end_one(holds[1].n ? 1 : 0);
	}
	ck_assert_uint_eq(reap(0), 20);
	ck_assert_uint_eq(reap(1), 3);
	close_vm();
}
END_TEST

START_TEST(another_vm_does_not_notice)
{
	struct rig_hold hold;
	struct vdb_backend *backend = rig_hold_open(&hold);
	struct rig_guest good;

	open_vm(&(struct vdb_caps){.size = sizeof(struct vdb_caps), .inflight = 1});
	rig_join(&rig, &good, &(struct rig_guest_config){.backend = backend});
	submit(0, 10);
	for (unsigned i = 0; i < 10; i++)
		ck_assert(mock_submit(&good.m, VDB_OP_READ, RIG_DATA, 512, 512, i));
	rig_turns(&rig, 4);
	ck_assert_uint_eq(holds[0].n, 1);
	ck_assert_uint_eq(hold.n, 10);
	while (hold.n)
		rig_hold_end(&hold, 512, 1);
	rig_leave(&good);
	vdb_backend_destroy(backend);
	close_vm();
}
END_TEST

/* One whose ring waits for room goes, and comes no more. */
START_TEST(who_waits_for_room_may_go)
{
	open_vm(&(struct vdb_caps){.size = sizeof(struct vdb_caps), .inflight = 2});
	submit(0, 2);
	submit(1, 3);
	ck_assert_uint_eq(holds[1].n, 1);
	sleep_once();
	destroy_lane(1);
	rig_turns(&rig, 4);
	rig_hold_end(&holds[1], 512, 1);
	rig_turns(&rig, 4);
	ck_assert_uint_eq(stats_of(tenant).inflight, 2);
	end_one(0);
	end_one(0);
	ck_assert_uint_eq(reap(0), 2);
	ck_assert_uint_eq(holds[1].n, 0);
	close_vm();
}
END_TEST

/* ---- Interrupts ---- */

/* Wants to hear of the next completion. */
static void ask(int i)
{
	do {
		(void)reap(i);
	} while (vdb_guest_arm(&guests[i].m.g));
}

static void open_irqs(uint32_t per_s)
{
	open_vm(&(struct vdb_caps){.size = sizeof(struct vdb_caps), .irqs_per_s = per_s});
	for (int i = 0; i < 8; i++) { /* those of the handshake are all out, and it was quiet afterwards */
		fake_now += 1000 * MS;
		rig_turns(&rig, 8);
	}
	guests[0].triggers = guests[1].triggers = 0;
	ask(0);
	ask(1);
}

START_TEST(interrupts_beyond_the_cap_come_later)
{
	uint64_t delayed;

	open_irqs(100);
	delayed = stats_of(tenant).irqs_delayed;
	submit(0, 5);
	end_one(0);
	ck_assert_uint_eq(guests[0].triggers, 1);
	ask(0);
	end_one(0);
	ck_assert_uint_eq(guests[0].triggers, 1);
	ck_assert_uint_eq(stats_of(tenant).irqs_delayed, delayed + 1);
	ck_assert_uint_eq(reap(0), 1); /* a guest that looks finds it at once */
	ask(0);
	end_one(0); /* one with that which waits */
	ck_assert_uint_eq(guests[0].triggers, 1);
	ck_assert_uint_eq(stats_of(tenant).irqs_delayed, delayed + 1);
	fake_now += 9 * MS;
	rig_turns(&rig, 4);
	ck_assert_uint_eq(guests[0].triggers, 1);
	fake_now += 1 * MS;
	RIG_UNTIL(&rig, guests[0].triggers == 2);
	/* And on. */
	fake_now += 10 * MS;
	ask(0);
	end_one(0);
	ck_assert_uint_eq(guests[0].triggers, 3);
	close_vm();
}
END_TEST

/* Whatever the guest does, each completion is followed by an interrupt that comes after it; and there are no
 * more of them than the cap allows. */
START_TEST(none_is_lost_and_none_too_many)
{
	uint64_t began, delayed = 0;

	open_irqs(1000);
	began = fake_now;
	for (unsigned i = 0; i < 300; i++) {
		int which = (int)(i % 2);
		uint64_t before = guests[which].triggers;

		ask(which);
		submit(which, 1);
		end_one(which);
		delayed += guests[which].triggers == before;
		while (guests[which].triggers == before) {
			fake_now += MS / 10;
			rig_turns(&rig, 2);
		}
	}
	ck_assert_uint_ge(delayed, 200);
	ck_assert_uint_le(guests[0].triggers + guests[1].triggers, 10 + (fake_now - began) / MS + 1);
	close_vm();
}
END_TEST

/* The rings of a VM take turns, the first that waited first. */
START_TEST(late_interrupts_come_in_order)
{
	open_irqs(100);
	submit(0, 3);
	submit(1, 3);
	end_one(0);
	ask(0);
	end_one(0);
	end_one(1);
	ck_assert_uint_eq(guests[0].triggers, 1);
	ck_assert_uint_eq(guests[1].triggers, 0);
	fake_now += 10 * MS;
	RIG_UNTIL(&rig, guests[0].triggers == 2);
	ck_assert_uint_eq(guests[1].triggers, 0);
	fake_now += 10 * MS;
	RIG_UNTIL(&rig, guests[1].triggers == 1);
	close_vm();
}
END_TEST

START_TEST(a_ring_that_ends_is_told_at_once)
{
	open_irqs(1);
	submit(0, 2);
	end_one(0);
	ask(0);
	end_one(0);
	ck_assert_uint_eq(guests[0].triggers, 1);
	destroy_lane(0);
	rig_turns(&rig, 4);
	ck_assert_uint_eq(guests[0].triggers, 2);
	close_vm();
}
END_TEST

/* ---- Who misbehaves ---- */

START_TEST(the_account_says_who)
{
	struct vdb_tenant_stats before, after;
	struct vdb_ring *ring;

	open_vm(NULL);
	sleep_once();
	before = stats_of(tenant);
	mock_bell(&guests[0].m.g);
	RIG_UNTIL(&rig, stats_of(tenant).bells_vain > before.bells_vain);
	after = stats_of(tenant);
	ck_assert_uint_gt(after.bells, before.bells);
	ck_assert_uint_eq(after.starts, 2);
	/* No memory there. */
	ck_assert(mock_submit(&guests[0].m, VDB_OP_READ, UINT64_C(1) << 40, 512, 0, 1));
	ck_assert_int_lt(rig_reap(&guests[0]).result, 0);
	after = stats_of(tenant);
	ck_assert_uint_eq(after.refused, 1);
	ck_assert_uint_eq(after.errors, 1);
	/* An index from nowhere. */
	ck_assert_uint_eq(after.broken, 0);
	ring = mock_at(&guests[1].ram, RIG_RING);
	__atomic_store_n(&ring->sq_tail.value, 12345u, __ATOMIC_RELAXED);
	mock_bell(&guests[1].m.g);
	RIG_UNTIL(&rig, stats_of(tenant).broken == 1);
	ck_assert_uint_ne(guests[1].broken, 0);
	rig_handshake(&guests[1]);
	submit(1, 1);
	ck_assert_uint_eq(holds[1].n, 1);
	close_vm();
}
END_TEST

/* ---- Config ---- */

START_TEST(caps_that_make_no_sense)
{
	struct vdb_caps caps = {.size = sizeof(caps), .reserved = 1};
	struct {
		struct vdb_caps caps;
		uint32_t more;
	} later = {.caps = {.size = sizeof(later)}, .more = 1};

	open_vm(NULL);
	ck_assert_int_eq(vdb_tenant_caps(tenant, &caps), -EINVAL);
	caps = (struct vdb_caps){.size = sizeof(caps), .irqs_per_s = VDB_CAPS_MAX_IRQS + 1};
	ck_assert_int_eq(vdb_tenant_caps(tenant, &caps), -EINVAL);
	ck_assert_int_eq(vdb_tenant_caps(tenant, &later.caps), -E2BIG);
	caps = (struct vdb_caps){.size = sizeof(caps), .inflight = 1};
	ck_assert_int_eq(vdb_tenant_caps(tenant, &caps), -EBUSY);
	submit(0, 5);
	ck_assert_uint_eq(holds[0].n, 5);
	close_vm();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("caps");

	tcase_add_test(tc, no_more_is_in_flight_than_the_cap);
	tcase_add_test(tc, another_ring_of_the_vm_has_its_turn);
	tcase_add_test(tc, another_vm_does_not_notice);
	tcase_add_test(tc, who_waits_for_room_may_go);
	tcase_add_test(tc, interrupts_beyond_the_cap_come_later);
	tcase_add_test(tc, none_is_lost_and_none_too_many);
	tcase_add_test(tc, late_interrupts_come_in_order);
	tcase_add_test(tc, a_ring_that_ends_is_told_at_once);
	tcase_add_test(tc, the_account_says_who);
	tcase_add_test(tc, caps_that_make_no_sense);
	return test_run("caps", tc);
}
