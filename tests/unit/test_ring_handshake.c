/* SPDX-License-Identifier: Apache-2.0 */
/* How driver and device come together: attach, reset, versions, features, reboot, removed memory. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mock.h"
#include "queue/ring.h"

#define RING 0x1000
#define ALL (VDB_F_EVENT_IDX | VDB_F_SG | VDB_F_MEMOPS)

static struct mock_ram ram;
static struct mock m;
static struct vdb_ring *shared;

static void setup(void)
{
	mock_ram_open(&ram, 0, 1 << 20);
	mock_open(&m, &ram, &(struct vdb_ring_config){.gpa = RING, .sq_entries = 8, .cq_entries = 16});
	shared = mock_at(&ram, RING);
}

static void teardown(void)
{
	mock_close(&m);
	mock_ram_close(&ram);
}

START_TEST(attach_writes_the_device_line)
{
	mock_attach(&m);
	ck_assert_uint_eq(shared->device.generation, 1);
	ck_assert_uint_eq(shared->device.state, VDB_RING_RESET);
	ck_assert_uint_eq(shared->device.reason, VDB_REASON_NONE);
	ck_assert_uint_eq(shared->device.version, VDB_ABI_VERSION);
	ck_assert_uint_eq(shared->device.features, ALL);
	ck_assert_uint_eq(shared->device.capacity, 1 << 20);
	ck_assert_uint_eq(shared->device.block_size, 512);
	ck_assert_uint_eq(shared->device.max_segments, 128);
	ck_assert_uint_eq(shared->device.max_len, 0x7ffff000);
	ck_assert_uint_eq(shared->device.ops, 0x800000ff);
	ck_assert(!m.queue->ops->pending(m.queue));
	ck_assert(mock_publish(&m)); /* the state changed */
	ck_assert(!mock_publish(&m));
}
END_TEST

START_TEST(create_touches_nothing)
{
	static const struct vdb_ring zero;

	ck_assert_int_eq(memcmp(shared, &zero, sizeof(zero)), 0);
}
END_TEST

START_TEST(steps)
{
	uint32_t generation;

	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	mock_attach(&m);
	ck_assert_ptr_null(vdb_guest_sqe(&m.g));
	vdb_guest_reset(&m.g, ALL);
	ck_assert_uint_eq(m.bells, 1);
	ck_assert_int_eq(vdb_guest_arm(&m.g), 0);
	ck_assert(m.queue->ops->pending(m.queue));
	ck_assert(!m.queue->ops->ready(m.queue, 0));
	ck_assert(mock_publish(&m));
	ck_assert(!m.queue->ops->pending(m.queue));
	ck_assert_int_eq(vdb_guest_arm(&m.g), 1);
	generation = shared->device.generation;
	ck_assert_uint_eq(generation, shared->driver.reset);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	ck_assert_uint_eq(m.bells, 2);
	ck_assert_uint_eq(shared->driver.ready, generation);
	ck_assert_int_eq(vdb_guest_arm(&m.g), 0);
	ck_assert(m.queue->ops->pending(m.queue));
	ck_assert(m.queue->ops->ready(m.queue, 0));
	ck_assert(mock_publish(&m));
	ck_assert_int_eq(vdb_guest_arm(&m.g), 1);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
	ck_assert_uint_eq(m.g.features, ALL);
	ck_assert_int_eq(vdb_guest_arm(&m.g), 0);
	ck_assert_uint_eq(m.queue->resets, 1);
}
END_TEST

START_TEST(driver_may_ask_before_the_device_is_there)
{
	vdb_guest_reset(&m.g, ALL);
	mock_attach(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
}
END_TEST

/* What an earlier life left in memory is no driver, whatever it is. */
START_TEST(stale_memory_is_no_driver)
{
	uint32_t ready, reset;

	for (ready = 0; ready < 4; ready++) {
		for (reset = 0; reset < 4; reset++) {
			shared->driver.ready = ready;
			shared->driver.reset = reset;
			shared->driver.version = VDB_ABI_VERSION;
			shared->sq_tail.value = 3;
			mock_attach(&m);
			ck_assert_uint_ne(shared->device.generation, 0);
			ck_assert_uint_ne(shared->device.generation, ready);
			mock_serve(&m);
			mock_serve(&m);
			ck_assert_uint_eq(m.queue->state, VDB_RING_RESET);
			ck_assert_uint_eq(shared->device.state, VDB_RING_RESET);
			/* And one that does come is served. */
			mock_reboot(&m);
			mock_connect(&m, ALL);
		}
	}
}
END_TEST

START_TEST(reboot_with_memory_kept)
{
	int i;

	mock_connect(&m, ALL);
	for (i = 0; i < 3; i++) {
		ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 7));
		mock_reboot(&m);
		ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
		vdb_guest_reset(&m.g, 0);
		mock_serve(&m);
		ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
		mock_serve(&m);
		ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
		ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 9));
		ck_assert_uint_eq(mock_serve(&m), 1);
		mock_expect(&m, 9, 0);
	}
}
END_TEST

