/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-net device without a VM: its drivers are the test's, and so is the netdev behind it, which keeps
 * what the guest sends, and sends what the test gives it. Failures abort the test.
 *
 *     net_rig_open(&r, &(struct net_rig_config){.offloads = VDB_NET_CSUM});
 *     net_rig_up(&r, features);                       one pair and the control queue
 *     net_give(&r, 0, gpa, len, cookie);              a buffer to receive into
 *     net_host_sends(&r, 0, packet, len);             the outside sends
 *     net_expect(&r, 0, packet, len, 1);              and the guest has it
 *     net_rig_close(&r);
 */
#ifndef NET_RIG_H
#define NET_RIG_H

#include "ready_rig.h"
#include "virtio/net.h"

#define NET_PAIRS 3u
#define NET_FREE (8 * VRIG_STRIDE) /* guest memory of two queues that no device here has */
#define NET_HOLD 64u

/* What the netdev does with a packet from the guest, */
enum net_way {
	NET_SENDS,   /* at once, */
	NET_LATER,   /* when it is told to, */
	NET_REFUSES, /* or not at all. */
};

/* How it gives the guest one. */
enum net_how {
	NET_PUT,
	NET_TAKE, /* into room of its length */
	NET_ANY,  /* into room for any */
	NET_GROW, /* into room of 64 bytes that turn out not to be enough */
};

struct net_packet {
	struct net_packet *next;
	uint32_t len;
	uint8_t data[];
};

struct net_list {
	struct net_packet *first, **last;
	uint32_t count; /* atomic */
};

/* Of the loop's thread, but for what is atomic. */
struct net_port {
	struct net_rig *rig;
	struct vdb_net_pair *pair;
	struct vdb_loop *loop;
	uint32_t opens, closes;                       /* atomic */
	uint32_t receives, again, cancels, oversized; /* atomic */
	struct net_list sent;                         /* by the guest */
	struct net_list out;                          /* to it */
	struct vdb_req *held[NET_HOLD];
	uint32_t nheld; /* atomic */
};

struct net_rig {
	struct virtio_rig v;
	struct vdb_netdev *netdev;
	enum net_way way;
	enum net_how how;
	uint32_t offloads;             /* last told; atomic */
	int offload_fails, open_fails; /* -errno */
	uint32_t destroyed;            /* atomic */
	struct net_port port[NET_PAIRS];
};

struct net_rig_config {
	uint32_t offloads, pairs, mtu;
	struct vdb_net_config net;
	struct vdb_virtio_config at; /* what it has beyond the rig's */
};

void net_rig_open(struct net_rig *r, const struct net_rig_config *config);
/* The netdev alone; and a device for it. */
void net_rig_netdev(struct net_rig *r, const struct net_rig_config *config);
/* Another device, with another netdev, in the place of one that has no transport. */
void net_rig_renew(struct net_rig *r, const struct net_rig_config *config);
void net_rig_close(struct net_rig *r);
/* Negotiates, with rings of 16, of `pairs` pairs and the control queue. */
void net_rig_up_pairs(struct net_rig *r, uint64_t features, uint32_t pairs);
void net_rig_up(struct net_rig *r, uint64_t features);

/* ---- Packets ---- */

/* A header of zeroes and a frame to the device's own address, which is `seed`'s. */
void net_packet(uint8_t *packet, uint32_t len, uint32_t seed);

/* ---- The netdev ---- */

void net_host_sends(struct net_rig *r, uint32_t pair, const void *packet, uint32_t len);
/* Waits for the next packet from the guest and checks it. */
void net_host_expect(struct net_rig *r, uint32_t pair, const void *packet, uint32_t len);
/* Those held are sent, with this result. */
void net_host_release(struct net_rig *r, uint32_t pair, int32_t result);
/* Runs fn on the pair's loop. */
int net_host_call(struct net_rig *r, uint32_t pair, int (*fn)(void *port));
/* All that was on its way to the guest has been given up, or is there. */
void net_host_idle(struct net_rig *r, uint32_t pair);

/* ---- The guest ---- */

void net_give(struct net_rig *r, uint32_t pair, vdb_gpa_t gpa, uint32_t len, uint64_t cookie);
void net_give_chain(struct net_rig *r, uint32_t pair, const struct virtq_buf *bufs, uint32_t n,
                    uint64_t cookie);
/* `n` buffers of `len` bytes each, from NET_FREE on; cookies are their addresses. */
void net_give_many(struct net_rig *r, uint32_t pair, uint32_t n, uint32_t len);
/* Waits for a packet in buffers whose cookies are their addresses; checks it, and how many they are. */
void net_expect(struct net_rig *r, uint32_t pair, const void *packet, uint32_t len, uint16_t buffers);
/* Sends a chain, and waits for its use. */
void net_send_chain(struct net_rig *r, uint32_t pair, const struct virtq_buf *bufs, uint32_t n);
/* Sends a packet in one piece; it is in the queue's memory, from offset 0 on. */
void net_send(struct net_rig *r, uint32_t pair, const void *packet, uint32_t len);
/* A command as it is; what the device answers, 0xee: nothing. */
uint8_t net_command(struct net_rig *r, const void *command, uint32_t len);

struct vdb_net_stats net_stats(struct net_rig *r, uint32_t pair);

#endif
