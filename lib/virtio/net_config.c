/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net (5.1): what it offers, by what its netdev can, what is agreed on, its config space and its
 * state. */
#include <endian.h>
#include <string.h>

#include "base/error.h"
#include "virtio/net.h"

#define BIT(feature) VDB__NET_BIT(feature)
#define DUPLEX_FULL 1u
#define DUPLEX_UNKNOWN 0xffu
#define SPEED_UNKNOWN UINT32_MAX
#define DEFAULT_MTU 1500u
#define VLAN_TAG 4u

/* What each offload is called, by direction. */
static const struct {
	uint8_t guest, host;
	uint32_t offload;
} offloads[] = {
        {VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_CSUM, VDB_NET_CSUM},
        {VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_HOST_TSO4, VDB_NET_TSO4},
        {VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HOST_TSO6, VDB_NET_TSO6},
        {VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_HOST_ECN, VDB_NET_ECN},
        {VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_HOST_UFO, VDB_NET_UFO},
        {VDB__NET_F_GUEST_USO4, VDB__NET_F_HOST_USO, VDB_NET_USO4},
        {VDB__NET_F_GUEST_USO6, VDB__NET_F_HOST_USO, VDB_NET_USO6},
};
#define OFFLOADS (sizeof(offloads) / sizeof(offloads[0]))

#define GUEST_GSO                                                                                    \
	(BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_UFO) | \
	 BIT(VDB__NET_F_GUEST_USO4) | BIT(VDB__NET_F_GUEST_USO6))
#define GUEST_TSO (BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6))
#define HOST_GSO                                                                                  \
	(BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_UFO) | \
	 BIT(VDB__NET_F_HOST_USO))
#define HOST_TSO (BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6))
#define CONTROLS                                                                                     \
	(BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | \
	 BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | \
	 BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))

/* ---- Features ---- */

/* HOST_USO is both. */
static uint64_t offer_offloads(uint32_t takes, uint32_t sends)
{
	const uint32_t uso = VDB_NET_USO4 | VDB_NET_USO6;
	uint64_t features = 0;

	for (unsigned i = 0; i < OFFLOADS; i++) {
		if (takes & offloads[i].offload)
			features |= BIT(offloads[i].host);
		if (sends & offloads[i].offload)
			features |= BIT(offloads[i].guest);
	}
	return (takes & uso) == uso ? features : features & ~BIT(VDB__NET_F_HOST_USO);
}

uint64_t vdb__net_offer(const struct vdb__net_device *net)
{
	const struct vdb_netdev *netdev = net->net.netdev;
	uint64_t features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS) |
	                    BIT(VIRTIO_NET_F_CTRL_VQ) | CONTROLS;

	if (net->elsewhere.remote && !net->elsewhere.mergeable)
		features &= ~BIT(VIRTIO_NET_F_MRG_RXBUF);
	features |= offer_offloads(netdev->info.offloads, vdb__netdev_sends(netdev));
	if (!vdb__netdev_sends(netdev))
		features &= ~BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (net->npairs < 2)
		features &= ~BIT(VIRTIO_NET_F_MQ);
	if (net->mtu)
		features |= BIT(VIRTIO_NET_F_MTU);
	if (net->speed)
		features |= BIT(VIRTIO_NET_F_SPEED_DUPLEX);
	return features;
}

/* 5.1.3.1: these need one of those. */
static bool lacks(uint64_t features, uint64_t these, uint64_t those)
{
	return features & these && !(features & those);
}

static bool fit(uint64_t features)
{
	return !lacks(features, GUEST_GSO, BIT(VIRTIO_NET_F_GUEST_CSUM)) &&
	       !lacks(features, BIT(VIRTIO_NET_F_GUEST_ECN), GUEST_TSO) &&
	       !lacks(features, HOST_GSO, BIT(VIRTIO_NET_F_CSUM)) &&
	       !lacks(features, BIT(VIRTIO_NET_F_HOST_ECN), HOST_TSO) &&
	       !lacks(features, CONTROLS, BIT(VIRTIO_NET_F_CTRL_VQ));
}

uint32_t vdb__net_sends(uint64_t features)
{
	uint32_t sends = 0;

	for (unsigned i = 0; i < OFFLOADS; i++)
		sends |= features & BIT(offloads[i].guest) ? offloads[i].offload : 0;
	return sends;
}

static uint32_t takes_of(uint64_t features)
{
	uint32_t takes = 0;

	for (unsigned i = 0; i < OFFLOADS; i++)
		takes |= features & BIT(offloads[i].host) ? offloads[i].offload : 0;
	return takes;
}

