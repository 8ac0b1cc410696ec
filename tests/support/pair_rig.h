/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A netdev under test, and a guest's queue pairs in front of it without a device around them: drivers on
 * virtqueues, lanes of a loop that the test steps. Failures abort the test (libcheck).
 *
 *     pair_rig_open(&r, netdev, &(struct pair_rig_config){.mergeable = true});
 *     pair_rig_post(&r, 0, 64);                         receive buffers
 *     pair_rig_add(&r, 0, packet, len); pair_rig_ring(&r, 0);
 *     len = pair_rig_receive(&r, 0, packet);            waits
 *     pair_rig_close(&r);                               drops the netdev, too
 *
 * Packets are VDB_NET_HDR bytes, then a frame.
 */
#ifndef PAIR_RIG_H
#define PAIR_RIG_H

#include "net/pair.h"
#include "rig.h"
#include "virtq_driver.h"

#define PAIR_RIG_PAIRS 4u
#define PAIR_RIG_ENTRIES 256u
#define PAIR_RIG_SENDING 32u /* packets that a pair may be sending */
#define PAIR_RIG_PACKET 0x11000u

struct pair_rig_config {
	uint32_t pairs;    /* 0 = 1 */
	uint32_t flags;    /* VDB_VIRTQ_* */
	uint32_t offloads; /* VDB_NET_* that the guest takes, and may send */
	uint32_t buf_len;  /* of receive buffers; 0 = 1536 */
	bool mergeable;
	struct vdb_limit *limit;
};

struct pair_rig_queue {
	struct pair_rig *rig;
	struct virtq_driver d;
	struct vdb_lane *lane;
	int kick;
	uint64_t triggers;
	uint32_t broken;
	int gone;
	vdb_gpa_t data;
	uint32_t unused[PAIR_RIG_ENTRIES], unused_count; /* buffers */
};

struct pair_rig {
	struct rig rig;
	struct mock_ram ram;
	struct vdb__net net;
	struct pair_rig_config config;
	struct vdb_net_pair *pair[PAIR_RIG_PAIRS];
	struct pair_rig_queue rx[PAIR_RIG_PAIRS], tx[PAIR_RIG_PAIRS];
	uint32_t links;  /* times that the link became another */
	uint32_t failed; /* pairs that could not be opened */
	bool hold;       /* received buffers are not given again */
};

/* Takes the netdev over. */
void pair_rig_open(struct pair_rig *r, struct vdb_netdev *netdev, const struct pair_rig_config *config);
void pair_rig_close(struct pair_rig *r);
/* Only the lanes: the guest has reset its queues. */
void pair_rig_stop(struct pair_rig *r);
/* It uses so many pairs from now on. */
void pair_rig_use(struct pair_rig *r, uint32_t pairs);

/* Receive buffers, as many as there are unused ones at most. */
void pair_rig_post(struct pair_rig *r, uint32_t pair, uint32_t count);
/* The next packet, if there is one, else 0; its buffers are given again unless r->hold. */
uint32_t pair_rig_poll(struct pair_rig *r, uint32_t pair, uint8_t packet[PAIR_RIG_PACKET]);
/* The same, waiting. */
uint32_t pair_rig_receive(struct pair_rig *r, uint32_t pair, uint8_t packet[PAIR_RIG_PACKET]);

/* A packet to be sent, in three pieces. Waits for room. */
void pair_rig_add(struct pair_rig *r, uint32_t pair, const uint8_t *packet, uint32_t len);
void pair_rig_ring(struct pair_rig *r, uint32_t pair);
/* Packets on their way. */
uint32_t pair_rig_sending(struct pair_rig *r, uint32_t pair);

struct vdb_net_stats pair_rig_stats(const struct pair_rig *r, uint32_t pair);

#endif
