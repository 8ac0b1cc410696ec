/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the tap netdev share. */
#ifndef VDB_NET_TAP_H
#define VDB_NET_TAP_H

#include <pthread.h>
#include <stdbool.h>
#include <vdb/tap.h>

#include "base/list.h"
#include "net/await.h"
#include "net/tap_link.h"

/*
 * The kernel's part of a packet, most of a microsecond, is done within the loop's own system call, by which
 * all of a turn is handed over: what others ask for meanwhile waits until it returns. So a packet counts for
 * more than its bytes show, and a turn has no more reads than it has writes: 32 of each.
 */
#define VDB__TAP_COST 4096u
#define VDB__TAP_BURST 32u

struct vdb__tap_slots;
struct vdb__tap_smalls;

/* One queue of the tap, for one pair. But for what is marked, of the loop's thread while it is open. */
struct vdb__tap_queue {
	struct vdb__tap *tap;
	struct vdb__netfd *fd;
	bool attached;
	struct vdb_net_pair *pair; /* NULL: it is not open */
	struct vdb_loop *loop;
	uint32_t file;              /* the fd's number there */
	struct vdb__await *changed; /* the first one's: the link may be another */

	/* To the guest. */
	struct vdb__await *readable;
	struct vdb_timer *pause; /* after a read that failed: whatever it was must not make us spin */
	struct vdb__tap_slots *slots;
	uint32_t burst;                /* reads that the next one has */
	uint32_t reading;              /* in flight */
	uint32_t life;                 /* counts its openings */
	uint32_t started, filled;      /* of this burst: reads, and those that brought a packet */
	bool large;                    /* packets are: rooms are made for the longest */
	uint32_t longest;              /* packet of this burst */
	bool failed;                   /* a read of it */
	uint32_t spilled, spilled_end; /* slots with packets that wait for room: from, to */

	/* From the guest. */
	struct vdb__await *writable;
	struct vdb_timer *patience;
	bool impatient;           /* it is armed */
	uint32_t retries;         /* by time, not since a poll said so */
	struct vdb__list stalled; /* packets that the tap had no room for */
	uint32_t retrying;        /* of those, in flight again */
	struct vdb__tap_smalls *smalls;
	uint32_t copies; /* of small packets, under way */

	/* One writer, any reader. */
	struct {
		uint64_t bursts, reads, vain, copied, spilled, stalls, failed;
	} stats;
};

struct vdb__tap {
	char name[VDB_TAP_NAME];
	struct vdb_netdev *netdev;
	bool multi;    /* its queues can be attached and detached */
	uint32_t gone; /* any thread */
	uint32_t mtu;  /* as it was at first */
	uint32_t offloads;
	/* Any thread: how long what comes from outside can be. */
	uint32_t segments;            /* bool: as long as it likes, since the guest takes segments */
	uint32_t longest;             /* else: with its header, by the link's MTU; UINT32_MAX = not known */
	struct vdb__tap_watch *watch; /* NULL: its link cannot be seen */
	uint32_t pairs;
	struct vdb__tap_queue queues[];
};

/* tap_open.c: its queues, as many as it has pairs, all detached if they can be; name, multi, offloads. */
int vdb__tap_open(struct vdb__tap *tap, const struct vdb_tap_config *config);

/* The interface takes this MTU, and is brought up. */
int vdb__tap_set_mtu(const struct vdb__tap *tap, uint32_t mtu);
int vdb__tap_up(const struct vdb__tap *tap);

/* A queue's packets come, or do not any more. 0 or -errno, without a word. */
int vdb__tap_attach(struct vdb__tap_queue *queue, bool attach);

/* The driver takes these (VDB_NET_*). */
int vdb__tap_offload(struct vdb__tap *tap, uint32_t offloads);

/* Of a netdev that is one; else NULL. */
struct vdb__tap *vdb__tap_of(const struct vdb_netdev *netdev);

/* As its link is now, of which the guest is told. */
struct vdb__tap_link vdb__tap_look(struct vdb__tap *tap);

/* It has been deleted: the guest is told. */
void vdb__tap_gone(struct vdb__tap *tap);

/* Has it? Asks. */
bool vdb__tap_is_gone(struct vdb__tap *tap);

/* tap_rx.c, tap_tx.c: what is needed while a queue is open. end() also undoes a begin() that failed. */
int vdb__tap_rx_begin(struct vdb__tap_queue *queue);
void vdb__tap_rx_end(struct vdb__tap_queue *queue);
int vdb__tap_tx_begin(struct vdb__tap_queue *queue);
void vdb__tap_tx_end(struct vdb__tap_queue *queue);

/* Nothing is there: the tap is polled. */
void vdb__tap_listen(struct vdb__tap_queue *queue);

/* Entries of the netdev's ops. */
void vdb__tap_receive(void *ctx, uint32_t index);
int vdb__tap_transmit(void *ctx, uint32_t index, struct vdb_req *packet);
void vdb__tap_cancel(void *ctx, uint32_t index, struct vdb_req *packet);

#endif
