/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: net_pci */
/* LABELS: slow */
/* TIMEOUT: 300 */
/*
 * The same guest as test_net_mmio's finds its network device on the PCI bus: polling, by INTx and by MSI-X.
 */
#include "net_machine.h"

#define SLOT 3u
#define GSI 19u /* of that slot's pin A */

GUEST_IMAGE(net_pci);

static struct net_machine m;
static struct vdb_pci *pci;
static struct vdb_virtio_pci *vpci;

static void setup(void)
{
	struct vdb_pci_config config = {.size = sizeof(config)};

	net_machine_open(&m);
	config.loop = m.loop;
	must(vdb_pci_create(m.f.vm, &config, &pci));
}

static void teardown(void)
{
	vdb_virtio_pci_destroy(vpci);
	must(vdb_pci_destroy(pci));
	net_machine_close(&m);
}

/* gsi: of INTx; 0 = by MSI-X */
static void drive(int rings, bool irq, uint32_t gsi, uint32_t flags)
{
	const struct vdb_virtio_pci_config config = {.size = sizeof(config), .slot = SLOT, .flags = flags};

	net_machine_plug(&m);
	must(vdb_virtio_pci_create(pci, m.device, &config, &vpci));
	net_machine_ask(&m, rings, irq, gsi);
	LOAD_IMAGE(&m.f, net_pci, irq, 0);
	net_machine_run(&m);
}

START_TEST(polling)
{
	drive(_i, false, 0, 0);
}
END_TEST

START_TEST(by_intx)
{
	drive(_i, true, GSI, _i % 2 ? VDB_VIRTIO_PCI_NO_MSIX : 0);
}
END_TEST

START_TEST(by_msix)
{
	drive(_i, true, 0, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_pci");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, polling, 0, NET_RINGS_TRIED);
	tcase_add_loop_test(tc, by_intx, 0, NET_RINGS_TRIED);
	tcase_add_loop_test(tc, by_msix, 0, NET_RINGS_TRIED);
	return test_run_within("net_pci", tc, 120);
}
