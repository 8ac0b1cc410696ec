/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: ioctl */
/* TIMEOUT: 300 */
/*
 * KVM that refuses, a process that runs out of files, memory that goes away, signals and full counters, with
 * real VMs: F6, F14, F15, F23 and F28. Another VM runs all the while.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine.h"
#include "fail.h"
#include "kvm_fixture.h"
#include "leak.h"
#include "source.h"
#include "turn.h"

/* KVM's ioctls fail as the sweep says, but for those of vCPUs that run: not theirs is the host's trouble. */
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	unsigned long word;
	va_list args;

	va_start(args, request);
	word = va_arg(args, unsigned long);
	va_end(args);
	if (request != KVM_RUN && fail_now("ioctl")) {
		errno = EIO;
		return -1;
	}
	return __real_ioctl(fd, request, word);
}

/* ---- The VM beside, which nothing of this concerns: it counts, and rests after each ---- */

#define PORT_REST 0x20u

GUEST(count, "1: incl (%rdi)\n out %al, $0x20\n jmp 1b");

static struct kvm_fixture beside;

static void rest(void *ctx, struct vdb_bus_access *access)
{
	(void)ctx;
	(void)access;
	usleep(1000);
}

static void setup(void)
{
	const struct vdb_bus_ops ops = {.size = sizeof(ops), .write = rest};

	kvm_fixture_make(&beside, NULL, 1);
	must(vdb_bus_add(vdb_vm_pio(beside.vm), "rest", PORT_REST, 1, &ops, NULL));
	LOAD(&beside, 0, count, GUEST_DATA);
	must(vdb_vcpu_start(beside.vcpu[0], -1, NULL));
	while (!kvm_fixture_word(&beside, GUEST_DATA))
		sched_yield();
}

static void goes_on(void)
{
	uint32_t word = kvm_fixture_word(&beside, GUEST_DATA);

	while (kvm_fixture_word(&beside, GUEST_DATA) == word)
		sched_yield();
	ck_assert_uint_eq(beside.events, 0);
}

static void teardown(void)
{
	goes_on();
	kvm_fixture_end(&beside);
}

/* ---- A machine with everything ---- */

struct machine {
	struct vdb_kvm *kvm;
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu[2];
	struct vdb_doorbell *bells[3];
	struct vdb_irq *irq;
	struct vdb_pci *pci;
	struct vdb_virtio *rng[2];
	struct vdb_virtio_mmio *mmio;
	struct vdb_virtio_pci *vpci;
	uint32_t gone;
};

static struct vdb_loop *loop;

static int make_vm(struct machine *m)
{
	const struct vdb_region_config region = {
	        .size = sizeof(region), .len = GUEST_MEM, .backing = VDB_MEM_MEMFD};
	const struct vdb_vm_config config = {.size = sizeof(config), .doorbell_pages = 8};
	int err = vdb_kvm_open(NULL, &m->kvm);

	if (!err)
		err = vdb_mem_create(&m->mem);
	if (!err)
		err = vdb_mem_add(m->mem, &region);
	if (!err)
		err = vdb_vm_create(m->kvm, m->mem, &config, &m->vm);
	for (uint32_t i = 0; i < 2 && !err; i++)
		err = vdb_vcpu_create(m->vm, i, &m->vcpu[i]);
	return err;
}

static int make_parts(struct machine *m)
{
	static const struct vdb_doorbell_ring rings[2] = {
	        {.ring_gpa = 0x10000, .sq_entries = 8, .cq_entries = 8, .match = 1},
	        {.ring_gpa = 0x20000, .sq_entries = 8, .cq_entries = 8, .match = 2},
	};
	const struct vdb_irq_config irq = {
	        .size = sizeof(irq), .kind = VDB_IRQ_MSI, .msi_address = 0xfee00000, .msi_data = 0x40};
	int err = vdb_irq_create(m->vm, &irq, &m->irq);

	for (uint32_t i = 0; i < 3 && !err; i++) {
		const struct vdb_doorbell_config config = {
		        .size = sizeof(config),
		        .kind = i,
		        .addr = VDB_GPA_ANY,
		        .rings = rings,
		        .ring_count = 1 + i % 2,
		};

		err = vdb_doorbell_create(m->vm, &config, &m->bells[i]);
	}
	return err;
}

