/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net by /dev/vhost-net: one of its devices, which has two queues, for each pair, and a queue of the
 * tap with it. A pair is served while the driver uses it and its link is up; else its packets wait in the
 * rings, and its queue of the tap is detached. Config space and the control queue are lib/virtio's.
 */
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <vdb/vhost_net.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "net/tap.h"
#include "vhost/control.h"
#include "vhost/kernel.h"
#include "virtio/net.h"
#include "virtio/ready.h"

#define RETRY_MS 100u
#define BOTH 3u /* a bit for each queue of a pair */

struct pair {
	struct vdb__kernel kernel; /* first */
	struct vdb__tap_queue *queue;
	bool attached; /* by us */
};

struct net {
	struct vdb__peer peer; /* first */
	struct vdb__vhost *vhost;
	struct vdb__net_device *device; /* set when it has been made */
	struct vdb__tap *tap;
	uint32_t npairs;
	struct pair pairs[];
};

static struct net *net_of(struct vdb__peer *peer)
{
	return (struct net *)peer;
}

/* ---- A pair ---- */

static int attach(struct pair *pair, bool on)
{
	int err = pair->attached == on ? 0 : vdb__tap_attach(pair->queue, on);

	if (err)
		return vdb__fail_sys(-err, "%s: tap %s: TUNSETQUEUE", pair->kernel.name,
		                     pair->queue->tap->name);
	pair->attached = on;
	return 0;
}

static int set_backend(struct vdb__kernel *kernel, uint32_t index, int fd)
{
	struct vhost_vring_file file = {.index = index, .fd = fd};

	return ioctl(kernel->fd, VHOST_NET_SET_BACKEND, &file)
	               ? vdb__kernel_fail(kernel, "VHOST_NET_SET_BACKEND")
	               : 0;
}

static int run(struct vdb__kernel *kernel, bool on)
{
	struct pair *pair = (struct pair *)kernel;
	int fd = on ? pair->queue->fd->fd : VHOST_FILE_UNBIND;
	int rc = on ? attach(pair, true) : 0;

	for (uint32_t i = 0; i < VDB__NET_WAYS && !rc; i++)
		rc = set_backend(kernel, i, fd);
	return rc || on ? rc : attach(pair, false);
}

static void close_pair(struct pair *pair)
{
	vdb__kernel_close(&pair->kernel);
	(void)attach(pair, false);
}

static const struct vdb__kernel_ops kernel_ops = {
        .path = "/dev/vhost-net",
        .module = "vhost_net",
        .run = run,
};

/* ---- All of them ---- */

static void disconnect(struct vdb__peer *peer)
{
	struct net *net = net_of(peer);

	for (uint32_t i = 0; i < net->npairs; i++)
		close_pair(&net->pairs[i]);
}

static int connect(struct vdb__peer *peer)
{
	struct net *net = net_of(peer);
	int rc = 0;

	for (uint32_t i = 0; i < net->npairs && !rc; i++)
		rc = vdb__kernel_open(&net->pairs[i].kernel);
	if (rc)
		disconnect(peer);
	return rc;
}

static int features(struct vdb__peer *peer, uint64_t accepted)
{
	struct net *net = net_of(peer);
	int rc = 0;

	for (uint32_t i = 0; i < net->npairs && !rc; i++)
		rc = vdb__kernel_peer_ops.features(&net->pairs[i].kernel.peer, accepted);
	return rc;
}

static int memory(struct vdb__peer *peer, const struct vdb__peer_memory *table)
{
	struct net *net = net_of(peer);
	int rc = 0;

	for (uint32_t i = 0; i < net->npairs && !rc; i++)
		rc = vdb__kernel_peer_ops.memory(&net->pairs[i].kernel.peer, table);
	return rc;
}

static int start(struct vdb__peer *peer, const struct vdb__peer_queue *queue)
{
	struct vdb__peer_queue own = *queue;

	own.index = queue->index % VDB__NET_WAYS;
	return vdb__kernel_peer_ops.start(&net_of(peer)->pairs[queue->index / VDB__NET_WAYS].kernel.peer,
	                                  &own);
}

static int stop(struct vdb__peer *peer, uint32_t index, uint32_t *position)
{
	return vdb__kernel_peer_ops.stop(&net_of(peer)->pairs[index / VDB__NET_WAYS].kernel.peer,
	                                 index % VDB__NET_WAYS, position);
}

/* Also when the driver has changed the pairs that it uses, or the link is another. */
static int settle(struct vdb__peer *peer)
{
	struct net *net = net_of(peer);
	int rc = 0;

	for (uint32_t i = 0; i < net->npairs && !rc; i++)
		rc = vdb__kernel_run(&net->pairs[i].kernel, vdb__net_serves(net->device, i));
	return rc;
}

static int reset(struct vdb__peer *peer)
{
	struct net *net = net_of(peer);
	int rc = 0;

	for (uint32_t i = 0; i < net->npairs && !rc; i++)
		rc = vdb__kernel_run(&net->pairs[i].kernel, false);
	return rc;
}

static unsigned watch(struct vdb__peer *peer, struct pollfd *fds)
{
	const struct vdb__tap *tap = net_of(peer)->tap;

	if (!tap->watch)
		return 0;
	fds[0] = (struct pollfd){.fd = vdb__tap_watch_fd(tap->watch)->fd, .events = POLLIN};
	return 1;
}

