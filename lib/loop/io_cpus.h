/* SPDX-License-Identifier: Apache-2.0 */
/* On which CPUs of the host the threads are that do I/O which has to wait. */
#ifndef VDB_LOOP_IO_CPUS_H
#define VDB_LOOP_IO_CPUS_H

#include <sched.h>
#include <stdbool.h>
#include <vdb/loop.h>

struct vdb__io_cpus {
	cpu_set_t set;
	bool asked; /* for */
};

/* -EINVAL with a message. */
int vdb__io_cpus_take(struct vdb__io_cpus *own, const struct vdb_loop_config *config);

/* Those for threads that the kernel makes for the calling thread, or, `sqpoll`, for one of its own. */
cpu_set_t vdb__io_cpus_here(const struct vdb__io_cpus *own, bool sqpoll);

#endif