static int make_devices(struct machine *m)
{
	const struct vdb_virtio_config at = {.size = sizeof(at), .mem = m->mem, .loop = loop};
	const struct vdb_virtio_mmio_config mmio = {.size = sizeof(mmio), .gsi = 5, .base = 0xb0000000};
	const struct vdb_pci_config pci = {.size = sizeof(pci), .loop = loop};
	const struct vdb_virtio_pci_config slot = {.size = sizeof(slot)};
	int err = 0;

	for (int i = 0; i < 2 && !err; i++)
		err = vdb_rng_create(&at, &m->rng[i]);
	if (!err)
		err = vdb_virtio_mmio_create(m->vm, m->rng[0], &mmio, &m->mmio);
	if (!err)
		err = vdb_pci_create(m->vm, &pci, &m->pci);
	if (!err)
		err = vdb_virtio_pci_create(m->pci, m->rng[1], &slot, &m->vpci);
	return err;
}

static void unmake(struct machine *m)
{
	uint32_t left = 0, devices = 0;

	if (m->mmio)
		vdb_virtio_mmio_destroy(m->mmio);
	if (m->vpci)
		vdb_virtio_pci_destroy(m->vpci);
	if (m->pci)
		fail_check(!vdb_pci_destroy(m->pci));
	for (int i = 0; i < 2; i++) {
		devices += m->rng[i] != NULL;
		vdb_virtio_destroy(m->rng[i], count_done, &left);
	}
	for (int i = 0; i < 3; i++)
		vdb_doorbell_destroy(m->bells[i]);
	vdb_irq_destroy(m->irq);
	wait_for32(&left, devices);
	if (m->vm) {
		fail_check(!vdb_vm_destroy(m->vm, count_done, &m->gone));
		wait_for32(&m->gone, 1);
	}
	fail_check(!vdb_mem_destroy(m->mem));
	vdb_kvm_close(m->kvm);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static int had; /* fds, before there was any; 0: they cannot be counted now */

/* What the loop holds of it, it lets go in its turns. */
static void all_let_go(void)
{
	for (int i = 0; i < 20000 && leak_fds() > had; i++) {
		fail_check(!vdb_loop_call(loop, nothing, NULL));
		usleep(1000);
	}
}

static int whole_machine(void *arg)
{
	struct machine m = {0};
	int err = make_vm(&m);

	(void)arg;
	if (!err)
		err = make_parts(&m);
	if (!err)
		err = make_devices(&m);
	unmake(&m);
	if (had)
		all_let_go();
	return err;
}

static void start_loop(void)
{
	struct vdb_loop_config config = test_loop_config();

	must(vdb_loop_create(&config, &loop));
	must(vdb_loop_start(loop, -1, NULL));
}

static void end_loop(void)
{
	must(vdb_loop_join(loop));
	must(vdb_loop_destroy(loop));
}

/* Each ioctl of KVM's fails once: VM, vCPUs, slots, bells, irqfds, routes, devices on both transports. */
START_TEST(f14_kvm_that_refuses_at_any_step)
{
	start_loop();
	had = leak_fds();
	ck_assert_uint_ge(fail_sweep(whole_machine, NULL), 40);
	goes_on();
	must(whole_machine(NULL));
	end_loop();
}
END_TEST

static int next_fd(void)
{
	int fd = dup(0);

	ck_assert_int_ge(fd, 0);
	close(fd);
	return fd;
}

/* With ever more files to be had, until there are enough. */
START_TEST(f15_no_more_files_at_any_step_of_a_vm)
{
	struct rlimit limit, old;
	int before, err = -1;
	unsigned n = 0;

	start_loop();
	before = leak_fds();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = old;
	for (limit.rlim_cur = (rlim_t)next_fd(); err; limit.rlim_cur++, n++) {
		ck_assert_uint_lt(n, 200);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		err = whole_machine(NULL);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
		had = before;
		all_let_go();
		had = 0;
		ck_assert_int_eq(leak_fds(), before);
		if (err)
			ck_assert_msg(vdb_errmsg()[0], "%u more: %d without a word", n, err);
	}
	ck_assert_uint_ge(n, 10);
	end_loop();
}
END_TEST

/* ---- F6: memory that goes away ---- */

GUEST(touch, "mov (%rdi), %eax\n incl (%rdi)\n ud2");

/* A guest whose pages are gone has an event, or finds no memory there, as KVM will have it; the process and
 * the other VM are none the wiser. */
START_TEST(f6_memory_that_is_gone_stops_that_vm_alone)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = 0x10000000, .len = 0x10000, .backing = VDB_MEM_FD};
	struct kvm_fixture f;

	region.fd = memfd_create("gone", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(region.fd, (off_t)region.len), 0);
	kvm_fixture_make(&f, NULL, 1);
	must(vdb_mem_add(f.mem, &region));
	LOAD(&f, 0, touch, region.gpa);
	kvm_fixture_run(&f, 0);
	ck_assert_int_eq(ftruncate(region.fd, 0), 0);
	f.events = 0;
	LOAD(&f, 0, touch, region.gpa);
	ck_assert_int_le(vdb_vcpu_run(f.vcpu[0]), 0);
	ck_assert_uint_eq(f.events, 1);
	goes_on();
	close(region.fd);
	kvm_fixture_end(&f);
}
END_TEST

