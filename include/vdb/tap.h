/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A netdev (vdb/netdev.h) on a tap: a network interface of the host's, whose other end is the guest.
 *
 * Packets go from guest memory to the tap and back without a copy, many in one system call: what is there is
 * read until there is no more, then the tap is polled; while the guest has no room it is not, and the tap's
 * own queue (txqueuelen) holds what comes, then drops and counts it. One queue of the tap serves each pair;
 * those of pairs that the guest does not use are detached, so that the kernel spreads flows over the others.
 *
 * The guest's link is up while the interface is up and has its carrier, as far as that can be seen: while the
 * tap is in the network namespace of the thread that made the netdev. A tap that is deleted is a link that is
 * down for good: the guest's packets are dropped, and counted.
 */
#ifndef VDB_TAP_H
#define VDB_TAP_H

#include <vdb/netdev.h>
#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VDB_TAP_NAME 16u       /* bytes, the end of the string among them */
#define VDB_TAP_MAX_PAIRS 256u /* what a tap has at most */

/* The interface is brought up: needs CAP_NET_ADMIN. Otherwise that, and its addresses, are others' business.
 */
#define VDB_TAP_UP (1u << 0)

struct vdb_tap_config {
	uint32_t size;
	uint32_t flags; /* VDB_TAP_* */
	/* An existing tap, which stays (ip tuntap add NAME mode tap user USER [multi_queue]: USER needs no
	 * privileges to use it); else one of that name is created, which needs CAP_NET_ADMIN and lasts as
	 * long as the netdev. NULL or "": created, and named by the kernel. */
	const char *name;
	/* Instead: open queues of one tap, `pairs` of them, each with IFF_TAP, IFF_NO_PI, IFF_VNET_HDR and,
	 * if there are several, IFF_MULTI_QUEUE (IFF_NO_PI cannot be checked). They are duplicated; their
	 * file descriptions become O_NONBLOCK. */
	const int32_t *fds;
	uint32_t pairs; /* 0 = 1 */
	/* 0: as the interface has it. Else that of the interface too, for which CAP_NET_ADMIN is needed
	 * unless it has at least as much: 68 to 65521. */
	uint32_t mtu;
};

/*
 * All that can be wrong with a tap is found here. -ENOENT: no /dev/net/tun; -EPERM: no right to use or to
 * create it; -EBUSY: somebody uses it; -EINVAL: a name that is none, an interface that is no tap, fewer
 * queues than pairs, an fd that is not as above; -ENOTSUP, -EMFILE, -ENOMEM. Any thread; opens /dev/net/tun
 * in its network namespace.
 */
VDB_MUST_CHECK int vdb_netdev_tap(const struct vdb_tap_config *config, struct vdb_netdev **out);

/* vdb_tap_info.flags */
#define VDB_TAP_IS_KNOWN                                                                                 \
	(1u << 0)               /* it is where it can be seen: index, the next three and missed are true \
	                         */
#define VDB_TAP_IS_UP (1u << 1) /* the interface */
#define VDB_TAP_HAS_CARRIER (1u << 2)
#define VDB_TAP_IS_GONE (1u << 3) /* deleted; known without seeing it */

struct vdb_tap_info {
	uint32_t size;
	uint32_t flags; /* VDB_TAP_IS_*, VDB_TAP_HAS_* */
	char name[VDB_TAP_NAME];
	uint32_t index;  /* of the interface */
	uint32_t mtu;    /* at present; 0 = not known */
	uint64_t missed; /* packets for the guest that found the tap's own queue full: the interface's
	                    tx_dropped */
	/* Monotonic counters, of all pairs. */
	uint64_t bursts; /* of reads that were handed to the kernel together */
	uint64_t reads;
	uint64_t vain;    /* of these: nothing was there, which ends a burst */
	uint64_t copied;  /* packets longer than the room that was made for them: the rest was copied */
	uint64_t spilled; /* of these: the guest had no more room, and got them later */
	uint64_t stalls;  /* packets of the guest's that waited for room in the tap's send buffer (sndbuf) */
	uint64_t failed;  /* reads and writes that ended with an error; each lost its packet */
};

/* -EINVAL: not a tap. Any thread. */
VDB_MUST_CHECK int vdb_netdev_tap_query(const struct vdb_netdev *netdev, struct vdb_tap_info *info);

#ifdef __cplusplus
}
#endif
#endif
