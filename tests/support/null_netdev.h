/* SPDX-License-Identifier: Apache-2.0 */
/* A netdev with nobody behind it: packets of the guest are dropped, and none comes. */
#ifndef VDB_TESTS_NULL_NETDEV_H
#define VDB_TESTS_NULL_NETDEV_H

#include <vdb/netdev.h>

static inline int null_netdev_open(void *ctx, uint32_t index, struct vdb_net_pair *p, struct vdb_loop *l)
{
	(void)ctx, (void)index, (void)p, (void)l;
	return 0;
}

static inline void null_netdev_ignore(void *ctx, uint32_t index)
{
	(void)ctx, (void)index;
}

static inline int null_netdev_drop(void *ctx, uint32_t index, struct vdb_req *packet)
{
	(void)ctx, (void)index, (void)packet;
	return VDB_REQ_DONE;
}

static inline int null_netdev_create(uint32_t pairs, struct vdb_netdev **out)
{
	static const struct vdb_netdev_ops ops = {
	        .size = sizeof(ops),
	        .open = null_netdev_open,
	        .close = null_netdev_ignore,
	        .transmit = null_netdev_drop,
	        .receive = null_netdev_ignore,
	};
	const struct vdb_netdev_info info = {.size = sizeof(info), .pairs = pairs};

	return vdb_netdev_create(&ops, NULL, &info, out);
}

#endif
