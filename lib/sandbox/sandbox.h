/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the sandbox share: a part each. */
#ifndef VDB_SANDBOX_SANDBOX_H
#define VDB_SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <vdb/sandbox.h>

#include "base/calls.h"
#include "base/thread.h"

#define VDB__KINDS 3u /* VDB_THREAD_* */
#define VDB__PARTS 4u /* bits of VDB_SANDBOX_ALL */

struct sock_fprog;

struct vdb_sandbox {
	struct vdb__thread_sandbox thread; /* what threads inherit */
	struct vdb_sandbox_config config;  /* its arrays are not kept */
	uint32_t parts;                    /* that are there */
	pid_t process;
	struct sock_fprog *filters[VDB__KINDS];
	int ruleset;                    /* Landlock's */
	bool isolated;                  /* namespaces of its own */
	bool moved;                     /* and the root folder is another */
	struct vdb_sandbox_path *paths; /* absolute; path_count of them */
	char *cwd;                      /* if isolated */
	char why[VDB__PARTS][192];
};

/* A part that this host does not have: `why` is kept, 0; or it is required: -EOPNOTSUPP. */
__attribute__((format(printf, 3, 4))) int vdb__sandbox_lacks(struct vdb_sandbox *sandbox, uint32_t part,
                                                             const char *why, ...);

/* ---- lists.c ---- */

/* Calls `each` with every call that this kind of thread may make; stops at a failure. */
int vdb__sandbox_calls(const struct vdb_sandbox *sandbox, uint32_t kind,
                       int (*each)(void *arg, const struct vdb_sandbox_call *call), void *arg);

/* ---- filter.c, or filter_absent.c ---- */

int vdb__filters_create(struct vdb_sandbox *sandbox);
void vdb__filters_destroy(struct vdb_sandbox *sandbox);
int vdb__filters_enter(const struct vdb_sandbox *sandbox, uint32_t kind);

/* ---- landlock.c ---- */

int vdb__landlock_create(struct vdb_sandbox *sandbox);
int vdb__landlock_enter(const struct vdb_sandbox *sandbox);

/* ---- capabilities.c ---- */

/* Of the calling thread, all. */
int vdb__capabilities_drop(void);

/* ---- root.c ---- */

/* A root folder of nothing but the paths. */
int vdb__root_move(struct vdb_sandbox *sandbox);

/* One of them is all there is, so there would be nothing to hide. */
bool vdb__root_is_whole(const struct vdb_sandbox *sandbox);

#endif
