/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: vdb_io_submit aligned_alloc statx */
/* O_DIRECT and block devices: what their alignment asks for is met, or made good by a buffer. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vdb/error.h>

#include "fail.h"
#include "image.h"
#include "leak.h"
#include "rig.h"
#include "run.h"

#define SIZE (1u << 20)

static char path[64];
static unsigned char bytes[SIZE];
static struct vdb_backend *backend;
static struct rig rig;
static struct rig_guest guest;
static uint64_t longest, ios, cut;

/* Sees what reaches the host; shortens it once to `cut` bytes of its first iovec. */
void __real_vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io);
void __wrap_vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io);
void __wrap_vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io)
{
	static struct iovec clipped;
	uint64_t len = 0;

	if (cut && io->niov) {
		clipped = (struct iovec){io->iov[0].iov_base, cut};
		io->iov = &clipped;
		io->niov = 1;
		cut = 0;
	}
	for (uint32_t i = 0; i < io->niov; i++)
		len += io->iov[i].iov_len;
	longest = len > longest ? len : longest;
	ios++;
	__real_vdb_io_submit(loop, io);
}

/* A host whose O_DIRECT asks for this alignment. */
static uint32_t coarse;

int __real_statx(int dir, const char *name, int flags, unsigned mask, struct statx *stx);
int __wrap_statx(int dir, const char *name, int flags, unsigned mask, struct statx *stx);
int __wrap_statx(int dir, const char *name, int flags, unsigned mask, struct statx *stx)
{
	int rc = __real_statx(dir, name, flags, mask, stx);

	if (!rc && coarse) {
		stx->stx_mask |= STATX_DIOALIGN;
		stx->stx_dio_offset_align = stx->stx_dio_mem_align = coarse;
	}
	return rc;
}

static struct vdb_backend_info open_backend(const char *image, uint32_t flags)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = image, .flags = flags};
	struct vdb_backend_info info = {.size = sizeof(info)};

	ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
	ck_assert_int_eq(vdb_backend_query(backend, &info), 0);
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend, .ram = 4 << 20});
	return info;
}

static struct vdb_backend_info setup(void)
{
	image_make(path, SIZE, 5);
	image_pattern(bytes, SIZE, 5);
	return open_backend(path, VDB_FILE_DIRECT);
}

static void close_backend(void)
{
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}

static void teardown(void)
{
	close_backend();
	unlink(path);
}

static void round_trip(vdb_gpa_t addr, uint32_t len, uint64_t offset)
{
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, addr, len, offset), (int32_t)len);
	ck_assert_mem_eq(rig_at(&guest, addr), bytes + offset, len);
	image_pattern(rig_at(&guest, addr), len, (unsigned)offset + 3);
	memcpy(bytes + offset, rig_at(&guest, addr), len);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, addr, len, offset), (int32_t)len);
	image_check(path, offset, bytes + offset, len);
}

START_TEST(aligned_buffers_go_straight)
{
	struct vdb_backend_info info = setup();

	ck_assert_uint_ge(info.block_size, 512);
	ios = 0;
	round_trip(RIG_DATA, 65536, 8192);
	ck_assert_uint_eq(ios, 2);
	round_trip(RIG_DATA, SIZE, 0);
	ck_assert_uint_eq(ios, 4); /* nothing is copied on the loop's thread: one piece */
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), 0);
	teardown();
}
END_TEST

START_TEST(unaligned_buffers_are_made_good)
{
	setup();
	longest = ios = 0;
	round_trip(RIG_DATA + 3, 200 * 1024, 4096);
	ck_assert_uint_le(longest, 65536);
	ck_assert_uint_ge(ios, 8);
	teardown();
}
END_TEST

START_TEST(unaligned_segments_are_made_good)
{
	const struct vdb_seg segs[] = {
	        {RIG_DATA + 16, 100, 0}, {RIG_DATA + 0x3001, 70000, 0}, {RIG_DATA + 0x30000, 11820, 0}};

	setup();
	rig_submit_sg(&guest, VDB_OP_READ, RIG_DATA + 0x100000, segs, 3, 4096, 1);
	ck_assert_int_eq(rig_reap(&guest).result, 81920);
	for (unsigned i = 0, at = 4096; i < 3; at += segs[i++].len)
		ck_assert_mem_eq(rig_at(&guest, segs[i].addr), bytes + at, segs[i].len);
	for (unsigned i = 0; i < 3; i++)
		image_pattern(rig_at(&guest, segs[i].addr), segs[i].len, i);
	rig_submit_sg(&guest, VDB_OP_WRITE, RIG_DATA + 0x100000, segs, 3, 8192, 1);
	ck_assert_int_eq(rig_reap(&guest).result, 81920);
	for (unsigned i = 0, at = 8192; i < 3; at += segs[i++].len)
		image_check(path, at, rig_at(&guest, segs[i].addr), segs[i].len);
	image_check(path, 8192 + 81920, bytes + 8192 + 81920, 4096);
	teardown();
}
END_TEST

