/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netdevs on connected sockets: no privileges, no device of the host's. Each serves one queue pair.
 *
 * A socket that is slow makes the guest's packets wait in the guest's ring, where there is room for no more
 * than the ring has; one that never reads stops this ring and nothing else, until the guest resets it. A
 * guest that is slow makes the socket's packets wait in the kernel, and nothing spins.
 *
 * A peer that has gone is gone for good: the guest's link goes down, `closed` is called, and what the guest
 * still sends is dropped and counted. It is noticed while a driver uses the device. For a new peer make
 * a new netdev. No SIGPIPE comes of it.
 */
#ifndef VDB_NETSOCK_H
#define VDB_NETSOCK_H

#include <vdb/netdev.h>
#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Each packet has its header of VDB_NET_HDR bytes ahead, both ways; num_buffers means nothing. */
#define VDB_NET_SOCKET_HEADER (1u << 0)

struct vdb_net_socket_config {
	uint32_t size;
	uint32_t flags; /* VDB_NET_SOCKET_HEADER, or 0 */
	/* Duplicated: close yours, else the peer never hears of the end. Left as it is, blocking or not. */
	int32_t fd;
	uint32_t offloads; /* with HEADER: VDB_NET_* that the peer does, and sends to guests that take them */
	uint32_t mtu;      /* the largest that the peer takes; 0 = not known */
	uint32_t reserved;
	/* With HEADER: the guest takes these of `offloads` from now on; a packet with others is dropped.
	 * As vdb_netdev_ops.offload, but that it cannot fail. NULL: the peer knows by itself. */
	void (*offload)(void *arg, uint32_t offloads);
	/* The peer is gone: 0, or the errno; EPROTO: it did not keep to the protocol. Once. On the loop's
	 * thread. NULL: nothing to do. */
	void (*closed)(void *arg, int error);
	void *arg;
};

/*
 * A stream socket, AF_UNIX or TCP, in the protocol of QEMU's `-netdev stream` and of passt: each frame is
 * preceded by its length, 32 bits in network order, and has no header. A length of 0 or more than 65550 is an
 * error that nothing can be done about: the connection is given up. flags and offloads must be 0.
 * -ENOTCONN: the socket is not connected; -EPROTOTYPE: not a stream; -EBADF, -ENOTSOCK.
 */
VDB_MUST_CHECK int vdb_netdev_stream(const struct vdb_net_socket_config *config, struct vdb_netdev **out);

/*
 * A datagram socket: each packet is a datagram, which goes from and to guest memory without a copy of ours,
 * as many in one system call as there are. AF_UNIX, datagrams or SOCK_SEQPACKET, or UDP; it must be
 * connected. What does not fit into the peer's queue waits; what UDP cannot deliver is dropped and counted,
 * since UDP's peers come and go. Datagrams too short for a packet, or too long for the guest, are dropped and
 * counted; an empty one of SOCK_SEQPACKET is the end.
 * Errors as above; -EINVAL: offloads without VDB_NET_SOCKET_HEADER.
 */
VDB_MUST_CHECK int vdb_netdev_dgram(const struct vdb_net_socket_config *config, struct vdb_netdev **out);

#ifdef __cplusplus
}
#endif
#endif
