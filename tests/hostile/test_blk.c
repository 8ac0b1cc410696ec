/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* G58..G65: block requests on files and memory with canaries around them, on a loop with a neighbour. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/backend.h>
#include <vdb/error.h>

#include "arena.h"
#include "blk_rig.h"
#include "image.h"
#include "run.h"

#define SIZE (256u << 10)
#define SECTORS (SIZE / 512)
#define DEPTH 16u

/* What is behind the device. */
enum { MEMORY, BUFFERED, DIRECT, KINDS, READ_ONLY };

static struct blk_rig rig;
static uint8_t before[SIZE], after[SIZE];

/* False: there is no such disk here. */
static bool open_with(int kind, uint32_t virtq_flags)
{
	static const uint32_t flags[] = {[DIRECT] = VDB_FILE_DIRECT, [READ_ONLY] = VDB_FILE_READONLY};
	struct vdb_backend *backend = kind == MEMORY ? arena_memory(SIZE) : arena_file(SIZE, flags[kind]);

	if (!backend) {
		test_skipped_part("O_DIRECT", "TMPDIR's file system has none");
		return false;
	}
	blk_rig_open(&rig, backend, virtq_flags | VDB_VIRTQ_INDIRECT, BLK_ALL, NULL);
	vdb_backend_destroy(backend);
	arena_read(0, before, SIZE);
	arena_begin(rig.v.rig.loop);
	return true;
}

static void finish(void)
{
	ck_assert_uint_eq(rig.v.broken, 0);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, 1, 512, NULL), VIRTIO_BLK_S_OK);
	arena_end();
	blk_rig_close(&rig);
}

static void check_untouched(void)
{
	arena_read(0, after, SIZE);
	ck_assert(!memcmp(before, after, SIZE));
}

static uint8_t *at(vdb_gpa_t gpa)
{
	return vrig_at(&rig.v, gpa);
}

/* ---- G58 ---- */

/* Header, data and status in as many pieces as the ring has; plain, and behind a table. */
START_TEST(g58_headers_in_pieces)
{
	struct virtq_buf bufs[DEPTH];
	uint64_t cookie;

	(void)open_with(MEMORY, _i & 1 ? VDB_VIRTQ_PACKED : 0);
	for (uint32_t i = 0; i < 13; i++)
		bufs[i] = (struct virtq_buf){BLK_HEADER + i, 1, false};
	bufs[13] = (struct virtq_buf){BLK_HEADER + 13, 3, false};
	bufs[14] = (struct virtq_buf){BLK_DATA, 1024, true};
	bufs[15] = (struct virtq_buf){BLK_STATUS, 1, true};
	blk_header(&rig, VIRTIO_BLK_T_IN, 7);
	*at(BLK_STATUS) = 0xee;
	if (_i & 2) {
		ck_assert(virtq_add_indirect(&rig.v.d, BLK_TABLE, bufs, DEPTH, 5));
		(void)virtq_publish(&rig.v.d);
		ck_assert_uint_eq(vrig_reap(&rig.v, &cookie), 1025);
		ck_assert_uint_eq(*at(BLK_STATUS), VIRTIO_BLK_S_OK);
	} else {
		ck_assert_uint_eq(blk_chain(&rig, bufs, DEPTH, NULL), VIRTIO_BLK_S_OK);
	}
	ck_assert(!memcmp(at(BLK_DATA), before + 7 * 512, 1024));
	finish();
}
END_TEST

/* The status is the last byte that may be written, however long its buffer; what is before it is data. */
START_TEST(g58_a_status_of_any_length)
{
	const struct virtq_buf none[] = {
	        {BLK_HEADER, 16, false}, {BLK_DATA, 513, true}, {BLK_STATUS, 0, true}};
	const struct virtq_buf two[] = {
	        {BLK_HEADER, 16, false}, {BLK_DATA, 511, true}, {BLK_STATUS, 2, true}};
	const struct virtq_buf odd[] = {
	        {BLK_HEADER, 16, false}, {BLK_DATA, 512, true}, {BLK_STATUS, 2, true}};
	const struct virtq_buf flush[] = {{BLK_HEADER, 16, false}, {BLK_STATUS - 8, 9, true}};

	(void)open_with(MEMORY, _i ? VDB_VIRTQ_PACKED : 0);
	blk_header(&rig, VIRTIO_BLK_T_IN, 3);
	ck_assert_uint_eq(blk_chain(&rig, none, 3, NULL), 0xee);
	ck_assert_uint_eq(at(BLK_DATA)[512], VIRTIO_BLK_S_OK);
	ck_assert(!memcmp(at(BLK_DATA), before + 3 * 512, 512));
	*at(BLK_STATUS + 1) = 0xee;
	(void)blk_chain(&rig, two, 3, NULL);
	ck_assert_uint_eq(*at(BLK_STATUS), before[3 * 512 + 511]);
	ck_assert_uint_eq(*at(BLK_STATUS + 1), VIRTIO_BLK_S_OK);
	*at(BLK_STATUS + 1) = 0xee;
	(void)blk_chain(&rig, odd, 3, NULL);
	ck_assert_uint_eq(*at(BLK_STATUS + 1), VIRTIO_BLK_S_IOERR);
	blk_header(&rig, VIRTIO_BLK_T_FLUSH, 0);
	ck_assert_uint_eq(blk_chain(&rig, flush, 2, NULL), VIRTIO_BLK_S_OK);
	finish();
}
END_TEST

