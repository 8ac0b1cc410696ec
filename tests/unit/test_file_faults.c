/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: vdb_io_submit vdb__io_now */
/* Hosts that do less than they were asked for, or nothing: what the guest sees of it. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vdb/error.h>

#include "image.h"
#include "rig.h"
#include "run.h"

#define SIZE (1u << 20)
#define QUANTUM (256u * 1024)

/* ---- The host: the next operations of a kind go as the script says ---- */

static struct {
	uint32_t op;
	int64_t result; /* <= 0: this instead of the operation. > 0: no more bytes than this */
} script[16];
static unsigned at, lines;
static uint64_t calls[8], longest;

static void say(uint32_t op, int64_t result)
{
	script[lines].op = op;
	script[lines++].result = result;
}

struct fake {
	struct vdb_io *io;
	int64_t result;
};

static void fake_done(void *arg, int status)
{
	struct fake *fake = arg;
	struct fake own = *fake;

	(void)status;
	free(fake);
	own.io->done(own.io, own.result);
}

static void fake_io(struct vdb_loop *loop, struct vdb_io *io, int64_t result)
{
	struct fake *fake = malloc(sizeof(*fake));

	*fake = (struct fake){io, result};
	ck_assert_int_eq(vdb_loop_post(loop, fake_done, fake), 0);
}

/* One at a time: the iovecs must live as long as the operation. */
static struct iovec clipped[1024];

static void clip(struct vdb_io *io, uint64_t max)
{
	uint32_t n = 0;

	for (; n < io->niov && max; n++) {
		clipped[n] = io->iov[n];
		if (clipped[n].iov_len > max)
			clipped[n].iov_len = max;
		max -= clipped[n].iov_len;
	}
	io->iov = clipped;
	io->niov = n;
}

void __real_vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io);
void __wrap_vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io);
void __wrap_vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < io->niov; i++)
		len += io->iov[i].iov_len;
	longest = len > longest ? len : longest;
	calls[io->op]++;
	if (at < lines && script[at].op == io->op) {
		int64_t result = script[at++].result;

		if (result <= 0) {
			fake_io(loop, io, result);
			return;
		}
		clip(io, (uint64_t)result);
	}
	__real_vdb_io_submit(loop, io);
}

/* All goes by way of the script. */
int64_t __wrap_vdb__io_now(struct vdb_loop *loop, int fd, const struct iovec *iov, uint32_t niov,
                           uint64_t offset);
int64_t __wrap_vdb__io_now(struct vdb_loop *loop, int fd, const struct iovec *iov, uint32_t niov,
                           uint64_t offset)
{
	(void)loop;
	(void)fd;
	(void)iov;
	(void)niov;
	(void)offset;
	return -EOPNOTSUPP;
}

/* ---- */

static char path[64];
static unsigned char bytes[SIZE];
static struct vdb_backend *backend;
static struct rig rig;
static struct rig_guest guest;

static void open_backend(const char *image, uint32_t flags)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = image, .flags = flags};

	ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
}

static void setup(void)
{
	image_make(path, SIZE, 5);
	image_pattern(bytes, SIZE, 5);
	open_backend(path, 0);
}

static void close_backend(void)
{
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
	ck_assert_uint_eq(at, lines);
}

static void teardown(void)
{
	close_backend();
	unlink(path);
}

static void submit_scattered(uint8_t op, uint64_t user_data)
{
	const struct vdb_seg segs[] = {
	        {RIG_DATA + 1, 1000, 0}, {RIG_DATA + 0x1000, 3, 0}, {RIG_DATA + 0x2000, 3093, 0}};

	rig_submit_sg(&guest, op, RIG_DATA + 0x4000, segs, 3, 8192, user_data);
}

START_TEST(short_reads_are_finished)
{
	setup();
	say(VDB_IO_READV, 1);
	say(VDB_IO_READV, 999);
	say(VDB_IO_READV, 2);
	say(VDB_IO_READV, 500);
	submit_scattered(VDB_OP_READ, 1);
	ck_assert_int_eq(rig_reap(&guest).result, 4096);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 1), bytes + 8192, 1000);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 0x1000), bytes + 9192, 3);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 0x2000), bytes + 9195, 3093);
	teardown();
}
END_TEST

