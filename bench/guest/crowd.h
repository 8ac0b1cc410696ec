/* SPDX-License-Identifier: Apache-2.0 */
/* The page through which the benchmarks of scale and of life cycles speak to their guest. */
#ifndef BENCH_CROWD_BOX_H
#define BENCH_CROWD_BOX_H

#include <stddef.h>
#include <stdint.h>

#define CROWD_LANES 1024u      /* at most */
#define CROWD_BORN_PORT 0x504u /* written first of all */

enum {
	CROWD_ONCE = 0,   /* one request on the first ring, and the end */
	CROWD_HALT = 1,   /* one request, then halted for ever. Started in CPL 0 only */
	CROWD_ROUND = 2,  /* `depth` requests under way on each ring, round after round */
	CROWD_BESIDE = 3, /* one at a time on ring 0, `gap` between them; `depth` on ring 1, or a misdeed */
	CROWD_BARE = 4,   /* no ring: stores to `page`, waits for `answer` */
};

/* What BESIDE's ring 1 is misused for, as fast as the vCPU goes. */
enum {
	CROWD_FLOODS = 0,   /* `depth` requests of `bytes` under way */
	CROWD_RINGS = 1,    /* its bell, for nothing */
	CROWD_GARBLES = 2,  /* `depth` requests that make no sense */
	CROWD_BREAKS = 3,   /* an index from nowhere, a reset, and again */
	CROWD_DISTURBS = 4, /* an interrupt for each request of a byte */
};

enum {
	CROWD_STARTING = 0,
	CROWD_DONE = 1,
	CROWD_HALTED = 2,
	CROWD_NO_RING = 3,   /* detail: VDB_GUEST_E* */
	CROWD_NOT_READY = 4, /* detail: VDB_REASON_* */
};

/* Times are in ticks of the guest's TSC. */
struct crowd_box {
	/* the host writes, before the start */
	uint32_t mode;
	uint32_t lanes; /* rings, each behind a doorbell page of its own */
	uint32_t depth;
	uint32_t bytes; /* of a READ of ROUND, and of BESIDE's ring 1 */
	uint64_t page;  /* gpa of the first doorbell page; the others follow it */
	uint64_t buffer;
	uint64_t blocks; /* of `bytes` each, that the backend has */
	uint64_t warm_up, duration;
	uint64_t gap;
	uint64_t samples; /* gpa of `room` words: BESIDE's round trips */
	uint64_t room;
	uint64_t counts;  /* gpa of `lanes` words: ROUND's requests within `ran` */
	uint64_t misdeed; /* of BESIDE */
	uint64_t reserved0[4];

	/* the guest writes, for the end */
	uint32_t state;
	uint32_t reserved1;
	int64_t detail;
	uint64_t sampled;
	uint64_t all;       /* requests, warm-up and the end included */
	uint64_t completed; /* within `ran` */
	uint64_t ran;
	uint64_t wrong;
	uint64_t rung;

	/* the host writes, while the guest runs */
	uint64_t answer;
};

_Static_assert(offsetof(struct crowd_box, state) == 128, "each writer has its own lines");
_Static_assert(offsetof(struct crowd_box, answer) == 192, "each writer has its own lines");
_Static_assert(sizeof(struct crowd_box) <= 4096, "one page");

#endif
