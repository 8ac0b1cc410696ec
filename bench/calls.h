/* SPDX-License-Identifier: Apache-2.0 */
/* Counts the system calls of one thread, of any process, by the kernel's own tracepoint. */
#ifndef BENCH_CALLS_H
#define BENCH_CALLS_H

#include <stdint.h>
#include <sys/types.h>

struct calls {
	int fd;
};

/* Of this process, the thread of that name; dies if there is none. */
pid_t calls_thread(const char *name);

/* From now on. Exits as skipped where the kernel or our rights do not allow it. */
void calls_open(struct calls *calls, pid_t thread);

/* How many they were; 0 if it was not opened (fd -1). */
uint64_t calls_close(struct calls *calls);

#endif
