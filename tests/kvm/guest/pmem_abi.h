/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test asks of the guest that drives virtio-pmem (pmem.c), and what that tells. The struct lies at
 * PMEM_PARAMS; the guest ends by reporting a status.
 *
 * It compares the first word of each page with pmem_word(page, from), writes pmem_word(page, to) there,
 * flushes, and looks again: it finds what it wrote if `keeps`, else what was there.
 */
#ifndef TESTS_PMEM_ABI_H
#define TESTS_PMEM_ABI_H

#include <stdint.h>

#define PMEM_PARAMS 0x200000u
#define PMEM_RINGS 0x210000u
#define PMEM_REQUEST 0x220000u
#define PMEM_PORT 0x10u /* reports, as kvm_fixture.h has it */

struct pmem_params {
	uint64_t features;
	uint32_t from, to;
	uint32_t keeps;
	/* The guest's: */
	uint32_t wrong; /* page */
	uint64_t start, size;
	uint32_t answer;
};

enum {
	PMEM_OK = 0x600d,
	PMEM_NOT_FOUND = 1,
	PMEM_REFUSED = 2,
	PMEM_USED_WRONG = 3,
	PMEM_WAS_WRONG = 4,
	PMEM_IS_WRONG = 5,
	PMEM_NOT_FLUSHED = 6,
};

static inline uint64_t pmem_word(uint64_t page, uint32_t salt)
{
	return (page + 1) * 0x9e3779b97f4a7c15ull ^ salt;
}

#endif
