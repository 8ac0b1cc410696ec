/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* The status state machine and feature negotiation (virtio 1.2, 2.1, 2.2, 3.1.1; HOSTILE G9, G10). */
#include <errno.h>

#include "arena.h"
#include "run.h"
#include "virtio_rig.h"

#define ACK VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRIVER VIRTIO_CONFIG_S_DRIVER
#define FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define DRIVER_OK VIRTIO_CONFIG_S_DRIVER_OK
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define FAILED VIRTIO_CONFIG_S_FAILED

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

/* Writes it and looks what it has become. */
#define SET(value, want)                                          \
	do {                                                      \
		virtio_rig_set(&rig, (value));                    \
		ck_assert_uint_eq(virtio_rig_status(&rig), want); \
	} while (0)

START_TEST(bits_come_in_their_order)
{
	SET(ACK, 1);
	SET(ACK | DRIVER, 3);
	virtio_rig_accept(&rig, VRIG_V1);
	SET(ACK | DRIVER | FEATURES_OK, 0xb);
	SET(0xf, 0xf);
	SET(0xf, 0xf);
	ck_assert_uint_eq(rig.negotiated, VRIG_V1);
}
END_TEST

START_TEST(g9_skipped_steps_are_refused)
{
	SET(DRIVER, 0);
	SET(FEATURES_OK, 0);
	SET(DRIVER_OK, 0);
	SET(ACK | DRIVER_OK, 1);
	SET(ACK | FEATURES_OK, 1);
	SET(ACK | DRIVER, 3);
	SET(ACK | DRIVER | DRIVER_OK, 3);
}
END_TEST

START_TEST(g9_bits_are_never_cleared_but_all_together)
{
	SET(ACK | DRIVER, 3);
	SET(ACK, 3);
	SET(DRIVER, 3);
	SET(0, 0);
}
END_TEST

START_TEST(g9_bits_of_no_meaning_are_ignored)
{
	SET(0x10, 0);
	SET(0x20 | ACK, 1);
	SET(NEEDS_RESET | ACK, 1);
}
END_TEST

START_TEST(g9_failed_ends_it_until_reset)
{
	SET(ACK | DRIVER | FAILED, 0x83);
	SET(0xf, 0x83);
	SET(0, 0);
	SET(ACK, 1);
	SET(FAILED, 0x81);
}
END_TEST

static void refused(uint64_t features)
{
	virtio_rig_reset(&rig);
	SET(ACK | DRIVER, 3);
	virtio_rig_accept(&rig, features);
	SET(ACK | DRIVER | FEATURES_OK, 3);
	SET(0xf, 3);
}

START_TEST(g10_wrong_features_are_refused)
{
	refused(0);
	refused(VRIG_BIT(VRIG_FEATURE));
	refused(VRIG_V1 | VRIG_BIT(7));
	refused(VRIG_V1 | VRIG_BIT(VIRTIO_F_IN_ORDER));
	refused(VRIG_V1 | VRIG_BIT(VRIG_REFUSED));
	/* The driver may think better of it. */
	virtio_rig_accept(&rig, VRIG_V1);
	SET(ACK | DRIVER | FEATURES_OK, 0xb);
}
END_TEST

START_TEST(g10_features_beyond_bit_63_are_refused)
{
	SET(ACK | DRIVER, 3);
	virtio_rig_accept(&rig, VRIG_V1);
	vdb__virtio_accept(rig.device, 2, 0);
	vdb__virtio_accept(rig.device, UINT32_MAX, 1);
	SET(ACK | DRIVER | FEATURES_OK, 3);
	ck_assert_uint_eq(vdb__virtio_device_features(rig.device, 2), 0);
	ck_assert_uint_eq(vdb__virtio_device_features(rig.device, UINT32_MAX), 0);
	ck_assert_uint_eq(vdb__virtio_driver_features(rig.device, UINT32_MAX), 0);
	SET(0, 0);
	virtio_rig_negotiate(&rig, VRIG_V1);
}
END_TEST

START_TEST(g10_features_are_frozen_by_features_ok)
{
	virtio_rig_negotiate(&rig, VRIG_V1);
	virtio_rig_accept(&rig, VRIG_V1 | VRIG_BIT(VRIG_FEATURE));
	ck_assert_uint_eq(vdb__virtio_driver_features(rig.device, 0), 0);
	SET(0xf, 0xf);
	virtio_rig_accept(&rig, 0);
	ck_assert_uint_eq(vdb__virtio_driver_features(rig.device, 1), VRIG_V1 >> 32);
}
END_TEST

