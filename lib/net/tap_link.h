/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of a network interface, by rtnetlink: of one only, whoever else comes and goes. */
#ifndef VDB_NET_TAP_LINK_H
#define VDB_NET_TAP_LINK_H

#include <stdbool.h>
#include <stdint.h>

struct vdb__tap_link {
	bool known; /* there is such an interface, and the rest is true */
	bool up, carrier;
	uint32_t mtu;
	uint64_t missed;    /* packets that found its queue full */
	uint8_t address[6]; /* Ethernet */
};

struct vdb__netfd;
struct vdb__tap_watch;

/* Opens a socket in this thread's network namespace, for the interface of that index. -errno, without a
 * word. */
int vdb__tap_watch_open(uint32_t index, struct vdb__tap_watch **out);
void vdb__tap_watch_close(struct vdb__tap_watch *watch); /* NULL is fine */

/* Readable when something of it has changed. */
struct vdb__netfd *vdb__tap_watch_fd(const struct vdb__tap_watch *watch);
uint32_t vdb__tap_watch_index(const struct vdb__tap_watch *watch);

/* As it is now: asks the kernel, and takes in what was readable. Any thread; does not wait. */
struct vdb__tap_link vdb__tap_watch_ask(struct vdb__tap_watch *watch);

#endif
