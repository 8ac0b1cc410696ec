/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* FAULTS */
/* WRAP: aligned_alloc */
/* A disk that fails, answers late in pieces, or is full: F1 to F5, F7 and F8. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vdb/error.h>

#include "blk_rig.h"
#include "fail.h"
#include "fault.h"
#include "image.h"
#include "run.h"

#define SIZE (1u << 20)

static char path[64];
static unsigned char bytes[SIZE];
static const unsigned char zeroes[SIZE];
static struct vdb_backend *backend;
static struct rig rig;
static struct rig_guest guest, other;

static void open_file(const char *image, uint32_t flags)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = image, .flags = flags};

	ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
}

/* Two guests on one disk: what happens to one request happens to nobody else's. */
static void open_backend(const char *image, uint32_t flags)
{
	open_file(image, flags);
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	rig_join(&rig, &other, &(struct rig_guest_config){.backend = backend});
}

static void close_backend(void)
{
	rig_leave(&other);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
	ck_assert_uint_eq(fault_left(), 0);
}

static void setup_with(uint32_t flags)
{
	image_make(path, SIZE, 5);
	image_pattern(bytes, SIZE, 5);
	open_backend(path, flags);
}

static void setup(void)
{
	setup_with(0);
}

static void teardown(void)
{
	close_backend();
	unlink(path);
}

static int32_t ask(uint8_t op, uint32_t len, uint64_t offset)
{
	return rig_do(&guest, op, op == VDB_OP_READ || op == VDB_OP_WRITE ? RIG_DATA : 0, len, offset);
}

/* The guest whose request failed, and the other one, are served as before. */
static void all_is_well(void)
{
	ck_assert_uint_eq(fault_left(), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 4096, SIZE - 4096), 4096);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA), bytes + SIZE - 4096, 4096);
	ck_assert_int_eq(rig_do(&other, VDB_OP_READ, RIG_DATA, 4096, SIZE - 4096), 4096);
	ck_assert_mem_eq(rig_at(&other, RIG_DATA), bytes + SIZE - 4096, 4096);
	ck_assert_uint_eq(guest.broken + other.broken, 0);
}

/* ---- F1: no room ---- */

START_TEST(f1_no_room_fails_that_request)
{
	static const int errors[] = {ENOSPC, EDQUOT, EFBIG};

	setup();
	for (int i = 0; i < 3; i++) {
		fault_say(FAULT_WRITE, -errors[i]);
		ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, 0), -errors[i]);
		fault_say(FAULT_WRITE, 512); /* and not one that had begun */
		fault_say(FAULT_WRITE, -errors[i]);
		ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, 0), -errors[i]);
		fault_say(FAULT_ALLOCATE, -errors[i]);
		ck_assert_int_eq(ask(VDB_OP_WRITE_ZEROES, 4096, 0), -errors[i]);
		all_is_well();
	}
	teardown();
}
END_TEST

/* A sparse image on a disk that is too small for it. The mount is this process's only. */
START_TEST(f1_a_file_system_that_is_full)
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
		int32_t result = ask(VDB_OP_WRITE, 65536, i * 65536);

		ck_assert(result == 65536 || result == -ENOSPC);
		full += result < 0;
	}
	ck_assert_int_ge(full, 12);
	ck_assert_int_eq(rig_do(&other, VDB_OP_READ, RIG_DATA, 4096, 0), 4096);
	ck_assert_int_eq(ask(VDB_OP_DISCARD, SIZE, 0), 0); /* makes room */
	ck_assert_int_eq(ask(VDB_OP_WRITE, 65536, 65536), 65536);
	close_backend();
	umount(dir);
	rmdir(dir);
}
END_TEST

struct write {
	struct vdb_io io;
	struct iovec iov;
	int64_t result;
	uint32_t done;
};

static void write_done(struct vdb_io *io, int64_t result)
{
	struct write *write = (struct write *)io;

	write->result = result;
	__atomic_store_n(&write->done, 1, __ATOMIC_RELEASE);
}

static int submit(void *arg)
{
	void **to = arg;

	vdb_io_submit(to[0], to[1]);
	return 0;
}

