/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net in front of a netdev that is the program's: headers and frames to be sent, commands of the
 * control queue, receive buffers of every size, and packets from outside. What the netdev is promised is
 * checked.
 */
#include <errno.h>
#include <linux/virtio_net.h>

#include "device.h"

#define HEADER DEVICE_DATA
#define FRAME (DEVICE_DATA + 0x100u)
#define COMMAND (DEVICE_DATA + 0x40u)
#define ACK (DEVICE_DATA + 0x60u)
#define ROOM (DEVICE_DATA + 0x1000u)
#define PAIRS 2u
#define KEPT 32u

struct wire {
	struct vdb_net_pair *pair[PAIRS];
	uint32_t waiting[PAIRS]; /* packets that wait outside, each as long as the others */
	uint32_t len;
	bool grow;
	/* Packets from the guest that are kept for a while. */
	struct vdb_req *kept[KEPT];
	uint32_t owner[KEPT], count;
	bool keep;
};

static struct wire wire;

static int open_pair(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	(void)ctx;
	fuzz_check(index < PAIRS && !wire.pair[index] && loop == fuzz_loop());
	wire.pair[index] = pair;
	return 0;
}

static void close_pair(void *ctx, uint32_t index)
{
	(void)ctx;
	fuzz_check(index < PAIRS && wire.pair[index]);
	for (uint32_t i = 0; i < wire.count; i++)
		fuzz_check(wire.owner[i] != index);
	wire.pair[index] = NULL;
	wire.waiting[index] = 0;
}

static void check_packet(const struct vdb_req *packet)
{
	uint64_t len = 0;

	fuzz_check(packet->niov >= 2 && packet->iov[0].iov_len == VDB_NET_HDR);
	for (uint32_t i = 0; i < packet->niov; i++) {
		fuzz_check(packet->iov[i].iov_len);
		len += packet->iov[i].iov_len;
	}
	fuzz_check(len == packet->readable && len >= VDB_NET_HDR + 14 && len <= VDB_NET_MAX);
}

/* Every byte of it can be read. */
static uint8_t sum_of(const struct vdb_req *packet)
{
	uint8_t sum = 0;

	for (uint32_t i = 0; i < packet->niov; i++) {
		for (size_t k = 0; k < packet->iov[i].iov_len; k++)
			sum = (uint8_t)(sum + ((const volatile uint8_t *)packet->iov[i].iov_base)[k]);
	}
	return sum;
}

static int transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	(void)ctx;
	check_packet(packet);
	(void)sum_of(packet);
	if (!wire.keep || wire.count == KEPT)
		return packet->readable % 7 ? VDB_REQ_DONE : -EIO;
	wire.owner[wire.count] = index;
	wire.kept[wire.count++] = packet;
	return VDB_REQ_PENDING;
}

static void sent(uint32_t i)
{
	struct vdb_req *packet = wire.kept[i];
	uint32_t owner = wire.owner[i];

	wire.count--;
	wire.kept[i] = wire.kept[wire.count];
	wire.owner[i] = wire.owner[wire.count];
	vdb_net_sent(wire.pair[owner], packet, 0);
}

static void cancel(void *ctx, uint32_t index, struct vdb_req *packet)
{
	(void)ctx, (void)index;
	for (uint32_t i = 0; i < wire.count; i++) {
		if (wire.kept[i] == packet) {
			sent(i);
			return;
		}
	}
	fuzz_failed(__FILE__, __LINE__, "it is kept");
}

static void check_room(const struct vdb_net_room *room, uint32_t len)
{
	uint64_t all = 0;

	fuzz_check(room->niov && room->niov <= VDB_NET_ROOM_IOV && room->len >= len);
	for (uint32_t i = 0; i < room->niov; i++) {
		memset(room->iov[i].iov_base, 0x5a, room->iov[i].iov_len);
		all += room->iov[i].iov_len;
	}
	fuzz_check(all == room->len);
}

