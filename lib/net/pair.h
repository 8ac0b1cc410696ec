/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue pair, between the guest's two queues and a netdev: two backends, whose lanes are on one loop.
 *
 *     pair.c  when the netdev has it: while a queue is served, and the driver uses the pair
 *     tx.c    a chain is a packet: its header is read and checked, the rest stays where it is
 *     rx.c    buffers wait in a FIFO until there is a packet for them
 *
 * What is not said to be atomic belongs to the loop's thread.
 */
#ifndef VDB_NET_PAIR_H
#define VDB_NET_PAIR_H

#include <linux/virtio_net.h>
#include <vdb/net.h>

#include "base/atomic.h"
#include "base/list.h"
#include "io/request.h"
#include "net/filter.h"
#include "net/netdev.h"

#define VDB__NET_FRAME_MIN 14u /* an Ethernet header */

enum { VDB__NET_RX, VDB__NET_TX, VDB__NET_WAYS };

/* What the pairs of a device have in common. */
struct vdb__net {
	struct vdb_netdev *netdev;
	struct vdb__net_filter filter;
	uint32_t in_use; /* pairs that the driver uses; atomic */
	uint32_t down;   /* the link, as the embedder wants it; atomic */
	uint32_t sends;  /* VDB_NET_*, that packets to the guest may ask for; atomic */
	/* Agreed on with the driver, set while no queue is served. */
	bool mergeable;
	uint32_t offloads; /* VDB_NET_*, that packets from the guest may ask for */
	uint32_t longest;  /* packet that it may be sent; */
	uint32_t usual;    /* without offloads */
	uint32_t most;     /* that it may be sent without segments; 0: any */
	/* A pair could not be opened: the host's fault. Its queue. */
	void (*failed)(void *arg, uint32_t queue);
	void *arg;
};

/* In the scratch of a receive buffer's request. */
struct vdb__net_buf {
	struct vdb__list link; /* in the FIFO, or in a room */
	struct vdb__net_room *room;
};

struct vdb__net_room {
	struct vdb_net_room pub; /* first */
	struct vdb__net_room *next;
	struct vdb__list bufs;
	struct iovec *own; /* VDB_NET_ROOM_IOV: of more than one buffer */
};

/* What the netdev has been promised by vdb_net_wake(). */
enum vdb__net_call {
	VDB__NET_QUIET,
	VDB__NET_FRESH,   /* the queue has not been looked at since */
	VDB__NET_LOOKED,  /* it has; what there is will do */
	VDB__NET_STALLED, /* and there was nothing, which has been counted */
};

struct vdb__net_rx {
	struct vdb_lane *lane; /* of the buffers */
	struct vdb__list fifo; /* struct vdb__net_buf, in the guest's order */
	uint32_t count;        /* in it */
	uint64_t bytes;
	enum vdb__net_call call;
	uint32_t expected;                   /* packets */
	uint32_t need;                       /* bytes that the next one was found to need, */
	const struct vdb__net_room *growing; /* besides what is in this room */
	uint32_t ahead;                      /* bytes that the netdev takes for any */
	struct vdb__batch batch;
	struct vdb__net_room *rooms, *free;
	struct iovec *iov; /* all rooms' own */
	uint32_t out;      /* rooms that the netdev has */
};

struct vdb_net_pair {
	struct vdb__net *net;
	uint32_t index;
	struct vdb_backend *backends[VDB__NET_WAYS];
	struct vdb_loop *loop; /* that serves it, or did so last */
	uint32_t queues;       /* that are served now */
	bool open;             /* the netdev has it, */
	bool closing;          /* but is to give it back, */
	uint32_t busy;         /* and has so many packets and rooms of it */
	bool failed;           /* it did not want it */
	struct vdb_lane *tx_lane;
	struct vdb__net_rx rx;
	struct vdb_net_stats stats; /* atomic, one writer */

	/* Any thread: so that a poke may come late. */
	uint32_t refs;
	struct vdb_loop *poked_at; /* under the netdev's lock; NULL: no queue is served */
	uint32_t poked;            /* atomic: `poke` is on its way */
	struct vdb__post poke;
};

/* ---- pair.c ---- */

int vdb__net_pair_make(struct vdb__net *net, uint32_t index, struct vdb_net_pair **out);
/* Its queues are gone. NULL is fine. */
void vdb__net_pair_drop(struct vdb_net_pair *pair);

/* Any thread, under the netdev's lock: net->in_use has changed. */
void vdb__net_pair_poke(struct vdb_net_pair *pair);

/* Of its backends: one of its queues is served, or not any more. */
void vdb__net_pair_opened(struct vdb_net_pair *pair, struct vdb_loop *loop);
void vdb__net_pair_closed(struct vdb_net_pair *pair);

/* Adds its counters. Any thread. */
void vdb__net_pair_count(const struct vdb_net_pair *pair, struct vdb_net_stats *sum);

/* Opens or closes it, if that is due. */
void vdb__net_pair_look(struct vdb_net_pair *pair);

/* One of the two has taken the link down. */
static inline bool vdb__net_is_down(const struct vdb__net *net)
{
	return vdb__load(&net->down) | vdb__load(&net->netdev->down);
}

/* The driver uses it, and somebody serves it. */
static inline bool vdb__net_pair_wanted(const struct vdb_net_pair *pair)
{
	return pair->queues && pair->index < vdb__load(&pair->net->in_use) && !pair->failed;
}

/* The netdev has it, and may keep it. */
static inline bool vdb__net_pair_works(struct vdb_net_pair *pair)
{
	if (vdb__net_pair_wanted(pair) != (pair->open && !pair->closing))
		vdb__net_pair_look(pair);
	return pair->open && !pair->closing;
}

/* The netdev has given one back. */
static inline void vdb__net_pair_rest(struct vdb_net_pair *pair)
{
	if (!--pair->busy && pair->closing)
		vdb__net_pair_look(pair);
}

/* ---- rx.c, tx.c ---- */

extern const struct vdb_backend_ops vdb__net_rx_ops, vdb__net_tx_ops;

int vdb__net_rx_init(struct vdb_net_pair *pair);
void vdb__net_rx_fini(struct vdb_net_pair *pair);
/* The netdev has let go of the pair. */
void vdb__net_rx_quiet(struct vdb_net_pair *pair);

/* ---- header.c ---- */

/* The header of a packet from the guest with a frame of `len` bytes, read once: what the device is to ignore
 * becomes zeroes. False: it cannot be. */
bool vdb__net_header_check(struct virtio_net_hdr_v1 *header, uint32_t len, uint32_t offloads);

#endif
