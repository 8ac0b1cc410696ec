/* SPDX-License-Identifier: Apache-2.0 */
/* Block requests that a hostile guest makes: each is refused as the standard says, and nothing is touched. */
#include <stdlib.h>
#include <string.h>
#include <vdb/error.h>

#include "arena.h"
#include "blk_rig.h"
#include "image.h"
#include "run.h"

#define SIZE 65536u
#define SECTORS (SIZE / 512)
#define NO_SCSI 2u /* VIRTIO_BLK_T_SCSI_CMD */

static struct blk_rig rig;
static uint8_t want[SIZE], is[SIZE];

static void open_with(uint64_t features, const struct vdb_blk_config *with)
{
	struct vdb_backend *backend = arena_memory(SIZE);

	arena_read(0, want, SIZE);
	blk_rig_open(&rig, backend, VDB_VIRTQ_INDIRECT, features, with);
	vdb_backend_destroy(backend);
	arena_begin(rig.v.rig.loop);
}

static void close_rig(void)
{
	arena_end();
	blk_rig_close(&rig);
}

static bool untouched(void)
{
	arena_read(0, is, SIZE);
	return !memcmp(is, want, SIZE);
}

static void setup(void)
{
	open_with(BLK_ALL, NULL);
}

/* The disk is as it was, and the queue goes on. */
static void still_good(void)
{
	ck_assert(untouched());
	ck_assert_uint_eq(rig.v.broken, 0);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, 1, 512, NULL), VIRTIO_BLK_S_OK);
}

static void finish(void)
{
	still_good();
	close_rig();
}

/* The driver's chain is not answered: the device wants a reset. */
static void breaks(const struct virtq_buf *bufs, uint32_t n)
{
	ck_assert(virtq_add(&rig.v.d, bufs, n, 1));
	(void)virtq_publish(&rig.v.d);
	RIG_UNTIL(&rig.v.rig, rig.v.broken);
	ck_assert_uint_eq(rig.v.broken, VDB_REASON_CHAIN);
	ck_assert(untouched());
	virtq_reap(&rig.v.d, &(uint64_t){0}, &(uint32_t){0});
	close_rig();
}

START_TEST(g58_short_header)
{
	const struct virtq_buf bufs[] = {{BLK_HEADER, 15, false}, {BLK_STATUS, 1, true}};
	const struct virtq_buf none[] = {{BLK_STATUS, 1, true}};
	uint32_t used;

	setup();
	blk_header(&rig, VIRTIO_BLK_T_FLUSH, 0);
	ck_assert_uint_eq(blk_chain(&rig, bufs, 2, &used), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(used, 1);
	ck_assert_uint_eq(blk_chain(&rig, none, 1, &used), VIRTIO_BLK_S_IOERR);
	finish();
}
END_TEST

START_TEST(g50_header_in_writable_memory)
{
	const struct virtq_buf bufs[] = {{BLK_HEADER, 16, true}, {BLK_STATUS, 1, true}};
	uint32_t used;

	setup();
	blk_header(&rig, VIRTIO_BLK_T_FLUSH, 0);
	ck_assert_uint_eq(blk_chain(&rig, bufs, 2, &used), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(used, 0); /* 16 bytes before the status have not been written */
	finish();
}
END_TEST

START_TEST(g50_no_status)
{
	const struct virtq_buf bufs[] = {{BLK_HEADER, 16, false}, {BLK_DATA, 512, false}};

	setup();
	blk_header(&rig, VIRTIO_BLK_T_OUT, 0);
	breaks(bufs, 2);
}
END_TEST

START_TEST(g48_status_that_is_no_memory)
{
	const struct virtq_buf bufs[] = {{BLK_HEADER, 16, false}, {VRIG_RAM, 1, true}};

	setup();
	blk_header(&rig, VIRTIO_BLK_T_FLUSH, 0);
	breaks(bufs, 2);
}
END_TEST

START_TEST(g43_data_that_is_no_memory)
{
	const struct virtq_buf in[] = {
	        {BLK_HEADER, 16, false}, {VRIG_RAM - 512, 1024, true}, {BLK_STATUS, 1, true}};
	const struct virtq_buf out[] = {
	        {BLK_HEADER, 16, false}, {VRIG_RAM - 512, 1024, false}, {BLK_STATUS, 1, true}};
	const struct virtq_buf header[] = {{VRIG_RAM - 8, 16, false}, {BLK_STATUS, 1, true}};
	uint32_t used;

	setup();
	blk_header(&rig, VIRTIO_BLK_T_IN, 0);
	ck_assert_uint_eq(blk_chain(&rig, in, 3, &used), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(used, 0);
	blk_header(&rig, VIRTIO_BLK_T_OUT, 0);
	ck_assert_uint_eq(blk_chain(&rig, out, 3, NULL), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(blk_chain(&rig, header, 2, NULL), VIRTIO_BLK_S_IOERR);
	finish();
}
END_TEST

START_TEST(g59_beyond_the_end)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} bad[] = {
	        {SECTORS, 512},          {SECTORS - 1, 1024}, {SECTORS + 1, 512},           {UINT64_MAX, 512},
	        {UINT64_MAX / 512, 512}, {1ull << 55, 512},   {UINT64_MAX / 512 - 7, 8192},
	};

	setup();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, bad[i].sector, bad[i].len, NULL),
		                  VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, bad[i].sector, bad[i].len, NULL),
		                  VIRTIO_BLK_S_IOERR);
	}
	finish();
}
END_TEST

