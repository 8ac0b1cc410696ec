/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* FAULTS */
/* F24: a disk that has stopped answering. Its own VM waits; nobody else does, and nobody has to wait for it
 * to get rid of that VM. The memory that the disk may still write to is not given to anybody before it
 * answers. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>

#include "fault.h"
#include "image.h"
#include "rig.h"
#include "run.h"
#include "turn.h"
#include "virtio_rig.h"

#define SIZE (1u << 20)
#define STUCK 8 /* requests */

static struct vdb_backend *disks[2];
static char paths[2][64];
static struct rig rig;
static struct rig_guest slow, other;

static struct vdb_backend *open_disk(char *path)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = path};
	struct vdb_backend *backend = NULL;

	image_make(path, SIZE, 5);
	ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
	return backend;
}

/* A thread of the pool for each that hangs, and one for the rest. */
static void setup(void)
{
	struct vdb_loop_config config = test_loop_config();

	config.pool_threads = STUCK + 1;
	rig_open(&rig, &config);
	for (int i = 0; i < 2; i++)
		disks[i] = open_disk(paths[i]);
	rig_join(&rig, &slow, &(struct rig_guest_config){.backend = disks[0]});
	rig_join(&rig, &other, &(struct rig_guest_config){.backend = disks[1]});
}

static void teardown(void)
{
	rig_leave(&other);
	for (int i = 0; i < 2; i++) {
		vdb_backend_destroy(disks[i]);
		unlink(paths[i]);
	}
	rig_close(&rig);
	ck_assert_uint_eq(fault_held(), 0);
}

/* The disk of one of them stops; the other one's is asked from here on. */
static void get_stuck(void)
{
	static const uint8_t ops[] = {VDB_OP_READ, VDB_OP_WRITE};

	fault_hold(FAULT_READ);
	fault_hold(FAULT_WRITE);
	for (unsigned i = 0; i < STUCK; i++)
		ck_assert(mock_submit(&slow.m, ops[i % 2], RIG_DATA + i * 4096, 4096, i * 4096, i));
	while (fault_held() < STUCK)
		rig_turns(&rig, 1);
	fault_hold_no_more();
}

static void the_other_is_served(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t at = i % 64 * 4096;

		ck_assert_int_eq(rig_do(&other, VDB_OP_WRITE, RIG_DATA, 4096, at), 4096);
		ck_assert_int_eq(rig_do(&other, VDB_OP_FLUSH, 0, 0, 0), 0);
		ck_assert_int_eq(rig_do(&other, VDB_OP_READ, RIG_DATA, 4096, at), 4096);
	}
}

START_TEST(f24_others_are_served_while_a_disk_hangs)
{
	struct vdb_cqe cqe;

	setup();
	get_stuck();
	the_other_is_served(100);
	ck_assert(!vdb_guest_reap(&slow.m.g, &cqe));
	ck_assert_uint_eq(fault_held(), STUCK);
	fault_release();
	for (unsigned i = 0; i < STUCK; i++)
		ck_assert_int_eq(rig_reap(&slow).result, 4096);
	ck_assert_uint_eq(*(uint8_t *)rig_at(&slow, RIG_DATA + 4095), FAULT_BYTE);
	rig_leave(&slow);
	teardown();
}
END_TEST

/* A guest that resets its ring is told that it is done when the disk can no longer write into its memory. */
START_TEST(f24_a_reset_is_done_when_the_disk_has_let_go)
{
	struct vdb_cqe cqe;

	setup();
	get_stuck();
	vdb_guest_reset(&slow.m.g, 0);
	for (int i = 0; i < 100; i++) {
		the_other_is_served(1);
		ck_assert_int_eq(vdb_guest_poll_ready(&slow.m.g), 0);
	}
	memset(rig_at(&slow, RIG_DATA), 0, STUCK * 4096);
	fault_release();
	while (!vdb_guest_poll_ready(&slow.m.g))
		rig_wait(&rig);
	memset(rig_at(&slow, RIG_DATA), 0x11, STUCK * 4096);
	ck_assert_int_eq(rig_do(&slow, VDB_OP_FLUSH, 0, 0, 0), 0);
	ck_assert(!vdb_guest_reap(&slow.m.g, &cqe)); /* nothing of the time before */
	for (unsigned i = 0; i < STUCK * 4096; i++)
		ck_assert_uint_eq(*(uint8_t *)rig_at(&slow, RIG_DATA + i), 0x11);
	rig_leave(&slow);
	teardown();
}
END_TEST

static void gone(void *arg)
{
	++*(int *)arg;
}

