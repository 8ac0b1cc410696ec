/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* WRAP: preadv2 epoll_wait */
/* An engine that failed for good: what its I/O threads have is waited for, and done once. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "suite.h"
#include "turn.h"
#include <vdb/io.h>

static uint32_t reading, go_on, broken;

ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int niov, off_t offset, int flags);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int room, int timeout);
int __real_epoll_wait(int fd, struct epoll_event *events, int room, int timeout);

/* A disk that answers after the engine has failed. */
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int niov, off_t offset, int flags)
{
	(void)fd;
	(void)niov;
	(void)offset;
	(void)flags;
	__atomic_store_n(&reading, 1u, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&go_on, __ATOMIC_ACQUIRE))
		usleep(1000);
	usleep(20000);
	memset(iov->iov_base, 'x', iov->iov_len);
	return (ssize_t)iov->iov_len;
}

int __wrap_epoll_wait(int fd, struct epoll_event *events, int room, int timeout)
{
	if (!broken)
		return __real_epoll_wait(fd, events, room, timeout);
	__atomic_store_n(&go_on, 1u, __ATOMIC_RELEASE);
	errno = EBADF;
	return -1;
}

static unsigned done;
static char buffer[512];

static void read_done(struct vdb_io *io, int64_t result)
{
	(void)io;
	done++;
	ck_assert_int_eq(result, sizeof(buffer));
	ck_assert_int_eq(buffer[511], 'x');
}

START_TEST(what_the_pool_has_is_done_once_when_the_engine_failed)
{
	struct vdb_loop_config config = {
	        .size = sizeof(config), .engine = VDB_ENGINE_EPOLL, .pool_threads = 1};
	struct iovec iov = {buffer, sizeof(buffer)};
	struct vdb_io io = {.op = VDB_IO_READV, .iov = &iov, .niov = 1, .done = read_done};
	struct vdb_loop *loop;

	io.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(io.fd, 0);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	vdb_io_submit(loop, &io);
	while (!__atomic_load_n(&reading, __ATOMIC_ACQUIRE))
		usleep(1000);
	broken = 1;
	ck_assert_int_eq(vdb_loop_run(loop), -EBADF);
	test_loop_end(loop);
	ck_assert_uint_eq(done, 1);
	close(io.fd);
}
END_TEST

SUITE("loop_broken", what_the_pool_has_is_done_once_when_the_engine_failed)
