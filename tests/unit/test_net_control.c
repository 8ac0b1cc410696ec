/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* virtio-net's control queue: what it does, and what it refuses (G68). */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "net_rig.h"
#include "run.h"

#define BIT(name) VRIG_BIT(VIRTIO_NET_F_##name)
#define ALL                                                                                        \
	(BIT(CTRL_VQ) | BIT(CTRL_RX) | BIT(CTRL_RX_EXTRA) | BIT(CTRL_VLAN) | BIT(CTRL_MAC_ADDR) |  \
	 BIT(GUEST_ANNOUNCE) | BIT(STATUS) | BIT(GUEST_CSUM) | BIT(GUEST_TSO4) | BIT(GUEST_TSO6) | \
	 BIT(GUEST_ECN) | BIT(CTRL_GUEST_OFFLOADS))

static const uint8_t own[6] = {2, 0, 0, 0, 0, 9}, stranger[6] = {2, 0, 0, 0, 0, 8};
static const uint8_t group[6] = {1, 0, 94, 0, 0, 1}, everybody[6] = {255, 255, 255, 255, 255, 255};

static struct net_rig r;

static void open_with(uint64_t features, uint32_t pairs)
{
	struct net_rig_config config = {.offloads = VDB_NET_CSUM | VDB_NET_TSO4 | VDB_NET_TSO6 | VDB_NET_ECN,
	                                .pairs = pairs};

	memcpy(config.net.mac, own, sizeof(own));
	net_rig_open(&r, &config);
	net_rig_up_pairs(&r, features, pairs);
	arena_begin(r.v.loop);
}

static void close_rig(void)
{
	arena_end();
	net_rig_close(&r);
}

static uint8_t command(uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	uint8_t bytes[1024] = {class, cmd};

	ck_assert_uint_le(len, sizeof(bytes) - 2);
	if (len)
		memcpy(bytes + 2, data, len);
	return net_command(&r, bytes, len + 2);
}

static uint8_t mode(uint8_t cmd, uint8_t on)
{
	return command(VIRTIO_NET_CTRL_RX, cmd, &on, 1);
}

static uint8_t vlan(uint8_t cmd, uint16_t id)
{
	id = htole16(id);
	return command(VIRTIO_NET_CTRL_VLAN, cmd, &id, 2);
}

/* A table of one unicast and one group address; NULL: none. */
static uint8_t tables(const uint8_t *uni, const uint8_t *multi)
{
	uint8_t bytes[20] = {0}, *at = bytes;

	bytes[0] = uni != NULL;
	at += 4;
	if (uni)
		memcpy(at, uni, 6);
	at += uni ? 6 : 0;
	*at = multi != NULL;
	at += 4;
	if (multi)
		memcpy(at, multi, 6);
	at += multi ? 6 : 0;
	return command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, bytes, (uint32_t)(at - bytes));
}

/* True if the guest gets a packet to `mac`, of a VLAN if that is not 0. */
static bool gets(const uint8_t mac[6], uint16_t tag)
{
	uint64_t before = net_stats(&r, 0).rx_filtered;
	uint8_t packet[80];
	uint32_t len;

	net_packet(packet, sizeof(packet), 1);
	memcpy(packet + VDB_NET_HDR, mac, 6);
	packet[VDB_NET_HDR + 12] = tag ? 0x81 : 8;
	packet[VDB_NET_HDR + 13] = 0;
	packet[VDB_NET_HDR + 14] = (uint8_t)(tag >> 8);
	packet[VDB_NET_HDR + 15] = (uint8_t)tag;
	if (!r.v.driver[0].outstanding)
		net_give(&r, 0, NET_FREE, 1600, NET_FREE);
	net_host_sends(&r, 0, packet, sizeof(packet));
	net_host_idle(&r, 0);
	if (net_stats(&r, 0).rx_filtered > before)
		return false;
	(void)ready_rig_reap(&r.v, 0, &len);
	ck_assert_uint_eq(len, sizeof(packet));
	return true;
}

/* ---- What it does ---- */

