/* SPDX-License-Identifier: Apache-2.0 */
#include "net_rig.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define must(rc) ck_assert_msg((rc) >= 0, "%s: %s", #rc, vdb_errmsg())

static void nap(void)
{
	const struct timespec ns = {.tv_nsec = 50000};

	nanosleep(&ns, NULL);
}

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void count(uint32_t *word, uint32_t n)
{
	__atomic_fetch_add(word, n, __ATOMIC_ACQ_REL);
}

/* ---- Lists; not Check's asserts: tests make malloc() fail ---- */

static void list_open(struct net_list *list)
{
	list->first = NULL;
	list->last = &list->first;
	__atomic_store_n(&list->count, 0, __ATOMIC_RELEASE);
}

static struct net_packet *packet_new(uint32_t len)
{
	struct net_packet *packet = calloc(1, sizeof(*packet) + len);

	if (!packet)
		abort();
	packet->len = len;
	return packet;
}

static void list_add(struct net_list *list, struct net_packet *packet)
{
	*list->last = packet;
	list->last = &packet->next;
	count(&list->count, 1);
}

static struct net_packet *list_take(struct net_list *list)
{
	struct net_packet *packet = list->first;

	if (!packet)
		return NULL;
	list->first = packet->next;
	if (!list->first)
		list->last = &list->first;
	count(&list->count, UINT32_MAX);
	return packet;
}

static void list_close(struct net_list *list)
{
	struct net_packet *packet;

	while ((packet = list_take(list)))
		free(packet);
}

/* ---- The netdev ---- */

static int on_offload(void *ctx, uint32_t offloads)
{
	struct net_rig *r = ctx;

	if (r->offload_fails)
		return r->offload_fails;
	__atomic_store_n(&r->offloads, offloads, __ATOMIC_RELEASE);
	return 0;
}

static int on_open(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	struct net_rig *r = ctx;
	struct net_port *port = &r->port[index];

	if (r->open_fails)
		return r->open_fails;
	if (port->pair)
		abort();
	port->pair = pair;
	port->loop = loop;
	count(&port->opens, 1);
	if (port->out.first)
		vdb_net_wake(pair, port->out.count);
	return 0;
}

static void on_close(void *ctx, uint32_t index)
{
	struct net_port *port = &((struct net_rig *)ctx)->port[index];

	if (!port->pair || port->nheld)
		abort();
	port->pair = NULL;
	count(&port->closes, 1);
}

static void keep(struct net_port *port, const struct vdb_req *req)
{
	struct net_packet *packet = packet_new((uint32_t)req->readable);
	uint8_t *to = packet->data;

	for (uint32_t i = 0; i < req->niov; i++) {
		memcpy(to, req->iov[i].iov_base, req->iov[i].iov_len);
		to += req->iov[i].iov_len;
	}
	if (req->iov[0].iov_len != VDB_NET_HDR || to != packet->data + packet->len)
		abort();
	list_add(&port->sent, packet);
}

static int on_transmit(void *ctx, uint32_t index, struct vdb_req *req)
{
	struct net_rig *r = ctx;
	struct net_port *port = &r->port[index];

	if (!port->pair)
		abort();
	if (r->way == NET_REFUSES)
		return -ENOBUFS;
	keep(port, req);
	if (r->way == NET_SENDS)
		return VDB_REQ_DONE;
	if (port->nheld == NET_HOLD)
		abort();
	port->held[port->nheld] = req;
	count(&port->nheld, 1);
	return VDB_REQ_PENDING;
}

static void on_cancel(void *ctx, uint32_t index, struct vdb_req *req)
{
	struct net_port *port = &((struct net_rig *)ctx)->port[index];

	for (uint32_t i = 0; i < port->nheld; i++) {
		if (port->held[i] != req)
			continue;
		port->held[i] = port->held[port->nheld - 1];
		count(&port->nheld, UINT32_MAX);
		count(&port->cancels, 1);
		vdb_net_sent(port->pair, req, -ECANCELED);
		return;
	}
	abort();
}

