/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* The same lies told to a native ring before a disk, with a neighbour on the loop: what it has of G27..G51.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "arena.h"
#include "base/atomic.h"
#include "rig.h"
#include "run.h"

#define N 8u
#define DISK (1u << 20)
#define TABLE 0x30000u
#define DATA RIG_DATA

static struct rig rig;
static struct rig_guest guest;
static struct vdb_backend *disk;
static struct vdb_ring *shared;

static void open_on(struct vdb_backend *backend)
{
	disk = backend;
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = disk, .entries = N});
	shared = rig_at(&guest, RIG_RING);
	arena_begin(rig.loop);
}

static void setup_memory(void)
{
	open_on(arena_memory(DISK));
}

static void setup_file(void)
{
	open_on(arena_file(DISK, 0));
}

static void teardown(void)
{
	arena_end();
	rig_leave(&guest);
	vdb_backend_destroy(disk);
	rig_close(&rig);
}

/* The ring stops, and a reset by the driver begins anew. */
static void breaks(uint32_t reason)
{
	mock_bell(&guest.m.g);
	RIG_UNTIL(&rig, guest.broken);
	ck_assert_uint_eq(guest.broken, reason);
	arena_goes_on();
	guest.broken = 0;
	mock_reboot(&guest.m);
	rig_handshake(&guest);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, DATA, 512, 0), 512);
}

static void served(void)
{
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, DATA, 4096, 4096 * (uint64_t)i), 4096);
}

START_TEST(g27_a_native_tail_jumps)
{
	static const uint32_t by[] = {N + 1, 0x7fffffff, 0x80000000, UINT32_MAX};

	served();
	vdb__store_release(&shared->sq_tail.value, guest.m.g.sq_tail + by[_i]);
	breaks(VDB_REASON_SQ_INDEX);
}
END_TEST

static uint32_t stop;

static void *run_on(void *arg)
{
	(void)arg;
	while (!vdb__load(&stop)) {
		uint32_t tail = vdb__load(&shared->cq_tail.value);

		vdb__store_release(&shared->cq_head.value, tail);
		vdb__store_release(&shared->sq_tail.value, tail + N / 2);
	}
	return NULL;
}

/* Another vCPU always has more to ask; what it says may be wrong at any time. */
START_TEST(g29_a_native_tail_runs_on)
{
	pthread_t thread;

	for (unsigned i = 0; i < N; i++)
		((struct vdb_sqe *)(shared + 1))[i] =
		        (struct vdb_sqe){.op = VDB_OP_READ, .addr = DATA, .len = 4096};
	ck_assert_int_eq(pthread_create(&thread, NULL, run_on, NULL), 0);
	for (unsigned i = 0; i < 5; i++) {
		mock_bell(&guest.m.g);
		arena_goes_on();
	}
	vdb__store(&stop, 1u);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_gt(rig_stats(&guest).completions, 0);
}
END_TEST

START_TEST(g42_native_addresses_that_are_no_memory)
{
	static const struct vdb_seg where[] = {{.addr = RIG_RAM, .len = 512},
	                                       {.addr = RIG_RAM - 511, .len = 512},
	                                       {.addr = ~511ull, .len = 512},
	                                       {.addr = ~0ull, .len = 1024},
	                                       {.addr = 1ull << 63, .len = 0x7fffe000}};

	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_lt(rig_do(&guest, VDB_OP_READ, where[i].addr, where[i].len, 0), 0);
		ck_assert_int_lt(rig_do(&guest, VDB_OP_WRITE, where[i].addr, where[i].len, 0), 0);
		rig_submit_sg(&guest, VDB_OP_READ, TABLE,
		              (const struct vdb_seg[]){{.addr = DATA, .len = 512}, where[i]}, 2, 0, 1);
		ck_assert_int_lt(rig_reap(&guest).result, 0);
	}
	served();
}
END_TEST

