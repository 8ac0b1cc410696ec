/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each layer asks of the kernel, as data beside its code: filters of system calls are made of it
 * (lib/sandbox). A call that is missing in its layer's calls.c fails in the tests, which are run with filters
 * that kill.
 */
#ifndef VDB_BASE_CALLS_H
#define VDB_BASE_CALLS_H

#include <stddef.h>
#include <sys/syscall.h>
#include <vdb/sandbox.h>

/* In builds with sanitizers their run time has needs of its own. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VDB__SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VDB__SANITIZED
#endif

struct vdb__calls {
	const struct vdb_sandbox_call *list;
	size_t count;
};

/* Who calls; the control thread may always. */
#define VDB__LOOP VDB_SANDBOX_THREAD(VDB_THREAD_LOOP)
#define VDB__VCPU VDB_SANDBOX_THREAD(VDB_THREAD_VCPU)
#define VDB__CONTROL VDB_SANDBOX_THREAD(VDB_THREAD_CONTROL)
#define VDB__EACH (VDB__LOOP | VDB__VCPU)

#define VDB__CALL(who, name)                     \
	{                                        \
		.kinds = (who), .nr = SYS_##name \
	}

/* Its n-th argument, from 1 on, an int, is `is`. */
#define VDB__CALL_IF(who, name, n, is)                                                                     \
	{                                                                                                  \
		.kinds = (who), .nr = SYS_##name, .arg = (n), .mask = 0xffffffffu, .value = (uint32_t)(is) \
	}

/* Its n-th argument has none of these bits. */
#define VDB__CALL_WITHOUT(who, name, n, bits)                                \
	{                                                                    \
		.kinds = (who), .nr = SYS_##name, .arg = (n), .mask = (bits) \
	}

#define VDB__IOCTL(who, request) VDB__CALL_IF(who, ioctl, 2, request)

#define VDB__CALLS(list)                               \
	{                                              \
		list, sizeof(list) / sizeof((list)[0]) \
	}

/* libc's, for threads and memory, and those of the sanitizers in builds that have them. */
extern const struct vdb__calls vdb__base_calls;

/* To open files and to look at them: for those who have given paths. */
extern const struct vdb__calls vdb__path_calls;

#endif
