/* SPDX-License-Identifier: Apache-2.0 */
/* What this process holds of the host, to be compared. */
#ifndef TESTS_HELD_H
#define TESTS_HELD_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __SANITIZE_THREAD__
#define HELD_TSAN true
#else
#define HELD_TSAN false
#endif
/* ASan's quarantine and TSan's shadow come and go: what they have mapped says nothing. */
#ifdef __SANITIZE_ADDRESS__
#define HELD_SANITIZED true
#else
#define HELD_SANITIZED HELD_TSAN
#endif

struct held {
	uint64_t fds, threads, ring_threads; /* the latter are not among the former */
	uint64_t vms, vcpus, rings;          /* of the fds: KVM's, io_uring's */
	uint64_t mappings;
	uint64_t mapped_kb; /* without the heap, which is kept for later */
	uint64_t rss_kb;
	uint64_t pinned_kb; /* and locked: memory that is registered with an io_uring */
	uint64_t heap;      /* bytes allocated and not freed; 0 = not known */
};

/* Frees what malloc() keeps for later, then looks. Threads of the kernel's that serve rings (iou-wrk) end
 * by themselves some seconds after their work: waits, a minute at most, until there is one a ring at most. */
void held_look(struct held *held);

/* One line. */
void held_print(const char *when, const struct held *held);

/* Says on stderr what has grown, and returns how many things have. */
unsigned held_compare(const struct held *before, const struct held *after);

#endif