START_TEST(g60_odd_lengths)
{
	static const uint32_t bad[] = {0, 1, 511, 513, 1023};

	setup();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, 0, bad[i], NULL), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, 0, bad[i], NULL), VIRTIO_BLK_S_IOERR);
	}
	finish();
}
END_TEST

START_TEST(g60_too_many_segments)
{
	struct virtq_buf bufs[8] = {{BLK_HEADER, 16, false}};

	open_with(BLK_ALL, &(struct vdb_blk_config){.max_segments = 3});
	for (unsigned n = 1; n <= 6; n++) {
		bufs[n] = (struct virtq_buf){BLK_DATA + n * 512, 512, true};
		bufs[n + 1] = (struct virtq_buf){BLK_STATUS, 1, true};
		blk_header(&rig, VIRTIO_BLK_T_IN, 0);
		ck_assert_uint_eq(blk_chain(&rig, bufs, n + 2, NULL),
		                  n <= 3 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	}
	finish();
}
END_TEST

/* Data in the wrong direction is nobody's: it would be written from, or read into, nothing. */
START_TEST(g50_data_on_the_wrong_side)
{
	const struct virtq_buf both[] = {{BLK_HEADER, 16, false},
	                                 {BLK_DATA, 512, false},
	                                 {BLK_DATA + 512, 512, true},
	                                 {BLK_STATUS, 1, true}};

	setup();
	blk_header(&rig, VIRTIO_BLK_T_IN, 0);
	ck_assert_uint_eq(blk_chain(&rig, both, 4, NULL), VIRTIO_BLK_S_IOERR);
	blk_header(&rig, VIRTIO_BLK_T_OUT, 0);
	ck_assert_uint_eq(blk_chain(&rig, both, 4, NULL), VIRTIO_BLK_S_IOERR);
	finish();
}
END_TEST

START_TEST(g61_unknown_types)
{
	static const uint32_t bad[] = {NO_SCSI, 3, 5, 6, 7, 9, 10, 12, 14, 15, 100, 0x80000000, UINT32_MAX};

	setup();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_uint_eq(blk_do(&rig, bad[i], 0, 512, NULL), VIRTIO_BLK_S_UNSUPP);
	finish();
}
END_TEST

START_TEST(g61_types_that_were_not_negotiated)
{
	open_with(0, NULL);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_FLUSH, 0, 0, NULL), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	finish();
}
END_TEST

START_TEST(g62_writes_to_a_read_only_disk)
{
	struct rig_hold hold = {0};
	struct vdb_backend_info info = {
	        .size = sizeof(info), .flags = VDB_BACKEND_READONLY, .capacity = SIZE, .ops = 0x3e};
	struct vdb_backend *backend = NULL;

	ck_assert_int_eq(vdb_backend_create(&rig_hold_ops, &hold, &info, &backend), 0);
	blk_rig_open(&rig, backend, 0, BLK_ALL, NULL);
	vdb_backend_destroy(backend);
	arena_begin(rig.v.rig.loop);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, 0, 512, NULL), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(hold.n, 0); /* the backend was never asked */
	close_rig();
}
END_TEST

