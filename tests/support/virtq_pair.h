/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue and its driver on the test's thread, with no lane between: the test
 * pops, completes and publishes itself. Failures abort the test (libcheck).
 */
#ifndef VIRTQ_PAIR_H
#define VIRTQ_PAIR_H

#include <check.h>

#include "mock.h"
#include "queue/virtq.h"
#include "virtq_driver.h"

#define PAIR_QUEUE 0x1000u  /* gpa of the areas */
#define PAIR_TABLE 0x80000u /* for indirect tables */
#define PAIR_DATA 0x100000u /* memory from here on is free */
#define PAIR_RAM (2u << 20)

struct virtq_pair {
	struct mock_ram ram;
	struct virtq_driver d;
	struct vdb_queue *queue;
	struct vdb__elem elem; /* as last popped */
	struct vdb__seg segs[1024];
	uint16_t shown; /* split: avail entries of virtq_pair_offer() */
};

/* desc 0 = PAIR_QUEUE. The queue has been attached. */
void virtq_pair_open(struct virtq_pair *p, const struct vdb_virtq_config *config);
void virtq_pair_close(struct virtq_pair *p);

/* The next request, in elem and segs. */
bool virtq_pair_pop(struct virtq_pair *p);
/* Completes it as a USER request that wrote so many bytes. */
void virtq_pair_complete(struct virtq_pair *p, uint64_t cookie, uint32_t written);
/* True: an interrupt. */
bool virtq_pair_publish(struct virtq_pair *p);
/* Pops and completes all there is; how many. */
uint32_t virtq_pair_serve(struct virtq_pair *p);
/* The device goes to sleep; true: it may not. */
bool virtq_pair_arm(struct virtq_pair *p);

/* ---- Without the driver: what a hostile guest writes ---- */

void virtq_pair_desc(struct virtq_pair *p, uint32_t i, vdb_gpa_t addr, uint32_t len, uint32_t flags,
                     uint32_t next);
/* The same in an indirect table, of either layout. */
void virtq_pair_entry(struct virtq_pair *p, vdb_gpa_t table, uint32_t i, vdb_gpa_t addr, uint32_t len,
                      uint32_t flags, uint32_t next);
/* One more avail entry, and the index behind it. */
void virtq_pair_offer(struct virtq_pair *p, uint32_t head);
/* Packed: `flags` without AVAIL and USED, which are those of lap `wrap`. */
void virtq_pair_packed(struct virtq_pair *p, uint32_t i, vdb_gpa_t addr, uint32_t len, uint32_t id,
                       uint32_t flags, bool wrap);

/* Nothing is popped, and the queue broke for `reason`: nothing is popped ever after. */
void virtq_pair_breaks(struct virtq_pair *p, uint32_t reason);

#endif
