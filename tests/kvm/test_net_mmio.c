/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: net_mmio */
/* LABELS: slow */
/* TIMEOUT: 300 */
/*
 * A bare-metal guest sends frames of all lengths through virtio-net over mmio, polling and by interrupt; a
 * peer at the other end of a datagram socket checks them and sends them back, and the guest checks what
 * comes.
 */
#include "net_machine.h"

#define BASE 0xe0000000u
#define GSI 5u

GUEST_IMAGE(net_mmio);

static struct net_machine m;
static struct vdb_virtio_mmio *mmio;

static void setup(void)
{
	net_machine_open(&m);
}

static void teardown(void)
{
	vdb_virtio_mmio_destroy(mmio);
	net_machine_close(&m);
}

static void drive(int rings, bool irq)
{
	const struct vdb_virtio_mmio_config config = {.size = sizeof(config), .gsi = GSI, .base = BASE};

	net_machine_plug(&m);
	must(vdb_virtio_mmio_create(m.f.vm, m.device, &config, &mmio));
	net_machine_ask(&m, rings, irq, GSI);
	LOAD_IMAGE(&m.f, net_mmio, irq, BASE);
	net_machine_run(&m);
}

START_TEST(polling)
{
	drive(_i, false);
}
END_TEST

START_TEST(by_interrupt)
{
	drive(_i, true);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_mmio");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, polling, 0, NET_RINGS_TRIED);
	tcase_add_loop_test(tc, by_interrupt, 0, NET_RINGS_TRIED);
	return test_run_within("net_mmio", tc, 120);
}
