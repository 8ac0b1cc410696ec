/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that do the disk I/O of the epoll engine, and the blocking calls themselves. */
#ifndef VDB_LOOP_POOL_H
#define VDB_LOOP_POOL_H

#include <stdbool.h>
#include <vdb/io.h>

struct vdb__pool;

int vdb__pool_create(struct vdb_loop *loop, unsigned threads, struct vdb__pool **out);

/* Its threads are on the CPUs that were asked for. */
bool vdb__pool_placed(const struct vdb__pool *pool);

/* Nothing may be in it any more. NULL is fine. */
void vdb__pool_destroy(struct vdb__pool *pool);

/* In order, as threads are free. The result comes to the loop by a post. */
void vdb__pool_submit(struct vdb__pool *pool, struct vdb_io *io);

/* True if no thread has taken it: it is the caller's again. */
bool vdb__pool_withdraw(struct vdb__pool *pool, struct vdb_io *io);

/* The system call, once. */
int64_t vdb__io_try(const struct vdb_io *io);

/* The same, waiting. What it returned, or -errno. */
int64_t vdb__io_perform(const struct vdb_io *io);

#endif
