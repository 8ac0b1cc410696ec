/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a driver that keeps the ring's rules and no others: random headers in random chains over a disk
 * of memory. Each is answered once, with a status where its last writable byte is, or breaks the queue;
 * the sanitizers watch the disk's ends.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "blk_rig.h"
#include "run.h"

#define SIZE 65536u
#define CHAINS 6000u
#define MAX_BUFS 8u

static struct blk_rig rig;
static struct vdb_backend *backend;
static uint64_t seed = 88172645463325252ull;

static uint32_t below(uint32_t limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11) % limit;
}

static void open_rig(int kind)
{
	static const uint32_t kinds[] = {0, VDB_VIRTQ_INDIRECT | VDB_VIRTQ_EVENT_IDX, VDB_VIRTQ_PACKED,
	                                 VDB_VIRTQ_PACKED | VDB_VIRTQ_INDIRECT | VDB_VIRTQ_IN_ORDER};

	blk_rig_open(&rig, backend, kinds[kind], BLK_ALL,
	             &(struct vdb_blk_config){.max_segments = 4, .write_through = below(2)});
}

/* ---- What a guest may think of ---- */

static uint32_t some_length(void)
{
	static const uint32_t lengths[] = {0,   1,   15,   16,   17,    20,        511,
	                                   512, 513, 1024, 4096, 65536, UINT32_MAX};

	return lengths[below(sizeof(lengths) / sizeof(lengths[0]))];
}

static vdb_gpa_t some_place(void)
{
	switch (below(16)) {
	case 0:
		return VRIG_RAM - below(600); /* over the end */
	case 1:
		return VRIG_RAM + below(1 << 20);
	case 2:
		return ~0ull - below(1024);
	default:
		return BLK_DATA + below(1 << 18);
	}
}

static uint64_t some_sector(void)
{
	switch (below(6)) {
	case 0:
		return ~0ull >> below(16);
	case 1:
		return SIZE / 512 - below(3);
	default:
		return below(SIZE / 512);
	}
}

static void some_header(vdb_gpa_t gpa)
{
	static const uint32_t types[] = {
	        VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT,          VIRTIO_BLK_T_FLUSH,   VIRTIO_BLK_T_GET_ID,
	        VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_SCSI_CMD};
	struct {
		struct virtio_blk_outhdr header;
		struct virtio_blk_discard_write_zeroes range;
	} all = {
	        .header = {.type = htole32(types[below(7)]), .sector = htole64(some_sector())},
	        .range = {.sector = htole64(some_sector()),
	                  .num_sectors = htole32(below(4) ? below(16) : ~0u >> below(31)),
	                  .flags = htole32(below(4))},
	};

	memcpy(vrig_at(&rig.v, gpa), &all, sizeof(all));
}

/* Mostly what could be a request. */
static uint32_t some_chain(struct virtq_buf *bufs)
{
	uint32_t n = 0, nread = below(3), nwrite = below(3);

	some_header(BLK_HEADER);
	if (below(8))
		bufs[n++] = (struct virtq_buf){BLK_HEADER, below(3) ? 16 : 32, false};
	for (; nread; nread--)
		bufs[n++] = (struct virtq_buf){some_place(), some_length(), false};
	for (; nwrite; nwrite--)
		bufs[n++] = (struct virtq_buf){some_place(), some_length(), true};
	if (below(8) || !n)
		bufs[n++] = (struct virtq_buf){BLK_STATUS, 1, true};
	return n;
}

START_TEST(each_is_answered_or_breaks_the_queue)
{
	struct virtq_buf bufs[MAX_BUFS];
	unsigned statuses[3] = {0}, breaks = 0;
	uint64_t cookie;
	uint32_t n, len;
	uint8_t *disk = malloc(SIZE), *status;
	bool done;

	ck_assert_int_eq(vdb_backend_memory(disk, SIZE, &backend), 0);
	open_rig(_i);
	status = vrig_at(&rig.v, BLK_STATUS);
	for (unsigned i = 0; i < CHAINS; i++) {
		n = some_chain(bufs);
		*status = 0xee;
		if (rig.v.d.config.flags & VDB_VIRTQ_INDIRECT && below(2))
			ck_assert(virtq_add_indirect(&rig.v.d, BLK_TABLE, bufs, n, i));
		else
			ck_assert(virtq_add(&rig.v.d, bufs, n, i));
		(void)virtq_publish(&rig.v.d);
		while (!(done = virtq_reap(&rig.v.d, &cookie, &len)) && !rig.v.broken)
			rig_wait(&rig.v.rig);
		if (done) {
			ck_assert_uint_eq(cookie, i);
			ck_assert(bufs[n - 1].gpa != BLK_STATUS || *status < 3);
			statuses[*status % 3] += *status < 3;
			continue;
		}
		breaks++;
		blk_rig_close(&rig);
		open_rig(_i);
		status = vrig_at(&rig.v, BLK_STATUS);
	}
	/* All of it has been seen. */
	ck_assert_uint_gt(statuses[0], CHAINS / 100);
	ck_assert_uint_gt(statuses[1], CHAINS / 100);
	ck_assert_uint_gt(statuses[2], CHAINS / 100);
	ck_assert_uint_gt(breaks, 10);
	blk_rig_close(&rig);
	vdb_backend_destroy(backend);
	free(disk);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk_random");

	tcase_add_loop_test(tc, each_is_answered_or_breaks_the_queue, 0, 4);
	return test_run_within("blk_random", tc, 60);
}
