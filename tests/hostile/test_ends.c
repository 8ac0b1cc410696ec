/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: virtio_mmio */
/* TIMEOUT: 300 */
/* G78: VMs that end, or never will, with requests in flight: they are torn down, and the loop goes on. */
#include <linux/virtio_config.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "../kvm/guest/echo_abi.h"
#include "arena.h"
#include "mmio_machine.h"
#include "virtio/core.h"

GUEST_IMAGE(virtio_mmio);

#define CODE 0x3f0000u /* of vCPU 1 */
#define TABLES 0x380000u

static struct mmio_machine m;

GUEST(fault, "ud2");
GUEST(halt, "cli\n incl 0x300000\n 1: hlt\n jmp 1b");
GUEST(reset, "mov $0xfe, %al\n out %al, $0x64\n 1: pause\n jmp 1b");

static uint32_t seen(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* vCPU 0 has given the device all that it takes, which keeps it; 1: and waits for nothing, 2: for its reset.
 */
static void fill(uint32_t quiet)
{
	struct echo_params *params;

	mmio_machine_open(&m, 2);
	arena_begin(m.loop);
	m.echo.hold = true;
	params = mmio_machine_params(&m);
	params->mode = ECHO_RESETS;
	params->size = 16;
	params->rounds = 1;
	params->batch = 8;
	params->quiet = 1;
	LOAD_IMAGE(&m.f, virtio_mmio, false, MACHINE_MMIO);
	must(vdb_vcpu_start(m.f.vcpu[0], -1, NULL));
	wait_for32(&m.echo.held, 16);
	__atomic_store_n(&params->quiet, quiet, __ATOMIC_RELEASE);
}

static void start_other(const unsigned char *code, const unsigned char *end, uint32_t flags)
{
	const struct vdb_x86_start start = {.size = sizeof(start),
	                                    .flags = flags,
	                                    .entry = CODE,
	                                    .stack = CODE + 0x8000,
	                                    .tables = TABLES};

	memcpy(m.f.ram + CODE, code, (size_t)(end - code));
	must(vdb_x86_start64(m.f.vcpu[1], &start));
	must(vdb_vcpu_start(m.f.vcpu[1], -1, NULL));
}

/* A disk that takes its time: it lets go while the transport waits for that. */
static void *let_go(void *arg)
{
	(void)arg;
	usleep(20000);
	virtio_echo_release(&m.echo, m.loop);
	return NULL;
}

/* The vCPUs are out while all is still in flight; then the requests come back, to nobody. */
static void tear_down(void)
{
	uint32_t stopped = 0, gone = 0;
	pthread_t disk;

	must(vdb_vm_stop(m.f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	ck_assert_uint_eq(seen(&m.echo.served), 0);
	arena_goes_on();
	ck_assert_int_eq(pthread_create(&disk, NULL, let_go, NULL), 0);
	vdb_virtio_mmio_destroy(m.mmio);
	ck_assert_int_eq(pthread_join(disk, NULL), 0);
	vdb_virtio_destroy(m.device, count_done, &gone);
	wait_for32(&gone, 1);
	ck_assert_uint_eq(seen(&m.echo.served), seen(&m.echo.started));
	arena_end();
	vdb_tenant_destroy(m.tenant);
	must(vdb_loop_join(m.loop));
	must(vdb_loop_destroy(m.loop));
	virtio_echo_close(&m.echo);
}

START_TEST(g78_a_triple_fault)
{
	fill(1);
	start_other(guest_fault, guest_fault_end, 0);
	wait_for32(&m.f.events, 1);
	ck_assert_int_eq(m.f.event.kind, VDB_EVENT_SHUTDOWN);
	tear_down();
	kvm_fixture_end(&m.f);
}
END_TEST

/* It will never wake, and nobody hears of it: but it can be stopped. */
START_TEST(g78_hlt_without_interrupts)
{
	fill(1);
	start_other(guest_halt, guest_halt_end, VDB_X86_KERNEL);
	wait_for32((const uint32_t *)(const void *)(m.f.ram + GUEST_DATA), 1);
	tear_down();
	kvm_fixture_end(&m.f);
}
END_TEST

START_TEST(g78_a_reboot)
{
	const struct vdb_platform_config config = {.size = sizeof(config), .parts = VDB_PLATFORM_I8042};
	struct vdb_platform *platform;

	fill(1);
	must(vdb_platform_create(m.f.vm, &config, &platform));
	start_other(guest_reset, guest_reset_end, 0);
	wait_for32(&m.f.events, 1);
	ck_assert_int_eq(m.f.event.kind, VDB_EVENT_RESET);
	tear_down();
	vdb_platform_destroy(platform);
	kvm_fixture_end(&m.f);
}
END_TEST

static bool is_resetting(void)
{
	bool resetting;

	vdb__virtio_lock(m.device);
	resetting = m.device->resetting;
	vdb__virtio_unlock(m.device);
	return resetting;
}

/* Its reset waits for what is in flight. */
START_TEST(g78_a_vcpu_stuck_in_an_access)
{
	fill(2);
	while (!is_resetting())
		usleep(100);
	tear_down();
	kvm_fixture_end(&m.f);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("ends");

	kvm_fixture_need();
	tcase_add_test(tc, g78_a_triple_fault);
	tcase_add_test(tc, g78_hlt_without_interrupts);
	tcase_add_test(tc, g78_a_reboot);
	tcase_add_test(tc, g78_a_vcpu_stuck_in_an_access);
	return test_run_within("ends", tc, 120);
}
