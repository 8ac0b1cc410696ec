/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* TIMEOUT: 300 */
/* pause, resume, stop and destroy: requests from every thread, each with one completion. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "base/thread.h"
#include "kvm_fixture.h"
#include "leak.h"

#define PORT_ACT 0x20u

static struct kvm_fixture f;
static bool gone; /* the test has destroyed the VM */

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 3);
}

static void teardown(void)
{
	if (gone)
		f.vm = NULL;
	kvm_fixture_end(&f);
}

GUEST(spin, "1: lock incl (%rdi)\n jmp 1b");
GUEST(act, "1: lock incl (%rdi)\n in $0x20, %eax\n out %eax, $0x10\n jmp 1b");

static uint32_t counter(uint32_t vcpu)
{
	return kvm_fixture_word(&f, GUEST_DATA + vcpu * 64);
}

static void until_it_moves(uint32_t vcpu)
{
	uint32_t before = counter(vcpu);

	while (counter(vcpu) == before)
		sched_yield();
}

static void start_spinning(void)
{
	for (uint32_t i = 0; i < f.vcpus; i++) {
		LOAD(&f, i, spin, GUEST_DATA + i * 64);
		must(vdb_vcpu_start(f.vcpu[i], -1, NULL));
	}
	for (uint32_t i = 0; i < f.vcpus; i++)
		until_it_moves(i);
}

static void nap_ms(long ms)
{
	const struct timespec t = {.tv_nsec = ms * 1000000};

	nanosleep(&t, NULL);
}

static void expect_still(void)
{
	uint32_t before[FIXTURE_VCPUS] = {0};

	for (uint32_t i = 0; i < f.vcpus; i++)
		before[i] = counter(i);
	nap_ms(5);
	for (uint32_t i = 0; i < f.vcpus; i++)
		ck_assert_uint_eq(counter(i), before[i]);
}

/* ---- pause ---- */

START_TEST(pause_parks_every_vcpu_and_resume_lets_them_go)
{
	uint32_t paused = 0;

	start_spinning();
	for (unsigned round = 1; round <= 20; round++) {
		must(vdb_vm_pause(f.vm, count_done, &paused));
		wait_for32(&paused, round);
		if (round < 4)
			expect_still();
		must(vdb_vm_resume(f.vm));
		until_it_moves(round % f.vcpus);
	}
	ck_assert_uint_eq(paused, 20);
}
END_TEST

START_TEST(pauses_nest)
{
	uint32_t paused = 0;

	start_spinning();
	must(vdb_vm_pause(f.vm, count_done, &paused));
	must(vdb_vm_pause(f.vm, count_done, &paused));
	must(vdb_vm_pause(f.vm, NULL, NULL));
	wait_for32(&paused, 2);
	must(vdb_vm_resume(f.vm));
	must(vdb_vm_resume(f.vm));
	expect_still();
	must(vdb_vm_resume(f.vm));
	until_it_moves(0);
	ck_assert_int_eq(vdb_vm_resume(f.vm), -EINVAL);
}
END_TEST

START_TEST(pause_of_a_vm_that_does_not_run_completes_at_once)
{
	uint32_t paused = 0;

	must(vdb_vm_pause(f.vm, count_done, &paused));
	ck_assert_uint_eq(paused, 1);
	/* A run that begins now parks at once. */
	LOAD(&f, 0, spin, GUEST_DATA);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	nap_ms(5);
	ck_assert_uint_eq(counter(0), 0);
	must(vdb_vm_resume(f.vm));
	until_it_moves(0);
}
END_TEST

static void resume_here(void *vm)
{
	must(vdb_vm_resume(vm));
}

START_TEST(a_pauses_completion_may_resume)
{
	start_spinning();
	for (unsigned i = 0; i < 50; i++)
		must(vdb_vm_pause(f.vm, resume_here, f.vm));
	until_it_moves(0);
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

	start_spinning();
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, storm, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	until_it_moves(1);
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

	start_spinning();
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	expect_still();
	must(vdb_vcpu_run(f.vcpu[0]));
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	ck_assert_uint_eq(stopped, 2);
	ck_assert_uint_eq(f.events, 0);
}
END_TEST

