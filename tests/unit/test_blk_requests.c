/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* Every request of virtio-blk, on every backend and kind of ring, with its data and used length. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>

#include "blk_rig.h"
#include "image.h"
#include "run.h"

#define SIZE (256u * 1024)
#define SECTORS (SIZE / 512)

enum { MEMORY, FILE_BACKEND, FILE_DIRECT, BACKENDS };
#define RINGS 2 /* split, packed */
#define CASES (BACKENDS * RINGS)

static struct blk_rig rig;
static uint8_t *disk, want[SIZE];
static char path[64];

static struct vdb_backend *open_file(uint32_t flags)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = path, .flags = flags};
	struct vdb_backend *backend = NULL;

	ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
	return backend;
}

static struct vdb_backend *open_kind(int kind)
{
	struct vdb_backend *backend = NULL;

	image_pattern(want, SIZE, 3);
	image_make(path, SIZE, 3);
	disk = malloc(SIZE);
	ck_assert_ptr_nonnull(disk);
	memcpy(disk, want, SIZE);
	if (kind != MEMORY)
		return open_file(kind == FILE_DIRECT ? VDB_FILE_DIRECT : 0);
	ck_assert_int_eq(vdb_backend_memory(disk, SIZE, &backend), 0);
	return backend;
}

static void open_case(int i, uint64_t features, const struct vdb_blk_config *with)
{
	struct vdb_backend *backend = open_kind(i % BACKENDS);

	blk_rig_open(&rig, backend,
	             VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_INDIRECT | (i / BACKENDS ? VDB_VIRTQ_PACKED : 0),
	             features, with);
	vdb_backend_destroy(backend);
}

/* The whole disk is as it should be. */
static void close_case(int i)
{
	blk_rig_close(&rig);
	if (i % BACKENDS == MEMORY)
		ck_assert(!memcmp(disk, want, SIZE));
	else
		image_check(path, 0, want, SIZE);
	ck_assert_uint_eq(image_size(path), SIZE);
	free(disk);
	unlink(path);
}

START_TEST(sectors_are_read)
{
	uint32_t used;

	open_case(_i, BLK_ALL, NULL);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, 0, 4096, &used), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used, 4097);
	ck_assert(!memcmp(vrig_at(&rig.v, BLK_DATA), want, 4096));
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, SECTORS - 8, 4096, &used), VIRTIO_BLK_S_OK);
	ck_assert(!memcmp(vrig_at(&rig.v, BLK_DATA), want + SIZE - 4096, 4096));
	close_case(_i);
}
END_TEST

START_TEST(sectors_are_written)
{
	uint32_t used;

	open_case(_i, BLK_ALL, NULL);
	for (uint64_t sector = 0; sector < SECTORS; sector += 128) {
		image_pattern(vrig_at(&rig.v, BLK_DATA), 8192, (unsigned)sector + 7);
		image_pattern(want + sector * 512, 8192, (unsigned)sector + 7);
		ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, sector, 8192, &used), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(used, 1);
	}
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_FLUSH, 0, 0, &used), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used, 1);
	close_case(_i);
}
END_TEST

START_TEST(ranges_are_zeroed)
{
	open_case(_i, BLK_ALL, NULL);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 8, 16, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(
	        blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, SECTORS - 8, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
	        VIRTIO_BLK_S_OK);
	memset(want + 8 * 512, 0, 16 * 512);
	memset(want + SIZE - 8 * 512, 0, 8 * 512);
	close_case(_i);
}
END_TEST

/* What a discarded range reads as is the backend's affair; what is beside it is not. */
START_TEST(ranges_are_discarded)
{
	open_case(_i, BLK_ALL, NULL);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_DISCARD, 16, 16, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, 16, 8192, NULL), VIRTIO_BLK_S_OK);
	memcpy(want + 16 * 512, vrig_at(&rig.v, BLK_DATA), 8192);
	close_case(_i);
}
END_TEST

START_TEST(g61_the_id_short_and_long)
{
	static const struct {
		uint32_t room, used;
	} cases[] = {{20, 21}, {5, 6}, {64, 20}}; /* not all of 64 is written: the status does not count */
	const char id[20] = "disk seven";
	uint8_t *data;
	uint32_t used;

	open_case(_i, BLK_ALL, &(struct vdb_blk_config){.serial = "disk seven"});
	data = vrig_at(&rig.v, BLK_DATA);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(data, 0xaa, 64);
		ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_GET_ID, 0, cases[i].room, &used),
		                  VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(used, cases[i].used);
		ck_assert(!memcmp(data, id, cases[i].room < 20 ? cases[i].room : 20));
		ck_assert_uint_eq(data[cases[i].room < 20 ? cases[i].room : 20], 0xaa);
	}
	close_case(_i);
}
END_TEST