static void fill(const struct vdb_net_room *room, const struct net_packet *packet)
{
	uint32_t left = packet->len, part;
	const uint8_t *from = packet->data;

	for (uint32_t i = 0; left; i++, from += part, left -= part) {
		if (i == room->niov)
			abort();
		part = room->iov[i].iov_len < left ? (uint32_t)room->iov[i].iov_len : left;
		memcpy(room->iov[i].iov_base, from, part);
	}
}

static int give_room(struct net_port *port, const struct net_packet *packet, uint32_t len)
{
	struct vdb_net_room *room;
	int rc = vdb_net_take(port->pair, len, &room);

	if (rc)
		return rc;
	if (room->len < packet->len)
		rc = vdb_net_grow(room, packet->len);
	if (!rc)
		fill(room, packet);
	/* What it has not got yet stays with us, as the packet does. */
	if (rc)
		vdb_net_deliver(room, rc == -EAGAIN ? 0 : rc);
	else
		vdb_net_deliver(room, packet->len);
	return rc;
}

static int give(struct net_port *port, const struct net_packet *packet)
{
	const struct iovec iov[2] = {{(void *)(uintptr_t)packet->data, 5},
	                             {(void *)(uintptr_t)(packet->data + 5), packet->len - 5}};

	switch (port->rig->how) {
	case NET_TAKE:
		return give_room(port, packet, packet->len);
	case NET_ANY:
		return give_room(port, packet, 0);
	case NET_GROW:
		return give_room(port, packet, 64);
	default:
		return vdb_net_put(port->pair, iov, 2, packet->len);
	}
}

static void on_receive(void *ctx, uint32_t index)
{
	struct net_port *port = &((struct net_rig *)ctx)->port[index];
	int rc = 0;

	count(&port->receives, 1);
	while (port->out.first) {
		rc = give(port, port->out.first);
		if (rc == -EAGAIN)
			break;
		if (rc && rc != -EMSGSIZE)
			abort();
		count(&port->oversized, rc == -EMSGSIZE);
		free(list_take(&port->out));
	}
	count(&port->again, rc == -EAGAIN);
	if (port->out.first)
		vdb_net_wake(port->pair, port->out.count);
}

static void on_destroy(void *ctx)
{
	count(&((struct net_rig *)ctx)->destroyed, 1);
}

static void make_netdev(struct net_rig *r, const struct net_rig_config *config)
{
	static const struct vdb_netdev_ops ops = {
	        .size = sizeof(ops),
	        .name = "mock",
	        .offload = on_offload,
	        .open = on_open,
	        .close = on_close,
	        .transmit = on_transmit,
	        .cancel = on_cancel,
	        .receive = on_receive,
	        .destroy = on_destroy,
	};
	const struct vdb_netdev_info info = {
	        .size = sizeof(info),
	        .offloads = config->offloads,
	        .pairs = config->pairs ? config->pairs : 1,
	        .mtu = config->mtu,
	};

	must(vdb_netdev_create(&ops, r, &info, &r->netdev));
}

void net_rig_netdev(struct net_rig *r, const struct net_rig_config *config)
{
	memset(r, 0, sizeof(*r));
	for (uint32_t i = 0; i < NET_PAIRS; i++) {
		r->port[i].rig = r;
		list_open(&r->port[i].sent);
		list_open(&r->port[i].out);
	}
	make_netdev(r, config);
}

static struct vdb_virtio *make_device(struct net_rig *r, const struct net_rig_config *config)
{
	struct vdb_virtio_config at = config->at;
	struct vdb_net_config net = config->net;
	struct vdb_virtio *device = NULL;

	at.size = sizeof(at);
	at.mem = r->v.ram.mem;
	at.loop = at.loops ? NULL : r->v.loop;
	net.size = sizeof(net);
	net.netdev = r->netdev;
	net.pairs = config->pairs;
	must(vdb_net_create(&at, &net, &device));
	/* The device has a reference. */
	vdb_netdev_destroy(r->netdev);
	return device;
}

void net_rig_open(struct net_rig *r, const struct net_rig_config *config)
{
	net_rig_netdev(r, config);
	(void)ready_rig_open(&r->v);
	ready_rig_adopt(&r->v, make_device(r, config));
}

