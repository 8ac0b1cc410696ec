/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What netdevs on sockets have in common: one socket, one pair at a time, packets of the guest's that wait
 * to be sent together, and the end of the peer. Loop's thread, unless said otherwise.
 *
 * All calls on the socket are ones that do not wait (MSG_DONTWAIT), made when there is something to send, or
 * when a poll on the loop says that there is something to be read: one call moves as many packets as there
 * are, which no operation of io_uring does for datagrams of several buffers each; and none raises SIGPIPE.
 */
#ifndef VDB_NET_NETSOCK_H
#define VDB_NET_NETSOCK_H

#include <vdb/netsock.h>

#include "base/list.h"
#include "loop/source.h"
#include "net/await.h"

#define VDB__NETSOCK_BURST 64u /* packets a call */

struct vdb__netsock;

struct vdb__netsock_ops {
	struct vdb_netdev_ops
	        netdev; /* ctx is the struct vdb__netsock; destroy() ends with vdb__netsock_free() */
	const char *what;
	int types[2]; /* SOCK_*; 0 = no other */
	/* Sends what waits, as far as that goes. */
	void (*send)(struct vdb__netsock *sock);
	/* There is something to be read, or an end to be noticed. */
	void (*readable)(struct vdb__netsock *sock);
	/* A pair is there: listens, or goes on with what has been left over from the one before. */
	void (*opened)(struct vdb__netsock *sock);
};

struct vdb__netsock {
	const struct vdb__netsock_ops *ops;
	struct vdb_net_socket_config config;
	struct vdb__netfd *fd;
	struct vdb_netdev *netdev;
	int domain, type;
	uint32_t offloads; /* that the guest takes; any thread */
	bool broken;       /* the peer is gone, or may as well be */

	/* While a pair is open. */
	struct vdb_net_pair *pair;
	struct vdb_loop *loop;
	struct vdb__await *rx, *tx;
	struct vdb__batch flush;
	struct vdb__list waiting; /* packets to be sent, by vdb__netsock_link() */
	uint32_t count;           /* of them */
	bool stuck;               /* the socket takes no more: tx waits */
};

/* Any thread. `sock` is the first member of something that is zeroed, and stays the caller's on failure. */
int vdb__netsock_init(struct vdb__netsock *sock, const struct vdb__netsock_ops *ops,
                      const struct vdb_net_socket_config *config);
int vdb__netsock_netdev(struct vdb__netsock *sock, struct vdb_netdev **out);
void vdb__netsock_fini(struct vdb__netsock *sock);

/* ---- Entries of ops.netdev ---- */

int vdb__netsock_offload(void *ctx, uint32_t offloads);
int vdb__netsock_open(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop);
void vdb__netsock_close(void *ctx, uint32_t index);
int vdb__netsock_transmit(void *ctx, uint32_t index, struct vdb_req *packet);
void vdb__netsock_cancel(void *ctx, uint32_t index, struct vdb_req *packet);

/* ---- For the kinds ---- */

/* Where a waiting packet has its link. */
static inline struct vdb__list *vdb__netsock_link(struct vdb_req *packet)
{
	return (struct vdb__list *)(void *)&packet->scratch[VDB_NET_SCRATCH];
}

static inline struct vdb_req *vdb__netsock_packet(struct vdb__list *link)
{
	return (struct vdb_req *)(void *)((char *)link - offsetof(struct vdb_req, scratch) -
	                                  VDB_NET_SCRATCH * sizeof(uint64_t));
}

/* The first that waits; NULL: none does. */
struct vdb_req *vdb__netsock_first(struct vdb__netsock *sock);

/* It does not wait any more: it is sent, or dropped. */
void vdb__netsock_sent(struct vdb__netsock *sock, struct vdb_req *packet, int result);

/* The socket takes no more: send() comes when it does. */
void vdb__netsock_stuck(struct vdb__netsock *sock);

/* readable() comes when there is something. */
void vdb__netsock_listen(struct vdb__netsock *sock);

/* The end: 0, or the errno. */
void vdb__netsock_lose(struct vdb__netsock *sock, int error);

#endif
