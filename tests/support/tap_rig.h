/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's queue pairs (pair_rig.h) on a tap of the test's network namespace (netns.h), with a packet socket
 * at the tap's other end. Packets are numbered and filled, so that each can be checked.
 */
#ifndef TAP_RIG_H
#define TAP_RIG_H

#include <vdb/tap.h>

#include "netns.h"
#include "pair_rig.h"

#define TAP_RIG_TYPE 0x88b5u /* an EtherType for experiments: nobody else's */
#define TAP_RIG_MIN 60u      /* bytes of a frame */

struct tap_rig {
	struct pair_rig pairs;
	struct vdb_netdev *netdev;
	char name[VDB_TAP_NAME];
	int socket;                      /* the other end */
	uint8_t packet[PAIR_RIG_PACKET]; /* header and frame, for whoever needs room for one */
};

/* On a new tap that is up, unless `tap` has fds; tap: NULL or more config. */
void tap_rig_open(struct tap_rig *t, const struct vdb_tap_config *tap, const struct pair_rig_config *config);
void tap_rig_close(struct tap_rig *t);

struct vdb_tap_info tap_rig_info(const struct tap_rig *t);

/* Frame number `seq` of `len` bytes. */
void tap_rig_fill(uint8_t *frame, uint32_t seq, uint32_t len);
/* It is that. */
void tap_rig_check(const uint8_t *frame, uint32_t seq, uint32_t len);
/* A length from TAP_RIG_MIN to `max`, by the number. */
uint32_t tap_rig_len(uint32_t seq, uint32_t max);

/* Nothing is due: the loop would sleep. */
void tap_rig_rest(struct tap_rig *t);

/* Sends it to the guest; false: the other end takes no more. */
bool tap_rig_send(struct tap_rig *t, uint32_t seq, uint32_t len);
/* The guest has it next. */
void tap_rig_expect(struct tap_rig *t, uint32_t seq, uint32_t len);

/* The guest sends it: it is in the queue. */
void tap_rig_add(struct tap_rig *t, uint32_t seq, uint32_t len);
/* It comes out of the tap next. */
void tap_rig_expect_out(struct tap_rig *t, uint32_t seq, uint32_t len);

#endif
