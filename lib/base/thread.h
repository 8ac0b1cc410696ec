/* SPDX-License-Identifier: Apache-2.0 */
/* What the calling thread is, for calls that must not wait on a loop's thread. */
#ifndef VDB_BASE_THREAD_H
#define VDB_BASE_THREAD_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <vdb/sandbox.h>

/* The loop that the calling thread is running right now, NULL outside one.
 * Set by the loop around each turn. */
extern _Thread_local const void *vdb__thread_loop;

static inline bool vdb__on_loop_thread(void)
{
	return vdb__thread_loop;
}

/* What a thread enters as its first act (lib/sandbox). `inside`: its starter had entered, so all that threads
 * inherit is there already. 0 or -errno with a message. */
struct vdb__thread_sandbox {
	int (*enter)(struct vdb__thread_sandbox *sandbox, uint32_t kind, bool inside);
};

/* The calling thread's own, and of those that it starts. */
struct vdb__thread_bounds {
	struct vdb__thread_sandbox *sandbox; /* NULL: none */
	bool inside;
};
extern _Thread_local struct vdb__thread_bounds vdb__thread_bounds;

/* Starts a thread with every signal blocked, named (15 characters are kept),
 * pinned to host CPU `cpu` unless -1, or to a set of them, in the starter's sandbox as what it is:
 * VDB_THREAD_*. 0 or -errno with a message; on failure no thread runs. */
struct vdb__thread_config {
	const char *name;
	int cpu;
	uint32_t kind;
	const cpu_set_t *cpus; /* NULL: none; only with a `cpu` of -1 */
};
int vdb__thread_start(pthread_t *thread, const struct vdb__thread_config *config, void *(*fn)(void *),
                      void *arg);

#endif
