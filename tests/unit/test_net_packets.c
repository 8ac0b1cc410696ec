/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* virtio-net both ways: packets from where they lie to where there is room for them. */
#include <errno.h>
#include <string.h>

#include "leak.h"
#include "net_rig.h"
#include "run.h"

#define MRG VRIG_BIT(VIRTIO_NET_F_MRG_RXBUF)
#define PACKED VRIG_BIT(VIRTIO_F_RING_PACKED)
#define EVENT_IDX VRIG_BIT(VIRTIO_RING_F_EVENT_IDX)

static const uint64_t layouts[] = {0, EVENT_IDX, PACKED, PACKED | EVENT_IDX};
#define LAYOUTS ((int)(sizeof(layouts) / sizeof(layouts[0])))

static struct net_rig r;
static uint8_t packet[VDB_NET_MAX], other[VDB_NET_MAX];
static int fds;

static void open_with(uint64_t features)
{
	fds = leak_fds();
	net_rig_open(&r, &(struct net_rig_config){.offloads = VDB_NET_CSUM | VDB_NET_TSO4});
	net_rig_up(&r, features);
}

static void finish(void)
{
	net_rig_close(&r);
	ck_assert_int_eq(leak_fds(), fds);
}

/* ---- From the guest ---- */

START_TEST(packets_go_out)
{
	struct vdb_net_stats stats;

	open_with(layouts[_i]);
	for (uint32_t i = 0; i < 40; i++) {
		net_packet(packet, 26 + i * 37, i);
		net_send(&r, 0, packet, 26 + i * 37);
		net_host_expect(&r, 0, packet, 26 + i * 37);
	}
	stats = net_stats(&r, 0);
	ck_assert_uint_eq(stats.tx_packets, 40);
	ck_assert_uint_eq(stats.tx_bytes, 40 * 14 + 37 * 39 * 20);
	ck_assert_uint_eq(stats.tx_bad + stats.tx_dropped, 0);
	finish();
}
END_TEST

/* Wherever the driver cuts it: in its header, behind it, or nowhere. */
START_TEST(headers_may_lie_anywhere)
{
	const uint32_t len = 200;
	const vdb_gpa_t at = ready_rig_data(1, 0);
	struct virtq_buf bufs[5];
	uint32_t cuts[4];

	open_with(layouts[_i]);
	net_packet(packet, len, 3);
	packet[10] = packet[11] = 0;
	memcpy(mock_at(&r.v.ram, at), packet, len);
	for (cuts[0] = 1; cuts[0] <= 13; cuts[0]++) {
		for (cuts[1] = cuts[0] + 1; cuts[1] <= 15; cuts[1] += 3) {
			bufs[0] = (struct virtq_buf){.gpa = at, .len = cuts[0]};
			bufs[1] = (struct virtq_buf){.gpa = at + cuts[0], .len = cuts[1] - cuts[0]};
			bufs[2] = (struct virtq_buf){.gpa = at + cuts[1], .len = len - cuts[1]};
			net_send_chain(&r, 0, bufs, 3);
			net_host_expect(&r, 0, packet, len);
		}
	}
	/* In more pieces than a request has room for by itself. */
	for (uint32_t i = 0; i < 5; i++)
		bufs[i] = (struct virtq_buf){.gpa = at + i * 4, .len = i < 4 ? 4 : len - 16};
	net_send_chain(&r, 0, bufs, 5);
	net_host_expect(&r, 0, packet, len);
	finish();
}
END_TEST

START_TEST(packets_may_be_sent_later)
{
	struct virtq_driver *d;
	uint32_t len = 0;

	open_with(layouts[_i]);
	r.way = NET_LATER;
	d = &r.v.driver[1];
	net_packet(packet, 100, 1);
	memcpy(mock_at(&r.v.ram, ready_rig_data(1, 0)), packet, 100);
	for (uint32_t i = 0; i < 6; i++)
		ck_assert(virtq_add(d, &(struct virtq_buf){.gpa = ready_rig_data(1, 0), .len = 100}, 1, i));
	(void)virtq_publish(d);
	virtio_rig_wait(&r.port[0].nheld, 6);
	net_host_release(&r, 0, 0);
	for (uint32_t i = 0; i < 6; i++) {
		ck_assert_uint_eq(ready_rig_reap(&r.v, 1, &len), i);
		net_host_expect(&r, 0, packet, 100);
	}
	ck_assert_uint_eq(net_stats(&r, 0).tx_packets, 6);
	finish();
}
END_TEST

