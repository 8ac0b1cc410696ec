/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: blk_mmio */
/* TIMEOUT: 300 */
/*
 * A bare-metal guest keeps a disk busy while its queue goes back and forth between two loops, hundreds of
 * times: each block is as it was written, no request is lost or done twice, and the counters add up.
 */
#include <unistd.h>

#include "blk_machine.h"
#include "engine.h"
#include "guest/blk_abi.h"

#define BASE 0xe0000000u
#define GSI 5u
#define CROSSINGS 400u

GUEST_IMAGE(blk_mmio);

static struct blk_machine m;
static struct vdb_virtio_mmio *mmio;
static struct vdb_loop *other;

static void setup(void)
{
	const struct vdb_loop_config config = test_loop_config();

	blk_machine_open(&m);
	m.open_end = true;
	must(vdb_loop_create(&config, &other));
	must(vdb_loop_start(other, -1, NULL));
}

static void teardown(void)
{
	vdb_virtio_mmio_destroy(mmio);
	blk_machine_close(&m);
	must(vdb_loop_join(other));
	must(vdb_loop_destroy(other));
}

static struct vdb_lane_stats stats(void)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	must(vdb_virtio_queue_stats(m.device, 0, &stats));
	return stats;
}

static void moved(void *gate, int status)
{
	vdb_gate_open(gate, status);
	vdb_gate_unref(gate);
}

static void move_to(struct vdb_loop *loop)
{
	struct vdb_gate *gate;
	int64_t status;

	must(vdb_gate_create(&gate));
	must(vdb_virtio_queue_move(m.device, 0, loop, NULL, moved, vdb_gate_ref(gate)));
	must(vdb_gate_wait(gate, -1, &status));
	ck_assert_int_eq(status, 0);
	vdb_gate_unref(gate);
}

/* From when the guest is at work; with requests between one move and the next. */
static void *cross(void *arg)
{
	uint64_t before = 0;

	for (uint32_t i = 0; i < CROSSINGS; i++) {
		while (stats().requests == before)
			usleep(10);
		before = stats().requests;
		move_to(i % 2 ? m.loop : other);
	}
	blk_machine_stop(&m);
	return arg;
}

static uint64_t served(const struct vdb_loop *loop)
{
	struct vdb_loop_stats own = {.size = sizeof(own)};

	must(vdb_loop_stats(loop, &own));
	return own.served;
}

static void drive(uint64_t features, bool irq, uint32_t flags)
{
	const struct vdb_virtio_mmio_config config = {.size = sizeof(config), .gsi = GSI, .base = BASE};
	const struct blk_params *params = (void *)(m.f.ram + BLK_PARAMS);
	struct vdb_lane_stats own;
	pthread_t mover;

	blk_machine_plug(&m, flags);
	must(vdb_virtio_mmio_create(m.f.vm, m.device, &config, &mmio));
	blk_machine_ask(&m, features, irq, GSI);
	LOAD_IMAGE(&m.f, blk_mmio, irq, BASE);
	ck_assert_int_eq(pthread_create(&mover, NULL, cross, NULL), 0);
	blk_machine_run(&m);
	pthread_join(mover, NULL);
	own = stats();
	ck_assert_uint_eq(own.requests, params->done);
	ck_assert_uint_eq(own.completions, params->done);
	ck_assert_uint_eq(own.errors, 0);
	ck_assert_uint_eq(own.inflight, 0);
	ck_assert_uint_eq(own.moves, CROSSINGS);
	ck_assert_uint_gt(served(m.loop), 0);
	ck_assert_uint_gt(served(other), 0);
}

START_TEST(polling)
{
	drive(blk_machine_rings[_i], false, 0);
}
END_TEST

START_TEST(by_interrupt)
{
	drive(blk_machine_rings[_i], true, 0);
}
END_TEST

START_TEST(without_the_page_cache)
{
	drive(blk_machine_rings[BLK_RINGS_TRIED - 1], true, VDB_FILE_DIRECT);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk_move");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, polling, 1, 4);
	tcase_add_loop_test(tc, by_interrupt, 1, 4);
	tcase_add_test(tc, without_the_page_cache);
	return test_run_within("blk_move", tc, 120);
}
