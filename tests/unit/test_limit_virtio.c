/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* A virtio device whose queues share a limit: what its registers ask for does not wait. */
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/limit.h>

#include "run.h"
#include "virtio_rig.h"

static struct virtio_rig rig;
static struct vdb_limit *limit;

static void set(uint64_t ops)
{
	struct vdb_limit_config config = {.size = sizeof(config), .ops_per_s = ops};

	ck_assert_int_eq(vdb_limit_set(limit, &config), 0);
}

static struct vdb_limit_stats stats(void)
{
	struct vdb_limit_stats now = {.size = sizeof(now)};

	ck_assert_int_eq(vdb_limit_stats(limit, &now), 0);
	return now;
}

static void setup(void)
{
	struct vdb_virtio_config config = {.size = sizeof(config)};

	ck_assert_int_eq(vdb_limit_create(NULL, &limit), 0);
	config.limit = limit;
	virtio_rig_open(&rig, &config);
	virtio_rig_up(&rig, VRIG_BIT(VIRTIO_RING_F_EVENT_IDX), 2);
}

static void teardown(void)
{
	virtio_rig_close(&rig);
	ck_assert_uint_eq(stats().waiting, 0);
	vdb_limit_destroy(limit);
}

/* Both queues have more to do than there is. Returns what was done. */
static uint64_t hold(void)
{
	set(1);
	for (uint32_t queue = 0; queue < 2; queue++)
		for (uint64_t i = 0; i < 6; i++)
			virtio_rig_send(&rig, queue, i);
	while (stats().waiting < 2)
		usleep(200);
	return stats().ops;
}

static void count(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_ACQ_REL);
}

START_TEST(queues_share_it)
{
	uint64_t ops = hold();

	ck_assert_uint_le(ops, 4); /* seconds may have passed */
	set(0);
	for (uint32_t queue = 0; queue < 2; queue++)
		for (uint64_t i = 0; i < 6; i++)
			virtio_rig_receive(&rig, queue, i);
	ck_assert_uint_eq(stats().ops, 12);
}
END_TEST

START_TEST(quiesced_while_held)
{
	uint32_t done = 0;
	uint64_t before;

	(void)hold();
	ck_assert_int_eq(vdb_virtio_quiesce(rig.device, count, &done), 0);
	virtio_rig_wait(&done, 1);
	ck_assert_uint_eq(stats().waiting, 0);
	before = stats().ops;
	usleep(2000);
	ck_assert_uint_eq(stats().ops, before);
	/* It goes on where it was, under the same limit. */
	ck_assert_int_eq(vdb_virtio_resume(rig.device), 0);
	while (stats().waiting < 2)
		usleep(200);
	set(0);
	for (uint32_t queue = 0; queue < 2; queue++)
		for (uint64_t i = 0; i < 6; i++)
			virtio_rig_receive(&rig, queue, i);
}
END_TEST

START_TEST(reset_while_held)
{
	for (int round = 0; round < 3; round++) {
		uint32_t resets = rig.resets;

		(void)hold();
		virtio_rig_reset(&rig);
		ck_assert_uint_eq(rig.resets, resets + 1);
		virtio_rig_up(&rig, 0, 2);
	}
	ck_assert_uint_eq(stats().waiting, 0);
}
END_TEST

START_TEST(destroyed_while_held)
{
	(void)hold();
}
END_TEST

/* One that was asked to ring, and rings, is told not to while it waits: with event indices and without. */
START_TEST(nobody_is_asked_to_ring)
{
	struct vdb_limit_config config = {.size = sizeof(config), .bytes_per_s = 1, .bytes_burst = 1};
	struct virtq_driver *driver = &rig.driver[0];
	uint64_t bells;

	virtio_rig_up(&rig, _i ? VRIG_BIT(VIRTIO_RING_F_EVENT_IDX) : 0, 1);
	ck_assert_int_eq(vdb_limit_set(limit, &config), 0);
	virtio_rig_echo(&rig, 0); /* 16 bytes: to be waited for */
	while (!virtq_bell_wanted(driver))
		usleep(200);
	bells = driver->bells;
	virtio_rig_send(&rig, 0, 1);
	ck_assert_uint_eq(driver->bells, bells + 1);
	while (stats().waiting < 1)
		usleep(200);
	while (virtq_bell_wanted(driver))
		usleep(200);
	bells = driver->bells;
	for (uint64_t i = 0; i < 4; i++)
		virtio_rig_send(&rig, 0, 2);
	ck_assert_uint_eq(driver->bells, bells);
	vdb__virtio_detach(rig.device);
	virtio_rig_attach(&rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("limit_virtio");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, queues_share_it);
	tcase_add_test(tc, quiesced_while_held);
	tcase_add_test(tc, reset_while_held);
	tcase_add_test(tc, destroyed_while_held);
	tcase_add_loop_test(tc, nobody_is_asked_to_ring, 0, 2);
	return test_run("limit_virtio", tc);
}