/* By way of a room that may have to grow. */
static int into_room(struct vdb_net_pair *pair, uint32_t len)
{
	struct vdb_net_room *room;
	uint32_t first = wire.len & 1 ? 0 : VDB_NET_HDR + 14;
	int rc = vdb_net_take(pair, first, &room);

	if (rc)
		return rc;
	check_room(room, first);
	rc = len > room->len ? vdb_net_grow(room, len) : 0;
	if (!rc)
		check_room(room, len);
	vdb_net_deliver(room, rc ? 0 : (int64_t)len);
	return rc;
}

static int deliver(struct vdb_net_pair *pair)
{
	static uint8_t packet[VDB_NET_MAX];
	const struct iovec iov = {packet, wire.len};

	return wire.grow ? into_room(pair, wire.len) : vdb_net_put(pair, &iov, 1, wire.len);
}

static void receive(void *ctx, uint32_t index)
{
	int rc = 0;

	(void)ctx;
	while (wire.waiting[index] && rc != -EAGAIN) {
		rc = deliver(wire.pair[index]);
		fuzz_check(rc == 0 || rc == -EAGAIN || rc == -EMSGSIZE);
		if (rc != -EAGAIN)
			wire.waiting[index]--;
	}
	if (wire.waiting[index])
		vdb_net_wake(wire.pair[index], wire.waiting[index]);
}

static int offload(void *ctx, uint32_t offloads)
{
	(void)ctx;
	return offloads == (VDB_NET_CSUM | VDB_NET_UFO) ? -EIO : 0;
}

static const struct vdb_netdev_ops ops = {
        .size = sizeof(ops),
        .name = "wire",
        .offload = offload,
        .open = open_pair,
        .close = close_pair,
        .transmit = transmit,
        .cancel = cancel,
        .receive = receive,
};

/* ---- The guest, and the outside ---- */

static uint32_t tx_of(uint8_t how)
{
	return how & 1 ? 3 : 1;
}

static void send(struct device *d, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), cut = how & 2 ? fuzz_u8(in) % 24 : VDB_NET_HDR;
	struct virtio_net_hdr_v1 header = {.flags = how >> 6, .gso_type = how & 4 ? fuzz_u8(in) : 0};
	struct device_buf bufs[5];
	uint32_t n = 0, pieces = 1 + (how >> 3 & 3);

	if (how & 0x20)
		fuzz_bytes(in, &header.hdr_len, 8); /* and gso_size, csum_start, csum_offset */
	fuzz_ram_put(HEADER, &header, sizeof(header));
	bufs[n++] = (struct device_buf){HEADER, cut, false};
	for (uint32_t i = 0; i < pieces; i++) {
		uint8_t len = fuzz_u8(in);
		bool more = len >= 0xf0;

		bufs[n++] =
		        (struct device_buf){more ? fuzz_gpa(in) : FRAME, more ? fuzz_len(in) : len, false};
	}
	fuzz_device_chain(d, tx_of(how) < d->queues ? tx_of(how) : 1, bufs, n);
}

static void give(struct device *d, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t n = 1 + (how >> 1) % 4u, queue = how & 1 && d->queues > 3 ? 2 : 0;
	struct device_buf bufs[4];

	for (uint32_t i = 0; i < n; i++) {
		bufs[i].gpa = how & 0x40 ? fuzz_gpa(in) : ROOM + 0x600u * i;
		bufs[i].len = how & 0x80 ? fuzz_len(in) : 12u * fuzz_u8(in);
		bufs[i].write = !(how & 0x20) || i != n - 1;
	}
	fuzz_device_chain(d, queue, bufs, n);
}

