/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* Chains that a hostile guest makes, of either layout, on a loop with a neighbour: G36..G50. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "raw_queue.h"
#include "run.h"

#define TABLE RAW_TABLE
#define DATA VRIG_DATA
#define RO (VRIG_RAM + 0x100000u) /* a read-only region */
#define RO_BYTES 0x10000u
#define LONGEST 128u /* max_segments */

#define W VRING_DESC_F_WRITE
#define NEXT VRING_DESC_F_NEXT
#define INDIRECT VRING_DESC_F_INDIRECT

static struct raw_queue q;

static void open_with(int layout, uint32_t flags)
{
	raw_open(&q, flags | (layout ? VDB_VIRTQ_PACKED : 0), NULL);
	arena_begin(q.v.rig.loop);
}

static void setup_split(void)
{
	open_with(0, VDB_VIRTQ_INDIRECT);
}

static void setup_packed(void)
{
	open_with(1, VDB_VIRTQ_INDIRECT);
}

static void teardown(void)
{
	arena_end();
	raw_close(&q);
}

/* One chain: the device asks for a reset and leaves the queue alone. */
#define BREAKS(...)                                                   \
	do {                                                          \
		const struct raw_piece chain[] = {__VA_ARGS__};       \
                                                                      \
		raw_put(&q, chain, sizeof(chain) / sizeof(chain[0])); \
		raw_breaks(&q, VDB_REASON_CHAIN);                     \
	} while (0)

/* One chain: it comes back with a used length of `len`, and the queue goes on. */
#define ANSWERED(len, ...)                                            \
	do {                                                          \
		const struct raw_piece chain[] = {__VA_ARGS__};       \
                                                                      \
		raw_put(&q, chain, sizeof(chain) / sizeof(chain[0])); \
		ck_assert_uint_eq(raw_used(&q), len);                 \
		raw_goes_on(&q);                                      \
	} while (0)

START_TEST(g36_a_table_without_the_feature)
{
	bool packed = q.packed;

	teardown();
	open_with(packed, 0);
	raw_entry(&q, TABLE, 0, DATA, 64, 0, 0);
	BREAKS({TABLE, 16, INDIRECT});
}
END_TEST

START_TEST(g37_a_table_in_a_table)
{
	if (q.packed) /* where flags but WRITE mean nothing inside */
		return;
	raw_entry(&q, TABLE, 0, TABLE + 64, 16, INDIRECT, 0);
	raw_entry(&q, TABLE + 64, 0, DATA, 64, 0, 0);
	BREAKS({TABLE, 16, INDIRECT});
}
END_TEST

START_TEST(g37_two_tables)
{
	raw_entry(&q, TABLE, 0, DATA, 64, 0, 0);
	raw_entry(&q, TABLE + 64, 0, DATA, 64, W, 0);
	BREAKS({TABLE, 16, INDIRECT}, {TABLE + 64, 16, INDIRECT});
}
END_TEST

START_TEST(g37_a_table_and_then_more)
{
	raw_entry(&q, TABLE, 0, DATA, 64, 0, 0);
	BREAKS({TABLE, 16, INDIRECT}, {DATA, 64, W});
}
END_TEST

START_TEST(g38_tables_of_no_size)
{
	static const uint32_t bytes[] = {0, 1, 15, 17, 16 * (LONGEST + 1), 0xfffffff0, 0xffffffff};

	BREAKS({TABLE, bytes[_i], INDIRECT});
}
END_TEST

START_TEST(g39_tables_that_are_no_memory)
{
	static const vdb_gpa_t where[] = {VRIG_RAM, VRIG_RAM - 16, RO + RO_BYTES, ~15ull, ~31ull, 1ull << 63};

	if (where[_i] == VRIG_RAM - 16)
		raw_entry(&q, VRIG_RAM - 16, 0, DATA, 64, NEXT, 1);
	BREAKS({where[_i], 32, INDIRECT});
}
END_TEST

