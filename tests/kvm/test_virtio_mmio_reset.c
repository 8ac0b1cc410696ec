/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: virtio_mmio */
/* LABELS: tsan */
/* TIMEOUT: 400 */
/* Resets over mmio with requests in flight: nothing is written late, nothing is left behind, and the vCPU
 * that waits for one can be paused, stopped and destroyed (HOSTILE G11, G13, G14). */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "guest/echo_abi.h"
#include "leak.h"
#include "mmio_machine.h"
#include "virtio/core.h"

GUEST_IMAGE(virtio_mmio);

#define ALL (BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define RING_RESET BIT(40)

static struct mmio_machine m;

static void setup(void)
{
	mmio_machine_open(&m, 2);
}

static void teardown(void)
{
	mmio_machine_close(&m);
}

static uint32_t seen(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static struct echo_params *prepare(uint32_t mode, uint32_t rounds)
{
	struct echo_params *params = mmio_machine_params(&m);

	params->mode = mode;
	params->size = 16;
	params->rounds = rounds;
	params->batch = 8;
	params->features = ALL | RING_RESET;
	params->spin = 20000;
	m.f.reports = 0;
	LOAD_IMAGE(&m.f, virtio_mmio, false, MACHINE_MMIO);
	return params;
}

static struct vdb_virtio_info info(void)
{
	struct vdb_virtio_info own = {.size = sizeof(own)};

	must(vdb_virtio_query(m.device, &own));
	return own;
}

START_TEST(five_hundred_resets_in_flight)
{
	int fds;

	m.echo.late_us = 300;
	prepare(ECHO_RESETS, 5);
	mmio_machine_run(&m);
	fds = leak_fds();
	prepare(ECHO_RESETS, 500);
	mmio_machine_run(&m);
	ck_assert_int_eq(leak_fds(), fds);
	ck_assert_uint_ge(info().resets, 1000);
	ck_assert_uint_eq(info().broken, 0);
	ck_assert_uint_eq(seen(&m.echo.started), seen(&m.echo.served));
	ck_assert_uint_ge(seen(&m.echo.served), 500);
}
END_TEST

START_TEST(one_queue_is_reset_while_the_other_goes_on)
{
	m.echo.late_us = 200;
	prepare(ECHO_QUEUE_RESETS, 100)->features &= ~(_i ? BIT(VIRTIO_F_RING_PACKED) : 0);
	mmio_machine_run(&m);
	ck_assert_uint_eq(info().resets, 1);
	ck_assert_uint_eq(info().broken, 0);
	ck_assert_uint_eq(seen(&m.echo.started), seen(&m.echo.served));
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

/* Rings both queues for ever; rdi = QueueNotify. */
GUEST(hammer, "1: movl $0, (%rdi)\n movl $1, (%rdi)\n movw $0, (%rdi)\n movl $7, (%rdi)\n jmp 1b");

#define HAMMER 0x3f0000u

static void start_hammer(void)
{
	struct vdb_x86_start start = {.size = sizeof(start),
	                              .entry = HAMMER,
	                              .stack = HAMMER + 0x8000,
	                              .arg = {MACHINE_MMIO + VIRTIO_MMIO_QUEUE_NOTIFY},
	                              .tables = GUEST_TABLES};

	memcpy(m.f.ram + HAMMER, guest_hammer, (size_t)(guest_hammer_end - guest_hammer));
	must(vdb_x86_start64(m.f.vcpu[1], &start));
	must(vdb_vcpu_start(m.f.vcpu[1], -1, NULL));
}

START_TEST(resets_race_with_kicks_of_another_vcpu)
{
	uint32_t stopped = 0;
	int fds;

	m.echo.late_us = 100;
	prepare(ECHO_RESETS, 5);
	mmio_machine_run(&m);
	fds = leak_fds();
	prepare(ECHO_RESETS, 100)->spin = 0;
	start_hammer();
	mmio_machine_run(&m);
	ck_assert_int_eq(leak_fds(), fds);
	ck_assert_uint_eq(info().broken, 0);
	must(vdb_vm_stop(m.f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
}
END_TEST

/* One life whose requests are kept: the vCPU comes to its reset, and waits. */
static void start_and_wait(void)
{
	struct echo_params *params;

	m.echo.hold = true;
	params = prepare(ECHO_RESETS, 1);
	params->quiet = 1;
	must(vdb_vcpu_start(m.f.vcpu[0], -1, NULL));
	wait_for32(&m.echo.held, 1);
	__atomic_store_n(&params->quiet, 2, __ATOMIC_RELEASE);
	while (!is_resetting())
		usleep(100);
	usleep(20000); /* between there and the gate */
}

static int nothing(void *arg)
{
	(void)arg;
	return 4711;
}

START_TEST(a_pause_is_taken_while_waiting)
{
	uint32_t paused = 0;

	start_and_wait();
	must(vdb_vm_pause(m.f.vm, count_done, &paused));
	wait_for32(&paused, 1);
	ck_assert_int_eq(vdb_loop_call(m.loop, nothing, NULL), 4711);
	virtio_echo_release(&m.echo, m.loop);
	ck_assert_uint_eq(seen(&m.f.reports), 0);
	must(vdb_vm_resume(m.f.vm));
	wait_for32(&m.f.reports, 1);
	ck_assert_uint_eq(m.f.report[0], ECHO_OK);
	ck_assert_uint_eq(seen(&m.echo.started), seen(&m.echo.served));
}
END_TEST

START_TEST(a_kick_does_not_end_the_wait)
{
	start_and_wait();
	for (int i = 0; i < 100; i++)
		vdb_vcpu_kick(m.f.vcpu[0]);
	ck_assert_uint_eq(seen(&m.f.reports), 0);
	virtio_echo_release(&m.echo, m.loop);
	wait_for32(&m.f.reports, 1);
	ck_assert_uint_eq(m.f.report[0], ECHO_OK);
}
END_TEST

START_TEST(a_stop_gets_it_out)
{
	uint32_t stopped = 0;

	start_and_wait();
	must(vdb_vm_stop(m.f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	ck_assert_uint_eq(seen(&m.f.reports), 0);
	ck_assert_uint_lt(seen(&m.echo.served), seen(&m.echo.started));
	virtio_echo_release(&m.echo, m.loop);
}
END_TEST

START_TEST(a_vm_ends_with_requests_in_flight)
{
	uint32_t stopped = 0;

	m.echo.late_us = 50000;
	prepare(ECHO_RESETS, 1000);
	must(vdb_vcpu_start(m.f.vcpu[0], -1, NULL));
	wait_for32(&m.echo.started, 20);
	must(vdb_vm_stop(m.f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	/* Teardown: transport, device, loop, VM; the first of them waits for what is in flight. */
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("mmio_reset");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, five_hundred_resets_in_flight);
	tcase_add_loop_test(tc, one_queue_is_reset_while_the_other_goes_on, 0, 2);
	tcase_add_test(tc, resets_race_with_kicks_of_another_vcpu);
	tcase_add_test(tc, a_pause_is_taken_while_waiting);
	tcase_add_test(tc, a_kick_does_not_end_the_wait);
	tcase_add_test(tc, a_stop_gets_it_out);
	tcase_add_test(tc, a_vm_ends_with_requests_in_flight);
	return test_run_within("virtio_mmio_reset", tc, 200);
}
