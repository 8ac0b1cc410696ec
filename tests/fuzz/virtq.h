/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps that virtqueues have in common, whichever layout: descriptors in the ring and in tables, what
 * makes them available, event words, scribbles.
 */
#ifndef FUZZ_VIRTQ_H
#define FUZZ_VIRTQ_H

#include <linux/virtio_ring.h>
#include <vdb/virtq.h>

#include "play.h"

/* Where things are. */
#define VIRTQ_DESC 0x1000u
#define VIRTQ_DRIVER 0x2000u
#define VIRTQ_DEVICE 0x3000u
#define VIRTQ_TABLE 0x4000u

struct virtq {
	struct play play;
	struct vdb_virtq_config config;
	uint16_t next; /* split: the next avail entry; packed: the next descriptor */
	bool wrap;     /* packed */
	uint32_t left; /* where it was when it went */
	bool scribbled;
};

/* Packed or split; the first bytes of the input choose the rest. False: nothing is possible with these. */
bool virtq_open(struct virtq *v, uint32_t flags, struct fuzz_input *in);
void virtq_close(struct virtq *v);

/* Descriptor i of what lies at `at`: 16 bytes of either layout. */
struct virtq_words {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, link;
};
void virtq_desc(struct virtq *v, vdb_gpa_t at, uint32_t i, const struct virtq_words *words);

/* Makes a head available (split), or the next descriptors (packed: n of them get their bits). */
void virtq_offer(struct virtq *v, uint16_t head, uint16_t n);

/* Any step: kind 0..31. */
void virtq_step(struct virtq *v, uint8_t kind, struct fuzz_input *in);

#define VIRTQ_STEPS 256

#endif
