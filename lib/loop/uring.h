/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VDB_LOOP_URING_H
#define VDB_LOOP_URING_H

#include <liburing.h>
#include <sched.h>
#include <stdbool.h>
#include <vdb/loop.h>

/* Opens a ring as new as the kernel knows and the loop's use allows; `used` are its setup
 * flags. It may be disabled as yet: IORING_SETUP_R_DISABLED. -ENOSYS or -EPERM with the reason. */
int vdb__uring_open(const struct vdb_loop *loop, struct io_uring *ring, unsigned *used);

/* One for VDB_LOOP_IOPOLL, likewise; 0 or a negative errno, without a word. */
int vdb__uring_open_polled(const struct vdb_loop *loop, struct io_uring *ring);

/* The calling thread becomes the one that may use the ring. 0 or a positive errno. */
int vdb__uring_enable(struct io_uring *ring);

/* How many threads the kernel may make for what this thread submits; 0 = see vdb_loop_config. */
void vdb__uring_limit_workers(struct io_uring *ring, uint32_t most);

/* On which CPUs they are. False: the kernel refuses that. */
bool vdb__uring_place_workers(struct io_uring *ring, const cpu_set_t *cpus);

/* Before it is enabled: from then on the ring takes what the engine submits and registers, and nothing else.
 * `polled`: the one of VDB_LOOP_IOPOLL. False: this kernel has no such thing; the ring takes all. */
bool vdb__uring_restrict(struct io_uring *ring, bool polled);

/* Whether an IORING_OP_* is one that the engine submits: all others are forbidden to its rings. */
bool vdb__uring_submits(uint8_t opcode);

#endif
