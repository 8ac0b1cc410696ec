/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI bus of a real VM: memory and bells that are in the way, and which interrupt lines there are. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>

#include "kvm_fixture.h"
#include "leak.h"
#include "vpci_rig.h"

#define WINDOW 0xc0000000u
#define NOTIFY_REG (PCI_BASE_ADDRESS_0 + 4 * 4)
#define ALL (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static struct vpci_rig rig;

static void add_memory(vdb_gpa_t gpa, uint64_t len)
{
	const struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = gpa, .len = len, .backing = VDB_MEM_ANON};

	must(vdb_mem_add(rig.v.ram.mem, &region));
}

static bool claimed(uint64_t addr)
{
	uint32_t value;

	return vdb_bus_read(vdb_vm_mmio(rig.vm), NULL, addr, &value, 4);
}

/* HOSTILE G24: memory that came into the window. */
START_TEST(g24_a_bar_over_memory_does_not_decode)
{
	const uint64_t place = WINDOW + 0x800000;
	uint32_t home;

	vpci_rig_open(&rig, NULL);
	home = vpci_config(&rig, NOTIFY_REG, 4);
	add_memory(place, 0x10000);
	vpci_set_config(&rig, NOTIFY_REG, 4, (uint32_t)place);
	ck_assert(!claimed(place));
	ck_assert(!claimed(home & ~0xfu));
	/* Partly is as bad. */
	vpci_set_config(&rig, NOTIFY_REG, 4, (uint32_t)place + 0xc000);
	ck_assert(!claimed(place + 0xc000));
	must(vdb_mem_remove(rig.v.ram.mem, place, count_done, &(uint32_t){0}));
	vpci_set_config(&rig, NOTIFY_REG, 4, (uint32_t)place);
	ck_assert(claimed(place));
	rig.pages = place;
	vpci_up(&rig, 0, 2);
	virtio_rig_echo(&rig.v, 1);
	vpci_rig_close(&rig);
}
END_TEST

START_TEST(memory_over_a_bar_is_refused)
{
	const struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = WINDOW, .len = 0x100000, .backing = VDB_MEM_ANON};

	vpci_rig_open(&rig, NULL);
	ck_assert_int_eq(vdb_mem_add(rig.v.ram.mem, &region), -EEXIST);
	vpci_rig_close(&rig);
}
END_TEST

/* Another bell where a queue's would be: that queue is rung by its accesses, the others by their bells. */
START_TEST(g24_a_doorbell_that_kvm_refuses_rings_all_the_same)
{
	const uint64_t place = WINDOW + 0x900000;
	const struct vdb_bell_config config = {.size = sizeof(config), .addr = place + 4096};
	struct vdb_bell *other;
	uint64_t count;

	vpci_rig_open(&rig, NULL);
	must(vdb_bell_create(rig.vm, &config, &other));
	vpci_set_config(&rig, NOTIFY_REG, 4, (uint32_t)place);
	rig.pages = place;
	vpci_up(&rig, 0, 3);
	for (uint32_t q = 0; q < 3; q++)
		virtio_rig_echo(&rig.v, q);
	ck_assert_int_eq(read(vdb_bell_fd(other), &count, sizeof(count)), -1);
	vdb_bell_destroy(other);
	vpci_rig_close(&rig);
}
END_TEST

static int refusal(const struct vdb_pci_config *config)
{
	struct vdb_pci *pci;

	return vdb_pci_create(rig.vm, config, &pci);
}