START_TEST(short_writes_are_finished)
{
	setup();
	image_pattern(rig_at(&guest, RIG_DATA), 0x3000, 77);
	say(VDB_IO_WRITEV, 7);
	say(VDB_IO_WRITEV, 1000);
	submit_scattered(VDB_OP_WRITE, 1);
	ck_assert_int_eq(rig_reap(&guest).result, 4096);
	image_check(path, 8192, rig_at(&guest, RIG_DATA + 1), 1000);
	image_check(path, 9192, rig_at(&guest, RIG_DATA + 0x1000), 3);
	image_check(path, 9195, rig_at(&guest, RIG_DATA + 0x2000), 3093);
	image_check(path, 8192 + 4096, bytes + 8192 + 4096, 4096);
	teardown();
}
END_TEST

START_TEST(no_progress_is_an_error)
{
	setup();
	say(VDB_IO_READV, 0);
	say(VDB_IO_WRITEV, 0);
	say(VDB_IO_READV, 512);
	say(VDB_IO_READV, 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 4096, 0), -EIO);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 4096, 0), -ENOSPC);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 4096, 0), -EIO);
	teardown();
}
END_TEST

START_TEST(an_error_fails_that_request_only)
{
	setup();
	say(VDB_IO_READV, -EIO);
	say(VDB_IO_WRITEV, -EDQUOT);
	say(VDB_IO_WRITEV, 1024);
	say(VDB_IO_WRITEV, -ENOSPC);
	say(VDB_IO_FALLOCATE, -EIO);
	say(VDB_IO_FALLOCATE, -ENOSPC);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 4096, 0), -EIO);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 4096, 0), -EDQUOT);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 4096, 0), -ENOSPC);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_DISCARD, 0, 4096, 0), -EIO);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 4096, 0), -ENOSPC);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 4096, 4096), 4096);
	teardown();
}
END_TEST

/* On failure and on short I/O every page that may have been touched is dirty. */
START_TEST(failed_reads_leave_their_pages_dirty)
{
	uint64_t map[8];

	setup();
	ck_assert_int_eq(vdb_mem_dirty_start(guest.ram.mem), 0);
	say(VDB_IO_READV, 4096);
	say(VDB_IO_READV, -EIO);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 16384, 0), -EIO);
	ck_assert_int_ge(vdb_mem_dirty_harvest(guest.ram.mem, 0, RIG_RAM, map), 5);
	ck_assert_uint_eq(map[1] & 0x1f, 0xf); /* RIG_DATA is page 64 */
	vdb_mem_dirty_stop(guest.ram.mem);
	teardown();
}
END_TEST

/* ---- FLUSH ---- */

START_TEST(a_failed_flush_is_for_good)
{
	setup();
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), 0);
	say(VDB_IO_FDATASYNC, -EIO);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), -EIO);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 512, 0), 512);
		ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), -EIO);
	}
	/* The kernel was not asked again: it might say yes. */
	ck_assert_uint_eq(calls[VDB_IO_FDATASYNC], 2);
	teardown();
}
END_TEST

/* The kernel tells of a lost page once: whoever runs beside or behind must not succeed. */
START_TEST(flushes_behind_a_failed_one_fail)
{
	setup();
	say(VDB_IO_FDATASYNC, -EIO);
	for (unsigned i = 0; i < 5; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_FLUSH, 0, 0, 0, i));
	(void)vdb_guest_submit(&guest.m.g);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(rig_reap(&guest).result, -EIO);
	ck_assert_uint_eq(calls[VDB_IO_FDATASYNC], 1);
	teardown();
}
END_TEST

START_TEST(flushes_that_wait_share_one)
{
	setup();
	for (unsigned i = 0; i < 20; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_FLUSH, 0, 0, 0, i));
	(void)vdb_guest_submit(&guest.m.g);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(rig_reap(&guest).result, 0);
	ck_assert_uint_eq(calls[VDB_IO_FDATASYNC], 2);
	teardown();
}
END_TEST

