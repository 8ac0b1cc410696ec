/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* What a lane tells its loop of: the backend's file, and the memory where that is registered. */
#include <check.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/backend.h>

#include "image.h"
#include "rig.h"
#include "run.h"
#include "turn.h"

#define IMAGE (64u << 10)
#define MORE UINT64_C(0x10000000) /* gpa of a second region */
#define MORE_BYTES (64u << 10)

static struct rig rig;
static struct rig_guest guest;
static char path[64];

static void start(uint32_t flags)
{
	struct vdb_loop_config loop = test_loop_config();
	struct vdb_file_config file = {.size = sizeof(file), .path = path};
	struct rig_guest_config config = {0};

	image_make(path, IMAGE, 1);
	loop.flags = flags;
	rig_open(&rig, &loop);
	ck_assert_int_eq(vdb_backend_file(&file, &config.backend), 0);
	rig_join(&rig, &guest, &config);
	vdb_backend_destroy(config.backend);
}

static void end(void)
{
	rig_leave(&guest);
	rig_turns(&rig, 3);
	ck_assert_uint_eq(test_loop_stats(rig.loop).memory, 0);
	rig_close(&rig);
	(void)unlink(path);
}

static bool is_uring(void)
{
	return test_loop_stats(rig.loop).engine == VDB_ENGINE_URING;
}

/* Another pattern each time, from gpa to the image; whether registered memory was used. */
static bool writes_from(vdb_gpa_t gpa)
{
	static unsigned seed;
	uint64_t before = test_loop_stats(rig.loop).fixed_buffers;
	unsigned char bytes[512];

	image_pattern(bytes, sizeof(bytes), ++seed);
	ck_assert_int_eq(vdb_mem_write(guest.ram.mem, gpa, bytes, sizeof(bytes)), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, gpa, sizeof(bytes), 0), sizeof(bytes));
	image_check(path, 0, bytes, sizeof(bytes));
	return test_loop_stats(rig.loop).fixed_buffers > before;
}

START_TEST(requests_name_the_file_by_number)
{
	start(0);
	ck_assert(!writes_from(RIG_DATA));
	ck_assert_uint_eq(test_loop_stats(rig.loop).fixed_files, is_uring());
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), 0);
	ck_assert_uint_eq(test_loop_stats(rig.loop).fixed_files, 2 * is_uring());
	ck_assert_uint_eq(test_loop_stats(rig.loop).memory, 0);
	end();
}
END_TEST

START_TEST(memory_is_registered_if_asked_for)
{
	start(VDB_LOOP_REGISTER_MEMORY);
	ck_assert(writes_from(RIG_DATA) == is_uring());
	ck_assert_uint_eq(test_loop_stats(rig.loop).memory, is_uring() ? RIG_RAM : 0);
	ck_assert_uint_eq(test_loop_stats(rig.loop).memory_refused, 0);
	end();
}
END_TEST

static void count(void *arg)
{
	++*(int *)arg;
}

static void add_more(uint32_t backing, uint32_t flags)
{
	struct vdb_region_config more = {
	        .size = sizeof(more), .gpa = MORE, .len = MORE_BYTES, .backing = backing, .flags = flags};

	ck_assert_int_eq(vdb_mem_add(guest.ram.mem, &more), 0);
	rig_turns(&rig, 3);
}

static void remove_more(void)
{
	int done = 0;

	ck_assert_int_eq(vdb_mem_remove(guest.ram.mem, MORE, count, &done), 0);
	while (!done)
		rig_wait(&rig);
	ck_assert_uint_eq(test_loop_stats(rig.loop).memory, is_uring() ? RIG_RAM : 0);
	ck_assert_int_eq(vdb_mem_reap(guest.ram.mem), 0);
}

/* New memory is mapped where the old was: it must not be taken for it. */
START_TEST(regions_come_and_go)
{
	start(VDB_LOOP_REGISTER_MEMORY);
	for (int i = 0; i < 4; i++) {
		add_more(i % 2 ? VDB_MEM_MEMFD : VDB_MEM_ANON, 0);
		ck_assert_uint_eq(test_loop_stats(rig.loop).memory, is_uring() ? RIG_RAM + MORE_BYTES : 0);
		ck_assert(writes_from(MORE) == is_uring());
		ck_assert(writes_from(RIG_DATA) == is_uring());
		remove_more();
	}
	ck_assert(writes_from(RIG_DATA) == is_uring());
	end();
}
END_TEST

static const struct {
	uint32_t backing, flags;
} unpinned[] = {
        {VDB_MEM_ANON, VDB_REGION_DISCARDABLE},
        {VDB_MEM_MEMFD, VDB_REGION_DISCARDABLE},
        {VDB_MEM_MEMFD, VDB_REGION_PRIVATE},
        {VDB_MEM_MEMFD, VDB_REGION_READONLY},
};

START_TEST(what_may_change_is_left_alone)
{
	start(VDB_LOOP_REGISTER_MEMORY);
	add_more(unpinned[_i].backing, unpinned[_i].flags);
	ck_assert_uint_eq(test_loop_stats(rig.loop).memory, is_uring() ? RIG_RAM : 0);
	ck_assert_uint_eq(test_loop_stats(rig.loop).memory_refused, 0);
	if (!(unpinned[_i].flags & VDB_REGION_READONLY))
		ck_assert(!writes_from(MORE));
	remove_more();
	end();
}
END_TEST

/* Two lanes of one VM: registered once, until the second has left. */
START_TEST(lanes_share_what_is_registered)
{
	struct vdb_ring_config ring = {.size = sizeof(ring), .sq_entries = 8, .gpa = 0x100000};
	struct vdb_lane_config config = {.size = sizeof(config)};
	struct vdb_file_config file = {.size = sizeof(file), .path = path};
	struct vdb_backend *backend;
	struct vdb_queue *queue;
	struct vdb_lane *lane;
	int gone = 0;

	start(VDB_LOOP_REGISTER_MEMORY);
	ck_assert_int_eq(vdb_backend_file(&file, &backend), 0);
	ck_assert_int_eq(vdb_ring_create(guest.ram.mem, &ring, &queue), 0);
	ck_assert_int_eq(vdb_lane_create(rig.loop, queue, backend, &config, &lane), 0);
	vdb_backend_destroy(backend);
	rig_turns(&rig, 3);
	ck_assert_uint_eq(test_loop_stats(rig.loop).memory, is_uring() ? RIG_RAM : 0);
	vdb_lane_destroy(lane, count, &gone);
	while (!gone)
		rig_wait(&rig);
	ck_assert_uint_eq(test_loop_stats(rig.loop).memory, is_uring() ? RIG_RAM : 0);
	ck_assert(writes_from(RIG_DATA) == is_uring());
	end();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("lane_known");

	tcase_add_test(tc, requests_name_the_file_by_number);
	tcase_add_test(tc, memory_is_registered_if_asked_for);
	tcase_add_test(tc, regions_come_and_go);
	tcase_add_loop_test(tc, what_may_change_is_left_alone, 0, sizeof(unpinned) / sizeof(unpinned[0]));
	tcase_add_test(tc, lanes_share_what_is_registered);
	return test_run("lane_known", tc);
}
