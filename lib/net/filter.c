/* SPDX-License-Identifier: Apache-2.0 */
#include "net/filter.h"

#include <stddef.h>

#include "base/atomic.h"

uint64_t vdb__net_mac(const uint8_t bytes[VDB__NET_MAC_LEN])
{
	uint64_t mac = 0;

	for (unsigned i = VDB__NET_MAC_LEN; i-- > 0;)
		mac = mac << 8 | bytes[i];
	return mac;
}

/* ---- Changes ---- */

void vdb__net_filter_mode(struct vdb__net_filter *filter, uint32_t mode, bool on)
{
	uint32_t modes = vdb__load(&filter->modes);

	vdb__store(&filter->modes, on ? modes | mode : modes & ~mode);
}

/* The count last, when it grows; first, when it shrinks: what is counted has been written once at least. */
void vdb__net_filter_macs(struct vdb__net_macs *to, const uint8_t *macs, uint32_t count)
{
	if (count < vdb__load(&to->count))
		vdb__store(&to->count, count);
	for (uint32_t i = 0; i < count; i++)
		vdb__store(&to->mac[i], vdb__net_mac(macs + (size_t)i * VDB__NET_MAC_LEN));
	vdb__store(&to->count, count);
}

void vdb__net_filter_vlan(struct vdb__net_filter *filter, uint32_t vlan, bool on)
{
	uint64_t *word = &filter->vlans[vlan / 64], bit = 1ull << vlan % 64;

	vdb__store(word, on ? vdb__load(word) | bit : vdb__load(word) & ~bit);
}

void vdb__net_filter_vlans(struct vdb__net_filter *filter, bool on)
{
	for (unsigned i = 0; i < VDB__NET_VLANS / 64; i++)
		vdb__store(&filter->vlans[i], on ? UINT64_MAX : 0);
}

void vdb__net_filter_reset(struct vdb__net_filter *filter, uint64_t mac)
{
	vdb__store(&filter->modes, VDB__NET_PROMISC);
	vdb__store(&filter->mac, mac);
	vdb__net_filter_macs(&filter->uni, NULL, 0);
	vdb__net_filter_macs(&filter->multi, NULL, 0);
	vdb__net_filter_vlans(filter, true);
}

/* ---- Packets ---- */

static bool has_mac(const struct vdb__net_macs *macs, uint64_t mac)
{
	uint32_t count = vdb__load(&macs->count);

	for (uint32_t i = 0; i < count; i++) {
		if (vdb__load(&macs->mac[i]) == mac)
			return true;
	}
	return false;
}

/* What is tagged, by 802.1Q. */
static bool takes_vlan(const struct vdb__net_filter *filter, const uint8_t frame[16])
{
	uint32_t vlan = ((uint32_t)frame[14] << 8 | frame[15]) & (VDB__NET_VLANS - 1);

	if (frame[12] != 0x81 || frame[13] != 0)
		return true;
	return vdb__load(&filter->vlans[vlan / 64]) >> vlan % 64 & 1;
}

static bool takes_multicast(const struct vdb__net_filter *filter, uint32_t modes, uint64_t mac)
{
	if (mac == VDB__NET_BROADCAST)
		return !(modes & VDB__NET_NOBCAST);
	if (modes & VDB__NET_NOMULTI)
		return false;
	return modes & (VDB__NET_ALLMULTI | VDB__NET_MANY_MULTI) || has_mac(&filter->multi, mac);
}

static bool takes_unicast(const struct vdb__net_filter *filter, uint32_t modes, uint64_t mac)
{
	if (modes & VDB__NET_NOUNI)
		return false;
	return modes & (VDB__NET_ALLUNI | VDB__NET_MANY_UNI) || mac == vdb__load(&filter->mac) ||
	       has_mac(&filter->uni, mac);
}

bool vdb__net_filter_takes(const struct vdb__net_filter *filter, const uint8_t frame[16])
{
	uint32_t modes = vdb__load(&filter->modes);
	uint64_t mac;

	if (modes & VDB__NET_PROMISC)
		return true;
	mac = vdb__net_mac(frame);
	if (!takes_vlan(filter, frame))
		return false;
	return mac & VDB__NET_MULTICAST ? takes_multicast(filter, modes, mac)
	                                : takes_unicast(filter, modes, mac);
}
