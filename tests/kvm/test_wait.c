/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* TIMEOUT: 300 */
/* vCPUs that wait at a gate in the middle of an access: opened, paused, stopped, destroyed. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

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

static uint32_t acted;

static void on_loop(void (*fn)(void))
{
	vdb__thread_loop = &f;
	fn();
	vdb__thread_loop = NULL;
}

static struct vdb_gate *gate;
static uint32_t waiting;
static uint32_t canceled;

/* Each vCPU once, for the gate is there no longer. */
static void act_wait(struct vdb_bus_access *access)
{
	struct vdb_gate *own;
	int64_t result = 0;
	int rc;

	if (counter(&f, vdb_vcpu_index(access->vcpu)) > 1)
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
	start_acting(&f, act_wait);
	wait_for32(&waiting, f.vcpus);
	nap_ms(20); /* between `waiting` and the wait */
	on_loop(pause_and_destroy_on_loop);
	wait_for32(&acted, 1);
	ck_assert_uint_eq(canceled, f.vcpus);
	vdb_gate_open(gate, 1);
	vdb_gate_unref(gate);
}
END_TEST

START_TEST(a_gate_gives_its_result_to_the_guest)
{
	must(vdb_gate_create(&gate));
	start_acting(&f, act_wait);
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
	start_acting(&f, act_wait);
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
	start_acting(&f, act_wait);
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

static void *pause_often(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 400; i++) {
		must(vdb_vm_pause(f.vm, NULL, NULL));
		must(vdb_vm_resume(f.vm));
	}
	return NULL;
}

START_TEST(gates_open_in_races_with_waits_and_pauses)
{
	pthread_t opener, pauser;

	prepare_acting(&f, act_new_gate);
	ck_assert_int_eq(pthread_create(&opener, NULL, open_gates, NULL), 0);
	ck_assert_int_eq(pthread_create(&pauser, NULL, pause_often, NULL), 0);
	must(vdb_vcpu_run(f.vcpu[0]));
	pthread_join(opener, NULL);
	pthread_join(pauser, NULL);
	for (unsigned i = 0; i < FIXTURE_REPORTS; i++)
		ck_assert_uint_eq(f.report[i], i);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        pause_and_destroy_on_a_loop_that_every_vcpu_waits_for,
	        a_gate_gives_its_result_to_the_guest,
	        a_pause_holds_a_vcpu_whose_gate_opens,
	        stop_ends_a_wait_at_a_gate,
	        gates_open_in_races_with_waits_and_pauses,
	        NULL,
	};

	return kvm_tests_run("wait", setup, teardown, tests);
}
