/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* TIMEOUT: 300 */
/* destroy, from every thread and in every state. */
#include <errno.h>

#include "base/thread.h"
#include "kvm_fixture.h"
#include "kvm_lives.h"

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

GUEST(fault, "ud2");

static uint32_t acted;

static bool only_one;

static void act_destroy(struct vdb_bus_access *access)
{
	/* Not before the last one has been started. */
	if (access->vcpu == f.vcpu[1] && (counter(&f, 2) || only_one))
		must(vdb_vm_destroy(f.vm, count_done, &acted));
}

START_TEST(a_bus_handler_may_destroy_the_vm)
{
	gone = true;
	start_acting(&f, act_destroy);
	wait_for32(&acted, 1);
}
END_TEST

START_TEST(the_callers_run_returns_when_the_vm_is_destroyed)
{
	gone = only_one = true;
	prepare_acting(&f, act_destroy);
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
	start_spinning(&f);
	must(vdb_vm_pause(f.vm, destroy_here, f.vm));
	wait_for32(&acted, 1);
}
END_TEST

START_TEST(a_stops_completion_may_destroy_the_vm)
{
	gone = true;
	start_spinning(&f);
	must(vdb_vm_stop(f.vm, destroy_here, f.vm));
	wait_for32(&acted, 1);
}
END_TEST

START_TEST(destroy_completes_what_is_pending)
{
	uint32_t paused = 0, stopped = 0;

	gone = true;
	start_spinning(&f);
	must(vdb_vm_pause(f.vm, count_done, &paused));
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	must(vdb_vm_destroy(f.vm, count_done, &acted));
	wait_for32(&acted, 1);
	ck_assert_uint_eq(paused, 1);
	ck_assert_uint_eq(stopped, 1);
}
END_TEST

static void resume_here(void *vm)
{
	must(vdb_vm_resume(vm));
}

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
	start_spinning(&f);
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
	start_spinning(&f);
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
	        null_is_fine,
	        NULL,
	};

	return kvm_tests_run("destroy", setup, teardown, tests);
}
