/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of a network device: where a guest's packets go to, and come from. One netdev belongs to
 * one virtio-net device (vdb/net.h). The library has some; an embedder's own is one file that fills a
 * `struct vdb_netdev_ops`.
 *
 *     guest's tx queue -> vdb_netdev_ops.transmit() -> the outside -> vdb_net_sent()
 *     guest's rx queue <- vdb_net_deliver() <- .receive() <- vdb_net_wake() <- the outside
 *
 * A packet is a header, VDB_NET_HDR bytes, and an Ethernet frame without its check sequence. The header is
 * struct virtio_net_hdr_v1 (virtio 1.2, 5.1.6) in little-endian, num_buffers left to the library.
 *
 * Threads: all that concerns a queue pair happens on the thread of the loop that serves the pair; pairs may
 * have several loops.
 */
#ifndef VDB_NETDEV_H
#define VDB_NETDEV_H

#include <stdbool.h>
#include <vdb/backend.h>
#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_netdev;

/* A queue pair whose device is driven: the library's. */
struct vdb_net_pair;

#define VDB_NET_HDR 12u
/* The longest packet: a header, and what an offload hands over at once. */
#define VDB_NET_MAX (VDB_NET_HDR + 65550u)

/* What a netdev lets a guest leave to it, and may leave to a guest that takes it: bits are those of
 * TUNSETOFFLOAD (linux/if_tun.h) but for CSUM, which all others need. */
#define VDB_NET_CSUM (1u << 0) /* partial checksums */
#define VDB_NET_TSO4 (1u << 1) /* TCP segments of up to 64 KiB, and so on */
#define VDB_NET_TSO6 (1u << 2)
#define VDB_NET_ECN (1u << 3)
#define VDB_NET_UFO (1u << 4)
#define VDB_NET_USO4 (1u << 5)
#define VDB_NET_USO6 (1u << 6)

/* A packet from the guest: `req` is USER, and its first iovec is the header, in host memory, read once and
 * checked: lengths, offsets, and only offloads that were agreed on. The frame follows, in guest memory, which
 * may change at any time and stays until vdb_net_sent(); there is at least an Ethernet header of it, and in
 * all req->readable bytes, VDB_NET_MAX at most. req->io and, but for its first two words, where the
 * header is, req->scratch are the netdev's meanwhile; the rest is read-only. */
#define VDB_NET_SCRATCH 2u /* req->scratch from this word on */

/*
 * Room in the guest for one packet that the netdev has. It is taken for a packet that is there, and comes
 * back soon by vdb_net_deliver(), without being asked to: the end of the guest's queue waits for it.
 */
struct vdb_net_room {
	struct vdb_loop *loop;
	struct vdb_net_pair *pair;
	const struct iovec *iov; /* guest memory: the header's place, then the frame's, without a gap */
	uint32_t niov;
	uint32_t len;     /* bytes in all */
	struct vdb_io io; /* and scratch: the netdev's, until vdb_net_deliver() */
	uint64_t scratch[4];
};

/* So many rooms of a pair may be taken at a time, */
#define VDB_NET_ROOMS 64u
/* and a room has at most so many iovecs. */
#define VDB_NET_ROOM_IOV 128u

struct vdb_netdev_ops {
	uint32_t size;
	uint32_t reserved;
	const char *name; /* not copied */

	/* The driver has taken these offloads (VDB_NET_*) for what it receives: a subset of info.offloads.
	 * Before pairs are opened, and again whenever it changes its mind (5.1.6.5.6). May come on any
	 * thread, a loop's too, one at a time: must not wait. -errno: the driver is told that it was not
	 * done. NULL: none is ever sent. */
	int (*offload)(void *ctx, uint32_t offloads);
	/* The pair is served by `loop` from now on. Pairs that the driver does not use (5.1.5) are closed,
	 * or not opened. -errno: the device is broken, VDB_REASON_HOST. */
	int (*open)(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop);
	/* No more: every packet and every room of the pair is back, which is not to be used again. The loop's
	 * thread, or the one that destroys the loop. I/O of the netdev's own (a poll of its socket) is to be
	 * cancelled here; its `done` comes later, perhaps after destroy(), which must leave what it needs. */
	void (*close)(void *ctx, uint32_t index);