void net_rig_renew(struct net_rig *r, const struct net_rig_config *config)
{
	uint32_t destroyed = load(&r->destroyed);

	vdb_virtio_destroy(r->v.device, NULL, NULL);
	ck_assert_uint_eq(load(&r->destroyed), destroyed + 1);
	make_netdev(r, config);
	r->v.device = make_device(r, config);
}

void net_rig_close(struct net_rig *r)
{
	virtio_rig_close(&r->v);
	ck_assert_uint_ge(load(&r->destroyed), 1);
	for (uint32_t i = 0; i < NET_PAIRS; i++) {
		ck_assert_uint_eq(r->port[i].opens, r->port[i].closes);
		list_close(&r->port[i].sent);
		list_close(&r->port[i].out);
	}
}

void net_rig_up_pairs(struct net_rig *r, uint64_t features, uint32_t pairs)
{
	virtio_rig_up(&r->v, features, 2 * pairs + 1);
}

void net_rig_up(struct net_rig *r, uint64_t features)
{
	net_rig_up_pairs(r, features, 1);
}

/* ---- Packets ---- */

void net_packet(uint8_t *packet, uint32_t len, uint32_t seed)
{
	memset(packet, 0, len < VDB_NET_HDR ? len : VDB_NET_HDR);
	for (uint32_t i = VDB_NET_HDR; i < len; i++)
		packet[i] = (uint8_t)((i - VDB_NET_HDR) * 7 + seed * 2);
}

/* ---- From the test to the netdev ---- */

struct call {
	struct net_port *port;
	int (*fn)(void *port);
	struct net_packet *packet;
	int32_t result;
};

static int with_port(void *arg)
{
	struct call *call = arg;

	return call->fn(call->port);
}

static struct vdb_loop *loop_of(struct net_rig *r, uint32_t pair)
{
	struct vdb_loop *loop = NULL;

	must(vdb_virtio_queue_loop(r->v.device, 2 * pair, &loop));
	return loop;
}

int net_host_call(struct net_rig *r, uint32_t pair, int (*fn)(void *port))
{
	struct call call = {.port = &r->port[pair], .fn = fn};

	return vdb_loop_call(loop_of(r, pair), with_port, &call);
}

static int add_out(void *arg)
{
	struct call *call = arg;
	struct net_port *port = call->port;

	list_add(&port->out, call->packet);
	if (port->pair)
		vdb_net_wake(port->pair, port->out.count);
	return 0;
}

void net_host_sends(struct net_rig *r, uint32_t pair, const void *packet, uint32_t len)
{
	struct call call = {.port = &r->port[pair], .packet = packet_new(len)};

	memcpy(call.packet->data, packet, len);
	must(vdb_loop_call(loop_of(r, pair), add_out, &call));
}

static int take_sent(void *arg)
{
	struct call *call = arg;

	call->packet = list_take(&call->port->sent);
	return 0;
}

void net_host_expect(struct net_rig *r, uint32_t pair, const void *packet, uint32_t len)
{
	struct call call = {.port = &r->port[pair]};

	virtio_rig_wait(&r->port[pair].sent.count, 1);
	must(vdb_loop_call(loop_of(r, pair), take_sent, &call));
	ck_assert_uint_eq(call.packet->len, len);
	ck_assert_mem_eq(call.packet->data, packet, len);
	free(call.packet);
}

static int release(void *arg)
{
	struct call *call = arg;
	struct net_port *port = call->port;

	for (uint32_t i = 0; i < port->nheld; i++)
		vdb_net_sent(port->pair, port->held[i], call->result);
	__atomic_store_n(&port->nheld, 0, __ATOMIC_RELEASE);
	return 0;
}

void net_host_release(struct net_rig *r, uint32_t pair, int32_t result)
{
	struct call call = {.port = &r->port[pair], .result = result};

	must(vdb_loop_call(loop_of(r, pair), release, &call));
}

void net_host_idle(struct net_rig *r, uint32_t pair)
{
	for (int i = 0; load(&r->port[pair].out.count); i++) {
		ck_assert_msg(i < 400000, "the netdev still has %u packets", r->port[pair].out.count);
		nap();
	}
}

