/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* WRAP: calloc eventfd ioctl */
/* virtio-pci's registers, window, notification and interrupts, seen from config space and BARs. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include <time.h>

#include "fail.h"
#include "kvm_fixture.h"
#include "leak.h"
#include "vpci_rig.h"

#define QUEUE_RESET 58u
#define ALL (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static struct vpci_rig rig;
static int fds;

static void setup(void)
{
	const struct vdb_virtio_pci_config config = {.size = sizeof(config), .notify = VDB_NOTIFY_PIO};

	fds = leak_fds();
	vpci_rig_open(&rig, &config);
}

static void teardown(void)
{
	vpci_rig_close(&rig);
	ck_assert_int_eq(leak_fds(), fds);
}

static uint64_t get(uint32_t offset, uint32_t len)
{
	return vpci_read(&rig, rig.common + offset, len);
}

static void set(uint32_t offset, uint32_t len, uint64_t value)
{
	vpci_write(&rig, rig.common + offset, len, value);
}

static void nap(void)
{
	const struct timespec ms = {.tv_nsec = 1000000};

	nanosleep(&ms, NULL);
}

/* ---- What it is ---- */

START_TEST(it_is_a_modern_virtio_function)
{
	uint32_t first = vpci_config(&rig, PCI_CAPABILITY_LIST, 1), notify = 0;

	ck_assert_uint_eq(vpci_config(&rig, PCI_VENDOR_ID, 4), (0x1040u + 42) << 16 | 0x1af4);
	ck_assert_uint_eq(vpci_config(&rig, PCI_REVISION_ID, 1), 1);
	ck_assert_uint_ge(vpci_config(&rig, PCI_SUBSYSTEM_ID, 2), 0x40);
	ck_assert_uint_eq(vpci_config(&rig, PCI_INTERRUPT_PIN, 1), 1);
	ck_assert_uint_eq(vpci_config(&rig, PCI_INTERRUPT_LINE, 1), 16 + VPCI_SLOT);
	ck_assert(rig.common && rig.isr && rig.device && rig.pages && rig.ports && rig.window);
	/* The first way to notify is the one to prefer. */
	for (uint32_t cap = first; cap && !notify; cap = vpci_config(&rig, cap + 1, 1)) {
		if (vpci_config(&rig, cap, 1) == PCI_CAP_ID_VNDR &&
		    vpci_config(&rig, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1) == VIRTIO_PCI_CAP_NOTIFY_CFG)
			notify = cap;
	}
	ck_assert_uint_eq(vpci_config(&rig, notify + VIRTIO_PCI_CAP_BAR, 1), 2);
	ck_assert_uint_eq(vpci_config(&rig, notify + VIRTIO_PCI_NOTIFY_CAP_MULT, 4), 4);
	ck_assert_uint_eq(vpci_config(&rig, rig.msix_cap + PCI_MSIX_FLAGS, 2), VRIG_QUEUES);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_NUMQ, 2), VRIG_QUEUES);
}
END_TEST

/* ---- Registers ---- */

START_TEST(registers_are_the_devices)
{
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	set(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_DFSELECT, 4), 1);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_DF, 4) & 1, 1); /* VERSION_1 */
	set(VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_DF, 4), 0);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 2, 3);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_SELECT, 2), 3);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_NOFF, 2), 3);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	set(VIRTIO_PCI_COMMON_Q_SIZE, 2, 32);
	set(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 0x1234560);
	set(VIRTIO_PCI_COMMON_Q_AVAILHI, 4, 0xabcd);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 32);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_AVAILLO, 4), 0x1234560);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_AVAILHI, 4), 0xabcd);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
	ck_assert_uint_eq(vdb__virtio_queue_addr(rig.v.device, 3, VDB__QUEUE_DRIVER), 0xabcd01234560);
	vpci_write(&rig, rig.device + 4, 4, 0x11223344);
	ck_assert_uint_eq(vpci_read(&rig, rig.device + 6, 2), 0x1122);
	vpci_reset(&rig);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 2, 3);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
}
END_TEST