	/* A packet to send. VDB_REQ_DONE: it is; VDB_REQ_PENDING: vdb_net_sent() comes, once; -errno: it is
	 * dropped, and counted. Those of one visit of the queue come one after the other: req->more says that
	 * the next is there. */
	int (*transmit)(void *ctx, uint32_t index, struct vdb_req *packet);
	/* As for a backend (vdb/backend.h): somebody waits for the end of this pending packet. NULL: it ends
	 * by itself. */
	void (*cancel)(void *ctx, uint32_t index, struct vdb_req *packet);
	/* The guest has room for packets, of which vdb_net_wake() told: take it by vdb_net_take(). */
	void (*receive)(void *ctx, uint32_t index);

	/* After the device has let go. */
	void (*destroy)(void *ctx);
};

struct vdb_netdev_info {
	uint32_t size;
	uint32_t offloads; /* VDB_NET_*: both ways */
	uint32_t pairs;    /* that it can serve; 0 = 1 */
	uint32_t mtu;      /* the largest that it carries; 0 = not known */
};

/* A netdev of the embedder's: ops and info are copied; open, close, transmit and receive must be there.
 * -EINVAL, -E2BIG, -ENOMEM. Any thread. */
VDB_MUST_CHECK int vdb_netdev_create(const struct vdb_netdev_ops *ops, void *ctx,
                                     const struct vdb_netdev_info *info, struct vdb_netdev **out);

/* Drops the caller's reference; the device holds its own. NULL is fine. Any thread. */
void vdb_netdev_destroy(struct vdb_netdev *netdev);

/* Set info->size first. Any thread. */
VDB_MUST_CHECK int vdb_netdev_query(const struct vdb_netdev *netdev, struct vdb_netdev_info *info);

/* The outside's link went up or down; it is up at first. The guest is told, if it wants to know
 * (VIRTIO_NET_F_STATUS); while it is down nothing is transmitted or delivered, but dropped. Any thread, but
 * not from offload() or destroy(). */
void vdb_netdev_link(struct vdb_netdev *netdev, bool up);

/* ---- For netdevs; the loop's thread of the pair ---- */

/* A pending packet is sent: `result` 0, or why it was dropped, -errno. */
void vdb_net_sent(struct vdb_net_pair *pair, struct vdb_req *packet, int32_t result);

/*
 * There are `packets` to be received, or so; a guess will do, 0 = none any more. The library fetches room for
 * them from the guest's queue, as the budget of its tenant and its limits allow, and calls receive() in this
 * turn or, if the guest has none, when it has some; once. Nothing spins meanwhile: leave what there is where
 * it is, and do not poll for more.
 */
void vdb_net_wake(struct vdb_net_pair *pair, uint32_t packets);

/*
 * Room for one packet of `len` bytes, its header included. 0: for the longest that may come, by what was
 * agreed on, as far as the guest has room for it now: see room->len, which is 26 at least, for a header and
 * Ethernet's. Several may be taken at a time; the guest sees their packets in the order of deliver().
 * -EAGAIN: the guest has not so much there now, or VDB_NET_ROOMS are out: call vdb_net_wake(), and receive()
 * will come when it has. -EMSGSIZE: it will never fit; that is counted, and the packet is to be thrown away.
 * Buffers that could not take any go back.
 */
VDB_MUST_CHECK int vdb_net_take(struct vdb_net_pair *pair, uint32_t len, struct vdb_net_room **out);

/* The packet turned out to be longer: makes the room one of `len` bytes at least, which begins as it did; iov
 * may lie elsewhere. -EAGAIN, -EMSGSIZE (the room is still to be given back): as above. */
VDB_MUST_CHECK int vdb_net_grow(struct vdb_net_room *room, uint32_t len);

/* The first `len` bytes of the room are a packet, its header included, and the guest is given it; but for one
 * with offloads that the driver does not take (any more), or longer than the MTU that it knows, which is
 * dropped and counted. 0: there was none after all, and the room is free for another; -errno: likewise, and a
 * drop is counted (-EMSGSIZE: as one that does not fit). */
void vdb_net_deliver(struct vdb_net_room *room, int64_t len);

/* A packet that lies in host memory, `len` bytes of it: the same in one call, by a copy. -EAGAIN, -EMSGSIZE:
 * as vdb_net_take(). */
VDB_MUST_CHECK int vdb_net_put(struct vdb_net_pair *pair, const struct iovec *iov, uint32_t niov,
                               uint32_t len);

/* A packet of the outside's that nobody took: counted with the device's. */
void vdb_net_dropped(struct vdb_net_pair *pair, uint32_t packets);

#ifdef __cplusplus
}
#endif
#endif
