/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's network card without a device: a netdev's one queue pair, with drivers of both queues, on a loop
 * that the test turns. For tests of netdevs; several on one loop are several guests.
 *
 *     nic_open(&nic, loop, netdev, NULL);
 *     nic_fill(&nic, 8, 2048);                    room for 8 packets
 *     nic_send(&nic, NULL, frame, len);           sends one
 *     nic_expect(&nic, NULL, frame, len);         waits for one, and compares
 *     nic_close(&nic);
 */
#ifndef NIC_RIG_H
#define NIC_RIG_H

#include <check.h>
#include <vdb/vdb.h>

#include "mock.h"
#include "net/pair.h"
#include "turn.h"
#include "virtq_driver.h"

#define NIC_ENTRIES 128u
#define NIC_SLOT 0x11000u /* bytes for each packet */

struct nic_config {
	uint32_t offloads; /* that the guest takes, and may use */
	bool mergeable;
	uint32_t entries; /* 0 = NIC_ENTRIES */
	struct vdb_tenant *tenant;
};

struct nic {
	struct vdb_loop *loop; /* NULL: it has been destroyed */
	struct vdb_netdev *netdev;
	struct mock_ram ram;
	struct virtq_driver driver[2]; /* VDB__NET_RX, VDB__NET_TX */
	struct vdb_lane *lane[2];
	int kick[2];
	struct vdb__net net;
	struct vdb_net_pair *pair;
	uint32_t room[NIC_ENTRIES]; /* bytes of each receive buffer */
	uint32_t given, sent;       /* ever */
	uint32_t failed;            /* times that the pair could not be opened */
	uint32_t gone;
	bool has_link, left;
};

void nic_open(struct nic *nic, struct vdb_loop *loop, struct vdb_netdev *netdev,
              const struct nic_config *config);
/* Begins its end, which nic_close() waits for: nic->gone is 2 then. */
void nic_leave(struct nic *nic);
void nic_close(struct nic *nic);

/* A frame between two addresses that end in these bytes, filled from `seed` on. */
void nic_frame(uint8_t *frame, uint32_t len, uint8_t to, uint8_t from, uint32_t seed);

/* Gives `n` buffers of `len` bytes for packets to come. */
void nic_fill(struct nic *nic, uint32_t n, uint32_t len);

/* Sends a frame behind this header, NULL = zeroes. */
void nic_send(struct nic *nic, const uint8_t *header, const void *frame, uint32_t len);
/* Where the n-th packet's frame lies. */
void *nic_sent_at(struct nic *nic, uint32_t n);
/* Takes back those that are sent; how many. */
uint32_t nic_reclaim(struct nic *nic);
/* Waits until all are. */
void nic_drain(struct nic *nic);

/* Takes the next packet, of one buffer: header and frame. 0: there is none. */
uint32_t nic_take(struct nic *nic, uint8_t *packet);
/* Waits for it, and compares; num_buffers is not looked at. */
void nic_expect(struct nic *nic, const uint8_t *header, const void *frame, uint32_t len);
/* None comes. */
void nic_expect_none(struct nic *nic);

/* Until `truth`. */
#define nic_until(loop, truth)                                                           \
	do {                                                                             \
		for (int nic_tries = 0; !(truth); nic_tries++) {                         \
			ck_assert_msg(nic_tries < 100000, "waited long for %s", #truth); \
			(void)test_turn_within(loop, 0);                                 \
			if (nic_tries > 100)                                             \
				usleep(200);                                             \
		}                                                                        \
	} while (0)

#endif