static void command(struct device *d, struct fuzz_input *in)
{
	static const uint8_t classes[][2] = {{VIRTIO_NET_CTRL_RX, 5},   {VIRTIO_NET_CTRL_MAC, 2},
	                                     {VIRTIO_NET_CTRL_VLAN, 2}, {VIRTIO_NET_CTRL_ANNOUNCE, 1},
	                                     {VIRTIO_NET_CTRL_MQ, 1},   {VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1}};
	uint8_t how = fuzz_u8(in), kind = fuzz_u8(in) % 6, bytes[32];
	uint32_t n = 0, len = fuzz_u8(in) % 33u;
	struct device_buf bufs[4];

	bytes[0] = how & 1 ? fuzz_u8(in) : classes[kind][0];
	bytes[1] = fuzz_u8(in);
	if (!(how & 1))
		bytes[1] %= classes[kind][1];
	fuzz_ram_put(COMMAND, bytes, 2);
	bufs[n++] = (struct device_buf){COMMAND, how & 2 ? fuzz_u8(in) % 4 : 2, false};
	fuzz_bytes(in, bytes, len);
	if (kind == 1 && how & 4)
		bytes[1] = bytes[2] = bytes[3] = 0; /* so few entries that they may be there */
	fuzz_ram_put(COMMAND + 2, bytes, len);
	if (how & 8)
		bufs[n++] = (struct device_buf){COMMAND + 2, len / 2, false};
	if (len)
		bufs[n++] = (struct device_buf){COMMAND + 2 + (how & 8 ? len / 2 : 0),
		                                how & 8 ? len - len / 2 : len, false};
	bufs[n++] = (struct device_buf){ACK, how & 0x10 ? fuzz_u8(in) : 1, !(how & 0x20)};
	fuzz_device_chain(d, d->features & 1ull << VIRTIO_NET_F_MQ ? d->queues - 1 : 2, bufs, n);
}

static void outside(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t index = how & 1, len = fuzz_u16(in);

	wire.len = VDB_NET_HDR + (how & 2 ? 14 + len % 1501 : len % 65551);
	wire.grow = how & 4;
	if (wire.pair[index]) {
		wire.waiting[index] = 1 + (how >> 4);
		vdb_net_wake(wire.pair[index], wire.waiting[index]);
	}
}

static void step(struct device *d, struct vdb_netdev *netdev, uint8_t kind, struct fuzz_input *in)
{
	switch (kind < 16 ? 0xff : kind % 8) {
	case 0:
	case 1:
		send(d, in);
		break;
	case 2:
		give(d, in);
		break;
	case 3:
		command(d, in);
		break;
	case 4:
		outside(in);
		break;
	case 5:
		while (wire.count)
			sent(0);
		wire.keep = fuzz_u8(in) & 1;
		break;
	case 6:
		vdb_netdev_link(netdev, fuzz_u8(in) & 1);
		break;
	case 7:
		(void)!vdb_net_announce(d->virtio);
		break;
	default:
		fuzz_device_step(d, kind, in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	const struct vdb_virtio_config at = fuzz_device_at(&in);
	uint8_t how = fuzz_u8(&in);
	const struct vdb_netdev_info info = {.size = sizeof(info),
	                                     .pairs = PAIRS,
	                                     .offloads = how & 4 ? 0 : 0x7f,
	                                     .mtu = how & 2 ? 1500 : 0};
	struct vdb_net_config config = {.size = sizeof(config), .pairs = 1 + (how & 1)};
	struct vdb_virtio *net;
	struct device d;

	memset(&wire, 0, sizeof(wire));
	fuzz_check(vdb_netdev_create(&ops, NULL, &info, &config.netdev) == 0);
	fuzz_check(vdb_net_create(&at, &config, &net) == 0);
	fuzz_device_open(&d, net, &in);
	for (int i = 0; i < DEVICE_STEPS && fuzz_more(&in); i++)
		step(&d, config.netdev, fuzz_u8(&in) % 32, &in);
	fuzz_device_close(&d);
	fuzz_check(!wire.count && !wire.pair[0] && !wire.pair[1]);
	vdb_netdev_destroy(config.netdev);
	return 0;
}
