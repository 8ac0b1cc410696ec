/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/net.h>
#include <vdb/netsock.h>
#include <vdb/tap.h>
#include <vdb/vhost_net.h>

#include "devices.h"
#include "keys.h"
#include "passt.h"
#include "run.h"
#include "tinyvmm.h"
#include "values.h"

/* ---- What the user wants ---- */

/* One key of --net. `alone`: it may stand without a value. */
struct key {
	const char *name;
	bool alone;
	int (*take)(struct net *net, const char *value);
};

/* `room` counts the end of the string. */
static int text(const char *what, const char *from, char *to, size_t room)
{
	if (!*from)
		return complain("%s: is empty", what);
	if (strlen(from) >= room)
		return complain("%s %.40s...: at most %zu characters", what, from, room - 1);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

static int on_off(const char *what, const char *value, bool *on)
{
	static const struct choice choices[] = {{"on", true}, {"off", false}, {0}};
	uint32_t chosen = true;

	if (value && value_choice(what, value, choices, &chosen))
		return -1;
	*on = chosen;
	return 0;
}

/* What it is connected to is said once. */
static int connect(struct net *net, enum net_kind kind, const char *name)
{
	if (net->kind != NET_NONE)
		return complain("--net %s: is connected already; say --net once for each card", name);
	net->kind = kind;
	return 0;
}

static int take_tap(struct net *net, const char *value)
{
	if (connect(net, NET_TAP, "tap"))
		return -1;
	return value ? text("--net tap", value, net->tap, sizeof(net->tap)) : 0;
}

static int take_user(struct net *net, const char *value)
{
	if (value)
		return complain("--net user=%.40s: takes no value", value);
	return connect(net, NET_USER, "user");
}

static int take_up(struct net *net, const char *value)
{
	return on_off("--net up", value, &net->up);
}

static int take_id(struct net *net, const char *value)
{
	return text("--net id", value, net->id, sizeof(net->id));
}

static int take_mac(struct net *net, const char *value)
{
	static const uint8_t none[6];
	unsigned b[6];
	int end = 0;

	if (strlen(value) != 17 || strspn(value, "0123456789abcdefABCDEF:") != 17 ||
	    sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6 ||
	    end != 17)
		return complain("--net mac %.40s: must be like 52:54:00:12:34:56", value);
	for (unsigned i = 0; i < 6; i++)
		net->mac[i] = (uint8_t)b[i];
	if (net->mac[0] & 1)
		return complain("--net mac %s: is a multicast address; the first byte must be even", value);
	return memcmp(net->mac, none, 6) ? 0 : complain("--net mac %s: is no address of a card", value);
}

static int take_queues(struct net *net, const char *value)
{
	return value_number32("--net queues", value, 1, VDB_NET_MAX_PAIRS, &net->queues);
}

static int take_mtu(struct net *net, const char *value)
{
	return value_number32("--net mtu", value, 68, 65521, &net->mtu);
}

static int take_vhost(struct net *net, const char *value)
{
	return on_off("--net vhost", value, &net->vhost);
}

static int take_packed(struct net *net, const char *value)
{
	net->packed_given = true;
	return on_off("--net packed", value, &net->packed);
}

static const struct key keys[] = {
        {"tap", true, take_tap},  {"user", true, take_user},     {"up", true, take_up},
        {"id", false, take_id},   {"mac", false, take_mac},      {"queues", false, take_queues},
        {"mtu", false, take_mtu}, {"packed", true, take_packed}, {"vhost", true, take_vhost},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

static int take(void *to, const char *name, const char *value)
{
	struct net *net = to;
	int taken = rates_take(&net->rates, "--net", name, value);

	if (taken <= 0)
		return taken;
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].name, name) != 0)
			continue;
		if (!value && !keys[i].alone)
			return complain("--net %s: needs a value: %s=...", name, name);
		return keys[i].take(net, value);
	}
	return complain("--net: no key `%s`; see `tinyvmm run --help`", name);
}

static int check_vhost(const struct net *net)
{
	if (net->kind != NET_TAP)
		return complain("--net vhost: is for a tap");
	if (net->packed_given && net->packed)
		return complain("--net vhost: the kernel knows no packed rings; leave out packed");
	if (net->rates.given)
		return complain("--net vhost: what the kernel serves cannot be limited here; leave out bps "
		                "and iops");
	return 0;
}

int net_parse(struct net *net, const char *from, uint32_t number)
{
	*net = (struct net){.queues = 1};
	snprintf(net->id, sizeof(net->id), "net%u", number);
	if (keys_parse("--net", from, take, net))
		return -1;
	if (net->kind == NET_NONE)
		return complain("--net %s: say what it is connected to: tap=NAME, or user", from);
	if (net->kind == NET_USER && net->queues > 1)
		return complain("--net user: has one queue pair; queues is for a tap");
	if (net->kind == NET_USER && net->up)
		return complain("--net user: is always up; up is for a tap");
	if (net->vhost && check_vhost(net))
		return -1;
	return rates_check(&net->rates, "--net");
}

uint32_t net_count(const struct run_options *options)
{
	return options->net_count;
}

/* ---- What it is connected to ---- */

static int open_tap(struct net *net)
{
	struct vdb_tap_config config = {
	        .size = sizeof(config),
	        .flags = net->up ? VDB_TAP_UP : 0,
	        .name = net->tap,
	        .pairs = net->queues,
	        .mtu = net->mtu,
	};

	return vdb_netdev_tap(&config, &net->netdev);
}

/* On a loop's thread. */
static void passt_ended(void *arg, int error)
{
	const struct net *net = arg;

	complain("%s: passt has ended%s%s; the guest's link is down", net->id, error ? ": " : "",
	         error ? strerror(error) : "");
}

static int open_user(struct net *net)
{
	struct vdb_net_socket_config config = {
	        .size = sizeof(config), .mtu = net->mtu, .closed = passt_ended, .arg = net};
	int err;

	config.fd = passt_start(net->id, net->mtu);
	if (config.fd < 0)
		return -1;
	err = vdb_netdev_stream(&config, &net->netdev);
	close(config.fd);
	return err ? complain("%s: %s", net->id, vdb_errmsg()) : 0;
}

int net_open(struct net *net)
{
	int err;

	if (net->kind == NET_USER)
		return open_user(net);
	err = open_tap(net);
	if (err == -EPERM || err == -ENOENT)
		return complain("%s: %s; --net user needs no privileges", net->id, vdb_errmsg());
	return err ? complain("%s: %s", net->id, vdb_errmsg()) : 0;
}

void net_close(struct net *net)
{
	vdb_netdev_destroy(net->netdev);
	net->netdev = NULL;
}

/* ---- The device ---- */

int net_create(struct run *run, struct device *device, uint32_t index)
{
	struct net *net = &run->options.nets[index];
	struct vdb_virtio_config at =
	        devices_spread(run, device, index, net->packed_given ? net->packed : run->options.packed);
	struct vdb_net_config config = {.size = sizeof(config), .netdev = net->netdev, .pairs = net->queues};

	memcpy(config.mac, net->mac, sizeof(config.mac));
	device->name = net->id;
	device->netdev = net->netdev;
	if (net->vhost)
		return vdb_vhost_net_create(&at, &config, &device->virtio);
	device->limit = at.limit = net->limit;
	return vdb_net_create(&at, &config, &device->virtio);
}
