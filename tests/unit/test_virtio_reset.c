/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* TIMEOUT: 300 */
/* Resets of devices and queues, broken rings, and ends, with requests in flight (HOSTILE G11..G14). */
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "run.h"
#include "virtio_rig.h"

static struct virtio_rig rig;

static void setup(void)
{
	virtio_rig_open(&rig, NULL);
}

static void teardown(void)
{
	virtio_rig_close(&rig);
}

/* A case of a hostile guest: what it has begun ends with a reset. */
static void setup_case(void)
{
	setup();
	arena_begin(rig.loop);
}

static void teardown_case(void)
{
	virtio_rig_release(&rig);
	virtio_rig_reset(&rig);
	arena_end();
	teardown();
}

static void hold(uint32_t queue, uint32_t n)
{
	uint32_t held = rig.echo.held;

	__atomic_store_n(&rig.echo.hold, true, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < n; i++)
		virtio_rig_send(&rig, queue, 1000 + i);
	virtio_rig_wait(&rig.echo.held, held + n);
}

static bool is_open(struct vdb_gate *gate)
{
	int64_t result;

	return vdb_gate_peek(gate, &result);
}

static void wait_at(struct vdb_gate *gate)
{
	int64_t result;

	ck_assert_int_eq(vdb_gate_wait(gate, 20000000000, &result), 0);
	vdb_gate_unref(gate);
}

START_TEST(g11_status_reads_0_when_nothing_is_in_flight)
{
	struct vdb_gate *gate, *again;

	virtio_rig_up(&rig, 0, 2);
	hold(0, 3);
	vdb__virtio_set_status(rig.device, 0, &gate);
	vdb__virtio_set_status(rig.device, 0, &again);
	vdb__virtio_set_status(rig.device, 0, NULL);
	ck_assert_ptr_eq(gate, again);
	usleep(2000);
	ck_assert(!is_open(gate));
	/* What is written meanwhile is not heard. */
	virtio_rig_set(&rig, 1);
	virtio_rig_accept(&rig, VRIG_V1);
	vdb__virtio_queue_enable(rig.device, 3);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0xf);
	ck_assert_uint_eq(rig.resets, 1);
	virtio_rig_release(&rig);
	wait_at(gate);
	wait_at(again);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0);
	ck_assert_uint_eq(rig.resets, 2);
	/* The next life knows nothing of it. */
	virtio_rig_up(&rig, VRIG_BIT(VIRTIO_F_RING_PACKED), 2);
	virtio_rig_echo(&rig, 0);
	virtio_rig_echo(&rig, 1);
	ck_assert_uint_eq(rig.breaks, 0);
}
END_TEST

START_TEST(g13_one_queue_is_reset_the_others_go_on)
{
	struct vdb_gate *gate;

	virtio_rig_up(&rig, VRIG_BIT(VRIG_RING_RESET), 3);
	hold(1, 5);
	vdb__virtio_queue_reset(rig.device, 1, &gate);
	ck_assert_ptr_nonnull(gate);
	ck_assert(vdb__virtio_queue_in_reset(rig.device, 1));
	ck_assert(!vdb__virtio_queue_in_reset(rig.device, 0));
	__atomic_store_n(&rig.echo.hold, false, __ATOMIC_RELEASE);
	virtio_rig_echo(&rig, 0);
	virtio_rig_echo(&rig, 2);
	ck_assert(!is_open(gate));
	virtio_rig_release(&rig);
	wait_at(gate);
	ck_assert(!vdb__virtio_queue_in_reset(rig.device, 1));
	ck_assert(!vdb__virtio_queue_enabled(rig.device, 1));
	ck_assert_uint_eq(vdb__virtio_queue_size(rig.device, 1), 256);
	virtio_rig_queue(&rig, 1, 4);
	virtio_rig_echo(&rig, 1);
	ck_assert_uint_eq(rig.resets, 1);
}
END_TEST

START_TEST(a_queue_that_does_not_run_is_reset_at_once)
{
	struct vdb_gate *gate = (struct vdb_gate *)&rig;

	virtio_rig_negotiate(&rig, VRIG_V1);
	virtio_rig_queue(&rig, 0, 16);
	vdb__virtio_queue_reset(rig.device, 0, &gate);
	ck_assert_ptr_null(gate);
	ck_assert(!vdb__virtio_queue_enabled(rig.device, 0));
	ck_assert(!vdb__virtio_queue_in_reset(rig.device, 0));
}
END_TEST

