/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block of the demo's image: it says who wrote it, where and in which round, and
 * all of its words follow from that. Little-endian.
 *
 *     word 0   DEMO_BLOCK_MAGIC        word 3   round, from 1
 *     word 1   number of the VM        word 4   seed of the VM
 *     word 2   number of the block     word 5   checksum of words 6..511
 *     word i = 6..511   demo_mix(seed + (block << 20) + round) + i * DEMO_STEP
 *     checksum: from 0, for each word: sum = (sum rotated left by 7) ^ word, times DEMO_STEP
 */
#ifndef TINYVMM_BLOCK_H
#define TINYVMM_BLOCK_H

#include <stdint.h>

#define DEMO_BLOCK_BYTES 4096u
#define DEMO_BLOCK_WORDS 512u
#define DEMO_BLOCK_HEAD 6u
#define DEMO_BLOCK_MAGIC 0x6b636f6c42626456ull
#define DEMO_STEP 0x9e3779b97f4a7c15ull

struct demo_block {
	uint64_t magic;
	uint64_t vm;
	uint64_t block;
	uint64_t round;
	uint64_t seed;
	uint64_t checksum;
	uint64_t word[DEMO_BLOCK_WORDS - DEMO_BLOCK_HEAD];
};

/* splitmix64's last step. */
static inline uint64_t demo_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline uint64_t demo_word(const struct demo_block *head, uint32_t i)
{
	return demo_mix(head->seed + (head->block << 20) + head->round) + (i + DEMO_BLOCK_HEAD) * DEMO_STEP;
}

static inline uint64_t demo_checksum(const struct demo_block *b)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < DEMO_BLOCK_WORDS - DEMO_BLOCK_HEAD; i++)
		sum = ((sum << 7 | sum >> 57) ^ b->word[i]) * DEMO_STEP;
	return sum;
}

/* Fills `b` for the header words vm, block, round and seed, which are set. */
static inline void demo_block_fill(struct demo_block *b)
{
	uint64_t first = demo_word(b, 0);

	b->magic = DEMO_BLOCK_MAGIC;
	for (uint32_t i = 0; i < DEMO_BLOCK_WORDS - DEMO_BLOCK_HEAD; i++)
		b->word[i] = first + i * DEMO_STEP;
	b->checksum = demo_checksum(b);
}

/* 0 if `b` is what vm, block, round and seed of `want` make it, else 1 + its first wrong word. */
static inline uint32_t demo_block_check(const struct demo_block *b, const struct demo_block *want)
{
	uint64_t first = demo_word(want, 0);

	if (b->magic != DEMO_BLOCK_MAGIC)
		return 1;
	if (b->vm != want->vm)
		return 2;
	if (b->block != want->block)
		return 3;
	if (b->round != want->round)
		return 4;
	if (b->seed != want->seed)
		return 5;
	if (b->checksum != demo_checksum(b))
		return 6;
	for (uint32_t i = 0; i < DEMO_BLOCK_WORDS - DEMO_BLOCK_HEAD; i++)
		if (b->word[i] != first + i * DEMO_STEP)
			return 1 + DEMO_BLOCK_HEAD + i;
	return 0;
}

#endif
