/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: broken */
/* TIMEOUT: 300 */
/*
 * A guest breaks the ring of one device, is told so by interrupt and status, resets that device and goes on;
 * its other device serves all the time (virtio 1.2, 2.1.2). Over mmio and pci.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "guest/broken_abi.h"
#include "mmio_machine.h"
#include "pci_machine.h"

#define ROUNDS 20u
#define BATCH 8u

GUEST_IMAGE(broken);

static const uint64_t rings[] = {0, BIT(VIRTIO_F_RING_PACKED)};

static struct virtio_echo echo; /* behind the second device */
static struct vdb_virtio *second;

static void add_device(struct kvm_fixture *f, struct vdb_loop *loop)
{
	virtio_echo_open(&echo);
	second = virtio_echo_device(&echo, f->mem, loop, 1);
}

/* Its transport is gone. */
static void drop_device(void)
{
	uint32_t gone = 0;

	vdb_virtio_destroy(second, count_done, &gone);
	wait_for32(&gone, 1);
	virtio_echo_close(&echo);
}

static struct broken_params *ask(struct kvm_fixture *f, uint64_t features, uint32_t gsi)
{
	struct echo_params *params = (struct echo_params *)(void *)(f->ram + ECHO_PARAMS);

	params->size = 16;
	params->rounds = ROUNDS;
	params->batch = BATCH;
	params->features = features;
	params->gsi = gsi;
	LOAD_IMAGE(f, broken, true, 0);
	return (struct broken_params *)(void *)(f->ram + BROKEN_PARAMS);
}

static struct vdb_virtio_info query(struct vdb_virtio *device)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	must(vdb_virtio_query(device, &info));
	return info;
}

static void check(const struct broken_params *params, struct vdb_virtio *first)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	ck_assert_uint_eq(params->told, ROUNDS);
	ck_assert_uint_eq(query(first).broken, ROUNDS);
	ck_assert_uint_eq(query(first).resets, ROUNDS + 1);
	ck_assert_uint_eq(query(first).status, 0xf);
	ck_assert_uint_eq(query(second).broken, 0);
	ck_assert_uint_eq(query(second).resets, 1);
	must(vdb_virtio_queue_stats(second, 0, &stats));
	ck_assert_uint_eq(stats.completions, params->between + (ROUNDS + 1) * BATCH);
	ck_assert_uint_eq(stats.errors, 0);
}

START_TEST(over_mmio)
{
	const struct vdb_virtio_mmio_config config = {
	        .size = sizeof(config), .gsi = MACHINE_GSI + 1, .base = MACHINE_MMIO + VDB_VIRTIO_MMIO_BYTES};
	struct vdb_virtio_mmio *mmio;
	struct broken_params *params;
	struct mmio_machine m;

	mmio_machine_open(&m, 1);
	add_device(&m.f, m.loop);
	must(vdb_virtio_mmio_create(m.f.vm, second, &config, &mmio));
	params = ask(&m.f, rings[_i], MACHINE_GSI);
	params->mmio[0] = MACHINE_MMIO;
	params->mmio[1] = config.base;
	mmio_machine_run(&m);
	check(params, m.device);
	vdb_virtio_mmio_destroy(mmio);
	drop_device();
	mmio_machine_close(&m);
}
END_TEST

static void over_pci(uint64_t features, bool msix)
{
	const struct vdb_virtio_pci_config config = {.size = sizeof(config), .slot = PCI_MACHINE_SLOT + 1};
	struct vdb_virtio_pci *vpci;
	struct broken_params *params;
	struct pci_machine m;

	pci_machine_open(&m, 1);
	add_device(&m.f, m.loop);
	must(vdb_virtio_pci_create(m.pci, second, &config, &vpci));
	params = ask(&m.f, features, PCI_MACHINE_GSI);
	params->slot[0] = PCI_MACHINE_SLOT;
	params->slot[1] = config.slot;
	params->msix = msix;
	pci_machine_run(&m);
	check(params, m.device);
	vdb_virtio_pci_destroy(vpci);
	drop_device();
	pci_machine_close(&m);
}

START_TEST(over_pci_by_message)
{
	over_pci(rings[_i], true);
}
END_TEST

START_TEST(over_pci_by_pin)
{
	over_pci(rings[_i], false);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("broken");

	kvm_fixture_need();
	tcase_add_loop_test(tc, over_mmio, 0, 2);
	tcase_add_loop_test(tc, over_pci_by_message, 0, 2);
	tcase_add_loop_test(tc, over_pci_by_pin, 0, 2);
	return test_run_within("virtio_broken", tc, 120);
}