START_TEST(g13_a_reset_takes_a_queue_reset_along)
{
	struct vdb_gate *queue_gate, *gate;

	virtio_rig_up(&rig, 0, 2);
	hold(0, 2);
	vdb__virtio_queue_reset(rig.device, 0, &queue_gate);
	vdb__virtio_set_status(rig.device, 0, &gate);
	ck_assert(!is_open(queue_gate) && !is_open(gate));
	virtio_rig_release(&rig);
	wait_at(queue_gate);
	wait_at(gate);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0);
}
END_TEST

static void ring_queue(uint32_t queue)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(rig.kick[queue], &one, sizeof(one)), sizeof(one));
}

/* An avail index that jumps further than the ring is long. */
static void break_ring(uint32_t queue)
{
	__atomic_store_n(&virtq_avail(&rig.driver[queue])->idx, 1000, __ATOMIC_RELEASE);
	ring_queue(queue);
}

START_TEST(g27_a_broken_ring_needs_a_reset)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	virtio_rig_up(&rig, 0, 2);
	virtio_rig_echo(&rig, 1);
	break_ring(0);
	virtio_rig_wait(&rig.breaks, 1);
	virtio_rig_wait(&rig.config_interrupts, 1);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0xf | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_ne(rig.reason, VDB_REASON_NONE);
	/* No queue of the device is served until it has been reset. */
	virtio_rig_send(&rig, 1, 5);
	usleep(2000);
	ck_assert_uint_eq(rig.echo.served, 1);
	ck_assert_int_eq(vdb_virtio_query(rig.device, &info), 0);
	ck_assert_uint_eq(info.broken, 1);
	virtio_rig_set(&rig, 0xf);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0xf | VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_rig_up(&rig, 0, 2);
	virtio_rig_echo(&rig, 0);
	virtio_rig_echo(&rig, 1);
	ck_assert_uint_eq(rig.breaks, 1);
	ck_assert_uint_eq(rig.config_interrupts, 1);
}
END_TEST

START_TEST(g27_two_broken_rings_are_one_broken_device)
{
	virtio_rig_up(&rig, 0, 2);
	hold(0, 4);
	break_ring(0);
	break_ring(1);
	virtio_rig_wait(&rig.breaks, 1);
	virtio_rig_release(&rig);
	virtio_rig_reset(&rig);
	ck_assert_uint_eq(rig.breaks, 1);
	ck_assert_uint_eq(rig.config_interrupts, 1);
}
END_TEST

START_TEST(memory_that_goes_breaks_it)
{
	struct vdb_region_config region = {.size = sizeof(region), .gpa = 0x1000000, .len = 0x10000};
	struct vdb_virtq_config config = {.entries = 16,
	                                  .desc = region.gpa,
	                                  .driver = region.gpa + 0x1000,
	                                  .device = region.gpa + 0x2000};

	ck_assert_int_eq(vdb_mem_add(rig.ram.mem, &region), 0);
	virtio_rig_negotiate(&rig, VRIG_V1);
	virtio_rig_place(&rig, 3, &config);
	vdb__virtio_queue_enable(rig.device, 3);
	ck_assert(vdb__virtio_queue_enabled(rig.device, 3));
	ck_assert_int_eq(vdb_mem_remove(rig.ram.mem, region.gpa, NULL, NULL), 0);
	virtio_rig_set(&rig, 0xf);
	virtio_rig_wait(&rig.breaks, 1);
	ck_assert_uint_eq(rig.reason, VDB_REASON_MEMORY);
	virtio_rig_wait(&rig.config_interrupts, 1);
}
END_TEST

static void hold_device(void)
{
	vdb__virtio_hold(rig.device, true);
}