START_TEST(g63_flush_with_everything)
{
	const struct virtq_buf bufs[] = {
	        {BLK_HEADER, 16, false}, {BLK_DATA, 600, false}, {BLK_STATUS, 1, true}};

	setup();
	blk_header(&rig, VIRTIO_BLK_T_FLUSH, UINT64_MAX);
	ck_assert_uint_eq(blk_chain(&rig, bufs, 3, NULL), VIRTIO_BLK_S_OK);
	finish();
}
END_TEST

START_TEST(g64_ranges)
{
	static const struct {
		uint64_t sector;
		uint32_t sectors, flags;
		uint8_t discard, zeroes; /* status */
	} bad[] = {
	        {0, 0, 0, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR},
	        {0, UINT32_MAX, 0, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR},
	        {SECTORS, 1, 0, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR},
	        {SECTORS - 1, 2, 0, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR},
	        {UINT64_MAX, 8, 0, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR},
	        {UINT64_MAX / 512, 1, 0, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR},
	        {0, 8, 2, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_S_UNSUPP},
	        {0, 8, 0x80000000, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_S_UNSUPP},
	        {SECTORS, 8, 1, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_S_IOERR}, /* unmap */
	};

	setup();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_uint_eq(
		        blk_zero(&rig, VIRTIO_BLK_T_DISCARD, bad[i].sector, bad[i].sectors, bad[i].flags),
		        bad[i].discard);
		ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, bad[i].sector, bad[i].sectors,
		                           bad[i].flags),
		                  bad[i].zeroes);
	}
	finish();
}
END_TEST

START_TEST(g64_other_than_one_range)
{
	static const uint32_t lens[] = {1, 15, 17, 32, 512};

	setup();
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		const struct virtq_buf bufs[] = {
		        {BLK_HEADER, 16, false}, {BLK_RANGE, lens[i], false}, {BLK_STATUS, 1, true}};
		const struct virtq_buf none[] = {bufs[0], bufs[2]};

		blk_range(&rig, 0, 8, 0);
		blk_header(&rig, VIRTIO_BLK_T_DISCARD, 0);
		/* BLK_STATUS is 0x100 behind the range: 512 bytes include it, for reading. */
		ck_assert_uint_eq(blk_chain(&rig, bufs, 3, NULL), VIRTIO_BLK_S_IOERR);
		blk_header(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0);
		ck_assert_uint_eq(blk_chain(&rig, bufs, 3, NULL), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(blk_chain(&rig, none, 2, NULL), VIRTIO_BLK_S_IOERR);
	}
	finish();
}
END_TEST

/* Blocks of 4096: 512 is an address, but not a request. */
START_TEST(g60_less_than_a_block)
{
	struct rig_hold hold = {0};
	struct vdb_backend_info info = {
	        .size = sizeof(info), .capacity = SIZE, .block_size = 4096, .ops = 0x3e};
	struct vdb_backend *backend = NULL;

	ck_assert_int_eq(vdb_backend_create(&rig_hold_ops, &hold, &info, &backend), 0);
	blk_rig_open(&rig, backend, 0, BLK_ALL, NULL);
	vdb_backend_destroy(backend);
	arena_begin(rig.v.rig.loop);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, 0, 512, NULL), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, 1, 4096, NULL), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_DISCARD, 4, 8, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(hold.n, 0);
	close_rig();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk_refusals");

	tcase_add_test(tc, g58_short_header);
	tcase_add_test(tc, g50_header_in_writable_memory);
	tcase_add_test(tc, g50_no_status);
	tcase_add_test(tc, g48_status_that_is_no_memory);
	tcase_add_test(tc, g43_data_that_is_no_memory);
	tcase_add_test(tc, g59_beyond_the_end);
	tcase_add_test(tc, g60_odd_lengths);
	tcase_add_test(tc, g60_too_many_segments);
	tcase_add_test(tc, g60_less_than_a_block);
	tcase_add_test(tc, g50_data_on_the_wrong_side);
	tcase_add_test(tc, g61_unknown_types);
	tcase_add_test(tc, g61_types_that_were_not_negotiated);
	tcase_add_test(tc, g62_writes_to_a_read_only_disk);
	tcase_add_test(tc, g63_flush_with_everything);
	tcase_add_test(tc, g64_ranges);
	tcase_add_test(tc, g64_other_than_one_range);
	return test_run("blk_refusals", tc);
}
