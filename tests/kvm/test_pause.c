/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* TIMEOUT: 300 */
/* pause, resume and stop: requests from every thread, each with one completion. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "kvm_fixture.h"
#include "kvm_lives.h"

static struct kvm_fixture f;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 3);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

/* ---- pause ---- */

START_TEST(pause_parks_every_vcpu_and_resume_lets_them_go)
{
	uint32_t paused = 0;

	start_spinning(&f);
	for (unsigned round = 1; round <= 20; round++) {
		must(vdb_vm_pause(f.vm, count_done, &paused));
		wait_for32(&paused, round);
		if (round < 4)
			expect_still(&f);
		must(vdb_vm_resume(f.vm));
		until_it_moves(&f, round % f.vcpus);
	}
	ck_assert_uint_eq(paused, 20);
}
END_TEST

START_TEST(pauses_nest)
{
	uint32_t paused = 0;

	start_spinning(&f);
	must(vdb_vm_pause(f.vm, count_done, &paused));
	must(vdb_vm_pause(f.vm, count_done, &paused));
	must(vdb_vm_pause(f.vm, NULL, NULL));
	wait_for32(&paused, 2);
	must(vdb_vm_resume(f.vm));
	must(vdb_vm_resume(f.vm));
	expect_still(&f);
	must(vdb_vm_resume(f.vm));
	until_it_moves(&f, 0);
	ck_assert_int_eq(vdb_vm_resume(f.vm), -EINVAL);
}
END_TEST

GUEST(count_up, "1: lock incl (%rdi)\n jmp 1b");

START_TEST(pause_of_a_vm_that_does_not_run_completes_at_once)
{
	uint32_t paused = 0;

	must(vdb_vm_pause(f.vm, count_done, &paused));
	ck_assert_uint_eq(paused, 1);
	/* A run that begins now parks at once. */
	LOAD(&f, 0, count_up, GUEST_DATA);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	nap_ms(5);
	ck_assert_uint_eq(counter(&f, 0), 0);
	must(vdb_vm_resume(f.vm));
	until_it_moves(&f, 0);
}
END_TEST

static void resume_here(void *vm)
{
	must(vdb_vm_resume(vm));
}

START_TEST(a_pauses_completion_may_resume)
{
	start_spinning(&f);
	for (unsigned i = 0; i < 50; i++)
		must(vdb_vm_pause(f.vm, resume_here, f.vm));
	until_it_moves(&f, 0);
}
END_TEST

#define STORM 400u

static uint32_t storm_done;

static void *storm(void *arg)
{
	uint32_t own = 0;

	(void)arg;
	for (unsigned i = 0; i < STORM; i++) {
		must(vdb_vm_pause(f.vm, count_done, i % 3 ? &storm_done : &own));
		if (i % 3 == 0)
			wait_for32(&own, i / 3 + 1);
		must(vdb_vm_resume(f.vm));
		vdb_vcpu_kick(f.vcpu[i % f.vcpus]);
	}
	return NULL;
}

START_TEST(pauses_and_kicks_from_many_threads_all_complete_once)
{
	pthread_t threads[3];

	start_spinning(&f);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, storm, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	until_it_moves(&f, 1);
	/* 0, 3, 6, ... went to a counter of the thread's own */
	wait_for32(&storm_done, 3 * (STORM - (STORM + 2) / 3));
	ck_assert_uint_eq(storm_done, 3 * (STORM - (STORM + 2) / 3));
	ck_assert_int_eq(vdb_vm_resume(f.vm), -EINVAL);
}
END_TEST

/* ---- stop ---- */

START_TEST(stop_ends_every_run_now_and_later)
{
	uint32_t stopped = 0;

	start_spinning(&f);
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	expect_still(&f);
	must(vdb_vcpu_run(f.vcpu[0]));
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	ck_assert_uint_eq(stopped, 2);
	ck_assert_uint_eq(f.events, 0);
}
END_TEST

START_TEST(stop_ends_a_paused_vm)
{
	uint32_t paused = 0, stopped = 0;

	start_spinning(&f);
	must(vdb_vm_pause(f.vm, count_done, &paused));
	wait_for32(&paused, 1);
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
}
END_TEST

/* A processor that waits for its SIPI, and one that waits for an interrupt: both sleep inside KVM_RUN. */
START_TEST(pause_and_stop_reach_vcpus_that_sleep_in_the_kernel)
{
	const struct vdb_x86_start start = {
	        .size = sizeof(start), .flags = VDB_X86_KERNEL, .entry = GUEST_CODE, .tables = GUEST_TABLES};
	uint32_t paused = 0, stopped = 0;

	memcpy(f.ram + GUEST_CODE, "\xf4\xeb\xfd", 3); /* 1: hlt; jmp 1b */
	must(vdb_x86_start64(f.vcpu[0], &start));
	for (uint32_t i = 0; i < f.vcpus; i++)
		must(vdb_vcpu_start(f.vcpu[i], -1, NULL));
	nap_ms(10);
	for (unsigned i = 1; i <= 3; i++) {
		must(vdb_vm_pause(f.vm, count_done, &paused));
		wait_for32(&paused, i);
		must(vdb_vm_resume(f.vm));
	}
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	ck_assert_uint_eq(f.events, 0);
}
END_TEST

static uint32_t acted;

static void act_stop(struct vdb_bus_access *access)
{
	(void)access;
	must(vdb_vm_stop(f.vm, count_done, &acted));
}

START_TEST(a_bus_handler_may_stop_the_vm)
{
	prepare_acting(&f, act_stop);
	must(vdb_vcpu_run(f.vcpu[0]));
	ck_assert_uint_eq(acted, 1);
	/* The access was finished first: the vCPU rests behind it. */
	ck_assert_uint_eq(counter(&f, 0), 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        pause_parks_every_vcpu_and_resume_lets_them_go,
	        pauses_nest,
	        pause_of_a_vm_that_does_not_run_completes_at_once,
	        a_pauses_completion_may_resume,
	        pauses_and_kicks_from_many_threads_all_complete_once,
	        stop_ends_every_run_now_and_later,
	        stop_ends_a_paused_vm,
	        pause_and_stop_reach_vcpus_that_sleep_in_the_kernel,
	        a_bus_handler_may_stop_the_vm,
	        NULL,
	};

	return kvm_tests_run("pause", setup, teardown, tests);
}
