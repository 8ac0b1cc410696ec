/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: one thread for calls that may wait (close of a VM, memslots,
 * routes), so that they can be asked for from a loop's thread. The library
 * starts no thread unless asked: an embedder with a control thread of its own
 * needs no worker.
 */
#ifndef VDB_WORKER_H
#define VDB_WORKER_H

#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_worker;

/* Starts a worker's thread, named `name` (15 characters; NULL = "vdb-worker"),
 * with all signals blocked. -EAGAIN: no thread to be had. */
VDB_MUST_CHECK int vdb_worker_create(const char *name, struct vdb_worker **out);

/* Runs fn(arg) on the worker, in order of submission. Never waits. Any thread. */
VDB_MUST_CHECK int vdb_worker_submit(struct vdb_worker *worker, void (*fn)(void *arg), void *arg);

/* Finishes what was submitted, ends the thread, frees. NULL is fine. Not on the
 * worker's own thread or a loop's (-EDEADLK, nothing happens). */
VDB_MUST_CHECK int vdb_worker_destroy(struct vdb_worker *worker);

#ifdef __cplusplus
}
#endif
#endif
