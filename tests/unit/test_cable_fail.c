/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: calloc malloc aligned_alloc mmap */
/* A cable on a host that runs out: each call that making one takes fails once, and the netdevs are free
 * again. */
#include <vdb/cable.h>

#include "fail.h"
#include "null_netdev.h"
#include "suite.h"
#include "turn.h"

static struct vdb_loop *loop;
static struct vdb_netdev *ends[2];

static void count(void *arg)
{
	++*(int *)arg;
}

/* The loop's calls may be the ones to fail: the cable is there then, if not of much use. */
static int make(void *arg)
{
	const struct vdb_cable_config config = {
	        .size = sizeof(config), .buffers = 16, .netdev = {ends[0], ends[1]}};
	struct vdb_cable *cable = NULL;
	int err = vdb_cable_create(loop, &config, &cable), gone = err < 0;

	(void)arg;
	(void)!vdb_loop_step(loop);
	vdb_cable_destroy(cable, count, &gone);
	for (int i = 0; i < 100 || !gone; i++) {
		fail_check(vdb_loop_step(loop) >= 0);
		fail_check(i < 100000);
	}
	return err;
}

START_TEST(each_call_fails_once)
{
	loop = test_loop_new();
	for (unsigned n = 0; n < 2; n++)
		ck_assert_int_eq(null_netdev_create(1, &ends[n]), 0);
	ck_assert_uint_ge(fail_sweep(make, NULL), 20);
	for (unsigned n = 0; n < 2; n++)
		vdb_netdev_destroy(ends[n]);
	test_loop_end(loop);
}
END_TEST

SUITE("cable_fail", each_call_fails_once)