/* Read-only memory may hold one, and any address. */
START_TEST(g39_tables_that_are_served)
{
	static const unsigned shift[] = {0, 1, 3, 8, 15};

	for (unsigned i = 0; i < 5; i++) {
		raw_entry(&q, TABLE + shift[i], 0, DATA, 64, NEXT, 1);
		raw_entry(&q, TABLE + shift[i], 1, DATA + 64, 32, W, 0);
		ANSWERED(32, {TABLE + shift[i], 32, INDIRECT});
	}
	raw_region(&q, RO, RO_BYTES, VDB_REGION_READONLY);
	memcpy(raw_host(&q, RO), mock_at(&q.v.ram, TABLE + 15), 32);
	ANSWERED(32, {RO, 32, INDIRECT});
}
END_TEST

START_TEST(g40_write_on_a_table)
{
	raw_entry(&q, TABLE, 0, DATA, 64, NEXT, 1);
	raw_entry(&q, TABLE, 1, DATA + 64, 64, W, 0);
	ANSWERED(64, {TABLE, 32, INDIRECT | W});
}
END_TEST

START_TEST(g42_buffers_round_the_end_of_the_world)
{
	static const struct raw_piece pieces[] = {
	        {~63ull, 65, W}, {~0ull, 2, 0}, {~0ull - 0xfffffffe, 0xffffffff, W}, {1ull << 63, 64, W}};

	raw_put(&q, &pieces[_i], 1);
	raw_fails(&q);
}
END_TEST

START_TEST(g43_buffers_that_are_no_memory)
{
	static const struct raw_piece pieces[] = {
	        {VRIG_RAM, 64, W}, {VRIG_RAM - 1, 2, W}, {VRIG_RAM - 4096, 8192, 0}, {RO - 64, 65, 0}};

	ANSWERED(0, {DATA, 64, 0}, pieces[_i]);
	ANSWERED(0, pieces[_i]);
}
END_TEST

/* Two regions side by side in the guest lie apart in the host: all bytes, and none between. */
START_TEST(g43_across_two_regions)
{
	uint8_t *second, bytes[128];

	raw_region(&q, VRIG_RAM, 0x10000, 0);
	second = raw_host(&q, VRIG_RAM);
	memset(second, 0x77, 4096);
	memset(mock_at(&q.v.ram, VRIG_RAM - 64), 0x66, 64);
	memset(bytes, 0x55, sizeof(bytes));
	memcpy(mock_at(&q.v.ram, DATA), bytes, sizeof(bytes));
	ANSWERED(128, {DATA, 128, 0}, {VRIG_RAM - 32, 128, W});
	ck_assert_mem_eq(mock_at(&q.v.ram, VRIG_RAM - 32), bytes, 32);
	ck_assert_mem_eq(second, bytes, 96);
	ck_assert_uint_eq(second[96], 0x77);
	ck_assert_uint_eq(*(uint8_t *)mock_at(&q.v.ram, VRIG_RAM - 33), 0x66);
}
END_TEST

START_TEST(g44_buffers_of_nothing)
{
	ANSWERED(0, {~0ull, 0, 0});
	ANSWERED(5, {0, 0, 0}, {DATA, 5, 0}, {~0ull, 0, W}, {DATA + 64, 7, W});
	ANSWERED(0, {0, 0, W}, {0, 0, W});
}
END_TEST

START_TEST(g45_more_than_there_is)
{
	for (unsigned i = 0; i < LONGEST; i++)
		raw_entry(&q, TABLE, i, 0, VRIG_RAM, i + 1 < LONGEST ? NEXT | W : W, i + 1);
	arena_largest(1u << 30); /* 512 MiB of aliases is a request; */
	ANSWERED(0, {TABLE, 16 * LONGEST, INDIRECT});
	for (unsigned i = 0; i < LONGEST; i++) /* 512 GiB is none */
		raw_entry(&q, TABLE, i, 0, UINT32_MAX, i + 1 < LONGEST ? NEXT | W : W, i + 1);
	ANSWERED(0, {TABLE, 16 * LONGEST, INDIRECT});
	ANSWERED(0, {DATA, UINT32_MAX, 0}, {DATA, UINT32_MAX, W}, {DATA, UINT32_MAX, W});
}
END_TEST

