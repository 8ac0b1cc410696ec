/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a switch. Ports come and go on any thread, under the lock; all else is the loop's thread's.
 *
 *     switch.c           ports: made, opened, closed
 *     switch_macs.c      which address is behind which port
 *     switch_forward.c   where a packet goes, and how long it waits there
 *     segment.c          what a guest cannot take as it is
 */
#ifndef VDB_NET_SWITCH_H
#define VDB_NET_SWITCH_H

#include <pthread.h>
#include <stdbool.h>
#include <vdb/switch.h>

#include "base/list.h"
#include "net/segment.h"

/* Packets of one sender that may wait for one receiver; and no more than then are spare, so that slow
 * receivers, however many, leave some for the others. */
#define VDB__SWITCH_SHARE 64u
#define VDB__SWITCH_WAITS 256u /* of one sender that may wait in all */

#define VDB__ETH_HEADER 14u

struct vdb__port;

/* An address as a number, its first byte the lowest; never 0. */
struct vdb__mac {
	struct vdb__mac *next; /* in its bucket */
	struct vdb__port *port;
	uint64_t mac;  /* 0: not in use */
	uint64_t seen; /* ns */
	bool fixed;
};

/* A packet that waits for one of its receivers. Its sender's. */
struct vdb__wait {
	struct vdb__list link;   /* in the receiver's queue, or in the sender's spare ones */
	struct vdb__wait *other; /* of the same packet */
	struct vdb__port *from, *to;
	struct vdb_req *packet;
	uint64_t tick;  /* since when */
	uint32_t begun; /* segments that it has got */
	uint8_t eth[VDB__ETH_HEADER];
};

struct vdb__port {
	struct vdb_switch *sw;
	struct vdb_switch_port_config config;
	struct vdb_netdev *netdev;
	uint32_t index;    /* in sw->ports */
	uint32_t offloads; /* that the guest takes; any thread */

	struct vdb_net_pair *pair; /* NULL: it is not open */
	struct vdb__list queue;    /* struct vdb__wait */
	uint32_t queued;

	struct vdb__list spare; /* struct vdb__wait */
	uint32_t nspare;
	struct vdb__wait waits[VDB__SWITCH_WAITS];
	struct vdb__mac *macs; /* config.macs of them */
	uint16_t *waiting;     /* packets, for each receiver's index */
	struct vdb_switch_port_stats stats;
};

struct vdb_switch {
	uint32_t refs; /* any thread */
	struct vdb_loop *loop;
	struct vdb_switch_config config;

	pthread_mutex_t lock;
	struct vdb__port **ports; /* config.ports of them, NULL = free */

	/* By index, those that are open. Any call of the pairs' may close one, or several. */
	struct vdb__port **open;
	uint32_t opened; /* how many */
	uint32_t queued; /* in all their queues */
	uint64_t tick;   /* of the timer */
	struct vdb_timer *timer;
	bool ticking;
	uint64_t now; /* of this turn */
	uint64_t key; /* of the buckets: the guests do not know it */
	uint32_t bits;
	struct vdb__mac **buckets;
	struct vdb__segment segment;
};

/* ---- switch_macs.c ---- */

uint64_t vdb__switch_mac(const uint8_t bytes[6]);

static inline bool vdb__switch_is_group(uint64_t mac)
{
	return mac & 1;
}

/* The port sends from this address. False: it is another one's. */
bool vdb__switch_learn(struct vdb__port *port, uint64_t mac);

/* Never forgotten before vdb__switch_forget(). */
void vdb__switch_fix(struct vdb__port *port, uint64_t mac);
void vdb__switch_forget(struct vdb__port *port);

/* NULL: nobody knows. */
struct vdb__port *vdb__switch_find(struct vdb_switch *sw, uint64_t mac);

/* ---- switch_forward.c ---- */

int vdb__switch_transmit(void *ctx, uint32_t index, struct vdb_req *packet);
void vdb__switch_cancel(void *ctx, uint32_t index, struct vdb_req *packet);
void vdb__switch_receive(void *ctx, uint32_t index);
void vdb__switch_tick(void *sw);

/* Nobody gets what waits in the port's queue. */
void vdb__switch_drain(struct vdb__port *port);

#endif
