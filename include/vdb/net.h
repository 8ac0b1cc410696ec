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
	uint64_t rx_dropped;   /* by the netdev, or since the link is down or the pair not in use */
	uint64_t rx_filtered;  /* not wanted by the driver: address, or VLAN */
	uint64_t rx_oversized; /* longer than what the driver gave, or may give at a time, has room for */
	uint64_t rx_bad;       /* buffers that cannot be used, and went back */
	uint64_t rx_stalls;    /* times that packets were there and no buffers, or no budget */
};

#ifdef __cplusplus
}
#endif
#endif
