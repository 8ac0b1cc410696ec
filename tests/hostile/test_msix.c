/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: ioctl */
/*
 * G21, G22, G26: a real guest takes the interrupts of a PCI device while its driver, the test, names vectors
 * that are not there, masks and aims in a storm, and does not acknowledge INTx. A vCPU counts what came.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "arena.h"
#include "irq_guest.h"
#include "leak.h"
#include "mock.h"
#include "pci_machine.h"
#include "virtq_driver.h"

#define RINGS 0x240000u
#define BUFFERS 0x260000u
#define VECTORS 3u /* two queues and the configuration */
#define CONFIG_AT 0x2000u

int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);

static uint32_t refuse; /* atomic: every so many-th change of routes fails */
static uint32_t routings, refused;

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	uint32_t every = __atomic_load_n(&refuse, __ATOMIC_ACQUIRE);
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == KVM_SET_GSI_ROUTING && every &&
	    __atomic_add_fetch(&routings, 1, __ATOMIC_ACQ_REL) % every == 0) {
		__atomic_fetch_add(&refused, 1, __ATOMIC_ACQ_REL);
		errno = ENOMEM;
		return -1;
	}
	return __real_ioctl(fd, request, arg);
}

/* ---- The machine, and a driver's accesses ---- */

static struct pci_machine m;
static struct mock_ram ram;
static struct virtq_driver driver;
static uint64_t function, common, table, doorbell;
static uint32_t msix_cap, requests;
static int fds;

static uint64_t reads(uint64_t addr, uint32_t len)
{
	uint64_t value = 0;

	(void)vdb_bus_read(vdb_vm_mmio(m.f.vm), NULL, addr, &value, len);
	return value;
}

static void writes(uint64_t addr, uint32_t len, uint64_t value)
{
	(void)vdb_bus_write(vdb_vm_mmio(m.f.vm), NULL, addr, &value, len);
}

static void set(uint32_t offset, uint32_t len, uint64_t value)
{
	writes(common + offset, len, value);
}

static uint64_t bar(uint32_t i)
{
	return reads(function + PCI_BASE_ADDRESS_0 + i * 4, 4) & ~0xfull;
}

