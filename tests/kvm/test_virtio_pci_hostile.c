/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* TIMEOUT: 300 */
/*
 * Two vCPUs write words of all kinds to everything that a virtio function shows, at every width (HOSTILE
 * B1, B5, B12, G7..G10, G17, G18, G21..G26), while the host changes the configuration: whatever comes of
 * it, the device works after a reset, once its BARs are back.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>

#include "kvm_fixture.h"
#include "run.h"
#include "vpci_rig.h"

#define ALL (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
#define WORDS 3000
#define CONFIG_BASE (VPCI_ECAM + (VPCI_SLOT << 15))

static struct vpci_rig rig;
static uint32_t bars[6]; /* as they were placed */

static void setup(void)
{
	const struct vdb_virtio_pci_config config = {.size = sizeof(config), .notify = VDB_NOTIFY_PIO};

	vpci_rig_open(&rig, &config);
}

static void teardown(void)
{
	vpci_rig_close(&rig);
}

static uint32_t pick(unsigned *seed, uint32_t below)
{
	return (uint32_t)rand_r(seed) % below;
}

static uint64_t word(unsigned *seed)
{
	static const uint64_t words[] = {
	        0,          1,          2,          3,          4,          0xb,        0xf,
	        0x10,       0x40,       0x406,      0x407,      0x1000,     0x8000,     0x10000,
	        0xc000,     0xc010,     0xc0000000, 0xc0004000, 0xc8000000, 0xcffff000, 0xfee00000,
	        0xfffff000, UINT32_MAX, 1ull << 32, UINT64_MAX,
	};

	return words[pick(seed, sizeof(words) / sizeof(words[0]))];
}

static void access_port(unsigned *seed)
{
	const uint32_t address = 0x80000000u | VPCI_SLOT << 11 | (pick(seed, 256) & 0xfc);
	uint64_t value = word(seed);
	uint32_t len = 1u << pick(seed, 3);

	(void)vdb_bus_write(vdb_vm_pio(rig.vm), NULL, 0xcf8, &address, 4);
	(void)vdb_bus_write(vdb_vm_pio(rig.vm), NULL, 0xcfc + pick(seed, 4), &value, len);
	(void)vdb_bus_read(vdb_vm_pio(rig.vm), NULL, 0xcfc + pick(seed, 4), &value, len);
	(void)vdb_bus_write(vdb_vm_pio(rig.vm), NULL, rig.ports + pick(seed, 20), &value, len);
}

static void access_memory(unsigned *seed)
{
	const uint64_t bases[] = {CONFIG_BASE, CONFIG_BASE, rig.common, rig.common,
	                          rig.isr,     rig.device,  rig.pages,  rig.msix};
	uint64_t at = bases[pick(seed, 8)] + pick(seed, pick(seed, 2) ? 0x60 : 0x1000);
	uint32_t len = 1u << pick(seed, 4);

	if (pick(seed, 4))
		at &= ~(uint64_t)(len - 1);
	vpci_write(&rig, at, len, word(seed));
	(void)vpci_read(&rig, at, len);
}

/* BARs where they were, and decoding. */
static void put_back(void)
{
	vpci_set_config(&rig, PCI_COMMAND, 2, 0);
	for (uint32_t i = 0; i < 6; i++)
		vpci_set_config(&rig, PCI_BASE_ADDRESS_0 + i * 4, 4, bars[i]);
	vpci_set_config(&rig, rig.msix_cap + PCI_MSIX_FLAGS, 2, 0);
	vpci_set_config(&rig, PCI_COMMAND, 2, ALL);
}

/* Far enough, now and then, for queues to run. */
static void drive(unsigned *seed)
{
	static const uint8_t steps[] = {0, 1, 3, 0xb, 0xf};

	put_back();
	for (uint32_t i = 0; i < sizeof(steps); i++) {
		vpci_write(&rig, rig.common + VIRTIO_PCI_COMMON_STATUS, 1, steps[i]);
		if (steps[i] == 3) {
			vpci_write(&rig, rig.common + VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
			vpci_write(&rig, rig.common + VIRTIO_PCI_COMMON_GF, 4, 1);
		}
		if (steps[i] == 0xb) {
			vpci_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_SELECT, 2, pick(seed, 4));
			vpci_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x10000);
			vpci_write(&rig, rig.common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
		}
	}
}

static void *vcpu(void *arg)
{
	unsigned seed = *(unsigned *)arg;

	for (int i = 0; i < WORDS; i++) {
		if (i % 40 == 0)
			drive(&seed);
		if (pick(&seed, 4))
			access_memory(&seed);
		else
			access_port(&seed);
	}
	return NULL;
}

START_TEST(g24_words_of_all_kinds_everywhere)
{
	unsigned seeds[] = {4711u + (unsigned)_i, 815u + (unsigned)_i};
	pthread_t threads[2];
	uint32_t id = vpci_config(&rig, PCI_VENDOR_ID, 4);

	for (uint32_t i = 0; i < 6; i++)
		bars[i] = vpci_config(&rig, PCI_BASE_ADDRESS_0 + i * 4, 4);
	for (uint32_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, vcpu, &seeds[i]), 0);
	for (uint32_t i = 0; i < 500; i++)
		vdb_virtio_config_changed(rig.v.device);
	for (uint32_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_ge(__atomic_load_n(&rig.v.resets, __ATOMIC_ACQUIRE), 20);
	put_back();
	ck_assert_uint_eq(vpci_config(&rig, PCI_VENDOR_ID, 4), id);
	for (uint32_t i = 0; i < 6; i++)
		ck_assert_uint_eq(vpci_config(&rig, PCI_BASE_ADDRESS_0 + i * 4, 4), bars[i]);
	vpci_up(&rig, _i % 2 ? VRIG_BIT(VIRTIO_F_RING_PACKED) : 0, 4);
	for (uint32_t i = 0; i < 4; i++)
		virtio_rig_echo(&rig.v, i);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("words");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g24_words_of_all_kinds_everywhere, 0, 4);
	return test_run_within("virtio_pci_hostile", tc, 120);
}
