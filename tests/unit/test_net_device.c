/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* virtio-net as a device: what it offers, what goes together, what the driver reads of it. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "net_rig.h"
#include "run.h"

#define BIT(name) VRIG_BIT(VIRTIO_NET_F_##name)
#define USO_BITS \
	(VRIG_BIT(VDB__NET_F_GUEST_USO4) | VRIG_BIT(VDB__NET_F_GUEST_USO6) | VRIG_BIT(VDB__NET_F_HOST_USO))

static struct net_rig r;

static uint64_t offered(void)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_virtio_query(r.v.device, &info), 0);
	return info.offered;
}

static void open_with(uint32_t offloads)
{
	net_rig_open(&r, &(struct net_rig_config){.offloads = offloads});
}

static struct virtio_net_config config_of(void)
{
	struct virtio_net_config config = {0};

	for (uint32_t i = 0; i < VDB__NET_CONFIG; i++)
		vdb__virtio_config_read(r.v.device, i, (uint8_t *)&config + i, 1);
	return config;
}

/* ---- Features ---- */

START_TEST(offers_what_its_netdev_can)
{
	open_with(0);
	ck_assert(!(offered() &
	            (BIT(CSUM) | BIT(GUEST_CSUM) | BIT(HOST_TSO4) | BIT(GUEST_TSO4) | BIT(HOST_UFO) |
	             BIT(CTRL_GUEST_OFFLOADS) | BIT(MQ) | BIT(MTU) | BIT(SPEED_DUPLEX) | USO_BITS)));
	ck_assert(offered() & BIT(MRG_RXBUF));
	net_rig_close(&r);
	open_with(VDB_NET_CSUM | VDB_NET_TSO4 | VDB_NET_ECN | VDB_NET_USO4);
	ck_assert_uint_eq(offered() & (BIT(CSUM) | BIT(GUEST_CSUM) | BIT(HOST_TSO4) | BIT(GUEST_TSO4) |
	                               BIT(HOST_TSO6) | BIT(GUEST_TSO6) | BIT(HOST_ECN) | BIT(GUEST_ECN) |
	                               BIT(CTRL_GUEST_OFFLOADS)),
	                  BIT(CSUM) | BIT(GUEST_CSUM) | BIT(HOST_TSO4) | BIT(GUEST_TSO4) | BIT(HOST_ECN) |
	                          BIT(GUEST_ECN) | BIT(CTRL_GUEST_OFFLOADS));
	/* A guest that may send one kind of USO may send both. */
	ck_assert_uint_eq(offered() & USO_BITS, VRIG_BIT(VDB__NET_F_GUEST_USO4));
	net_rig_close(&r);
	open_with(VDB_NET_CSUM | VDB_NET_USO4 | VDB_NET_USO6);
	ck_assert_uint_eq(offered() & USO_BITS, USO_BITS);
	net_rig_close(&r);
}
END_TEST

/* 5.1.3.1 */
static const struct {
	uint64_t features;
	bool fit;
} sets[] = {
        {BIT(MAC), true},
        {BIT(CSUM) | BIT(HOST_TSO4) | BIT(HOST_ECN), true},
        {BIT(HOST_TSO4), false},
        {BIT(HOST_UFO), false},
        {VRIG_BIT(VDB__NET_F_HOST_USO), false},
        {BIT(CSUM) | BIT(HOST_ECN), false},
        {BIT(GUEST_CSUM) | BIT(GUEST_TSO6) | BIT(GUEST_ECN), true},
        {BIT(GUEST_TSO4), false},
        {BIT(GUEST_UFO) | BIT(CSUM), false},
        {VRIG_BIT(VDB__NET_F_GUEST_USO6), false},
        {BIT(GUEST_CSUM) | BIT(GUEST_ECN), false},
        {BIT(CTRL_VQ) | BIT(CTRL_RX) | BIT(MQ) | BIT(CTRL_VLAN) | BIT(GUEST_ANNOUNCE) | BIT(CTRL_MAC_ADDR),
         true},
        {BIT(CTRL_RX), false},
        {BIT(CTRL_VLAN), false},
        {BIT(CTRL_RX_EXTRA), false},
        {BIT(GUEST_ANNOUNCE), false},
        {BIT(MQ), false},
        {BIT(CTRL_MAC_ADDR), false},
        {BIT(GUEST_CSUM) | BIT(CTRL_GUEST_OFFLOADS), false},
};

