/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net's control queue (5.1.6.5): a class, a command, its data, and a byte for the answer. A command is
 * read once; it is done as a whole, or refused and nothing has changed.
 */
#include <endian.h>
#include <string.h>

#include "io/cursor.h"
#include "io/request.h"
#include "virtio/net.h"

#define MACS_LEN ((size_t)VDB__NET_MACS * VDB__NET_MAC_LEN)

/* Of the loop's time, as bytes: a netdev that opens or closes a pair, or changes its offloads, may have to
 * ask the kernel, which takes its time for a tap: 90 us and 5 us. Nobody else is to wait for a driver that
 * cannot make up its mind. */
#define PAIRS_COST (192u << 10)
#define OFFLOADS_COST (32u << 10)

/* What is left of what the driver gave to be read. */
struct command {
	struct vdb__request *request;
	const struct iovec *iov;
	struct vdb__cursor at;
	uint64_t left;
};

static bool skip(struct command *command, uint64_t len)
{
	if (command->left < len)
		return false;
	vdb__cursor_skip(&command->at, command->iov, len);
	command->left -= len;
	return true;
}

static bool get(struct command *command, void *to, size_t len)
{
	struct iovec piece;
	uint8_t *byte = to;

	if (command->left < len)
		return false;
	command->left -= len;
	for (; len; len -= piece.iov_len, byte += piece.iov_len) {
		piece = vdb__cursor_piece(&command->at, command->iov, len);
		memcpy(byte, piece.iov_base, piece.iov_len);
		vdb__cursor_pass(&command->at, command->iov, piece.iov_len);
	}
	/* The guest may change it meanwhile; what counts is the copy, which nobody makes twice. */
	__asm__ __volatile__("" ::: "memory");
	return true;
}

/* And no more behind it. */
static bool get_last(struct command *command, void *to, size_t len)
{
	return command->left == len && get(command, to, len);
}

static bool has(const struct vdb__net_device *net, unsigned feature)
{
	return net->accepted & VDB__NET_BIT(feature);
}

/* ---- Commands; each is true if it was done ---- */

static bool set_mode(struct vdb__net_device *net, uint8_t cmd, struct command *command)
{
	static const struct {
		unsigned feature;
		uint32_t mode;
	} modes[] = {
	        [VIRTIO_NET_CTRL_RX_PROMISC] = {VIRTIO_NET_F_CTRL_RX, VDB__NET_PROMISC},
	        [VIRTIO_NET_CTRL_RX_ALLMULTI] = {VIRTIO_NET_F_CTRL_RX, VDB__NET_ALLMULTI},
	        [VIRTIO_NET_CTRL_RX_ALLUNI] = {VIRTIO_NET_F_CTRL_RX_EXTRA, VDB__NET_ALLUNI},
	        [VIRTIO_NET_CTRL_RX_NOMULTI] = {VIRTIO_NET_F_CTRL_RX_EXTRA, VDB__NET_NOMULTI},
	        [VIRTIO_NET_CTRL_RX_NOUNI] = {VIRTIO_NET_F_CTRL_RX_EXTRA, VDB__NET_NOUNI},
	        [VIRTIO_NET_CTRL_RX_NOBCAST] = {VIRTIO_NET_F_CTRL_RX_EXTRA, VDB__NET_NOBCAST},
	};
	uint8_t on;

	if (cmd >= sizeof(modes) / sizeof(modes[0]) || !has(net, modes[cmd].feature))
		return false;
	if (!get_last(command, &on, sizeof(on)) || on > 1)
		return false;
	vdb__net_filter_mode(&net->net.filter, modes[cmd].mode, on);
	return true;
}

struct table {
	uint32_t count;
	bool many; /* more than there is room for: all are taken */
	uint8_t macs[MACS_LEN];
};

static bool get_table(struct command *command, struct table *table)
{
	uint32_t count;

	if (!get(command, &count, sizeof(count)))
		return false;
	count = le32toh(count);
	table->many = count > VDB__NET_MACS;
	table->count = table->many ? 0 : count;
	if (table->many)
		return skip(command, (uint64_t)count * VDB__NET_MAC_LEN);
	return get(command, table->macs, (size_t)count * VDB__NET_MAC_LEN);
}

static bool set_tables(struct vdb__net_device *net, struct command *command)
{
	struct vdb__net_filter *filter = &net->net.filter;
	struct table uni, multi;

	if (!has(net, VIRTIO_NET_F_CTRL_RX) || !get_table(command, &uni) || !get_table(command, &multi) ||
	    command->left)
		return false;
	vdb__net_filter_macs(&filter->uni, uni.macs, uni.count);
	vdb__net_filter_macs(&filter->multi, multi.macs, multi.count);
	vdb__net_filter_mode(filter, VDB__NET_MANY_UNI, uni.many);
	vdb__net_filter_mode(filter, VDB__NET_MANY_MULTI, multi.many);
	return true;
}

