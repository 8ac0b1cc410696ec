/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* What is in flight when a queue is taken away, and requests over the rings of their own: G11, G46 with a
 * disk in a file. */
#include <string.h>

#include "arena.h"
#include "blk_rig.h"
#include "run.h"

#define DISK (4u << 20)
#define PIECE 65536u
#define DEPTH 5u

static struct blk_rig rig;
static struct vdb_backend *disk;

static void open_with(uint32_t flags)
{
	disk = arena_file(DISK, 0);
	blk_rig_open(&rig, disk, flags | VDB_VIRTQ_INDIRECT, BLK_ALL, NULL);
	arena_begin(rig.v.rig.loop);
}

static void setup_split(void)
{
	open_with(0);
}

static void setup_packed(void)
{
	open_with(VDB_VIRTQ_PACKED);
}

static void teardown(void)
{
	arena_end();
	blk_rig_close(&rig);
	vdb_backend_destroy(disk);
}

static bool all_are(const uint8_t *bytes, size_t len, uint8_t value)
{
	return bytes[0] == value && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* Reads are on their way; when the lane says that it is gone, nothing of them arrives any more. */
START_TEST(g11_nothing_is_written_after_the_end)
{
	uint8_t *data = vrig_at(&rig.v, BLK_DATA);

	blk_header(&rig, VIRTIO_BLK_T_IN, 0);
	for (uint64_t i = 0; i < DEPTH; i++) {
		const struct virtq_buf bufs[] = {{BLK_HEADER, 16, false},
		                                 {BLK_DATA + PIECE * i, PIECE, true},
		                                 {BLK_STATUS + i, 1, true}};

		ck_assert(virtq_add(&rig.v.d, bufs, 3, i));
	}
	(void)virtq_publish(&rig.v.d);
	rig_turns(&rig.v.rig, (unsigned)_i);
	vrig_stop(&rig.v);
	memset(data, 0xab, (size_t)DEPTH * PIECE);
	memset(vrig_at(&rig.v, VRIG_QUEUE), 0xcd, 0x1000);
	for (unsigned i = 0; i < 4; i++)
		arena_goes_on();
	ck_assert(all_are(data, (size_t)DEPTH * PIECE, 0xab));
	ck_assert(all_are(vrig_at(&rig.v, VRIG_QUEUE), 0x1000, 0xcd));
}
END_TEST

/* Data over the header, the status within the data, data over the rings: what was asked first is done. */
START_TEST(g46_data_over_its_own_header)
{
	const struct virtq_buf over_header[] = {
	        {BLK_HEADER, 16, false}, {BLK_HEADER, 512, true}, {BLK_STATUS, 1, true}};
	const struct virtq_buf over_status[] = {
	        {BLK_HEADER, 16, false}, {BLK_STATUS - 256, 512, true}, {BLK_STATUS, 1, true}};
	uint8_t want[512];

	for (unsigned i = 0; i < 20; i++) {
		arena_read(512 * (uint64_t)i, want, sizeof(want));
		blk_header(&rig, VIRTIO_BLK_T_IN, i);
		ck_assert_uint_eq(blk_chain(&rig, over_header, 3, NULL), VIRTIO_BLK_S_OK);
		ck_assert_mem_eq(vrig_at(&rig.v, BLK_HEADER), want, 512);
		blk_header(&rig, VIRTIO_BLK_T_IN, i);
		ck_assert_uint_eq(blk_chain(&rig, over_status, 3, NULL), VIRTIO_BLK_S_OK);
		ck_assert_mem_eq(vrig_at(&rig.v, BLK_STATUS - 256), want, 256);
	}
}
END_TEST

START_TEST(g46_a_disk_read_over_the_rings)
{
	const struct vdb_virtq_config *c = &rig.v.d.config;
	const vdb_gpa_t where[] = {c->desc, c->driver, c->device};
	const struct virtq_buf bufs[] = {
	        {BLK_HEADER, 16, false}, {where[_i] & ~511ull, 1024, true}, {BLK_STATUS, 1, true}};

	blk_header(&rig, VIRTIO_BLK_T_IN, 3);
	ck_assert(virtq_add(&rig.v.d, bufs, 3, 1));
	(void)virtq_publish(&rig.v.d);
	for (unsigned i = 0; i < 5; i++) {
		rig.v.d.bell(rig.v.d.bell_arg);
		arena_goes_on();
	}
}
END_TEST

static TCase *all(const char *name, void (*setup)(void))
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g11_nothing_is_written_after_the_end, 0, 4);
	tcase_add_test(tc, g46_data_over_its_own_header);
	tcase_add_loop_test(tc, g46_a_disk_read_over_the_rings, 0, 3);
	return tc;
}

int main(void)
{
	return test_run_all("end", 2, (TCase *[]){all("split", setup_split), all("packed", setup_packed)});
}
