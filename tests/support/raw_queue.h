/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue on a lane whose driver keeps no rule: chains are written as they are given, of either layout,
 * and what the device makes of them is looked for in its memory. Behind the lane is vrig_echo(), or another
 * backend.
 */
#ifndef RAW_QUEUE_H
#define RAW_QUEUE_H

#include <linux/virtio_ring.h>

#include "virtq_rig.h"

#define RAW_ENTRIES 8u
#define RAW_TABLE 0x80000u /* room for tables */
#define RAW_REGIONS 2u

/* A descriptor without NEXT, AVAIL and USED. */
struct raw_piece {
	vdb_gpa_t addr;
	uint32_t len;
	uint32_t flags;
};

struct raw_queue {
	struct vrig v;
	struct vdb_backend *backend;
	bool packed;
	uint16_t shown; /* split: the avail index */
	uint32_t at;    /* the next descriptor */
	bool wrap;      /* packed: of `at` */
	uint32_t last;  /* descriptor of the chain put last; */
	bool last_wrap;
	uint32_t chains; /* put so far */
	struct {
		vdb_gpa_t gpa;
		uint8_t *host;
	} regions[RAW_REGIONS];
	unsigned nregions;
};

/* flags: VDB_VIRTQ_*. backend NULL: vrig_echo(). */
void raw_open(struct raw_queue *q, uint32_t flags, struct vdb_backend *backend);
void raw_close(struct raw_queue *q);

/* One more region of guest memory, with nothing around it in the host; and where it begins there. */
void raw_region(struct raw_queue *q, vdb_gpa_t gpa, uint64_t len, uint32_t vdb_region_flags);
uint8_t *raw_host(const struct raw_queue *q, vdb_gpa_t gpa);

/* A chain of n, shown and rung. */
void raw_put(struct raw_queue *q, const struct raw_piece *pieces, uint32_t n);
/* Entry i of a table. packed: without link. */
void raw_entry(struct raw_queue *q, vdb_gpa_t table, uint32_t i, vdb_gpa_t addr, uint32_t len, uint32_t flags,
               uint32_t next);
void raw_ring(struct raw_queue *q);

/* Waits until the chain put last is used: its used length. */
uint32_t raw_used(struct raw_queue *q);
/* Waits until the queue broke, for `reason`: then nothing of it is written any more. */
void raw_breaks(struct raw_queue *q, uint32_t reason);
/* One of both: broken, or used with length 0. */
void raw_fails(struct raw_queue *q);
/* A good chain is served. */
void raw_goes_on(struct raw_queue *q);

#endif
