/* SPDX-License-Identifier: Apache-2.0 */
/* A cable between two netdevs: made, asked, taken away. */
#include "net/cable.h"

#include <assert.h>
#include <stdlib.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "io/lane.h"

#define DEFAULT_BUFFERS 512u

struct end {
	struct vdb_cable *cable;
	struct vdb__net net;
	struct vdb_net_pair *pair;
	bool broken; /* the embedder has been told */
};

struct vdb_cable {
	struct vdb_cable_config config;
	struct vdb_mem *mem;
	struct vdb_tenant *tenant;
	struct end ends[VDB_CABLE_ENDS];
	struct vdb__cable_way ways[VDB_CABLE_ENDS]; /* by where they come from */
	uint32_t running; /* lanes, and one more until the end is asked for; atomic */
	vdb_done_fn done;
	void *done_arg;
};

/* ---- The ends ---- */

static void link_changed(void *arg)
{
	(void)arg; /* the pair looks at it with every packet */
}

/* The loop's thread. */
static void broke(void *arg, uint32_t reason)
{
	struct end *end = arg;
	struct vdb_cable *cable = end->cable;

	if (end->broken)
		return;
	end->broken = true;
	if (cable->config.broken)
		cable->config.broken(cable->config.broken_arg, (uint32_t)(end - cable->ends), reason);
}

static void failed(void *arg, uint32_t queue)
{
	(void)queue;
	broke(arg, VDB_REASON_HOST);
}

/* What one may send, and the other takes. */
static uint32_t agreed(const struct vdb_netdev *from, const struct vdb_netdev *to)
{
	uint32_t both = vdb__netdev_sends(from) & to->info.offloads;

	if (!(both & (VDB_NET_TSO4 | VDB_NET_TSO6)))
		both &= ~VDB_NET_ECN;
	return both & VDB_NET_CSUM ? both : 0;
}

/* It is ours from now on. */
static int plug(struct vdb_cable *cable, uint32_t n)
{
	struct vdb_netdev *netdev = cable->config.netdev[n];
	struct end *end = &cable->ends[n];
	const struct vdb__netdev_user user = {.link = link_changed, .arg = end};
	int rc = vdb__netdev_attach(netdev, &user);

	if (rc)
		return rc;
	end->cable = cable;
	end->net.netdev = netdev;
	return 0;
}

static int set_up(struct vdb_cable *cable, uint32_t n)
{
	struct vdb_netdev *netdev = cable->config.netdev[n], *other = cable->config.netdev[!n];
	struct vdb__net *net = &cable->ends[n].net;

	net->in_use = 1;
	net->offloads = agreed(other, netdev);
	net->sends = agreed(netdev, other);
	net->longest = net->usual = VDB_NET_MAX;
	net->failed = failed;
	net->arg = &cable->ends[n];
	vdb__net_filter_reset(&net->filter, 0);
	if (netdev->ops.offload) {
		int rc = netdev->ops.offload(netdev->ctx, net->sends);

		if (rc)
			return rc;
	}
	return vdb__net_pair_make(net, 0, &cable->ends[n].pair);
}

/* ---- The end ---- */

static void free_way(struct vdb__cable_way *way)
{
	vdb_lane_destroy(way->in.lane, NULL, NULL);
	vdb_lane_destroy(way->out.lane, NULL, NULL);
	vdb__cable_way_fini(way);
}

static void free_end(struct end *end)
{
	vdb__net_pair_drop(end->pair);
	if (end->cable)
		vdb__netdev_detach(end->net.netdev);
}

/* Every lane has let go. */
static void free_cable(struct vdb_cable *cable)
{
	vdb_done_fn done = cable->done;
	void *arg = cable->done_arg;
	int rc;

	for (uint32_t n = 0; n < VDB_CABLE_ENDS; n++)
		free_way(&cable->ways[n]);
	for (uint32_t n = 0; n < VDB_CABLE_ENDS; n++)
		free_end(&cable->ends[n]);
	vdb_tenant_destroy(cable->tenant);
	rc = vdb_mem_destroy(cable->mem);
	assert(!rc && "a cable's memory is in use");
	(void)rc;
	free(cable);
	if (done)
		done(arg);
}

static void stopped(void *arg)
{
	struct vdb_cable *cable = arg;

	if (vdb__ref_put(&cable->running))
		free_cable(cable);
}

static void stop(struct vdb_cable *cable, struct vdb__cable_queue *queue)
{
	if (queue->lane)
		vdb__lane_close(queue->lane, NULL, stopped, cable);
}

