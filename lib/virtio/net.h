/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of virtio-net: net.c makes the device and answers the embedder, net_config.c says what is
 * offered and agreed on, and keeps the config space and the state, net_control.c is the control queue. How
 * packets go is lib/net's. Section numbers are those of virtio 1.2.
 */
#ifndef VDB_VIRTIO_NET_H
#define VDB_VIRTIO_NET_H

#include <linux/virtio_net.h>

#include "net/pair.h"
#include "virtio/device.h"

#define VDB__NET_BIT(feature) (1ull << (feature))

/* virtio 1.3: linux/virtio_net.h of older systems lacks them. */
#define VDB__NET_F_GUEST_USO4 54
#define VDB__NET_F_GUEST_USO6 55
#define VDB__NET_F_HOST_USO 56

/* Bytes of config space: what is behind belongs to RSS, which is not offered. */
#define VDB__NET_CONFIG ((uint32_t)(offsetof(struct virtio_net_config, duplex) + 1))

struct vdb__remote;

/* Who serves the pairs, if it is not the device's loops; the control queue stays there. */
struct vdb__net_elsewhere {
	struct vdb__remote *remote; /* of queues 0 to 2 * pairs - 1 */
	bool mergeable;             /* it knows buffers that are merged */
	/* Pairs in use, or the link: vdb__net_serves() may say something else. Any thread; must not wait. */
	void (*changed)(void *arg);
	void *arg;
};

struct vdb__net_device {
	struct vdb__net net; /* the pairs' part */
	struct vdb_virtio *device;
	struct vdb_net_pair **pairs; /* NULL: others serve them */
	uint32_t npairs;
	struct vdb__net_elsewhere elsewhere; /* `changed` under the netdev's lock */
	struct vdb_backend *control, *nobody;

	uint64_t offered;
	uint64_t mac; /* to begin with */
	uint32_t mtu; /* 0: not known */
	uint32_t speed;

	uint64_t accepted; /* set while no queue runs */
	uint64_t guest;    /* GUEST_* features that are switched on; atomic */
	uint32_t announce; /* the driver has been asked to; atomic */
};

/* ---- net_config.c ---- */

extern const struct vdb_virtio_ops vdb__net_device_ops;

uint64_t vdb__net_offer(const struct vdb__net_device *net);
/* Features of these that let the device send what needs an agreement, as a netdev calls them (VDB_NET_*). */
uint32_t vdb__net_sends(uint64_t features);
/* All GUEST_* features that the control queue may switch (5.1.6.5.6). */
uint64_t vdb__net_switched(const struct vdb__net_device *net);
/* 0, or -errno, and nothing has changed. */
int vdb__net_switch(struct vdb__net_device *net, uint64_t guest);
/* To its beginning: as after a reset. */
void vdb__net_begin(struct vdb__net_device *net);

/* ---- net_control.c ---- */

extern const struct vdb_backend_ops vdb__net_control_ops, vdb__net_nobody_ops;

/* ---- net.c ---- */

/* vdb_net_create(); `elsewhere` may be NULL. */
int vdb__net_create(const struct vdb_virtio_config *at, const struct vdb_net_config *config,
                    const struct vdb__net_elsewhere *elsewhere, struct vdb_virtio **out);

/* Of such a device, for whoever serves: the driver uses the pair, and its link is up. */
bool vdb__net_serves(const struct vdb__net_device *net, uint32_t pair);
/* changed() does not run, and does not come, any more. */
void vdb__net_forget(struct vdb__net_device *net);

/* Other pairs are in use. */
void vdb__net_changed(struct vdb__net_device *net);

void vdb__net_free(void *ctx);

#endif
