/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic of freely running 32-bit ring indices: pure functions, correct
 * across the wrap. `entries` is a power of two, at most 2^15.
 */
#ifndef VDB_QUEUE_INDEX_H
#define VDB_QUEUE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

/* Entries of [head, tail). */
static inline uint32_t vdb__index_count(uint32_t head, uint32_t tail)
{
	return tail - head;
}

/* A tail can be true: no further ahead of head than there are entries, and not behind it. */
static inline bool vdb__index_tail_ok(uint32_t head, uint32_t tail, uint32_t entries)
{
	return tail - head <= entries;
}

/* A head can be true: it moved forward from `seen`, and not past tail. */
static inline bool vdb__index_head_ok(uint32_t seen, uint32_t head, uint32_t tail)
{
	return head - seen <= tail - seen;
}

/* With `used` = [head, tail), one more fits. */
static inline bool vdb__index_room(uint32_t head, uint32_t tail, uint32_t entries)
{
	return tail - head < entries;
}

static inline uint32_t vdb__index_slot(uint32_t index, uint32_t entries)
{
	return index & (entries - 1);
}

/* Of `count` entries from `index` on, those before the array's end. */
static inline uint32_t vdb__index_run(uint32_t index, uint32_t count, uint32_t entries)
{
	uint32_t left = entries - vdb__index_slot(index, entries);

	return count < left ? count : left;
}

/* The entry `event` is among [old_tail, new_tail): its owner wants to be notified. */
static inline bool vdb__index_wants(uint32_t event, uint32_t old_tail, uint32_t new_tail)
{
	return event - old_tail < new_tail - old_tail;
}

/* The first generation of a device that finds these words of a driver, living or long gone:
 * one that neither of them can be taken to mean. */
static inline uint32_t vdb__index_first_generation(uint32_t ready, uint32_t reset)
{
	uint32_t generation = 1;

	while (generation == ready || generation == reset)
		generation++;
	return generation;
}

#endif
