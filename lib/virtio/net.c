/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net as a device: made, asked, told. */
#include "virtio/net.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "virtio/core.h"
#include "virtio/ready.h"
#include "virtio/remote.h"

#define MIN_MTU 68u
#define MAX_MTU 65535u
#define LOCALLY_ADMINISTERED 2u /* of the first byte */

/* ---- Config ---- */

static bool is_zero(const uint8_t mac[VDB__NET_MAC_LEN])
{
	return !vdb__net_mac(mac);
}

static int check_mac(const uint8_t mac[VDB__NET_MAC_LEN])
{
	if (!is_zero(mac) && vdb__net_mac(mac) & VDB__NET_MULTICAST)
		return vdb__fail(EINVAL,
		                 "net: MAC %02x:%02x:%02x:%02x:%02x:%02x is a multicast address; the first "
		                 "byte must be even",
		                 mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return 0;
}

static int check_mtu(const struct vdb_net_config *config)
{
	const struct vdb_netdev *netdev = config->netdev;

	if (config->mtu && (config->mtu < MIN_MTU || config->mtu > MAX_MTU))
		return vdb__fail(EINVAL, "net: mtu %u; %u to %u", config->mtu, MIN_MTU, MAX_MTU);
	if (netdev->info.mtu && config->mtu > netdev->info.mtu)
		return vdb__fail(EINVAL, "net: mtu %u; netdev %s carries %u", config->mtu, netdev->ops.name,
		                 netdev->info.mtu);
	return 0;
}

static int check_pairs(const struct vdb_net_config *config)
{
	const struct vdb_netdev *netdev = config->netdev;

	if (config->pairs > VDB_NET_MAX_PAIRS)
		return vdb__fail(EINVAL, "net: %u queue pairs; at most %u", config->pairs, VDB_NET_MAX_PAIRS);
	if (config->pairs > netdev->info.pairs)
		return vdb__fail(EINVAL, "net: %u queue pairs; netdev %s has %u", config->pairs,
		                 netdev->ops.name, netdev->info.pairs);
	return 0;
}

static int check(const struct vdb_virtio_config *at, const struct vdb_net_config *config)
{
	int rc;

	if (!config->netdev)
		return vdb__fail(EINVAL, "net: a netdev must be given");
	if (config->reserved || config->reserved_too[0] || config->reserved_too[1])
		return vdb__fail(EINVAL, "net: what is reserved must be 0");
	if (at->flags & VDB_VIRTIO_IN_ORDER)
		return vdb__fail(EINVAL,
		                 "net: VDB_VIRTIO_IN_ORDER: its buffers come back as packets need them");
	if (config->speed > INT32_MAX)
		return vdb__fail(EINVAL, "net: speed %u; at most %d", config->speed, INT32_MAX);
	rc = check_mac(config->mac);
	if (!rc)
		rc = check_mtu(config);
	return rc ? rc : check_pairs(config);
}

static int random_mac(uint8_t mac[VDB__NET_MAC_LEN])
{
	ssize_t n;

	do {
		n = getrandom(mac, VDB__NET_MAC_LEN, 0);
	} while (n < 0 && errno == EINTR);
	if (n != VDB__NET_MAC_LEN)
		return vdb__fail_sys(n < 0 ? errno : EIO, "net: no random MAC address; give one");
	mac[0] = (uint8_t)((mac[0] & ~VDB__NET_MULTICAST) | LOCALLY_ADMINISTERED);
	return 0;
}

/* ---- Life ---- */

void vdb__net_free(void *ctx)
{
	struct vdb__net_device *net = ctx;

	vdb__netdev_detach(net->net.netdev);
	for (uint32_t i = 0; net->pairs && i < net->npairs; i++)
		vdb__net_pair_drop(net->pairs[i]);
	vdb_backend_destroy(net->control);
	vdb_backend_destroy(net->nobody);
	free(net->pairs);
	free(net);
}

/* On a pair's loop: its netdev could not be opened. */
static void failed(void *arg, uint32_t queue)
{
	struct vdb__net_device *net = arg;

	vdb__vqueue_broke(vdb__virtio_queue(net->device, queue), VDB_REASON_HOST);
}

/* Before there is a device nobody is told, and nobody has asked. Under the netdev's lock. */
static void link_changed(void *arg)
{
	struct vdb__net_device *net = arg;
	struct vdb_virtio *device = vdb__load_acquire(&net->device); /* pairs with vdb__net_create() */

	if (!device)
		return;
	vdb_virtio_config_changed(device);
	if (net->elsewhere.changed)
		net->elsewhere.changed(net->elsewhere.arg);
}

void vdb__net_changed(struct vdb__net_device *net)
{
	pthread_mutex_lock(&net->net.netdev->lock);
	if (net->elsewhere.changed)
		net->elsewhere.changed(net->elsewhere.arg);
	for (uint32_t i = 0; net->pairs && i < net->npairs; i++)
		vdb__net_pair_poke(net->pairs[i]);
	pthread_mutex_unlock(&net->net.netdev->lock);
}

void vdb__net_forget(struct vdb__net_device *net)
{
	pthread_mutex_lock(&net->net.netdev->lock);
	net->elsewhere.changed = NULL;
	pthread_mutex_unlock(&net->net.netdev->lock);
}

bool vdb__net_serves(const struct vdb__net_device *net, uint32_t pair)
{
	return pair < vdb__load(&net->net.in_use) && !vdb__net_is_down(&net->net);
}

static int make_parts(struct vdb__net_device *net)
{
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};
	int rc = vdb_backend_create(&vdb__net_control_ops, net, &info, &net->control);

	if (!rc)
		rc = vdb_backend_create(&vdb__net_nobody_ops, net, &info, &net->nobody);
	if (rc || net->elsewhere.remote)
		return rc;
	net->pairs = calloc(net->npairs, sizeof(net->pairs[0]));
	if (!net->pairs)
		return vdb__fail(ENOMEM, "net: no memory");
	for (uint32_t i = 0; i < net->npairs && !rc; i++)
		rc = vdb__net_pair_make(&net->net, i, &net->pairs[i]);
	return rc;
}

