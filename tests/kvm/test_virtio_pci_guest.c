/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: virtio_pci */
/* TIMEOUT: 300 */
/* A bare-metal guest finds a device on the PCI bus and does I/O: polling, by INTx, by MSI-X; it moves BARs
 * and masks vectors meanwhile. */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <string.h>

#include "guest/pci_abi.h"
#include "leak.h"
#include "pci_machine.h"

#define RING_RESET 40 /* VIRTIO_F_RING_RESET */

GUEST_IMAGE(virtio_pci);

static struct pci_machine m;

static void setup(void)
{
	pci_machine_open(&m, 2);
}

static void teardown(void)
{
	pci_machine_close(&m);
}

/* ---- I/O ---- */

static void talk(uint32_t mode, uint64_t features, uint32_t gsi, uint64_t ecam)
{
	struct echo_params *params = pci_machine_echo(&m);
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	params->mode = mode;
	params->size = 16;
	params->rounds = 50;
	params->batch = 8;
	params->features = features;
	params->gsi = gsi;
	pci_machine_params(&m)->ecam = ecam;
	LOAD_IMAGE(&m.f, virtio_pci, mode == ECHO_IRQ, 0);
	pci_machine_run(&m);
	ck_assert_uint_eq(pci_machine_params(&m)->slot, PCI_MACHINE_SLOT);
	ck_assert_uint_eq(params->done, 400);
	ck_assert_uint_eq(params->negotiated, features | BIT(VIRTIO_F_VERSION_1));
	must(vdb_virtio_queue_stats(m.device, 0, &stats));
	ck_assert_uint_eq(stats.completions, 400);
	ck_assert_uint_eq(stats.inflight, 0);
	if (mode == ECHO_POLL)
		ck_assert_uint_eq(params->irqs, 0);
}

static const uint64_t rings[] = {
        0,
        BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
        BIT(VIRTIO_F_RING_PACKED),
        BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
};

#define RINGS ((int)(sizeof(rings) / sizeof(rings[0])))

START_TEST(polling)
{
	talk(ECHO_POLL, rings[_i], 0, _i % 2 ? PCI_MACHINE_ECAM : 0);
}
END_TEST

/* A kick reaches the loop without an exit, by page and by port. */
START_TEST(kicks_need_no_exit)
{
	struct vdb_vcpu_stats vcpu;

	pci_machine_plug(&m, _i ? VDB_NOTIFY_PIO : VDB_NOTIFY_MMIO, 0);
	m.echo.late_us = 200; /* longer than the loop looks by itself */
	talk(ECHO_POLL, rings[0], 0, 0);
	vcpu = kvm_fixture_stats(&m.f, 0);
	/* Setting up and resetting take some hundred accesses, which the first run has made, too, but on a
	 * busy machine the guest may read the status a thousand times until a reset is complete; 4000 kicks
	 * as accesses would be seen. */
	pci_machine_echo(&m)->rounds = 4000;
	pci_machine_echo(&m)->done = 0;
	m.f.reports = 0;
	LOAD_IMAGE(&m.f, virtio_pci, false, 0);
	pci_machine_run(&m);
	ck_assert_uint_eq(pci_machine_echo(&m)->done, 32000);
	ck_assert_uint_le(kvm_fixture_stats(&m.f, 0).exits_mmio, vcpu.exits_mmio + 3000);
	ck_assert_uint_le(kvm_fixture_stats(&m.f, 0).exits_pio, vcpu.exits_pio + 3000);
}
END_TEST

START_TEST(by_msix)
{
	m.echo.late_us = 500; /* so that the guest has to wait */
	talk(ECHO_IRQ, rings[_i], 0, 0);
	ck_assert_uint_ge(pci_machine_echo(&m)->irqs, 1);
}
END_TEST

START_TEST(by_intx)
{
	m.echo.late_us = 500;
	if (_i % 2)
		pci_machine_plug(&m, VDB_NOTIFY_AUTO, VDB_VIRTIO_PCI_NO_MSIX);
	talk(ECHO_IRQ, rings[_i], PCI_MACHINE_GSI, 0);
	ck_assert_uint_ge(pci_machine_echo(&m)->irqs, 1);
	ck_assert_int_eq(!pci_machine_params(&m)->msix, _i % 2);
}
END_TEST

/* ---- The bus ---- */

static void run_mode(uint32_t mode, uint64_t features, uint32_t rounds, bool kernel)
{
	struct echo_params *params = pci_machine_echo(&m);

	params->mode = mode;
	params->size = 16;
	params->rounds = rounds;
	params->batch = 8;
	params->features = features;
	LOAD_IMAGE(&m.f, virtio_pci, kernel, 0);
	pci_machine_run(&m);
}

START_TEST(both_ways_in_and_sizes)
{
	const struct pci_params *p = pci_machine_params(&m);

	pci_machine_plug(&m, VDB_NOTIFY_PIO, 0);
	pci_machine_params(&m)->ecam = PCI_MACHINE_ECAM;
	run_mode(PCI_SCAN, 0, 0, false);
	ck_assert_uint_eq(p->functions, 2);
	ck_assert_uint_eq(p->differ, 0);
	ck_assert_uint_eq(p->sizes[0], 0x4000);
	ck_assert_uint_eq(p->sizes[1], 0x1000);
	ck_assert_uint_eq(p->sizes[2], 8);
	ck_assert_uint_eq(p->sizes[3], 0);
	ck_assert_uint_eq(p->sizes[4], 0x2000);
}
END_TEST

