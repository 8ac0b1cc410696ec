/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which packets a guest wants (virtio 1.2, 5.1.6.5.1 to .3): written by the thread that has the control
 * queue, read by every pair's, word by word. A packet that arrives in the middle of a change may be judged by
 * half of it, which it might have been anyway, had it come a moment earlier or later.
 */
#ifndef VDB_NET_FILTER_H
#define VDB_NET_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#define VDB__NET_MACS 64u /* of each kind; of more than that all are taken */
#define VDB__NET_VLANS 4096u
#define VDB__NET_MAC_LEN 6u

/* Modes. */
#define VDB__NET_PROMISC (1u << 0)
#define VDB__NET_ALLMULTI (1u << 1)
#define VDB__NET_ALLUNI (1u << 2)
#define VDB__NET_NOMULTI (1u << 3)
#define VDB__NET_NOUNI (1u << 4)
#define VDB__NET_NOBCAST (1u << 5)
/* More addresses than there is room for. */
#define VDB__NET_MANY_UNI (1u << 6)
#define VDB__NET_MANY_MULTI (1u << 7)
#define VDB__NET_ALL_MODES ((1u << 8) - 1)

/* An address as a number: its first byte is the lowest. */
#define VDB__NET_MULTICAST 1ull
#define VDB__NET_BROADCAST 0xffffffffffffull

struct vdb__net_macs {
	uint32_t count;
	uint64_t mac[VDB__NET_MACS];
};

/* All words are atomic. */
struct vdb__net_filter {
	uint32_t modes;
	uint64_t mac; /* its own */
	struct vdb__net_macs uni, multi;
	uint64_t vlans[VDB__NET_VLANS / 64];
};

/* Everything is wanted. */
void vdb__net_filter_reset(struct vdb__net_filter *filter, uint64_t mac);
void vdb__net_filter_mode(struct vdb__net_filter *filter, uint32_t mode, bool on);
void vdb__net_filter_macs(struct vdb__net_macs *to, const uint8_t *macs, uint32_t count);
/* vlan < 4096. */
void vdb__net_filter_vlan(struct vdb__net_filter *filter, uint32_t vlan, bool on);
void vdb__net_filter_vlans(struct vdb__net_filter *filter, bool on);

uint64_t vdb__net_mac(const uint8_t bytes[VDB__NET_MAC_LEN]);

/* By the beginning of its frame, 16 bytes. */
bool vdb__net_filter_takes(const struct vdb__net_filter *filter, const uint8_t frame[16]);

#endif
