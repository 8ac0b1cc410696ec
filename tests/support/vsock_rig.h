/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock device without a VM: the test is the guest's driver, packet by packet, and the host programs at its
 * Unix sockets. What should not fail and does aborts the test.
 *
 *     vsock_rig_open(&v, NULL);                 device at v.path, driver, 8 receive buffers
 *     fd = vsock_rig_from_host(&v, 1234, &port) a host program connects, the guest accepts
 *     vsock_rig_send(&v, &packet, data, len);   the guest sends, and has its buffer back
 *     packet = vsock_rig_receive(&v, data);     the guest receives
 *     vsock_rig_close(&v);                      and checks that no fd is left
 */
#ifndef VSOCK_RIG_H
#define VSOCK_RIG_H

#include <linux/virtio_vsock.h>
#include <sys/un.h>
#include <vdb/caps.h>
#include <vdb/vsock.h>

#include "ready_rig.h"

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

#define VSOCK_CID 77u
#define VSOCK_HOST 2u
#define VSOCK_BUFFERS 8u
#define VSOCK_BUFFER 4096u /* bytes of one, header and all */
#define VSOCK_DATA (VSOCK_BUFFER - (uint32_t)sizeof(struct virtio_vsock_hdr))
#define VSOCK_MOST (28u * 1024) /* of data in one packet of the guest's */

/* struct virtio_vsock_hdr in the host's byte order. */
struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len, flags, buf_alloc, fwd_cnt;
	uint16_t type, op;
};

struct vsock_rig {
	struct virtio_rig rig;
	char dir[32];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	unsigned sent;             /* cookies */
	struct vdb_tenant *tenant; /* if it has caps */
	int fds;
	bool seqpacket; /* what says, listens, connects and is expected is of that type, else a stream */
};

#define VSOCK_STREAM 1u /* types of packets */
#define VSOCK_SEQPACKET 2u
#define VSOCK_EOM 1u

/* config: what is not given is the rig's; `at` as of ready devices, may be NULL. */
void vsock_rig_make(struct vsock_rig *v, const struct vdb_vsock_config *config,
                    const struct vdb_virtio_config *at);
/* The same, of a VM with caps. */
void vsock_rig_make_capped(struct vsock_rig *v, const struct vdb_vsock_config *config,
                           const struct vdb_virtio_config *at, const struct vdb_caps *caps);
/* The guest's driver; `buffers` of those it receives into. */
void vsock_rig_up(struct vsock_rig *v, uint64_t features, unsigned buffers);
/* Both. */
void vsock_rig_open(struct vsock_rig *v, const struct vdb_vsock_config *config);
void vsock_rig_close(struct vsock_rig *v);
struct vdb_vsock_stats vsock_rig_stats(struct vsock_rig *v);
/* Until there are so many connections. */
void vsock_rig_settle(struct vsock_rig *v, uint32_t connections);
/* Until the loop has nothing to do any more: it sleeps. */
void vsock_rig_quiet(struct vsock_rig *v);

/* ---- The guest ---- */

struct vsock_packet vsock_rig_packet(uint16_t op, uint32_t guest_port, uint32_t host_port);
/* What stands at the start of a buffer. */
struct vsock_packet vsock_rig_parse(const void *at);
/* Puts the packet, and `len` bytes behind it, at `at` in what the queue has of memory; does not wait. */
void vsock_rig_push(struct vsock_rig *v, const struct vsock_packet *p, const void *data, uint32_t len,
                    uint32_t at);
/* The same, and waits until the device has used it. */
void vsock_rig_send(struct vsock_rig *v, const struct vsock_packet *p, const void *data, uint32_t len);
/* A packet without data. */
void vsock_rig_say(struct vsock_rig *v, uint16_t op, uint32_t guest_port, uint32_t host_port);
/* Gives the device a buffer of `len` bytes: number `i` of them. */
void vsock_rig_give(struct vsock_rig *v, unsigned i, uint32_t len);
/* Waits for a packet; data: room for VSOCK_DATA, or NULL. The buffer goes back to the device. */
struct vsock_packet vsock_rig_receive(struct vsock_rig *v, void *data);
/* Takes what there is, and does not wait. */
void vsock_rig_drain(struct vsock_rig *v);
/* vsock_rig_receive(), and it must be this one. */
struct vsock_packet vsock_rig_expect(struct vsock_rig *v, uint16_t op, uint32_t guest_port,
                                     uint32_t host_port);
/* Data, which must be this. */
void vsock_rig_expect_data(struct vsock_rig *v, uint32_t guest_port, uint32_t host_port, const char *data);

/* ---- Host programs; their fds block, for a minute or two at most ---- */

int vsock_host_connect(const struct vsock_rig *v);
/* At "<path>_<port>". */
int vsock_host_listen(const struct vsock_rig *v, uint32_t port);
int vsock_host_accept(int listener);
void vsock_host_write(int fd, const char *data);
/* Reads so many bytes. */
void vsock_host_read(int fd, void *data, size_t len);
/* The next bytes are these. */
void vsock_host_expect(int fd, const char *data);
void vsock_host_expect_end(int fd);

/* ---- Connections ---- */

int vsock_rig_from_host(struct vsock_rig *v, uint32_t guest_port, uint32_t *host_port);
int vsock_rig_from_guest(struct vsock_rig *v, uint32_t guest_port, uint32_t host_port, int listener);

#endif