/* The kernel's word for it is SIGXFSZ, which kills: not on the threads of the library. */
START_TEST(f1_the_limit_of_file_sizes_is_no_signal)
{
	struct rlimit limit = {SIZE / 2, SIZE / 2};
	struct vdb_loop_config config = test_loop_config();
	struct write write = {.io = {.op = VDB_IO_WRITEV, .niov = 1, .done = write_done}};
	struct vdb_loop *loop;
	void *what[2];

	image_make(path, SIZE, 5);
	write.iov = (struct iovec){bytes, 4096};
	write.io.iov = &write.iov;
	write.io.fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(write.io.fd, 0);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	what[0] = loop;
	what[1] = &write.io;
	for (int i = 0; i < 2; i++) {
		write.io.offset = i ? 0 : SIZE / 2;
		write.done = 0;
		ck_assert_int_eq(vdb_loop_call(loop, submit, what), 0);
		while (!__atomic_load_n(&write.done, __ATOMIC_ACQUIRE))
			usleep(100);
		ck_assert_int_eq(write.result, i ? 4096 : -EFBIG);
	}
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
	close(write.io.fd);
	unlink(path);
}
END_TEST

/* ---- F2: EIO ---- */

START_TEST(f2_eio_fails_that_request)
{
	setup();
	fault_say(FAULT_READ, -EIO);
	ck_assert_int_eq(ask(VDB_OP_READ, 4096, 0), -EIO);
	fault_say(FAULT_WRITE, -EIO);
	ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, 0), -EIO);
	fault_say(FAULT_ALLOCATE, -EIO);
	ck_assert_int_eq(ask(VDB_OP_DISCARD, 4096, 0), -EIO);
	fault_say(FAULT_ALLOCATE, -EIO);
	ck_assert_int_eq(ask(VDB_OP_WRITE_ZEROES, 4096, 0), -EIO);
	all_is_well();
	teardown();
}
END_TEST

/* What a driver sees: an error in the status byte, and its chain back, once. */
START_TEST(f2_a_driver_gets_its_chain_back)
{
	static const uint32_t flags[] = {0, VDB_VIRTQ_PACKED};
	struct blk_rig r;
	uint32_t used;

	image_make(path, SIZE, 5);
	for (int i = 0; i < 2; i++) {
		open_file(path, 0);
		blk_rig_open(&r, backend, flags[i], BLK_ALL, NULL);
		vdb_backend_destroy(backend);
		fault_say(FAULT_READ, -EIO);
		ck_assert_uint_eq(blk_do(&r, VIRTIO_BLK_T_IN, 0, 4096, &used), VIRTIO_BLK_S_IOERR);
		fault_say(FAULT_WRITE, -ENOSPC);
		ck_assert_uint_eq(blk_do(&r, VIRTIO_BLK_T_OUT, 0, 4096, &used), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(used, 1);
		fault_say(FAULT_SYNC, -EIO);
		ck_assert_uint_eq(blk_do(&r, VIRTIO_BLK_T_FLUSH, 0, 0, &used), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(blk_do(&r, VIRTIO_BLK_T_IN, 8, 4096, &used), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(blk_do(&r, VIRTIO_BLK_T_FLUSH, 0, 0, &used), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(vrig_stats(&r.v).completions, 5);
		blk_rig_close(&r);
	}
	unlink(path);
}
END_TEST

/* ---- F3: less than was asked for ---- */

static void submit_scattered(uint8_t op)
{
	const struct vdb_seg segs[] = {
	        {RIG_DATA + 1, 1000, 0}, {RIG_DATA + 0x1000, 3, 0}, {RIG_DATA + 0x2000, 3093, 0}};

	rig_submit_sg(&guest, op, RIG_DATA + 0x4000, segs, 3, 8192, 1);
	ck_assert_int_eq(rig_reap(&guest).result, 4096);
}

START_TEST(f3_short_reads_go_on_where_they_ended)
{
	static const int64_t pieces[] = {1, 999, 2, 500};

	setup();
	for (int i = 0; i < 4; i++)
		fault_say(FAULT_READ, pieces[i]);
	submit_scattered(VDB_OP_READ);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 1), bytes + 8192, 1000);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 0x1000), bytes + 9192, 3);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA + 0x2000), bytes + 9195, 3093);
	ck_assert_uint_eq(fault_asked(FAULT_READ), 5);
	all_is_well();
	teardown();
}
END_TEST

START_TEST(f3_short_writes_go_on_where_they_ended)
{
	static const int64_t pieces[] = {7, 1000, 1, 2000};

	setup();
	image_pattern(rig_at(&guest, RIG_DATA), 0x3000, 77);
	for (int i = 0; i < 4; i++)
		fault_say(FAULT_WRITE, pieces[i]);
	submit_scattered(VDB_OP_WRITE);
	image_check(path, 8192, rig_at(&guest, RIG_DATA + 1), 1000);
	image_check(path, 9192, rig_at(&guest, RIG_DATA + 0x1000), 3);
	image_check(path, 9195, rig_at(&guest, RIG_DATA + 0x2000), 3093);
	image_check(path, 8192 + 4096, bytes + 8192 + 4096, 4096);
	ck_assert_uint_eq(fault_asked(FAULT_WRITE), 5);
	all_is_well();
	teardown();
}
END_TEST