/* HOSTILE G7. */
START_TEST(a_queue_that_is_not_there_reads_zeroes)
{
	static const uint32_t selects[] = {VRIG_QUEUES, 64, 0x7fff, 0x8000, 0xffff};

	for (size_t s = 0; s < sizeof(selects) / sizeof(selects[0]); s++) {
		set(VIRTIO_PCI_COMMON_Q_SELECT, 2, selects[s]);
		for (uint32_t at = VIRTIO_PCI_COMMON_Q_SIZE; at < 60; at += 2) {
			set(at, 2, 1);
			set(at, 4, 0xffffffff);
			ck_assert_uint_eq(get(at, 2), 0);
			ck_assert_uint_eq(get(at, 4), 0);
		}
	}
	vpci_up(&rig, 0, 1);
	virtio_rig_echo(&rig.v, 0);
}
END_TEST

/* HOSTILE G16, G18: only a field's own width reaches it. */
START_TEST(g16_only_a_fields_own_width_reaches_it)
{
	uint64_t end = rig.common + 0x4000;

	vpci_up(&rig, 0, 1);
	for (uint64_t at = rig.common - 8; at < end; at += at < rig.common + 0x80 ? 1 : 61) {
		for (uint32_t len = 1; len <= 8; len *= 2) {
			uint64_t offset = at - rig.common;
			bool status = offset == VIRTIO_PCI_COMMON_STATUS && len == 1;

			(void)vpci_read(&rig, at, len);
			if (!status && at < rig.device)
				vpci_write(&rig, at, len, offset % 3 ? 0xffffffffffffffff : 2);
		}
	}
	set(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	set(VIRTIO_PCI_COMMON_DFSELECT, 4, 0x77);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_DFSELECT, 2), 0);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_DFSELECT, 8), 0);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_NUMQ, 1), 0);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_STATUS, 2), 0);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_STATUS, 4), 0);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_NDATA, 2), 0);
	virtio_rig_echo(&rig.v, 0);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_STATUS, 1), 0xf);
}
END_TEST

/* HOSTILE G21. */
START_TEST(g21_a_vector_that_is_not_there_reads_back_as_none)
{
	static const uint32_t vectors[] = {VRIG_QUEUES + 1, 2047, 2048, 0x8000, 0xfffe, 0xffff};

	vpci_set_config(&rig, rig.msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	vpci_up(&rig, 0, 1);
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		set(VIRTIO_PCI_COMMON_MSIX, 2, vectors[i]);
		ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		set(VIRTIO_PCI_COMMON_Q_MSIX, 2, vectors[i]);
		ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		virtio_rig_echo(&rig.v, 0);
		vpci_write(&rig, rig.device, 1, 1);
	}
	/* No vector: no interrupt, and none by the line. */
	ck_assert_uint_eq(vpci_read(&rig, rig.msix + 0x800, 8), 0);
	ck_assert_uint_eq(vpci_read(&rig, rig.isr, 1), 0);
	set(VIRTIO_PCI_COMMON_Q_MSIX, 2, VRIG_QUEUES);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VRIG_QUEUES);
	/* A reset takes them back. */
	vpci_reset(&rig);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
}
END_TEST

/* ---- Interrupts ---- */

static uint64_t pending(void)
{
	return vpci_read(&rig, rig.msix + 0x800, 8);
}

static void wait_for_pending(uint64_t bits)
{
	for (int i = 0; pending() != bits; i++) {
		ck_assert_int_lt(i, 20000);
		nap();
	}
}