/* ---- The guest ---- */

void net_give_chain(struct net_rig *r, uint32_t pair, const struct virtq_buf *bufs, uint32_t n,
                    uint64_t cookie)
{
	struct virtq_driver *d = &r->v.driver[2 * pair];

	ck_assert(virtq_add(d, bufs, n, cookie));
	(void)virtq_publish(d);
}

void net_give(struct net_rig *r, uint32_t pair, vdb_gpa_t gpa, uint32_t len, uint64_t cookie)
{
	const struct virtq_buf buf = {.gpa = gpa, .len = len, .write = true};

	net_give_chain(r, pair, &buf, 1, cookie);
}

void net_give_many(struct net_rig *r, uint32_t pair, uint32_t n, uint32_t len)
{
	for (uint32_t i = 0; i < n; i++)
		net_give(r, pair, NET_FREE + i * len, len, NET_FREE + i * len);
}

void net_expect(struct net_rig *r, uint32_t pair, const void *packet, uint32_t len, uint16_t buffers)
{
	uint8_t *got = calloc(1, len);
	uint32_t at = 0, part = 0;
	uint16_t told;

	for (uint16_t i = 0; i < buffers; i++, at += part) {
		uint64_t gpa = ready_rig_reap(&r->v, 2 * pair, &part);

		ck_assert_uint_le(part, len - at);
		memcpy(got + at, mock_at(&r->v.ram, gpa), part);
	}
	ck_assert_uint_eq(at, len);
	memcpy(&told, got + offsetof(struct virtio_net_hdr_v1, num_buffers), sizeof(told));
	ck_assert_uint_eq(le16toh(told), buffers);
	memset(got + offsetof(struct virtio_net_hdr_v1, num_buffers), 0, sizeof(told));
	ck_assert_mem_eq(got, packet, len);
	free(got);
}

void net_send_chain(struct net_rig *r, uint32_t pair, const struct virtq_buf *bufs, uint32_t n)
{
	struct virtq_driver *d = &r->v.driver[2 * pair + 1];
	uint32_t len = 1;

	ck_assert(virtq_add(d, bufs, n, 77));
	(void)virtq_publish(d);
	ck_assert_uint_eq(ready_rig_reap(&r->v, 2 * pair + 1, &len), 77);
	ck_assert_uint_eq(len, 0);
}

void net_send(struct net_rig *r, uint32_t pair, const void *packet, uint32_t len)
{
	const struct virtq_buf buf = {.gpa = ready_rig_data(2 * pair + 1, 0), .len = len};

	memcpy(mock_at(&r->v.ram, buf.gpa), packet, len);
	net_send_chain(r, pair, &buf, 1);
}

static uint32_t control_queue(struct net_rig *r)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	must(vdb_virtio_query(r->v.device, &info));
	return info.accepted & VRIG_BIT(VIRTIO_NET_F_MQ) ? info.queues - 1 : 2;
}

uint8_t net_command(struct net_rig *r, const void *command, uint32_t len)
{
	uint32_t queue = control_queue(r), used = 0;
	const struct virtq_buf bufs[] = {{.gpa = ready_rig_data(queue, 16), .len = len},
	                                 {.gpa = ready_rig_data(queue, 0), .len = 1, .write = true}};
	uint8_t *answer = mock_at(&r->v.ram, bufs[1].gpa);

	memcpy(mock_at(&r->v.ram, bufs[0].gpa), command, len);
	*answer = 0xee;
	ck_assert(virtq_add(&r->v.driver[queue], bufs, 2, 88));
	(void)virtq_publish(&r->v.driver[queue]);
	ck_assert_uint_eq(ready_rig_reap(&r->v, queue, &used), 88);
	ck_assert_uint_eq(used, 1);
	return *answer;
}

struct vdb_net_stats net_stats(struct net_rig *r, uint32_t pair)
{
	struct vdb_net_stats stats = {.size = sizeof(stats)};

	must(vdb_net_stats(r->v.device, pair, &stats));
	return stats;
}
