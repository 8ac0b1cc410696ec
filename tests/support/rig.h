/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole data path on the test's thread: a loop that the test steps, and mock
 * guests whose rings are lanes of it. Failures abort the test (libcheck).
 *
 *     rig_open(&rig, NULL);
 *     rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
 *     rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0)        submits, serves, returns the result
 *     rig_leave(&guest);
 *     rig_close(&rig);
 */
#ifndef RIG_H
#define RIG_H

#include <check.h>
#include <vdb/lane.h>

#include "engine.h"
#include "mock.h"

#define RIG_RING 0x1000u  /* gpa of the ring */
#define RIG_DATA 0x40000u /* memory from here on is free */
#define RIG_RAM (2u << 20)
#define RIG_DEPTH 64u

struct rig {
	struct vdb_loop *loop;
};

struct rig_guest {
	struct rig *rig;
	struct mock_ram ram;
	struct mock m;
	struct vdb_lane *lane;
	uint64_t triggers;
	uint32_t broken; /* reason */
	int gone;
	void (*on_trigger)(struct rig_guest *guest);
	void *user;
};

struct rig_guest_config {
	struct vdb_backend *backend;
	uint64_t ram;                /* 0 = RIG_RAM */
	uint32_t entries;            /* 0 = RIG_DEPTH */
	uint32_t max_segments;       /* 0 = the ring's default */
	struct vdb_lane_config lane; /* fds and trigger are the rig's */
	int by_fd;                   /* interrupts by m.call instead of the trigger */
};

void rig_open(struct rig *rig, const struct vdb_loop_config *config);
void rig_close(struct rig *rig);

/* A guest with its memory and a ring that is ready. */
void rig_join(struct rig *rig, struct rig_guest *guest, const struct rig_guest_config *config);
/* Only memory, ring and lane: no handshake, no turn. */
void rig_plug(struct rig *rig, struct rig_guest *guest, const struct rig_guest_config *config);
void rig_handshake(struct rig_guest *guest);
void rig_leave(struct rig_guest *guest);

/* `n` turns that do not wait. */
void rig_turns(struct rig *rig, unsigned n);
/* One turn; sleeps first, as an embedder's loop would, if there is nothing to do. */
void rig_wait(struct rig *rig);

#define RIG_UNTIL(rig, cond)           \
	do {                           \
		while (!(cond))        \
			rig_wait(rig); \
	} while (0)

/* Lane counters. */
struct vdb_lane_stats rig_stats(const struct rig_guest *guest);

/* Waits for the next completion. */
struct vdb_cqe rig_reap(struct rig_guest *guest);

/* One request from submission to completion; its result. */
int32_t rig_do(struct rig_guest *guest, uint8_t op, vdb_gpa_t addr, uint32_t len, uint64_t offset);

/* A request with a table of `n` segments at gpa `table`. */
struct vdb_seg;
void rig_submit_sg(struct rig_guest *guest, uint8_t op, vdb_gpa_t table, const struct vdb_seg *segs,
                   uint16_t n, uint64_t offset, uint64_t user_data);

/*
 * A backend that holds on to its requests until the test lets go of them: disk
 * and memory meet when the test calls rig_hold_end(), on the loop's thread.
 */
struct rig_hold {
	struct vdb_req *reqs[256]; /* in order of start */
	unsigned n;
	int destroyed;
};
extern const struct vdb_backend_ops rig_hold_ops;
struct vdb_backend *rig_hold_open(struct rig_hold *hold);
/* Ends the request that was started first; READ finds bytes of value `byte`. */
void rig_hold_end(struct rig_hold *hold, int32_t result, int byte);

/* Guest memory. */
void *rig_at(const struct rig_guest *guest, vdb_gpa_t gpa);

#endif
