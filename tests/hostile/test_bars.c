/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: virtio_pci */
/* WRAP: ioctl */
/*
 * G24, G25: a guest rings its doorbells without end while another of its vCPUs moves them to where they must
 * not be, sizes them, turns decoding or bus mastering off. What KVM is told is watched: one bell at a place,
 * in the windows only, and none where none is any more.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../kvm/guest/pci_abi.h"
#include "arena.h"
#include "pci_machine.h"

GUEST_IMAGE(virtio_pci);

#define QUEUES 2u
#define BELLS 64u
#define PLACE_A 0xc8000000u
#define PLACE_B 0xc9000000u
#define PORTS 0xc400u
#define PAGES_REG (PCI_BASE_ADDRESS_0 + 4 * 4)
#define PORTS_REG (PCI_BASE_ADDRESS_0 + 2 * 4)
#define ALL (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
#define MOVES 80u

/* ---- What KVM knows ---- */

int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kvm_ioeventfd bells[BELLS];
static uint32_t nbells, doubles, outside; /* with the lock */

static bool same(const struct kvm_ioeventfd *a, const struct kvm_ioeventfd *b)
{
	return a->addr == b->addr &&
	       (a->flags & KVM_IOEVENTFD_FLAG_PIO) == (b->flags & KVM_IOEVENTFD_FLAG_PIO);
}

static bool in_windows(const struct kvm_ioeventfd *bell)
{
	if (bell->flags & KVM_IOEVENTFD_FLAG_PIO)
		return bell->addr >= 0xc000 && bell->addr < 0x10000;
	return (bell->addr >= 0xc0000000 && bell->addr < 0xd0000000) || bell->addr >= 1ull << 32;
}

static void enter(const struct kvm_ioeventfd *bell)
{
	for (uint32_t i = 0; i < nbells; i++)
		doubles += same(&bells[i], bell);
	outside += !in_windows(bell);
	if (nbells < BELLS)
		bells[nbells++] = *bell;
}

static void leave(const struct kvm_ioeventfd *bell)
{
	for (uint32_t i = 0; i < nbells; i++) {
		if (same(&bells[i], bell)) {
			bells[i] = bells[--nbells];
			return;
		}
	}
	doubles++; /* what was not there cannot go */
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;
	int rc;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request != KVM_IOEVENTFD)
		return __real_ioctl(fd, request, arg);
	pthread_mutex_lock(&lock);
	rc = __real_ioctl(fd, request, arg);
	if (!rc && ((const struct kvm_ioeventfd *)arg)->flags & KVM_IOEVENTFD_FLAG_DEASSIGN)
		leave(arg);
	else if (!rc)
		enter(arg);
	pthread_mutex_unlock(&lock);
	return rc;
}

static uint32_t bells_at(uint64_t addr)
{
	uint32_t n = 0;

	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < nbells; i++)
		n += bells[i].addr == addr;
	pthread_mutex_unlock(&lock);
	return n;
}

/* ---- The machine ---- */

static struct pci_machine m;
static uint64_t function;
static pthread_t vcpu;
static uint32_t over; /* atomic: the guest has ended */

static void writes(uint64_t addr, uint32_t len, uint64_t value)
{
	(void)vdb_bus_write(vdb_vm_mmio(m.f.vm), NULL, addr, &value, len);
}

static uint32_t reads(uint64_t addr, uint32_t len)
{
	uint32_t value = 0;

	(void)vdb_bus_read(vdb_vm_mmio(m.f.vm), NULL, addr, &value, len);
	return value;
}

static void *run(void *arg)
{
	pci_machine_run(&m);
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	return arg;
}

/* The guest rings at both places until each of its requests is answered. */
static void start_guest(uint32_t rounds)
{
	struct echo_params *params = pci_machine_echo(&m);

	*params = (struct echo_params){.mode = PCI_MOVED, .size = 16, .rounds = rounds};
	pci_machine_params(&m)->places[0] = PLACE_A;
	pci_machine_params(&m)->places[1] = PLACE_B;
	LOAD_IMAGE(&m.f, virtio_pci, false, 0);
	ck_assert_int_eq(pthread_create(&vcpu, NULL, run, NULL), 0);
}

static void open_machine(void)
{
	pci_machine_open(&m, QUEUES);
	pci_machine_plug(&m, VDB_NOTIFY_PIO, 0);
	function = PCI_MACHINE_ECAM + (PCI_MACHINE_SLOT << 15);
	writes(function + PAGES_REG, 4, PLACE_A);
	writes(function + PORTS_REG, 4, PORTS);
}

static void close_machine(void)
{
	ck_assert_int_eq(pthread_join(vcpu, NULL), 0);
	pci_machine_close(&m);
	pthread_mutex_lock(&lock);
	ck_assert_uint_eq(doubles, 0);
	ck_assert_uint_eq(outside, 0);
	pthread_mutex_unlock(&lock);
}

