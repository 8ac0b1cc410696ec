/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: blk_mmio */
/* TIMEOUT: 300 */
/*
 * A bare-metal guest writes and reads a disk image through virtio-blk over mmio, polling and by interrupt;
 * the image has what the guest says that it wrote.
 */
#include "blk_machine.h"

#define BASE 0xe0000000u
#define GSI 5u

GUEST_IMAGE(blk_mmio);

static struct blk_machine m;
static struct vdb_virtio_mmio *mmio;

static void setup(void)
{
	blk_machine_open(&m);
}

static void teardown(void)
{
	vdb_virtio_mmio_destroy(mmio);
	blk_machine_close(&m);
}

static void drive(uint32_t flags, uint64_t features, bool irq)
{
	const struct vdb_virtio_mmio_config config = {.size = sizeof(config), .gsi = GSI, .base = BASE};

	blk_machine_plug(&m, flags);
	must(vdb_virtio_mmio_create(m.f.vm, m.device, &config, &mmio));
	blk_machine_ask(&m, features, irq, GSI);
	LOAD_IMAGE(&m.f, blk_mmio, irq, BASE);
	blk_machine_run(&m);
}

START_TEST(polling)
{
	drive(0, blk_machine_rings[_i], false);
}
END_TEST

START_TEST(by_interrupt)
{
	drive(0, blk_machine_rings[_i], true);
}
END_TEST

START_TEST(without_the_page_cache)
{
	drive(VDB_FILE_DIRECT, blk_machine_rings[_i], true);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk_mmio");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, polling, 0, BLK_RINGS_TRIED);
	tcase_add_loop_test(tc, by_interrupt, 0, BLK_RINGS_TRIED);
	tcase_add_loop_test(tc, without_the_page_cache, 0, BLK_RINGS_TRIED);
	return test_run_within("blk_mmio", tc, 120);
}