START_TEST(stop_ends_a_paused_vm)
{
	uint32_t paused = 0, stopped = 0;

	start_spinning();
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

/* What the handler of PORT_ACT does. */
static void (*act)(struct vdb_bus_access *access);

static void on_act(void *ctx, struct vdb_bus_access *access)
{
	(void)ctx;
	act(access);
}

static const struct vdb_bus_ops act_ops = {.size = sizeof(act_ops), .read = on_act};

static void prepare_acting(void (*fn)(struct vdb_bus_access *access))
{
	act = fn;
	must(vdb_bus_add(vdb_vm_pio(f.vm), "act", PORT_ACT, 4, &act_ops, NULL));
	for (uint32_t i = 0; i < f.vcpus; i++)
		LOAD(&f, i, act, GUEST_DATA + i * 64);
}

static void start_acting(void (*fn)(struct vdb_bus_access *access))
{
	prepare_acting(fn);
	for (uint32_t i = 0; i < f.vcpus; i++)
		must(vdb_vcpu_start(f.vcpu[i], -1, NULL));
}

static uint32_t acted;

static void act_stop(struct vdb_bus_access *access)
{
	(void)access;
	must(vdb_vm_stop(f.vm, count_done, &acted));
}

START_TEST(a_bus_handler_may_stop_the_vm)
{
	prepare_acting(act_stop);
	must(vdb_vcpu_run(f.vcpu[0]));
	ck_assert_uint_eq(acted, 1);
	/* The access was finished first: the vCPU rests behind it. */
	ck_assert_uint_eq(counter(0), 1);
}
END_TEST

/* ---- destroy ---- */

static bool only_one;

static void act_destroy(struct vdb_bus_access *access)
{
	/* Not before the last one has been started. */
	if (access->vcpu == f.vcpu[1] && (counter(2) || only_one))
		must(vdb_vm_destroy(f.vm, count_done, &acted));
}

START_TEST(a_bus_handler_may_destroy_the_vm)
{
	gone = true;
	start_acting(act_destroy);
	wait_for32(&acted, 1);
}
END_TEST

START_TEST(the_callers_run_returns_when_the_vm_is_destroyed)
{
	gone = only_one = true;
	prepare_acting(act_destroy);
	must(vdb_vcpu_run(f.vcpu[1]));
	ck_assert_uint_eq(acted, 1);
}
END_TEST

static int destroy_in_event(struct kvm_fixture *fixture, const struct vdb_event *event)
{
	(void)event;
	must(vdb_vm_destroy(fixture->vm, count_done, &acted));
	return VDB_EVENT_CONTINUE;
}

GUEST(fault, "ud2");

START_TEST(an_event_handler_may_destroy_the_vm)
{
	gone = true;
	f.on_event = destroy_in_event;
	LOAD(&f, 2, fault, 0);
	must(vdb_vcpu_start(f.vcpu[2], -1, NULL));
	wait_for32(&acted, 1);
}
END_TEST

static void destroy_here(void *vm)
{
	must(vdb_vm_destroy(vm, count_done, &acted));
}

START_TEST(a_pauses_completion_may_destroy_the_vm)
{
	gone = true;
	start_spinning();
	must(vdb_vm_pause(f.vm, destroy_here, f.vm));
	wait_for32(&acted, 1);
}
END_TEST

START_TEST(a_stops_completion_may_destroy_the_vm)
{
	gone = true;
	start_spinning();
	must(vdb_vm_stop(f.vm, destroy_here, f.vm));
	wait_for32(&acted, 1);
}
END_TEST

START_TEST(destroy_completes_what_is_pending)
{
	uint32_t paused = 0, stopped = 0;

	gone = true;
	start_spinning();
	must(vdb_vm_pause(f.vm, count_done, &paused));
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	must(vdb_vm_destroy(f.vm, count_done, &acted));
	wait_for32(&acted, 1);
	ck_assert_uint_eq(paused, 1);
	ck_assert_uint_eq(stopped, 1);
}
END_TEST

static uint32_t holding, let_go;

static int hold_in_event(struct kvm_fixture *fixture, const struct vdb_event *event)
{
	(void)fixture;
	(void)event;
	count_done(&holding);
	wait_for32(&let_go, 1);
	return VDB_EVENT_STOP;
}

/* Who paused knows nothing of the destroy: completions may use the VM until destroy's own. */
START_TEST(a_pauses_completion_may_resume_a_vm_that_is_being_destroyed)
{
	gone = true;
	f.on_event = hold_in_event;
	LOAD(&f, 0, fault, 0);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	wait_for32(&holding, 1);
	must(vdb_vm_pause(f.vm, resume_here, f.vm));
	must(vdb_vm_stop(f.vm, count_done, &let_go));
	must(vdb_vm_destroy(f.vm, count_done, &acted));
	ck_assert_uint_eq(let_go, 0);
	count_done(&let_go);
	wait_for32(&acted, 1);
	ck_assert_uint_eq(let_go, 2);
}
END_TEST

START_TEST(destroy_runs_on_the_worker)
{
	struct vdb_vm_config config = {.size = sizeof(config)};

	kvm_fixture_end(&f);
	gone = true;
	must(vdb_worker_create(NULL, &config.worker));
	kvm_fixture_make(&f, &config, 2);
	start_spinning();
	must(vdb_vm_destroy(f.vm, count_done, &acted));
	wait_for32(&acted, 1);
	must(vdb_worker_destroy(config.worker));
}
END_TEST

/* ---- On a loop's thread ---- */

static void on_loop(void (*fn)(void))
{
	vdb__thread_loop = &f;
	fn();
	vdb__thread_loop = NULL;
}

static void refused_on_loop(void)
{
	ck_assert_int_eq(vdb_vm_destroy(f.vm, count_done, &acted), -EDEADLK);
}

START_TEST(destroy_of_an_idle_vm_is_refused_on_a_loop)
{
	on_loop(refused_on_loop);
	ck_assert_uint_eq(acted, 0);
	/* Nothing has happened. */
	start_spinning();
}
END_TEST

static void destroy_on_loop(void)
{
	must(vdb_vm_destroy(f.vm, count_done, &acted));
}

START_TEST(destroy_of_an_idle_vm_on_a_loop_needs_a_worker)
{
	struct vdb_vm_config config = {.size = sizeof(config)};

	kvm_fixture_end(&f);
	gone = true;
	must(vdb_worker_create(NULL, &config.worker));
	kvm_fixture_make(&f, &config, 2);
	on_loop(destroy_on_loop);
	wait_for32(&acted, 1);
	must(vdb_worker_destroy(config.worker));
}
END_TEST

static struct vdb_gate *gate;
static uint32_t waiting;
static uint32_t canceled;

/* Each vCPU once, for the gate is there no longer. */
static void act_wait(struct vdb_bus_access *access)
{
	struct vdb_gate *own;
	int64_t result = 0;
	int rc;

	if (counter(vdb_vcpu_index(access->vcpu)) > 1)
		return;
	own = vdb_gate_ref(gate);
	count_done(&waiting);
	rc = vdb_vcpu_wait(access->vcpu, own, &result);
	if (rc == -ECANCELED)
		count_done(&canceled);
	else
		memcpy(access->data, &result, access->len);
	vdb_gate_unref(own);
}

static uint32_t loop_paused;

/* Every vCPU waits for this very thread: pause is complete when it returns, and destroy does not wait. */
static void pause_and_destroy_on_loop(void)
{
	must(vdb_vm_pause(f.vm, count_done, &loop_paused));
	ck_assert_uint_eq(loop_paused, 1);
	must(vdb_vm_resume(f.vm));
	must(vdb_vm_destroy(f.vm, count_done, &acted));
}

START_TEST(pause_and_destroy_on_a_loop_that_every_vcpu_waits_for)
{
	gone = true;
	must(vdb_gate_create(&gate));
	start_acting(act_wait);
	wait_for32(&waiting, f.vcpus);
	nap_ms(20); /* between `waiting` and the wait */
	on_loop(pause_and_destroy_on_loop);
	wait_for32(&acted, 1);
	ck_assert_uint_eq(canceled, f.vcpus);
	vdb_gate_open(gate, 1);
	vdb_gate_unref(gate);
}
END_TEST

/* ---- Gates ---- */

START_TEST(a_gate_gives_its_result_to_the_guest)
{
	must(vdb_gate_create(&gate));
	start_acting(act_wait);
	wait_for32(&waiting, f.vcpus);
	vdb_gate_open(gate, 4711);
	wait_for32(&f.reports, f.vcpus);
	ck_assert_uint_eq(f.report[0], 4711);
	vdb_gate_unref(gate);
}
END_TEST

START_TEST(a_pause_holds_a_vcpu_whose_gate_opens)
{
	uint32_t paused = 0;

	must(vdb_gate_create(&gate));
	start_acting(act_wait);
	wait_for32(&waiting, f.vcpus);
	must(vdb_vm_pause(f.vm, count_done, &paused));
	wait_for32(&paused, 1);
	vdb_gate_open(gate, 4711);
	nap_ms(5);
	ck_assert_uint_eq(f.reports, 0);
	must(vdb_vm_resume(f.vm));
	wait_for32(&f.reports, f.vcpus);
	vdb_gate_unref(gate);
}
END_TEST

START_TEST(stop_ends_a_wait_at_a_gate)
{
	uint32_t stopped = 0;

	must(vdb_gate_create(&gate));
	start_acting(act_wait);
	wait_for32(&waiting, f.vcpus);
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	ck_assert_uint_eq(canceled, f.vcpus);
	vdb_gate_unref(gate);
}
END_TEST

static void *open_gates(void *arg)
{
	struct vdb_gate *own;

	(void)arg;
	for (unsigned i = 0; i < 200; i++) {
		wait_for32(&waiting, i + 1);
		own = gate;
		vdb_gate_open(own, i);
		vdb_gate_unref(own);
		wait_for32(&f.reports, i + 1);
	}
	return NULL;
}

static void act_new_gate(struct vdb_bus_access *access)
{
	struct vdb_gate *own;
	int64_t result = 0;

	if (waiting < 200) {
		must(vdb_gate_create(&own));
		gate = vdb_gate_ref(own);
		count_done(&waiting);
		must(vdb_vcpu_wait(access->vcpu, own, &result));
		memcpy(access->data, &result, access->len);
		vdb_gate_unref(own);
	} else {
		must(vdb_vm_stop(f.vm, NULL, NULL));
	}
}

START_TEST(gates_open_in_races_with_waits_and_pauses)
{
	pthread_t opener, pauser;

	prepare_acting(act_new_gate);
	ck_assert_int_eq(pthread_create(&opener, NULL, open_gates, NULL), 0);
	ck_assert_int_eq(pthread_create(&pauser, NULL, storm, NULL), 0);
	must(vdb_vcpu_run(f.vcpu[0]));
	pthread_join(opener, NULL);
	pthread_join(pauser, NULL);
	for (unsigned i = 0; i < FIXTURE_REPORTS; i++)
		ck_assert_uint_eq(f.report[i], i);
}
END_TEST

/* ---- Threads ---- */

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
	prepare_acting(act_look);
	must(vdb_vcpu_start(f.vcpu[0], 0, "bell"));
	wait_for32(&acted, 1);
	ck_assert_uint_eq(found_cpu, 101);
}
END_TEST

