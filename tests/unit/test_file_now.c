/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: preadv2 */
/* READs that the page cache answers at once, and those that it does not. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vdb/error.h>

#include "image.h"
#include "rig.h"
#include "run.h"

#define SIZE (1u << 20)

/* ---- The host's page cache, as the test likes ---- */

static struct {
	unsigned tries;
	int error;   /* instead of an answer */
	size_t most; /* bytes that it has; 0: all */
} cache;

ssize_t __real_preadv2(int fd, const struct iovec *iov, int niov, off_t offset, int flags);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int niov, off_t offset, int flags);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int niov, off_t offset, int flags)
{
	if (!(flags & RWF_NOWAIT)) /* the pool */
		return __real_preadv2(fd, iov, niov, offset, flags);
	cache.tries++;
	if (cache.error) {
		errno = cache.error;
		return -1;
	}
	if (cache.most)
		return pread(fd, iov->iov_base, cache.most < iov->iov_len ? cache.most : iov->iov_len,
		             offset);
	return preadv(fd, iov, niov, offset);
}

/* ---- */

static char path[64];
static unsigned char bytes[SIZE];
static struct vdb_backend *backend;
static struct rig rig;
static struct rig_guest guest;

static void setup_with(uint32_t flags)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = path, .flags = flags};

	memset(&cache, 0, sizeof(cache));
	image_make(path, SIZE, 5);
	image_pattern(bytes, SIZE, 5);
	ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
}

static void setup(void)
{
	setup_with(0);
}

static void teardown(void)
{
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
	unlink(path);
}

static struct vdb_loop_stats stats(void)
{
	struct vdb_loop_stats s = {.size = sizeof(s)};

	ck_assert_int_eq(vdb_loop_stats(rig.loop, &s), 0);
	return s;
}

static void read_one(uint32_t len, uint64_t offset)
{
	memset(rig_at(&guest, RIG_DATA), 0, len);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, len, offset), (int32_t)len);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA), bytes + offset, len);
}

START_TEST(what_is_cached_is_read_at_once)
{
	uint64_t ios = stats().ios;

	for (unsigned i = 0; i < 10; i++)
		read_one(4096, i * 4096u);
	ck_assert_uint_eq(cache.tries, 10);
	ck_assert_uint_eq(stats().ios, ios);
	ck_assert_uint_eq(stats().nowaits, 10);
	ck_assert_uint_eq(stats().nowait_hits, 10);
	ck_assert_uint_eq(rig_stats(&guest).bytes_read, 40960);
}
END_TEST

/* Those that come together are handed to io_uring together; a pool is always the longer way. */
START_TEST(a_batch_goes_where_batches_go)
{
	bool uring = stats().engine == VDB_ENGINE_URING;

	for (unsigned i = 0; i < 8; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_READ, RIG_DATA + i * 512, 512, i * 512, i));
	(void)vdb_guest_submit(&guest.m.g);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_int_eq(rig_reap(&guest).result, 512);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA), bytes, 4096);
	ck_assert_uint_eq(cache.tries, uring ? 0 : 8);
}
END_TEST

START_TEST(others_are_not_tried)
{
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 4096, 0), 4096);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 65536 + 512, 0), 65536 + 512);
	ck_assert_uint_eq(cache.tries, 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 65536, 0), 65536);
	ck_assert_uint_eq(cache.tries, 1);
}
END_TEST

/* Less and less often while it is in vain; always as soon as it is not. */
START_TEST(misses_are_paid_for_rarely)
{
	cache.error = EAGAIN;
	for (unsigned i = 0; i < 1000; i++)
		read_one(512, i % 64 * 512);
	ck_assert_uint_ge(cache.tries, 5);
	ck_assert_uint_le(cache.tries, 12);
	ck_assert_uint_eq(stats().nowait_hits, 0);
	cache.error = 0;
	for (unsigned i = 0; i < 300; i++)
		read_one(512, i % 64 * 512);
	cache.tries = 0;
	for (unsigned i = 0; i < 20; i++)
		read_one(512, i * 512);
	ck_assert_uint_eq(cache.tries, 20);
}
END_TEST

/* The rest goes on from there. */
START_TEST(half_of_it_is_cached)
{
	uint64_t ios = stats().ios;

	cache.most = 1000;
	read_one(4096, 8192);
	read_one(4096, 512);
	ck_assert_uint_eq(cache.tries, 2);
	ck_assert_uint_eq(stats().ios - ios, 2);
}
END_TEST

START_TEST(a_file_system_without_it_is_asked_once)
{
	cache.error = EOPNOTSUPP;
	for (unsigned i = 0; i < 10; i++)
		read_one(512, i * 512);
	ck_assert_uint_eq(cache.tries, 1);
}
END_TEST

/* What the long way says of it counts. */
START_TEST(an_error_is_not_the_last_word)
{
	cache.error = EIO;
	read_one(512, 512);
	ck_assert_uint_eq(cache.tries, 1);
	/* The image has shrunk: nothing there, at once or later. */
	cache.error = 0;
	ck_assert_int_eq(truncate(path, 4096), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 8192), -EIO);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 8192), -EIO);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("file_now");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_cached_is_read_at_once);
	tcase_add_test(tc, a_batch_goes_where_batches_go);
	tcase_add_test(tc, others_are_not_tried);
	tcase_add_test(tc, misses_are_paid_for_rarely);
	tcase_add_test(tc, half_of_it_is_cached);
	tcase_add_test(tc, a_file_system_without_it_is_asked_once);
	tcase_add_test(tc, an_error_is_not_the_last_word);
	return test_run("file_now", tc);
}