/* As a driver finds it; and as Linux sets it. */
START_TEST(modes_and_addresses)
{
	open_with(ALL, 1);
	ck_assert(gets(stranger, 0) && gets(group, 0) && gets(everybody, 0));
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	ck_assert(gets(own, 0) && gets(everybody, 0) && !gets(stranger, 0) && !gets(group, 0));
	ck_assert_uint_eq(tables(stranger, group), VIRTIO_NET_OK);
	ck_assert(gets(own, 0) && gets(stranger, 0) && gets(group, 0));
	ck_assert_uint_eq(tables(NULL, NULL), VIRTIO_NET_OK);
	ck_assert(!gets(stranger, 0) && !gets(group, 0));
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_ALLMULTI, 1), VIRTIO_NET_OK);
	ck_assert(gets(group, 0) && !gets(stranger, 0));
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_NOMULTI, 1), VIRTIO_NET_OK);
	ck_assert(!gets(group, 0) && gets(everybody, 0));
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_NOBCAST, 1), VIRTIO_NET_OK);
	ck_assert(!gets(everybody, 0) && gets(own, 0));
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_ALLUNI, 1), VIRTIO_NET_OK);
	ck_assert(gets(stranger, 0));
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_NOUNI, 1), VIRTIO_NET_OK);
	ck_assert(!gets(own, 0));
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_OK);
	ck_assert(gets(own, 0) && gets(stranger, 0) && gets(group, 0));
	close_rig();
}
END_TEST

/* More addresses than there is room for: all are taken, not none. */
START_TEST(a_large_table_takes_all)
{
	uint8_t bytes[4 + 65 * 6 + 4] = {65};

	open_with(ALL, 1);
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	ck_assert_uint_eq(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, bytes, sizeof(bytes)),
	                  VIRTIO_NET_OK);
	ck_assert(gets(stranger, 0) && !gets(group, 0));
	bytes[0] = 64;
	ck_assert_uint_eq(
	        command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, bytes, sizeof(bytes) - 6),
	        VIRTIO_NET_OK);
	ck_assert(!gets(stranger, 0));
	close_rig();
}
END_TEST

START_TEST(vlans)
{
	open_with(ALL, 1);
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	ck_assert(gets(own, 0) && !gets(own, 5) && !gets(own, 4095));
	ck_assert_uint_eq(vlan(VIRTIO_NET_CTRL_VLAN_ADD, 5), VIRTIO_NET_OK);
	ck_assert_uint_eq(vlan(VIRTIO_NET_CTRL_VLAN_ADD, 4095), VIRTIO_NET_OK);
	ck_assert(gets(own, 5) && gets(own, 4095) && !gets(own, 6));
	ck_assert_uint_eq(vlan(VIRTIO_NET_CTRL_VLAN_DEL, 5), VIRTIO_NET_OK);
	ck_assert(!gets(own, 5) && gets(own, 4095));
	close_rig();
	/* Who cannot choose gets all. */
	open_with(ALL & ~BIT(CTRL_VLAN), 1);
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	ck_assert(gets(own, 5));
	close_rig();
}
END_TEST

START_TEST(its_address_may_be_another)
{
	uint8_t mac[6], in_config[6];

	open_with(ALL, 1);
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	ck_assert_uint_eq(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, stranger, 6),
	                  VIRTIO_NET_OK);
	ck_assert(gets(stranger, 0) && !gets(own, 0));
	ck_assert_int_eq(vdb_net_mac(r.v.device, mac), 0);
	ck_assert_mem_eq(mac, stranger, 6);
	for (uint32_t i = 0; i < 6; i++)
		vdb__virtio_config_read(r.v.device, i, &in_config[i], 1);
	ck_assert_mem_eq(in_config, stranger, 6);
	/* Until a reset. */
	virtio_rig_reset(&r.v);
	ck_assert_int_eq(vdb_net_mac(r.v.device, mac), 0);
	ck_assert_mem_eq(mac, own, 6);
	close_rig();
}
END_TEST

static uint16_t status(void)
{
	uint16_t value;

	vdb__virtio_config_read(r.v.device, 6, &value, 2);
	return le16toh(value);
}

