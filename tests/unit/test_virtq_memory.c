/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Where the buffers of a virtqueue may lie, what is marked dirty of them, and memory that goes away. */
#include <errno.h>
#include <string.h>
#include <vdb/error.h>

#include "run.h"
#include "virtq_rig.h"

#define PAGE 4096u
#define ROM 0x10000000u
#define HIGH 0x20000000u /* two regions, side by side */
#define OUT VRIG_DATA
#define IN (VRIG_DATA + 64 * PAGE)

static const uint32_t kinds[] = {0, VDB_VIRTQ_PACKED};
#define KINDS 2

static struct vrig v;
static struct vdb_backend *backend;

static void add_region(vdb_gpa_t gpa, uint64_t len, uint32_t flags)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .flags = flags, .gpa = gpa, .len = len, .backing = VDB_MEM_ANON};

	ck_assert_msg(vdb_mem_add(v.ram.mem, &region) == 0, "%s", vdb_errmsg());
}

static void setup_with(const struct vrig_config *config)
{
	vrig_open(&v, config);
	add_region(ROM, PAGE, VDB_REGION_READONLY);
	add_region(HIGH, PAGE, 0);
	add_region(HIGH + PAGE, PAGE, 0);
	rig_turns(&v.rig, 4);
}

static void setup(int kind)
{
	backend = vrig_echo();
	setup_with(&(struct vrig_config){.virtq = {.entries = 8, .flags = kinds[kind]}, .backend = backend});
}

static void teardown(void)
{
	vrig_close(&v);
	vdb_backend_destroy(backend);
}

/* The request failed, and the queue goes on. */
static void fails(const struct virtq_buf *bufs, uint32_t n)
{
	const struct virtq_buf good[] = {{OUT, 16, false}, {IN, 16, true}};
	uint64_t errors = vrig_stats(&v).errors;

	ck_assert_uint_eq(vrig_do(&v, bufs, n), 0);
	ck_assert_uint_eq(vrig_stats(&v).errors, errors + 1);
	ck_assert_uint_eq(v.broken, 0);
	ck_assert_uint_eq(vrig_do(&v, good, 2), 16);
}

START_TEST(g43_outside_memory)
{
	static const vdb_gpa_t gpa[] = {VRIG_RAM, VRIG_RAM - 1, HIGH + 2 * PAGE - 8, HIGH - 8, 1ull << 63};

	setup(_i % 2);
	for (unsigned i = 0; i < 5; i++) {
		fails((struct virtq_buf[]){{gpa[i], 16, false}, {IN, 16, true}}, 2);
		fails((struct virtq_buf[]){{OUT, 16, false}, {gpa[i], 16, true}}, 2);
	}
	teardown();
}
END_TEST

START_TEST(g43_across_regions)
{
	unsigned char bytes[64], back[64];

	setup(_i);
	memset(bytes, 0x3c, sizeof(bytes));
	bytes[40] = 1;
	ck_assert_int_eq(vdb_mem_write(v.ram.mem, HIGH + PAGE - 20, bytes, 64), 0);
	ck_assert_uint_eq(vrig_do(&v, (struct virtq_buf[]){{HIGH + PAGE - 20, 64, false}, {IN, 64, true}}, 2),
	                  64);
	ck_assert_mem_eq(vrig_at(&v, IN), bytes, 64);
	bytes[7] = 9;
	memcpy(vrig_at(&v, OUT), bytes, 64);
	ck_assert_uint_eq(vrig_do(&v, (struct virtq_buf[]){{OUT, 64, false}, {HIGH + PAGE - 3, 64, true}}, 2),
	                  64);
	ck_assert_int_eq(vdb_mem_read(v.ram.mem, HIGH + PAGE - 3, back, 64), 0);
	ck_assert_mem_eq(back, bytes, 64);
	teardown();
}
END_TEST

START_TEST(g48_read_only_memory_is_only_read)
{
	static const unsigned char zeroes[16];

	setup(_i);
	memset(vrig_at(&v, IN), 1, 16);
	ck_assert_uint_eq(vrig_do(&v, (struct virtq_buf[]){{ROM, 16, false}, {IN, 16, true}}, 2), 16);
	ck_assert_mem_eq(vrig_at(&v, IN), zeroes, 16);
	fails((struct virtq_buf[]){{OUT, 16, false}, {ROM, 16, true}}, 2);
	fails((struct virtq_buf[]){{OUT, 16, false}, {IN, 8, true}, {ROM, 8, true}}, 3);
	teardown();
}
END_TEST