/* Header, data and status are two runs of bytes, however they are cut. */
START_TEST(g58_any_layout_will_do)
{
	const struct virtq_buf cut[] = {
	        {BLK_HEADER, 1, false}, {BLK_HEADER + 1, 14, false}, {BLK_HEADER + 15, 1, false},
	        {BLK_DATA, 1, false},   {BLK_DATA + 1, 700, false},  {BLK_DATA + 701, 323, false},
	        {BLK_STATUS, 1, true},
	};
	const struct virtq_buf merged_out[] = {{BLK_DATA - 16, 16 + 1024, false}, {BLK_STATUS, 1, true}};
	const struct virtq_buf merged_in[] = {{BLK_HEADER, 16, false}, {BLK_STATUS - 1024, 1025, true}};
	const struct virtq_buf cut_in[] = {
	        {BLK_HEADER, 9, false},      {BLK_HEADER + 9, 7, false}, {BLK_DATA, 100, true},
	        {BLK_DATA + 100, 412, true}, {BLK_STATUS, 1, true},
	};
	const struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_OUT, .sector = 10};
	uint32_t used;

	open_case(_i, BLK_ALL, NULL);
	image_pattern(vrig_at(&rig.v, BLK_DATA), 1024, 50);
	image_pattern(want + 4 * 512, 1024, 50);
	blk_header(&rig, VIRTIO_BLK_T_OUT, 4);
	ck_assert_uint_eq(blk_chain(&rig, cut, 7, NULL), VIRTIO_BLK_S_OK);

	image_pattern(vrig_at(&rig.v, BLK_DATA), 1024, 51);
	image_pattern(want + 10 * 512, 1024, 51);
	memcpy(vrig_at(&rig.v, BLK_DATA - 16), &header, sizeof(header));
	ck_assert_uint_eq(blk_chain(&rig, merged_out, 2, NULL), VIRTIO_BLK_S_OK);

	blk_header(&rig, VIRTIO_BLK_T_IN, 10);
	ck_assert_uint_eq(blk_chain(&rig, merged_in, 2, &used), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used, 1025);
	ck_assert(!memcmp(vrig_at(&rig.v, BLK_STATUS - 1024), want + 10 * 512, 1024));

	blk_header(&rig, VIRTIO_BLK_T_IN, 4);
	ck_assert_uint_eq(blk_chain(&rig, cut_in, 5, &used), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used, 513);
	ck_assert(!memcmp(vrig_at(&rig.v, BLK_DATA), want + 4 * 512, 512));
	close_case(_i);
}
END_TEST

START_TEST(a_table_of_segments_will_do)
{
	struct virtq_buf bufs[40];
	uint64_t cookie;

	open_case(_i, BLK_ALL, NULL);
	blk_header(&rig, VIRTIO_BLK_T_IN, 64);
	bufs[0] = (struct virtq_buf){BLK_HEADER, 16, false};
	for (unsigned i = 0; i < 14; i++)
		bufs[1 + i] = (struct virtq_buf){BLK_DATA + i * 4096, 512, true};
	bufs[15] = (struct virtq_buf){BLK_STATUS, 1, true};
	ck_assert(virtq_add_indirect(&rig.v.d, BLK_TABLE, bufs, 16, 1));
	(void)virtq_publish(&rig.v.d);
	ck_assert_uint_eq(vrig_reap(&rig.v, &cookie), 14 * 512 + 1);
	for (unsigned i = 0; i < 14; i++)
		ck_assert(!memcmp(vrig_at(&rig.v, BLK_DATA + i * 4096), want + (64 + i) * 512, 512));
	close_case(_i);
}
END_TEST

START_TEST(many_at_once_come_back_each_with_its_own)
{
	uint64_t cookie;

	open_case(_i, BLK_ALL, NULL);
	for (uint32_t i = 0; i < 5; i++) {
		const struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_IN, .sector = 32 * i};
		const struct virtq_buf bufs[] = {
		        {BLK_HEADER + 32 * i, 16, false},
		        {BLK_DATA + 16384 * i, 16384, true},
		        {BLK_STATUS + i, 1, true},
		};

		memcpy(vrig_at(&rig.v, BLK_HEADER + 32 * i), &header, sizeof(header));
		*(uint8_t *)vrig_at(&rig.v, BLK_STATUS + i) = 0xee;
		ck_assert(virtq_add(&rig.v.d, bufs, 3, i));
	}
	(void)virtq_publish(&rig.v.d);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_uint_eq(vrig_reap(&rig.v, &cookie), 16385);
		ck_assert_uint_eq(*(uint8_t *)vrig_at(&rig.v, BLK_STATUS + cookie), VIRTIO_BLK_S_OK);
		ck_assert(!memcmp(vrig_at(&rig.v, BLK_DATA + 16384 * cookie), want + 16384 * cookie, 16384));
	}
	close_case(_i);
}
END_TEST

START_TEST(the_null_backend_serves_all)
{
	struct vdb_backend *backend = NULL;
	uint32_t used;

	ck_assert_int_eq(vdb_backend_null(SIZE, &backend), 0);
	blk_rig_open(&rig, backend, 0, BLK_ALL, NULL);
	vdb_backend_destroy(backend);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_IN, 0, 4096, &used), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(used, 4097);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, 0, 4096, &used), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_FLUSH, 0, 0, &used), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(blk_zero(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_OK);
	blk_rig_close(&rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk_requests");

	tcase_add_loop_test(tc, sectors_are_read, 0, CASES);
	tcase_add_loop_test(tc, sectors_are_written, 0, CASES);
	tcase_add_loop_test(tc, ranges_are_zeroed, 0, CASES);
	tcase_add_loop_test(tc, ranges_are_discarded, 0, CASES);
	tcase_add_loop_test(tc, g61_the_id_short_and_long, 0, CASES);
	tcase_add_loop_test(tc, g58_any_layout_will_do, 0, CASES);
	tcase_add_loop_test(tc, a_table_of_segments_will_do, 0, CASES);
	tcase_add_loop_test(tc, many_at_once_come_back_each_with_its_own, 0, CASES);
	tcase_add_test(tc, the_null_backend_serves_all);
	return test_run("blk_requests", tc);
}