START_TEST(it_announces_itself)
{
	open_with(ALL, 1);
	ck_assert_int_eq(vdb_net_announce(r.v.device), 0);
	ck_assert_uint_eq(r.v.config_interrupts, 1);
	ck_assert_uint_eq(status(), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	ck_assert_uint_eq(command(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
	                  VIRTIO_NET_OK);
	ck_assert_uint_eq(status(), VIRTIO_NET_S_LINK_UP);
	close_rig();
}
END_TEST

/* Asked for as one driver goes, read by another that does not know of it. */
START_TEST(who_cannot_announce_itself_is_not_asked_to)
{
	struct vdb__net_device *net;

	open_with(BIT(STATUS), 1);
	ck_assert_int_eq(vdb_net_announce(r.v.device), -EOPNOTSUPP);
	net = vdb__virtio_ctx(r.v.device, &vdb__net_device_ops);
	vdb__store(&net->announce, 1u);
	ck_assert_uint_eq(status(), VIRTIO_NET_S_LINK_UP);
	close_rig();
}
END_TEST

static uint8_t offloads(uint64_t features)
{
	features = htole64(features);
	return command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &features, 8);
}

START_TEST(offloads_are_switched)
{
	open_with(ALL, 1);
	ck_assert_uint_eq(r.offloads, VDB_NET_CSUM | VDB_NET_TSO4 | VDB_NET_TSO6 | VDB_NET_ECN);
	ck_assert_uint_eq(offloads(BIT(GUEST_CSUM) | BIT(GUEST_TSO6)), VIRTIO_NET_OK);
	ck_assert_uint_eq(r.offloads, VDB_NET_CSUM | VDB_NET_TSO6);
	ck_assert_uint_eq(offloads(0), VIRTIO_NET_OK);
	ck_assert_uint_eq(r.offloads, 0);
	ck_assert_uint_eq(offloads(BIT(GUEST_TSO4)), VIRTIO_NET_ERR);                  /* without checksums */
	ck_assert_uint_eq(offloads(BIT(GUEST_CSUM) | BIT(GUEST_UFO)), VIRTIO_NET_ERR); /* not agreed on */
	ck_assert_uint_eq(offloads(BIT(GUEST_CSUM) | BIT(MRG_RXBUF)), VIRTIO_NET_ERR); /* no offload */
	ck_assert_uint_eq(r.offloads, 0);
	r.offload_fails = -EIO;
	ck_assert_uint_eq(offloads(BIT(GUEST_CSUM)), VIRTIO_NET_ERR);
	close_rig();
}
END_TEST

static uint8_t pairs(uint16_t n)
{
	n = htole16(n);
	return command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n, 2);
}

static uint64_t served(void)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_loop_stats(r.v.loop, &stats), 0);
	return stats.served;
}

/* Until the loop has accounted for it, which it does after the answer. */
static void costs(uint64_t before, uint64_t cost)
{
	for (int i = 0; served() - before < cost; i++) {
		ck_assert_msg(i < 400000, "%llu", (unsigned long long)(served() - before));
		(void)usleep(50);
	}
}

/* G68, G75: a driver that changes its mind for ever keeps its own VM waiting, not others. */
START_TEST(g68_what_the_kernel_is_asked_for_is_paid_for)
{
	uint64_t before;

	open_with(ALL | BIT(MQ), 3);
	before = served();
	ck_assert_uint_eq(pairs(3), VIRTIO_NET_OK);
	costs(before, 192u << 10);
	before = served();
	ck_assert_uint_eq(pairs(1), VIRTIO_NET_OK);
	costs(before, 192u << 10);
	before = served();
	for (int i = 0; i < 8; i++)
		ck_assert_uint_eq(offloads(0), VIRTIO_NET_OK);
	costs(before, 8 * (32u << 10));
	close_rig();
}
END_TEST

/* Pairs that the driver does not use are not the netdev's. */
START_TEST(pairs_are_opened_and_closed)
{
	uint8_t packet[100];

	open_with(ALL | BIT(MQ), 3);
	virtio_rig_wait(&r.port[0].opens, 1);
	net_packet(packet, sizeof(packet), 1);
	net_send(&r, 2, packet, sizeof(packet));
	ck_assert_uint_eq(net_stats(&r, 2).tx_dropped, 1);
	ck_assert_uint_eq(r.port[2].opens, 0);
	ck_assert_uint_eq(pairs(3), VIRTIO_NET_OK);
	ck_assert_uint_eq(net_stats(&r, 0).in_use, 3);
	/* From now on, not when the pair has heard of it. */
	net_send(&r, 2, packet, sizeof(packet));
	net_host_expect(&r, 2, packet, sizeof(packet));
	net_give(&r, 2, NET_FREE, 1600, NET_FREE);
	net_host_sends(&r, 2, packet, sizeof(packet));
	net_expect(&r, 2, packet, sizeof(packet), 1);
	virtio_rig_wait(&r.port[1].opens, 1);
	ck_assert_uint_eq(pairs(1), VIRTIO_NET_OK);
	virtio_rig_wait(&r.port[1].closes, 1);
	virtio_rig_wait(&r.port[2].closes, 1);
	ck_assert_uint_eq(r.port[0].closes, 0);
	net_send(&r, 2, packet, sizeof(packet));
	ck_assert_uint_eq(net_stats(&r, 2).tx_dropped, 2);
	ck_assert_uint_eq(net_stats(&r, VDB_NET_ALL).tx_packets, 1);
	close_rig();
}
END_TEST

