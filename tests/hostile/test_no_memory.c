/* SPDX-License-Identifier: Apache-2.0 */
/* What is no memory is nobody's ring and nobody's buffer: doorbell pages, registers, the LAPIC. G5, G47, in
 * a VM of KVM's that has all of them. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "arena.h"
#include "kvm_fixture.h"
#include "mock.h"
#include "run.h"
#include "turn.h"
#include "virtq_rig.h"

#define QUEUE 0x310000u
#define DATA 0x320000u
#define WINDOW 0xe0000000u /* of a device's registers */
#define LAPIC 0xfee00000u
#define IOAPIC 0xfec00000u
#define PLACES 5

static struct kvm_fixture f;
static struct vdb_doorbell *page, *bell;
static struct vdb_loop *loop;
static struct mock_ram ram;
static vdb_gpa_t places[PLACES];
static uint32_t touched;

static void touch(void *ctx, struct vdb_bus_access *access)
{
	(void)ctx;
	(void)access;
	touched++;
}

static void doorbell(uint32_t kind, struct vdb_doorbell **out)
{
	const struct vdb_doorbell_ring ring = {.ring_gpa = QUEUE, .sq_entries = 8, .cq_entries = 8};
	const struct vdb_doorbell_config config = {
	        .size = sizeof(config), .kind = kind, .addr = VDB_GPA_ANY, .rings = &ring, .ring_count = 1};

	must(vdb_doorbell_create(f.vm, &config, out));
}

static void setup(void)
{
	static const struct vdb_bus_ops ops = {.size = sizeof(ops), .read = touch, .write = touch};

	kvm_fixture_make(&f, NULL, 1);
	must(vdb_bus_add(vdb_vm_mmio(f.vm), "registers", WINDOW, 0x1000, &ops, NULL));
	doorbell(VDB_DOORBELL_PAGE, &page);
	doorbell(VDB_DOORBELL_MMIO, &bell);
	places[0] = vdb_doorbell_addr(page);
	places[1] = vdb_doorbell_addr(bell);
	places[2] = WINDOW;
	places[3] = LAPIC;
	places[4] = IOAPIC;
	ram = (struct mock_ram){.mem = f.mem, .host = f.ram, .len = GUEST_MEM};
	loop = test_loop_new();
	arena_begin(loop);
}

static void teardown(void)
{
	ck_assert_uint_eq(touched, 0);
	arena_end();
	test_loop_end(loop);
	vdb_doorbell_destroy(page);
	vdb_doorbell_destroy(bell);
	must(vdb_bus_remove(vdb_vm_mmio(f.vm), WINDOW));
	kvm_fixture_end(&f);
}

static void no_virtq(struct vdb_virtq_config config)
{
	struct vdb_queue *queue = NULL;

	ck_assert_int_eq(vdb_virtq_create(f.mem, &config, &queue), -EFAULT);
	ck_assert_ptr_null(queue);
}

START_TEST(g5_rings_in_what_is_no_memory)
{
	struct vdb_queue *queue = NULL;

	for (int i = 0; i < PLACES; i++) {
		for (uint32_t flags = 0; flags <= VDB_VIRTQ_PACKED; flags += VDB_VIRTQ_PACKED) {
			struct vdb_virtq_config good = {.size = sizeof(good),
			                                .entries = 8,
			                                .flags = flags,
			                                .desc = QUEUE,
			                                .driver = QUEUE + 0x1000,
			                                .device = QUEUE + 0x2000};
			struct vdb_virtq_config at = good;

			at.desc = places[i];
			no_virtq(at);
			at = good;
			at.driver = places[i];
			no_virtq(at);
			at = good;
			at.device = places[i];
			no_virtq(at);
		}
		ck_assert_int_lt(
		        vdb_ring_create(f.mem,
		                        &(struct vdb_ring_config){.size = sizeof(struct vdb_ring_config),
		                                                  .gpa = places[i],
		                                                  .sq_entries = 8},
		                        &queue),
		        0);
	}
}
END_TEST

/* ---- G47: as buffers ---- */

static struct virtq_driver d;
static struct vdb_lane *lane;
static struct vdb_backend *echo;
static int kick;
static uint32_t gone;

static void ring_bell(void *arg)
{
	(void)arg;
	ck_assert_int_eq(eventfd_write(kick, 1), 0);
}

static void open_lane(uint32_t flags)
{
	struct vdb_lane_config config = {.size = sizeof(config)};
	struct vdb_queue *queue = NULL;

	kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_gt(kick, 0);
	config.kick_fd = kick;
	echo = vrig_echo();
	virtq_driver_open(&d, &ram, &(struct vdb_virtq_config){.entries = 16, .desc = QUEUE, .flags = flags});
	d.bell = ring_bell;
	must(vdb_virtq_create(f.mem, &d.config, &queue));
	must(vdb_lane_create(loop, queue, echo, &config, &lane));
}

static void close_lane(void)
{
	gone = 0;
	vdb_lane_destroy(lane, count_done, &gone);
	while (!gone)
		test_turn(loop);
	vdb_backend_destroy(echo);
	virtq_driver_close(&d);
	close(kick);
}

static uint32_t ask(vdb_gpa_t from, vdb_gpa_t to)
{
	const struct virtq_buf bufs[] = {{from, 64, false}, {to, 64, true}};
	uint64_t cookie;
	uint32_t len = 0;

	ck_assert(virtq_add(&d, bufs, 2, 1));
	(void)virtq_publish(&d);
	while (!virtq_reap(&d, &cookie, &len))
		test_turn(loop);
	return len;
}

START_TEST(g47_buffers_in_what_is_no_memory)
{
	open_lane(_i ? VDB_VIRTQ_PACKED : 0);
	for (int i = 0; i < PLACES; i++) {
		ck_assert_uint_eq(ask(places[i], DATA), 0);
		ck_assert_uint_eq(ask(DATA, places[i]), 0);
		ck_assert_uint_eq(ask(DATA, DATA + 0x1000), 64);
	}
	ck_assert_uint_eq(ask(DATA, GUEST_MEM - 32), 0); /* half of it is */
	arena_goes_on();
	close_lane();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("no_memory");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, g5_rings_in_what_is_no_memory);
	tcase_add_loop_test(tc, g47_buffers_in_what_is_no_memory, 0, 2);
	return test_run("no_memory", tc);
}
