/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: virtio_mmio */
/* TIMEOUT: 300 */
/* A bare-metal guest finds a device by its mmio registers and does I/O, polling and by interrupt. */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "guest/echo_abi.h"
#include "mmio_machine.h"

GUEST_IMAGE(virtio_mmio);

static struct mmio_machine m;

static void setup(void)
{
	mmio_machine_open(&m, 2);
}

static void teardown(void)
{
	mmio_machine_close(&m);
}

static void talk(uint32_t mode, uint64_t features)
{
	struct echo_params *params = mmio_machine_params(&m);
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	params->mode = mode;
	params->size = 16;
	params->rounds = 50;
	params->batch = 8;
	params->features = features;
	params->gsi = MACHINE_GSI;
	LOAD_IMAGE(&m.f, virtio_mmio, mode == ECHO_IRQ, MACHINE_MMIO);
	mmio_machine_run(&m);
	ck_assert_uint_eq(params->done, 400);
	ck_assert_uint_eq(params->negotiated, features | BIT(VIRTIO_F_VERSION_1));
	must(vdb_virtio_queue_stats(m.device, 0, &stats));
	ck_assert_uint_eq(stats.completions, 400);
	ck_assert_uint_eq(stats.inflight, 0);
	ck_assert_uint_ge(stats.kicks + stats.poll_hits, 1);
	if (mode == ECHO_POLL)
		ck_assert_uint_eq(params->irqs, 0);
}

static const uint64_t rings[] = {
        0,
        BIT(VIRTIO_RING_F_EVENT_IDX),
        BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
        BIT(VIRTIO_F_RING_PACKED),
        BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX),
        BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
};

START_TEST(polling)
{
	talk(ECHO_POLL, rings[_i]);
}
END_TEST

START_TEST(by_interrupt)
{
	/* Late, so that the guest has to wait. */
	m.echo.late_us = 500;
	talk(ECHO_IRQ, rings[_i]);
	ck_assert_uint_ge(mmio_machine_params(&m)->irqs, 1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("mmio");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, polling, 0, sizeof(rings) / sizeof(rings[0]));
	tcase_add_loop_test(tc, by_interrupt, 0, sizeof(rings) / sizeof(rings[0]));
	return test_run_within("virtio_mmio", tc, 120);
}
