/* SPDX-License-Identifier: Apache-2.0 */
/* One life of a VM, from its memory to its end, by chance. */
#ifndef TESTS_LIFE_H
#define TESTS_LIFE_H

#include <stdint.h>
#include <vdb/vdb.h>

#include "../kvm/guest/lives_abi.h"

#define LIFE_LOOPS 2u

/* What all lives share. */
struct life_world {
	struct vdb_kvm *kvm;
	struct vdb_worker *worker;
	struct vdb_loop *loops[LIFE_LOOPS];
	int disk;     /* a file of LIVES_DISK bytes */
	char dir[64]; /* for sockets */
};

/* What came of lives, in sum. */
struct life_sum {
	uint64_t lives, reboots, pauses, moves;
	uint64_t resets; /* of devices, by their drivers */
	uint64_t done[LIVES_KINDS];
	uint64_t with[LIVES_KINDS]; /* lives that had one */
	uint64_t under;             /* requests in flight when devices were destroyed */
	uint64_t own_loops;
};

/* Everything that does not go as it should ends the program, with the life's seed. Any thread. */
void life_live(const struct life_world *world, uint64_t seed, struct life_sum *sum);

/* Fails unless rc >= 0. */
#define must(rc) life_must((int64_t)(rc), #rc, __FILE__, __LINE__)
int64_t life_must(int64_t rc, const char *what, const char *file, int line);

_Noreturn void life_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