/* By the netdev, at once or later, or since there is no link: the driver has its buffers all the same. */
START_TEST(what_is_not_sent_is_counted)
{
	uint32_t len = 0;

	open_with(0);
	net_packet(packet, 100, 1);
	r.way = NET_REFUSES;
	net_send(&r, 0, packet, 100);
	ck_assert_uint_eq(net_stats(&r, 0).tx_dropped, 1);
	r.way = NET_LATER;
	ck_assert(virtq_add(&r.v.driver[1], &(struct virtq_buf){.gpa = ready_rig_data(1, 0), .len = 100}, 1,
	                    5));
	(void)virtq_publish(&r.v.driver[1]);
	virtio_rig_wait(&r.port[0].nheld, 1);
	net_host_release(&r, 0, -EIO);
	ck_assert_uint_eq(ready_rig_reap(&r.v, 1, &len), 5);
	ck_assert_uint_eq(net_stats(&r, 0).tx_dropped, 2);
	net_host_expect(&r, 0, packet, 100);
	r.way = NET_SENDS;
	ck_assert_int_eq(vdb_net_link(r.v.device, false), 0);
	net_send(&r, 0, packet, 100);
	ck_assert_int_eq(vdb_net_link(r.v.device, true), 0);
	vdb_netdev_link(r.netdev, false);
	net_send(&r, 0, packet, 100);
	vdb_netdev_link(r.netdev, true);
	net_send(&r, 0, packet, 100);
	net_host_expect(&r, 0, packet, 100);
	ck_assert_uint_eq(net_stats(&r, 0).tx_dropped, 4);
	ck_assert_uint_eq(net_stats(&r, 0).tx_packets, 1);
	finish();
}
END_TEST

/* ---- To the guest ---- */

START_TEST(packets_come_in)
{
	open_with(layouts[_i % LAYOUTS] | (_i / LAYOUTS % 2 ? MRG : 0));
	r.how = (enum net_how)(_i / LAYOUTS / 2);
	if (r.how == NET_GROW && _i / LAYOUTS % 2 == 0)
		r.how = NET_ANY; /* one buffer has room for 64 bytes at once, and for all the rest */
	for (uint32_t i = 0; i < 40; i++) {
		uint32_t len = 26 + i * 30;

		net_packet(packet, len, i);
		net_give(&r, 0, NET_FREE + i * 2048, 2048, NET_FREE + i * 2048);
		net_host_sends(&r, 0, packet, len);
		net_expect(&r, 0, packet, len, 1);
	}
	ck_assert_uint_eq(net_stats(&r, 0).rx_packets, 40);
	ck_assert_uint_eq(net_stats(&r, 0).rx_bytes, 40 * 14 + 30 * 39 * 20);
	finish();
}
END_TEST

/* It waits where it is, and comes as soon as there is room: one call, no spinning. */
START_TEST(packets_wait_for_buffers)
{
	open_with(layouts[_i] | MRG);
	r.how = NET_TAKE;
	net_packet(packet, 1000, 1);
	net_packet(other, 500, 2);
	net_host_sends(&r, 0, packet, 1000);
	net_host_sends(&r, 0, other, 500);
	ck_assert_uint_eq(r.port[0].receives, 0);
	net_give(&r, 0, NET_FREE, 600, NET_FREE);
	net_give(&r, 0, NET_FREE + 600, 600, NET_FREE + 600);
	net_expect(&r, 0, packet, 1000, 2);
	net_give(&r, 0, NET_FREE + 1200, 600, NET_FREE + 1200);
	net_expect(&r, 0, other, 500, 1);
	ck_assert_uint_ge(net_stats(&r, 0).rx_stalls, 1);
	ck_assert_uint_le(r.port[0].receives, 4);
	finish();
}
END_TEST

static int ask(void *port)
{
	vdb_net_wake(((struct net_port *)port)->pair, 1);
	return 0;
}

/* It says that there are packets, and gives them before it is called. */
static int ask_and_put_all(void *arg)
{
	struct net_port *port = arg;
	const struct iovec iov = {packet, 100};

	vdb_net_wake(port->pair, 1);
	while (!vdb_net_put(port->pair, &iov, 1, 100))
		;
	return 0;
}

START_TEST(it_is_called_though_it_took_all_meanwhile)
{
	uint32_t before;

	open_with(0);
	net_packet(packet, 100, 1);
	net_give_many(&r, 0, 8, 1600);
	(void)net_host_call(&r, 0, ask);
	virtio_rig_wait(&r.port[0].receives, 1);
	before = r.port[0].receives;
	(void)net_host_call(&r, 0, ask_and_put_all);
	for (uint32_t i = 0; i < net_stats(&r, 0).rx_packets; i++)
		net_expect(&r, 0, packet, 100, 1);
	net_give(&r, 0, NET_FREE, 1600, NET_FREE);
	virtio_rig_wait(&r.port[0].receives, before + 1);
	finish();
}
END_TEST

START_TEST(one_packet_in_many_buffers)
{
	const uint32_t len = 9014 + 12;

	open_with(layouts[_i % LAYOUTS] | MRG);
	r.how = (enum net_how)(_i / LAYOUTS);
	net_packet(packet, len, 1);
	net_packet(other, 60, 2);
	net_give_many(&r, 0, 10, 1000);
	net_host_sends(&r, 0, packet, len);
	net_expect(&r, 0, packet, len, 10);
	/* The next one begins in a buffer of its own. */
	net_give_many(&r, 0, 3, 1000);
	net_host_sends(&r, 0, other, 60);
	net_expect(&r, 0, other, 60, 1);
	net_host_sends(&r, 0, other, 60);
	net_expect(&r, 0, other, 60, 1);
	finish();
}
END_TEST

