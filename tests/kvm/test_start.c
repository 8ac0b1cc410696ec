/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* TIMEOUT: 300 */
/* vCPUs on threads of the library's, and who may look at them when. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "base/atomic.h"
#include "kvm_fixture.h"
#include "kvm_lives.h"
#include "leak.h"

#ifdef VDB__TSAN
#define TSAN true
#else
#define TSAN false
#endif

static struct kvm_fixture f;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 3);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

GUEST(fault, "ud2");

static uint32_t acted;

static uint32_t found_cpu;
static char found_name[16];

static void act_look(struct vdb_bus_access *access)
{
	cpu_set_t set;

	pthread_getaffinity_np(pthread_self(), sizeof(set), &set);
	found_cpu = (uint32_t)CPU_COUNT(&set) * 100u + (CPU_ISSET(0, &set) ? 1u : 0u);
	/* Whoever starts the thread names it, after it has begun. */
	do
		pthread_getname_np(pthread_self(), found_name, sizeof(found_name));
	while (strcmp(found_name, "bell") != 0);
	must(vdb_vm_stop(access->vcpu ? f.vm : NULL, count_done, &acted));
}

START_TEST(a_started_thread_is_pinned_and_named)
{
	prepare_acting(&f, act_look);
	must(vdb_vcpu_start(f.vcpu[0], 0, "bell"));
	wait_for32(&acted, 1);
	ck_assert_uint_eq(found_cpu, 101);
}
END_TEST

START_TEST(what_runs_already_is_busy)
{
	struct vdb_x86_regs regs;
	size_t len = 0;

	start_spinning(&f);
	ck_assert_int_eq(vdb_vcpu_run(f.vcpu[0]), -EBUSY);
	ck_assert_int_eq(vdb_vcpu_start(f.vcpu[0], -1, NULL), -EBUSY);
	ck_assert_int_eq(vdb_x86_get_regs(f.vcpu[0], &regs), -EBUSY);
	ck_assert_int_eq(vdb_vcpu_save(f.vcpu[0], NULL, &len), -EBUSY);
	ck_assert_int_eq(vdb_cpuid_set(f.vm, NULL, 0), -EBUSY);
}
END_TEST

START_TEST(a_cpu_that_does_not_exist_is_refused)
{
	ck_assert_int_eq(vdb_vcpu_start(f.vcpu[0], 100000, NULL), -EINVAL);
	start_spinning(&f);
}
END_TEST

START_TEST(a_vcpu_can_be_started_again)
{
	for (unsigned i = 1; i <= 20; i++) {
		LOAD(&f, 0, fault, 0);
		must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
		wait_for32(&f.events, i);
		/* The event comes a moment before the end of the run. */
		for (;;) {
			struct vdb_x86_regs regs;

			if (!vdb_x86_get_regs(f.vcpu[0], &regs))
				break;
			sched_yield();
		}
	}
}
END_TEST

static uint32_t holding, let_go;

#define AGAIN 12u

static uint32_t restarts;

static int hold_each_time(struct kvm_fixture *fixture, const struct vdb_event *event)
{
	(void)fixture;
	(void)event;
	count_done(&holding);
	wait_for32(&let_go, holding);
	return VDB_EVENT_STOP;
}

/* On the very thread whose run has just ended. */
static void start_again(void *arg)
{
	must(vdb_vm_resume(f.vm));
	LOAD(&f, 0, fault, 0);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	count_done(arg);
}

START_TEST(a_pauses_completion_may_start_the_vcpu_again)
{
	int lines = 0, before = 0;

	f.on_event = hold_each_time;
	LOAD(&f, 0, fault, 0);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	for (uint32_t i = 1; i <= AGAIN; i++) {
		wait_for32(&holding, i);
		if (i == 4)
			(void)leak_mapped(&before);
		must(vdb_vm_pause(f.vm, start_again, &restarts));
		count_done(&let_go);
		wait_for32(&restarts, i);
	}
	wait_for32(&holding, AGAIN + 1);
	nap_ms(20); /* the last but one is ending */
	(void)leak_mapped(&lines);
	/* ThreadSanitizer keeps maps for each thread that there was, and reports leaked ones itself. */
	if (!TSAN)
		ck_assert_int_lt(lines, before + (int)AGAIN - 4);
	count_done(&let_go);
}
END_TEST

START_TEST(a_paused_vcpu_can_be_examined)
{
	struct vdb_x86_regs regs;
	uint32_t paused = 0;

	start_spinning(&f);
	must(vdb_vm_pause(f.vm, count_done, &paused));
	wait_for32(&paused, 1);
	must(vdb_x86_get_regs(f.vcpu[0], &regs));
	ck_assert_uint_eq(regs.rdi, GUEST_DATA);
	regs.rdi += 32;
	must(vdb_x86_set_regs(f.vcpu[0], &regs));
	must(vdb_vm_resume(f.vm));
	while (!kvm_fixture_word(&f, GUEST_DATA + 32))
		sched_yield();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        a_started_thread_is_pinned_and_named,
	        what_runs_already_is_busy,
	        a_cpu_that_does_not_exist_is_refused,
	        a_vcpu_can_be_started_again,
	        a_pauses_completion_may_start_the_vcpu_again,
	        a_paused_vcpu_can_be_examined,
	        NULL,
	};

	return kvm_tests_run("start", setup, teardown, tests);
}