START_TEST(masked_vectors_become_pending)
{
	vpci_set_config(&rig, rig.msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	vpci_up(&rig, 0, 2);
	set(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (uint32_t i = 0; i < 2; i++) {
		set(VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
		set(VIRTIO_PCI_COMMON_Q_MSIX, 2, i + 1);
	}
	virtio_rig_echo(&rig.v, 1);
	wait_for_pending(1u << 2);
	virtio_rig_echo(&rig.v, 0);
	vpci_write(&rig, rig.device, 1, 1);
	wait_for_pending(7);
	ck_assert_uint_eq(vpci_read(&rig, rig.isr, 1), 0);
	ck_assert_uint_eq(vpci_config(&rig, PCI_STATUS, 1) & PCI_STATUS_INTERRUPT, 0);
}
END_TEST

/* A message is a write to memory (PCI 3.0, 6.2.2). */
START_TEST(messages_wait_for_bus_mastering)
{
	vpci_set_config(&rig, rig.msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	vpci_write(&rig, rig.msix + PCI_MSIX_ENTRY_LOWER_ADDR, 4, 0xfee00000);
	vpci_write(&rig, rig.msix + PCI_MSIX_ENTRY_DATA, 4, 0x40);
	vpci_write(&rig, rig.msix + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 0);
	vpci_up(&rig, 0, 1);
	set(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	vpci_write(&rig, rig.device, 1, 1);
	ck_assert_uint_eq(pending(), 0);
	vpci_set_config(&rig, PCI_COMMAND, 2, ALL & ~PCI_COMMAND_MASTER);
	vpci_write(&rig, rig.device, 1, 2);
	ck_assert_uint_eq(pending(), 1);
	vpci_set_config(&rig, PCI_COMMAND, 2, ALL);
	ck_assert_uint_eq(pending(), 0);
}
END_TEST

static void wait_for_intx(bool up)
{
	for (int i = 0; !(vpci_config(&rig, PCI_STATUS, 1) & PCI_STATUS_INTERRUPT) == up; i++) {
		ck_assert_int_lt(i, 20000);
		nap();
	}
}

START_TEST(without_msix_the_isr_has_the_cause)
{
	vpci_up(&rig, 0, 1);
	virtio_rig_echo(&rig.v, 0);
	wait_for_intx(true);
	ck_assert_uint_eq(vpci_read(&rig, rig.isr, 1), 1);
	wait_for_intx(false);
	ck_assert_uint_eq(vpci_read(&rig, rig.isr, 1), 0);
	vpci_write(&rig, rig.device, 1, 1);
	wait_for_intx(true);
	ck_assert_uint_eq(vpci_read(&rig, rig.isr, 1), 2);
	ck_assert_uint_eq(vpci_config(&rig, PCI_STATUS, 1) & PCI_STATUS_INTERRUPT, 0);
	/* A reset forgets it. */
	virtio_rig_echo(&rig.v, 0);
	wait_for_intx(true);
	vpci_reset(&rig);
	wait_for_intx(false);
	ck_assert_uint_eq(vpci_read(&rig, rig.isr, 1), 0);
}
END_TEST

/* ---- Notification ---- */

/* HOSTILE G15, G16: every width, and what is no queue's. */
START_TEST(every_way_of_notifying_rings)
{
	vpci_up(&rig, 0, VRIG_QUEUES);
	for (uint32_t len = 1; len <= 8; len *= 2) {
		for (uint32_t q = 0; q < VRIG_QUEUES; q++) {
			rig.v.driver[q].bell = NULL;
			virtio_rig_send(&rig.v, q, len * 8 + q);
			vpci_write(&rig, rig.pages + q * 4096 + 8, len, q);
			vpci_write(&rig, rig.pages + q * 4096 + 4095, 1, q);
			vpci_write(&rig, rig.pages + q * 4096, len, 0xdeadbeef);
			virtio_rig_receive(&rig.v, q, len * 8 + q);
		}
	}
	for (uint32_t q = 0; q < VRIG_QUEUES; q++) {
		uint64_t value = q;

		virtio_rig_send(&rig.v, q, value + 1);
		ck_assert_int_eq(vdb_bus_write(vdb_vm_pio(rig.vm), NULL, rig.ports + q * 4, &value, 2), 1);
		virtio_rig_receive(&rig.v, q, value + 1);
		ck_assert_uint_eq(vpci_read(&rig, rig.pages + q * 4096, 4), 0);
	}
}
END_TEST

START_TEST(a_kick_before_its_queue_runs_is_harmless)
{
	for (uint32_t q = 0; q < VRIG_QUEUES; q++)
		vpci_write(&rig, rig.pages + q * 4096, 2, q);
	vpci_up(&rig, 0, 1);
	for (uint32_t q = 0; q < VRIG_QUEUES; q++)
		vpci_write(&rig, rig.pages + q * 4096, 2, q);
	virtio_rig_echo(&rig.v, 0);
	vpci_reset(&rig);
	vpci_write(&rig, rig.pages, 2, 0);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_STATUS, 1), 0);
}
END_TEST

/* HOSTILE G25. */
START_TEST(g25_without_bus_mastering_nothing_is_touched)
{
	uint32_t served;

	vpci_up(&rig, 0, 1);
	virtio_rig_echo(&rig.v, 0);
	for (uint64_t i = 0; i < 20; i++) {
		vpci_set_config(&rig, PCI_COMMAND, 2, ALL & ~PCI_COMMAND_MASTER);
		for (int k = 0; k < 5; k++)
			nap();
		served = __atomic_load_n(&rig.v.echo.served, __ATOMIC_ACQUIRE);
		virtio_rig_send(&rig.v, 0, i);
		for (int k = 0; k < 5; k++)
			nap();
		ck_assert_uint_eq(__atomic_load_n(&rig.v.echo.served, __ATOMIC_ACQUIRE), served);
		vpci_set_config(&rig, PCI_COMMAND, 2, ALL);
		virtio_rig_receive(&rig.v, 0, i);
	}
	/* Off and on at once: whatever was going on ends well. */
	for (uint64_t i = 0; i < 200; i++) {
		virtio_rig_send(&rig.v, 0, i);
		vpci_set_config(&rig, PCI_COMMAND, 2, ALL & ~PCI_COMMAND_MASTER);
		vpci_set_config(&rig, PCI_COMMAND, 2, ALL);
		virtio_rig_receive(&rig.v, 0, i);
	}
	/* Not a master when DRIVER_OK is set. */
	vpci_set_config(&rig, PCI_COMMAND, 2, ALL & ~PCI_COMMAND_MASTER);
	vpci_up(&rig, 0, 1);
	virtio_rig_send(&rig.v, 0, 7);
	vpci_reset(&rig);
	vpci_up(&rig, 0, 1);
	virtio_rig_send(&rig.v, 0, 7);
	vpci_set_config(&rig, PCI_COMMAND, 2, ALL);
	virtio_rig_receive(&rig.v, 0, 7);
}
END_TEST

/* ---- The window ---- */

static void aim(uint32_t bar, uint32_t offset, uint32_t len)
{
	vpci_set_config(&rig, rig.window + VIRTIO_PCI_CAP_BAR, 1, bar);
	vpci_set_config(&rig, rig.window + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	vpci_set_config(&rig, rig.window + VIRTIO_PCI_CAP_LENGTH, 4, len);
}

START_TEST(the_window_reaches_every_structure)
{
	vpci_up(&rig, 0, 2);
	/* Wherever the BARs decode, or do not. */
	for (uint32_t decode = 0; decode < 2; decode++) {
		vpci_set_config(&rig, PCI_COMMAND, 2, PCI_COMMAND_MASTER | (decode ? ALL : 0u));
		aim(0, VIRTIO_PCI_COMMON_NUMQ, 2);
		ck_assert_uint_eq(vpci_config(&rig, rig.window + 16, 2), VRIG_QUEUES);
		aim(0, VIRTIO_PCI_COMMON_STATUS, 1);
		ck_assert_uint_eq(vpci_config(&rig, rig.window + 16, 4) & 0xff, 0xf);
		aim(0, VIRTIO_PCI_COMMON_DFSELECT, 4);
		vpci_set_config(&rig, rig.window + 16, 4, 0x12345678);
		ck_assert_uint_eq(vpci_config(&rig, rig.window + 16, 4), 0x12345678);
		aim(0, 0x2000 + 8, 2);
		vpci_set_config(&rig, rig.window + 16, 2, 0xbeef);
		ck_assert_uint_eq(vpci_config(&rig, rig.window + 16, 2), 0xbeef);
		rig.v.driver[1].bell = NULL;
		virtio_rig_send(&rig.v, 1, 5 + decode);
		aim(4, 4096, 2);
		vpci_set_config(&rig, rig.window + 16, 2, 1);
		virtio_rig_receive(&rig.v, 1, 5 + decode);
		aim(1, 12, 4); /* the first vector's control */
		ck_assert_uint_eq(vpci_config(&rig, rig.window + 16, 4), 1);
	}
}
END_TEST

/* HOSTILE G23. */
START_TEST(g23_a_window_beyond_a_bar_does_nothing)
{
	static const uint32_t wrong[][3] = {
	        {0, 0x4000, 4}, {0, 0x3ffe, 4},      {0, 0xfffffffc, 4}, {0, 20, 0}, {0, 20, 3},
	        {0, 20, 8},     {0, 20, 0xffffffff}, {3, 0, 4},          {5, 0, 4},  {6, 20, 1},
	        {255, 20, 1},   {0, 17, 2},          {2, 16, 1},
	};

	vpci_up(&rig, 0, 1);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		aim(wrong[i][0], wrong[i][1], wrong[i][2]);
		vpci_set_config(&rig, rig.window + 16, 4, 0);
		(void)vpci_config(&rig, rig.window + 16, 4);
		vpci_set_config(&rig, rig.window + 17, 1, 0);
		(void)vpci_config(&rig, rig.window + 18, 2);
	}
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_STATUS, 1), 0xf);
	virtio_rig_echo(&rig.v, 0);
}
END_TEST

/* ---- Resets ---- */

START_TEST(status_reads_0_when_nothing_is_in_flight)
{
	for (int round = 0; round < 500; round++) {
		vpci_up(&rig, round % 2 ? VRIG_BIT(VIRTIO_F_RING_PACKED) : 0, 1);
		__atomic_store_n(&rig.v.echo.hold, true, __ATOMIC_RELEASE);
		virtio_rig_send(&rig.v, 0, 1);
		virtio_rig_wait(&rig.v.echo.held, 1);
		set(VIRTIO_PCI_COMMON_STATUS, 1, 0);
		ck_assert_uint_ne(get(VIRTIO_PCI_COMMON_STATUS, 1), 0);
		set(VIRTIO_PCI_COMMON_STATUS, 1, 1);
		ck_assert_uint_ne(get(VIRTIO_PCI_COMMON_STATUS, 1), 0);
		virtio_rig_release(&rig.v);
		vpci_reset(&rig);
		ck_assert_uint_eq(vpci_read(&rig, rig.isr, 1), 0);
	}
	vpci_up(&rig, 0, 1);
	virtio_rig_echo(&rig.v, 0);
}
END_TEST

START_TEST(one_queue_is_reset_alone)
{
	vpci_up(&rig, VRIG_BIT(VRIG_RING_RESET), 2);
	__atomic_store_n(&rig.v.echo.hold, true, __ATOMIC_RELEASE);
	virtio_rig_send(&rig.v, 0, 1);
	virtio_rig_wait(&rig.v.echo.held, 1);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	set(QUEUE_RESET, 2, 1);
	ck_assert_uint_eq(get(QUEUE_RESET, 2), 1);
	virtio_rig_release(&rig.v);
	for (int i = 0; get(QUEUE_RESET, 2); i++) {
		ck_assert_int_lt(i, 20000);
		nap();
	}
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	virtio_rig_echo(&rig.v, 1);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_STATUS, 1), 0xf);
}
END_TEST

