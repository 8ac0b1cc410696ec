/* SPDX-License-Identifier: Apache-2.0 */
#include "net/switch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "net/netdev.h"

#define DEFAULT_PORTS 32u
#define DEFAULT_MACS 16u
#define DEFAULT_AGE 300u
#define OFFLOADS (VDB_NET_CSUM | VDB_NET_TSO4 | VDB_NET_TSO6 | VDB_NET_ECN | VDB_NET_USO4 | VDB_NET_USO6)

/* ---- Ports that come and go, on the loop's thread ---- */

static int port_offload(void *ctx, uint32_t offloads)
{
	struct vdb__port *port = ctx;

	vdb__store(&port->offloads, offloads);
	return 0;
}

static int port_open(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	struct vdb__port *port = ctx;
	struct vdb_switch *sw = port->sw;
	uint64_t mac = vdb__switch_mac(port->config.mac);
	int rc = 0;

	(void)index; /* there is one */
	if (loop != sw->loop)
		return vdb__fail(EXDEV, "switch: the device's queues are on another loop than the switch");
	if (!sw->timer)
		rc = vdb_timer_create(loop, vdb__switch_tick, sw, &sw->timer);
	if (rc)
		return rc;
	port->pair = pair;
	sw->open[port->index] = port;
	sw->opened++;
	if (mac)
		vdb__switch_fix(port, mac);
	return 0;
}

static void port_close(void *ctx, uint32_t index)
{
	struct vdb__port *port = ctx;
	struct vdb_switch *sw = port->sw;

	(void)index;
	port->pair = NULL;
	sw->open[port->index] = NULL;
	vdb__switch_drain(port);
	vdb__switch_forget(port);
	if (--sw->opened)
		return;
	vdb_timer_destroy(sw->timer);
	sw->timer = NULL;
	sw->ticking = false;
}

/* ---- Life; any thread ---- */

static void free_port(struct vdb__port *port)
{
	free(port->macs);
	free(port->waiting);
	free(port);
}

static void port_destroy(void *ctx)
{
	struct vdb__port *port = ctx;
	struct vdb_switch *sw = port->sw;

	pthread_mutex_lock(&sw->lock);
	sw->ports[port->index] = NULL;
	pthread_mutex_unlock(&sw->lock);
	free_port(port);
	vdb_switch_destroy(sw);
}

static const struct vdb_netdev_ops port_ops = {
        .size = sizeof(port_ops),
        .name = "switch",
        .offload = port_offload,
        .open = port_open,
        .close = port_close,
        .transmit = vdb__switch_transmit,
        .cancel = vdb__switch_cancel,
        .receive = vdb__switch_receive,
        .destroy = port_destroy,
};

VDB_EXPORT void vdb_switch_destroy(struct vdb_switch *sw)
{
	if (!sw || !vdb__ref_put(&sw->refs))
		return;
	pthread_mutex_destroy(&sw->lock);
	free((void *)sw->ports);
	free((void *)sw->open);
	free((void *)sw->buckets);
	free(sw);
}

static int check_offloads(const struct vdb_switch_config *config)
{
	if (config->flags & ~VDB_SWITCH_PLAIN)
		return vdb__fail(EINVAL, "switch: unknown flags %#x; see VDB_SWITCH_*", config->flags);
	if (config->flags & VDB_SWITCH_PLAIN && config->offloads)
		return vdb__fail(EINVAL, "switch: VDB_SWITCH_PLAIN and offloads %#x", config->offloads);
	if (config->offloads & ~OFFLOADS)
		return vdb__fail(EINVAL, "switch: offloads %#x; all of %#x may be given", config->offloads,
		                 OFFLOADS);
	if (config->offloads && !(config->offloads & VDB_NET_CSUM))
		return vdb__fail(EINVAL, "switch: offloads %#x need VDB_NET_CSUM", config->offloads);
	return 0;
}