/* ---- G59, G64 ---- */

static const struct {
	uint64_t sector;
	uint32_t sectors;
} beyond[] = {
        {SECTORS, 1},    {SECTORS - 1, 2},      {SECTORS - 8, 16},         {SECTORS + 1, 1}, {1, SECTORS},
        {UINT64_MAX, 8}, {UINT64_MAX / 512, 1}, {UINT64_MAX / 512 + 1, 1}, /* times 512 it is 0 */
        {1ull << 55, 8}, {(1ull << 55) - 1, 2},
};

/* Nothing of a request that ends beyond the end is done, and a file does not grow. */
START_TEST(g59_a_disk_never_grows)
{
	if (!open_with(_i, 0))
		return;
	memset(at(BLK_DATA), 0x5a, SIZE);
	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		uint32_t len = beyond[i].sectors * 512;

		ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, beyond[i].sector, len, NULL),
		                  VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, beyond[i].sector, len, NULL),
		                  VIRTIO_BLK_S_IOERR);
	}
	check_untouched();
	finish();
}
END_TEST

START_TEST(g64_ranges_beyond_the_end)
{
	if (!open_with(_i, 0))
		return;
	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		uint64_t sector = beyond[i].sector;
		uint32_t sectors = beyond[i].sectors;

		ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_DISCARD, sector, sectors, 0),
		                  VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, sector, sectors, 0),
		                  VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, sector, sectors, 1),
		                  VIRTIO_BLK_S_IOERR);
	}
	check_untouched();
	/* Up to the end is well. */
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, SECTORS - 8, 8, 0), VIRTIO_BLK_S_OK);
	memset(before + SIZE - 4096, 0, 4096);
	check_untouched();
	finish();
}
END_TEST

/* ---- G60 ---- */

/* More bytes than there is memory, by naming the same again and again. */
START_TEST(g60_more_data_than_there_is)
{
	struct virtq_buf bufs[DEPTH];

	(void)open_with(MEMORY, _i ? VDB_VIRTQ_PACKED : 0);
	bufs[0] = (struct virtq_buf){BLK_HEADER, 16, false};
	bufs[DEPTH - 1] = (struct virtq_buf){BLK_STATUS, 1, true};
	for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
		for (uint32_t i = 1; i < DEPTH - 1; i++)
			bufs[i] = (struct virtq_buf){BLK_DATA, VRIG_RAM - BLK_DATA, type == VIRTIO_BLK_T_IN};
		blk_header(&rig, type, 0);
		ck_assert_uint_eq(blk_chain(&rig, bufs, DEPTH, NULL), VIRTIO_BLK_S_IOERR);
	}
	check_untouched();
	finish();
}
END_TEST

/* ---- G62 ---- */

START_TEST(g62_nothing_is_written_to_a_file_for_reading)
{
	if (!open_with(READ_ONLY, _i ? VDB_VIRTQ_PACKED : 0))
		return;
	memset(at(BLK_DATA), 0x5a, 4096);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, 0, 4096, NULL), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 1), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	check_untouched();
	finish();
}
END_TEST

/* ---- G63 ---- */

static struct rig_hold hold;

static void open_held(void)
{
	struct vdb_backend_info info = {.size = sizeof(info), .capacity = SIZE, .ops = 0x3e};
	struct vdb_backend *backend = NULL;

	memset(&hold, 0, sizeof(hold));
	ck_assert_int_eq(vdb_backend_create(&rig_hold_ops, &hold, &info, &backend), 0);
	blk_rig_open(&rig, backend, 0, BLK_ALL, NULL);
	vdb_backend_destroy(backend);
	arena_begin(rig.v.rig.loop);
}

static void set_cache(uint8_t on)
{
	vdb__blk_ops.config_write(rig.blk, offsetof(struct virtio_blk_config, wce), &on, 1);
}

/* Number i of those in flight: a header, a range and a status of its own. */
static void submit(uint32_t i, uint32_t type, uint64_t sector, uint32_t len, bool table)
{
	const struct virtio_blk_outhdr header = {.type = htole32(type), .sector = htole64(sector)};
	const struct virtio_blk_discard_write_zeroes range = {.sector = htole64(sector),
	                                                      .num_sectors = htole32(len / 512)};
	const bool ranged = type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
	const struct virtq_buf bufs[] = {
	        {BLK_HEADER + 16 * i, 16, false},
	        {ranged ? BLK_RANGE + 16 * i : BLK_DATA, ranged ? 16 : len, type == VIRTIO_BLK_T_IN},
	        {BLK_STATUS + i, 1, true},
	};
	const struct virtq_buf bare[] = {bufs[0], bufs[2]};

	*at(BLK_STATUS + i) = 0xee;
	memcpy(at(BLK_HEADER + 16 * i), &header, sizeof(header));
	memcpy(at(BLK_RANGE + 16 * i), &range, sizeof(range));
	if (table)
		ck_assert(virtq_add_indirect(&rig.v.d, BLK_TABLE + i * 64, bufs, 3, i));
	else
		ck_assert(virtq_add(&rig.v.d, len ? bufs : bare, len ? 3 : 2, i));
}