START_TEST(g24_bars_move_with_requests_in_flight)
{
	pci_machine_plug(&m, VDB_NOTIFY_MMIO, 0);
	m.echo.late_us = 100;
	pci_machine_params(&m)->places[0] = 0xc4000000;
	run_mode(PCI_MOVE, 0, 60, false);
	ck_assert_uint_eq(pci_machine_echo(&m)->done, 60 * 8);
	/* Where a doorbell was there is nothing, not even in the kernel. */
	ck_assert_uint_eq(pci_machine_params(&m)->rings, 20);
	ck_assert_uint_eq(kvm_fixture_stats(&m.f, 0).unclaimed, 20);
}
END_TEST

/* Another vCPU, as far as the bus is concerned. */
struct mover {
	uint32_t stop; /* atomic */
	uint32_t moves;
};

static void *move_notify(void *arg)
{
	struct mover *mover = arg;
	const uint64_t reg = PCI_MACHINE_ECAM + (PCI_MACHINE_SLOT << 15) + 0x20;
	uint32_t value;

	while (!__atomic_load_n(&mover->stop, __ATOMIC_ACQUIRE)) {
		value = (uint32_t)pci_machine_params(&m)->places[mover->moves++ % 2];
		(void)vdb_bus_write(vdb_vm_mmio(m.f.vm), NULL, reg, &value, 4);
	}
	return NULL;
}

START_TEST(g24_doorbells_move_under_load)
{
	struct mover mover = {0};
	pthread_t thread;

	pci_machine_plug(&m, VDB_NOTIFY_MMIO, 0);
	pci_machine_params(&m)->places[0] = 0xc8000000;
	pci_machine_params(&m)->places[1] = 0xc9000000;
	ck_assert_int_eq(pthread_create(&thread, NULL, move_notify, &mover), 0);
	run_mode(PCI_MOVED, 0, 2000, false);
	__atomic_store_n(&mover.stop, 1, __ATOMIC_RELEASE);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(pci_machine_echo(&m)->done, 2000);
	ck_assert_uint_ge(mover.moves, 10);
}
END_TEST

/* ---- Masks ---- */

START_TEST(g22_what_is_masked_comes_once)
{
	const struct pci_params *p = pci_machine_params(&m);

	run_mode(_i & 1 ? PCI_MASK_ALL : PCI_MASK, _i & 2 ? BIT(VIRTIO_F_RING_PACKED) : 0, 125, true);
	ck_assert_uint_eq(pci_machine_echo(&m)->done, 1000);
	ck_assert_uint_eq(p->pending, 2);
	ck_assert_uint_eq(p->irqs_before, 0);
	ck_assert_uint_eq(p->irqs_after, 1);
	ck_assert_uint_eq(p->pending_after, 0);
}
END_TEST

/* ---- Resets ---- */

static void run_resets(uint32_t rounds)
{
	pci_machine_echo(&m)->rounds = rounds;
	m.f.reports = 0;
	LOAD_IMAGE(&m.f, virtio_pci, false, 0);
	pci_machine_run(&m);
}

static void resets(uint32_t mode, uint32_t rounds, uint64_t features)
{
	struct echo_params *params = pci_machine_echo(&m);
	int fds;

	params->mode = mode;
	params->size = 32;
	params->batch = 8;
	params->spin = 5000;
	params->features = features;
	m.echo.late_us = 100;
	/* A few first: the loop takes up what the device is made of at its own time. */
	run_resets(5);
	fds = leak_fds();
	run_resets(rounds);
	ck_assert_int_eq(leak_fds(), fds);
}

START_TEST(g11_resets_with_requests_in_flight)
{
	resets(ECHO_RESETS, 500, BIT(VIRTIO_F_RING_PACKED));
}
END_TEST

START_TEST(g13_resets_of_one_queue)
{
	resets(ECHO_QUEUE_RESETS, 100, BIT(RING_RESET) | (_i ? BIT(VIRTIO_F_RING_PACKED) : 0));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("pci");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, polling, 0, RINGS);
	tcase_add_loop_test(tc, kicks_need_no_exit, 0, 2);
	tcase_add_loop_test(tc, by_msix, 0, RINGS);
	tcase_add_loop_test(tc, by_intx, 0, RINGS);
	tcase_add_test(tc, both_ways_in_and_sizes);
	tcase_add_test(tc, g24_bars_move_with_requests_in_flight);
	tcase_add_test(tc, g24_doorbells_move_under_load);
	tcase_add_loop_test(tc, g22_what_is_masked_comes_once, 0, 4);
	tcase_add_test(tc, g11_resets_with_requests_in_flight);
	tcase_add_loop_test(tc, g13_resets_of_one_queue, 0, 2);
	return test_run_within("virtio_pci_guest", tc, 120);
}
