/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest leaves to the device (virtio 1.2, 5.1.6.2), done: checksums filled in, and what is longer than
 * a packet cut into segments. Of a copy: where it came from may change meanwhile.
 */
#ifndef VDB_NET_SEGMENT_H
#define VDB_NET_SEGMENT_H

#include <stdint.h>
#include <vdb/netdev.h>

#include "net/vnet.h"

#define VDB__SEGMENT_FIRST 14u    /* an Ethernet header, which every frame has */
#define VDB__SEGMENT_HEADERS 256u /* Ethernet, IP and TCP, with what options they may have */

struct vdb__segment {
	struct vdb__vnet vnet;
	uint32_t len;     /* of the frame */
	uint32_t headers; /* of these, that every segment has; 0: it is not to be cut */
	uint32_t network; /* where the IP header is */
	uint32_t count;   /* of segments; at least 1 */
	uint8_t frame[VDB_NET_MAX - VDB_NET_HDR];
	uint8_t out[VDB__SEGMENT_HEADERS];
};

/* vnet, len and frame are set; checked against each other by vdb__vnet_fits(). Fills in what is left, and the
 * checksum of what is not to be cut. -EPROTO: the headers are not what vnet says. */
int vdb__segment_begin(struct vdb__segment *segment);

/* Segment `n`, in two pieces that stay until the next call. Returns its length. */
uint32_t vdb__segment_get(struct vdb__segment *segment, uint32_t n, struct iovec iov[2]);

#endif
