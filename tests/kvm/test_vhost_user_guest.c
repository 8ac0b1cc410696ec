/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: virtio_mmio */
/* TIMEOUT: 300 */
/* A bare-metal guest talks to a device that a vhost-user back end serves: its doorbells go there straight
 * from KVM, interrupts come back by way of a loop. */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "engine.h"
#include "guest/echo_abi.h"
#include "mmio_machine.h"
#include "vu_backend.h"

GUEST_IMAGE(virtio_mmio);

static struct mmio_machine m;
static struct vu_backend vu;

static void setup(void)
{
	struct vdb_loop_config loop = test_loop_config();
	const struct vdb_virtio_mmio_config mmio = {
	        .size = sizeof(mmio), .gsi = MACHINE_GSI, .base = MACHINE_MMIO};
	struct vdb_virtio_config at = {.size = sizeof(at)};
	const struct vdb_vhost_user_config config = {.size = sizeof(config),
	                                             .at = &at,
	                                             .device_id = VIRTIO_ECHO,
	                                             .path = vu.path,
	                                             .queues = 2,
	                                             .timeout_ms = 60000};

	memset(&m, 0, sizeof(m));
	memset(&vu, 0, sizeof(vu));
	vu_open(&vu);
	kvm_fixture_make_shared(&m.f, NULL, 2);
	must(vdb_loop_create(&loop, &m.loop));
	must(vdb_loop_start(m.loop, -1, NULL));
	at.mem = m.f.mem;
	at.loop = m.loop;
	must(vdb_vhost_user_create(&config, &m.device));
	must(vdb_virtio_mmio_create(m.f.vm, m.device, &mmio, &m.mmio));
}

static void teardown(void)
{
	uint32_t gone = 0;

	vdb_virtio_mmio_destroy(m.mmio);
	vdb_virtio_destroy(m.device, count_done, &gone);
	wait_for32(&gone, 1);
	must(vdb_loop_join(m.loop));
	must(vdb_loop_destroy(m.loop));
	kvm_fixture_end(&m.f);
	vu_close(&vu);
}

static void talk(uint32_t mode, uint64_t features)
{
	struct echo_params *params = mmio_machine_params(&m);

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
	ck_assert_uint_eq(__atomic_load_n(&vu.echo.served, __ATOMIC_ACQUIRE), 400);
}

static const uint64_t rings[] = {
        0,
        BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
        BIT(VIRTIO_F_RING_PACKED),
        BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
};

START_TEST(polling)
{
	talk(ECHO_POLL, rings[_i]);
}
END_TEST

START_TEST(by_interrupt)
{
	vu.echo.late_us = 500; /* so that the guest has to wait */
	talk(ECHO_IRQ, rings[_i]);
	ck_assert_uint_ge(mmio_machine_params(&m)->irqs, 1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vhost_user_guest");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, polling, 0, sizeof(rings) / sizeof(rings[0]));
	tcase_add_loop_test(tc, by_interrupt, 0, sizeof(rings) / sizeof(rings[0]));
	return test_run_within("vhost_user_guest", tc, 120);
}
