/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: fcntl */
/* Who may use an image at the same time, and images that change their size. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vdb/error.h>

#include "blk_rig.h"
#include "image.h"
#include "leak.h"
#include "run.h"

#define SIZE 65536u
#define READER (VDB_FILE_LOCK | VDB_FILE_READONLY)
#define WRITER VDB_FILE_LOCK

static char path[64];
static int fds, lock_errno;

int __real_fcntl(int fd, int cmd, ...);
int __wrap_fcntl(int fd, int cmd, ...);

int __wrap_fcntl(int fd, int cmd, ...)
{
	va_list args;
	void *arg;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	if (cmd == F_OFD_SETLK && lock_errno) {
		errno = lock_errno;
		return -1;
	}
	return __real_fcntl(fd, cmd, arg);
}

static void setup(void)
{
	image_make(path, SIZE, 1);
	fds = leak_fds();
}

static void teardown(void)
{
	ck_assert_int_eq(leak_fds(), fds);
	unlink(path);
}

static int try(uint32_t flags, struct vdb_backend **out)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = path, .flags = flags};

	*out = NULL;
	return vdb_backend_file(&config, out);
}

static struct vdb_backend *take(uint32_t flags)
{
	struct vdb_backend *backend;

	ck_assert_msg(try(flags, &backend) == 0, "%s", vdb_errmsg());
	return backend;
}

static void busy(uint32_t flags)
{
	struct vdb_backend *backend;

	ck_assert_int_eq(try(flags, &backend), -EBUSY);
	ck_assert_msg(strstr(vdb_errmsg(), path) && strstr(vdb_errmsg(), "in use"), "%s", vdb_errmsg());
}

START_TEST(two_writers_of_one_process_conflict)
{
	struct vdb_backend *first = take(WRITER);

	busy(WRITER);
	busy(READER);
	vdb_backend_destroy(take(0)); /* who does not ask is not asked */
	vdb_backend_destroy(first);
	vdb_backend_destroy(take(WRITER));
}
END_TEST

START_TEST(readers_share)
{
	struct vdb_backend *first = take(READER), *second = take(READER);

	busy(WRITER);
	vdb_backend_destroy(first);
	busy(WRITER);
	vdb_backend_destroy(second);
	vdb_backend_destroy(take(WRITER));
}
END_TEST

START_TEST(another_process_conflicts)
{
	struct vdb_backend *first = take(WRITER), *backend;
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(try(WRITER, &backend) == -EBUSY && try(READER, &backend) == -EBUSY ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	vdb_backend_destroy(first);
}
END_TEST

START_TEST(a_lock_ends_with_its_backend_not_with_the_fd)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct vdb_file_config config = {.size = sizeof(config), .fd = fd, .flags = WRITER};
	struct vdb_backend *backend = NULL;

	ck_assert_int_eq(vdb_backend_file(&config, &backend), 0);
	busy(WRITER);
	vdb_backend_destroy(backend);
	vdb_backend_destroy(take(WRITER)); /* although fd is open still */
	close(fd);
}
END_TEST

START_TEST(a_lock_that_was_refused_leaves_the_callers_alone)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct vdb_file_config config = {.size = sizeof(config), .fd = fd, .flags = WRITER};
	struct vdb_backend *reader = take(READER), *backend = NULL;

	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	ck_assert_int_eq(vdb_backend_file(&config, &backend), -EBUSY);
	vdb_backend_destroy(reader);
	busy(WRITER);
	close(fd);
}
END_TEST

START_TEST(a_file_system_that_cannot_lock_is_said)
{
	static const int errors[] = {ENOLCK, EINVAL, EOPNOTSUPP};
	struct vdb_backend *backend;

	for (unsigned i = 0; i < 3; i++) {
		lock_errno = errors[i];
		ck_assert_int_eq(try(WRITER, &backend), -ENOLCK);
		ck_assert_msg(strstr(vdb_errmsg(), "leave out VDB_FILE_LOCK"), "%s", vdb_errmsg());
	}
	vdb_backend_destroy(take(0));
	lock_errno = 0;
}
END_TEST

/* ---- Resize ---- */

START_TEST(a_file_that_grows_is_served_to_its_new_end)
{
	struct vdb_backend *backend = take(WRITER);
	struct blk_rig rig;

	blk_rig_open(&rig, backend, 0, BLK_ALL, NULL);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, SIZE / 512, 512, NULL), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(truncate(path, 2 * SIZE), 0);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, SIZE / 512, 512, NULL), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(vdb_backend_file_resize(backend), 2 * SIZE);
	image_pattern(vrig_at(&rig.v, BLK_DATA), 512, 8);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, SIZE / 512, 512, NULL), VIRTIO_BLK_S_OK);
	image_check(path, SIZE, vrig_at(&rig.v, BLK_DATA), 512);
	ck_assert_int_eq(truncate(path, SIZE / 2), 0);
	ck_assert_int_eq(vdb_backend_file_resize(backend), SIZE / 2);
	ck_assert_uint_eq(blk_do(&rig, VIRTIO_BLK_T_OUT, SIZE / 1024, 512, NULL), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(image_size(path), SIZE / 2);
	vdb_backend_destroy(backend);
	blk_rig_close(&rig);
}
END_TEST

START_TEST(sizes_that_cannot_be_are_refused)
{
	struct vdb_backend *backend = take(0), *null = NULL;
	struct vdb_backend_info info = {.size = sizeof(info)};

	ck_assert_int_eq(truncate(path, SIZE + 100), 0);
	ck_assert_int_eq(vdb_backend_file_resize(backend), -EINVAL);
	ck_assert_int_eq(truncate(path, 0), 0);
	ck_assert_int_eq(vdb_backend_file_resize(backend), -EINVAL);
	ck_assert_int_eq(vdb_backend_query(backend, &info), 0);
	ck_assert_uint_eq(info.capacity, SIZE);
	ck_assert_int_eq(vdb_backend_null(SIZE, &null), 0);
	ck_assert_int_eq(vdb_backend_file_resize(null), -EINVAL);
	vdb_backend_destroy(null);
	vdb_backend_destroy(backend);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("file_lock");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, two_writers_of_one_process_conflict);
	tcase_add_test(tc, readers_share);
	tcase_add_test(tc, another_process_conflicts);
	tcase_add_test(tc, a_lock_ends_with_its_backend_not_with_the_fd);
	tcase_add_test(tc, a_lock_that_was_refused_leaves_the_callers_alone);
	tcase_add_test(tc, a_file_system_that_cannot_lock_is_said);
	tcase_add_test(tc, a_file_that_grows_is_served_to_its_new_end);
	tcase_add_test(tc, sizes_that_cannot_be_are_refused);
	return test_run("file_lock", tc);
}
