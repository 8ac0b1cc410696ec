/* SPDX-License-Identifier: Apache-2.0 */
/* A network of VMs with one way out: all of them behind one tap, or one passt. */
#ifndef LAN_H
#define LAN_H

#include <stdint.h>
#include <vdb/cable.h>
#include <vdb/switch.h>

struct lan {
	struct vdb_switch *sw;
	struct vdb_cable *uplink;
};

/* `outside` may be any netdev, whose reference stays the caller's. 0 or -errno. */
int lan_create(struct vdb_loop *loop, struct vdb_netdev *outside, struct lan *lan);

/* The other end of a guest's card: for vdb_net_create(), then vdb_netdev_destroy(). Its guest sends from this
 * address, and sees the outside, but not the other guests. */
int lan_card(const struct lan *lan, const uint8_t mac[6], struct vdb_netdev **out);

/* Cards that are left can talk to nobody any more. done(arg) on the loop's thread. */
void lan_destroy(struct lan *lan, vdb_done_fn done, void *arg);

#endif