START_TEST(a_cancelled_flush_is_not_for_good)
{
	setup();
	say(VDB_IO_FDATASYNC, -ECANCELED);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), -ECANCELED);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), 0);
	teardown();
}
END_TEST

/* ---- File systems that lack fallocate modes ---- */

static const unsigned char zeroes[SIZE];

START_TEST(discard_is_advice)
{
	setup();
	say(VDB_IO_FALLOCATE, -EOPNOTSUPP);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_DISCARD, 0, 4096, 0), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_DISCARD, 0, 4096, 0), 0);
	ck_assert_uint_eq(calls[VDB_IO_FALLOCATE], 1); /* learnt */
	image_check(path, 0, bytes, 4096);
	teardown();
}
END_TEST

START_TEST(zeroes_by_a_hole)
{
	setup();
	say(VDB_IO_FALLOCATE, -EOPNOTSUPP);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 8192, 512), 0);
	image_check(path, 512, zeroes, 8192);
	image_check(path, 8704, bytes + 8704, 512);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 512, 0), 0);
	ck_assert_uint_eq(calls[VDB_IO_FALLOCATE], 3);
	ck_assert_uint_eq(calls[VDB_IO_WRITEV], 0);
	teardown();
}
END_TEST

START_TEST(zeroes_by_writing)
{
	setup();
	say(VDB_IO_FALLOCATE, -EOPNOTSUPP);
	say(VDB_IO_FALLOCATE, -ENOSYS);
	say(VDB_IO_WRITEV, 1000);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, SIZE / 2, 512), 0);
	image_check(path, 512, zeroes, SIZE / 2);
	image_check(path, 0, bytes, 512);
	image_check(path, SIZE / 2 + 512, bytes + SIZE / 2 + 512, 4096);
	ck_assert_uint_eq(calls[VDB_IO_FALLOCATE], 2);
	ck_assert_uint_ge(calls[VDB_IO_WRITEV], 8);
	say(VDB_IO_WRITEV, -ENOSPC);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 512, 0), -ENOSPC);
	ck_assert_uint_eq(calls[VDB_IO_FALLOCATE], 2);
	teardown();
}
END_TEST

/* What the length does not show is charged all the same. */
START_TEST(written_zeroes_are_charged)
{
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};
	struct vdb_tenant *tenant;
	struct rig_guest other;

	setup();
	ck_assert_int_eq(vdb_tenant_create(rig.loop, &tenant), 0);
	rig_join(&rig, &other, &(struct rig_guest_config){.backend = backend, .lane.tenant = tenant});
	ck_assert_int_eq(rig_do(&other, VDB_OP_WRITE_ZEROES, 0, SIZE, 0), 0);
	ck_assert_int_eq(vdb_tenant_stats(tenant, &stats), 0);
	ck_assert_uint_eq(stats.bytes, 0);
	say(VDB_IO_FALLOCATE, -EOPNOTSUPP);
	say(VDB_IO_FALLOCATE, -EOPNOTSUPP);
	ck_assert_int_eq(rig_do(&other, VDB_OP_WRITE_ZEROES, 0, SIZE, 0), 0);
	ck_assert_int_eq(vdb_tenant_stats(tenant, &stats), 0);
	ck_assert_uint_eq(stats.bytes, SIZE);
	ck_assert_uint_eq(stats.requests, 2);
	rig_leave(&other);
	vdb_tenant_destroy(tenant);
	teardown();
}
END_TEST

/* ---- Long requests ---- */