VDB_EXPORT void vdb_cable_destroy(struct vdb_cable *cable, vdb_done_fn done, void *arg)
{
	if (!cable)
		return;
	cable->done = done;
	cable->done_arg = arg;
	for (uint32_t n = 0; n < VDB_CABLE_ENDS; n++) {
		stop(cable, &cable->ways[n].in);
		stop(cable, &cable->ways[n].out);
	}
	stopped(cable);
}

/* ---- The beginning ---- */

static int check(const struct vdb_loop *loop, const struct vdb_cable_config *config)
{
	if (!loop || !config->netdev[0] || !config->netdev[1])
		return vdb__fail(EINVAL, "cable: a loop and two netdevs must be given");
	if (config->buffers > VDB_CABLE_BUFFERS_MAX)
		return vdb__fail(EINVAL, "cable: %u buffers; at most %u", config->buffers,
		                 VDB_CABLE_BUFFERS_MAX);
	return 0;
}

static int make_ways(struct vdb_cable *cable)
{
	uint64_t bytes = (uint64_t)cable->config.buffers * VDB__CABLE_BUFFER;
	const struct vdb_region_config region = {
	        .size = sizeof(region), .backing = VDB_MEM_ANON, .len = VDB_CABLE_ENDS * bytes};
	int rc = vdb_mem_create(&cable->mem);

	if (!rc)
		rc = vdb_mem_add(cable->mem, &region);
	for (uint32_t n = 0; n < VDB_CABLE_ENDS && !rc; n++)
		rc = vdb__cable_way_init(&cable->ways[n], cable->mem, n * bytes, cable->config.buffers);
	return rc;
}

static int make_tenant(struct vdb_cable *cable, struct vdb_loop *loop)
{
	if (!cable->config.tenant)
		return vdb_tenant_create(loop, &cable->tenant);
	vdb__tenant_ref(cable->config.tenant);
	cable->tenant = cable->config.tenant;
	return 0;
}

/* queue->lane is there before the loop sees the lane, as publish() needs it. */
static int start(struct vdb_cable *cable, struct vdb_loop *loop, struct vdb__cable_queue *queue,
                 struct end *end, unsigned way)
{
	const struct vdb_lane_config config = {
	        .size = sizeof(config),
	        .max_inflight = cable->config.buffers,
	        .tenant = cable->tenant,
	        .broken = broke,
	        .broken_arg = end,
	        /* A packet that has come in will go out, and is counted then. */
	        .limit = way == VDB__NET_TX ? cable->config.limit : NULL,
	};
	int rc = vdb_lane_create(loop, &queue->base, end->pair->backends[way], &config, &queue->lane);

	if (!rc)
		vdb__ref_get(&cable->running);
	return rc;
}

static int make(struct vdb_cable *cable, struct vdb_loop *loop)
{
	int rc = 0;

	for (uint32_t n = 0; n < VDB_CABLE_ENDS && !rc; n++)
		rc = plug(cable, n);
	for (uint32_t n = 0; n < VDB_CABLE_ENDS && !rc; n++)
		rc = set_up(cable, n);
	if (!rc)
		rc = make_ways(cable);
	if (!rc)
		rc = make_tenant(cable, loop);
	for (uint32_t n = 0; n < VDB_CABLE_ENDS && !rc; n++) {
		rc = start(cable, loop, &cable->ways[n].in, &cable->ends[n], VDB__NET_RX);
		if (!rc)
			rc = start(cable, loop, &cable->ways[n].out, &cable->ends[!n], VDB__NET_TX);
	}
	return rc;
}

VDB_EXPORT int vdb_cable_create(struct vdb_loop *loop, const struct vdb_cable_config *config,
                                struct vdb_cable **out)
{
	struct vdb_cable_config own;
	struct vdb_cable *cable;
	int rc = vdb__config_take(&own, sizeof(own), config, "cable config");

	if (!rc)
		rc = check(loop, &own);
	if (rc)
		return rc;
	cable = calloc(1, sizeof(*cable));
	if (!cable)
		return vdb__fail(ENOMEM, "cable: no memory");
	cable->config = own;
	if (!cable->config.buffers)
		cable->config.buffers = DEFAULT_BUFFERS;
	cable->running = 1;
	rc = make(cable, loop);
	if (rc)
		vdb_cable_destroy(cable, NULL, NULL);
	else
		*out = cable;
	return rc;
}

/* ---- Any thread ---- */

VDB_EXPORT int vdb_cable_stats(const struct vdb_cable *cable, uint32_t end, struct vdb_net_stats *stats)
{
	struct vdb_net_stats sum = {.in_use = 1};

	if (end >= VDB_CABLE_ENDS)
		return vdb__fail(ENOENT, "cable: no end %u; it has %u", end, VDB_CABLE_ENDS);
	vdb__net_pair_count(cable->ends[end].pair, &sum);
	return vdb__stats_give(stats, &sum, sizeof(sum), "net stats");
}
