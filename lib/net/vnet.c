/* SPDX-License-Identifier: Apache-2.0 */
#include "net/vnet.h"

static uint16_t le16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

struct vdb__vnet vdb__vnet_get(const uint8_t header[VDB_NET_HDR])
{
	return (struct vdb__vnet){
	        .flags = header[0],
	        .gso_type = header[1],
	        .hdr_len = le16(header + 2),
	        .gso_size = le16(header + 4),
	        .csum_start = le16(header + 6),
	        .csum_offset = le16(header + 8),
	};
}

/* One of these is needed for such segments; 0: nobody knows the type. */
static uint32_t segmenters(uint8_t type)
{
	switch (type) {
	case VDB__VNET_GSO_TCP4:
		return VDB_NET_TSO4;
	case VDB__VNET_GSO_TCP6:
		return VDB_NET_TSO6;
	case VDB__VNET_GSO_UDP:
		return VDB_NET_UFO;
	case VDB__VNET_GSO_UDP_L4:
		return VDB_NET_USO4 | VDB_NET_USO6;
	default:
		return 0;
	}
}

bool vdb__vnet_type_fits(uint8_t type, uint32_t offloads)
{
	uint32_t segmenter = segmenters(type & (VDB__VNET_GSO_ECN - 1));

	if (type == VDB__VNET_GSO_NONE)
		return true;
	if (type & VDB__VNET_GSO_ECN &&
	    !(offloads & VDB_NET_ECN && segmenter & (VDB_NET_TSO4 | VDB_NET_TSO6)))
		return false;
	return segmenter & offloads;
}

static bool csum_fits(const struct vdb__vnet *h, uint32_t len, uint32_t offloads)
{
	if (h->flags & ~(VDB__VNET_NEEDS_CSUM | VDB__VNET_DATA_VALID))
		return false;
	if (!h->flags)
		return true;
	if (!(offloads & VDB_NET_CSUM))
		return false;
	return !(h->flags & VDB__VNET_NEEDS_CSUM) || (uint32_t)h->csum_start + h->csum_offset + 2 <= len;
}

static bool gso_fits(const struct vdb__vnet *h, uint32_t len, uint32_t offloads)
{
	if (h->gso_type == VDB__VNET_GSO_NONE)
		return true;
	return vdb__vnet_type_fits(h->gso_type, offloads) && h->gso_size && h->hdr_len <= len &&
	       h->flags & VDB__VNET_NEEDS_CSUM;
}

bool vdb__vnet_fits(const uint8_t header[VDB_NET_HDR], uint32_t len, uint32_t offloads)
{
	const struct vdb__vnet h = vdb__vnet_get(header);

	return csum_fits(&h, len, offloads) && gso_fits(&h, len, offloads);
}
