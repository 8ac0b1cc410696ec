/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* virtio-net's ends and new beginnings, with packets and buffers under way. */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <vdb/limit.h>

#include "engine.h"
#include "leak.h"
#include "net_rig.h"
#include "run.h"

#define BIT(name) VRIG_BIT(VIRTIO_NET_F_##name)

static const uint64_t layouts[] = {0, VRIG_BIT(VIRTIO_F_RING_PACKED)};

static struct net_rig r;
static uint8_t packet[2048];

static void open_with(uint64_t features, uint32_t pairs)
{
	net_rig_open(&r, &(struct net_rig_config){.pairs = pairs});
	net_rig_up_pairs(&r, features, pairs);
	net_packet(packet, sizeof(packet), 1);
}

static void send_later(uint32_t n)
{
	struct virtq_driver *d = &r.v.driver[1];

	memcpy(mock_at(&r.v.ram, ready_rig_data(1, 0)), packet, 100);
	for (uint32_t i = 0; i < n; i++)
		ck_assert(virtq_add(d, &(struct virtq_buf){.gpa = ready_rig_data(1, 0), .len = 100}, 1, i));
	(void)virtq_publish(d);
	virtio_rig_wait(&r.port[0].nheld, n);
}

/* Buffers that the device has fetched, and no packet for them. */
static int wake_and_forget(void *port)
{
	struct net_port *p = port;

	vdb_net_wake(p->pair, 8);
	return 0;
}

static void fetch(void)
{
	net_give_many(&r, 0, 8, 1600);
	(void)net_host_call(&r, 0, wake_and_forget);
	virtio_rig_wait(&r.port[0].receives, 1);
}

static void works(uint64_t features)
{
	r.way = NET_SENDS;
	net_rig_up(&r, features);
	net_send(&r, 0, packet, 300);
	net_host_expect(&r, 0, packet, 300);
	net_give(&r, 0, NET_FREE, 1600, NET_FREE);
	net_host_sends(&r, 0, packet, 200);
	net_expect(&r, 0, packet, 200, 1);
}

static void forget_sent(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		net_host_expect(&r, 0, packet, 100);
}

START_TEST(reset_with_all_under_way)
{
	open_with(layouts[_i % 2] | (_i / 2 ? BIT(MRG_RXBUF) : 0), 1);
	for (uint32_t round = 1; round <= 3; round++) {
		r.way = NET_LATER;
		send_later(5);
		fetch();
		virtio_rig_reset(&r.v);
		ck_assert_uint_eq(r.port[0].cancels, 5 * round);
		ck_assert_uint_eq(r.port[0].closes, 2 * round - 1);
		forget_sent(5);
		works(layouts[_i % 2] | (_i / 2 ? BIT(MRG_RXBUF) : 0));
		virtio_rig_reset(&r.v);
		__atomic_store_n(&r.port[0].receives, 0, __ATOMIC_RELEASE);
		net_rig_up(&r, layouts[_i % 2] | (_i / 2 ? BIT(MRG_RXBUF) : 0));
	}
	net_rig_close(&r);
}
END_TEST

static void reset_queue(uint32_t queue)
{
	struct vdb_gate *gate = NULL;
	int64_t result;

	vdb__virtio_queue_reset(r.v.device, queue, &gate);
	if (gate)
		ck_assert_int_eq(vdb_gate_wait(gate, 20000000000, &result), 0);
	vdb_gate_unref(gate);
}

