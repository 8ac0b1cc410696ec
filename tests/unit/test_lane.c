/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* What each op does to memory and disk, over the whole path: ring, lane, backend. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>

#include "rig.h"
#include "run.h"

#define DISK (256u * 1024)

static unsigned char disk[DISK];
static struct vdb_backend *backend;
static struct rig rig;
static struct rig_guest guest;

/* ---- The same ops on a memory and on a file backend: case 0 and 1 ---- */

static char image[] = "/tmp/vdb-test-XXXXXX";

static void pattern(void *to, size_t len, unsigned seed)
{
	unsigned char *bytes = to;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(seed + i * 7 + (i >> 8));
}

static int open_image(void)
{
	int fd;

	strcpy(image + sizeof(image) - 7, "XXXXXX");
	fd = mkstemp(image);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, disk, DISK), DISK);
	ck_assert_int_eq(unlink(image), 0);
	return fd;
}

static int file = -1;

static void setup(int kind)
{
	struct vdb_file_config config = {.size = sizeof(config)};

	pattern(disk, DISK, 1);
	if (kind == 0) {
		ck_assert_int_eq(vdb_backend_memory(disk, DISK, &backend), 0);
	} else {
		file = config.fd = open_image();
		ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
	}
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
}

static void teardown(void)
{
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
	if (file >= 0)
		close(file);
	file = -1;
}

/* What is on the disk now. */
static void check_disk(uint64_t offset, const void *bytes, size_t len)
{
	unsigned char now[8192];

	ck_assert_uint_le(len, sizeof(now));
	if (file >= 0)
		ck_assert_int_eq(pread(file, now, len, (off_t)offset), (ssize_t)len);
	else
		memcpy(now, disk + offset, len);
	ck_assert_mem_eq(now, bytes, len);
}

START_TEST(read_brings_the_disk_into_memory)
{
	setup(_i);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA + 3, 4096, 1024), 4096);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 3), disk + 1024, 4096);
	teardown();
}
END_TEST

START_TEST(write_brings_memory_to_the_disk)
{
	setup(_i);
	pattern(rig_at(&guest, RIG_DATA), 4096, 99);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 4096, DISK - 4096), 4096);
	check_disk(DISK - 4096, rig_at(&guest, RIG_DATA), 4096);
	check_disk(DISK - 8192, disk + DISK - 8192, 4096);
	teardown();
}
END_TEST

START_TEST(write_zeroes_makes_zeroes)
{
	static const unsigned char zeroes[1536];

	setup(_i);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 1536, 512), 0);
	check_disk(512, zeroes, 1536);
	check_disk(0, disk, 512);
	check_disk(2048, disk + 2048, 512);
	teardown();
}
END_TEST

START_TEST(flush_and_discard_succeed)
{
	setup(_i);
	/* FLUSH concerns no bytes: what is in the fields does not matter. */
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 1, 3, UINT64_MAX), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_DISCARD, 0, 4096, 4096), 0);
	check_disk(0, disk, 4096);
	check_disk(8192, disk + 8192, 4096);
	teardown();
}
END_TEST

START_TEST(segments_are_gathered_and_scattered)
{
	struct vdb_seg segs[] = {{RIG_DATA + 0x100, 300, 0}, {RIG_DATA + 0x1000, 724, 0}};
	struct vdb_seg many[40];
	struct vdb_cqe cqe;

	setup(_i);
	rig_submit_sg(&guest, VDB_OP_READ, RIG_DATA + 0x20000, segs, 2, 2048, 5);
	cqe = rig_reap(&guest);
	ck_assert_int_eq(cqe.result, 1024);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 0x100), disk + 2048, 300);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 0x1000), disk + 2348, 724);
	for (unsigned i = 0; i < 40; i++)
		many[i] = (struct vdb_seg){RIG_DATA + 0x30000 + (39 - i) * 512, 512, 0};
	for (unsigned i = 0; i < 40; i++)
		pattern(rig_at(&guest, many[i].addr), 512, i);
	rig_submit_sg(&guest, VDB_OP_WRITE, RIG_DATA + 0x20000, many, 40, 65536, 6);
	cqe = rig_reap(&guest);
	ck_assert_int_eq(cqe.result, 40 * 512);
	for (unsigned i = 0; i < 40; i++)
		check_disk(65536 + i * 512, rig_at(&guest, many[i].addr), 512);
	teardown();
}
END_TEST

/* ---- What needs no disk ---- */

START_TEST(nop_does_nothing)
{
	setup(0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_NOP, UINT64_MAX, 77, UINT64_MAX), 0);
	teardown();
}
END_TEST

START_TEST(fill_and_copy_work_inside_memory)
{
	unsigned char expected[5000];

	setup(0);
	memset(expected, 0x5a, sizeof(expected));
	/* Only the low byte of offset counts. */
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FILL, RIG_DATA + 1, 5000, 0xffffff5a), 0);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 1), expected, 5000);
	pattern(rig_at(&guest, RIG_DATA), 5000, 3);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_COPY, RIG_DATA + 0x8001, 5000, RIG_DATA), 0);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 0x8001), rig_at(&guest, RIG_DATA), 5000);
	teardown();
}
END_TEST

