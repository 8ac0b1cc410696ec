/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cable between two netdevs (vdb/netdev.h): what comes out of one goes into the other. It is a card in
 * front of each, without a guest: memory of its own is between them. So a switch gets its uplink, through
 * which all its VMs reach the outside, whatever that is:
 *
 *     vdb_switch_port(sw, &(struct vdb_switch_port_config){.size = ..., .macs = 1024}, &netdev[0]);
 *     vdb_netdev_tap(&tap, &netdev[1]);              or _stream(), _dgram(), your own
 *     vdb_cable_create(loop, &(struct vdb_cable_config){.size = ..., .netdev = {netdev[0], netdev[1]}},
 * &cable);
 *
 * A packet lies in a buffer of the cable's on its way: read into it, and sent out of it, without another
 * copy. There is an end to buffers, each way. When all are taken nothing is read from where they come from,
 * and the netdev there does what it does with a guest without buffers; so an end that is stuck, or whose link
 * is down, stops one direction and nothing else. An idle cable costs no wake-up.
 *
 * Offloads are those that both ends know: what comes from one, the other takes. Links are not passed on. A
 * cable that closes a circle of switches makes packets run round in it for ever, as any cable would.
 */
#ifndef VDB_CABLE_H
#define VDB_CABLE_H

#include <vdb/limit.h>
#include <vdb/loop.h>
#include <vdb/net.h>
#include <vdb/netdev.h>
#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_cable;

#define VDB_CABLE_ENDS 2u
#define VDB_CABLE_BUFFERS_MAX 4096u

struct vdb_cable_config {
	uint32_t size;
	/* Packets that may be on their way, each way; 0 = 512. Each is 68 KiB of address space, of which what
	 * packets reach takes memory. Fewer than 320 are not enough for a switch whose guests do not read: it
	 * holds up to 256 for them, and the netdev 64 more. */
	uint32_t buffers;
	/* Each one's only one; the cable holds references. It uses the first pair of each. */
	struct vdb_netdev *netdev[VDB_CABLE_ENDS];
	/* Of the loop: pays for what comes in at either end, and again for what goes out at the other. NULL:
	 * one of the cable's own, so that who floods through it has that share of the loop besides his own,
	 * and no more. */
	struct vdb_tenant *tenant;
	/* Of both directions together, each packet once. Holds a reference. NULL: none. */
	struct vdb_limit *limit;
	/* An end could not be opened, or not be served: nothing comes from there any more, and what goes
	 * there is dropped. VDB_REASON_HOST. The loop's thread. NULL: nothing to do. */
	void (*broken)(void *arg, uint32_t end, uint32_t reason);
	void *broken_arg;
};

/*
 * Returns before the loop has it, as a lane: the next turn opens both ends. Copied. Any thread. -EBUSY: a
 * netdev has a device, or a cable, already; -EINVAL; -ENOMEM; what a netdev said of its offloads. After
 * -errno the loop may need a turn to let go of the netdevs.
 */
VDB_MUST_CHECK int vdb_cable_create(struct vdb_loop *loop, const struct vdb_cable_config *config,
                                    struct vdb_cable **out);

/*
 * Unplugs both ends: what is on its way is lost. Frees the cable, and calls done(arg) (may be NULL), on the
 * loop's thread; here, if the loop was destroyed first. Not while vdb_loop_destroy() runs on another thread.
 * Any thread. NULL is fine.
 */
void vdb_cable_destroy(struct vdb_cable *cable, vdb_done_fn done, void *arg);

/* Of the card in front of netdev `end`: tx_* went to it, rx_* came from it, each counted like a device's. Set
 * stats->size first. -ENOENT: no such end. Any thread. */
VDB_MUST_CHECK int vdb_cable_stats(const struct vdb_cable *cable, uint32_t end, struct vdb_net_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
