/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the n-th call of a function of the system's fail.
 *
 * Say in the test's head which calls may fail, e.g.
 *     WRAP: calloc malloc mmap ioctl      (as AddTest.cmake describes)
 * Known here: malloc calloc realloc aligned_alloc posix_memalign mmap madvise
 * memfd_create ftruncate fstat eventfd timerfd_create epoll_create1 epoll_ctl fcntl
 * ioctl socketpair pthread_create io_uring_queue_init_params io_uring_register_files
 * io_uring_register_buffers. A test may define its own __wrap_ of any of them, which asks fail_now().
 */
#ifndef TESTS_FAIL_H
#define TESTS_FAIL_H

#include <stdbool.h>

/* The n-th wrapped call from now on, on any thread, fails once; 0 = none. */
void fail_at(unsigned n);

/* Wrapped calls since fail_at(). */
unsigned fail_calls(void);

/* For a wrapper of a test's own: true if this call is the one to fail. `what` is for messages. */
bool fail_now(const char *what);

/* The call that failed since fail_at(), NULL if none. */
const char *fail_what(void);

/* ck_assert() for use inside fn: Check's own malloc() calls are wrapped, too, since it is linked
 * statically. */
#define fail_check(truth) ((truth) ? (void)0 : fail_abort(__FILE__, __LINE__, #truth))
void fail_abort(const char *file, int line, const char *truth);

/*
 * Calls fn(arg) with its 1st, 2nd, 3rd ... wrapped call failing, until none is
 * left to fail, which must return 0. fn makes something, undoes it when that
 * worked, and returns 0 or -errno. The test fails if a failed run left an fd
 * open, left no message in vdb_errmsg(), or returned what is no errno; memory that
 * it left is for the leak checker. A run that succeeds although a call failed has
 * gone round it: fine. Returns the number of failing points.
 */
unsigned fail_sweep(int (*fn)(void *arg), void *arg);

#endif
