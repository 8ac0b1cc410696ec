/* SPDX-License-Identifier: Apache-2.0 */
/* The tap netdev: its life, its pairs, its link. */
#include "net/tap.h"

#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "net/netdev.h"

#define MIN_MTU 68u
#define MAX_MTU 65521u   /* a tap's */
#define FRAME_HEADER 22u /* two VLAN tags in it */

/* ---- The link ---- */

void vdb__tap_gone(struct vdb__tap *tap)
{
	if (!vdb__exchange(&tap->gone, 1u))
		vdb_netdev_link(tap->netdev, false);
}

/* Somewhere else, or deleted, it is not known; and then nobody would ever say that it is up. Whoever looks
 * also tells: what he has read wakes nobody any more. */
struct vdb__tap_link vdb__tap_look(struct vdb__tap *tap)
{
	struct vdb__tap_link link = {0};

	if (tap->watch)
		link = vdb__tap_watch_ask(tap->watch);
	vdb__store(&tap->longest, link.known ? VDB_NET_HDR + FRAME_HEADER + link.mtu : UINT32_MAX);
	if (!vdb__tap_is_gone(tap))
		vdb_netdev_link(tap->netdev, !link.known || (link.up && link.carrier));
	return link;
}

static void link_changed(void *arg, int error)
{
	struct vdb__tap_queue *queue = arg;

	if (error)
		return;
	(void)vdb__tap_look(queue->tap);
	vdb__await_start(queue->changed, POLLIN);
}

/* The interface of this name may be another, of this namespace: addresses tell. */
static bool same(const struct vdb__tap *tap, const struct vdb__tap_link *link)
{
	struct ifreq request = {0};

	return link->known && !ioctl(tap->queues[0].fd->fd, SIOCGIFHWADDR, &request) &&
	       !memcmp(request.ifr_hwaddr.sa_data, link->address, sizeof(link->address));
}

/* Whatever fails: the link counts as up then. */
static void watch(struct vdb__tap *tap)
{
	uint32_t index = if_nametoindex(tap->name);
	struct vdb__tap_link link;

	if (!index || vdb__tap_watch_open(index, &tap->watch))
		return;
	link = vdb__tap_watch_ask(tap->watch);
	if (same(tap, &link))
		return;
	vdb__tap_watch_close(tap->watch);
	tap->watch = NULL;
}

/* ---- Pairs ---- */

static void queue_end(struct vdb__tap_queue *queue)
{
	vdb__await_drop(queue->changed);
	queue->changed = NULL;
	vdb__tap_rx_end(queue);
	vdb__tap_tx_end(queue);
	vdb_io_file_remove(queue->loop, queue->file);
	queue->pair = NULL;
	(void)vdb__tap_attach(queue, false);
}

/* The first pair is open whenever one is. */
static int begin_watching(struct vdb__tap_queue *queue)
{
	struct vdb__tap *tap = queue->tap;
	int err;

	if (queue != &tap->queues[0] || !tap->watch)
		return 0;
	err = vdb__await_create(queue->loop, vdb__tap_watch_fd(tap->watch), link_changed, queue,
	                        &queue->changed);
	if (err)
		return err;
	vdb__await_start(queue->changed, POLLIN);
	(void)vdb__tap_look(tap); /* before, nobody did */
	return 0;
}

static int tap_open(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	struct vdb__tap_queue *queue = &((struct vdb__tap *)ctx)->queues[index];
	int err;

	queue->pair = pair;
	queue->loop = loop;
	queue->file = vdb_io_file_add(loop, queue->fd->fd);
	err = vdb__tap_rx_begin(queue);
	if (!err)
		err = vdb__tap_tx_begin(queue);
	if (!err)
		err = begin_watching(queue);
	if (!err)
		err = vdb__tap_attach(queue, true);
	if (err) {
		queue_end(queue);
		return err;
	}
	vdb__tap_listen(queue);
	return 0;
}

static void tap_close(void *ctx, uint32_t index)
{
	queue_end(&((struct vdb__tap *)ctx)->queues[index]);
}

static int tap_offload(void *ctx, uint32_t offloads)
{
	return vdb__tap_offload(ctx, offloads);
}

static void tap_destroy(void *ctx)
{
	struct vdb__tap *tap = ctx;

	for (uint32_t i = 0; i < tap->pairs; i++)
		vdb__netfd_unref(tap->queues[i].fd);
	vdb__tap_watch_close(tap->watch);
	free(tap);
}

static const struct vdb_netdev_ops tap_ops = {
        .size = sizeof(tap_ops),
        .name = "tap",
        .offload = tap_offload,
        .open = tap_open,
        .close = tap_close,
        .transmit = vdb__tap_transmit,
        .cancel = vdb__tap_cancel,
        .receive = vdb__tap_receive,
        .destroy = tap_destroy,
};

/* ---- Creation ---- */

