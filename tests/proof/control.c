/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/virtio/net_control.c lib/net/filter.c */
/* BROKEN: no_left lib/virtio/net_control.c s/if (command->left < len)/if (0)/ */
/* BROKEN: no_room lib/virtio/net_control.c s/count > VDB__NET_MACS/0/ */
/* BROKEN: no_vlan lib/virtio/net_control.c s/ || le16toh(vlan) >= VDB__NET_VLANS// */
/* BROKEN: no_mode lib/virtio/net_control.c s,cmd >= sizeof(modes) / sizeof(modes.0.) ||,, */
/* BROKEN: no_answer lib/virtio/net_control.c s/if (req->len > req->readable)/if (1)/ */
/* BROKEN: no_pairs lib/virtio/net_control.c s/ || pairs > net->npairs// */
/*
 * virtio-net's control queue: any command of any length, cut anywhere. It is read within what the driver
 * gave, and what it changes stays within its tables.
 */
#include "virtio/net.h"

#define FIRST sizeof(struct virtio_net_ctrl_hdr)
#define TABLE(n) (sizeof(uint32_t) + (uint64_t)(n)*VDB__NET_MAC_LEN)
#define READABLE_MAX (FIRST + TABLE(VDB__NET_MACS + 1) + TABLE(2)) /* of tables */
#define COMMAND_MAX (FIRST + sizeof(uint64_t) + 1)                 /* of other commands, and one more */
#include "request.h"

static struct vdb__net_device net;

/* ---- What it calls ---- */

uint64_t vdb__net_switched(const struct vdb__net_device *device)
{
	CLAIM(device == &net);
	return any;
}

int vdb__net_switch(struct vdb__net_device *device, uint64_t guest)
{
	(void)guest;
	CLAIM(device == &net);
	return any & 1 ? -1 : 0;
}

void vdb__net_changed(struct vdb__net_device *device)
{
	CLAIM(device->net.in_use >= 1 && device->net.in_use <= device->npairs);
	REACHED(pairs);
}

void vdb__request_costs(struct vdb__request *r, uint64_t cost)
{
	(void)cost;
	CLAIM(r == &request);
}

void vdb_req_complete(struct vdb_req *req, int32_t result)
{
	CLAIM(req == &request.pub);
	CLAIM(result == 0 || result == 1);
	CLAIM(net.net.filter.uni.count <= VDB__NET_MACS && net.net.filter.multi.count <= VDB__NET_MACS);
	REACHED(answered);
}

/* ---- Commands ---- */

static void obey(struct vdb_req *req)
{
	CLAIM(vdb__net_control_ops.start(&net, req) == VDB_REQ_PENDING);
}

/* All but the one that has tables. */
static void short_commands(void)
{
	uint64_t readable = any_readable(0, COMMAND_MAX), cut = any_cut(FIRST + 2);
	struct vdb_req *req = any_request(readable, cut < readable ? cut : 0, any & 1);
	unsigned char class = (unsigned char)any;

	if (class > VIRTIO_NET_CTRL_GUEST_OFFLOADS)
		class = 255; /* one like the other */
	/*@ split class; */
	if (readable >= FIRST)
		*request_byte(0) = class;
	if (readable >= FIRST && class == VIRTIO_NET_CTRL_MAC)
		*request_byte(1) = (unsigned char)Frama_C_interval(VIRTIO_NET_CTRL_MAC_TABLE_SET + 1, 255);
	obey(req);
}

static void put_count(uint64_t at, uint32_t count)
{
	for (unsigned i = 0; i < sizeof(count); i++) {
		if (at + i < request.pub.readable)
			*request_byte(at + i) = (unsigned char)(count >> 8 * i);
	}
}

/* Few, one more than there is room for, the most, and any: the first `n` of these. */
static uint32_t any_count(uint32_t n)
{
	static const uint32_t counts[] = {0, VDB__NET_MACS + 1, UINT32_MAX, VDB__NET_MACS};
	uint32_t i = Frama_C_unsigned_int_interval(0, n - 1);

	/*@ split i; */
	return counts[i];
}

/* So long as they should be, a byte more, a byte less. */
static void tables(void)
{
	static const uint64_t cuts[] = {FIRST + 1, FIRST + TABLE(0) + 1};
	uint32_t at = Frama_C_unsigned_int_interval(0, sizeof(cuts) / sizeof(cuts[0]) - 1);
	uint32_t uni = any_count(4), multi = any_count(2), more = Frama_C_unsigned_int_interval(0, 2);
	uint64_t second = FIRST + TABLE(uni), readable = second + TABLE(multi) - 1;
	struct vdb_req *req;

	/*@ split more; */
	/*@ split at; */
	readable += more;
	if (readable > READABLE_MAX)
		readable = READABLE_MAX;
	req = any_request(readable, cuts[at] < readable ? cuts[at] : readable - 1, true);
	*request_byte(0) = VIRTIO_NET_CTRL_MAC;
	*request_byte(1) = VIRTIO_NET_CTRL_MAC_TABLE_SET;
	put_count(FIRST, uni);
	put_count(second, multi);
	obey(req);
}

int main(void)
{
	net.accepted = any;
	net.npairs = 4;
	if (any)
		short_commands();
	else
		tables();
	return 0;
}