/* The tap's link: if it is another, changed() comes of it. */
static int heard(struct vdb__peer *peer, const struct pollfd *fds, unsigned count)
{
	(void)fds;
	(void)count;
	(void)vdb__tap_look(net_of(peer)->tap);
	return 0;
}

static void destroy(struct vdb__peer *peer)
{
	struct net *net = net_of(peer);

	if (net->device)
		vdb__net_forget(net->device);
	disconnect(peer);
	free(net);
}

static const struct vdb__peer_ops peer_ops = {
        .regions = VDB__VHOST_REGIONS,
        .connect = connect,
        .disconnect = disconnect,
        .features = features,
        .memory = memory,
        .start = start,
        .ready = settle,
        .stop = stop,
        .reset = reset,
        .poked = settle,
        .watch = watch,
        .heard = heard,
        .destroy = destroy,
};

/* ---- The device ---- */

static void changed(void *arg)
{
	vdb__vhost_poke(((struct net *)arg)->vhost);
}

static int check(const struct vdb_virtio_config *at, const struct vdb_net_config *config)
{
	if (at->limit)
		return vdb__fail(EINVAL, "net: what the kernel serves cannot be limited here");
	if (!at->mem)
		return vdb__fail(EINVAL, "net: at->mem must be given");
	if (!config->netdev)
		return vdb__fail(EINVAL, "net: a netdev must be given");
	if (!vdb__tap_of(config->netdev))
		return vdb__fail(EINVAL, "net: netdev %s is no tap; the kernel serves only these",
		                 config->netdev->ops.name);
	return 0;
}

/* More than there may be are refused later: vdb__net_create(). */
static uint32_t pairs_for(const struct vdb_net_config *config, const struct vdb__tap *tap)
{
	uint32_t most = tap->pairs < VDB_NET_MAX_PAIRS ? tap->pairs : VDB_NET_MAX_PAIRS;
	uint32_t wish = config->pairs ? config->pairs : 1;

	return wish < most ? wish : most;
}

static int open_net(const struct vdb_net_config *config, struct net **out)
{
	struct vdb__tap *tap = vdb__tap_of(config->netdev);
	uint32_t npairs = pairs_for(config, tap);
	struct net *net = calloc(1, sizeof(*net) + npairs * sizeof(net->pairs[0]));
	int rc;

	if (!net)
		return vdb__fail(ENOMEM, "net: no memory");
	net->peer.ops = &peer_ops;
	net->tap = tap;
	net->npairs = npairs;
	for (uint32_t i = 0; i < npairs; i++) {
		net->pairs[i].queue = &tap->queues[i];
		net->pairs[i].kernel = (struct vdb__kernel){.peer.ops = &vdb__kernel_peer_ops,
		                                            .ops = &kernel_ops,
		                                            .name = "net",
		                                            .queues = BOTH,
		                                            .fd = -1};
	}
	rc = connect(&net->peer);
	if (rc)
		free(net);
	else
		*out = net;
	return rc;
}

static int make_device(struct net *net, struct vdb_virtio_config *at, const struct vdb_net_config *config,
                       struct vdb_virtio **out)
{
	const struct vdb__kernel *kernel = &net->pairs[0].kernel;
	const struct vdb__net_elsewhere elsewhere = {
	        .remote = vdb__vhost_remote(net->vhost),
	        .mergeable = kernel->features & VDB__NET_BIT(VIRTIO_NET_F_MRG_RXBUF),
	        .changed = changed,
	        .arg = net,
	};
	struct vdb__vhost *vhost = net->vhost;
	int rc;

	at->flags = vdb__kernel_flags(kernel, at->flags);
	rc = vdb__net_create(at, config, &elsewhere, out);
	if (rc) {
		vdb__vhost_destroy(vhost);
		return rc;
	}
	net->device = vdb__virtio_ctx(*out, &vdb__net_device_ops);
	rc = vdb__vhost_start(vhost);
	if (rc)
		vdb_virtio_destroy(*out, NULL, NULL);
	return rc;
}

VDB_EXPORT int vdb_vhost_net_create(const struct vdb_virtio_config *at, const struct vdb_net_config *config,
                                    struct vdb_virtio **out)
{
	struct vdb__vhost_config control = {.name = "net", .reconnect_ms = RETRY_MS};
	struct vdb_virtio *device = NULL;
	struct vdb_virtio_config own_at;
	struct vdb_net_config own;
	struct net *net = NULL;
	int rc = vdb__config_take(&own, sizeof(own), config, "net config");

	if (!rc)
		rc = vdb__virtio_at(&own_at, at, "net");
	if (!rc)
		rc = check(&own_at, &own);
	if (!rc)
		rc = open_net(&own, &net);
	if (rc)
		return rc;
	control.mem = own_at.mem;
	control.queues = VDB__NET_WAYS * net->npairs;
	control.served = (1ull << control.queues) - 1;
	rc = vdb__vhost_create(&control, &net->peer, &net->vhost);
	if (!rc)
		rc = make_device(net, &own_at, &own, &device);
	if (!rc)
		*out = device;
	return rc;
}
