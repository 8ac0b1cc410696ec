/* SPDX-License-Identifier: Apache-2.0 */
#include "net/netdev.h"

#include <stdlib.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"

#define ALL_OFFLOADS \
	(VDB_NET_CSUM | VDB_NET_TSO4 | VDB_NET_TSO6 | VDB_NET_ECN | VDB_NET_UFO | VDB_NET_USO4 | VDB_NET_USO6)
#define MIN_MTU 68u
#define MAX_MTU 65535u

static int check_offloads(const struct vdb_netdev_info *info, const char *name)
{
	uint32_t offloads = info->offloads;

	if (offloads & ~ALL_OFFLOADS)
		return vdb__fail(EINVAL, "netdev %s: offloads %#x are not known; see VDB_NET_*", name,
		                 offloads & ~ALL_OFFLOADS);
	if (offloads && !(offloads & VDB_NET_CSUM))
		return vdb__fail(EINVAL, "netdev %s: offloads %#x need VDB_NET_CSUM", name, offloads);
	if (offloads & VDB_NET_ECN && !(offloads & (VDB_NET_TSO4 | VDB_NET_TSO6)))
		return vdb__fail(EINVAL, "netdev %s: VDB_NET_ECN needs VDB_NET_TSO4 or _TSO6", name);
	return 0;
}

static int check_info(const struct vdb_netdev_info *info, const char *name)
{
	if (info->mtu && (info->mtu < MIN_MTU || info->mtu > MAX_MTU))
		return vdb__fail(EINVAL, "netdev %s: mtu %u; %u to %u", name, info->mtu, MIN_MTU, MAX_MTU);
	return check_offloads(info, name);
}

static int fill(struct vdb_netdev *netdev, const struct vdb_netdev_ops *ops,
                const struct vdb_netdev_info *info)
{
	int rc = vdb__config_take(&netdev->ops, sizeof(netdev->ops), ops, "netdev ops");

	if (!rc)
		rc = vdb__config_take(&netdev->info, sizeof(netdev->info), info, "netdev info");
	if (rc)
		return rc;
	if (!netdev->ops.name)
		netdev->ops.name = "unnamed";
	if (!netdev->ops.open || !netdev->ops.close || !netdev->ops.transmit || !netdev->ops.receive)
		return vdb__fail(EINVAL, "netdev %s: open, close, transmit and receive must be there",
		                 netdev->ops.name);
	if (netdev->ops.reserved)
		return vdb__fail(EINVAL, "netdev %s: reserved is %u; it must be 0", netdev->ops.name,
		                 netdev->ops.reserved);
	if (!netdev->info.pairs)
		netdev->info.pairs = 1;
	return check_info(&netdev->info, netdev->ops.name);
}

VDB_EXPORT int vdb_netdev_create(const struct vdb_netdev_ops *ops, void *ctx,
                                 const struct vdb_netdev_info *info, struct vdb_netdev **out)
{
	struct vdb_netdev *netdev;
	int rc;

	if (!ops || !info)
		return vdb__fail(EINVAL, "netdev: ops and info must be given");
	netdev = calloc(1, sizeof(*netdev));
	if (!netdev)
		return vdb__fail(ENOMEM, "netdev: no memory");
	rc = fill(netdev, ops, info);
	if (rc) {
		free(netdev);
		return rc;
	}
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&netdev->lock, NULL);
	netdev->ctx = ctx;
	netdev->refs = 1;
	*out = netdev;
	return 0;
}

VDB_EXPORT void vdb_netdev_destroy(struct vdb_netdev *netdev)
{
	if (!netdev || !vdb__ref_put(&netdev->refs))
		return;
	if (netdev->ops.destroy)
		netdev->ops.destroy(netdev->ctx);
	pthread_mutex_destroy(&netdev->lock);
	free(netdev);
}

VDB_EXPORT int vdb_netdev_query(const struct vdb_netdev *netdev, struct vdb_netdev_info *info)
{
	return vdb__stats_give(info, &netdev->info, sizeof(netdev->info), "netdev info");
}

/* Told under the lock, so that the device is there. */
VDB_EXPORT void vdb_netdev_link(struct vdb_netdev *netdev, bool up)
{
	pthread_mutex_lock(&netdev->lock);
	if (netdev->down == up) {
		vdb__store(&netdev->down, (uint32_t)!up);
		if (netdev->user.link)
			netdev->user.link(netdev->user.arg);
	}
	pthread_mutex_unlock(&netdev->lock);
}

int vdb__netdev_attach(struct vdb_netdev *netdev, const struct vdb__netdev_user *user)
{
	bool taken;

	pthread_mutex_lock(&netdev->lock);
	taken = netdev->user.link;
	if (!taken)
		netdev->user = *user;
	pthread_mutex_unlock(&netdev->lock);
	if (taken)
		return vdb__fail(EBUSY, "netdev %s: has a device already; make one for each",
		                 netdev->ops.name);
	vdb__ref_get(&netdev->refs);
	return 0;
}

void vdb__netdev_detach(struct vdb_netdev *netdev)
{
	pthread_mutex_lock(&netdev->lock);
	netdev->user.link = NULL;
	pthread_mutex_unlock(&netdev->lock);
	vdb_netdev_destroy(netdev);
}