/* To destroy it takes no time either; only its memory stays until then. */
START_TEST(f24_its_vm_is_destroyed_without_waiting)
{
	int left = 0;

	setup();
	get_stuck();
	vdb_lane_destroy(slow.lane, gone, &left);
	the_other_is_served(100);
	ck_assert_int_eq(left, 0);
	ck_assert_int_eq(vdb_mem_destroy(slow.ram.mem), -EBUSY);
	fault_release();
	RIG_UNTIL(&rig, left);
	mock_close(&slow.m);
	mock_ram_close(&slow.ram);
	teardown();
}
END_TEST

/* One FLUSH that hangs: those of its own disk wait behind it, in no thread; reads and others go on. */
START_TEST(f24_a_flush_that_hangs_holds_up_flushes_of_that_disk)
{
	struct vdb_cqe cqe;

	setup();
	fault_hold(FAULT_SYNC);
	for (unsigned i = 0; i < STUCK; i++)
		ck_assert(mock_submit(&slow.m, VDB_OP_FLUSH, 0, 0, 0, i));
	while (!fault_held())
		rig_turns(&rig, 1);
	fault_hold_no_more();
	the_other_is_served(100);
	ck_assert(!vdb_guest_reap(&slow.m.g, &cqe));
	ck_assert_uint_eq(fault_held(), 1);
	ck_assert(mock_submit(&slow.m, VDB_OP_READ, RIG_DATA, 4096, 0, 99));
	cqe = rig_reap(&slow);
	ck_assert_uint_eq(cqe.user_data, 99);
	ck_assert_int_eq(cqe.result, 4096);
	fault_release();
	for (unsigned i = 0; i < STUCK; i++)
		ck_assert_int_eq(rig_reap(&slow).result, 0);
	rig_leave(&slow);
	teardown();
}
END_TEST

/* ---- As a device ---- */

static struct virtio_rig driven;

static struct vdb_virtio *make_blk(const struct vdb_virtio_config *at, void *arg)
{
	const struct vdb_blk_config config = {.size = sizeof(config), .at = at, .backend = arg};
	struct vdb_virtio *device = NULL;

	ck_assert_msg(!vdb_blk_create(&config, &device), "%s", vdb_errmsg());
	return device;
}

static void read_sectors(void)
{
	const struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_IN};
	const struct virtq_buf bufs[] = {
	        {.gpa = VRIG_DATA, .len = sizeof(header)},
	        {.gpa = VRIG_DATA + 0x1000, .len = 4096, .write = true},
	        {.gpa = VRIG_DATA + 0x100, .len = 1, .write = true},
	};

	memcpy(mock_at(&driven.ram, VRIG_DATA), &header, sizeof(header));
	ck_assert(virtq_add(&driven.driver[0], bufs, 3, 1));
	(void)virtq_publish(&driven.driver[0]);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* The vCPU that writes 0 to the status waits at a gate, which a kick could end; the loop waits for nothing.
 * The status is 0 when nothing writes to the guest any more. */
START_TEST(f24_a_device_is_reset_when_the_disk_has_let_go)
{
	struct vdb_backend *disk = open_disk(paths[0]);
	struct vdb_gate *gate = NULL;
	int64_t result;

	virtio_rig_open_foreign(&driven, make_blk, disk);
	virtio_rig_up(&driven, 0, 1);
	fault_hold(FAULT_READ);
	read_sectors();
	while (!fault_held())
		usleep(100);
	vdb__virtio_set_status(driven.device, 0, &gate);
	ck_assert_ptr_nonnull(gate);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(vdb_loop_call(driven.loop, nothing, NULL), 0);
		ck_assert_uint_ne(virtio_rig_status(&driven), 0);
	}
	fault_release();
	ck_assert_int_eq(vdb_gate_wait(gate, 60000000000, &result), 0);
	vdb_gate_unref(gate);
	ck_assert_uint_eq(virtio_rig_status(&driven), 0);
	memset(mock_at(&driven.ram, VRIG_DATA + 0x1000), 0x11, 4096);
	virtio_rig_up(&driven, 0, 1);
	for (unsigned i = 0; i < 4096; i++)
		ck_assert_uint_eq(*(uint8_t *)mock_at(&driven.ram, VRIG_DATA + 0x1000 + i), 0x11);
	virtio_rig_close(&driven);
	vdb_backend_destroy(disk);
	unlink(paths[0]);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("slow");

	tcase_add_test(tc, f24_others_are_served_while_a_disk_hangs);
	tcase_add_test(tc, f24_a_reset_is_done_when_the_disk_has_let_go);
	tcase_add_test(tc, f24_its_vm_is_destroyed_without_waiting);
	tcase_add_test(tc, f24_a_device_is_reset_when_the_disk_has_let_go);
	tcase_add_test(tc, f24_a_flush_that_hangs_holds_up_flushes_of_that_disk);
	return test_run("faults_slow", tc);
}
