/* SPDX-License-Identifier: Apache-2.0 */
/* The header in front of a packet from the guest (virtio 1.2, 5.1.6.2). */
#include <endian.h>

#include "net/pair.h"
#include "net/vnet.h"

/* What one packet may become. A guest that lets a host cut 64 KiB into single bytes keeps it busy for longer
 * than all that it pays for; Linux' own smallest segments are larger than this makes them. */
#define MAX_SEGMENTS 2048u

static bool checksum_can_be(const struct virtio_net_hdr_v1 *header, uint32_t len, uint32_t offloads)
{
	uint32_t at = (uint32_t)le16toh(header->csum_start) + le16toh(header->csum_offset);

	return offloads & VDB_NET_CSUM && at + sizeof(uint16_t) <= len;
}

/* Segments are made anew, and so is each one's checksum (5.1.6.2.1). */
static bool segments_can_be(const struct virtio_net_hdr_v1 *header, uint32_t len, uint32_t offloads)
{
	uint32_t size = le16toh(header->gso_size);

	return vdb__vnet_type_fits(header->gso_type, offloads) && header->flags && size &&
	       size < UINT16_MAX && len / size < MAX_SEGMENTS && le16toh(header->hdr_len) <= len;
}

bool vdb__net_header_check(struct virtio_net_hdr_v1 *header, uint32_t len, uint32_t offloads)
{
	header->num_buffers = 0;
	header->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (!header->flags)
		header->csum_start = header->csum_offset = 0;
	else if (!checksum_can_be(header, len, offloads))
		return false;
	if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return segments_can_be(header, len, offloads);
	if (le16toh(header->hdr_len) > len)
		return false;
	header->gso_size = header->hdr_len = 0;
	return true;
}
