/* SPDX-License-Identifier: Apache-2.0 */
/* What the calling thread is, for calls that must not wait on a loop's thread. */
#ifndef VDB_BASE_THREAD_H
#define VDB_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* The loop that the calling thread is running right now, NULL outside one.
 * Set by the loop around each turn. */
extern _Thread_local const void *vdb__thread_loop;

static inline bool vdb__on_loop_thread(void)
{
	return vdb__thread_loop;
}

/* Starts a thread with every signal blocked, named (15 characters are kept),
 * pinned to host CPU `cpu` unless -1. 0 or -errno with a message; on failure no
 * thread runs. */
int vdb__thread_start(pthread_t *thread, const char *name, int cpu, void *(*fn)(void *), void *arg);

#endif