START_TEST(copy_scatters_one_source)
{
	struct vdb_seg segs[] = {{RIG_DATA + 0x8000, 1000, 0},
	                         {RIG_DATA + 0x9003, 3000, 0},
	                         {RIG_DATA + 0xa000, 1, 0},
	                         {RIG_DATA + 0xa100, 99, 0},
	                         {RIG_DATA + 0xb000, 900, 0}};

	setup(0);
	pattern(rig_at(&guest, RIG_DATA), 5000, 17);
	for (uint16_t n = 2; n <= 5; n += 3) {
		rig_submit_sg(&guest, VDB_OP_COPY, RIG_DATA + 0x20000, segs, n, RIG_DATA, 1);
		ck_assert_int_eq(rig_reap(&guest).result, 0);
		for (unsigned i = 0, at = 0; i < n; at += segs[i++].len)
			ck_assert_mem_eq(rig_at(&guest, segs[i].addr), rig_at(&guest, RIG_DATA + at),
			                 segs[i].len);
	}
	teardown();
}
END_TEST

START_TEST(empty_requests_succeed)
{
	setup(0);
	for (uint8_t op = VDB_OP_READ; op <= VDB_OP_FILL; op++)
		ck_assert_int_eq(rig_do(&guest, op, UINT64_MAX, 0, 0), 0);
	teardown();
}
END_TEST

START_TEST(null_backend_answers_everything)
{
	rig_open(&rig, NULL);
	ck_assert_int_eq(vdb_backend_null(1 << 30, &backend), 0);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	memset(rig_at(&guest, RIG_DATA), 0x77, 512);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 512), 512);
	ck_assert_uint_eq(*(uint8_t *)rig_at(&guest, RIG_DATA), 0x77);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 512, 512), 512);
	for (uint8_t op = VDB_OP_FLUSH; op <= VDB_OP_FILL; op++)
		ck_assert_int_eq(rig_do(&guest, op, RIG_DATA, 512, RIG_DATA + 512), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_USER, RIG_DATA, 512, 512), 0);
	ck_assert_int_eq(rig_do(&guest, 255, RIG_DATA, 0, 512), 0);
	teardown();
}
END_TEST

START_TEST(the_device_line_names_the_backend)
{
	const struct vdb_ring *ring;

	setup(0);
	ring = rig_at(&guest, RIG_RING);
	ck_assert_uint_eq(ring->device.capacity, DISK);
	ck_assert_uint_eq(ring->device.block_size, 512);
	ck_assert_uint_eq(ring->device.ops, 0xff);
	teardown();
}
END_TEST

START_TEST(counters_count)
{
	struct vdb_lane_stats before, now;

	setup(0);
	before = rig_stats(&guest);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 1024, 0), 1024);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 512, 0), 512);
	ck_assert_int_lt(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 511, 0), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_DISCARD, 0, 512, 0), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 512, 0), 0);
	now = rig_stats(&guest);
	ck_assert_uint_eq(now.state, VDB_RING_READY);
	ck_assert_uint_eq(now.requests - before.requests, 6);
	ck_assert_uint_eq(now.completions - before.completions, 6);
	ck_assert_uint_eq(now.flushes, 1);
	ck_assert_uint_eq(now.discards, 1);
	ck_assert_uint_eq(now.zeroes, 1);
	ck_assert_uint_eq(now.errors - before.errors, 1);
	ck_assert_uint_eq(now.bytes_read, 1024);
	ck_assert_uint_eq(now.bytes_written, 512);
	ck_assert_uint_eq(now.inflight, 0);
	ck_assert_uint_ge(now.kicks + now.poll_hits, 1);
	ck_assert_uint_ge(now.visits, 3);
	ck_assert_uint_eq(now.broken, 0);
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("lane");

	tcase_add_loop_test(tc, read_brings_the_disk_into_memory, 0, 2);
	tcase_add_loop_test(tc, write_brings_memory_to_the_disk, 0, 2);
	tcase_add_loop_test(tc, write_zeroes_makes_zeroes, 0, 2);
	tcase_add_loop_test(tc, flush_and_discard_succeed, 0, 2);
	tcase_add_loop_test(tc, segments_are_gathered_and_scattered, 0, 2);
	tcase_add_test(tc, nop_does_nothing);
	tcase_add_test(tc, fill_and_copy_work_inside_memory);
	tcase_add_test(tc, copy_scatters_one_source);
	tcase_add_test(tc, empty_requests_succeed);
	tcase_add_test(tc, null_backend_answers_everything);
	tcase_add_test(tc, the_device_line_names_the_backend);
	tcase_add_test(tc, counters_count);
	return test_run("lane", tc);
}
