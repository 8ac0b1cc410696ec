/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Queue registers: what may be enabled, what is frozen when (HOSTILE G1..G8, G14, G15). */
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "run.h"
#include "virtio/core.h"
#include "virtio_rig.h"

static struct virtio_rig rig;

static void setup(void)
{
	virtio_rig_open(&rig, NULL);
}

static void teardown(void)
{
	virtio_rig_close(&rig);
}

/* A case of a hostile guest: what it has begun ends with a reset. */
static void setup_case(void)
{
	setup();
	arena_begin(rig.loop);
}

static void teardown_case(void)
{
	virtio_rig_release(&rig);
	virtio_rig_reset(&rig);
	arena_end();
	teardown();
}

/* Queue 0's registers as a good driver would set them. */
static struct vdb_virtq_config good(void)
{
	struct vdb_virtq_config config = {.size = sizeof(config), .entries = 16};

	config.desc = 0x1000;
	config.driver = 0x2000;
	config.device = 0x3000;
	return config;
}

static bool can_enable(const struct vdb_virtq_config *config)
{
	bool enabled;

	virtio_rig_place(&rig, 0, config);
	vdb__virtio_queue_enable(rig.device, 0);
	enabled = vdb__virtio_queue_enabled(rig.device, 0);
	virtio_rig_negotiate(&rig, vdb__virtio_driver_features(rig.device, 0) |
	                                   (uint64_t)vdb__virtio_driver_features(rig.device, 1) << 32);
	return enabled;
}

static void bad_queues(void)
{
	struct vdb_virtq_config c = good();

	ck_assert(can_enable(&c));
	c.desc += 8;
	ck_assert(!can_enable(&c));
	c = good();
	c.device += 2;
	ck_assert(!can_enable(&c));
	c = good();
	c.entries = 0;
	ck_assert(!can_enable(&c));
	c = good();
	c.entries = 512; /* the device has 256 */
	ck_assert(!can_enable(&c));
	c = good();
	c.desc = VRIG_MAX_QUEUES * VRIG_STRIDE - 16; /* sticks out of memory */
	ck_assert(!can_enable(&c));
	c = good();
	c.driver = 0xfffffffffffffff0;
	ck_assert(!can_enable(&c));
	c = good();
	c.device = 0x100000000;
	ck_assert(!can_enable(&c));
}

START_TEST(g1_g2_g3_bad_split_queues_stay_disabled)
{
	struct vdb_virtq_config c = good();

	virtio_rig_negotiate(&rig, VRIG_V1);
	bad_queues();
	c.driver += 1;
	ck_assert(!can_enable(&c));
	c = good();
	c.entries = 3;
	ck_assert(!can_enable(&c));
}
END_TEST

START_TEST(g1_g2_g3_bad_packed_queues_stay_disabled)
{
	struct vdb_virtq_config c = good();

	virtio_rig_negotiate(&rig, VRIG_V1 | VRIG_BIT(VIRTIO_F_RING_PACKED));
	bad_queues();
	c.driver += 2;
	ck_assert(!can_enable(&c));
	c = good();
	c.entries = 3;
	ck_assert(can_enable(&c));
}
END_TEST

START_TEST(g9_no_queue_before_features_ok)
{
	struct vdb_virtq_config c = good();

	virtio_rig_set(&rig, 3);
	virtio_rig_place(&rig, 0, &c);
	vdb__virtio_queue_enable(rig.device, 0);
	ck_assert(!vdb__virtio_queue_enabled(rig.device, 0));
}
END_TEST

START_TEST(g8_an_enabled_queue_is_frozen)
{
	struct vdb_virtq_config other = good();

	other.desc = other.driver = other.device = 0x8000;
	other.entries = 8;
	virtio_rig_negotiate(&rig, VRIG_V1);
	virtio_rig_queue(&rig, 0, 16);
	for (int i = 0; i < 2; i++) {
		virtio_rig_place(&rig, 0, &other);
		ck_assert_uint_eq(vdb__virtio_queue_size(rig.device, 0), 16);
		ck_assert_uint_eq(vdb__virtio_queue_addr(rig.device, 0, VDB__QUEUE_DESC),
		                  rig.driver[0].config.desc);
		ck_assert_uint_eq(vdb__virtio_queue_addr(rig.device, 0, VDB__QUEUE_DRIVER),
		                  rig.driver[0].config.driver);
		ck_assert_uint_eq(vdb__virtio_queue_addr(rig.device, 0, VDB__QUEUE_DEVICE),
		                  rig.driver[0].config.device);
		virtio_rig_ok(&rig);
		virtio_rig_echo(&rig, 0);
	}
}
END_TEST

START_TEST(g7_queues_that_are_not_there)
{
	struct vdb_virtq_config c = good();
	struct vdb_gate *gate = (struct vdb_gate *)&rig;

	virtio_rig_negotiate(&rig, VRIG_V1);
	for (uint32_t i = VRIG_QUEUES; i; i = i > UINT32_MAX / 7 ? 0 : i * 7) {
		virtio_rig_place(&rig, i, &c);
		vdb__virtio_queue_enable(rig.device, i);
		ck_assert(!vdb__virtio_queue_enabled(rig.device, i));
		ck_assert(!vdb__virtio_queue_in_reset(rig.device, i));
		ck_assert_uint_eq(vdb__virtio_queue_max(rig.device, i), 0);
		ck_assert_uint_eq(vdb__virtio_queue_size(rig.device, i), 0);
		ck_assert_uint_eq(vdb__virtio_queue_addr(rig.device, i, VDB__QUEUE_DESC), 0);
		vdb__virtio_queue_reset(rig.device, i, &gate);
		ck_assert_ptr_null(gate);
	}
}
END_TEST

