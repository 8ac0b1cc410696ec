/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/*
 * G66, G67: a guest that floods the outside through the uplink of its switch, and an outside that floods the
 * guests, beside a bystander's disk on the same loop: between the bystander's request and its service the
 * flooding guest and the cable get one budget each, at most.
 */
#include <string.h>

#include "arena.h"
#include "nic_rig.h"
#include "outside.h"
#include "rig.h"
#include "run.h"

#define QUANTUM (256u << 10)
#define REQUEST_COST 4096u
#define FRAME 1514u
#define PACKET (VDB_NET_HDR + FRAME)
#define BYSTANDER 4096u
#define ROUNDS 200

static struct {
	struct rig rig;
	struct rig_guest bystander;
	struct vdb_backend *disk;
	struct vdb_switch *sw;
	struct vdb_tenant *tenant;
	struct nic guest;
	struct outside outside;
	struct vdb_cable *cable;
	uint32_t unplugged;
} t;

static void plug_guest(void)
{
	struct nic_config config = {.tenant = NULL};
	struct vdb_netdev *port = NULL;

	ck_assert_int_eq(vdb_tenant_create(t.rig.loop, &t.tenant), 0);
	config.tenant = t.tenant;
	ck_assert_int_eq(vdb_switch_port(t.sw, NULL, &port), 0);
	nic_open(&t.guest, t.rig.loop, port, &config);
	vdb_netdev_destroy(port);
}

static void plug_uplink(void)
{
	struct vdb_cable_config config = {.size = sizeof(config)};

	outside_open(&t.outside, 0);
	t.outside.discards = true;
	ck_assert_int_eq(vdb_switch_port(t.sw, NULL, &config.netdev[0]), 0);
	config.netdev[1] = t.outside.netdev;
	ck_assert_msg(!vdb_cable_create(t.rig.loop, &config, &t.cable), "%s", vdb_errmsg());
	vdb_netdev_destroy(config.netdev[0]);
}

static void setup(void)
{
	memset(&t, 0, sizeof(t));
	rig_open(&t.rig, NULL);
	arena_spare("all that the loop serves is counted, beside a neighbour of its own");
	ck_assert_int_eq(vdb_backend_null(1 << 20, &t.disk), 0);
	rig_join(&t.rig, &t.bystander, &(struct rig_guest_config){.backend = t.disk});
	ck_assert_int_eq(vdb_switch_create(t.rig.loop, NULL, &t.sw), 0);
	plug_guest();
	plug_uplink();
	rig_turns(&t.rig, 4);
}

static void on_unplugged(void *arg)
{
	(void)arg;
	t.unplugged++;
}

static void teardown(void)
{
	vdb_cable_destroy(t.cable, on_unplugged, NULL);
	RIG_UNTIL(&t.rig, t.unplugged);
	t.outside.flood = 0;
	outside_close(&t.outside);
	nic_close(&t.guest);
	vdb_tenant_destroy(t.tenant);
	vdb_switch_destroy(t.sw);
	rig_leave(&t.bystander);
	vdb_backend_destroy(t.disk);
	rig_close(&t.rig);
}

static uint64_t served(void)
{
	return test_loop_stats(t.rig.loop).served;
}

/* What everybody else was served between the moment when the loop knew of the request, and its completion. */
static uint64_t beside_one_request(void)
{
	struct vdb_cqe cqe;
	uint64_t before = 0;
	unsigned turns = 0;

	ck_assert(mock_submit(&t.bystander.m, VDB_OP_READ, RIG_DATA, BYSTANDER, 0, 1));
	while (!vdb_guest_reap(&t.bystander.m.g, &cqe)) {
		before = served();
		rig_turns(&t.rig, 1);
		/* The first turn's bells are seen when it begins or, of one that goes on, ends. */
		ck_assert_uint_le(++turns, 2);
	}
	ck_assert_int_eq(cqe.result, (int32_t)BYSTANDER);
	return served() - before - BYSTANDER - REQUEST_COST;
}

/* A driver that is never idle. */
static void refill(void)
{
	static uint8_t frame[FRAME];

	nic_frame(frame, sizeof(frame), 50, 1, 3);
	(void)nic_reclaim(&t.guest);
	while (t.guest.driver[VDB__NET_TX].room >= 2)
		nic_send(&t.guest, NULL, frame, sizeof(frame));
}

static void begin_flood(void)
{
	static uint8_t frame[FRAME];

	nic_frame(frame, sizeof(frame), 1, 50, 3);
	t.outside.flood = FRAME;
	outside_send(&t.outside, NULL, frame, sizeof(frame));
}

static void check_floods(bool out, bool in)
{
	/* The guest's and the cable's. A budget is overdrawn by the last request at most; what lands in
	 * buffers, in the cable's or the guest's, is known only then. */
	const uint64_t bound = 2 * (QUANTUM + REQUEST_COST + PACKET) + 4 * VDB_NET_ROOMS * PACKET;
	uint64_t most = 0, sum = 0, cost;

	if (in)
		begin_flood();
	for (int i = 0; i < ROUNDS; i++) {
		if (out)
			refill();
		cost = beside_one_request();
		sum += cost;
		most = cost > most ? cost : most;
	}
	ck_assert_msg(most <= bound, "%llu were served between a request and its end, not %llu at most",
	              (unsigned long long)most, (unsigned long long)bound);
	/* It was a flood: half of what one may have. */
	ck_assert_uint_ge(sum, (uint64_t)ROUNDS * QUANTUM / 2);
}

START_TEST(g66_beside_a_guest_that_floods_an_uplink)
{
	check_floods(true, false);
	ck_assert_uint_gt(t.outside.taken, ROUNDS);
}
END_TEST

START_TEST(g67_beside_an_uplink_that_floods_guests)
{
	check_floods(false, true);
	ck_assert_uint_gt(t.outside.given, ROUNDS);
}
END_TEST

START_TEST(g67_beside_an_uplink_that_is_flooded_both_ways)
{
	check_floods(true, true);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("cable_fair");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, g66_beside_a_guest_that_floods_an_uplink);
	tcase_add_test(tc, g67_beside_an_uplink_that_floods_guests);
	tcase_add_test(tc, g67_beside_an_uplink_that_is_flooded_both_ways);
	return test_run("cable_fair", tc);
}
