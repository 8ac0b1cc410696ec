/* SPDX-License-Identifier: Apache-2.0 */
#include "fail.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/error.h"
#include "leak.h"

static unsigned target, calls;
static const char *failed;

void fail_at(unsigned n)
{
	__atomic_store_n(&target, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&calls, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&failed, NULL, __ATOMIC_SEQ_CST);
	__atomic_store_n(&target, n, __ATOMIC_SEQ_CST);
}

unsigned fail_calls(void)
{
	return __atomic_load_n(&calls, __ATOMIC_SEQ_CST);
}

const char *fail_what(void)
{
	return __atomic_load_n(&failed, __ATOMIC_SEQ_CST);
}

bool fail_now(const char *what)
{
	unsigned n = __atomic_load_n(&target, __ATOMIC_SEQ_CST);

	if (!n || __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) != n)
		return false;
	__atomic_store_n(&failed, what, __ATOMIC_SEQ_CST);
	return true;
}

void fail_abort(const char *file, int line, const char *truth)
{
	const char *what = fail_what();

	__atomic_store_n(&target, 0, __ATOMIC_SEQ_CST);
	ck_abort_msg("%s:%d: %s, after %s failed", file, line, truth, what ? what : "nothing");
}

static void check_failure(int err, unsigned n, int fds)
{
	const char *what = fail_what();

	ck_assert_msg(err < 0 && err > -4096, "call %u (%s) failed: returned %d", n, what, err);
	ck_assert_msg(vdb_errmsg()[0], "call %u (%s) failed: %d without a message", n, what, err);
	ck_assert_msg(leak_fds() == fds, "call %u (%s) failed: %d fds before, %d after", n, what, fds,
	              leak_fds());
}

unsigned fail_sweep(int (*fn)(void *arg), void *arg)
{
	int err, fds;

	for (unsigned n = 1;; n++) {
		ck_assert_msg(n < 10000, "more than 10000 calls: does fn end?");
		fds = leak_fds();
		(void)vdb__fail(0, "%s", "");
		fail_at(n);
		err = fn(arg);
		/* Not ours to fail are the calls of the checks. */
		__atomic_store_n(&target, 0, __ATOMIC_SEQ_CST);
		if (!fail_what()) {
			ck_assert_msg(!err, "nothing failed, yet %d: %s", err, vdb_errmsg());
			return n - 1;
		}
		if (err)
			check_failure(err, n, fds);
	}
}

/*
 * The wrappers. A program that does not wrap a function has no __real_ of it,
 * hence weak; it never gets into that wrapper either. The wrappers are weak
 * for a test that has one of its own.
 */
#define WRAP(type, name, params, args, error, bad)       \
	type __real_##name params __attribute__((weak)); \
	type __wrap_##name params __attribute__((weak)); \
	type __wrap_##name params                        \
	{                                                \
		if (!fail_now(#name))                    \
			return __real_##name args;       \
		errno = error;                           \
		return bad;                              \
	}

struct io_uring;
struct io_uring_params;
struct iovec;

WRAP(void *, malloc, (size_t size), (size), ENOMEM, NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), ENOMEM, NULL)
WRAP(void *, realloc, (void *old, size_t size), (old, size), ENOMEM, NULL)
WRAP(void *, aligned_alloc, (size_t align, size_t size), (align, size), ENOMEM, NULL)
WRAP(int, posix_memalign, (void **out, size_t align, size_t size), (out, align, size), ENOMEM, ENOMEM)
WRAP(void *, mmap, (void *at, size_t len, int prot, int flags, int fd, off_t offset),
     (at, len, prot, flags, fd, offset), ENOMEM, MAP_FAILED)
WRAP(int, madvise, (void *at, size_t len, int advice), (at, len, advice), EFAULT, -1)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), EMFILE, -1)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size), EFBIG, -1)
WRAP(int, fstat, (int fd, struct stat *st), (fd, st), EIO, -1)
WRAP(int, eventfd, (unsigned count, int flags), (count, flags), EMFILE, -1)
WRAP(int, timerfd_create, (int clock, int flags), (clock, flags), EMFILE, -1)
WRAP(int, epoll_create1, (int flags), (flags), EMFILE, -1)
WRAP(int, epoll_ctl, (int ep, int op, int fd, struct epoll_event *ev), (ep, op, fd, ev), ENOSPC, -1)
WRAP(int, socketpair, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds), EMFILE,
     -1)
WRAP(int, pthread_create, (pthread_t * thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg),
     (thread, attr, fn, arg), EAGAIN, EAGAIN)
WRAP(int, io_uring_queue_init_params, (unsigned n, struct io_uring *ring, struct io_uring_params *p),
     (n, ring, p), ENOMEM, -ENOMEM)
WRAP(int, io_uring_register_files, (struct io_uring * ring, const int *fds, unsigned n), (ring, fds, n),
     EMFILE, -EMFILE)
WRAP(int, io_uring_register_buffers, (struct io_uring * ring, const struct iovec *iov, unsigned n),
     (ring, iov, n), ENOMEM, -ENOMEM)

/* The variadic two; what they get is passed on as one word. */
int __real_ioctl(int fd, unsigned long request, ...) __attribute__((weak));
int __wrap_ioctl(int fd, unsigned long request, ...) __attribute__((weak));
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	static char what[32];
	va_list args;
	unsigned long word;

	va_start(args, request);
	word = va_arg(args, unsigned long);
	va_end(args);
	if (!fail_now(what))
		return __real_ioctl(fd, request, word);
	(void)snprintf(what, sizeof(what), "ioctl %#lx", request);
	errno = EIO;
	return -1;
}

int __real_fcntl(int fd, int command, ...) __attribute__((weak));
int __wrap_fcntl(int fd, int command, ...) __attribute__((weak));
int __wrap_fcntl(int fd, int command, ...)
{
	va_list args;
	unsigned long word;

	va_start(args, command);
	word = va_arg(args, unsigned long);
	va_end(args);
	if (!fail_now("fcntl"))
		return __real_fcntl(fd, command, word);
	errno = EMFILE;
	return -1;
}
