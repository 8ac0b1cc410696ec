/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page through which tinyvmm tells a demo guest what to do, and the guest
 * tells how far it is. Aligned words, each written by one side; the guest stores
 * 64-bit counters whole, so that they can be read (or, after a SIGKILL, be found in
 * the journal file) at any time.
 */
#ifndef TINYVMM_MAILBOX_H
#define TINYVMM_MAILBOX_H

#include <stddef.h>
#include <stdint.h>

#define MAILBOX_BYTES 4096u

enum {
	DEMO_POLL = 0, /* look at the ring until there is something */
	DEMO_IRQ = 1,  /* sleep until an interrupt */
};

enum {
	DEMO_STARTING = 0,
	DEMO_RUNNING = 1,
	DEMO_DONE = 2,   /* all requests are made; `errors` says how well */
	DEMO_FAILED = 3, /* gave up, see `error` */
};

enum {
	DEMO_OK = 0,
	DEMO_BAD_PAGE = 1,       /* detail: what vdb_guest_find() or _init() said */
	DEMO_NOT_READY = 2,      /* detail: VDB_REASON_* */
	DEMO_BROKEN = 3,         /* detail: VDB_REASON_*, while running */
	DEMO_BAD_RESULT = 4,     /* detail: the request's result, at `error_block` */
	DEMO_BAD_COMPLETION = 5, /* detail: user_data that nobody waits for */
	DEMO_BAD_BLOCK = 6,      /* not what was written; detail: its first wrong word */
};

/* Latencies by eighths of a power of two: bucket 0..7 are 0..7, then 8 for each doubling. */
#define DEMO_BUCKETS 496u

struct demo_mailbox {
	/* tinyvmm writes, before the guest starts */
	uint32_t vm;
	uint32_t mode; /* DEMO_POLL or DEMO_IRQ */
	uint32_t depth;
	uint32_t slice;       /* blocks of the image that are this guest's ... */
	uint64_t first_block; /* ... from here */
	uint64_t requests;    /* to make, flushes included */
	uint64_t seed;
	uint64_t buffers;     /* gpa of depth blocks */
	uint32_t flush_every; /* writes */
	uint32_t reserved0[19];

	/* the guest writes */
	uint32_t state; /* DEMO_STARTING.. */
	uint32_t error; /* the first */
	int64_t detail;
	uint64_t error_block;
	uint64_t completed; /* requests, errors included */
	uint64_t errors;
	uint64_t bytes;
	uint64_t writes;
	uint64_t reads;
	uint64_t flushes;
	/* round << 32 | blocks: the first `blocks` of the slice, written in this round, and all
	 * of the rounds before, are on stable storage: their FLUSH is complete. */
	uint64_t flushed;
	uint64_t rung;       /* doorbells */
	uint64_t suppressed; /* submissions without one, since the host was awake */
	uint64_t interrupts; /* taken */
	uint64_t reserved1;
	uint64_t latency_max; /* in turns of the TSC */
	uint64_t reserved2[105];
	uint32_t latency[DEMO_BUCKETS];
};

_Static_assert(offsetof(struct demo_mailbox, state) == 128, "the guest's half");
_Static_assert(offsetof(struct demo_mailbox, flushed) == 200, "tests/demo/crash looks there");
_Static_assert(sizeof(struct demo_mailbox) <= MAILBOX_BYTES, "one page");

static inline uint32_t demo_bucket(uint64_t turns)
{
	unsigned top;

	if (turns < 8)
		return (uint32_t)turns;
	top = 63u - (unsigned)__builtin_clzll(turns);
	return (top - 2) * 8 + (uint32_t)(turns >> (top - 3) & 7);
}

/* The largest latency that falls into a bucket. */
static inline uint64_t demo_bucket_end(uint32_t bucket)
{
	unsigned shift;

	if (bucket < 8)
		return bucket;
	shift = bucket / 8 - 1;
	return ((8ull + bucket % 8 + 1) << shift) - 1;
}

#endif
