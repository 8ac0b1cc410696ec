/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All it takes to give any number of VMs of one loop the same way out: a switch, a port of it for each, and a
 * cable from one more port to the outside. Build: link -lvdb.
 */
#include "lan.h"

#include <string.h>

#define STATIONS 1024u /* outside, that the switch remembers: of a guest's port it is a few */

int lan_create(struct vdb_loop *loop, struct vdb_netdev *outside, struct lan *lan)
{
	const struct vdb_switch_port_config port = {.size = sizeof(port), .macs = STATIONS};
	struct vdb_cable_config cable = {.size = sizeof(cable)};
	int err;

	*lan = (struct lan){0};
	err = vdb_switch_create(loop, NULL, &lan->sw);
	if (err)
		return err;
	err = vdb_switch_port(lan->sw, &port, &cable.netdev[0]);
	if (!err) {
		cable.netdev[1] = outside;
		err = vdb_cable_create(loop, &cable, &lan->uplink);
		vdb_netdev_destroy(cable.netdev[0]); /* the cable has it */
	}
	if (err)
		vdb_switch_destroy(lan->sw);
	return err;
}

int lan_card(const struct lan *lan, const uint8_t mac[6], struct vdb_netdev **out)
{
	struct vdb_switch_port_config port = {
	        .size = sizeof(port),
	        .flags = VDB_SWITCH_PORT_GUARD | VDB_SWITCH_PORT_ISOLATED,
	};

	memcpy(port.mac, mac, sizeof(port.mac));
	return vdb_switch_port(lan->sw, &port, out);
}

void lan_destroy(struct lan *lan, vdb_done_fn done, void *arg)
{
	vdb_switch_destroy(lan->sw); /* its ports go on */
	vdb_cable_destroy(lan->uplink, done, arg);
}