/* The driver of a wiped memory cannot know what it asked for last time, and asks for the same. */
START_TEST(reboot_with_memory_wiped)
{
	int i;

	mock_connect(&m, ALL);
	for (i = 0; i < 6; i++) {
		memset(shared, 0, VDB_RING_BYTES(8, 16));
		if (i & 1) /* the device may notice, or not, before the driver is back */
			mock_serve(&m);
		mock_reboot(&m);
		vdb_guest_reset(&m.g, ALL);
		ck_assert_uint_eq(shared->driver.reset, 1);
		ck_assert(m.queue->ops->pending(m.queue));
		mock_serve(&m);
		ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
		if (i & 2) { /* wiped once more, between the steps */
			memset(shared, 0, VDB_RING_BYTES(8, 16));
			mock_reboot(&m);
			vdb_guest_reset(&m.g, ALL);
			mock_serve(&m);
			ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
		}
		mock_serve(&m);
		ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
		ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 5));
		ck_assert_uint_eq(mock_serve(&m), 1);
		mock_expect(&m, 5, 0);
	}
}
END_TEST

START_TEST(device_made_anew_under_a_running_driver)
{
	struct vdb_cqe cqe;

	mock_connect(&m, ALL);
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 6));
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_reap(&m.g, &cqe), 1);
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 7));
	mock_attach(&m);
	mock_serve(&m);
	ck_assert_uint_eq(m.queue->state, VDB_RING_RESET);
	ck_assert_int_eq(vdb_guest_reap(&m.g, &cqe), 0); /* cq_tail went back */
	ck_assert_int_eq(vdb_guest_arm(&m.g), 1);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), -(int)VDB_REASON_HOST);
	vdb_guest_reset(&m.g, ALL);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
}
END_TEST

/* Drivers that die before the device has looked leave their words; whoever is last is served,
 * even if it asks for what was standing there when the device came. */
START_TEST(last_of_several_that_ask_is_served)
{
	shared->driver.ready = 2;
	shared->driver.reset = 2;
	mock_attach(&m);
	shared->driver.ready = 0;
	shared->driver.reset = 3;
	shared->driver.reset = 2;
	mock_serve(&m);
	ck_assert_uint_eq(shared->device.generation, 2);
	ck_assert_uint_eq(m.queue->state, VDB_RING_RESET);
	vdb_guest_reset(&m.g, ALL);
	mock_reboot(&m);
	vdb_guest_reset(&m.g, ALL);
	ck_assert_uint_eq(m.g.generation, 4); /* not what the one before it waits for */
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
}
END_TEST

/* Generations go round: never 0, never what stands there. */
START_TEST(generation_wraps)
{
	mock_attach(&m);
	shared->device.generation = UINT32_MAX;
	vdb_guest_reset(&m.g, 0);
	ck_assert_uint_eq(shared->driver.reset, 1);
	shared->device.generation = UINT32_MAX;
	vdb_guest_reset(&m.g, 0);
	ck_assert_uint_eq(shared->driver.reset, 2);
	mock_serve(&m);
	ck_assert_uint_eq(shared->device.generation, 2);
}
END_TEST

START_TEST(reset_waits_for_requests_in_flight)
{
	struct vdb__seg segs[128];
	struct vdb__elem elem[2];

	mock_connect(&m, ALL);
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 1));
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 2));
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 3));
	ck_assert(mock_ready(&m));
	ck_assert(mock_take(&m, &elem[0], segs));
	ck_assert(mock_take(&m, &elem[1], segs));
	mock_done(&m, elem[0].cookie, 0); /* staged, and dropped by the reset */
	vdb_guest_reset(&m.g, ALL);
	ck_assert(m.queue->ops->pending(m.queue));
	ck_assert(!mock_ready(&m));
	ck_assert(!mock_ready(&m));
	ck_assert(!m.queue->ops->pending(m.queue)); /* nothing to do but to wait */
	ck_assert(!mock_take(&m, &elem[0], segs));
	ck_assert_uint_eq(shared->cq_tail.value, 0);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	ck_assert_uint_ne(shared->device.generation, shared->driver.reset);
	mock_done(&m, elem[1].cookie, 0);
	ck_assert_uint_eq(m.g.cq[0].user_data, 1); /* staged before the reset was seen */
	ck_assert_uint_eq(m.g.cq[1].user_data, 0); /* and nothing written after */
	ck_assert(m.queue->ops->pending(m.queue));
	mock_serve(&m);
	ck_assert_uint_eq(shared->device.generation, shared->driver.reset);
	ck_assert_uint_eq(shared->cq_tail.value, 0);
	ck_assert_uint_eq(shared->sq_head.value, 0);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
	ck_assert_uint_eq(mock_serve(&m), 0);
}
END_TEST