/* The loop finds it while a vCPU has the device held: it is not forgotten. */
START_TEST(what_breaks_while_it_is_held_stays_broken)
{
	struct vring_avail *avail;

	virtio_rig_up(&rig, 0, 2);
	avail = virtq_avail(&rig.driver[0]);
	rig.echo.on_start = hold_device;
	/* Behind a good request, a head beyond the table. */
	rig.driver[0].bell = NULL;
	virtio_rig_send(&rig, 0, 1);
	avail->ring[1] = 999;
	__atomic_store_n(&avail->idx, 2, __ATOMIC_RELEASE);
	ring_queue(0);
	virtio_rig_wait(&rig.echo.started, 1);
	rig.echo.on_start = NULL;
	vdb__virtio_hold(rig.device, false);
	virtio_rig_wait_status(&rig, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_rig_wait(&rig.breaks, 1);
}
END_TEST

/* A vCPU resets the device while another thread is about to tell of a new configuration. */
struct late {
	pthread_t thread;
	uint32_t forgotten, reset;
};
static struct late late;

static void *reset_device(void *arg)
{
	virtio_rig_reset(arg);
	__atomic_store_n(&late.reset, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void meanwhile(struct virtio_rig *r)
{
	ck_assert_int_eq(pthread_create(&late.thread, NULL, reset_device, r), 0);
	usleep(20000);
	late.forgotten = __atomic_load_n(&r->forgotten, __ATOMIC_ACQUIRE);
}

START_TEST(no_config_interrupt_after_a_reset)
{
	uint32_t before;

	virtio_rig_up(&rig, 0, _i ? 2 : 0);
	before = rig.forgotten;
	rig.on_config_interrupt = meanwhile;
	vdb_virtio_config_changed(rig.device);
	ck_assert_uint_eq(late.forgotten, before);
	ck_assert_int_eq(pthread_join(late.thread, NULL), 0);
	ck_assert_uint_eq(late.reset, 1);
	ck_assert_uint_eq(rig.forgotten, before + 1);
	rig.on_config_interrupt = NULL;
	virtio_rig_up(&rig, 0, 1);
	virtio_rig_echo(&rig, 0);
}
END_TEST

/* Broken, reset and kicked at once, again and again: each life begins where it should. */
START_TEST(g12_resets_race_with_what_breaks)
{
	for (uint32_t i = 0; i < 300; i++) {
		virtio_rig_up(&rig, i & 1 ? VRIG_BIT(VIRTIO_RING_F_EVENT_IDX) : 0, 2);
		virtio_rig_send(&rig, 1, i);
		if (i % 3)
			break_ring(0);
		if (i % 5 == 0)
			usleep(50);
		virtio_rig_reset(&rig);
	}
	virtio_rig_up(&rig, 0, 2);
	virtio_rig_echo(&rig, 0);
	virtio_rig_echo(&rig, 1);
}
END_TEST

START_TEST(the_loop_may_go_first)
{
	virtio_rig_up(&rig, 0, 3);
	virtio_rig_echo(&rig, 2);
	virtio_rig_end_loop(&rig);
	/* teardown: the reset of detach is done at once */
}
END_TEST

START_TEST(the_end_in_every_state)
{
	switch (_i) {
	case 0:
		break;
	case 1:
		virtio_rig_negotiate(&rig, VRIG_V1);
		virtio_rig_queue(&rig, 0, 16);
		break;
	case 2:
		virtio_rig_up(&rig, 0, 4);
		virtio_rig_send(&rig, 3, 1);
		break;
	case 3:
		virtio_rig_up(&rig, 0, 2);
		break_ring(1);
		break;
	case 4:
		virtio_rig_up(&rig, 0, 2);
		virtio_rig_set(&rig, 0x80);
		break;
	case 5:
		virtio_rig_up(&rig, 0, 2);
		vdb__virtio_queue_reset(rig.device, 1, NULL);
		vdb__virtio_set_status(rig.device, 0, NULL);
		break;
	case 6:
		virtio_rig_up(&rig, 0, 2);
		ck_assert_int_eq(vdb_virtio_quiesce(rig.device, NULL, NULL), 0);
		break;
	default:
		virtio_rig_up(&rig, 0, 2);
		rig.echo.late_us = 20000;
		virtio_rig_send(&rig, 0, 1);
		virtio_rig_wait(&rig.echo.started, 1);
		break;
	}
}
END_TEST

START_TEST(destroy_nothing)
{
	vdb_virtio_destroy(NULL, NULL, NULL);
	vdb_virtio_mmio_destroy(NULL);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("reset"), *cases = tcase_create("cases");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_checked_fixture(cases, setup_case, teardown_case);
	tcase_add_test(cases, g11_status_reads_0_when_nothing_is_in_flight);
	tcase_add_test(cases, g13_one_queue_is_reset_the_others_go_on);
	tcase_add_test(tc, a_queue_that_does_not_run_is_reset_at_once);
	tcase_add_test(cases, g13_a_reset_takes_a_queue_reset_along);
	tcase_add_test(cases, g27_a_broken_ring_needs_a_reset);
	tcase_add_test(cases, g27_two_broken_rings_are_one_broken_device);
	tcase_add_test(tc, memory_that_goes_breaks_it);
	tcase_add_test(tc, what_breaks_while_it_is_held_stays_broken);
	tcase_add_loop_test(tc, no_config_interrupt_after_a_reset, 0, 2);
	tcase_add_test(cases, g12_resets_race_with_what_breaks);
	tcase_add_test(tc, the_loop_may_go_first);
	tcase_add_loop_test(tc, the_end_in_every_state, 0, 8);
	tcase_add_test(tc, destroy_nothing);
	return test_run_all("virtio_reset", 2, (TCase *[]){tc, cases});
}