/* ---- F23: a storm of signals at a vCPU ---- */

static uint32_t signals, calm;

static void count_signal(int sig)
{
	(void)sig;
	__atomic_add_fetch(&signals, 1, __ATOMIC_RELAXED);
}

static void *keep_signalling(void *to)
{
	while (!__atomic_load_n(&calm, __ATOMIC_ACQUIRE)) {
		(void)pthread_kill(*(pthread_t *)to, SIGUSR1);
		usleep(20);
	}
	return NULL;
}

/* Counts by accesses that leave the guest: 0, 1, 2 ... edi - 1 to a port. */
GUEST(reports, "xor %eax, %eax\n 1: out %eax, $0x10\n inc %eax\n cmp %edi, %eax\n jne 1b\n ud2");

#define REPORTS 3000u

/* None is lost, none is done twice, and the guest gets to its end. */
START_TEST(f23_a_storm_of_signals_at_a_vcpu)
{
	struct sigaction action = {.sa_handler = count_signal};
	pthread_t self = pthread_self(), sender;
	struct kvm_fixture f;

	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	kvm_fixture_make(&f, NULL, 1);
	ck_assert_int_eq(pthread_create(&sender, NULL, keep_signalling, &self), 0);
	for (unsigned round = 1; __atomic_load_n(&signals, __ATOMIC_RELAXED) < 500; round++) {
		f.reports = f.events = 0;
		LOAD(&f, 0, reports, REPORTS);
		kvm_fixture_run(&f, 0);
		ck_assert_uint_eq(f.reports, REPORTS);
		for (uint32_t i = 0; i < FIXTURE_REPORTS; i++)
			ck_assert_uint_eq(f.report[i], i);
	}
	__atomic_store_n(&calm, 1, __ATOMIC_RELEASE);
	pthread_join(sender, NULL);
	kvm_fixture_end(&f);
}
END_TEST

/* ---- F28: a bell whose counter is full ---- */

GUEST(ring, "movl %esi, (%rdi)\n ud2");

/* KVM adds to the counter of an eventfd that nobody reads; full, it still wakes the loop. */
START_TEST(f28_a_bell_with_a_full_counter_is_heard)
{
	static const struct vdb_doorbell_ring one = {.ring_gpa = 0x10000, .sq_entries = 8, .cq_entries = 8};
	const struct vdb_doorbell_config config = {.size = sizeof(config),
	                                           .kind = VDB_DOORBELL_MMIO,
	                                           .addr = VDB_GPA_ANY,
	                                           .rings = &one,
	                                           .ring_count = 1};
	struct vdb_doorbell *bell;
	struct kvm_fixture f;
	struct fake fake = {0};
	int fd;

	kvm_fixture_make(&f, NULL, 1);
	must(vdb_doorbell_create(f.vm, &config, &bell));
	fd = dup(vdb_doorbell_fd(bell, 0));
	ck_assert_int_eq(eventfd_write(fd, 0xfffffffffffffffeull), 0);
	loop = test_loop_new();
	must(fake_try(loop, &fake, NULL, fd));
	fake.kick_fd = fd;
	for (int i = 0; i < 20; i++) {
		uint64_t before;

		test_settle(loop);
		before = fake.kicks;
		LOAD(&f, 0, ring, vdb_doorbell_addr(bell));
		kvm_fixture_run(&f, 0);
		while (fake.kicks == before)
			test_turn(loop);
	}
	fake_remove(&fake);
	test_settle(loop);
	test_loop_end(loop);
	vdb_doorbell_destroy(bell);
	kvm_fixture_end(&f);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        f14_kvm_that_refuses_at_any_step,           f15_no_more_files_at_any_step_of_a_vm,
	        f6_memory_that_is_gone_stops_that_vm_alone, f23_a_storm_of_signals_at_a_vcpu,
	        f28_a_bell_with_a_full_counter_is_heard,    NULL,
	};

	return kvm_tests_run("faults_vm", setup, teardown, tests);
}