START_TEST(reset_zeroes_the_devices_indices)
{
	int i;

	mock_connect(&m, ALL);
	for (i = 0; i < 5; i++)
		ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 1));
	mock_serve(&m);
	ck_assert(!m.queue->ops->arm(m.queue));
	ck_assert_uint_eq(shared->sq_head.value, 5);
	ck_assert_uint_eq(shared->sq_event.value, 5);
	ck_assert_uint_eq(shared->cq_tail.value, 5);
	vdb_guest_reset(&m.g, ALL);
	mock_serve(&m);
	ck_assert_uint_eq(shared->sq_head.value, 0);
	ck_assert_uint_eq(shared->sq_event.value, 0);
	ck_assert_uint_eq(shared->cq_tail.value, 0);
}
END_TEST

START_TEST(memory_wiped_while_a_reset_waits)
{
	struct vdb__seg segs[128];
	struct vdb__elem elem;

	mock_connect(&m, ALL);
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 1));
	ck_assert(mock_ready(&m) && mock_take(&m, &elem, segs));
	vdb_guest_reset(&m.g, ALL);
	ck_assert(!mock_ready(&m));
	memset(shared, 0, VDB_RING_BYTES(8, 16));
	mock_done(&m, elem.cookie, 0);
	mock_serve(&m);
	ck_assert_uint_eq(shared->device.state, VDB_RING_RESET);
	ck_assert(!m.queue->ops->pending(m.queue));
	mock_reboot(&m);
	vdb_guest_reset(&m.g, ALL);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
}
END_TEST

/* The driver's side of the handshake by hand, as a driver of another version would do it. */
static void give_by_hand(uint32_t version, uint64_t features)
{
	mock_attach(&m);
	shared->driver.ready = 0;
	shared->driver.reset = shared->device.generation + 1;
	mock_serve(&m);
	shared->driver.version = version;
	shared->driver.features = features;
	shared->driver.ready = shared->device.generation;
	mock_serve(&m);
}

START_TEST(other_major_is_refused)
{
	give_by_hand((VDB_ABI_MAJOR + 1) << 16, 0);
	ck_assert_uint_eq(shared->device.state, VDB_RING_BROKEN);
	ck_assert_uint_eq(shared->device.reason, VDB_REASON_VERSION);
	ck_assert_uint_eq(m.queue->reason, VDB_REASON_VERSION);
	/* Another version, with the same generation: latched is latched. */
	shared->driver.version = VDB_ABI_VERSION;
	mock_serve(&m);
	ck_assert_uint_eq(shared->device.state, VDB_RING_BROKEN);
}
END_TEST

START_TEST(newer_driver_is_served)
{
	give_by_hand(VDB_ABI_VERSION + 7, VDB_F_SG);
	ck_assert_uint_eq(shared->device.state, VDB_RING_READY);
}
END_TEST

START_TEST(unoffered_features_are_refused)
{
	give_by_hand(VDB_ABI_VERSION, 1ull << 40);
	ck_assert_uint_eq(shared->device.state, VDB_RING_BROKEN);
	ck_assert_uint_eq(shared->device.reason, VDB_REASON_FEATURES);
	m.interrupts = 0;
	give_by_hand(VDB_ABI_VERSION, VDB_F_MEMOPS);
	ck_assert_uint_eq(shared->device.state, VDB_RING_READY);
}
END_TEST

/* A driver that wants more than an older host has gets what there is. */
START_TEST(guest_takes_what_is_offered)
{
	mock_close(&m);
	mock_open(&m, &ram, &(struct vdb_ring_config){.gpa = RING, .sq_entries = 8, .features = VDB_F_SG});
	mock_connect(&m, UINT64_MAX);
	ck_assert_uint_eq(m.g.features, VDB_F_SG);
	ck_assert_uint_eq(shared->driver.features, VDB_F_SG);
}
END_TEST

START_TEST(driver_line_is_latched_once)
{
	mock_connect(&m, VDB_F_MEMOPS);
	shared->driver.features = UINT64_MAX;
	shared->driver.version = 0;
	ck_assert(mock_submit(&m, VDB_OP_FILL, 0x8000, 16, 0, 4));
	ck_assert_uint_eq(mock_serve(&m), 1);
	mock_expect(&m, 4, 16);
	ck_assert_uint_eq(m.queue->state, VDB_RING_READY);
}
END_TEST