static uint64_t offered(uint32_t flags)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};
	struct virtio_rig other;

	virtio_rig_open(&other, &(struct vdb_virtio_config){.flags = flags});
	ck_assert_int_eq(vdb_virtio_query(other.device, &info), 0);
	ck_assert_uint_eq(info.offered, vdb__virtio_device_features(other.device, 0) |
	                                        (uint64_t)vdb__virtio_device_features(other.device, 1) << 32);
	virtio_rig_close(&other);
	return info.offered & ~(VRIG_BIT(VRIG_FEATURE) | VRIG_BIT(VRIG_REFUSED));
}

START_TEST(flags_say_what_of_the_ring_is_offered)
{
	const uint64_t all = VRIG_V1 | VRIG_BIT(VIRTIO_F_RING_PACKED) | VRIG_BIT(VIRTIO_RING_F_EVENT_IDX) |
	                     VRIG_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VRIG_BIT(VRIG_RING_RESET);

	ck_assert_uint_eq(offered(0), all);
	ck_assert_uint_eq(offered(VDB_VIRTIO_NO_PACKED), all & ~VRIG_BIT(VIRTIO_F_RING_PACKED));
	ck_assert_uint_eq(offered(VDB_VIRTIO_NO_EVENT_IDX), all & ~VRIG_BIT(VIRTIO_RING_F_EVENT_IDX));
	ck_assert_uint_eq(offered(VDB_VIRTIO_NO_INDIRECT), all & ~VRIG_BIT(VIRTIO_RING_F_INDIRECT_DESC));
	ck_assert_uint_eq(offered(VDB_VIRTIO_NO_RING_RESET), all & ~VRIG_BIT(VRIG_RING_RESET));
	ck_assert_uint_eq(offered(VDB_VIRTIO_IN_ORDER), all | VRIG_BIT(VIRTIO_F_IN_ORDER));
}
END_TEST

START_TEST(a_reset_forgets_everything)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	virtio_rig_up(&rig, VRIG_BIT(VRIG_FEATURE), 2);
	ck_assert_int_eq(vdb_virtio_query(rig.device, &info), 0);
	ck_assert_uint_eq(info.accepted, VRIG_V1 | VRIG_BIT(VRIG_FEATURE));
	ck_assert_uint_eq(info.status, 0xf);
	virtio_rig_reset(&rig);
	ck_assert_int_eq(vdb_virtio_query(rig.device, &info), 0);
	ck_assert_uint_eq(info.accepted, 0);
	ck_assert_uint_eq(info.resets, 2);
	ck_assert_uint_eq(rig.resets, 2);
	ck_assert_uint_eq(rig.forgotten, 2);
	ck_assert_uint_eq(vdb__virtio_driver_features(rig.device, 1), 0);
	for (uint32_t i = 0; i < VRIG_QUEUES; i++) {
		ck_assert(!vdb__virtio_queue_enabled(rig.device, i));
		ck_assert_uint_eq(vdb__virtio_queue_addr(rig.device, i, VDB__QUEUE_DEVICE), 0);
		ck_assert_uint_eq(vdb__virtio_queue_size(rig.device, i), 256);
	}
}
END_TEST

START_TEST(g6_driver_ok_without_queues_is_fine)
{
	virtio_rig_up(&rig, 0, 0);
	virtio_rig_queue(&rig, 1, 16);
	virtio_rig_echo(&rig, 1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("status"), *cases = tcase_create("cases");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_checked_fixture(cases, setup_case, teardown_case);
	tcase_add_test(tc, bits_come_in_their_order);
	tcase_add_test(cases, g9_skipped_steps_are_refused);
	tcase_add_test(cases, g9_bits_are_never_cleared_but_all_together);
	tcase_add_test(cases, g9_bits_of_no_meaning_are_ignored);
	tcase_add_test(cases, g9_failed_ends_it_until_reset);
	tcase_add_test(cases, g10_wrong_features_are_refused);
	tcase_add_test(cases, g10_features_beyond_bit_63_are_refused);
	tcase_add_test(cases, g10_features_are_frozen_by_features_ok);
	tcase_add_test(tc, flags_say_what_of_the_ring_is_offered);
	tcase_add_test(tc, a_reset_forgets_everything);
	tcase_add_test(cases, g6_driver_ok_without_queues_is_fine);
	return test_run_all("virtio_status", 2, (TCase *[]){tc, cases});
}