/* The capacity is fixed: what ends before is an image that was cut off, and its bytes are nobody's to
 * invent. */
START_TEST(f3_no_progress_is_an_error)
{
	setup();
	fault_say(FAULT_READ, 0);
	ck_assert_int_eq(ask(VDB_OP_READ, 4096, 0), -EIO);
	fault_say(FAULT_READ, 512);
	fault_say(FAULT_READ, 0);
	ck_assert_int_eq(ask(VDB_OP_READ, 4096, 0), -EIO);
	fault_say(FAULT_WRITE, 0);
	ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, 0), -ENOSPC);
	fault_say(FAULT_WRITE, 4095);
	fault_say(FAULT_WRITE, 0);
	ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, 0), -ENOSPC);
	all_is_well();
	teardown();
}
END_TEST

/* ---- F4: again ---- */

START_TEST(f4_eintr_and_eagain_are_done_again)
{
	setup();
	for (int i = 0; i < 50; i++) {
		fault_say(FAULT_READ, i % 2 ? -EINTR : -EAGAIN);
		fault_say(FAULT_WRITE, i % 2 ? -EAGAIN : -EINTR);
		fault_say(FAULT_SYNC, -EINTR);
		fault_say(FAULT_ALLOCATE, -EINTR);
	}
	ck_assert_int_eq(ask(VDB_OP_READ, 4096, 4096), 4096);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA), bytes + 4096, 4096);
	image_pattern(rig_at(&guest, RIG_DATA), 4096, 77);
	ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, 8192), 4096);
	image_check(path, 8192, rig_at(&guest, RIG_DATA), 4096);
	ck_assert_int_eq(ask(VDB_OP_FLUSH, 0, 0), 0);
	ck_assert_int_eq(ask(VDB_OP_WRITE_ZEROES, 4096, 0), 0);
	image_check(path, 0, zeroes, 4096);
	all_is_well();
	teardown();
}
END_TEST

/* A kernel that never does better: after thousands of times it is that request's error. */
START_TEST(f4_not_for_ever)
{
	setup();
	fault_always(FAULT_WRITE, -EINTR);
	ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, 0), -EINTR);
	ck_assert_uint_gt(fault_asked(FAULT_WRITE), 1000);
	fault_never(FAULT_WRITE);
	ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, 0), 4096);
	all_is_well();
	teardown();
}
END_TEST

/* ---- F5: a failed fdatasync() ---- */

static void reopen(void)
{
	close_backend();
	open_backend(path, 0);
}

START_TEST(f5_a_failed_flush_is_never_followed_by_a_good_one)
{
	setup();
	ck_assert_int_eq(ask(VDB_OP_FLUSH, 0, 0), 0);
	fault_say(FAULT_SYNC, -EIO);
	ck_assert_int_eq(ask(VDB_OP_FLUSH, 0, 0), -EIO);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(ask(VDB_OP_WRITE, 512, 0), 512);
		ck_assert_int_eq(ask(VDB_OP_FLUSH, 0, 0), -EIO);
		ck_assert_int_eq(rig_do(&other, VDB_OP_FLUSH, 0, 0, 0), -EIO);
	}
	/* The kernel was not asked again: it would say yes. */
	ck_assert_uint_eq(fault_asked(FAULT_SYNC), 2);
	reopen();
	ck_assert_int_eq(ask(VDB_OP_FLUSH, 0, 0), 0);
	ck_assert_int_eq(rig_do(&other, VDB_OP_FLUSH, 0, 0, 0), 0);
	all_is_well();
	teardown();
}
END_TEST

/* The kernel tells of a lost page once for each open file: who ran beside it does not succeed either. */
START_TEST(f5_flushes_beside_a_failed_one_fail)
{
	setup();
	fault_say(FAULT_SYNC, -ENOSPC);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert(mock_prepare(&guest.m, VDB_OP_FLUSH, 0, 0, 0, i));
		ck_assert(mock_prepare(&other.m, VDB_OP_FLUSH, 0, 0, 0, i));
	}
	(void)vdb_guest_submit(&guest.m.g);
	(void)vdb_guest_submit(&other.m.g);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(rig_reap(&guest).result, -ENOSPC);
		ck_assert_int_eq(rig_reap(&other).result, -ENOSPC);
	}
	ck_assert_uint_eq(fault_asked(FAULT_SYNC), 1);
	all_is_well();
	teardown();
}
END_TEST

/* ---- F7: file systems that cannot do it ---- */