/* ---- Making it ---- */

static int remake(const struct vdb_virtio_pci_config *config)
{
	vdb_virtio_pci_destroy(rig.vpci);
	rig.vpci = NULL;
	return vdb_virtio_pci_create(rig.pci, rig.v.device, config, &rig.vpci);
}

#define REMAKE(...)                                                                                \
	remake(&(const struct vdb_virtio_pci_config){.size = sizeof(struct vdb_virtio_pci_config), \
	                                             __VA_ARGS__})

START_TEST(configs_are_checked)
{
	struct vdb_virtio_pci *second;

	ck_assert_int_eq(vdb_virtio_pci_create(rig.pci, rig.v.device, NULL, &second), -EBUSY);
	ck_assert_int_eq(vdb_pci_destroy(rig.pci), -EBUSY);
	ck_assert_int_eq(REMAKE(.notify = 3), -EINVAL);
	ck_assert_int_eq(REMAKE(.vectors = 2049), -EINVAL);
	ck_assert_int_eq(REMAKE(.flags = 2), -EINVAL);
	ck_assert_int_eq(REMAKE(.reserved = 1), -EINVAL);
	ck_assert_int_eq(REMAKE(.slot = 32), -EINVAL);
	must(REMAKE(.slot = 31, .vectors = 2048));
	ck_assert_uint_eq(vdb_virtio_pci_slot(rig.vpci), 31);
	must(REMAKE(.flags = VDB_VIRTIO_PCI_NO_MSIX, .notify = VDB_NOTIFY_MMIO));
	vpci_set_config(&rig, PCI_COMMAND, 2, ALL);
	vpci_rig_find(&rig);
	ck_assert_uint_eq(rig.msix_cap, 0);
	ck_assert_uint_eq(rig.ports, 0);
	vpci_up(&rig, 0, 1);
	set(VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
	ck_assert_uint_eq(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	virtio_rig_echo(&rig.v, 0);
	vdb_virtio_pci_destroy(NULL);
}
END_TEST

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* The loop frees an INTx line that was destroyed: by a post, then a cancelled poll, a turn or two later. One
 * of the calls may be the one that fails. */
static void settle(void)
{
	for (unsigned done = 0, tries = 0; done < 4 && tries < 8; tries++)
		done += !vdb_loop_call(rig.v.loop, nothing, NULL);
}

static int create(void *arg)
{
	(void)arg;
	return remake(&(const struct vdb_virtio_pci_config){.size = sizeof(struct vdb_virtio_pci_config),
	                                                    .notify = VDB_NOTIFY_PIO});
}

static int come_and_go(void *arg)
{
	int rc = create(arg);

	settle();
	return rc;
}

START_TEST(a_host_short_of_anything_gets_nothing_half)
{
	vdb_virtio_pci_destroy(rig.vpci);
	rig.vpci = NULL;
	settle();
	ck_assert_uint_ge(fail_sweep(come_and_go, NULL), 10);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        it_is_a_modern_virtio_function,
	        registers_are_the_devices,
	        a_queue_that_is_not_there_reads_zeroes,
	        g16_only_a_fields_own_width_reaches_it,
	        g21_a_vector_that_is_not_there_reads_back_as_none,
	        masked_vectors_become_pending,
	        messages_wait_for_bus_mastering,
	        without_msix_the_isr_has_the_cause,
	        every_way_of_notifying_rings,
	        a_kick_before_its_queue_runs_is_harmless,
	        g25_without_bus_mastering_nothing_is_touched,
	        the_window_reaches_every_structure,
	        g23_a_window_beyond_a_bar_does_nothing,
	        status_reads_0_when_nothing_is_in_flight,
	        one_queue_is_reset_alone,
	        configs_are_checked,
	        a_host_short_of_anything_gets_nothing_half,
	        NULL,
	};

	return kvm_tests_run("virtio_pci", setup, teardown, tests);
}