/* What waits for the outside is asked back. */
START_TEST(a_pair_that_is_closed_gives_back)
{
	uint8_t packet[100];
	uint32_t len = 0;

	open_with(ALL | BIT(MQ), 2);
	r.way = NET_LATER;
	ck_assert_uint_eq(pairs(2), VIRTIO_NET_OK);
	net_packet(packet, sizeof(packet), 1);
	memcpy(mock_at(&r.v.ram, ready_rig_data(3, 0)), packet, sizeof(packet));
	ck_assert(virtq_add(&r.v.driver[3], &(struct virtq_buf){.gpa = ready_rig_data(3, 0), .len = 100}, 1,
	                    5));
	(void)virtq_publish(&r.v.driver[3]);
	virtio_rig_wait(&r.port[1].nheld, 1);
	ck_assert_uint_eq(pairs(1), VIRTIO_NET_OK);
	ck_assert_uint_eq(ready_rig_reap(&r.v, 3, &len), 5);
	virtio_rig_wait(&r.port[1].closes, 1);
	ck_assert_uint_eq(r.port[1].cancels, 1);
	/* And has it again. */
	ck_assert_uint_eq(pairs(2), VIRTIO_NET_OK);
	virtio_rig_wait(&r.port[1].opens, 2);
	close_rig();
}
END_TEST

/* ---- What it refuses: G68 ---- */

static const struct {
	uint8_t class, cmd;
	uint8_t data[24];
	uint32_t len;
} bad[] = {
        /* Truncated, or too long. */
        {VIRTIO_NET_CTRL_RX, 0, {0}, 0},
        {VIRTIO_NET_CTRL_RX, 0, {0, 0}, 2},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, {0}, 0},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, {0}, 4},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, {0}, 7},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, {0}, 9},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, {1}, 13},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, {0, 0, 0, 0, 2}, 14},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, {2, 0, 0, 0, 0, 1}, 5},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, {2, 0, 0, 0, 0, 1}, 7},
        {VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, {1}, 1},
        {VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, {1}, 1},
        {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, {1}, 1},
        {VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, {2}, 7},
        /* Huge tables: what they say they are, 6 times 2^32 - 1 bytes, they are not. */
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, {255, 255, 255, 255}, 8},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, {0, 0, 0, 0, 255, 255, 255, 255}, 24},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, {0xab, 0xaa, 0xaa, 0x2a}, 10},
        /* Unknown. */
        {6, 0, {1}, 1},
        {255, 255, {0}, 24},
        {VIRTIO_NET_CTRL_RX, 6, {1}, 1},
        {VIRTIO_NET_CTRL_RX, 255, {1}, 1},
        {VIRTIO_NET_CTRL_MAC, 2, {2, 0, 0, 0, 0, 1}, 6},
        {VIRTIO_NET_CTRL_VLAN, 2, {1}, 2},
        {VIRTIO_NET_CTRL_ANNOUNCE, 1, {0}, 0},
        {VIRTIO_NET_CTRL_MQ, 1, {1}, 2},
        {VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1, {2}, 8},
        /* Out of range. */
        {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, {2}, 1},
        {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, {0, 0}, 2},
        {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, {3, 0}, 2},
        {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, {0, 0x80}, 2},
        {VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, {0, 0x10}, 2},
        {VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, {255, 255}, 2},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, {1, 0, 0, 0, 0, 1}, 6},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, {0}, 6},
};
#define BAD ((int)(sizeof(bad) / sizeof(bad[0])))

/* Nothing has changed, and the device goes on. */
START_TEST(g68_malformed_commands_are_refused)
{
	uint8_t mac[6];

	open_with(ALL | BIT(MQ), 2);
	for (int i = 0; i < BAD; i++) {
		ck_assert_msg(command(bad[i].class, bad[i].cmd, bad[i].data, bad[i].len) == VIRTIO_NET_ERR,
		              "command %d: class %u, %u, %u bytes", i, bad[i].class, bad[i].cmd, bad[i].len);
	}
	ck_assert_uint_eq(net_command(&r, "", 1), VIRTIO_NET_ERR);
	ck_assert_int_eq(vdb_net_mac(r.v.device, mac), 0);
	ck_assert_mem_eq(mac, own, 6);
	ck_assert_uint_eq(net_stats(&r, 0).in_use, 1);
	ck_assert(gets(stranger, 0) && gets(group, 5));
	ck_assert_uint_eq(pairs(2), VIRTIO_NET_OK);
	close_rig();
}
END_TEST

