/* SPDX-License-Identifier: Apache-2.0 */
#include "pair_rig.h"

#include <endian.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vdb/error.h>

#define AREAS 0x8000u /* of a queue */
#define RX_DATA 0x100000u
#define RX_STRIDE 0x120000u /* 256 buffers of 4 KiB, and rings */
#define TX_DATA (RX_DATA + PAIR_RIG_PAIRS * RX_STRIDE)
#define TX_STRIDE (PAIR_RIG_SENDING * PAIR_RIG_PACKET)
#define RAM (TX_DATA + PAIR_RIG_PAIRS * TX_STRIDE)

static void ring_bell(void *arg)
{
	struct pair_rig_queue *queue = arg;
	uint64_t one = 1;

	ck_assert_int_eq(write(queue->kick, &one, sizeof(one)), sizeof(one));
}

static void triggered(void *arg)
{
	struct pair_rig_queue *queue = arg;

	queue->triggers++;
}

static void broke(void *arg, uint32_t reason)
{
	struct pair_rig_queue *queue = arg;

	queue->broken = reason;
}

static void gone(void *arg)
{
	struct pair_rig_queue *queue = arg;

	queue->gone++;
}

static void link_changed(void *arg)
{
	struct pair_rig *r = arg;

	vdb__store(&r->net.down, vdb__load(&r->net.netdev->down));
	vdb__store(&r->links, r->links + 1);
}

static void pair_failed(void *arg, uint32_t queue)
{
	struct pair_rig *r = arg;

	(void)queue;
	r->failed++;
}

/* ---- Queues ---- */

static void open_queue(struct pair_rig *r, struct pair_rig_queue *queue, uint32_t number,
                       struct vdb_backend *backend)
{
	struct vdb_virtq_config virtq = {
	        .entries = PAIR_RIG_ENTRIES, .flags = r->config.flags, .desc = 0x1000 + number * AREAS};
	struct vdb_lane_config lane = {.size = sizeof(lane),
	                               .max_inflight = PAIR_RIG_ENTRIES,
	                               .trigger = triggered,
	                               .trigger_arg = queue,
	                               .broken = broke,
	                               .broken_arg = queue,
	                               .limit = r->config.limit};
	struct vdb_queue *own = NULL;

	queue->rig = r;
	virtq_driver_open(&queue->d, &r->ram, &virtq);
	queue->kick = lane.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_ge(queue->kick, 0);
	queue->d.bell = ring_bell;
	queue->d.bell_arg = queue;
	ck_assert_msg(!vdb_virtq_create(r->ram.mem, &queue->d.config, &own), "%s", vdb_errmsg());
	ck_assert_msg(!vdb_lane_create(r->rig.loop, own, backend, &lane, &queue->lane), "%s", vdb_errmsg());
}

static void stop_queue(struct pair_rig *r, struct pair_rig_queue *queue)
{
	if (!queue->lane)
		return;
	vdb_lane_destroy(queue->lane, gone, queue);
	queue->lane = NULL;
	RIG_UNTIL(&r->rig, queue->gone);
	virtq_driver_close(&queue->d);
	close(queue->kick);
}

static void open_pair(struct pair_rig *r, uint32_t n)
{
	struct pair_rig_queue *rx = &r->rx[n], *tx = &r->tx[n];

	ck_assert_msg(!vdb__net_pair_make(&r->net, n, &r->pair[n]), "%s", vdb_errmsg());
	open_queue(r, rx, 2 * n, r->pair[n]->backends[VDB__NET_RX]);
	open_queue(r, tx, 2 * n + 1, r->pair[n]->backends[VDB__NET_TX]);
	rx->data = RX_DATA + n * RX_STRIDE;
	tx->data = TX_DATA + n * TX_STRIDE;
	for (; rx->unused_count < PAIR_RIG_ENTRIES; rx->unused_count++)
		rx->unused[rx->unused_count] = rx->unused_count;
	for (; tx->unused_count < PAIR_RIG_SENDING; tx->unused_count++)
		tx->unused[tx->unused_count] = tx->unused_count;
}

/* ---- The rig ---- */

void pair_rig_open(struct pair_rig *r, struct vdb_netdev *netdev, const struct pair_rig_config *config)
{
	const struct vdb__netdev_user user = {.link = link_changed, .arg = r};

	memset(r, 0, sizeof(*r));
	r->config = *config;
	if (!r->config.pairs)
		r->config.pairs = 1;
	if (!r->config.buf_len)
		r->config.buf_len = 1536;
	ck_assert_uint_le(r->config.pairs, PAIR_RIG_PAIRS);
	ck_assert_uint_le(r->config.buf_len, 4096);
	rig_open(&r->rig, NULL);
	mock_ram_open(&r->ram, 0, RAM);
	r->net = (struct vdb__net){
	        .netdev = netdev,
	        .in_use = r->config.pairs,
	        .mergeable = config->mergeable,
	        .offloads = config->offloads,
	        .sends = config->offloads,
	        .longest = config->offloads & ~VDB_NET_CSUM ? VDB_NET_MAX : VDB_NET_HDR + 1518,
	        .usual = VDB_NET_HDR + 1518,
	        .failed = pair_failed,
	        .arg = r,
	};
	vdb__net_filter_reset(&r->net.filter, 0);
	ck_assert_int_eq(vdb__netdev_attach(netdev, &user), 0);
	vdb_netdev_destroy(netdev);
	r->net.down = vdb__load(&netdev->down);
	if (netdev->ops.offload)
		ck_assert_int_eq(netdev->ops.offload(netdev->ctx, config->offloads), 0);
	for (uint32_t i = 0; i < r->config.pairs; i++)
		open_pair(r, i);
	rig_turns(&r->rig, 4);
}