static int check_config(const struct vdb_switch_config *config)
{
	if (config->ports > VDB_SWITCH_PORTS_MAX)
		return vdb__fail(EINVAL, "switch: %u ports; at most %u", config->ports, VDB_SWITCH_PORTS_MAX);
	if (config->macs > VDB_SWITCH_MACS_MAX)
		return vdb__fail(EINVAL, "switch: %u addresses for a port; at most %u", config->macs,
		                 VDB_SWITCH_MACS_MAX);
	if (config->mtu && (config->mtu < 68 || config->mtu > 65535))
		return vdb__fail(EINVAL, "switch: mtu %u; 68 to 65535", config->mtu);
	if (config->reserved)
		return vdb__fail(EINVAL, "switch: reserved must be 0");
	return check_offloads(config);
}

static void defaults(struct vdb_switch_config *config)
{
	if (!config->ports)
		config->ports = DEFAULT_PORTS;
	if (!config->macs)
		config->macs = DEFAULT_MACS;
	if (!config->age_s)
		config->age_s = DEFAULT_AGE;
	if (!config->offloads && !(config->flags & VDB_SWITCH_PLAIN))
		config->offloads = OFFLOADS;
}

/* Twice as many buckets as there may be addresses, with one port that has as many as a port can. */
static int make_tables(struct vdb_switch *sw)
{
	uint32_t macs = sw->config.ports * sw->config.macs + VDB_SWITCH_MACS_MAX;

	for (sw->bits = 1; 1u << sw->bits < 2 * macs; sw->bits++)
		;
	sw->ports = calloc(sw->config.ports, sizeof(*sw->ports));
	sw->open = calloc(sw->config.ports, sizeof(*sw->open));
	sw->buckets = calloc(1ull << sw->bits, sizeof(*sw->buckets));
	if (!sw->ports || !sw->open || !sw->buckets)
		return vdb__fail(ENOMEM, "switch: no memory for %u ports", sw->config.ports);
	return 0;
}

/* Where there is no randomness yet the address of the switch is some. */
static uint64_t make_key(const struct vdb_switch *sw)
{
	uint64_t key;

	if (getrandom(&key, sizeof(key), GRND_NONBLOCK) != (ssize_t)sizeof(key))
		key = (uintptr_t)sw * 0x9e3779b97f4a7c15ull;
	return key | 1;
}

VDB_EXPORT int vdb_switch_create(struct vdb_loop *loop, const struct vdb_switch_config *config,
                                 struct vdb_switch **out)
{
	struct vdb_switch *sw = calloc(1, sizeof(*sw));
	int rc;

	if (!sw)
		return vdb__fail(ENOMEM, "switch: no memory");
	sw->refs = 1;
	sw->loop = loop;
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&sw->lock, NULL);
	sw->key = make_key(sw);
	rc = vdb__config_take(&sw->config, sizeof(sw->config), config, "switch config");
	if (!rc)
		rc = check_config(&sw->config);
	defaults(&sw->config);
	if (!rc)
		rc = make_tables(sw);
	if (rc)
		vdb_switch_destroy(sw);
	else
		*out = sw;
	return rc;
}

/* ---- Ports ---- */

static int check_port(const struct vdb_switch_port_config *config)
{
	uint64_t mac = vdb__switch_mac(config->mac);

	if (config->flags & ~(VDB_SWITCH_PORT_GUARD | VDB_SWITCH_PORT_ISOLATED))
		return vdb__fail(EINVAL, "switch port: unknown flags %#x; see VDB_SWITCH_PORT_*",
		                 config->flags);
	if (config->reserved[0] || config->reserved[1])
		return vdb__fail(EINVAL, "switch port: reserved must be 0");
	if (config->macs > VDB_SWITCH_MACS_MAX)
		return vdb__fail(EINVAL, "switch port: %u addresses; at most %u", config->macs,
		                 VDB_SWITCH_MACS_MAX);
	if (vdb__switch_is_group(mac))
		return vdb__fail(EINVAL,
		                 "switch port: address %02x:... is a group's; its first byte must be "
		                 "even",
		                 config->mac[0]);
	if (config->flags & VDB_SWITCH_PORT_GUARD && !mac)
		return vdb__fail(EINVAL, "switch port: VDB_SWITCH_PORT_GUARD needs the guest's address");
	return 0;
}