/* What was not agreed on is not there. */
START_TEST(g68_what_was_not_negotiated_is_refused)
{
	uint8_t one[8] = {1};

	open_with(BIT(CTRL_VQ), 1);
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_ERR);
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_NOUNI, 1), VIRTIO_NET_ERR);
	ck_assert_uint_eq(tables(stranger, group), VIRTIO_NET_ERR);
	ck_assert_uint_eq(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, stranger, 6),
	                  VIRTIO_NET_ERR);
	ck_assert_uint_eq(vlan(VIRTIO_NET_CTRL_VLAN_ADD, 1), VIRTIO_NET_ERR);
	ck_assert_uint_eq(command(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
	                  VIRTIO_NET_ERR);
	ck_assert_uint_eq(pairs(1), VIRTIO_NET_ERR);
	ck_assert_uint_eq(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, one, 8), VIRTIO_NET_ERR);
	close_rig();
}
END_TEST

/* One that leaves no room for the answer is not obeyed; the chain comes back. */
START_TEST(g68_answers_need_room)
{
	const struct virtq_buf buf = {.gpa = ready_rig_data(2, 0), .len = 8};
	uint8_t mac[6];
	uint32_t len = 1;

	open_with(ALL, 1);
	memcpy(mock_at(&r.v.ram, buf.gpa), "\1\1\2\0\0\0\0\7", 8);
	ck_assert(virtq_add(&r.v.driver[2], &buf, 1, 3));
	(void)virtq_publish(&r.v.driver[2]);
	ck_assert_uint_eq(ready_rig_reap(&r.v, 2, &len), 3);
	ck_assert_uint_eq(len, 0);
	ck_assert_int_eq(vdb_net_mac(r.v.device, mac), 0);
	ck_assert_mem_eq(mac, own, 6);
	close_rig();
}
END_TEST

/* A driver without MQ has its control queue behind one pair; what lies further on is nobody's. */
START_TEST(g68_control_is_behind_the_pairs_that_are_known)
{
	const struct virtq_buf bufs[] = {{.gpa = ready_rig_data(4, 16), .len = 3},
	                                 {.gpa = ready_rig_data(4, 0), .len = 1, .write = true}};
	struct net_rig_config config = {.pairs = 2};
	uint32_t len = 1;

	net_rig_open(&r, &config);
	net_rig_up_pairs(&r,
	                 ALL & ~(BIT(GUEST_CSUM) | BIT(GUEST_TSO4) | BIT(GUEST_TSO6) | BIT(GUEST_ECN) |
	                         BIT(CTRL_GUEST_OFFLOADS)),
	                 2);
	arena_begin(r.v.loop);
	ck_assert_uint_eq(mode(VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_OK);
	ck_assert(virtq_add(&r.v.driver[4], bufs, 2, 3));
	(void)virtq_publish(&r.v.driver[4]);
	ck_assert_uint_eq(ready_rig_reap(&r.v, 4, &len), 3);
	ck_assert_uint_eq(len, 0);
	close_rig();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_control");

	tcase_add_test(tc, modes_and_addresses);
	tcase_add_test(tc, a_large_table_takes_all);
	tcase_add_test(tc, vlans);
	tcase_add_test(tc, its_address_may_be_another);
	tcase_add_test(tc, it_announces_itself);
	tcase_add_test(tc, who_cannot_announce_itself_is_not_asked_to);
	tcase_add_test(tc, offloads_are_switched);
	tcase_add_test(tc, g68_what_the_kernel_is_asked_for_is_paid_for);
	tcase_add_test(tc, pairs_are_opened_and_closed);
	tcase_add_test(tc, a_pair_that_is_closed_gives_back);
	tcase_add_test(tc, g68_malformed_commands_are_refused);
	tcase_add_test(tc, g68_what_was_not_negotiated_is_refused);
	tcase_add_test(tc, g68_answers_need_room);
	tcase_add_test(tc, g68_control_is_behind_the_pairs_that_are_known);
	return test_run("net_control", tc);
}