/* The device writes over its own rings and tables: it goes by what it has copied. */
START_TEST(g46_answers_over_the_rings)
{
	const struct vdb_virtq_config *c = &q.v.d.config;
	const vdb_gpa_t targets[] = {c->desc, c->driver, c->device, TABLE};
	uint8_t *from = mock_at(&q.v.ram, DATA);

	for (unsigned i = 0; i < 256; i++)
		from[i] = (uint8_t)(i * 37 + 11);
	raw_entry(&q, TABLE, 0, DATA, 64, NEXT, 1);
	raw_entry(&q, TABLE, 1, targets[_i], 64, W, 0);
	raw_put(&q, &(struct raw_piece){TABLE, 32, INDIRECT}, 1);
	for (unsigned i = 0; i < 20 && !q.v.broken; i++) {
		rig_turns(&q.v.rig, 2);
		raw_ring(&q);
	}
	arena_goes_on();
}
END_TEST

START_TEST(g48_read_only_memory)
{
	uint8_t *ro, want[64];

	raw_region(&q, RO, RO_BYTES, VDB_REGION_READONLY);
	ro = raw_host(&q, RO);
	memset(ro, 0x3c, RO_BYTES);
	memset(want, 0x3c, sizeof(want));
	ANSWERED(0, {DATA, 64, 0}, {RO, 64, W});
	ck_assert_mem_eq(ro, want, 64);
	ANSWERED(64, {RO, 64, 0}, {DATA, 64, W});
	ck_assert_mem_eq(mock_at(&q.v.ram, DATA), want, 64);
}
END_TEST

START_TEST(g50_readable_behind_writable)
{
	BREAKS({DATA, 8, W}, {DATA, 8, 0});
}
END_TEST

START_TEST(g50_readable_behind_writable_in_a_table)
{
	raw_entry(&q, TABLE, 0, DATA, 64, W | NEXT, 1);
	raw_entry(&q, TABLE, 1, DATA, 64, 0, 0);
	BREAKS({TABLE, 32, INDIRECT});
}
END_TEST

static TCase *all(const char *name, void (*setup)(void))
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, g36_a_table_without_the_feature);
	tcase_add_test(tc, g37_a_table_in_a_table);
	tcase_add_test(tc, g37_two_tables);
	tcase_add_test(tc, g37_a_table_and_then_more);
	tcase_add_loop_test(tc, g38_tables_of_no_size, 0, 7);
	tcase_add_loop_test(tc, g39_tables_that_are_no_memory, 0, 6);
	tcase_add_test(tc, g39_tables_that_are_served);
	tcase_add_test(tc, g40_write_on_a_table);
	tcase_add_loop_test(tc, g42_buffers_round_the_end_of_the_world, 0, 4);
	tcase_add_loop_test(tc, g43_buffers_that_are_no_memory, 0, 4);
	tcase_add_test(tc, g43_across_two_regions);
	tcase_add_test(tc, g44_buffers_of_nothing);
	tcase_add_test(tc, g45_more_than_there_is);
	tcase_add_loop_test(tc, g46_answers_over_the_rings, 0, 4);
	tcase_add_test(tc, g48_read_only_memory);
	tcase_add_test(tc, g50_readable_behind_writable);
	tcase_add_test(tc, g50_readable_behind_writable_in_a_table);
	return tc;
}

int main(void)
{
	return test_run_all("chains", 2, (TCase *[]){all("split", setup_split), all("packed", setup_packed)});
}