/* What one packet did not need is for the next, in the driver's order. */
START_TEST(buffers_are_used_in_order)
{
	open_with(layouts[_i] | MRG | VRIG_BIT(VIRTIO_NET_F_GUEST_CSUM) | VRIG_BIT(VIRTIO_NET_F_GUEST_TSO4));
	r.how = NET_ANY;
	net_give_many(&r, 0, 16, 1530);
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t len = 0;

		net_packet(packet, 100, i);
		net_host_sends(&r, 0, packet, 100);
		ck_assert_uint_eq(ready_rig_reap(&r.v, 0, &len), NET_FREE + i * 1530);
		ck_assert_uint_eq(len, 100);
	}
	finish();
}
END_TEST

START_TEST(a_packet_of_64_kib)
{
	open_with(layouts[_i] | MRG | VRIG_BIT(VIRTIO_NET_F_GUEST_CSUM) | VRIG_BIT(VIRTIO_NET_F_GUEST_TSO4));
	r.how = NET_GROW;
	net_packet(packet, VDB_NET_MAX, 1);
	net_give_many(&r, 0, 16, 4100);
	net_host_sends(&r, 0, packet, VDB_NET_MAX);
	net_expect(&r, 0, packet, VDB_NET_MAX, 16);
	finish();
}
END_TEST

/* ---- Memory ---- */

/* The header's place, too, and the count in it, in pieces of any size. */
START_TEST(rooms_lie_anywhere)
{
	const struct virtq_buf bufs[] = {{NET_FREE, 5, true},
	                                 {NET_FREE + 5, 6, true},
	                                 {NET_FREE + 11, 3, true},
	                                 {NET_FREE + 14, 2000, true}};

	open_with(layouts[_i % LAYOUTS] | (_i / LAYOUTS ? MRG : 0));
	net_packet(packet, 700, 1);
	net_give_chain(&r, 0, bufs, 4, NET_FREE);
	net_host_sends(&r, 0, packet, 700);
	net_expect(&r, 0, packet, 700, 1);
	finish();
}
END_TEST

static bool is_dirty(vdb_gpa_t gpa)
{
	uint64_t bits = 0;

	return vdb_mem_dirty_harvest(r.v.ram.mem, gpa, VDB_PAGE_SIZE, &bits) == 1;
}

/* What the device writes is marked; what it reads, and what it had and did not need, is not. */
START_TEST(what_is_written_is_marked)
{
	const struct virtq_buf bufs[] = {{NET_FREE + 0x8000, 20, false}, {NET_FREE + 0x9000, 1000, false}};

	open_with(layouts[_i] | MRG);
	r.how = NET_TAKE;
	net_packet(packet, 1020, 1);
	ck_assert_int_eq(vdb_mem_dirty_start(r.v.ram.mem), 0);
	memcpy(mock_at(&r.v.ram, bufs[0].gpa), packet, 20);
	memcpy(mock_at(&r.v.ram, bufs[1].gpa), packet + 20, 1000);
	net_send_chain(&r, 0, bufs, 2);
	net_host_expect(&r, 0, packet, 1020);
	ck_assert(!is_dirty(bufs[0].gpa) && !is_dirty(bufs[1].gpa));
	net_give_many(&r, 0, 3, VDB_PAGE_SIZE);
	net_packet(packet, 5000, 1);
	net_host_sends(&r, 0, packet, 5000);
	net_expect(&r, 0, packet, 5000, 2);
	ck_assert(is_dirty(NET_FREE) && is_dirty(NET_FREE + VDB_PAGE_SIZE));
	ck_assert(!is_dirty(NET_FREE + 2 * VDB_PAGE_SIZE));
	vdb_mem_dirty_stop(r.v.ram.mem);
	finish();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_packets");

	tcase_add_loop_test(tc, packets_go_out, 0, LAYOUTS);
	tcase_add_loop_test(tc, headers_may_lie_anywhere, 0, LAYOUTS);
	tcase_add_loop_test(tc, packets_may_be_sent_later, 0, LAYOUTS);
	tcase_add_test(tc, what_is_not_sent_is_counted);
	tcase_add_loop_test(tc, packets_come_in, 0, 8 * LAYOUTS);
	tcase_add_loop_test(tc, packets_wait_for_buffers, 0, LAYOUTS);
	tcase_add_test(tc, it_is_called_though_it_took_all_meanwhile);
	tcase_add_loop_test(tc, one_packet_in_many_buffers, 0, 4 * LAYOUTS);
	tcase_add_loop_test(tc, buffers_are_used_in_order, 0, LAYOUTS);
	tcase_add_loop_test(tc, a_packet_of_64_kib, 0, LAYOUTS);
	tcase_add_loop_test(tc, rooms_lie_anywhere, 0, 2 * LAYOUTS);
	tcase_add_loop_test(tc, what_is_written_is_marked, 0, LAYOUTS);
	return test_run("net_packets", tc);
}
