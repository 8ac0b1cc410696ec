/* SPDX-License-Identifier: Apache-2.0 */
/* A pair's life: made with its device, opened and closed as the driver wants it. */
#include "net/pair.h"

#include <stdlib.h>

#include "base/atomic.h"
#include "base/error.h"
#include "io/lane.h"

/* ---- Opening and closing ---- */

static void open_pair(struct vdb_net_pair *pair)
{
	const struct vdb_netdev *netdev = pair->net->netdev;

	pair->open = true; /* it may begin at once */
	if (!netdev->ops.open(netdev->ctx, pair->index, pair, pair->loop))
		return;
	pair->open = false;
	pair->failed = true;
	vdb__net_rx_quiet(pair);
	pair->net->failed(pair->net->arg, 2 * pair->index);
}

static void close_pair(struct vdb_net_pair *pair)
{
	const struct vdb_netdev *netdev = pair->net->netdev;

	pair->open = pair->closing = false;
	vdb__net_rx_quiet(pair);
	netdev->ops.close(netdev->ctx, pair->index);
}

/* Packets that wait for the outside shall not. Its rooms come back by themselves. */
static void begin_closing(struct vdb_net_pair *pair)
{
	pair->closing = true;
	pair->busy++;
	if (pair->tx_lane)
		vdb__lane_cancel(pair->tx_lane);
	pair->busy--;
}

void vdb__net_pair_look(struct vdb_net_pair *pair)
{
	if (pair->open && !pair->closing && !vdb__net_pair_wanted(pair))
		begin_closing(pair);
	if (pair->closing && !pair->busy)
		close_pair(pair);
	if (!pair->open && vdb__net_pair_wanted(pair))
		open_pair(pair);
}

/* Where it is to be poked; a loop may be gone as soon as it serves no queue. */
static void poke_at(struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	pthread_mutex_lock(&pair->net->netdev->lock);
	pair->poked_at = loop;
	pthread_mutex_unlock(&pair->net->netdev->lock);
}

void vdb__net_pair_opened(struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	pair->loop = loop;
	if (!pair->queues++) {
		pair->failed = false;
		poke_at(pair, loop);
	}
	vdb__net_pair_look(pair);
}

/* The last queue has nothing with the netdev any more. */
void vdb__net_pair_closed(struct vdb_net_pair *pair)
{
	pair->queues--;
	vdb__net_pair_look(pair);
	if (pair->queues)
		return;
	poke_at(pair, NULL);
	/* Whichever was the last: the device may be gone before batches are run. */
	vdb__list_remove(&pair->rx.batch.link);
}

/* ---- The driver uses another number of pairs ---- */

static void unref(struct vdb_net_pair *pair)
{
	if (!vdb__ref_put(&pair->refs))
		return;
	vdb__net_rx_fini(pair);
	free(pair);
}

/* Where no queue is served the device may be gone. */
static void poked(struct vdb__post *post, int status)
{
	struct vdb_net_pair *pair = vdb__container(post, struct vdb_net_pair, poke);

	(void)status;
	/* Acquire: what was changed before the next one pokes us is seen here. */
	(void)vdb__exchange(&pair->poked, 0u);
	if (pair->queues)
		vdb__net_pair_look(pair);
	unref(pair);
}

void vdb__net_pair_poke(struct vdb_net_pair *pair)
{
	/* Acquire, pairs with poked(): the loop has let go of the post. */
	if (!pair->poked_at || vdb__exchange(&pair->poked, 1u))
		return;
	vdb__ref_get(&pair->refs);
	vdb__loop_post(pair->poked_at, &pair->poke);
}

/* ---- Any thread ---- */

void vdb__net_pair_count(const struct vdb_net_pair *pair, struct vdb_net_stats *sum)
{
	const struct vdb_net_stats *stats = &pair->stats;

	sum->tx_packets += vdb__load(&stats->tx_packets);
	sum->tx_bytes += vdb__load(&stats->tx_bytes);
	sum->tx_bad += vdb__load(&stats->tx_bad);
	sum->tx_dropped += vdb__load(&stats->tx_dropped);
	sum->rx_packets += vdb__load(&stats->rx_packets);
	sum->rx_bytes += vdb__load(&stats->rx_bytes);
	sum->rx_dropped += vdb__load(&stats->rx_dropped);
	sum->rx_filtered += vdb__load(&stats->rx_filtered);
	sum->rx_oversized += vdb__load(&stats->rx_oversized);
	sum->rx_bad += vdb__load(&stats->rx_bad);
	sum->rx_stalls += vdb__load(&stats->rx_stalls);
}

/* ---- Life ---- */

static int make_backends(struct vdb_net_pair *pair)
{
	static const struct vdb_backend_info info = {
	        .size = sizeof(info), .flags = VDB_BACKEND_FIXED, .ops = 1u << 31};
	int rc = vdb_backend_create(&vdb__net_rx_ops, pair, &info, &pair->backends[VDB__NET_RX]);

	return rc ? rc : vdb_backend_create(&vdb__net_tx_ops, pair, &info, &pair->backends[VDB__NET_TX]);
}

int vdb__net_pair_make(struct vdb__net *net, uint32_t index, struct vdb_net_pair **out)
{
	struct vdb_net_pair *pair = calloc(1, sizeof(*pair));
	int rc;

	if (!pair)
		return vdb__fail(ENOMEM, "net: no memory for a queue pair");
	pair->net = net;
	pair->index = index;
	pair->refs = 1;
	pair->poke.fn = poked;
	rc = vdb__net_rx_init(pair);
	if (!rc)
		rc = make_backends(pair);
	if (rc)
		vdb__net_pair_drop(pair);
	else
		*out = pair;
	return rc;
}

void vdb__net_pair_drop(struct vdb_net_pair *pair)
{
	if (!pair)
		return;
	for (unsigned way = 0; way < VDB__NET_WAYS; way++)
		vdb_backend_destroy(pair->backends[way]);
	unref(pair);
}