START_TEST(what_runs_already_is_busy)
{
	struct vdb_x86_regs regs;
	size_t len = 0;

	start_spinning();
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
	start_spinning();
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
	ck_assert_int_lt(lines, before + (int)AGAIN - 4);
	count_done(&let_go);
}
END_TEST

START_TEST(a_paused_vcpu_can_be_examined)
{
	struct vdb_x86_regs regs;
	uint32_t paused = 0;

	start_spinning();
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

START_TEST(null_is_fine)
{
	must(vdb_vm_destroy(NULL, count_done, &acted));
	ck_assert_uint_eq(acted, 1);
	vdb_kvm_close(NULL);
	vdb_irq_destroy(NULL);
	vdb_doorbell_destroy(NULL);
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
	        a_bus_handler_may_destroy_the_vm,
	        the_callers_run_returns_when_the_vm_is_destroyed,
	        an_event_handler_may_destroy_the_vm,
	        a_pauses_completion_may_destroy_the_vm,
	        a_stops_completion_may_destroy_the_vm,
	        destroy_completes_what_is_pending,
	        a_pauses_completion_may_resume_a_vm_that_is_being_destroyed,
	        destroy_runs_on_the_worker,
	        destroy_of_an_idle_vm_is_refused_on_a_loop,
	        destroy_of_an_idle_vm_on_a_loop_needs_a_worker,
	        pause_and_destroy_on_a_loop_that_every_vcpu_waits_for,
	        a_gate_gives_its_result_to_the_guest,
	        a_pause_holds_a_vcpu_whose_gate_opens,
	        stop_ends_a_wait_at_a_gate,
	        gates_open_in_races_with_waits_and_pauses,
	        a_started_thread_is_pinned_and_named,
	        what_runs_already_is_busy,
	        a_cpu_that_does_not_exist_is_refused,
	        a_vcpu_can_be_started_again,
	        a_pauses_completion_may_start_the_vcpu_again,
	        a_paused_vcpu_can_be_examined,
	        null_is_fine,
	        NULL,
	};

	return kvm_tests_run("life", setup, teardown, tests);
}