static void end_one(uint8_t op)
{
	RIG_UNTIL(&rig.v.rig, hold.n);
	ck_assert_uint_eq(hold.reqs[0]->op, op);
	rig_hold_end(&hold, (int32_t)hold.reqs[0]->len, 0);
}

static void expect(uint32_t i)
{
	uint64_t cookie;

	(void)vrig_reap(&rig.v, &cookie);
	ck_assert_uint_eq(cookie, i);
	ck_assert_uint_eq(*at(BLK_STATUS + i), VIRTIO_BLK_S_OK);
}

static void start(uint32_t i, uint32_t type)
{
	uint32_t had = hold.n;

	submit(i, type, UINT64_MAX * (type == VIRTIO_BLK_T_FLUSH), type == VIRTIO_BLK_T_OUT ? 512 : 0, false);
	(void)virtq_publish(&rig.v.d);
	RIG_UNTIL(&rig.v.rig, hold.n == had + 1);
}

/* A write is flushed before it is answered if the cache was off from its beginning to its end (5.2.6.2); two
 * flushes are two, and nobody takes another's. */
START_TEST(g63_the_cache_is_switched_under_writes_and_flushes)
{
	open_held();
	start(0, VIRTIO_BLK_T_OUT);
	start(1, VIRTIO_BLK_T_FLUSH);
	start(2, VIRTIO_BLK_T_FLUSH);
	for (uint32_t i = 0; i < 101; i++)
		set_cache(i & 1);
	end_one(VDB_OP_WRITE);
	expect(0);
	start(0, VIRTIO_BLK_T_OUT); /* the cache is off */
	end_one(VDB_OP_FLUSH);
	expect(1);
	end_one(VDB_OP_FLUSH);
	expect(2);
	start(1, VIRTIO_BLK_T_FLUSH);
	end_one(VDB_OP_WRITE);
	end_one(VDB_OP_FLUSH);
	expect(1);
	end_one(VDB_OP_FLUSH); /* the write's own */
	expect(0);
	ck_assert_uint_eq(hold.n, 0);
	arena_end();
	blk_rig_close(&rig);
}
END_TEST

/* ---- G65 ---- */

static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD,
                                 VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES};

/* All that the ring holds at once, on the same sectors, and from and to the same pages. */
static void overlap(uint32_t round)
{
	uint64_t cookie, seen = 0;

	for (uint32_t i = 0; i < DEPTH; i++)
		submit(i, types[(round + i * 5) % 6], 8 + (round + i) % 3 * 8, 8192, true);
	(void)virtq_publish(&rig.v.d);
	for (uint32_t i = 0; i < DEPTH; i++) {
		(void)vrig_reap(&rig.v, &cookie);
		ck_assert(!(seen >> cookie & 1));
		seen |= 1ull << cookie;
		ck_assert_uint_eq(*at(BLK_STATUS + cookie), VIRTIO_BLK_S_OK);
	}
	ck_assert_uint_eq(seen, (1ull << DEPTH) - 1);
}

START_TEST(g65_everything_at_once_in_the_same_place)
{
	if (!open_with(_i % KINDS, _i / KINDS ? VDB_VIRTQ_PACKED : 0))
		return;
	for (uint32_t round = 0; round < 60; round++)
		overlap(round);
	/* What lies beside it is as it was, and what is written then is read. */
	arena_read(0, after, SIZE);
	ck_assert(!memcmp(before, after, 8 * 512));
	ck_assert(!memcmp(before + 40 * 512, after + 40 * 512, SIZE - 40 * 512));
	image_pattern(at(BLK_DATA), 8192, 77);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, 8, 8192, NULL), VIRTIO_BLK_S_OK);
	memcpy(after, at(BLK_DATA), 8192);
	memset(at(BLK_DATA), 0, 8192);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, 8, 8192, NULL), VIRTIO_BLK_S_OK);
	ck_assert(!memcmp(at(BLK_DATA), after, 8192));
	finish();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk");

	tcase_add_loop_test(tc, g58_headers_in_pieces, 0, 4);
	tcase_add_loop_test(tc, g58_a_status_of_any_length, 0, 2);
	tcase_add_loop_test(tc, g59_a_disk_never_grows, 0, KINDS);
	tcase_add_loop_test(tc, g60_more_data_than_there_is, 0, 2);
	tcase_add_loop_test(tc, g62_nothing_is_written_to_a_file_for_reading, 0, 2);
	tcase_add_test(tc, g63_the_cache_is_switched_under_writes_and_flushes);
	tcase_add_loop_test(tc, g64_ranges_beyond_the_end, 0, KINDS);
	tcase_add_loop_test(tc, g65_everything_at_once_in_the_same_place, 0, 2 * KINDS);
	return test_run("blk", tc);
}