/* One of the two at a time: the netdev keeps the pair, and what it has for the guest. */
START_TEST(a_queue_of_its_own_is_reset)
{
	open_with(layouts[_i] | VRIG_BIT(VRIG_RING_RESET), 1);
	fetch();
	reset_queue(0);
	net_host_sends(&r, 0, packet, 150);
	net_send(&r, 0, packet, 100);
	net_host_expect(&r, 0, packet, 100);
	virtio_rig_queue(&r.v, 0, 16);
	net_give(&r, 0, NET_FREE, 1600, NET_FREE);
	net_expect(&r, 0, packet, 150, 1);
	r.way = NET_LATER;
	send_later(3);
	reset_queue(1);
	ck_assert_uint_eq(r.port[0].cancels, 3);
	forget_sent(3);
	virtio_rig_queue(&r.v, 1, 16);
	r.way = NET_SENDS;
	net_send(&r, 0, packet, 100);
	net_host_expect(&r, 0, packet, 100);
	ck_assert_uint_eq(r.port[0].opens, 1);
	net_rig_close(&r);
}
END_TEST

static void counted(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_ACQ_REL);
}

static void quiesce(void)
{
	uint32_t done = 0;

	ck_assert_int_eq(vdb_virtio_quiesce(r.v.device, counted, &done), 0);
	virtio_rig_wait(&done, 1);
}

START_TEST(it_goes_on_after_a_quiesce)
{
	uint32_t len = 1;

	open_with(layouts[_i % 2] | (_i / 2 ? BIT(MRG_RXBUF) : 0), 1);
	fetch();
	quiesce();
	ck_assert_uint_eq(r.port[0].closes, 1);
	net_host_sends(&r, 0, packet, 200);
	ck_assert_int_eq(vdb_virtio_resume(r.v.device), 0);
	/* Those that had been fetched are given back, and empty. */
	for (uint32_t i = 0; i < 8; i++) {
		ck_assert_uint_eq(ready_rig_reap(&r.v, 0, &len), NET_FREE + i * 1600);
		ck_assert_uint_eq(len, 0);
	}
	net_give(&r, 0, NET_FREE, 1600, NET_FREE);
	net_expect(&r, 0, packet, 200, 1);
	net_send(&r, 0, packet, 300);
	net_host_expect(&r, 0, packet, 300);
	net_rig_close(&r);
}
END_TEST

/* ---- State ---- */

#define CONTROL                                                                                      \
	(BIT(CTRL_VQ) | BIT(CTRL_RX) | BIT(CTRL_VLAN) | BIT(CTRL_MAC_ADDR) | BIT(MQ) | BIT(STATUS) | \
	 BIT(GUEST_ANNOUNCE))

static uint8_t state[8192];

static size_t save(void)
{
	size_t len = sizeof(state);

	ck_assert_int_eq(vdb_virtio_save(r.v.device, NULL, &len), 0);
	ck_assert_uint_le(len, sizeof(state));
	ck_assert_int_eq(vdb_virtio_save(r.v.device, state, &len), 0);
	return len;
}

static bool gets(uint8_t last)
{
	const uint8_t mac[] = {2, 0, 0, 0, 0, last};
	uint64_t before = net_stats(&r, 0).rx_filtered;
	uint32_t len;

	memcpy(packet + VDB_NET_HDR, mac, sizeof(mac));
	if (!r.v.driver[0].outstanding)
		net_give(&r, 0, NET_FREE, 1600, NET_FREE);
	net_host_sends(&r, 0, packet, 100);
	net_host_idle(&r, 0);
	if (net_stats(&r, 0).rx_filtered > before)
		return false;
	(void)ready_rig_reap(&r.v, 0, &len);
	return true;
}

static void set_up_state(void)
{
	static const uint8_t mac[] = {1, 1, 2, 0, 0, 0, 0, 7}, promisc[] = {0, 0, 0}, pairs[] = {4, 0, 2, 0};
	static const uint8_t table[] = {1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0};

	ck_assert_uint_eq(net_command(&r, mac, sizeof(mac)), VIRTIO_NET_OK);
	ck_assert_uint_eq(net_command(&r, promisc, sizeof(promisc)), VIRTIO_NET_OK);
	ck_assert_uint_eq(net_command(&r, table, sizeof(table)), VIRTIO_NET_OK);
	ck_assert_uint_eq(net_command(&r, pairs, sizeof(pairs)), VIRTIO_NET_OK);
	ck_assert_int_eq(vdb_net_announce(r.v.device), 0);
}