uint64_t vdb__net_switched(const struct vdb__net_device *net)
{
	return net->accepted & (GUEST_GSO | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_ECN));
}

int vdb__net_switch(struct vdb__net_device *net, uint64_t guest)
{
	const struct vdb_netdev *netdev = net->net.netdev;
	uint32_t sends = vdb__net_sends(guest), before = net->net.sends;
	int rc = 0;

	if (!fit(guest))
		return vdb__fail(EINVAL, "net: offloads %#llx do not go together", (unsigned long long)guest);
	/* Of both kinds there are some meanwhile. */
	vdb__store(&net->net.sends, before | sends);
	if (netdev->ops.offload)
		rc = netdev->ops.offload(netdev->ctx, sends);
	vdb__store(&net->net.sends, rc ? before : sends);
	if (!rc)
		vdb__store(&net->guest, guest);
	return rc;
}

static void agree(struct vdb__net_device *net, uint64_t features)
{
	struct vdb__net *common = &net->net;

	net->accepted = features;
	common->mergeable = features & BIT(VIRTIO_NET_F_MRG_RXBUF);
	common->offloads = takes_of(features);
	common->usual = VDB_NET_HDR + VDB__NET_FRAME_MIN + VLAN_TAG + (net->mtu ? net->mtu : DEFAULT_MTU);
	common->most = features & BIT(VIRTIO_NET_F_MTU)
	                       ? VDB_NET_HDR + VDB__NET_FRAME_MIN + 2 * VLAN_TAG + net->mtu
	                       : 0;
	common->longest = features & GUEST_GSO ? VDB_NET_MAX : common->usual;
	vdb__net_filter_vlans(&common->filter, !(features & BIT(VIRTIO_NET_F_CTRL_VLAN)));
}

/* 5.1.2: without MQ the control queue is where the second pair would be, and that is served elsewhere. */
static bool control_is_elsewhere(const struct vdb__net_device *net, uint64_t features)
{
	return net->elsewhere.remote && net->npairs > 1 && features & BIT(VIRTIO_NET_F_CTRL_VQ) &&
	       !(features & BIT(VIRTIO_NET_F_MQ));
}

static int negotiate(void *ctx, uint64_t features)
{
	struct vdb__net_device *net = ctx;
	uint64_t before = net->accepted;
	int rc;

	if (!fit(features))
		return vdb__fail(EINVAL, "net: features %#llx do not go together",
		                 (unsigned long long)features);
	if (control_is_elsewhere(net, features))
		return vdb__fail(EINVAL, "net: of %u pairs in the kernel the control queue needs MQ",
		                 net->npairs);
	net->accepted = features;
	rc = vdb__net_switch(net, vdb__net_switched(net));
	if (rc)
		net->accepted = before;
	else
		agree(net, features);
	return rc;
}

void vdb__net_begin(struct vdb__net_device *net)
{
	vdb__net_filter_reset(&net->net.filter, net->mac);
	vdb__store(&net->net.in_use, 1u);
	vdb__store(&net->announce, 0u);
	vdb__store(&net->guest, (uint64_t)0);
	vdb__store(&net->net.sends, 0u);
	agree(net, 0);
}

static void reset(void *ctx)
{
	vdb__net_begin(ctx);
}

/* ---- Config space ---- */

/* Asked for just as another driver took over, it may be one that does not know of it. */
static uint32_t announce_of(const struct vdb__net_device *net)
{
	return net->accepted & BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) ? vdb__load(&net->announce) : 0;
}

static uint16_t status_of(const struct vdb__net_device *net)
{
	return (uint16_t)((vdb__net_is_down(&net->net) ? 0 : VIRTIO_NET_S_LINK_UP) |
	                  (announce_of(net) ? VIRTIO_NET_S_ANNOUNCE : 0));
}

static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	const struct vdb__net_device *net = ctx;
	uint64_t mac = htole64(vdb__load(&net->net.filter.mac));
	struct virtio_net_config config = {
	        .status = htole16(status_of(net)),
	        .max_virtqueue_pairs = htole16((uint16_t)net->npairs),
	        .mtu = htole16((uint16_t)net->mtu),
	        .speed = htole32(net->speed ? net->speed : SPEED_UNKNOWN),
	        .duplex = net->speed ? DUPLEX_FULL : DUPLEX_UNKNOWN,
	};

	memcpy(config.mac, &mac, sizeof(config.mac));
	memcpy(data, (const uint8_t *)&config + offset, len);
}