static int make_port(struct vdb_switch *sw, const struct vdb_switch_port_config *config,
                     struct vdb__port **out)
{
	struct vdb__port *port = calloc(1, sizeof(*port));

	if (!port)
		return vdb__fail(ENOMEM, "switch port: no memory");
	port->sw = sw;
	port->config = *config;
	if (!port->config.macs)
		port->config.macs = sw->config.macs;
	port->macs = calloc(port->config.macs, sizeof(*port->macs));
	port->waiting = calloc(sw->config.ports, sizeof(*port->waiting));
	if (!port->macs || !port->waiting) {
		free_port(port);
		return vdb__fail(ENOMEM, "switch port: no memory");
	}
	vdb__list_init(&port->queue);
	vdb__list_init(&port->spare);
	for (uint32_t i = 0; i < VDB__SWITCH_WAITS; i++)
		vdb__list_append(&port->spare, &port->waits[i].link);
	port->nspare = VDB__SWITCH_WAITS;
	*out = port;
	return 0;
}

/* Under the lock. */
static int find_place(struct vdb_switch *sw, struct vdb__port *port)
{
	uint32_t free = sw->config.ports;
	uint64_t mac = vdb__switch_mac(port->config.mac);

	for (uint32_t i = sw->config.ports; i-- > 0;) {
		if (!sw->ports[i])
			free = i;
		else if (mac && vdb__switch_mac(sw->ports[i]->config.mac) == mac)
			return vdb__fail(EEXIST, "switch port: another one has the address");
	}
	if (free == sw->config.ports)
		return vdb__fail(ENOSPC, "switch: has all its %u ports; create it with more", free);
	port->index = free;
	sw->ports[free] = port;
	return 0;
}

static int add_port(struct vdb_switch *sw, struct vdb__port *port)
{
	int rc;

	pthread_mutex_lock(&sw->lock);
	rc = find_place(sw, port);
	pthread_mutex_unlock(&sw->lock);
	if (!rc)
		vdb__ref_get(&sw->refs);
	return rc;
}

VDB_EXPORT int vdb_switch_port(struct vdb_switch *sw, const struct vdb_switch_port_config *config,
                               struct vdb_netdev **out)
{
	const struct vdb_netdev_info info = {
	        .size = sizeof(info),
	        .offloads = sw->config.offloads,
	        .pairs = 1,
	        .mtu = sw->config.mtu,
	};
	struct vdb_switch_port_config own;
	struct vdb__port *port = NULL;
	int rc = vdb__config_take(&own, sizeof(own), config, "switch port config");

	if (!rc)
		rc = check_port(&own);
	if (!rc)
		rc = make_port(sw, &own, &port);
	if (rc)
		return rc;
	rc = add_port(sw, port);
	if (rc) {
		free_port(port);
		return rc;
	}
	rc = vdb_netdev_create(&port_ops, port, &info, &port->netdev);
	if (rc)
		port_destroy(port);
	else
		*out = port->netdev;
	return rc;
}

VDB_EXPORT int vdb_switch_port_stats(const struct vdb_netdev *netdev, struct vdb_switch_port_stats *stats)
{
	const struct vdb__port *port = netdev->ctx;
	struct vdb_switch_port_stats copy = {0};

	if (netdev->ops.transmit != vdb__switch_transmit)
		return vdb__fail(EINVAL, "netdev %s: not a port of a switch", netdev->ops.name);
	copy.macs = vdb__load(&port->stats.macs);
	copy.sent = vdb__load(&port->stats.sent);
	copy.flooded = vdb__load(&port->stats.flooded);
	copy.spoofed = vdb__load(&port->stats.spoofed);
	copy.lost = vdb__load(&port->stats.lost);
	copy.received = vdb__load(&port->stats.received);
	copy.full = vdb__load(&port->stats.full);
	copy.segments = vdb__load(&port->stats.segments);
	return vdb__stats_give(stats, &copy, sizeof(copy), "switch port stats");
}