/* Another device goes on where the first one was: the rings are the same, as is the memory. */
START_TEST(state_is_kept)
{
	const struct net_rig_config config = {.pairs = 2};
	uint16_t status;
	uint8_t mac[6];
	size_t len;

	open_with(CONTROL | layouts[_i], 2);
	set_up_state();
	virtio_rig_wait(&r.port[1].opens, 1);
	quiesce();
	len = save();
	vdb__virtio_detach(r.v.device);
	/* Whatever it is, it is refused or taken, and nothing breaks. */
	for (size_t at = 0; at < len; at += 5) {
		net_rig_renew(&r, &config);
		state[at] ^= 0x81;
		(void)!vdb_virtio_restore(r.v.device, state, len);
		state[at] ^= 0x81;
	}
	net_rig_renew(&r, &config);
	ck_assert_int_eq(vdb_virtio_restore(r.v.device, state, len - 1), -EINVAL);
	ck_assert_int_eq(vdb_virtio_restore(r.v.device, state, len), 0);
	virtio_rig_attach(&r.v);
	ck_assert_int_eq(vdb_virtio_resume(r.v.device), 0);
	virtio_rig_wait(&r.port[1].opens, 2);
	ck_assert_uint_eq(net_stats(&r, 0).in_use, 2);
	ck_assert_int_eq(vdb_net_mac(r.v.device, mac), 0);
	ck_assert_mem_eq(mac, "\2\0\0\0\0\7", 6);
	vdb__virtio_config_read(r.v.device, 6, &status, 2);
	ck_assert_uint_eq(le16toh(status), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	ck_assert(gets(7) && gets(9) && !gets(8));
	net_rig_close(&r);
}
END_TEST

/* ---- The host's failures ---- */

START_TEST(a_netdev_that_does_not_open)
{
	net_rig_open(&r, &(struct net_rig_config){0});
	r.open_fails = -EIO;
	virtio_rig_negotiate(&r.v, layouts[_i] | VRIG_V1);
	virtio_rig_queue(&r.v, 0, 16);
	virtio_rig_queue(&r.v, 1, 16);
	virtio_rig_set(&r.v, 0xf);
	virtio_rig_wait_status(&r.v, VIRTIO_CONFIG_S_NEEDS_RESET);
	r.open_fails = 0;
	virtio_rig_reset(&r.v);
	net_packet(packet, sizeof(packet), 1);
	works(layouts[_i]);
	net_rig_close(&r);
}
END_TEST

/* Its loop goes first, with packets and buffers under way. */
START_TEST(the_loop_ends)
{
	open_with(layouts[_i], 1);
	r.way = NET_LATER;
	send_later(4);
	fetch();
	virtio_rig_end_loop(&r.v);
	ck_assert_uint_eq(r.port[0].closes, 1);
	ck_assert_uint_eq(r.port[0].cancels, 4);
	/* What is told to the device from now on is not told there. */
	ck_assert_int_eq(vdb_net_link(r.v.device, false), 0);
	vdb__net_changed(vdb__virtio_ctx(r.v.device, &vdb__net_device_ops));
	net_rig_close(&r);
}
END_TEST

/* ---- Several loops ---- */

START_TEST(a_pair_is_on_one_loop)
{
	struct vdb_loop_config loop = test_loop_config();
	const struct vdb_loops_config config = {
	        .size = sizeof(config), .count = 3, .loop = &loop, .policy = VDB_PLACE_ROUND_ROBIN};
	struct net_rig_config rig = {.pairs = 3};
	struct vdb_loop *rx, *tx;
	uint8_t pairs[] = {4, 0, 3, 0};

	ck_assert_int_eq(vdb_loops_create(&config, &rig.at.loops), 0);
	ck_assert_int_eq(vdb_loops_start(rig.at.loops), 0);
	net_rig_open(&r, &rig);
	net_packet(packet, sizeof(packet), 1);
	net_rig_up_pairs(&r, CONTROL | BIT(MRG_RXBUF), 3);
	ck_assert_uint_eq(net_command(&r, pairs, sizeof(pairs)), VIRTIO_NET_OK);
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < 3; i++) {
			ck_assert_int_eq(vdb_virtio_queue_loop(r.v.device, 2 * i, &rx), 0);
			ck_assert_int_eq(vdb_virtio_queue_loop(r.v.device, 2 * i + 1, &tx), 0);
			ck_assert_ptr_eq(rx, tx);
			ck_assert_ptr_eq(rx, vdb_loops_get(rig.at.loops, i));
			net_send(&r, i, packet, 300);
			net_host_expect(&r, i, packet, 300);
			net_give(&r, i, NET_FREE + i * 2048, 1600, NET_FREE + i * 2048);
			net_host_sends(&r, i, packet, 200);
			net_expect(&r, i, packet, 200, 1);
		}
		/* Pairs come and go meanwhile. */
		pairs[2] = (uint8_t)(round % 3 + 1);
		ck_assert_uint_eq(net_command(&r, pairs, sizeof(pairs)), VIRTIO_NET_OK);
		pairs[2] = 3;
		ck_assert_uint_eq(net_command(&r, pairs, sizeof(pairs)), VIRTIO_NET_OK);
	}
	ck_assert_uint_eq(net_stats(&r, VDB_NET_ALL).tx_packets, 60);
	ck_assert_int_eq(
	        vdb_virtio_queue_move(r.v.device, 0, vdb_loops_get(rig.at.loops, 1), NULL, NULL, NULL),
	        -EOPNOTSUPP);
	net_rig_close(&r);
	ck_assert_int_eq(vdb_loops_join(rig.at.loops), 0);
	ck_assert_int_eq(vdb_loops_destroy(rig.at.loops), 0);
}
END_TEST

