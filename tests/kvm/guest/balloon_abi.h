/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test asks of the guest that drives virtio-balloon (balloon.c), and what that tells. The struct lies
 * at BALLOON_PARAMS; the guest ends by reporting a status.
 *
 * It writes a word of its own to each page of [page, +pages), waits for a target, gives so many pages of the
 * first half, takes the last quarter of them back, and finds zeroes there. Then it reports the
 * second half free but for one page, by queue 4, finds zeroes there too, and the other page as it was. Last
 * it gives its statistics BALLOON_ROUNDS times, as the host asks for them.
 */
#ifndef TESTS_BALLOON_ABI_H
#define TESTS_BALLOON_ABI_H

#include <stdint.h>

#define BALLOON_PARAMS 0x200000u
#define BALLOON_RINGS 0x210000u /* BALLOON_RING each */
#define BALLOON_RING 0x4000u
#define BALLOON_LIST 0x240000u
#define BALLOON_LIST_MAX 256u /* as Linux has it */
#define BALLOON_PORT 0x10u    /* reports, as kvm_fixture.h has it */
#define BALLOON_ROUNDS 4u

struct balloon_params {
	uint64_t features;
	uint64_t page, pages;
	/* The guest's: */
	uint64_t negotiated;
	uint32_t target;
	uint32_t wrong; /* page that was not as it should be */
};

enum {
	BALLOON_OK = 0x600d,
	BALLOON_NOT_FOUND = 1,
	BALLOON_REFUSED = 2,
	BALLOON_USED_WRONG = 3,
	BALLOON_NOT_ZERO = 4,
	BALLOON_LOST = 5, /* a page that was not given away has changed */
	BALLOON_NO_ROOM = 6,
};

#endif