static int set_up(struct vdb__net_device *net, const struct vdb_net_config *config)
{
	uint8_t mac[VDB__NET_MAC_LEN];
	int rc = 0;

	memcpy(mac, config->mac, sizeof(mac));
	if (is_zero(mac))
		rc = random_mac(mac);
	net->mac = vdb__net_mac(mac);
	net->npairs = config->pairs ? config->pairs : 1;
	net->mtu = config->mtu ? config->mtu : config->netdev->info.mtu;
	net->speed = config->speed;
	net->net.failed = failed;
	net->net.arg = net;
	net->offered = vdb__net_offer(net);
	vdb__net_begin(net);
	return rc ? rc : make_parts(net);
}

static int make(const struct vdb_net_config *config, const struct vdb__net_elsewhere *elsewhere,
                struct vdb__net_device **out)
{
	struct vdb__net_device *net = calloc(1, sizeof(*net));
	const struct vdb__netdev_user user = {.link = link_changed, .arg = net};
	int rc;

	if (!net)
		return vdb__fail(ENOMEM, "net: no memory");
	if (elsewhere)
		net->elsewhere = *elsewhere;
	rc = vdb__netdev_attach(config->netdev, &user);
	if (rc) {
		free(net);
		return rc;
	}
	net->net.netdev = config->netdev;
	rc = set_up(net, config);
	if (rc)
		vdb__net_free(net);
	else
		*out = net;
	return rc;
}