/* Buffers over the queue itself: the guest has the damage, and the queue breaks or goes on. */
START_TEST(g46_buffers_over_the_rings)
{
	const struct vdb_virtq_config *c;
	vdb_gpa_t areas[3];

	for (uint32_t byte = 0; byte < 256; byte += 85) {
		setup(_i);
		c = &v.d.config;
		areas[0] = c->desc;
		areas[1] = c->driver;
		areas[2] = c->device;
		memset(vrig_at(&v, OUT), (int)byte, 256);
		for (unsigned i = 0; i < 3; i++) {
			(void)virtq_add(&v.d, (struct virtq_buf[]){{OUT, 128, false}, {areas[i], 128, true}},
			                2, 1);
			(void)virtq_publish(&v.d);
			rig_turns(&v.rig, 8);
		}
		teardown();
	}
}
END_TEST

/* ---- Dirty pages ---- */

static uint64_t dirty[VRIG_RAM / PAGE / 64];

static void harvest(void)
{
	ck_assert_int_ge(vdb_mem_dirty_harvest(v.ram.mem, 0, VRIG_RAM, dirty), 0);
}

static bool is_dirty(vdb_gpa_t gpa)
{
	return dirty[gpa / PAGE / 64] >> (gpa / PAGE % 64) & 1;
}

/* Where the use is told that the driver will reap next, but `ahead` chains of four. */
static vdb_gpa_t use_at(uint32_t ahead)
{
	const struct vdb_virtq_config *c = &v.d.config;

	if (c->flags & VDB_VIRTQ_PACKED)
		return c->desc + 16 * (((v.d.reaped & 0x7fffull) + 4 * ahead) % c->entries);
	return c->device + 4 + 8 * ((v.d.reaped + ahead) % c->entries);
}

/* What was read is not dirty; what was written, and the device's areas, are. */
START_TEST(only_what_is_written_is_marked)
{
	const struct virtq_buf bufs[] = {
	        {OUT, 100, false}, {OUT + PAGE, 100, false}, {IN, 100, true}, {IN + 2 * PAGE, 100, true}};
	vdb_gpa_t uses[2];

	backend = vrig_echo();
	/* Each area has pages of its own, and those that the device writes cross into a second one. */
	setup_with(&(struct vrig_config){.virtq = {.entries = 256,
	                                           .flags = kinds[_i],
	                                           .desc = 0x10800,
	                                           .driver = 0x20000,
	                                           .device = 0x30000 - 64},
	                                 .backend = backend});
	ck_assert_int_eq(vdb_mem_dirty_start(v.ram.mem), 0);
	ck_assert_uint_eq(vrig_do(&v, bufs, 4), 200);
	harvest();
	ck_assert(!is_dirty(OUT) && !is_dirty(OUT + PAGE));
	ck_assert(is_dirty(IN) && !is_dirty(IN + PAGE) && is_dirty(IN + 2 * PAGE));
	ck_assert(!is_dirty(0x20000)); /* the driver's is never written */
	ck_assert(_i || !is_dirty(0x10800));
	/* Over some laps each use of a batch is marked, and what makes it good. */
	for (int i = 0; i < 300; i++) {
		uses[0] = use_at(0);
		uses[1] = use_at(1);
		ck_assert(virtq_add(&v.d, bufs, 4, 0) && virtq_add(&v.d, bufs, 4, 1));
		(void)virtq_publish(&v.d);
		(void)vrig_reap(&v, NULL);
		(void)vrig_reap(&v, NULL);
		harvest();
		ck_assert(is_dirty(uses[0]) && is_dirty(uses[1]));
		ck_assert(_i || is_dirty(v.d.config.device));
	}
	vdb_mem_dirty_stop(v.ram.mem);
	teardown();
}
END_TEST

/* ---- Memory that goes away ---- */

static void removed(void *arg)
{
	++*(int *)arg;
}

