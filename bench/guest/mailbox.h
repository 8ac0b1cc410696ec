/* SPDX-License-Identifier: Apache-2.0 */
/* The page through which a benchmark tells its guest what to do, and learns how it went. */
#ifndef BENCH_MAILBOX_H
#define BENCH_MAILBOX_H

#include <stddef.h>
#include <stdint.h>

#define BENCH_DEPTH 128u /* at most */
#define BENCH_BLOCK 4096u
#define BENCH_GO UINT32_MAX /* in `asked`: no more questions, begin */

enum {
	BENCH_BELLS = 0,    /* ring `count` times; nothing is on the ring */
	BENCH_SINGLES = 1,  /* `count` empty USER requests, one by one, `gap` apart */
	BENCH_REQUESTS = 2, /* READ of a block, `depth` of them at a time, for `duration` */
};

enum {
	BENCH_STARTING = 0,
	BENCH_DONE = 1,
	BENCH_NO_RING = 2,   /* detail: what vdb_guest_find() or _init() said */
	BENCH_NOT_READY = 3, /* detail: VDB_REASON_* */
};

/* Times are in ticks of the guest's TSC. */
struct bench_mailbox {
	/* the host writes, before the start */
	uint32_t mode;
	uint32_t depth;
	uint32_t silent; /* BELLS: only `stamp` is stored, for a host that looks at it */
	uint32_t await;  /* BELLS: the next one when `taken` says so */
	uint32_t trips;  /* SINGLES: samples are round trips, not what publishing and ringing took */
	uint32_t reserved0;
	uint64_t count;
	uint64_t gap; /* a quarter more or less */
	uint64_t warm_up, duration;
	uint64_t blocks;  /* of the backend */
	uint64_t buffers; /* gpa of `depth` blocks */
	uint64_t samples; /* gpa of `room` words */
	uint64_t room;
	uint64_t reserved1[5];

	/* the host writes, while the guest runs */
	uint32_t asked; /* what time is it? A new number is a new question */
	uint32_t reserved2;
	uint64_t taken; /* bells that arrived */
	uint64_t reserved3[14];

	/* the guest writes; the host may be looking at this line all the time */
	uint32_t answered;
	uint32_t state;
	uint64_t tsc;   /* the answer */
	uint64_t stamp; /* taken right before the bell */
	int64_t detail;
	uint64_t reserved4[4];

	/* the guest writes, for the end */
	uint64_t sampled;   /* words in `samples` */
	uint64_t completed; /* within `ran` */
	uint64_t all;       /* warm-up and the end included */
	uint64_t ran;
	uint64_t wrong; /* results or blocks that are not what they must be */
	uint64_t rung, suppressed;
	uint64_t reserved5;
};

_Static_assert(offsetof(struct bench_mailbox, asked) == 128, "each writer has its own lines");
_Static_assert(offsetof(struct bench_mailbox, sampled) == 320, "each writer has its own lines");
_Static_assert(sizeof(struct bench_mailbox) <= 4096, "one page");

#endif
