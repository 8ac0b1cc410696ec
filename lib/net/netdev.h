/* SPDX-License-Identifier: Apache-2.0 */
/* A netdev as its device sees it: vdb/netdev.h. */
#ifndef VDB_NET_NETDEV_H
#define VDB_NET_NETDEV_H

#include <pthread.h>
#include <stdbool.h>
#include <vdb/netdev.h>

/* The device that has it. */
struct vdb__netdev_user {
	/* Its link is another. Any thread; must not wait, nor attach or detach. */
	void (*link)(void *arg);
	void *arg;
};

struct vdb_netdev {
	struct vdb_netdev_ops ops;
	struct vdb_netdev_info info; /* pairs is never 0 */
	void *ctx;
	uint32_t refs;
	uint32_t down; /* any thread */
	pthread_mutex_t lock;
	struct vdb__netdev_user user; /* link NULL: nobody has it */
};

/* Takes a reference, and the netdev for itself. -EBUSY: another device has it. */
int vdb__netdev_attach(struct vdb_netdev *netdev, const struct vdb__netdev_user *user);
/* link() does not run, and does not come, any more. Drops the reference. */
void vdb__netdev_detach(struct vdb_netdev *netdev);

/* Everything that it can take, or send, of what needs an agreement. */
static inline uint32_t vdb__netdev_sends(const struct vdb_netdev *netdev)
{
	return netdev->ops.offload ? netdev->info.offloads : 0;
}

#endif