int vdb__net_create(const struct vdb_virtio_config *at, const struct vdb_net_config *config,
                    const struct vdb__net_elsewhere *elsewhere, struct vdb_virtio **out)
{
	struct vdb__net_device *net = NULL;
	struct vdb_virtio *device = NULL;
	struct vdb_virtio_config own_at;
	struct vdb_net_config own;
	int rc = vdb__config_take(&own, sizeof(own), config, "net config");

	if (!rc)
		rc = vdb__virtio_at(&own_at, at, "net");
	if (!rc)
		rc = check(&own_at, &own);
	if (!rc)
		rc = make(&own, elsewhere, &net);
	if (rc)
		return rc;
	own_at.features = net->offered;
	own_at.queues = 2 * net->npairs + 1;
	own_at.together = VDB__NET_WAYS;
	own_at.config_len = VDB__NET_CONFIG;
	rc = vdb__virtio_create_remote(&vdb__net_device_ops, &vdb__framing_plain, net->elsewhere.remote, net,
	                               &own_at, &device);
	if (rc) {
		vdb__net_free(net);
		return rc;
	}
	vdb__store_release(&net->device, device); /* pairs with link_changed() */
	*out = device;
	return 0;
}

VDB_EXPORT int vdb_net_create(const struct vdb_virtio_config *at, const struct vdb_net_config *config,
                              struct vdb_virtio **out)
{
	return vdb__net_create(at, config, NULL, out);
}

/* ---- Any thread ---- */

VDB_EXPORT int vdb_net_link(struct vdb_virtio *device, bool up)
{
	struct vdb__net_device *net = vdb__virtio_ctx(device, &vdb__net_device_ops);

	if (!net)
		return -EINVAL;
	if (vdb__exchange(&net->net.down, (uint32_t)!up) != up)
		return 0;
	pthread_mutex_lock(&net->net.netdev->lock);
	link_changed(net);
	pthread_mutex_unlock(&net->net.netdev->lock);
	return 0;
}

VDB_EXPORT int vdb_net_announce(struct vdb_virtio *device)
{
	struct vdb__net_device *net = vdb__virtio_ctx(device, &vdb__net_device_ops);

	if (!net)
		return -EINVAL;
	if (!vdb__virtio_accepted(device, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return vdb__fail(EOPNOTSUPP, "net: the driver does not announce itself");
	vdb__store(&net->announce, 1u);
	vdb_virtio_config_changed(device);
	return 0;
}

VDB_EXPORT int vdb_net_mac(struct vdb_virtio *device, uint8_t mac[6])
{
	const struct vdb__net_device *net = vdb__virtio_ctx(device, &vdb__net_device_ops);
	uint64_t now;

	if (!net)
		return -EINVAL;
	now = vdb__load(&net->net.filter.mac);
	for (unsigned i = 0; i < VDB__NET_MAC_LEN; i++)
		mac[i] = (uint8_t)(now >> 8 * i);
	return 0;
}

/* Chains that nothing could be made of have not come as far as the pair. */
static int add_errors(struct vdb_virtio *device, uint32_t pair, struct vdb_net_stats *sum)
{
	struct vdb_lane_stats lane = {.size = sizeof(lane)};
	int rc = vdb_virtio_queue_stats(device, 2 * pair + VDB__NET_TX, &lane);

	sum->tx_bad += lane.errors;
	return rc;
}

VDB_EXPORT int vdb_net_stats(struct vdb_virtio *device, uint32_t pair, struct vdb_net_stats *stats)
{
	const struct vdb__net_device *net = vdb__virtio_ctx(device, &vdb__net_device_ops);
	struct vdb_net_stats sum = {0};
	int rc = 0;

	if (!net)
		return -EINVAL;
	if (pair != VDB_NET_ALL && pair >= net->npairs)
		return vdb__fail(ENOENT, "net: no queue pair %u; it has %u", pair, net->npairs);
	sum.in_use = vdb__load(&net->net.in_use);
	for (uint32_t i = 0; i < net->npairs && !rc; i++) {
		if (pair != VDB_NET_ALL && pair != i)
			continue;
		if (net->pairs)
			vdb__net_pair_count(net->pairs[i], &sum);
		rc = add_errors(device, i, &sum);
	}
	return rc ? rc : vdb__stats_give(stats, &sum, sizeof(sum), "net stats");
}