START_TEST(f7_a_discard_that_cannot_be_is_learnt)
{
	setup();
	fault_say(FAULT_ALLOCATE, -EOPNOTSUPP);
	ck_assert_int_eq(ask(VDB_OP_DISCARD, 4096, 0), 0);
	ck_assert_int_eq(ask(VDB_OP_DISCARD, 4096, 0), 0);
	ck_assert_uint_eq(fault_asked(FAULT_ALLOCATE), 1);
	image_check(path, 0, bytes, 4096);
	all_is_well();
	teardown();
}
END_TEST

START_TEST(f7_zeroes_are_written_where_they_cannot_be_made)
{
	static const int errors[] = {EOPNOTSUPP, ENOSYS};

	setup();
	fault_say(FAULT_ALLOCATE, -errors[_i]);
	fault_say(FAULT_ALLOCATE, -errors[!_i]);
	fault_say(FAULT_WRITE, 1000);
	ck_assert_int_eq(ask(VDB_OP_WRITE_ZEROES, SIZE / 2, 512), 0);
	image_check(path, 512, zeroes, SIZE / 2);
	image_check(path, 0, bytes, 512);
	image_check(path, SIZE / 2 + 512, bytes + SIZE / 2 + 512, 4096);
	fault_say(FAULT_WRITE, -EIO);
	ck_assert_int_eq(ask(VDB_OP_WRITE_ZEROES, 4096, 0), -EIO);
	ck_assert_uint_eq(fault_asked(FAULT_ALLOCATE), 2);
	all_is_well();
	teardown();
}
END_TEST

/* ---- F8: O_DIRECT ---- */

static bool direct(void)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = path, .flags = VDB_FILE_DIRECT};
	struct vdb_backend *made = NULL;

	image_make(path, SIZE, 5);
	image_pattern(bytes, SIZE, 5);
	if (vdb_backend_file(&config, &made)) {
		test_skipped_part("O_DIRECT", vdb_errmsg());
		unlink(path);
		return false;
	}
	vdb_backend_destroy(made);
	open_backend(path, VDB_FILE_DIRECT);
	return true;
}

/* Guest memory of any alignment, and a device that answers in pieces: nothing goes on amid a block. */
START_TEST(f8_what_is_not_aligned_is_bounced)
{
	if (!direct())
		return;
	for (int i = 0; i < 2; i++) {
		uint64_t at = RIG_DATA + (i ? 1 : 0);

		fault_say(FAULT_READ, 4096);
		fault_say(FAULT_READ, 8192);
		ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, at, 65536, 4096), 65536);
		ck_assert_mem_eq(rig_at(&guest, at), bytes + 4096, 65536);
		image_pattern(rig_at(&guest, at), 65536, 44);
		fault_say(FAULT_WRITE, 4096);
		fault_say(FAULT_WRITE, 4096);
		ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, at, 65536, 131072), 65536);
		image_check(path, 131072, rig_at(&guest, at), 65536);
		fault_say(FAULT_READ, -EIO);
		ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, at, 4096, 0), -EIO);
	}
	all_is_well();
	teardown();
}
END_TEST

START_TEST(f8_no_memory_to_bounce_fails_that_request)
{
	int32_t result;

	if (!direct())
		return;
	fail_at(1);
	result = rig_do(&guest, VDB_OP_READ, RIG_DATA + 1, 4096, 0);
	ck_assert_str_eq(fail_what(), "aligned_alloc");
	ck_assert_int_eq(result, -ENOMEM);
	fail_at(0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA + 1, 4096, 0), 4096);
	all_is_well();
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("disk");

	tcase_add_test(tc, f1_no_room_fails_that_request);
	tcase_add_test(tc, f1_a_file_system_that_is_full);
	tcase_add_test(tc, f1_the_limit_of_file_sizes_is_no_signal);
	tcase_add_test(tc, f2_eio_fails_that_request);
	tcase_add_test(tc, f2_a_driver_gets_its_chain_back);
	tcase_add_test(tc, f3_short_reads_go_on_where_they_ended);
	tcase_add_test(tc, f3_short_writes_go_on_where_they_ended);
	tcase_add_test(tc, f3_no_progress_is_an_error);
	tcase_add_test(tc, f4_eintr_and_eagain_are_done_again);
	tcase_add_test(tc, f4_not_for_ever);
	tcase_add_test(tc, f5_a_failed_flush_is_never_followed_by_a_good_one);
	tcase_add_test(tc, f5_flushes_beside_a_failed_one_fail);
	tcase_add_test(tc, f7_a_discard_that_cannot_be_is_learnt);
	tcase_add_loop_test(tc, f7_zeroes_are_written_where_they_cannot_be_made, 0, 2);
	tcase_add_test(tc, f8_what_is_not_aligned_is_bounced);
	tcase_add_test(tc, f8_no_memory_to_bounce_fails_that_request);
	return test_run("faults_disk", tc);
}
