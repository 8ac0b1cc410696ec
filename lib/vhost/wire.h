/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user messages over a socket (docs/interop/vhost-user of QEMU): a header of three words, a payload,
 * fds beside them. Whoever is at the other end may say anything, or nothing: what comes is bounded, its fds
 * are closed unless they are taken, and nobody waits beyond a deadline.
 */
#ifndef VDB_VHOST_WIRE_H
#define VDB_VHOST_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#define VDB__WIRE_PAYLOAD 272u /* what we say and understand is no longer */
#define VDB__WIRE_FDS 8u

#define VDB__WIRE_VERSION 1u
#define VDB__WIRE_VERSION_MASK 3u
#define VDB__WIRE_REPLY 4u
#define VDB__WIRE_NEED_REPLY 8u

struct vdb__wire_header {
	uint32_t request, flags, size;
};

struct vdb__wire_message {
	struct vdb__wire_header header;
	uint8_t payload[VDB__WIRE_PAYLOAD];
	uint32_t nfds;
	int fds[VDB__WIRE_FDS];
};

/* A time of CLOCK_MONOTONIC, in ns. */
uint64_t vdb__wire_deadline(uint32_t ms);

/* A connected socket, close-on-exec and non-blocking: -errno with a message that names `name`. */
int vdb__wire_connect(const char *name, const char *path, uint64_t deadline);

/* The fds stay the caller's. -EPIPE and such: nobody is there; -ETIMEDOUT. */
int vdb__wire_send(int fd, const struct vdb__wire_message *message, uint64_t deadline);

/* The fds are the caller's. `aside` (-1: none): another fd; 1 if that is readable and `fd` is not, and
 * nothing has been read. -ECONNRESET: closed; -EPROTO: not a message, or too many fds. */
int vdb__wire_receive(int fd, int aside, struct vdb__wire_message *message, uint64_t deadline);
void vdb__wire_drop_fds(struct vdb__wire_message *message);

#endif