/* ---- Limits ---- */

/* What counts is the packet, not the buffers that it might have filled. */
START_TEST(limits_count_packets)
{
	struct vdb_limit_config config = {.size = sizeof(config), .bytes_per_s = 1u << 30};
	struct vdb_limit_stats stats = {.size = sizeof(stats)};
	struct net_rig_config rig = {0};

	ck_assert_int_eq(vdb_limit_create(&config, &rig.at.limit), 0);
	net_rig_open(&r, &rig);
	net_packet(packet, sizeof(packet), 1);
	net_rig_up(&r, BIT(MRG_RXBUF));
	net_give_many(&r, 0, 10, 4096);
	for (uint32_t i = 0; i < 10; i++) {
		net_host_sends(&r, 0, packet, 200);
		(void)ready_rig_reap(&r.v, 0, &(uint32_t){0});
		net_send(&r, 0, packet, 300);
	}
	net_host_idle(&r, 0);
	/* The last visit's is counted at its end. */
	for (int i = 0; stats.bytes < 10 * 500; i++) {
		ck_assert_int_lt(i, 10000000);
		ck_assert_int_eq(vdb_limit_stats(rig.at.limit, &stats), 0);
	}
	ck_assert_uint_eq(stats.bytes, 10 * 500);
	vdb_limit_destroy(rig.at.limit);
	net_rig_close(&r);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_life");

	tcase_add_loop_test(tc, reset_with_all_under_way, 0, 4);
	tcase_add_loop_test(tc, a_queue_of_its_own_is_reset, 0, 2);
	tcase_add_loop_test(tc, it_goes_on_after_a_quiesce, 0, 4);
	tcase_add_loop_test(tc, state_is_kept, 0, 2);
	tcase_add_loop_test(tc, a_netdev_that_does_not_open, 0, 2);
	tcase_add_loop_test(tc, the_loop_ends, 0, 2);
	tcase_add_test(tc, a_pair_is_on_one_loop);
	tcase_add_test(tc, limits_count_packets);
	return test_run("net_life", tc);
}