static uint64_t word(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/* ---- Moves ---- */

/* What is written to the registers of pages and ports, and to their high half. RAM, the other BARs, chips,
 * the last page below 4 GiB, config space, sizes, beyond all address bits; here and there a place that is
 * good. */
static uint32_t bad_place(uint32_t i)
{
	const uint32_t places[] = {
	        0,          GUEST_DATA, reads(function + PCI_BASE_ADDRESS_0, 4),
	        0xfec00000, 0xfee00000, reads(function + PCI_BASE_ADDRESS_1, 4),
	        0xfffff000, 0xffffffff, PCI_MACHINE_ECAM,
	        0xbffff000, 0xcffff000, 0xd0000000,
	};

	return places[i % (sizeof(places) / sizeof(places[0]))];
}

static void move_once(uint32_t i)
{
	static const uint32_t ports[] = {0,      PORT_REPORT, 0xcf8,  0xcfc,     0x20,
	                                 0xbffc, 0xffff,      0xfffc, 0xffffffff};

	writes(function + PAGES_REG, 4, bad_place(i));
	writes(function + PORTS_REG, 4, ports[i % (sizeof(ports) / sizeof(ports[0]))]);
	if (i % 5 == 0) {
		writes(function + PAGES_REG + 4, 4, 0xffffffff);
		writes(function + PAGES_REG + 4, 4, 0);
	}
	if (i % 3 == 0)
		writes(function + PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	/* Back, to one of two places, so that the guest comes on. */
	writes(function + PORTS_REG, 4, PORTS + i % 4 * 0x100);
	writes(function + PAGES_REG, 4, i % 2 ? PLACE_A : PLACE_B);
	writes(function + PCI_COMMAND, 2, ALL);
}

static void check_bells_at(uint64_t place, uint32_t port)
{
	uint64_t other = place == PLACE_A ? PLACE_B : PLACE_A;

	for (uint32_t q = 0; q < QUEUES; q++) {
		ck_assert_uint_eq(bells_at(place + q * 4096), 1);
		ck_assert_uint_eq(bells_at(other + q * 4096), 0);
		ck_assert_uint_eq(bells_at(port + q * 4), 1);
	}
	pthread_mutex_lock(&lock);
	ck_assert_uint_eq(nbells, 2 * QUEUES);
	pthread_mutex_unlock(&lock);
	ck_assert_uint_eq(reads(other, 4), 0xffffffff); /* nobody's */
}

static void wait_for_more(uint64_t n)
{
	uint64_t done = word(&pci_machine_echo(&m)->done);

	for (int k = 0; word(&pci_machine_echo(&m)->done) < done + n; k++) {
		ck_assert_int_lt(k, 400000);
		usleep(50);
	}
}

START_TEST(g24_bells_ring_while_bars_go_where_they_must_not)
{
	open_machine();
	writes(function + PCI_COMMAND, 2, ALL);
	start_guest(UINT32_MAX);
	wait_for_more(2); /* it has found its device */
	arena_begin(m.loop);
	for (uint32_t i = 0; i < MOVES; i++) {
		move_once(i);
		check_bells_at(i % 2 ? PLACE_A : PLACE_B, PORTS + i % 4 * 0x100);
		/* The bell is at its new place: requests there are served. */
		wait_for_more(2);
	}
	arena_end();
	__atomic_store_n(&pci_machine_echo(&m)->rounds, 0, __ATOMIC_RELEASE);
	close_machine();
	ck_assert_uint_eq(nbells, 0);
}
END_TEST

/* ---- Bus mastering ---- */

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static uint32_t served(void)
{
	return __atomic_load_n(&m.echo.served, __ATOMIC_ACQUIRE);
}

static uint64_t bells_heard(void)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	arena_spare("its bells would be counted");
	must(vdb_loop_stats(m.loop, &stats));
	return stats.bells;
}

/* The guest's storm goes on for so many rings more. */
static void wait_for_rings(uint64_t n)
{
	uint64_t rings = word(&pci_machine_params(&m)->rings);

	for (int k = 0; word(&pci_machine_params(&m)->rings) < rings + n; k++) {
		ck_assert_int_lt(k, 400000);
		usleep(50);
	}
}

/* What the loop had been told before is done. */
static void settle(void)
{
	for (int i = 0; i < 3; i++)
		must(vdb_loop_call(m.loop, nothing, NULL));
}

START_TEST(g25_a_storm_of_kicks_without_bus_mastering)
{
	uint8_t *before = malloc(GUEST_MEM);
	uint64_t heard;
	uint32_t was;

	ck_assert_ptr_nonnull(before);
	open_machine();
	writes(function + PCI_COMMAND, 2, ALL);
	start_guest(UINT32_MAX);
	for (uint32_t i = 0; i < 20; i++) {
		wait_for_rings(20);
		writes(function + PCI_COMMAND, 2, ALL & ~PCI_COMMAND_MASTER);
		settle();
		was = served();
		heard = bells_heard();
		/* A request may have been answered just before; from the next one on nothing is touched. */
		wait_for_rings(20);
		memcpy(before, m.f.ram + ECHO_RINGS, ECHO_AREA);
		wait_for_rings(50);
		settle();
		ck_assert_uint_eq(served(), was);
		ck_assert_uint_eq(bells_heard(), heard);
		ck_assert_mem_eq(before, m.f.ram + ECHO_RINGS, ECHO_AREA);
		writes(function + PCI_COMMAND, 2, ALL);
	}
	__atomic_store_n(&pci_machine_echo(&m)->rounds, 0, __ATOMIC_RELEASE);
	close_machine();
	free(before);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("bars");

	kvm_fixture_need();
	tcase_add_test(tc, g24_bells_ring_while_bars_go_where_they_must_not);
	tcase_add_test(tc, g25_a_storm_of_kicks_without_bus_mastering);
	return test_run_within("bars", tc, 100);
}