static bool set_mac(struct vdb__net_device *net, struct command *command)
{
	uint8_t bytes[VDB__NET_MAC_LEN];
	uint64_t mac;

	if (!has(net, VIRTIO_NET_F_CTRL_MAC_ADDR) || !get_last(command, bytes, sizeof(bytes)))
		return false;
	mac = vdb__net_mac(bytes);
	if (!mac || mac & VDB__NET_MULTICAST)
		return false;
	vdb__store(&net->net.filter.mac, mac);
	return true;
}

static bool set_vlan(struct vdb__net_device *net, uint8_t cmd, struct command *command)
{
	uint16_t vlan;

	if (!has(net, VIRTIO_NET_F_CTRL_VLAN) || cmd > VIRTIO_NET_CTRL_VLAN_DEL ||
	    !get_last(command, &vlan, sizeof(vlan)) || le16toh(vlan) >= VDB__NET_VLANS)
		return false;
	vdb__net_filter_vlan(&net->net.filter, le16toh(vlan), cmd == VIRTIO_NET_CTRL_VLAN_ADD);
	return true;
}

static bool announced(struct vdb__net_device *net, const struct command *command)
{
	if (!has(net, VIRTIO_NET_F_GUEST_ANNOUNCE) || command->left)
		return false;
	vdb__store(&net->announce, 0u);
	return true;
}

/* A pair that is no longer in use gives back what its netdev has: on its own loop, soon. */
static bool set_pairs(struct vdb__net_device *net, struct command *command)
{
	uint32_t before = vdb__load(&net->net.in_use);
	uint16_t pairs;

	if (!has(net, VIRTIO_NET_F_MQ) || !get_last(command, &pairs, sizeof(pairs)))
		return false;
	pairs = le16toh(pairs);
	if (!pairs || pairs > net->npairs)
		return false;
	vdb__request_costs(command->request, pairs != before ? PAIRS_COST : 0);
	vdb__store(&net->net.in_use, (uint32_t)pairs);
	vdb__net_changed(net);
	return true;
}

static bool set_offloads(struct vdb__net_device *net, struct command *command)
{
	uint64_t guest;

	if (!has(net, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) || !get_last(command, &guest, sizeof(guest)))
		return false;
	guest = le64toh(guest);
	vdb__request_costs(command->request, OFFLOADS_COST);
	return !(guest & ~vdb__net_switched(net)) && !vdb__net_switch(net, guest);
}

static bool obey(struct vdb__net_device *net, struct command *command)
{
	struct virtio_net_ctrl_hdr hdr;

	if (!get(command, &hdr, sizeof(hdr)))
		return false;
	switch (hdr.class) {
	case VIRTIO_NET_CTRL_RX:
		return set_mode(net, hdr.cmd, command);
	case VIRTIO_NET_CTRL_MAC:
		if (hdr.cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET)
			return set_tables(net, command);
		return hdr.cmd == VIRTIO_NET_CTRL_MAC_ADDR_SET && set_mac(net, command);
	case VIRTIO_NET_CTRL_VLAN:
		return set_vlan(net, hdr.cmd, command);
	case VIRTIO_NET_CTRL_ANNOUNCE:
		return hdr.cmd == VIRTIO_NET_CTRL_ANNOUNCE_ACK && announced(net, command);
	case VIRTIO_NET_CTRL_MQ:
		return hdr.cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && set_pairs(net, command);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return hdr.cmd == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET && set_offloads(net, command);
	default:
		return false;
	}
}

/* ---- The queue ---- */

/* One that leaves no room for an answer is not obeyed either. */
static int control_start(void *ctx, struct vdb_req *req)
{
	struct command command = {
	        .request = (struct vdb__request *)req, .iov = req->iov, .left = req->readable};
	struct vdb__cursor at = {0, 0};
	uint8_t *answer;

	if (req->len > req->readable) {
		vdb__cursor_skip(&at, req->iov, req->readable);
		answer = vdb__cursor_piece(&at, req->iov, 1).iov_base;
		*answer = obey(ctx, &command) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	}
	vdb_req_complete(req, req->len > req->readable);
	return VDB_REQ_PENDING;
}

static int nobody_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	vdb_req_complete(req, 0);
	return VDB_REQ_PENDING;
}

const struct vdb_backend_ops vdb__net_control_ops = {
        .size = sizeof(vdb__net_control_ops),
        .name = "net control",
        .start = control_start,
};

/* Queues that are there for drivers with MQ. */
const struct vdb_backend_ops vdb__net_nobody_ops = {
        .size = sizeof(vdb__net_nobody_ops),
        .name = "net, not in use",
        .start = nobody_start,
};
