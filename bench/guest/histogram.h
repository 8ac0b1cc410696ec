/* SPDX-License-Identifier: Apache-2.0 */
/* How often something took how long, within 0.8 %, in few cache lines: 128 steps for each power of two. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_FINE 7u
#define HISTOGRAM_STEPS (40u << HISTOGRAM_FINE)

struct histogram {
	uint64_t count;
	uint32_t steps[HISTOGRAM_STEPS];
};

static inline uint32_t histogram_step(uint64_t value)
{
	unsigned top = value >> HISTOGRAM_FINE ? 63u - (unsigned)__builtin_clzll(value) : 0;
	unsigned shift = top ? top - HISTOGRAM_FINE : 0;
	uint64_t step = (uint64_t)shift * (1u << HISTOGRAM_FINE) + (value >> shift);

	return step < HISTOGRAM_STEPS ? (uint32_t)step : HISTOGRAM_STEPS - 1;
}

/* The middle of a step. */
static inline uint64_t histogram_value(uint32_t step)
{
	uint32_t shift = step >> (HISTOGRAM_FINE + 1) ? (step >> HISTOGRAM_FINE) - 1 : 0;
	uint64_t low = (uint64_t)(step - (shift << HISTOGRAM_FINE)) << shift;

	return low + ((1ull << shift) >> 1);
}

static inline void histogram_add(struct histogram *h, uint64_t value)
{
	h->steps[histogram_step(value)]++;
	h->count++;
}

/* Not less than `percent` of all values; 0 if there are none. */
static inline uint64_t histogram_percentile(const struct histogram *h, unsigned percent)
{
	uint64_t seen = 0, rank = (h->count * percent + 99) / 100;

	for (uint32_t i = 0; h->count && i < HISTOGRAM_STEPS; i++) {
		seen += h->steps[i];
		if (seen >= rank)
			return histogram_value(i);
	}
	return 0;
}

#endif