/* ---- Queues ---- */

/* The control queue is behind all pairs, of which a driver without MQ knows one (5.1.2). */
static struct vdb_backend *backend_of(void *ctx, uint32_t index)
{
	const struct vdb__net_device *net = ctx;
	uint32_t npairs = net->accepted & BIT(VIRTIO_NET_F_MQ) ? net->npairs : 1;

	if (index == 2 * npairs)
		return net->control;
	if (index > 2 * npairs)
		return net->nobody;
	return net->pairs[index / 2]->backends[index % 2];
}

/* ---- State ---- */

struct macs_state {
	uint32_t count, reserved;
	uint64_t mac[VDB__NET_MACS];
};

struct state {
	uint64_t mac, guest;
	uint32_t in_use, announce, modes, reserved;
	struct macs_state uni, multi;
	uint64_t vlans[VDB__NET_VLANS / 64];
};

static void save_macs(const struct vdb__net_macs *macs, struct macs_state *to)
{
	to->count = macs->count;
	memcpy(to->mac, macs->mac, to->count * sizeof(to->mac[0]));
}

static int save(void *ctx, void *buf, size_t *len)
{
	const struct vdb__net_device *net = ctx;
	const struct vdb__net_filter *filter = &net->net.filter;
	struct state state = {
	        .mac = filter->mac,
	        .guest = net->guest,
	        .in_use = net->net.in_use,
	        .announce = announce_of(net),
	        .modes = filter->modes,
	};

	if (buf && *len < sizeof(state))
		return vdb__fail(ENOSPC, "net: no room for its state");
	*len = sizeof(state);
	if (!buf)
		return 0;
	save_macs(&filter->uni, &state.uni);
	save_macs(&filter->multi, &state.multi);
	memcpy(state.vlans, filter->vlans, sizeof(state.vlans));
	memcpy(buf, &state, sizeof(state));
	return 0;
}

static bool macs_can_be(const struct macs_state *macs)
{
	for (uint32_t i = 0; i < macs->count && i < VDB__NET_MACS; i++) {
		if (macs->mac[i] > VDB__NET_BROADCAST)
			return false;
	}
	return macs->count <= VDB__NET_MACS && !macs->reserved;
}

static bool state_can_be(const struct vdb__net_device *net, const struct state *state)
{
	uint32_t npairs = net->accepted & BIT(VIRTIO_NET_F_MQ) ? net->npairs : 1;
	bool announces = net->accepted & BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);

	return state->mac && state->mac <= VDB__NET_BROADCAST && !(state->mac & VDB__NET_MULTICAST) &&
	       !(state->guest & ~vdb__net_switched(net)) && state->in_use - 1 < npairs &&
	       state->announce <= announces && !(state->modes & ~VDB__NET_ALL_MODES) && !state->reserved &&
	       macs_can_be(&state->uni) && macs_can_be(&state->multi);
}

static void restore_macs(struct vdb__net_macs *macs, const struct macs_state *from)
{
	memcpy(macs->mac, from->mac, from->count * sizeof(macs->mac[0]));
	macs->count = from->count;
}

/* No queue runs. */
static int restore(void *ctx, const void *buf, size_t len)
{
	struct vdb__net_device *net = ctx;
	struct vdb__net_filter *filter = &net->net.filter;
	struct state state;
	int rc;

	if (len != sizeof(state))
		return vdb__fail(EINVAL, "net: %zu bytes of state; it has %zu", len, sizeof(state));
	memcpy(&state, buf, sizeof(state));
	if (!state_can_be(net, &state))
		return vdb__fail(EINVAL, "net: this is not a state of it");
	rc = vdb__net_switch(net, state.guest);
	if (rc)
		return rc;
	vdb__store(&filter->mac, state.mac);
	vdb__store(&filter->modes, state.modes);
	restore_macs(&filter->uni, &state.uni);
	restore_macs(&filter->multi, &state.multi);
	memcpy(filter->vlans, state.vlans, sizeof(filter->vlans));
	vdb__store(&net->net.in_use, state.in_use);
	vdb__store(&net->announce, state.announce);
	return 0;
}

const struct vdb_virtio_ops vdb__net_device_ops = {
        .size = sizeof(vdb__net_device_ops),
        .device_id = 1,
        .name = "net",
        .config_read = config_read,
        .negotiate = negotiate,
        .backend = backend_of,
        .reset = reset,
        .save = save,
        .restore = restore,
        .destroy = vdb__net_free,
};
