/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: */
/* BROKEN: no_mask lib/queue/index.h s/index & (entries - 1)/index/ */
/* BROKEN: no_run lib/queue/index.h s/return count < left ? count : left/return count/ */
/* BROKEN: no_generation lib/queue/index.h s/generation == ready ||// */
/*
 * Arithmetic of ring indices, which run freely, of any two of them and every size of a ring.
 */
#include "queue/index.h"

static unsigned char ring[0x8000];

static uint32_t any_entries(void)
{
	uint32_t log2 = any;

	if (log2 > 15)
		return 1;
	/*@ split log2; */
	return 1u << log2;
}

/* A slot is in the ring. */
static void slots(uint32_t entries)
{
	uint32_t slot = vdb__index_slot(any, entries);

	CLAIM(slot < entries);
	ring[sizeof(ring) - entries + slot] = 1;
	REACHED(slot);
}

/* A run ends with the ring. Any index at all is one of so many laps and a slot, which Eva is shown one by
 * one. */
static void runs(void)
{
	const uint32_t entries = 16;
	uint32_t lap = any, slot = any, run;

	if (lap > UINT32_MAX / entries || slot >= entries)
		return;
	/*@ split slot; */
	run = vdb__index_run(lap * entries + slot, any, entries);
	CLAIM(slot + run <= entries);
	REACHED(run);
}

/* Those that a generation could be mistaken for are shown one by one. */
static uint32_t any_generation(void)
{
	uint32_t generation = any;

	if (generation > 4)
		return generation;
	/*@ split generation; */
	return generation;
}

/* Whatever a driver left there, neither of its words is taken for ours. */
static void generations(void)
{
	uint32_t ready = any_generation(), reset = any_generation();
	uint32_t generation = vdb__index_first_generation(ready, reset);

	CLAIM(generation >= 1 && generation <= 3);
	CLAIM(generation != ready && generation != reset);
	REACHED(generation);
}

int main(void)
{
	switch (any) {
	case 0:
		slots(any_entries());
		break;
	case 1:
		runs();
		break;
	default:
		generations();
	}
	return 0;
}