START_TEST(removed_under_the_ring)
{
	struct vdb_virtq_config c = {.entries = 4, .flags = kinds[_i % 2], .desc = 0x1000};
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = ROM + 16 * PAGE, .len = PAGE, .backing = VDB_MEM_ANON};
	struct vdb_mem *mem = NULL;
	struct vdb_queue *queue = NULL;
	struct vdb_lane *lane = NULL;
	struct vdb_lane_config config = {.size = sizeof(config)};
	struct vdb_lane_stats stats = {.size = sizeof(stats)};
	int gone = 0, done = 0;

	setup(0);
	mem = v.ram.mem;
	ck_assert_int_eq(vdb_mem_add(mem, &region), 0);
	c.size = sizeof(c);
	c.driver = 0x2000;
	c.device = 0x3000;
	/* Each area in turn. */
	*(_i / 2 == 0 ? &c.desc : _i / 2 == 1 ? &c.driver : &c.device) = region.gpa;
	ck_assert_int_eq(vdb_virtq_create(mem, &c, &queue), 0);
	ck_assert_int_eq(vdb_lane_create(v.rig.loop, queue, backend, &config, &lane), 0);
	rig_turns(&v.rig, 4);
	ck_assert_int_eq(vdb_lane_stats(lane, &stats), 0);
	ck_assert_uint_eq(stats.state, VDB_RING_READY);
	ck_assert_int_eq(vdb_mem_remove(mem, region.gpa, removed, &gone), 0);
	while (!gone)
		rig_wait(&v.rig);
	ck_assert_int_eq(vdb_lane_stats(lane, &stats), 0);
	ck_assert_uint_eq(stats.state, VDB_RING_BROKEN);
	ck_assert_uint_eq(stats.broken, 1);
	/* Back again: not ours any more. */
	ck_assert_int_eq(vdb_mem_add(mem, &region), 0);
	vdb_lane_kick(lane);
	rig_turns(&v.rig, 8);
	ck_assert_int_eq(vdb_lane_stats(lane, &stats), 0);
	ck_assert_uint_eq(stats.state, VDB_RING_BROKEN);
	vdb_lane_destroy(lane, removed, &done);
	while (!done)
		rig_wait(&v.rig);
	teardown();
}
END_TEST

/* A buffer's region goes: the request that has it ends in the old one, later ones fail. */
START_TEST(removed_under_a_buffer)
{
	const struct virtq_buf bufs[] = {{OUT, 16, false}, {HIGH, 16, true}};
	struct rig_hold hold;
	uint64_t cookie = 0;
	int gone = 0;

	backend = rig_hold_open(&hold);
	setup_with(&(struct vrig_config){.virtq = {.entries = 8, .flags = kinds[_i]}, .backend = backend});
	ck_assert(virtq_add(&v.d, bufs, 2, 5));
	(void)virtq_publish(&v.d);
	RIG_UNTIL(&v.rig, hold.n == 1);
	ck_assert_uint_eq(hold.reqs[0]->readable, 16);
	ck_assert_int_eq(vdb_mem_remove(v.ram.mem, HIGH, removed, &gone), 0);
	rig_turns(&v.rig, 8);
	ck_assert_int_eq(gone, 0);
	memset(hold.reqs[0]->iov[1].iov_base, 7, 16);
	rig_hold_end(&hold, 16, 0);
	ck_assert_uint_eq(vrig_reap(&v, &cookie), 16);
	RIG_UNTIL(&v.rig, gone);
	ck_assert_uint_eq(vrig_do(&v, bufs, 2), 0);
	ck_assert_uint_eq(hold.n, 0);
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("virtq_memory");

	tcase_add_loop_test(tc, g43_outside_memory, 0, KINDS);
	tcase_add_loop_test(tc, g43_across_regions, 0, KINDS);
	tcase_add_loop_test(tc, g48_read_only_memory_is_only_read, 0, KINDS);
	tcase_add_loop_test(tc, g46_buffers_over_the_rings, 0, KINDS);
	tcase_add_loop_test(tc, only_what_is_written_is_marked, 0, KINDS);
	tcase_add_loop_test(tc, removed_under_the_ring, 0, 6);
	tcase_add_loop_test(tc, removed_under_a_buffer, 0, KINDS);
	return test_run("virtq_memory", tc);
}
