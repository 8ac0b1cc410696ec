/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest that writes to a disk (guest.c) and the judge of what is left of it (judge.c) agree on.
 *
 * Each sector that is written says which one it is and in which version, and all its bytes follow from that:
 * a sector that is part old, part new is not mistaken for either. The guest writes each version once, and has
 * one write of a sector in flight at a time, so that the sector holds what is completed, or what is issued.
 *
 * The guest keeps its log in a file that it has as memory (tinyvmm's --pmem). What it has stored there stays
 * when tinyvmm is killed.
 */
#ifndef TESTS_DURABILITY_LOG_H
#define TESTS_DURABILITY_LOG_H

#include <stdint.h>

#define LOG_BYTES 0x200000u /* of the file */
#define LOG_MAGIC 0x676f6c2d62647631ull
#define LOG_SECTORS 8192u /* of the disk */
#define SECTOR_BYTES 512u
#define SECTOR_WORDS (SECTOR_BYTES / 8)

/* How the guest takes the disk. */
enum {
	LOG_WRITE_BACK,    /* a write is durable when a FLUSH after it is complete; but now and then the guest
	                      switches the cache off, and a write is durable when it is complete */
	LOG_WRITE_THROUGH, /* the guest does not know FLUSH: likewise */
	LOG_MODES,
};

enum {
	LOG_RUNS = 1,
	LOG_NO_DISK = 2, /* these and the following: the guest has given up */
	LOG_REFUSED = 3,
	LOG_FAILED = 4, /* a request: `wrong` is its status */
};

struct log {
	uint64_t magic;
	/* The judge's: */
	uint32_t mode;
	uint32_t depth; /* requests in flight */
	uint64_t seed;
	/* The guest's: */
	uint32_t state;
	uint32_t wrong;
	uint64_t writes, flushes, sectors; /* completed */
	uint64_t switches;                 /* of the cache */
	uint8_t pad[4096 - 72];
	/* Versions, sector by sector. The judge sets all three to what the disk has before the guest starts.
	 */
	uint32_t issued[LOG_SECTORS];    /* stored before the device can know of it */
	uint32_t completed[LOG_SECTORS]; /* stored after the guest has heard of it */
	uint32_t durable[LOG_SECTORS];   /* likewise */
};
_Static_assert(sizeof(struct log) <= LOG_BYTES, "the file has room");

static inline uint64_t log_mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* Word i of a sector; the first one tells sector and version. */
static inline uint64_t log_word(uint32_t sector, uint32_t version, uint32_t i)
{
	uint64_t name = (uint64_t)sector << 32 | version;

	return i ? log_mix(name + i * 0x9e3779b97f4a7c15ull) : name;
}

#endif
