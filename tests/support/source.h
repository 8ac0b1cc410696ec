/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source without a ring behind it: `work` requests of `bytes` each wait in it, and
 * a producer of any thread adds to them and rings as a guest would.
 */
#ifndef VDB_TESTS_SOURCE_H
#define VDB_TESTS_SOURCE_H

#include <stdint.h>

#include "loop/source.h"

struct fake {
	struct vdb__source source;
	int kick_fd;
	uint64_t work;   /* requests that wait; producers add */
	uint64_t bytes;  /* of each */
	uint32_t refill; /* always keeps that many: a driver that is never idle */
	uint32_t armed;  /* wants to be rung */
	uint64_t cost;   /* served, with request costs */
	uint64_t served, kicks, serves, arms, looks;
	uint64_t finds_at_look; /* one request appears at that look */
	int arm_finds;          /* one request appears while it is armed */
	int gone;
	void (*on_serve)(struct fake *fake);
};

/* kick: with an eventfd. */
void fake_add(struct vdb_loop *loop, struct fake *fake, struct vdb_tenant *tenant, int kick);
void fake_produce(struct fake *fake, uint64_t requests); /* any thread; rings if asked to */
void fake_ring(struct fake *fake);                       /* a bell, work or not; any thread */
int fake_try(struct vdb_loop *loop, struct fake *fake, struct vdb_tenant *tenant, int fd);
void fake_remove(struct fake *fake); /* closes the eventfd when gone */

#endif