START_TEST(fail_stops_until_reset)
{
	struct vdb__seg segs[128];
	struct vdb__elem elem;

	mock_connect(&m, ALL);
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 1));
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 2));
	ck_assert(mock_ready(&m) && mock_take(&m, &elem, segs));
	(m.queue->ops->fail)(m.queue, VDB_REASON_HOST);
	(m.queue->ops->fail)(m.queue, VDB_REASON_MEMORY); /* the first reason stays */
	ck_assert(!mock_take(&m, &elem, segs));
	ck_assert(mock_publish(&m));
	ck_assert(!m.queue->ops->pending(m.queue));
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), -(int)VDB_REASON_HOST);
	ck_assert_int_eq(vdb_guest_arm(&m.g), 1);
	mock_done(&m, elem.cookie, 0); /* late, dropped */
	ck_assert(!mock_publish(&m));
	ck_assert_uint_eq(shared->cq_tail.value, 0);
	vdb_guest_reset(&m.g, ALL);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
}
END_TEST

static void add_ram(void)
{
	struct vdb_region_config region = {.size = sizeof(region),
	                                   .gpa = ram.gpa,
	                                   .len = ram.len,
	                                   .backing = VDB_MEM_HOST,
	                                   .host = ram.host};

	ck_assert_int_eq(vdb_mem_add(ram.mem, &region), 0);
}

START_TEST(memory_removed_and_back)
{
	struct vdb__seg segs[128];
	struct vdb__elem elem;

	mock_connect(&m, ALL);
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 1));
	ck_assert(mock_ready(&m) && mock_take(&m, &elem, segs));
	ck_assert_int_eq(vdb_mem_remove(ram.mem, ram.gpa, NULL, NULL), 0);
	m.queue->ops->remap(m.queue);
	ck_assert_uint_eq(m.queue->state, VDB_RING_BROKEN);
	ck_assert_uint_eq(m.queue->reason, VDB_REASON_MEMORY);
	ck_assert(mock_publish(&m));
	memset(ram.host, 0xa5, ram.len);
	mock_done(&m, elem.cookie, 0);
	ck_assert(!mock_ready(&m));
	ck_assert(!m.queue->ops->arm(m.queue));
	ck_assert(!m.queue->ops->pending(m.queue));
	m.queue->ops->remap(m.queue);
	ck_assert_uint_eq(ram.host[RING + 200], 0xa5); /* not touched any more */
	ck_assert_uint_eq(ram.host[RING + 64], 0xa5);
	add_ram();
	m.queue->ops->remap(m.queue);
	ck_assert_uint_eq(shared->device.state, VDB_RING_BROKEN);
	ck_assert_uint_eq(shared->device.reason, VDB_REASON_MEMORY);
	mock_reboot(&m);
	vdb_guest_reset(&m.g, ALL);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
}
END_TEST

START_TEST(memory_gone_before_attach)
{
	ck_assert_int_eq(vdb_mem_remove(ram.mem, ram.gpa, NULL, NULL), 0);
	mock_attach(&m);
	ck_assert_uint_eq(m.queue->reason, VDB_REASON_MEMORY);
	ck_assert(!mock_ready(&m));
}
END_TEST

/* A change of the map that is not ours does not disturb. */
START_TEST(remap_of_other_memory)
{
	struct vdb_region_config region = {.size = sizeof(region), .gpa = 1 << 21, .len = VDB_PAGE_SIZE};

	mock_connect(&m, ALL);
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 1));
	ck_assert_int_eq(vdb_mem_add(ram.mem, &region), 0);
	m.queue->ops->remap(m.queue);
	ck_assert_uint_eq(mock_serve(&m), 1);
	mock_expect(&m, 1, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring_handshake");
	TCase *tc = tcase_create("handshake");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, create_touches_nothing);
	tcase_add_test(tc, attach_writes_the_device_line);
	tcase_add_test(tc, steps);
	tcase_add_test(tc, driver_may_ask_before_the_device_is_there);
	tcase_add_test(tc, stale_memory_is_no_driver);
	tcase_add_test(tc, reboot_with_memory_kept);
	tcase_add_test(tc, reboot_with_memory_wiped);
	tcase_add_test(tc, device_made_anew_under_a_running_driver);
	tcase_add_test(tc, last_of_several_that_ask_is_served);
	tcase_add_test(tc, generation_wraps);
	tcase_add_test(tc, reset_waits_for_requests_in_flight);
	tcase_add_test(tc, reset_zeroes_the_devices_indices);
	tcase_add_test(tc, memory_wiped_while_a_reset_waits);
	tcase_add_test(tc, other_major_is_refused);
	tcase_add_test(tc, newer_driver_is_served);
	tcase_add_test(tc, unoffered_features_are_refused);
	tcase_add_test(tc, guest_takes_what_is_offered);
	tcase_add_test(tc, driver_line_is_latched_once);
	tcase_add_test(tc, fail_stops_until_reset);
	tcase_add_test(tc, memory_removed_and_back);
	tcase_add_test(tc, memory_gone_before_attach);
	tcase_add_test(tc, remap_of_other_memory);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
