/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong, in words, and which library this is.
 */
#ifndef VDB_ERROR_H
#define VDB_ERROR_H

#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VDB_VERSION_MAJOR 0
#define VDB_VERSION_MINOR 1
#define VDB_VERSION_PATCH 0

/*
 * The message of the last libvdb call that failed on the calling thread: what
 * failed, on what, and what to do about it. Never NULL; "" before the first
 * failure. Not cleared by success. Valid until the next failure on this
 * thread. Any thread.
 */
const char *vdb_errmsg(void);

/* Version of the library in use, "major.minor.patch". Any thread. */
const char *vdb_version(void);

#ifdef __cplusplus
}
#endif
#endif
