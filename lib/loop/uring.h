/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VDB_LOOP_URING_H
#define VDB_LOOP_URING_H

#include <liburing.h>
#include <vdb/loop.h>

/* Opens a ring as new as the kernel knows and the loop's use allows; `used` are its setup
 * flags. -ENOSYS or -EPERM with the reason. */
int vdb__uring_open(const struct vdb_loop *loop, struct io_uring *ring, unsigned *used);

/* The calling thread becomes the one that may use the ring. 0 or a positive errno. */
int vdb__uring_enable(const struct io_uring *ring);

#endif