START_TEST(long_requests_go_in_chunks)
{
	struct vdb_seg segs[3] = {{RIG_DATA, 600 * 1024, 0}, {RIG_DATA + 600 * 1024, 512, 0}};

	setup();
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, SIZE, 0), SIZE);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA), bytes, SIZE);
	ck_assert_uint_le(longest, QUANTUM);
	ck_assert_uint_ge(calls[VDB_IO_READV], 4);
	image_pattern(rig_at(&guest, RIG_DATA), SIZE, 9);
	segs[2] = (struct vdb_seg){RIG_DATA + 600 * 1024 + 512, SIZE - 600 * 1024 - 512, 0};
	rig_submit_sg(&guest, VDB_OP_WRITE, RIG_DATA + SIZE, segs, 3, 0, 1);
	ck_assert_int_eq(rig_reap(&guest).result, SIZE);
	image_check(path, 0, rig_at(&guest, RIG_DATA), SIZE);
	ck_assert_uint_le(longest, QUANTUM);
	teardown();
}
END_TEST

/* ---- Without a script ---- */

START_TEST(an_image_that_shrank)
{
	setup();
	ck_assert_int_eq(truncate(path, 4096), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 8192, 0), -EIO);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 8192), -EIO);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 4096, 0), 4096);
	teardown();
}
END_TEST

START_TEST(nothing_makes_the_image_longer)
{
	setup();
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 1024, SIZE - 512), -ERANGE);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 1024, SIZE - 512), -ERANGE);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_DISCARD, 0, SIZE, 512), -ERANGE);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 512, SIZE - 512), 512);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, SIZE, 0), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_DISCARD, 0, SIZE, 0), 0);
	ck_assert_uint_eq(image_size(path), SIZE);
	ck_assert_uint_eq(calls[VDB_IO_WRITEV], 1);
	teardown();
}
END_TEST

START_TEST(a_read_only_image_is_read)
{
	image_make(path, SIZE, 5);
	image_pattern(bytes, SIZE, 5);
	open_backend(path, VDB_FILE_READONLY);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 4096, 4096), 4096);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA), bytes + 4096, 4096);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 512, 0), -EROFS);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 512, 0), -EROFS);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), 0);
	teardown();
}
END_TEST

/* A sparse image on a disk that is too small for it. The mount is this process's only. */
START_TEST(a_full_disk)
{
	char dir[] = "/tmp/vdb-full-XXXXXX", image[64];
	int fd, full = 0;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", dir, "tmpfs", 0, "size=256k")) {
		rmdir(dir);
		test_skipped_part("a disk that is full", "no file system may be mounted here (not root?)");
		return;
	}
	(void)snprintf(image, sizeof(image), "%s/image", dir);
	fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	close(fd);
	open_backend(image, 0);
	for (unsigned i = 0; i < SIZE / 65536; i++) {
		int32_t result = rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 65536, i * 65536);

		ck_assert(result == 65536 || result == -ENOSPC);
		full += result < 0;
	}
	ck_assert_int_ge(full, 12);
	/* DISCARD makes room. */
	ck_assert_int_eq(rig_do(&guest, VDB_OP_DISCARD, 0, SIZE, 0), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 65536, 65536), 65536);
	close_backend();
	umount(dir);
	rmdir(dir);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("faults");

	tcase_add_test(tc, short_reads_are_finished);
	tcase_add_test(tc, short_writes_are_finished);
	tcase_add_test(tc, no_progress_is_an_error);
	tcase_add_test(tc, an_error_fails_that_request_only);
	tcase_add_test(tc, failed_reads_leave_their_pages_dirty);
	tcase_add_test(tc, a_failed_flush_is_for_good);
	tcase_add_test(tc, flushes_behind_a_failed_one_fail);
	tcase_add_test(tc, flushes_that_wait_share_one);
	tcase_add_test(tc, a_cancelled_flush_is_not_for_good);
	tcase_add_test(tc, discard_is_advice);
	tcase_add_test(tc, zeroes_by_a_hole);
	tcase_add_test(tc, zeroes_by_writing);
	tcase_add_test(tc, written_zeroes_are_charged);
	tcase_add_test(tc, long_requests_go_in_chunks);
	tcase_add_test(tc, an_image_that_shrank);
	tcase_add_test(tc, nothing_makes_the_image_longer);
	tcase_add_test(tc, a_read_only_image_is_read);
	tcase_add_test(tc, a_full_disk);
	return test_run("file_faults", tc);
}
