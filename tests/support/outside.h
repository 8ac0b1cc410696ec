/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A netdev whose outside is the test: it keeps what it is given, and sends what the test has it send. On a
 * loop that the test turns; no threads.
 *
 *     outside_open(&o, VDB_NET_CSUM);          o.netdev is the caller's, until outside_close()
 *     outside_send(&o, NULL, frame, len);
 *     outside_expect(&o, loop, NULL, frame, len);
 */
#ifndef OUTSIDE_H
#define OUTSIDE_H

#include <check.h>
#include <vdb/netdev.h>

#define OUTSIDE_PACKETS 1024u

struct outside_packet {
	uint32_t len;
	uint8_t *bytes; /* header and frame */
};

/* A FIFO. */
struct outside_queue {
	struct outside_packet at[OUTSIDE_PACKETS];
	uint32_t head, tail;
};

struct outside {
	struct vdb_netdev *netdev;
	struct vdb_net_pair *pair;       /* NULL: it is not open */
	struct outside_queue got, out;   /* from the other side, and to it */
	uint32_t offloads;               /* that it was told */
	uint32_t opens, destroyed;       /* times */
	uint32_t taken, given, receives; /* packets from there, and to there; calls */
	bool holds;                      /* packets are not sent until outside_release() */
	bool discards;                   /* they are counted, not kept */
	struct vdb_req *held[OUTSIDE_PACKETS];
	uint32_t nheld;
	int open_fails, offload_fails; /* -errno */
	uint32_t flood;                /* there is always a packet of this length, a copy of out's first */
};

void outside_open(struct outside *o, uint32_t offloads);
/* Drops the reference; what was kept is freed. The netdev must be gone then. */
void outside_close(struct outside *o);

/* The header may be NULL: zeroes. */
void outside_send(struct outside *o, const uint8_t *header, const void *frame, uint32_t len);
/* Takes the next one that came, header and frame; 0: there is none. */
uint32_t outside_take(struct outside *o, uint8_t *packet);
/* Waits for one, and compares; num_buffers is not looked at. */
void outside_expect(struct outside *o, struct vdb_loop *loop, const uint8_t *header, const void *frame,
                    uint32_t len);
/* Those held are sent. */
void outside_release(struct outside *o);

#endif