static int check(const struct vdb_tap_config *config)
{
	if (config->flags & ~VDB_TAP_UP)
		return vdb__fail(EINVAL, "tap: flags %#x are not known; see VDB_TAP_*", config->flags);
	if (config->pairs > VDB_TAP_MAX_PAIRS)
		return vdb__fail(EINVAL, "tap: %u pairs; %u at most", config->pairs, VDB_TAP_MAX_PAIRS);
	if (config->fds && config->name && *config->name)
		return vdb__fail(EINVAL, "tap %.32s: a name or fds, not both", config->name);
	if (config->mtu && (config->mtu < MIN_MTU || config->mtu > MAX_MTU))
		return vdb__fail(EINVAL, "tap: MTU %u; %u to %u", config->mtu, MIN_MTU, MAX_MTU);
	return 0;
}

/* One that is as large as is wished, or larger, need not be changed. */
static int settle_mtu(struct vdb__tap *tap, const struct vdb__tap_link *link, uint32_t wish)
{
	int err;

	tap->mtu = wish ? wish : link->mtu;
	if (!wish || wish == link->mtu)
		return 0;
	err = vdb__tap_set_mtu(tap, wish);
	return err == -EPERM && link->known && wish < link->mtu ? 0 : err;
}

static int set_up(struct vdb__tap *tap, const struct vdb_tap_config *config)
{
	struct vdb__tap_link link = {0};
	int err = vdb__tap_open(tap, config);

	if (err)
		return err;
	watch(tap);
	if (tap->watch)
		link = vdb__tap_watch_ask(tap->watch);
	err = settle_mtu(tap, &link, config->mtu);
	if (!err && config->flags & VDB_TAP_UP)
		err = vdb__tap_up(tap);
	return err;
}

static struct vdb__tap *tap_new(uint32_t pairs)
{
	struct vdb__tap *tap = calloc(1, sizeof(*tap) + pairs * sizeof(tap->queues[0]));

	if (!tap)
		return NULL;
	tap->pairs = pairs;
	tap->segments = 1; /* until more is known */
	tap->longest = UINT32_MAX;
	for (uint32_t i = 0; i < pairs; i++)
		tap->queues[i].tap = tap;
	return tap;
}

static int make(struct vdb__tap *tap, const struct vdb_tap_config *config)
{
	struct vdb_netdev_info info = {.size = sizeof(info), .pairs = tap->pairs};
	int err = set_up(tap, config);

	if (err)
		return err;
	info.offloads = tap->offloads;
	info.mtu = tap->mtu;
	return vdb_netdev_create(&tap_ops, tap, &info, &tap->netdev);
}

VDB_EXPORT int vdb_netdev_tap(const struct vdb_tap_config *config, struct vdb_netdev **out)
{
	struct vdb_tap_config own;
	struct vdb__tap *tap;
	int err = vdb__config_take(&own, sizeof(own), config, "tap config");

	if (!err)
		err = check(&own);
	if (err)
		return err;
	tap = tap_new(own.pairs ? own.pairs : 1);
	if (!tap)
		return vdb__fail(ENOMEM, "tap: no memory");
	err = make(tap, &own);
	if (err) {
		tap_destroy(tap);
		return err;
	}
	(void)vdb__tap_look(tap);
	*out = tap->netdev;
	return 0;
}

/* ---- What it says of itself ---- */

struct vdb__tap *vdb__tap_of(const struct vdb_netdev *netdev)
{
	return netdev->ops.transmit == vdb__tap_transmit ? netdev->ctx : NULL;
}

static void add_counters(const struct vdb__tap_queue *queue, struct vdb_tap_info *to)
{
	to->bursts += vdb__load(&queue->stats.bursts);
	to->reads += vdb__load(&queue->stats.reads);
	to->vain += vdb__load(&queue->stats.vain);
	to->copied += vdb__load(&queue->stats.copied);
	to->spilled += vdb__load(&queue->stats.spilled);
	to->stalls += vdb__load(&queue->stats.stalls);
	to->failed += vdb__load(&queue->stats.failed);
}

static uint32_t flags_of(struct vdb__tap *tap, const struct vdb__tap_link *link)
{
	if (vdb__load(&tap->gone))
		return VDB_TAP_IS_GONE;
	if (!link->known)
		return 0;
	return VDB_TAP_IS_KNOWN | (link->up ? VDB_TAP_IS_UP : 0) | (link->carrier ? VDB_TAP_HAS_CARRIER : 0);
}

VDB_EXPORT int vdb_netdev_tap_query(const struct vdb_netdev *netdev, struct vdb_tap_info *info)
{
	struct vdb_tap_info own = {.size = sizeof(own)};
	struct vdb__tap_link link;
	struct vdb__tap *tap;

	tap = vdb__tap_of(netdev);
	if (!tap)
		return vdb__fail(EINVAL, "netdev %s: is no tap", netdev->ops.name);
	link = vdb__tap_look(tap);
	own.flags = flags_of(tap, &link);
	memcpy(own.name, tap->name, sizeof(own.name));
	own.mtu = link.known ? link.mtu : tap->mtu;
	own.missed = link.missed;
	own.index = link.known ? vdb__tap_watch_index(tap->watch) : 0;
	for (uint32_t i = 0; i < tap->pairs; i++)
		add_counters(&tap->queues[i], &own);
	return vdb__stats_give(info, &own, sizeof(own), "tap info");
}
