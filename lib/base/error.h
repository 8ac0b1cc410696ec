/* SPDX-License-Identifier: Apache-2.0 */
/* The error convention: -errno for the program, vdb_errmsg() for people. */
#ifndef VDB_BASE_ERROR_H
#define VDB_BASE_ERROR_H

#include <errno.h>
#include <vdb/error.h>

/*
 * Records the calling thread's message and returns -err:
 *
 *     return vdb__fail(EINVAL, "region at %#llx: length 0; give at least a page", gpa);
 *
 * `err` is positive. Say what, where, and what to do about it.
 */
__attribute__((format(printf, 2, 3))) int vdb__fail(int err, const char *fmt, ...);

/* The same for a failed system call: appends ": " and strerror(err). */
__attribute__((format(printf, 2, 3))) int vdb__fail_sys(int err, const char *fmt, ...);

#ifdef __clang_analyzer__
/* What the analyzer cannot see from outside: a failure is never 0. */
static inline int vdb__negative(int result)
{
	if (result >= 0)
		__builtin_unreachable();
	return result;
}
#define vdb__fail(...) vdb__negative(vdb__fail(__VA_ARGS__))
#define vdb__fail_sys(...) vdb__negative(vdb__fail_sys(__VA_ARGS__))
#endif

#endif