START_TEST(g45_native_tables_of_too_much)
{
	struct vdb_seg *table = rig_at(&guest, TABLE);

	for (unsigned i = 0; i < 128; i++)
		table[i] = (struct vdb_seg){.addr = DATA, .len = 0x7fffe000};
	rig_submit_sg(&guest, VDB_OP_READ, TABLE, table, 128, 0, 1);
	ck_assert_int_lt(rig_reap(&guest).result, 0);
	rig_submit_sg(&guest, VDB_OP_READ, TABLE, table, 0, 0, 1);
	ck_assert_int_lt(rig_reap(&guest).result, 0);
	served();
}
END_TEST

/* Beyond the disk, however it is put. */
START_TEST(g59_native_offsets_beyond_the_end)
{
	static const struct {
		uint64_t offset;
		uint32_t len;
	} at[] = {{DISK, 512},       {DISK - 512, 1024}, {~511ull, 512}, {~511ull, 1024},
	          {1ull << 63, 512}, {1, 512},           {DISK - 1, 1},  {0, DISK + 512}};
	static const uint8_t ops[] = {VDB_OP_READ, VDB_OP_WRITE, VDB_OP_DISCARD, VDB_OP_WRITE_ZEROES};

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		for (unsigned op = 0; op < 4; op++)
			ck_assert_int_lt(rig_do(&guest, ops[op], DATA, at[i].len, at[i].offset), 0);
	}
	served();
}
END_TEST

/* Reads over the ring itself, its requests and its answers. */
START_TEST(g46_native_reads_over_the_ring)
{
	uint32_t len = 4096;

	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_RING, len, 0, 1));
	for (unsigned i = 0; i < 20; i++) {
		mock_bell(&guest.m.g);
		rig_turns(&rig, 2);
	}
	arena_goes_on();
	mock_reboot(&guest.m);
	memset(shared, 0, sizeof(*shared));
	mock_bell(&guest.m.g);
	rig_handshake(&guest);
	served();
}
END_TEST

START_TEST(g51_a_native_head_of_garbage)
{
	static const uint32_t by[] = {1, 2, N, 1000, 0x80000000};

	served();
	vdb__store_release(&shared->cq_head.value, guest.m.g.cq_head + by[_i]);
	/* As many requests as there is room for: it has to look how much there is. */
	vdb__store_release(&shared->sq_tail.value, guest.m.g.sq_tail + N);
	breaks(VDB_REASON_CQ_INDEX);
}
END_TEST

START_TEST(g51_native_events_of_garbage)
{
	uint32_t x = 99;

	for (unsigned i = 0; i < 1000; i++) {
		x = x * 1664525 + 1013904223;
		vdb__store(&shared->cq_event.value, x);
		memset(&shared->sq_event, (int)x, sizeof(shared->sq_event));
		ck_assert(mock_submit(&guest.m, VDB_OP_NOP, 0, 0, 0, i));
		mock_bell(&guest.m.g); /* it cannot know */
		ck_assert_uint_eq(rig_reap(&guest).user_data, i);
		ck_assert_uint_le(guest.triggers, i + 8);
	}
	served();
}
END_TEST

static TCase *all(const char *name, void (*setup)(void))
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g27_a_native_tail_jumps, 0, 4);
	tcase_add_test(tc, g29_a_native_tail_runs_on);
	tcase_add_test(tc, g42_native_addresses_that_are_no_memory);
	tcase_add_test(tc, g45_native_tables_of_too_much);
	tcase_add_test(tc, g59_native_offsets_beyond_the_end);
	tcase_add_test(tc, g46_native_reads_over_the_ring);
	tcase_add_loop_test(tc, g51_a_native_head_of_garbage, 0, 5);
	tcase_add_test(tc, g51_native_events_of_garbage);
	return tc;
}

int main(void)
{
	return test_run_all("native", 2, (TCase *[]){all("memory", setup_memory), all("file", setup_file)});
}