/* The buffer holds a block, however large: else no piece of it would be one. */
START_TEST(blocks_larger_than_the_buffer)
{
	coarse = 128 * 1024;
	ck_assert_uint_eq(setup().block_size, coarse);
	longest = ios = 0;
	round_trip(RIG_DATA + 3, 2 * coarse, coarse);
	ck_assert_uint_eq(longest, coarse);
	ck_assert_uint_eq(ios, 4);
	teardown();
}
END_TEST

/* Short at a block's border, on both ways. */
START_TEST(short_transfers_are_finished)
{
	uint32_t block = setup().block_size;

	cut = block;
	round_trip(RIG_DATA, 16 * block, 0);
	cut = 2 * block;
	round_trip(RIG_DATA + 1, 16 * block, 16 * block);
	image_pattern(rig_at(&guest, RIG_DATA + 7), 65536, 90);
	cut = block;
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA + 7, 65536, 65536), 65536);
	image_check(path, 65536, rig_at(&guest, RIG_DATA + 7), 65536);
	teardown();
}
END_TEST

START_TEST(no_memory_for_a_buffer_fails_the_request)
{
	setup();
	fail_at(1);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA + 1, 4096, 0), -ENOMEM);
	ck_assert_str_eq(fail_what(), "aligned_alloc");
	fail_at(0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA + 1, 4096, 0), 4096);
	teardown();
}
END_TEST

START_TEST(zeroes_and_discards)
{
	static const unsigned char zeroes[8192];

	setup();
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 8192, 4096), 0);
	image_check(path, 4096, zeroes, 8192);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_DISCARD, 0, 8192, 16384), 0);
	image_check(path, 12288, bytes + 12288, 4096);
	teardown();
}
END_TEST

START_TEST(images_that_do_not_fit_direct_io)
{
	struct vdb_file_config config = {.size = sizeof(config),
	                                 .path = "/proc/self/status",
	                                 .flags = VDB_FILE_DIRECT | VDB_FILE_READONLY};
	struct vdb_backend *made = NULL;
	int fds = leak_fds();

	/* Procfs has no O_DIRECT. */
	ck_assert_int_eq(vdb_backend_file(&config, &made), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "O_DIRECT"));
	image_make(path, SIZE, 5);
	ck_assert_int_eq(truncate(path, 8192 + 100), 0);
	config.path = path;
	ck_assert_int_eq(vdb_backend_file(&config, &made), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "not a multiple"));
	ck_assert_ptr_null(made);
	ck_assert_int_eq(leak_fds(), fds);
	unlink(path);
}
END_TEST

/* ---- A block device: a loop device over the image, where one may be made ---- */

static int loop_fd = -1;

static int make_device(char *device, size_t size, uint32_t block)
{
	struct loop_config config = {.block_size = block, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), n, fd, err;

	if (control < 0)
		return -1;
	n = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	(void)snprintf(device, size, "/dev/loop%d", n);
	loop_fd = n < 0 ? -1 : open(device, O_RDWR | O_CLOEXEC);
	if (loop_fd < 0)
		return -1;
	fd = open(path, O_RDWR | O_CLOEXEC);
	config.fd = (unsigned)fd;
	err = ioctl(loop_fd, LOOP_CONFIGURE, &config);
	close(fd);
	if (err)
		close(loop_fd);
	return err;
}

START_TEST(a_block_device_is_a_disk)
{
	static const unsigned char zeroes[8192];
	uint32_t flags = _i & 1 ? VDB_FILE_DIRECT : 0, block = _i & 2 ? 4096 : 512;
	struct vdb_backend_info info;
	char device[32];

	image_make(path, SIZE, 5);
	image_pattern(bytes, SIZE, 5);
	if (make_device(device, sizeof(device), block)) {
		unlink(path);
		test_skipped_part("a block device as an image",
		                  "no loop device may be made here (not root?)");
		return;
	}
	info = open_backend(device, flags);
	ck_assert_uint_eq(info.capacity, SIZE);
	ck_assert_uint_eq(info.block_size, block);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA + 1, 65536, 4096), 65536);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 1), bytes + 4096, 65536);
	image_pattern(rig_at(&guest, RIG_DATA), 65536, 44);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 65536, 8192), 65536);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 8192, 16384), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_DISCARD, 0, 8192, 524288), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, block, SIZE), -ERANGE);
	close_backend();
	image_check(device, 16384, zeroes, 8192);
	close(loop_fd); /* and with it goes the device */
	image_check(path, 16384, zeroes, 8192);
	image_pattern(bytes, 65536, 44);
	image_check(path, 8192, bytes, 8192);
	image_check(path, 24576, bytes + 16384, 65536 - 16384);
	unlink(path);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("direct");

	tcase_add_test(tc, aligned_buffers_go_straight);
	tcase_add_test(tc, unaligned_buffers_are_made_good);
	tcase_add_test(tc, unaligned_segments_are_made_good);
	tcase_add_test(tc, blocks_larger_than_the_buffer);
	tcase_add_test(tc, short_transfers_are_finished);
	tcase_add_test(tc, no_memory_for_a_buffer_fails_the_request);
	tcase_add_test(tc, zeroes_and_discards);
	tcase_add_test(tc, images_that_do_not_fit_direct_io);
	tcase_add_loop_test(tc, a_block_device_is_a_disk, 0, 4);
	return test_run("file_direct", tc);
}