START_TEST(features_depend_on_each_other)
{
	net_rig_open(&r, &(struct net_rig_config){.offloads = 0x7f, .pairs = 2});
	virtio_rig_set(&r.v, 1);
	virtio_rig_set(&r.v, 3);
	virtio_rig_accept(&r.v, VRIG_V1 | sets[_i].features);
	virtio_rig_set(&r.v, 0xb);
	ck_assert_uint_eq(virtio_rig_status(&r.v), sets[_i].fit ? 0xb : 3);
	net_rig_close(&r);
}
END_TEST

START_TEST(netdev_hears_what_the_driver_takes)
{
	open_with(VDB_NET_CSUM | VDB_NET_TSO4 | VDB_NET_TSO6);
	net_rig_up(&r, BIT(GUEST_CSUM) | BIT(GUEST_TSO6));
	ck_assert_uint_eq(r.offloads, VDB_NET_CSUM | VDB_NET_TSO6);
	virtio_rig_negotiate(&r.v, VRIG_V1);
	ck_assert_uint_eq(r.offloads, 0);
	/* And may not be able to do it after all. */
	r.offload_fails = -EINVAL;
	virtio_rig_reset(&r.v);
	virtio_rig_set(&r.v, 1);
	virtio_rig_set(&r.v, 3);
	virtio_rig_accept(&r.v, VRIG_V1 | BIT(GUEST_CSUM));
	virtio_rig_set(&r.v, 0xb);
	ck_assert_uint_eq(virtio_rig_status(&r.v), 3);
	net_rig_close(&r);
}
END_TEST

/* ---- Config space ---- */

