/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: check_image IMAGE JOURNAL
 * Finds the data of `tinyvmm demo --image IMAGE --journal JOURNAL` in the image, whether tinyvmm
 * came to its end or was killed: every block whose FLUSH a guest saw completed is there, from
 * that round or a later one. Shares no code with tinyvmm but the layout of the
 * journal; the blocks are made anew from what block.h says in words.
 *
 * Exit status: 0 all is there; 1 something is not; 2 bad usage; 3 nothing was flushed yet.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../examples/tinyvmm/guest/mailbox.h"

#define BLOCK 4096
#define WORDS (BLOCK / 8)

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The block that VM `vm` writes as number `block` of the image in this round. */
static void make(uint64_t words[WORDS], uint64_t vm, uint64_t block, uint64_t round, uint64_t seed)
{
	const uint64_t step = UINT64_C(0x9e3779b97f4a7c15);
	uint64_t sum = 0;

	words[0] = UINT64_C(0x6b636f6c42626456);
	words[1] = vm;
	words[2] = block;
	words[3] = round;
	words[4] = seed;
	for (unsigned i = 6; i < WORDS; i++) {
		words[i] = mix(seed + block * 1048576 + round) + i * step;
		sum = ((sum << 7 | sum >> 57) ^ words[i]) * step;
	}
	words[5] = sum;
}

static int wrong(const struct demo_mailbox *box, uint64_t block, const char *what, uint64_t round)
{
	printf("VM %" PRIu32 ", block %" PRIu64 ": %s (round %" PRIu64 ")\n", box->vm, block, what, round);
	return 1;
}

/* 1 if the block is not there from round `promised` on. */
static int check_block(int image, const struct demo_mailbox *box, uint64_t block, uint64_t promised)
{
	uint64_t got[WORDS], want[WORDS];

	if (pread(image, got, BLOCK, (off_t)(block * BLOCK)) != BLOCK)
		return wrong(box, block, "cannot be read", promised);
	if (got[3] < promised)
		return wrong(box, block, "is older than what was flushed", promised);
	make(want, box->vm, block, got[3], box->seed);
	return memcmp(got, want, BLOCK) ? wrong(box, block, "is damaged", got[3]) : 0;
}

static int check_vm(int image, const struct demo_mailbox *box, uint64_t *found)
{
	uint64_t round = box->flushed >> 32, blocks = box->flushed & UINT32_MAX;
	int bad = 0;

	for (uint64_t i = 0; i < box->slice; i++) {
		uint64_t promised = i < blocks ? round : round - 1;

		if (round == 0 || promised == 0)
			continue;
		bad |= check_block(image, box, box->first_block + i, promised);
		++*found;
	}
	return bad;
}

static int open_or_say(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fprintf(stderr, "check_image: %s: %s\n", path, strerror(errno));
	return fd;
}

int main(int argc, char **argv)
{
	union {
		struct demo_mailbox box;
		unsigned char page[MAILBOX_BYTES];
	} vm;
	uint64_t found = 0;
	unsigned vms = 0;
	int image, journal, bad = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: check_image IMAGE JOURNAL\n");
		return 2;
	}
	image = open_or_say(argv[1]);
	journal = open_or_say(argv[2]);
	if (image < 0 || journal < 0)
		return 2;
	while (read(journal, &vm, sizeof(vm)) == (ssize_t)sizeof(vm)) {
		bad |= check_vm(image, &vm.box, &found);
		vms++;
	}
	printf("%" PRIu64 " flushed blocks of %u VMs %s\n", found, vms,
	       bad ? "are NOT all in the image" : "are in the image");
	close(image);
	close(journal);
	if (bad)
		return 1;
	return found ? 0 : 3;
}
