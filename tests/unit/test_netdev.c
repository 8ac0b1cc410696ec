/* SPDX-License-Identifier: Apache-2.0 */
/* A netdev before it has a device: what it may be, whose it is, its link, its end. */
#include <errno.h>
#include <string.h>
#include <vdb/error.h>

#include "net/netdev.h"
#include "run.h"

static int destroyed, told;

static int open_pair(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	(void)ctx, (void)index, (void)pair, (void)loop;
	return 0;
}

static void close_pair(void *ctx, uint32_t index)
{
	(void)ctx, (void)index;
}

static int transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	(void)ctx, (void)index, (void)packet;
	return VDB_REQ_DONE;
}

static void destroy(void *ctx)
{
	(*(int *)ctx)++;
}

static void link_changed(void *arg)
{
	(*(int *)arg)++;
}

static const struct vdb_netdev_ops good = {
        .size = sizeof(good),
        .name = "test",
        .open = open_pair,
        .close = close_pair,
        .transmit = transmit,
        .receive = close_pair,
        .destroy = destroy,
};

static struct vdb_netdev *make(void)
{
	const struct vdb_netdev_info info = {.size = sizeof(info), .mtu = 9000};
	struct vdb_netdev *netdev = NULL;

	ck_assert_int_eq(vdb_netdev_create(&good, &destroyed, &info, &netdev), 0);
	return netdev;
}

static void expect_refused(const struct vdb_netdev_ops *ops, const struct vdb_netdev_info *info,
                           const char *words)
{
	struct vdb_netdev *netdev = NULL;

	ck_assert_int_eq(vdb_netdev_create(ops, NULL, info, &netdev), -EINVAL);
	ck_assert_ptr_null(netdev);
	ck_assert_msg(strstr(vdb_errmsg(), words), "%s", vdb_errmsg());
}

START_TEST(says_what_it_is)
{
	struct vdb_netdev_info info = {.size = sizeof(info)};
	struct vdb_netdev *netdev = make();

	ck_assert_int_eq(vdb_netdev_query(netdev, &info), 0);
	ck_assert_uint_eq(info.pairs, 1);
	ck_assert_uint_eq(info.mtu, 9000);
	vdb_netdev_destroy(netdev);
	ck_assert_int_eq(destroyed, 1);
	vdb_netdev_destroy(NULL);
}
END_TEST

START_TEST(refuses_what_cannot_be)
{
	struct vdb_netdev_info info = {.size = sizeof(info)};
	struct vdb_netdev_ops ops = good;

	expect_refused(NULL, &info, "ops and info");
	expect_refused(&good, NULL, "ops and info");
	ops.transmit = NULL;
	expect_refused(&ops, &info, "transmit");
	ops = good;
	ops.reserved = 1;
	expect_refused(&ops, &info, "reserved");
	info.mtu = 67;
	expect_refused(&good, &info, "mtu 67");
	info.mtu = 65536;
	expect_refused(&good, &info, "mtu 65536");
	info.mtu = 0;
	info.offloads = VDB_NET_TSO4;
	expect_refused(&good, &info, "VDB_NET_CSUM");
	info.offloads = VDB_NET_CSUM | VDB_NET_ECN;
	expect_refused(&good, &info, "VDB_NET_ECN");
	info.offloads = 1u << 20;
	expect_refused(&good, &info, "not known");
}
END_TEST

START_TEST(has_one_device)
{
	const struct vdb__netdev_user user = {.link = link_changed, .arg = &told};
	struct vdb_netdev *netdev = make();

	ck_assert_int_eq(vdb__netdev_attach(netdev, &user), 0);
	ck_assert_int_eq(vdb__netdev_attach(netdev, &user), -EBUSY);
	vdb_netdev_destroy(netdev);
	ck_assert_int_eq(destroyed, 0);
	vdb__netdev_detach(netdev);
	ck_assert_int_eq(destroyed, 1);
}
END_TEST

START_TEST(tells_of_its_link)
{
	const struct vdb__netdev_user user = {.link = link_changed, .arg = &told};
	struct vdb_netdev *netdev = make();

	vdb_netdev_link(netdev, false);
	ck_assert_int_eq(vdb__netdev_attach(netdev, &user), 0);
	ck_assert(netdev->down);
	vdb_netdev_link(netdev, false);
	ck_assert_int_eq(told, 0);
	vdb_netdev_link(netdev, true);
	ck_assert_int_eq(told, 1);
	ck_assert(!netdev->down);
	vdb__netdev_detach(netdev);
	vdb_netdev_link(netdev, false);
	ck_assert_int_eq(told, 1);
	vdb_netdev_destroy(netdev);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("netdev");

	tcase_add_test(tc, says_what_it_is);
	tcase_add_test(tc, refuses_what_cannot_be);
	tcase_add_test(tc, has_one_device);
	tcase_add_test(tc, tells_of_its_link);
	return test_run("netdev", tc);
}
