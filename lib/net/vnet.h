/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a packet, virtio 1.2, 5.1.6, in host memory. */
#ifndef VDB_NET_VNET_H
#define VDB_NET_VNET_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/netdev.h>

/* Like struct virtio_net_hdr_v1, in the host's byte order. */
struct vdb__vnet {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
};

#define VDB__VNET_NEEDS_CSUM 1u
#define VDB__VNET_DATA_VALID 2u

#define VDB__VNET_GSO_NONE 0u
#define VDB__VNET_GSO_TCP4 1u
#define VDB__VNET_GSO_UDP 3u
#define VDB__VNET_GSO_TCP6 4u
#define VDB__VNET_GSO_UDP_L4 5u
#define VDB__VNET_GSO_ECN 0x80u

struct vdb__vnet vdb__vnet_get(const uint8_t header[VDB_NET_HDR]);

/* Segments of this type may go to somebody who does `offloads` (VDB_NET_*); NONE may always. */
bool vdb__vnet_type_fits(uint8_t type, uint32_t offloads);

/* A frame of `len` bytes may go to somebody who takes `offloads` (VDB_NET_*) with this header: it asks for
 * nothing else, and points to nothing outside. */
bool vdb__vnet_fits(const uint8_t header[VDB_NET_HDR], uint32_t len, uint32_t offloads);

#endif