void pair_rig_stop(struct pair_rig *r)
{
	for (uint32_t i = 0; i < r->config.pairs; i++) {
		stop_queue(r, &r->rx[i]);
		stop_queue(r, &r->tx[i]);
	}
}

void pair_rig_close(struct pair_rig *r)
{
	pair_rig_stop(r);
	for (uint32_t i = 0; i < r->config.pairs; i++)
		vdb__net_pair_drop(r->pair[i]);
	vdb__netdev_detach(r->net.netdev);
	mock_ram_close(&r->ram);
	rig_close(&r->rig);
}

void pair_rig_use(struct pair_rig *r, uint32_t pairs)
{
	vdb__store(&r->net.in_use, pairs);
	pthread_mutex_lock(&r->net.netdev->lock);
	for (uint32_t i = 0; i < r->config.pairs; i++)
		vdb__net_pair_poke(r->pair[i]);
	pthread_mutex_unlock(&r->net.netdev->lock);
	rig_turns(&r->rig, 4);
}

struct vdb_net_stats pair_rig_stats(const struct pair_rig *r, uint32_t pair)
{
	return r->pair[pair]->stats;
}

/* ---- Receiving ---- */

static void give(struct pair_rig *r, struct pair_rig_queue *rx, uint32_t index)
{
	const struct virtq_buf buf = {
	        .gpa = rx->data + index * 4096, .len = r->config.buf_len, .write = true};

	ck_assert(virtq_add(&rx->d, &buf, 1, index));
}

void pair_rig_post(struct pair_rig *r, uint32_t pair, uint32_t count)
{
	struct pair_rig_queue *rx = &r->rx[pair];

	for (; count && rx->unused_count; count--)
		give(r, rx, rx->unused[--rx->unused_count]);
	(void)virtq_publish(&rx->d);
}

/* One buffer of it, appended; what comes behind the first is there already. */
static uint32_t take(struct pair_rig *r, struct pair_rig_queue *rx, uint8_t *to)
{
	uint64_t index;
	uint32_t len;

	if (!virtq_reap(&rx->d, &index, &len))
		return 0;
	ck_assert_uint_ge(len, 1);
	ck_assert_uint_le(len, r->config.buf_len);
	memcpy(to, mock_at(&r->ram, rx->data + (uint32_t)index * 4096), len);
	if (r->hold)
		rx->unused[rx->unused_count++] = (uint32_t)index;
	else
		give(r, rx, (uint32_t)index);
	return len;
}

uint32_t pair_rig_poll(struct pair_rig *r, uint32_t pair, uint8_t packet[PAIR_RIG_PACKET])
{
	struct pair_rig_queue *rx = &r->rx[pair];
	uint32_t len = take(r, rx, packet), part;
	uint16_t buffers;

	if (!len)
		return 0;
	ck_assert_uint_ge(len, VDB_NET_HDR);
	memcpy(&buffers, packet + 10, sizeof(buffers));
	ck_assert_uint_ge(le16toh(buffers), 1);
	for (uint16_t i = 1; i < le16toh(buffers); i++) {
		ck_assert_uint_le(len + r->config.buf_len, PAIR_RIG_PACKET);
		part = take(r, rx, packet + len);
		ck_assert_uint_gt(part, 0);
		len += part;
	}
	(void)virtq_publish(&rx->d);
	return len;
}

uint32_t pair_rig_receive(struct pair_rig *r, uint32_t pair, uint8_t packet[PAIR_RIG_PACKET])
{
	uint32_t len;

	while (!(len = pair_rig_poll(r, pair, packet)))
		rig_wait(&r->rig);
	return len;
}

/* ---- Sending ---- */

uint32_t pair_rig_sending(struct pair_rig *r, uint32_t pair)
{
	struct pair_rig_queue *tx = &r->tx[pair];
	uint64_t index;
	uint32_t len;

	while (virtq_reap(&tx->d, &index, &len)) {
		ck_assert_uint_eq(len, 0);
		tx->unused[tx->unused_count++] = (uint32_t)index;
	}
	return PAIR_RIG_SENDING - tx->unused_count;
}

void pair_rig_add(struct pair_rig *r, uint32_t pair, const uint8_t *packet, uint32_t len)
{
	struct pair_rig_queue *tx = &r->tx[pair];
	struct virtq_buf bufs[3];
	vdb_gpa_t gpa;
	uint32_t index;

	if (pair_rig_sending(r, pair) == PAIR_RIG_SENDING)
		pair_rig_ring(r, pair);
	RIG_UNTIL(&r->rig, pair_rig_sending(r, pair) < PAIR_RIG_SENDING);
	index = tx->unused[--tx->unused_count];
	gpa = tx->data + index * PAIR_RIG_PACKET;
	ck_assert_uint_le(len, PAIR_RIG_PACKET);
	ck_assert_uint_gt(len, VDB_NET_HDR + 20);
	memcpy(mock_at(&r->ram, gpa), packet, len);
	bufs[0] = (struct virtq_buf){.gpa = gpa, .len = VDB_NET_HDR};
	bufs[1] = (struct virtq_buf){.gpa = gpa + VDB_NET_HDR, .len = 20};
	bufs[2] = (struct virtq_buf){.gpa = gpa + VDB_NET_HDR + 20, .len = len - VDB_NET_HDR - 20};
	ck_assert(virtq_add(&tx->d, bufs, 3, index));
}

void pair_rig_ring(struct pair_rig *r, uint32_t pair)
{
	(void)virtq_publish(&r->tx[pair].d);
}
