/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue as a lane of a loop that the test steps, with the driver at its other
 * end. Failures abort the test (libcheck).
 */
#ifndef VIRTQ_RIG_H
#define VIRTQ_RIG_H

#include "queue/chain.h"
#include "rig.h"
#include "virtq_driver.h"

#define VRIG_QUEUE 0x1000u  /* gpa of the areas */
#define VRIG_DATA 0x100000u /* memory from here on is free */
#define VRIG_RAM (4u << 20)

struct vrig {
	struct rig rig;
	struct mock_ram ram;
	struct virtq_driver d;
	struct vdb_lane *lane;
	int kick;
	uint64_t triggers;
	uint32_t broken; /* reason */
	int gone;
	uint32_t left_at;
};

struct vrig_config {
	struct vdb_virtq_config virtq;      /* desc 0 = VRIG_QUEUE */
	const struct vdb__framing *framing; /* NULL: plain */
	void *framing_ctx;
	struct vdb_backend *backend;
	struct vdb_lane_config lane; /* fds and trigger are the rig's */
};

void vrig_open(struct vrig *v, const struct vrig_config *config);
void vrig_close(struct vrig *v);
/* Only the lane goes: the queue has stopped when it returns. */
void vrig_stop(struct vrig *v);

/* Waits for the next use: its length, and its cookie if asked for. */
uint32_t vrig_reap(struct vrig *v, uint64_t *cookie);
/* One chain from beginning to end: its used length. */
uint32_t vrig_do(struct vrig *v, const struct virtq_buf *bufs, uint32_t n);
struct vdb_lane_stats vrig_stats(const struct vrig *v);
void *vrig_at(const struct vrig *v, vdb_gpa_t gpa);

/* Serves USER requests: copies what is to be read into what may be written. result: bytes copied. */
struct vdb_backend *vrig_echo(void);

#endif
