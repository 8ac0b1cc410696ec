/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A switch between VMs: each of its ports is a netdev, for one virtio-net device. A packet is copied once,
 * from the memory of the guest that sends it to that of the guest that receives it, on the one loop that
 * serves both; the host's kernel has nothing to do with it.
 *
 *     guest A's tx queue -> port A -> learns A's address, looks up B's -> port B -> guest B's rx queue
 *
 * It learns addresses as any switch does: what goes to an address that it does not know, to many or to all,
 * goes to all ports. Link-local groups (01:80:c2:00:00:00 to :0f) it keeps to itself; VLAN tags it passes on
 * unread.
 *
 * A receiver that is slow holds up to 64 packets of each sender, in the sender's ring, for 50 to 100 ms,
 * fewer if many are slow at a time; what is beyond that is dropped, and counted as the receiver's
 * (vdb_net_stats.rx_dropped). So a guest that never reads costs others nothing, and one that floods has its
 * share of each receiver's queue and no more; it pays for its packets by its own tenant.
 *
 * Guests leave checksums and segmentation to each other: what both have agreed on is passed on as it is. To a
 * guest that has not, packets go checksummed and cut into segments by the loop.
 *
 * Its uplink, through which all its VMs reach the outside by one tap or one passt, is a cable between a port
 * and that netdev: vdb/cable.h.
 */
#ifndef VDB_SWITCH_H
#define VDB_SWITCH_H

#include <vdb/loop.h>
#include <vdb/netdev.h>
#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_switch;

#define VDB_SWITCH_PORTS_MAX 256u
#define VDB_SWITCH_MACS_MAX 1024u

struct vdb_switch_config {
	uint32_t size;
	uint32_t ports; /* at most; 0 = 32 */
	/* Addresses that it remembers for each port; 0 = 16. Of a port that sends from more of them the
	 * oldest is forgotten, never one of another port. */
	uint32_t macs;
	uint32_t age_s;    /* an address that has not sent for so long is forgotten; 0 = 300 */
	uint32_t offloads; /* VDB_NET_* that guests may use; 0 = all but UFO, which may not be given */
	uint32_t mtu;      /* 0 = not known: any */
	uint32_t reserved;
	uint32_t flags; /* VDB_SWITCH_* */
};

/* No offloads at all. */
#define VDB_SWITCH_PLAIN (1u << 0)

/* A switch whose ports are served by `loop`; config may be NULL. Any thread. -EINVAL, -ENOMEM. */
VDB_MUST_CHECK int vdb_switch_create(struct vdb_loop *loop, const struct vdb_switch_config *config,
                                     struct vdb_switch **out);

/* Drops the caller's reference; its ports hold their own, and go on. NULL is fine. Any thread. */
void vdb_switch_destroy(struct vdb_switch *sw);

/* What this port's guest sends from another address than `mac` is dropped and counted. */
#define VDB_SWITCH_PORT_GUARD (1u << 0)
/* Exchanges packets with ports that are not isolated, only. */
#define VDB_SWITCH_PORT_ISOLATED (1u << 1)

struct vdb_switch_port_config {
	uint32_t size;
	uint32_t flags; /* VDB_SWITCH_PORT_* */
	/* The guest's address, if it is to be known from the beginning: no other port can take it, and it is
	 * not forgotten. All zeroes: it will be learned. */
	uint8_t mac[6];
	uint8_t reserved[2];
	uint32_t macs; /* that it remembers for this port; 0 = as the switch's config says */
};

/*
 * A port: a netdev with one queue pair, for a device all of whose queues are served by the switch's loop;
 * else the device is broken as soon as it is driven. It is one of the switch while a driver uses the device.
 * config may be NULL. Any thread. -ENOSPC: no more ports; -EEXIST: another one has this address; -EINVAL: the
 * address is no single station's, or GUARD without one; -ENOMEM.
 */
VDB_MUST_CHECK int vdb_switch_port(struct vdb_switch *sw, const struct vdb_switch_port_config *config,
                                   struct vdb_netdev **out);

struct vdb_switch_port_stats {
	uint32_t size;
	uint32_t macs;     /* that are known behind it now */
	uint64_t sent;     /* packets that its guest sent: */
	uint64_t flooded;  /* of these, to all ports; */
	uint64_t spoofed;  /* from an address that it may not use; */
	uint64_t lost;     /* for nobody: malformed, link-local, or back to where they came from */
	uint64_t received; /* packets that its guest was given, */
	uint64_t full;     /* or was not, since it had no room for them for too long */
	uint64_t segments; /* and those that had to be cut out of larger ones or checksummed */
};

/* Monotonic counters but for macs. -EINVAL: not a port of a switch. Any thread. */
VDB_MUST_CHECK int vdb_switch_port_stats(const struct vdb_netdev *port, struct vdb_switch_port_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
