/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: blk_pci */
/* TIMEOUT: 300 */
/*
 * The same guest as test_blk_mmio's finds its disk on the PCI bus: polling, by INTx and by MSI-X, ringing
 * pages and ports.
 */
#include "blk_machine.h"

#define SLOT 3u
#define GSI 19u /* of that slot's pin A */

GUEST_IMAGE(blk_pci);

static struct blk_machine m;
static struct vdb_pci *pci;
static struct vdb_virtio_pci *vpci;

static void setup(void)
{
	struct vdb_pci_config config = {.size = sizeof(config)};

	blk_machine_open(&m);
	config.loop = m.loop;
	must(vdb_pci_create(m.f.vm, &config, &pci));
}

static void teardown(void)
{
	vdb_virtio_pci_destroy(vpci);
	must(vdb_pci_destroy(pci));
	blk_machine_close(&m);
}

static void plug(uint32_t file, uint32_t notify, uint32_t flags)
{
	const struct vdb_virtio_pci_config config = {
	        .size = sizeof(config), .slot = SLOT, .notify = notify, .flags = flags};

	blk_machine_plug(&m, file);
	must(vdb_virtio_pci_create(pci, m.device, &config, &vpci));
}

/* gsi: of INTx; 0 = by MSI-X */
static void drive(uint64_t features, bool irq, uint32_t gsi)
{
	blk_machine_ask(&m, features, irq, gsi);
	LOAD_IMAGE(&m.f, blk_pci, irq, 0);
	blk_machine_run(&m);
}

START_TEST(polling)
{
	plug(0, VDB_NOTIFY_MMIO, 0);
	drive(blk_machine_rings[_i], false, 0);
}
END_TEST

START_TEST(polling_rings_ports)
{
	plug(0, VDB_NOTIFY_PIO, 0);
	drive(blk_machine_rings[_i], false, 0);
}
END_TEST

START_TEST(by_intx)
{
	plug(0, VDB_NOTIFY_AUTO, _i % 2 ? VDB_VIRTIO_PCI_NO_MSIX : 0);
	drive(blk_machine_rings[_i], true, GSI);
}
END_TEST

START_TEST(by_msix)
{
	plug(0, VDB_NOTIFY_AUTO, 0);
	drive(blk_machine_rings[_i], true, 0);
}
END_TEST

START_TEST(without_the_page_cache)
{
	plug(VDB_FILE_DIRECT, VDB_NOTIFY_AUTO, 0);
	drive(blk_machine_rings[_i], true, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk_pci");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, polling, 0, BLK_RINGS_TRIED);
	tcase_add_loop_test(tc, polling_rings_ports, 0, BLK_RINGS_TRIED);
	tcase_add_loop_test(tc, by_intx, 0, BLK_RINGS_TRIED);
	tcase_add_loop_test(tc, by_msix, 0, BLK_RINGS_TRIED);
	tcase_add_loop_test(tc, without_the_page_cache, 0, BLK_RINGS_TRIED);
	return test_run_within("blk_pci", tc, 120);
}
