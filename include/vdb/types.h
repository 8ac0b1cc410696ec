/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types that every other header needs.
 *
 * Conventions of the whole library:
 *  - Functions return 0 (or a count >= 0) or -errno; vdb_errmsg() has the words.
 *  - Out-parameters come last and are untouched on failure.
 *  - Config structs start with `size`: set it to sizeof. Zero means default
 *    in every other field. A field that this library does not know (a newer
 *    caller) must be zero, else -E2BIG.
 *  - Structs that the library fills (statistics, events) start with `size`
 *    too: set it before the call; only that many bytes are written.
 */
#ifndef VDB_TYPES_H
#define VDB_TYPES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A guest-physical address. An integer on purpose: only the mem layer turns one
 * into a pointer, and always together with a length. */
typedef uint64_t vdb_gpa_t;

/* Lets an allocator choose, in configs where every address is a legal one. */
#define VDB_GPA_ANY ((vdb_gpa_t)UINT64_MAX)

#define VDB_PAGE_SIZE 4096u

/* The result says whether anything happened: it must be looked at. */
#define VDB_MUST_CHECK __attribute__((warn_unused_result))

/* Called once when something asked for earlier has finished. */
typedef void (*vdb_done_fn)(void *arg);

#ifdef __cplusplus
}
#endif
#endif
