/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole VMM as a process: from fork() to the first byte that its guest, or it for its guest, says on
 * stdout; and what memory it has then.
 */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdint.h>

struct process_life {
	uint64_t first_ns; /* from fork() to the first byte */
	uint64_t resident; /* bytes, without guest RAM */
	uint64_t guest;    /* bytes of guest RAM that were touched */
};

/* argv[0] is looked for in PATH; it must not end by itself, and is killed. `ram`: bytes of guest RAM, by
 * which its mapping is known. Ends the program if the process does not speak within seconds; 127 of the
 * process: skipped. */
void process_run(char *const *argv, uint64_t ram, struct process_life *life);

#endif
