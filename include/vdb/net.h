/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, 5.1), in front of a netdev: vdb/netdev.h. Queue pair n is queues 2n (receive) and
 * 2n + 1 (transmit); the control queue is the last one, or queue 2 for a driver without MQ.
 */
#ifndef VDB_NET_H
#define VDB_NET_H

#include <stdbool.h>
#include <vdb/netdev.h>
#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VDB_NET_MAX_PAIRS 31u

struct vdb_net_config {
	uint32_t size;
	uint32_t reserved;         /* 0 */
	struct vdb_netdev *netdev; /* one device's at a time; it holds a reference */
	uint32_t pairs; /* that the driver may use; 0 = 1, at most what the netdev serves, and 31 */
	uint32_t mtu;   /* 68..65535, at most the netdev's; 0 = the netdev's, or not told */
	uint32_t speed; /* Mbit/s, full duplex; 0 = not told */
	uint8_t mac[6]; /* zeroes: made at random, locally administered */
	uint8_t reserved_too[2];
};

/*
 * at: mem, loop or loops, tenant or tenants, limit, queue_size (as many as 1024 are worth it), broken, flags
 * but IN_ORDER: buffers that a packet does not need come back later. The rest 0. Copied. The queues of a pair
 * are on one loop, and stay there. Limits count a packet to be sent, or a buffer fetched, as one operation.
 * -EINVAL, -EBUSY: the netdev has a device already, -ENOMEM. Any thread.
 */
VDB_MUST_CHECK int vdb_net_create(const struct vdb_virtio_config *at, const struct vdb_net_config *config,
                                  struct vdb_virtio **out);

/* Whether the link is up, as far as the embedder is concerned; it is at first. It is up for the guest if it
 * is for the netdev, too: vdb_netdev_link(). Any thread. */
VDB_MUST_CHECK int vdb_net_link(struct vdb_virtio *net, bool up);

/* Has the driver announce itself to the network, as after a migration (5.1.6.5.4). -EOPNOTSUPP: it has not
 * agreed to do that. Any thread. */
VDB_MUST_CHECK int vdb_net_announce(struct vdb_virtio *net);

/* The address that it has now: the driver may have set another. Any thread. */
VDB_MUST_CHECK int vdb_net_mac(struct vdb_virtio *net, uint8_t mac[6]);

/* Monotonic counters; bytes are those of frames. */
struct vdb_net_stats {
	uint32_t size;
	uint32_t in_use; /* pairs that the driver uses now */
	uint64_t tx_packets;
	uint64_t tx_bytes;
	uint64_t tx_bad;     /* what no driver may send: a header that cannot be, a frame too short or long */
	uint64_t tx_dropped; /* by the netdev, or since the link is down or the pair not in use */
	uint64_t rx_packets;
	uint64_t rx_bytes;
	/* By the netdev, since the link is down or the pair not in use, or with offloads that the driver
	 * has not agreed to. */
	uint64_t rx_dropped;
	uint64_t rx_filtered; /* not wanted by the driver: address, or VLAN */
	/* Longer than what the driver gave, or may give at a time, has room for, or than its MTU. */
	uint64_t rx_oversized;
	uint64_t rx_bad;    /* buffers that cannot be used, and went back */
	uint64_t rx_stalls; /* times that packets were there and no buffers, or no budget */
};

#define VDB_NET_ALL UINT32_MAX

/* Of a pair, or of VDB_NET_ALL together; set stats->size first. -ENOENT: no such pair. Any thread. */
VDB_MUST_CHECK int vdb_net_stats(struct vdb_virtio *net, uint32_t pair, struct vdb_net_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