START_TEST(windows_hold_no_memory)
{
	struct vdb_pci_config config = {.size = sizeof(config)};
	int fds = leak_fds();

	vpci_rig_make(&rig);
	ck_assert_int_eq(refusal(&config), -EEXIST); /* there is a bus already */
	must(vdb_pci_destroy(rig.pci));
	config.mem32 = 0x1000000;
	config.mem32_len = 0x1000000;
	add_memory(0x1800000, 0x1000);
	ck_assert_int_eq(refusal(&config), -EEXIST);
	config.mem32 = 0x4000000;
	must(vdb_pci_create(rig.vm, &config, &rig.pci));
	vpci_rig_close(&rig);
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

static uint32_t pin_in(uint32_t slot, uint32_t *line)
{
	const struct vdb_virtio_pci_config config = {.size = sizeof(config), .slot = slot};
	uint64_t at = VPCI_ECAM + (slot << 15);
	uint32_t pin;

	must(vdb_virtio_pci_create(rig.pci, rig.v.device, &config, &rig.vpci));
	*line = (uint32_t)vpci_read(&rig, at + PCI_INTERRUPT_LINE, 1);
	pin = (uint32_t)vpci_read(&rig, at + PCI_INTERRUPT_PIN, 1);
	vdb_virtio_pci_destroy(rig.vpci);
	rig.vpci = NULL;
	return pin;
}

START_TEST(slots_take_the_lines_in_turn)
{
	uint32_t line;

	vpci_rig_make(&rig);
	for (uint32_t slot = 1; slot < 32; slot++) {
		ck_assert_uint_eq(pin_in(slot, &line), 1);
		ck_assert_uint_eq(line, 16 + slot % 4);
	}
	vpci_rig_close(&rig);
}
END_TEST

/* Without pins in the kernel, or nobody to watch them, the function has none: messages only. */
START_TEST(without_lines_there_is_no_pin)
{
	const struct vdb_vm_config split = {.size = sizeof(split), .irqchip = VDB_IRQCHIP_SPLIT};
	struct vdb_pci_config config = {.size = sizeof(config)};
	uint32_t line, gone = 0;

	vpci_rig_make(&rig);
	must(vdb_pci_destroy(rig.pci));
	must(vdb_pci_create(rig.vm, &config, &rig.pci));
	ck_assert_uint_eq(pin_in(1, &line), 0);
	must(vdb_pci_destroy(rig.pci));
	must(vdb_vm_destroy(rig.vm, count_done, &gone));
	wait_for32(&gone, 1);
	must(vdb_vm_create(rig.kvm, rig.v.ram.mem, &split, &rig.vm));
	config.loop = rig.v.loop;
	must(vdb_pci_create(rig.vm, &config, &rig.pci));
	ck_assert_uint_eq(pin_in(1, &line), 0);
	must(vdb_virtio_pci_create(rig.pci, rig.v.device, NULL, &rig.vpci));
	vpci_set_config(&rig, PCI_COMMAND, 2, ALL);
	vpci_rig_find(&rig);
	vpci_up(&rig, 0, 1);
	virtio_rig_echo(&rig.v, 0);
	vpci_rig_close(&rig);
}
END_TEST

START_TEST(many_devices_find_room)
{
	struct virtio_rig more[4];
	struct vdb_virtio_pci *vpci[4];
	int fds = leak_fds();

	vpci_rig_open(&rig, NULL);
	for (uint32_t i = 0; i < 4; i++) {
		const struct vdb_virtio_pci_config config = {.size = sizeof(config), .notify = i % 3};

		virtio_rig_make(&more[i], NULL);
		must(vdb_virtio_pci_create(rig.pci, more[i].device, &config, &vpci[i]));
		ck_assert_uint_eq(vdb_virtio_pci_slot(vpci[i]), 2 + i);
	}
	vpci_up(&rig, 0, 1);
	virtio_rig_echo(&rig.v, 0);
	for (uint32_t i = 0; i < 4; i++) {
		vdb_virtio_pci_destroy(vpci[i]);
		virtio_rig_close(&more[i]);
	}
	virtio_rig_echo(&rig.v, 0);
	vpci_rig_close(&rig);
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        g24_a_bar_over_memory_does_not_decode,
	        memory_over_a_bar_is_refused,
	        g24_a_doorbell_that_kvm_refuses_rings_all_the_same,
	        windows_hold_no_memory,
	        slots_take_the_lines_in_turn,
	        without_lines_there_is_no_pin,
	        many_devices_find_room,
	        NULL,
	};

	return kvm_tests_run("pci", NULL, NULL, tests);
}
