/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock (virtio 1.2, 5.10): stream sockets between programs in the guest and programs on the host,
 * whose side are Unix sockets:
 *
 *     host to guest   connect to `path`, write "CONNECT <port>\n"; what listens on that port in the guest
 *                     accepts, and "OK <port of the host's end>\n" comes back. Where nothing does: the end.
 *     guest to host   a connection to port P of the host (CID 2) goes to the Unix socket "<path>_<P>".
 *                     Where nobody listens there it is reset.
 *
 * With VDB_VSOCK_SEQPACKET there are sockets of type SOCK_SEQPACKET, too, whose messages stay whole:
 *
 *     host to guest   connect to "<path>_seqpacket", a SOCK_SEQPACKET socket; the lines above are messages.
 *     guest to host   to the socket "<path>_<P>" as above, which must be a SOCK_SEQPACKET one: each port of
 *                     the host is of one type, and connections of the other one are reset.
 *
 * A message has from 1 to buf_bytes / 2 bytes (rounded down to 64), either way; MSG_EOR has no meaning, since
 * Unix sockets have none. The guest is told that bound as its credit. A host's message that is longer, or
 * than what the guest said that it takes, ends the connection; an empty one is left out. An empty one of the
 * guest's, which would look like the end, ends the connection.
 *
 * Bytes go straight between guest memory and sockets. What a host program does not read is kept, as much
 * as the guest was given credit for, and no more; what the guest does not read stays in the sender's socket.
 * Either side may close one direction or both.
 */
#ifndef VDB_VSOCK_H
#define VDB_VSOCK_H

#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VDB_VSOCK_MIN_BUFFER 4096u

#define VDB_VSOCK_SEQPACKET (1u << 0) /* offer VIRTIO_VSOCK_F_SEQPACKET */

struct vdb_vsock_config {
	uint32_t size;
	uint32_t flags; /* VDB_VSOCK_* */
	uint64_t cid;   /* the guest's address: 3..0xfffffffe */
	/* As above; made, and removed at the end. At most 96 bytes, so that "_<port>" fits behind it. NULL:
	 * see listen_fd and connect, and the same for SEQPACKET, of which at least one is given then. */
	const char *path;
	/* > 0: a listening stream socket instead of one that is made at `path`; duplicated, and becomes
	 * O_NONBLOCK. If it is shut down, nobody is accepted any more; what is connected goes on. */
	int32_t listen_fd;
	/* Each has an fd on the host; those that are being opened or closed count. 0 = 1024, at most 65536.
	 * As long as there are so many, host programs wait to be accepted, and the guest is refused. */
	uint32_t max_connections;
	/* What the guest may send on one connection before the host's side has taken it: its memory in this
	 * process, at most. 0 = 256 KiB; 4 KiB to 16 MiB. SEQPACKET: half of it, the other half is for a
	 * message of the host's that does not fit into one buffer of the guest's. */
	uint32_t buf_bytes;
	/* A host program must have said its CONNECT, a listener in the guest have answered, and a connection
	 * that was closed have ended, within so long. 0 = 10000. A guest that gives no buffer for resets of
	 * what is no connection, and is owed a thousand of them, is not listened to for a tenth of it. */
	uint32_t timeout_ms;
	/* buf_bytes of all connections together: when less is left, new ones get less, or of SEQPACKET are
	 * refused. 0 = 64 MiB; at least max_connections * VDB_VSOCK_MIN_BUFFER, which it is raised to if it
	 * is 0. */
	uint64_t max_buffered;
	/* Instead of "<path>_<port>": the guest connects to `port`. Returns a connected stream socket, which
	 * becomes the device's (and stays blocking, if it is), or -errno. Loop's thread: must not wait. */
	int (*connect)(void *arg, uint32_t port);
	void *connect_arg; /* of both */
	/* The same for SOCK_SEQPACKET sockets. */
	int (*connect_seqpacket)(void *arg, uint32_t port);
	int32_t listen_seqpacket_fd; /* > 0: as listen_fd */
	uint32_t reserved;           /* 0 */
};

/*
 * at: mem, loop (not loops: it is served by one), tenant, flags, queue_size, broken, limit; the rest 0. Both
 * are copied. -EINVAL: a CID that is reserved, or a number out of range, buf_bytes beyond what a SEQPACKET
 * socket of this host takes at once (net.core.wmem_max) among them; -ENAMETOOLONG; -EADDRINUSE: somebody
 * listens at `path`, or there is a file (a stale socket is not removed: say so to whom it belongs); or what
 * the host said. Any thread.
 */
VDB_MUST_CHECK int vdb_vsock_create(const struct vdb_virtio_config *at, const struct vdb_vsock_config *config,
                                    struct vdb_virtio **out);

/* Since the device was made; connections and buffered: now. Any thread. */
struct vdb_vsock_stats {
	uint32_t size;
	uint32_t connections;    /* those that are being opened or closed, too */
	uint64_t opened_by_host; /* and accepted by the guest */
	uint64_t opened_by_guest;
	uint64_t refused_by_host; /* the guest was told so: nobody listened, or there were too many */
	uint64_t failed;          /* host programs that got nowhere: no CONNECT, no listener in the guest */
	uint64_t bytes_to_host;
	uint64_t bytes_to_guest;
	uint64_t packets_to_host; /* taken from the guest, of any kind */
	uint64_t packets_to_guest;
	uint64_t resets;        /* told to the guest */
	uint64_t credit_stalls; /* times that host data had to wait for the guest to read */
	uint64_t host_stalls;   /* times that guest data had to wait for a host program to read */
	uint64_t buffered;      /* bytes of these */
	uint64_t drops;         /* packets that were not answered (they made no sense, or no buffer came for
	                         * the reset), buffers too small */
	uint64_t violations;    /* connections reset since the guest broke the rules */
	uint64_t timeouts;
	uint64_t accept_errors;    /* times that the host had no fd or memory for who came, or refused */
	uint64_t messages_to_host; /* SEQPACKET: whole ones, that it has taken */
	uint64_t messages_to_guest;
	uint64_t messages_too_long; /* of the host's; each ended its connection */
};

/* -EINVAL: not a vsock device. */
VDB_MUST_CHECK int vdb_vsock_stats(struct vdb_virtio *device, struct vdb_vsock_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