static void find(void)
{
	function = PCI_MACHINE_ECAM + (PCI_MACHINE_SLOT << 15);
	writes(function + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	common = bar(0);
	table = bar(1);
	doorbell = bar(4);
	for (msix_cap = (uint32_t)reads(function + PCI_CAPABILITY_LIST, 1);
	     reads(function + msix_cap, 1) != PCI_CAP_ID_MSIX;
	     msix_cap = (uint32_t)reads(function + msix_cap + 1, 1))
		ck_assert_uint_ne(msix_cap, 0);
}

static void ring_bell(void *arg)
{
	(void)arg;
	writes(doorbell, 2, 0);
}

static void set64(uint32_t offset, uint64_t value)
{
	set(offset, 4, (uint32_t)value);
	set(offset + 4, 4, value >> 32);
}

/* Queue 0, from reset to DRIVER_OK. */
static void drive(void)
{
	const struct vdb_virtq_config config = {.size = sizeof(config), .entries = 16, .desc = RINGS};

	virtq_driver_open(&driver, &ram, &config);
	driver.bell = ring_bell;
	set(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	set(VIRTIO_PCI_COMMON_STATUS, 1, 1);
	set(VIRTIO_PCI_COMMON_STATUS, 1, 3);
	set(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	set(VIRTIO_PCI_COMMON_GF, 4, 1); /* VERSION_1 */
	set(VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
	set(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	set(VIRTIO_PCI_COMMON_Q_SIZE, 2, 16);
	set64(VIRTIO_PCI_COMMON_Q_DESCLO, driver.config.desc);
	set64(VIRTIO_PCI_COMMON_Q_AVAILLO, driver.config.driver);
	set64(VIRTIO_PCI_COMMON_Q_USEDLO, driver.config.device);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	set(VIRTIO_PCI_COMMON_STATUS, 1, 0xf);
	ck_assert_uint_eq(reads(common + VIRTIO_PCI_COMMON_STATUS, 1), 0xf);
}

static void setup(void)
{
	static const struct irq_guest_pin pin = {PCI_MACHINE_GSI, IRQ_VECTOR + 7, true};

	fds = leak_fds();
	pci_machine_open(&m, 2);
	pci_machine_plug(&m, VDB_NOTIFY_MMIO, 0);
	ram = (struct mock_ram){.mem = m.f.mem, .host = m.f.ram, .len = GUEST_MEM};
	find();
	irq_guest_start(&m.f, 0, &pin, 1);
	drive();
}

static void teardown(void)
{
	virtq_driver_close(&driver);
	pci_machine_close(&m);
	ck_assert_int_eq(leak_fds(), fds);
}

static uint32_t arrived(uint32_t i)
{
	return __atomic_load_n(irq_guest_count(&m.f, 0, IRQ_VECTOR + i), __ATOMIC_ACQUIRE);
}

/* One request there and back: its completion asks for an interrupt. */
static void request(void)
{
	const struct virtq_buf bufs[] = {{BUFFERS, 8, false}, {BUFFERS + 8, 8, true}};
	uint64_t cookie;
	uint32_t len;
	int tries = 0;

	ck_assert(virtq_add(&driver, bufs, 2, ++requests));
	(void)virtq_publish(&driver);
	while (!virtq_reap(&driver, &cookie, &len)) {
		ck_assert_int_lt(++tries, 400000);
		usleep(50);
	}
	ck_assert_uint_eq(cookie, requests);
}

static void aim(uint32_t vector, uint32_t address, uint32_t data)
{
	writes(table + vector * 16, 4, address);
	writes(table + vector * 16 + 4, 4, 0);
	writes(table + vector * 16 + 8, 4, data);
}

static void mask(uint32_t vector, uint32_t on)
{
	writes(table + vector * 16 + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, on);
}

static void enable(void)
{
	for (uint32_t i = 0; i < VECTORS; i++) {
		aim(i, 0xfee00000, IRQ_VECTOR + i);
		mask(i, 0);
	}
	writes(function + msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
}

/* ---- G21 ---- */

START_TEST(g21_no_interrupt_by_a_vector_that_is_not_there)
{
	static const uint32_t vectors[] = {VECTORS, VECTORS + 1, 2047, 2048, 0x7fff, 0xfffe, 0xffff};

	enable();
	arena_begin(m.loop);
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		set(VIRTIO_PCI_COMMON_MSIX, 2, vectors[i]);
		set(VIRTIO_PCI_COMMON_Q_MSIX, 2, vectors[i]);
		ck_assert_uint_eq(reads(common + VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		ck_assert_uint_eq(reads(common + VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		request();
		vdb_virtio_config_changed(m.device);
	}
	/* What comes next is the first that comes. */
	set(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	set(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	request();
	vdb_virtio_config_changed(m.device);
	wait_for32(irq_guest_count(&m.f, 0, IRQ_VECTOR), 1);
	wait_for32(irq_guest_count(&m.f, 0, IRQ_VECTOR + 1), 1);
	ck_assert_uint_eq(arrived(0), 1);
	ck_assert_uint_eq(arrived(1), 1);
	ck_assert_uint_eq(arrived(2), 0);
	ck_assert_uint_eq(arrived(7), 0);
	arena_end();
}
END_TEST

/* ---- G22 ---- */

static uint32_t over; /* atomic */

/* Another vCPU: masks, aims at nothing, at an APIC that is not there and where it should, reads and writes
 * beside the table. */
static void *storm(void *arg)
{
	static const uint32_t addresses[] = {0xfee00000, 0, 0xdeadbeec, 0xfee00000, 0xfee05000, 0xffffffff};
	uint32_t i = 0;

	for (; !__atomic_load_n(&over, __ATOMIC_ACQUIRE); i++) {
		uint32_t address = addresses[i % 6], good = address == 0xfee00000;

		mask(1, 1);
		aim(1, address, good ? IRQ_VECTOR + 1 : i * 0x01010101);
		mask(1, 0);
		writes(table + 0x800 + i % 16, 1u << i % 4, UINT64_MAX); /* the pending bits */
		writes(table + VECTORS * 16 + i % 4096, 1u << i % 4, UINT64_MAX);
		(void)reads(table + i % 4096, 1u << i % 4);
		if (i % 7 == 0)
			writes(function + msix_cap + PCI_MSIX_FLAGS, 2,
			       PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
		if (i % 13 == 0)
			writes(function + msix_cap + PCI_MSIX_FLAGS, 2, 0);
		writes(function + msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	}
	*(uint32_t *)arg = i;
	return NULL;
}

START_TEST(g22_a_storm_of_masks_and_routes_that_fail)
{
	uint32_t rounds = 0, before;
	pthread_t thread;

	enable();
	set(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	arena_begin(m.loop);
	__atomic_store_n(&refuse, _i ? 3u : 0u, __ATOMIC_RELEASE);
	ck_assert_int_eq(pthread_create(&thread, NULL, storm, &rounds), 0);
	for (uint32_t i = 0; i < 300 || __atomic_load_n(&refused, __ATOMIC_ACQUIRE) < (_i ? 20u : 0u); i++)
		request();
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	__atomic_store_n(&refuse, 0, __ATOMIC_RELEASE);
	ck_assert_uint_gt(rounds, 10);
	/* As if nothing had been. */
	mask(1, 1);
	aim(1, 0xfee00000, IRQ_VECTOR + 1);
	mask(1, 0);
	before = arrived(1);
	request();
	wait_for32(irq_guest_count(&m.f, 0, IRQ_VECTOR + 1), before + 1);
	ck_assert_uint_eq(arrived(0) + arrived(2), 0); /* while it was off, it was INTx */
	ck_assert_uint_eq(m.f.events, 0);
	arena_end();
}
END_TEST

/* ---- G26 ---- */

static struct vdb_loop_stats loop_stats(void)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	arena_spare("what the loop does for the device alone is counted");
	must(vdb_loop_stats(m.loop, &stats));
	return stats;
}

static bool intx(void)
{
	return reads(function + PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
}

static uint64_t isr(void)
{
	return reads(common + 0x1000, 1);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* The guest's handler says EOI and never reads the ISR: it is interrupted again, and each time costs the loop
 * one event, and none that the guest has not had an interrupt for. Others' requests are served meanwhile. */
START_TEST(g26_intx_that_is_never_acknowledged)
{
	uint32_t first, last;
	uint64_t before, after;

	request();
	wait_for32(irq_guest_count(&m.f, 0, IRQ_VECTOR + 7), 5);
	first = arrived(7);
	before = loop_stats().events;
	wait_for32(irq_guest_count(&m.f, 0, IRQ_VECTOR + 7), first + 500);
	after = loop_stats().events;
	last = arrived(7);
	ck_assert_uint_le(after - before, last - first + 2);
	for (uint32_t i = 0; i < 20; i++)
		request();
	ck_assert(intx());
	ck_assert_uint_eq(isr(), 1);
	ck_assert(!intx());
	/* One that is on its way, and then none. */
	for (uint32_t i = 0; i < 3; i++)
		must(vdb_loop_call(m.loop, nothing, NULL));
	last = arrived(7);
	request();
	wait_for32(irq_guest_count(&m.f, 0, IRQ_VECTOR + 7), last + 1);
	ck_assert_uint_eq(isr(), 1);
}
END_TEST

START_TEST(g26_intx_that_comes_again_and_again_beside_a_neighbour)
{
	arena_begin(m.loop);
	request();
	for (uint32_t i = 1; i <= 5; i++) {
		wait_for32(irq_guest_count(&m.f, 0, IRQ_VECTOR + 7), i * 50);
		arena_goes_on();
		request();
	}
	ck_assert_uint_eq(isr(), 1);
	arena_end();
}
END_TEST

/* A vCPU that does not run says no EOI: the loop hears of nothing, however long the pin is up. */
START_TEST(g26_intx_that_nobody_takes)
{
	uint64_t before, after;
	uint32_t stopped = 0;

	must(vdb_vm_pause(m.f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	request();
	ck_assert(intx());
	must(vdb_loop_call(m.loop, nothing, NULL));
	before = loop_stats().events;
	for (uint32_t i = 0; i < 100; i++) {
		vdb_virtio_config_changed(m.device);
		must(vdb_loop_call(m.loop, nothing, NULL));
	}
	after = loop_stats().events;
	ck_assert_uint_le(after - before, 102); /* the calls */
	ck_assert_uint_eq(isr(), 3);
	must(vdb_vm_resume(m.f.vm));
}
END_TEST

static void *take(void *arg)
{
	uint64_t *taken = arg;

	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		*taken |= isr();
	return NULL;
}

/* Two vCPUs read the ISR while it is set: the line is up when there is a cause, and down when there is none.
 */
START_TEST(g26_acknowledgements_race)
{
	uint64_t taken[2] = {0};
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take, &taken[i]), 0);
	for (uint32_t i = 0; i < 500; i++) {
		request();
		vdb_virtio_config_changed(m.device);
	}
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(taken[0] | taken[1] | isr(), 3);
	must(vdb_loop_call(m.loop, nothing, NULL)); /* the last one's is raised in its turn */
	(void)isr();
	ck_assert(!intx());
	vdb_virtio_config_changed(m.device);
	ck_assert(intx());
	ck_assert_uint_eq(isr(), 2);
	ck_assert(!intx());
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("msix");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, g21_no_interrupt_by_a_vector_that_is_not_there);
	tcase_add_loop_test(tc, g22_a_storm_of_masks_and_routes_that_fail, 0, 2);
	tcase_add_test(tc, g26_intx_that_is_never_acknowledged);
	tcase_add_test(tc, g26_intx_that_comes_again_and_again_beside_a_neighbour);
	tcase_add_test(tc, g26_intx_that_nobody_takes);
	tcase_add_test(tc, g26_acknowledgements_race);
	return test_run_within("msix", tc, 100);
}