START_TEST(config_says_what_it_is)
{
	const struct net_rig_config config = {
	        .pairs = 3,
	        .mtu = 9000,
	        .net = {.mac = {2, 0, 0, 1, 2, 3}, .mtu = 4000, .speed = 10000},
	};
	struct virtio_net_config c;

	net_rig_open(&r, &config);
	c = config_of();
	ck_assert_mem_eq(c.mac, config.net.mac, 6);
	ck_assert_uint_eq(le16toh(c.status), VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(le16toh(c.max_virtqueue_pairs), 3);
	ck_assert_uint_eq(le16toh(c.mtu), 4000);
	ck_assert_uint_eq(le32toh(c.speed), 10000);
	ck_assert_uint_eq(c.duplex, 1);
	ck_assert(offered() & BIT(MTU) && offered() & BIT(SPEED_DUPLEX) && offered() & BIT(MQ));
	net_rig_close(&r);
}
END_TEST

START_TEST(defaults_are_the_netdevs)
{
	uint8_t mac[6];
	struct virtio_net_config c;

	net_rig_open(&r, &(struct net_rig_config){.mtu = 1400});
	c = config_of();
	ck_assert_uint_eq(le16toh(c.mtu), 1400);
	ck_assert_uint_eq(le32toh(c.speed), UINT32_MAX);
	ck_assert_uint_eq(c.duplex, 0xff);
	/* At random: locally administered, one station's. */
	ck_assert_uint_eq(c.mac[0] & 3, 2);
	ck_assert_int_eq(vdb_net_mac(r.v.device, mac), 0);
	ck_assert_mem_eq(mac, c.mac, 6);
	net_rig_close(&r);
}
END_TEST

START_TEST(link_is_told)
{
	open_with(0);
	net_rig_up(&r, BIT(STATUS));
	ck_assert_int_eq(vdb_net_link(r.v.device, true), 0);
	ck_assert_uint_eq(r.v.config_interrupts, 0);
	ck_assert_int_eq(vdb_net_link(r.v.device, false), 0);
	ck_assert_uint_eq(r.v.config_interrupts, 1);
	ck_assert_uint_eq(le16toh(config_of().status), 0);
	/* Up for one is not yet up. */
	vdb_netdev_link(r.netdev, false);
	ck_assert_int_eq(vdb_net_link(r.v.device, true), 0);
	ck_assert_uint_eq(le16toh(config_of().status), 0);
	vdb_netdev_link(r.netdev, true);
	ck_assert_uint_eq(le16toh(config_of().status), VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(r.v.config_interrupts, 4);
	net_rig_close(&r);
}
END_TEST

/* ---- Bad input ---- */

static void refuse(const struct vdb_net_config *config, int err, const char *words)
{
	struct vdb_virtio_config at = {.size = sizeof(at), .mem = r.v.ram.mem, .loop = r.v.loop};
	struct vdb_virtio *device = NULL;

	ck_assert_int_eq(vdb_net_create(&at, config, &device), err);
	ck_assert_ptr_null(device);
	ck_assert_msg(strstr(vdb_errmsg(), words), "%s", vdb_errmsg());
}

START_TEST(refuses_what_cannot_be)
{
	const struct net_rig_config rig = {.pairs = 2, .mtu = 1500};
	struct vdb_virtio_config at = {.size = sizeof(at), .flags = VDB_VIRTIO_IN_ORDER};
	struct vdb_net_config good = {.size = sizeof(good), .pairs = 2}, bad;
	struct vdb_virtio *device = NULL;
	struct vdb_netdev *mine;

	net_rig_open(&r, &(struct net_rig_config){.pairs = 1});
	mine = r.netdev;
	refuse(&good, -EINVAL, "a netdev must be given");
	good.netdev = mine;
	good.pairs = 1;
	refuse(&good, -EBUSY, "has a device already");
	net_rig_close(&r);

	r.v = (struct virtio_rig){0};
	net_rig_netdev(&r, &rig);
	good.netdev = r.netdev;
	bad = good;
	bad.pairs = 3;
	refuse(&bad, -EINVAL, "3 queue pairs; netdev mock has 2");
	bad.pairs = 32;
	refuse(&bad, -EINVAL, "32 queue pairs; at most 31");
	bad = good;
	bad.mtu = 67;
	refuse(&bad, -EINVAL, "mtu 67; 68 to 65535");
	bad.mtu = 65536;
	refuse(&bad, -EINVAL, "mtu 65536");
	bad.mtu = 1501;
	refuse(&bad, -EINVAL, "mtu 1501; netdev mock carries 1500");
	bad = good;
	bad.mac[0] = 1;
	refuse(&bad, -EINVAL, "01:00:00:00:00:00 is a multicast address");
	bad = good;
	bad.reserved = 1;
	refuse(&bad, -EINVAL, "reserved");
	bad = good;
	bad.speed = UINT32_MAX;
	refuse(&bad, -EINVAL, "speed");
	/* What it needs of a virtio device is missing: nothing is left of it. */
	refuse(&good, -EINVAL, "mem must be given");
	ck_assert_int_eq(vdb_net_create(&at, &good, &device), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "IN_ORDER"));
	vdb_netdev_destroy(r.netdev);
	ck_assert_uint_eq(r.destroyed, 1);
}
END_TEST

START_TEST(questions_are_for_net_devices)
{
	struct vdb_net_stats stats = {.size = sizeof(stats)};
	struct virtio_rig echo;
	uint8_t mac[6];

	virtio_rig_open(&echo, NULL);
	ck_assert_int_eq(vdb_net_link(echo.device, true), -EINVAL);
	ck_assert_int_eq(vdb_net_announce(echo.device), -EINVAL);
	ck_assert_int_eq(vdb_net_mac(echo.device, mac), -EINVAL);
	ck_assert_int_eq(vdb_net_stats(echo.device, 0, &stats), -EINVAL);
	virtio_rig_close(&echo);
	open_with(0);
	ck_assert_int_eq(vdb_net_stats(r.v.device, 1, &stats), -ENOENT);
	ck_assert_int_eq(vdb_net_stats(r.v.device, VDB_NET_ALL, &stats), 0);
	ck_assert_uint_eq(stats.in_use, 1);
	ck_assert_int_eq(vdb_net_announce(r.v.device), -EOPNOTSUPP);
	net_rig_close(&r);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_device");

	tcase_add_test(tc, offers_what_its_netdev_can);
	tcase_add_loop_test(tc, features_depend_on_each_other, 0, sizeof(sets) / sizeof(sets[0]));
	tcase_add_test(tc, netdev_hears_what_the_driver_takes);
	tcase_add_test(tc, config_says_what_it_is);
	tcase_add_test(tc, defaults_are_the_netdevs);
	tcase_add_test(tc, link_is_told);
	tcase_add_test(tc, refuses_what_cannot_be);
	tcase_add_test(tc, questions_are_for_net_devices);
	return test_run("net_device", tc);
}