START_TEST(g15_a_kick_before_driver_ok_serves_nothing)
{
	virtio_rig_negotiate(&rig, VRIG_V1);
	virtio_rig_queue(&rig, 0, 16);
	virtio_rig_send(&rig, 0, 5);
	usleep(2000);
	ck_assert_uint_eq(vdb__load(&rig.echo.served), 0);
	/* It is seen when its time has come. */
	virtio_rig_ok(&rig);
	virtio_rig_receive(&rig, 0, 5);
}
END_TEST

/* The loop hears of it, and what it takes meanwhile is served. */
static void await_stopped(void)
{
	for (bool any = true; any;) {
		usleep(1000);
		vdb__virtio_lock(rig.device);
		any = rig.device->stopping;
		vdb__virtio_unlock(rig.device);
	}
}

START_TEST(g15_a_kick_after_failed_serves_nothing)
{
	virtio_rig_up(&rig, 0, 1);
	virtio_rig_echo(&rig, 0);
	virtio_rig_set(&rig, 0x8f);
	await_stopped();
	virtio_rig_send(&rig, 0, 5);
	usleep(2000);
	ck_assert_uint_eq(vdb__load(&rig.echo.served), 1);
}
END_TEST

START_TEST(g6_enabled_after_driver_ok)
{
	virtio_rig_up(&rig, 0, 0);
	for (uint32_t i = VRIG_QUEUES; i-- > 0;) {
		virtio_rig_queue(&rig, i, 8);
		virtio_rig_echo(&rig, i);
	}
}
END_TEST

static const uint64_t lives[] = {
        0,
        VRIG_BIT(VIRTIO_F_RING_PACKED) | VRIG_BIT(VIRTIO_RING_F_EVENT_IDX),
        VRIG_BIT(VIRTIO_RING_F_INDIRECT_DESC),
        VRIG_BIT(VIRTIO_F_RING_PACKED),
        VRIG_BIT(VIRTIO_RING_F_EVENT_IDX),
};

START_TEST(g14_each_life_has_another_layout)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};
	const uint32_t rounds = 20;

	for (uint32_t i = 0; i < rounds; i++) {
		virtio_rig_negotiate(&rig, VRIG_V1 | lives[i % (sizeof(lives) / sizeof(lives[0]))]);
		virtio_rig_queue(&rig, 2, 2u << i % 8);
		virtio_rig_ok(&rig);
		for (uint32_t n = 0; n < i; n++)
			virtio_rig_echo(&rig, 2);
	}
	ck_assert_uint_eq(rig.breaks, 0);
	ck_assert_int_eq(vdb_virtio_queue_stats(rig.device, 2, &stats), 0);
	ck_assert_uint_eq(stats.completions, rounds * (rounds - 1) / 2);
	ck_assert_uint_eq(stats.requests, stats.completions);
	ck_assert_uint_ge(stats.kicks + stats.poll_hits, 1);
	ck_assert_uint_eq(rig.echo.served, stats.completions);
}
END_TEST

static const uint64_t in_order[] = {0, VRIG_BIT(VIRTIO_F_RING_PACKED)};

/* The rig's driver checks the order. */
START_TEST(used_in_order)
{
	struct virtio_rig other;

	virtio_rig_open(&other, &(struct vdb_virtio_config){.flags = VDB_VIRTIO_IN_ORDER});
	virtio_rig_up(&other, VRIG_BIT(VIRTIO_F_IN_ORDER) | in_order[_i], 1);
	for (uint64_t i = 0; i < 100; i += 4) {
		for (uint64_t n = 0; n < 4; n++)
			virtio_rig_send(&other, 0, i + n);
		for (uint64_t n = 0; n < 4; n++)
			virtio_rig_receive(&other, 0, i + n);
	}
	virtio_rig_close(&other);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("queue"), *cases = tcase_create("cases");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_checked_fixture(cases, setup_case, teardown_case);
	tcase_add_test(cases, g1_g2_g3_bad_split_queues_stay_disabled);
	tcase_add_test(cases, g1_g2_g3_bad_packed_queues_stay_disabled);
	tcase_add_test(cases, g9_no_queue_before_features_ok);
	tcase_add_test(cases, g8_an_enabled_queue_is_frozen);
	tcase_add_test(cases, g7_queues_that_are_not_there);
	tcase_add_test(cases, g15_a_kick_before_driver_ok_serves_nothing);
	tcase_add_test(cases, g15_a_kick_after_failed_serves_nothing);
	tcase_add_test(cases, g6_enabled_after_driver_ok);
	tcase_add_loop_test(tc, used_in_order, 0, 2);
	tcase_add_test(cases, g14_each_life_has_another_layout);
	return test_run_all("virtio_queue", 2, (TCase *[]){tc, cases});
}
