/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: calloc malloc fcntl */
/* Netdevs on sockets and switches, on a host that runs out: each call that making one takes fails once. */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vdb/vdb.h>

#include "fail.h"
#include "suite.h"

static int make(void *arg)
{
	const int *fds = arg;
	struct vdb_net_socket_config config = {.size = sizeof(config), .fd = fds[0]};
	struct vdb_netdev *netdev = NULL;
	int err = fds[1] == SOCK_STREAM ? vdb_netdev_stream(&config, &netdev)
	                                : vdb_netdev_dgram(&config, &netdev);

	vdb_netdev_destroy(netdev);
	return err;
}

START_TEST(sockets)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	int fds[2];

	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, fds), 0);
		ck_assert_uint_ge(fail_sweep(make, (int[]){fds[0], types[i]}), 4);
		close(fds[0]);
		close(fds[1]);
	}
}
END_TEST

static int make_switch(void *arg)
{
	struct vdb_switch *sw = NULL;
	struct vdb_netdev *port = NULL;
	int err = vdb_switch_create(arg, NULL, &sw);

	if (!err)
		err = vdb_switch_port(sw, NULL, &port);
	vdb_netdev_destroy(port);
	vdb_switch_destroy(sw);
	return err;
}

START_TEST(switches)
{
	struct vdb_loop *loop = NULL;

	ck_assert_int_eq(vdb_loop_create(NULL, &loop), 0);
	ck_assert_uint_ge(fail_sweep(make_switch, loop), 8);
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
}
END_TEST

SUITE("netdev_fail", sockets, switches)
