/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that minds its own business on somebody's loop, as a tenant of its own: every other millisecond it
 * writes to its disk on four places at once and reads back what it wrote. A guest without a VM, whose ring is
 * a lane of the loop; it is driven from that loop's thread, whoever runs that, and adds no thread. What it
 * finds wrong it keeps, for others to ask. See arena.h.
 */
#ifndef BYSTANDER_H
#define BYSTANDER_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/vdb.h>

#include "mock.h"

#define BYSTANDER_SLOTS 4u

struct bystander {
	struct vdb_loop *loop;
	struct vdb_tenant *tenant;
	struct vdb_backend *backend;
	struct vdb_timer *timer;
	struct vdb_lane *lane;
	struct mock_ram ram;
	struct mock m;
	uint8_t *disk;
	bool rests;    /* loop's thread */
	unsigned open; /* slots with something on its way, when last counted */
	uint32_t live; /* driven by the loop's thread */
	uint64_t seed[BYSTANDER_SLOTS];
	uint32_t step[BYSTANDER_SLOTS]; /* 0 = idle, 1 = writes, 2 = reads */
	uint64_t beats;                 /* atomic: writes read back, and right */
	uint32_t wrong, gone;           /* atomic; wrong: said_wrong says what */
	char said_wrong[128];
};

void bystander_join(struct bystander *b, struct vdb_loop *loop);
void bystander_leave(struct bystander *b);

/* It begins nothing more, and has nothing on its way when this returns: the loop may come to rest. */
void bystander_rest(struct bystander *b);
void bystander_resume(struct bystander *b);

/* Returns when it has done so many beats more; false: it did not within `ms`, or something is wrong. */
bool bystander_goes_on(struct bystander *b, uint64_t beats, unsigned ms);

/* What it found wrong, NULL: nothing. */
const char *bystander_wrong(const struct bystander *b);

/* Runs fn(arg) on the loop's thread, the caller's if nobody else runs it. */
void bystander_call(struct vdb_loop *loop, int (*fn)(void *arg), void *arg);

/* Lets the loop go on for a moment: it is stepped, unless another thread runs it. */
void bystander_pass(struct vdb_loop *loop);

#endif
