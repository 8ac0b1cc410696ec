/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* virtio-net and a guest that gives what cannot be sent, or nothing that can be received into. */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "net_rig.h"
#include "run.h"

#define BIT(name) VRIG_BIT(VIRTIO_NET_F_##name)
#define HOST                                                                           \
	(BIT(CSUM) | BIT(HOST_TSO4) | BIT(HOST_TSO6) | BIT(HOST_ECN) | BIT(HOST_UFO) | \
	 VRIG_BIT(VDB__NET_F_HOST_USO))
#define USO 5u

static const uint64_t layouts[] = {0, VRIG_BIT(VIRTIO_F_RING_PACKED)};

static struct net_rig r;
static uint8_t packet[VDB_NET_MAX + 1];

static void open_alone(uint64_t features)
{
	net_rig_open(&r, &(struct net_rig_config){.offloads = 0x7f});
	net_rig_up(&r, features);
}

static void open_with(uint64_t features)
{
	open_alone(features);
	arena_begin(r.v.loop);
}

static void close_rig(void)
{
	arena_end();
	net_rig_close(&r);
}

static struct virtio_net_hdr_v1 header(uint8_t flags, uint8_t type, uint16_t hdr_len, uint16_t size,
                                       uint16_t start, uint16_t offset)
{
	return (struct virtio_net_hdr_v1){
	        .flags = flags,
	        .gso_type = type,
	        .hdr_len = htole16(hdr_len),
	        .gso_size = htole16(size),
	        .csum_start = htole16(start),
	        .csum_offset = htole16(offset),
	};
}

/* ---- G66: from the guest ---- */

#define FRAME 1000u

/* Of frames of FRAME bytes, where everything is agreed on. */
static const struct {
	const char *what;
	struct virtio_net_hdr_v1 header;
	bool good;
} headers[] = {
        {"none", {0}, true},
        {"flags that are ignored", {.flags = 0xfe}, true},
        {"checksum", {.flags = 1, .csum_start = 34, .csum_offset = 16}, true},
        {"checksum at the end", {.flags = 1, .csum_start = 34, .csum_offset = FRAME - 36}, true},
        {"checksum beyond", {.flags = 1, .csum_start = 34, .csum_offset = FRAME - 35}, false},
        {"checksum far beyond", {.flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff}, false},
        {"checksum, start beyond", {.flags = 1, .csum_start = FRAME, .csum_offset = 0}, false},
        {"checksum not asked for", {.csum_start = 0xffff, .csum_offset = 0xffff}, true},
        {"TSO", {1, 1, 54, 500, {{34, 16}}, 0}, true},
        {"TSO with ECN", {1, 0x81, 54, 500, {{34, 16}}, 0}, true},
        {"TSO6", {1, 4, 74, 500, {{54, 16}}, 0}, true},
        {"UFO", {1, 3, 42, 500, {{34, 6}}, 0}, true},
        {"USO", {1, USO, 42, 500, {{34, 6}}, 0}, true},
        {"no such type", {1, 2, 54, 500, {{34, 16}}, 0}, false},
        {"no such type", {1, 6, 54, 500, {{34, 16}}, 0}, false},
        {"no such type", {1, 0x7f, 54, 500, {{34, 16}}, 0}, false},
        {"ECN alone", {1, 0x80, 54, 500, {{34, 16}}, 0}, false},
        {"UFO with ECN", {1, 0x83, 42, 500, {{34, 6}}, 0}, false},
        {"USO with ECN", {1, 0x85, 42, 500, {{34, 6}}, 0}, false},
        {"segments of nothing", {1, 1, 54, 0, {{34, 16}}, 0}, false},
        {"segments without checksums", {0, 1, 54, 500, {{34, 16}}, 0}, false},
        {"segments that mean fragments", {1, 1, 54, 0xffff, {{34, 16}}, 0}, false},
        {"headers as long as all", {1, 1, FRAME, 500, {{34, 16}}, 0}, true},
        {"headers longer than all", {1, 1, FRAME + 1, 500, {{34, 16}}, 0}, false},
        {"headers longer than all, not segmented", {0, 0, FRAME + 1, 0, {{0, 0}}, 0}, false},
};
#define HEADERS ((int)(sizeof(headers) / sizeof(headers[0])))

static struct virtio_net_hdr_v1 little(const struct virtio_net_hdr_v1 *h)
{
	return header(h->flags, h->gso_type, h->hdr_len, h->gso_size, h->csum_start, h->csum_offset);
}

/* True if it went out; else it was counted. */
static bool goes_out(const struct virtio_net_hdr_v1 *h, uint32_t len)
{
	uint64_t bad = net_stats(&r, 0).tx_bad, sent = net_stats(&r, 0).tx_packets;
	struct net_packet *first;

	net_packet(packet, len, 1);
	memcpy(packet, h, sizeof(*h));
	net_send(&r, 0, packet, len);
	if (net_stats(&r, 0).tx_bad == bad + 1)
		return false;
	ck_assert_uint_eq(net_stats(&r, 0).tx_packets, sent + 1);
	first = r.port[0].sent.first;
	/* Nothing is passed on of what means nothing. */
	ck_assert_uint_le(first->data[0], 1);
	if (!first->data[0])
		ck_assert_mem_eq(first->data + 6, "\0\0\0\0", 4);
	memcpy(packet, first->data, VDB_NET_HDR);
	net_host_expect(&r, 0, packet, len);
	return true;
}

START_TEST(g66_headers_are_checked)
{
	open_with(layouts[_i] | HOST);
	for (int i = 0; i < HEADERS; i++) {
		struct virtio_net_hdr_v1 h = little(&headers[i].header);

		ck_assert_msg(goes_out(&h, FRAME + VDB_NET_HDR) == headers[i].good, "%d: %s", i,
		              headers[i].what);
	}
	close_rig();
}
END_TEST

/* What was not agreed on cannot be asked for. */
START_TEST(g66_offloads_are_those_agreed_on)
{
	static const struct virtio_net_hdr_v1 none;

	open_with(layouts[_i]);
	for (int i = 0; i < HEADERS; i++) {
		struct virtio_net_hdr_v1 h = little(&headers[i].header);

		ck_assert_msg(goes_out(&h, FRAME + VDB_NET_HDR) ==
		                      (headers[i].good && !(h.flags & 1) && !h.gso_type),
		              "%d: %s", i, headers[i].what);
	}
	ck_assert(goes_out(&none, 100));
	close_rig();
}
END_TEST

/* 64 KiB in single bytes would be an hour of the host's for a millisecond of the guest's. */
START_TEST(g66_segments_are_not_too_many)
{
	const uint32_t len = VDB_NET_MAX;
	struct virtio_net_hdr_v1 h = header(1, 1, 54, 1, 34, 16);
	struct virtq_buf bufs[] = {{.gpa = NET_FREE, .len = len}};

	open_with(HOST);
	for (uint16_t size = 1; size <= 64; size++) {
		h.gso_size = htole16(size);
		memcpy(mock_at(&r.v.ram, NET_FREE), &h, sizeof(h));
		net_send_chain(&r, 0, bufs, 1);
	}
	ck_assert_uint_eq(net_stats(&r, 0).tx_bad, 32);
	ck_assert_uint_eq(net_stats(&r, 0).tx_packets, 32);
	close_rig();
}
END_TEST

static const uint32_t lengths[] = {0, 1, 11, 12, 13, 25, 26, VDB_NET_MAX, VDB_NET_MAX + 1, 100000};

START_TEST(g66_frames_have_a_length)
{
	struct vdb_net_stats stats;
	uint32_t len, good;

	open_with(layouts[_i % 2] | HOST);
	len = lengths[_i / 2];
	good = len >= 26 && len <= VDB_NET_MAX;
	net_send_chain(&r, 0, &(struct virtq_buf){.gpa = NET_FREE, .len = len}, 1);
	stats = net_stats(&r, 0);
	ck_assert_uint_eq(stats.tx_packets, good);
	ck_assert_uint_eq(stats.tx_bad, 1 - good);
	ck_assert_uint_eq(stats.tx_bytes, good ? len - 12 : 0);
	close_rig();
}
END_TEST

/* With something to be written; from where there is no memory: each comes back, and the next one goes. */
START_TEST(g66_chains_that_are_no_packets)
{
	const struct virtq_buf both[] = {{.gpa = ready_rig_data(1, 0), .len = 100},
	                                 {.gpa = ready_rig_data(1, 200), .len = 100, .write = true}};
	const struct virtq_buf written = {.gpa = ready_rig_data(1, 200), .len = 100, .write = true};
	const struct virtq_buf nowhere = {.gpa = 1ull << 40, .len = 100};

	open_with(layouts[_i]);
	net_send_chain(&r, 0, both, 2);
	net_send_chain(&r, 0, &written, 1);
	net_send_chain(&r, 0, &nowhere, 1);
	ck_assert_uint_eq(net_stats(&r, 0).tx_bad, 3);
	net_packet(packet, 100, 1);
	net_send(&r, 0, packet, 100);
	net_host_expect(&r, 0, packet, 100);
	close_rig();
}
END_TEST

/* ---- G67: to the guest ---- */

static void up_with_ring(uint64_t features, uint32_t entries)
{
	virtio_rig_negotiate(&r.v, features | VRIG_V1);
	virtio_rig_queue(&r.v, 0, entries);
	virtio_rig_queue(&r.v, 1, 16);
	virtio_rig_ok(&r.v);
	arena_begin(r.v.loop);
}

/* A packet in 26 buffers, header and all. */
START_TEST(g67_buffers_of_a_byte)
{
	net_rig_open(&r, &(struct net_rig_config){0});
	up_with_ring(layouts[_i % 2] | BIT(MRG_RXBUF), 64);
	r.how = (enum net_how)(_i / 2);
	net_packet(packet, 26, 1);
	net_give_many(&r, 0, 26, 1);
	net_host_sends(&r, 0, packet, 26);
	net_expect(&r, 0, packet, 26, 26);
	ck_assert_uint_eq(net_stats(&r, 0).rx_bad, 0);
	close_rig();
}
END_TEST

/* Without a use of its own a buffer comes back empty. */
static void expect_back(uint32_t n, uint32_t len)
{
	uint32_t used = 1;

	for (uint32_t i = 0; i < n; i++) {
		ck_assert_uint_eq(ready_rig_reap(&r.v, 0, &used), NET_FREE + i * len);
		ck_assert_uint_eq(used, 0);
	}
}

/* The whole ring is too little: dropped, and counted; the netdev is not called for ever. */
START_TEST(g67_rings_that_are_too_small)
{
	bool taken;

	open_with(layouts[_i % 2] | BIT(MRG_RXBUF));
	r.how = (enum net_how)(_i / 2);
	taken = r.how == NET_PUT || r.how == NET_TAKE;
	net_packet(packet, 200, 1);
	net_give_many(&r, 0, 16, 10);
	net_host_sends(&r, 0, packet, 200);
	net_host_idle(&r, 0);
	ck_assert_uint_eq(r.port[0].oversized, 1);
	ck_assert_uint_eq(net_stats(&r, 0).rx_oversized, 1);
	ck_assert_uint_le(r.port[0].receives, 20);
	if (taken) {
		expect_back(16, 10);
		net_give_many(&r, 0, 16, 10);
	}
	ck_assert_uint_eq(net_stats(&r, 0).rx_bad, taken ? 16 : 0);
	/* What fits does. */
	net_host_sends(&r, 0, packet, 155);
	net_expect(&r, 0, packet, 155, 16);
	close_rig();
}
END_TEST

/* More pieces than a room has: for one packet that is too much, for others they are buffers. */
START_TEST(g67_pieces_that_are_too_many)
{
	net_rig_open(&r, &(struct net_rig_config){0});
	up_with_ring(BIT(MRG_RXBUF), 256);
	r.how = NET_TAKE;
	net_packet(packet, VDB_NET_ROOM_IOV + 1, 1);
	net_give_many(&r, 0, VDB_NET_ROOM_IOV + 20, 1);
	net_host_sends(&r, 0, packet, VDB_NET_ROOM_IOV + 1);
	net_host_idle(&r, 0);
	ck_assert_uint_eq(net_stats(&r, 0).rx_oversized, 1);
	net_host_sends(&r, 0, packet, VDB_NET_ROOM_IOV);
	net_expect(&r, 0, packet, VDB_NET_ROOM_IOV, VDB_NET_ROOM_IOV);
	close_rig();
}
END_TEST

/* A driver that has not agreed to merge gives whole buffers, or gets nothing that is longer. */
START_TEST(g67_buffers_that_are_too_short)
{
	bool taken;

	open_with(layouts[_i % 2]);
	r.how = (enum net_how)(_i / 2);
	taken = r.how == NET_PUT || r.how == NET_TAKE;
	net_packet(packet, 500, 1);
	net_give(&r, 0, NET_FREE, 100, NET_FREE);
	net_host_sends(&r, 0, packet, 500);
	if (taken) {
		expect_back(1, 100);
		net_give(&r, 0, NET_FREE, 100, NET_FREE);
	}
	net_host_sends(&r, 0, packet, 100);
	net_expect(&r, 0, packet, 100, 1);
	net_host_idle(&r, 0);
	ck_assert_uint_eq(net_stats(&r, 0).rx_oversized, 1);
	net_give(&r, 0, NET_FREE, 1, NET_FREE);
	net_host_sends(&r, 0, packet, 100);
	expect_back(1, 1);
	if (r.how == NET_ANY) { /* it is not what a packet goes to, and that waits for another */
		net_give(&r, 0, NET_FREE, 100, NET_FREE);
		net_expect(&r, 0, packet, 100, 1);
	}
	net_host_idle(&r, 0);
	ck_assert_uint_eq(net_stats(&r, 0).rx_oversized, r.how == NET_ANY ? 1 : 2);
	close_rig();
}
END_TEST

static int take_and_ask_again(void *port)
{
	struct net_port *p = port;
	struct vdb_net_room *room;

	if (vdb_net_take(p->pair, 72, &room) == 0)
		vdb_net_deliver(room, 0);
	vdb_net_wake(p->pair, 1);
	return 0;
}

/* A netdev that cannot throw away what it has not read yet asks on: it is called as often as there are
 * buffers to go back, not for ever. */
START_TEST(g67_hopeless_buffers_go_back)
{
	open_with(layouts[_i % 2] | (_i / 2 ? BIT(MRG_RXBUF) : 0));
	net_give_many(&r, 0, 16, 1);
	for (uint32_t i = 0; net_stats(&r, 0).rx_bad < 16; i++) {
		ck_assert_uint_lt(i, 1000);
		(void)net_host_call(&r, 0, take_and_ask_again);
	}
	expect_back(16, 1);
	close_rig();
}
END_TEST

START_TEST(g67_buffers_to_be_read)
{
	const struct virtq_buf both[] = {{.gpa = NET_FREE, .len = 100},
	                                 {.gpa = NET_FREE + 100, .len = 1600, .write = true}};
	uint32_t len = 1;

	open_with(layouts[_i % 2] | (_i / 2 ? BIT(MRG_RXBUF) : 0));
	net_packet(packet, 100, 1);
	net_give_chain(&r, 0, both, 1, 1);
	net_give_chain(&r, 0, both, 2, 2);
	net_give_chain(&r, 0, &(struct virtq_buf){.gpa = NET_FREE, .write = true}, 1, 3);
	net_give(&r, 0, NET_FREE + 4096, 1600, NET_FREE + 4096);
	net_host_sends(&r, 0, packet, 100);
	for (uint32_t i = 1; i <= 3; i++) {
		ck_assert_uint_eq(ready_rig_reap(&r.v, 0, &len), i);
		ck_assert_uint_eq(len, 0);
	}
	net_expect(&r, 0, packet, 100, 1);
	ck_assert_uint_eq(net_stats(&r, 0).rx_bad, 3);
	close_rig();
}
END_TEST

static uint64_t sleeps(void)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_loop_stats(r.v.loop, &stats), 0);
	return stats.sleeps;
}

static void until_it_sleeps(uint64_t before)
{
	for (int i = 0; sleeps() == before; i++) {
		ck_assert_int_lt(i, 400000);
		(void)usleep(50);
	}
}

/* Whatever the outside has: nobody is called for it, and the loop sleeps. */
START_TEST(g67_no_buffers_and_a_flood)
{
	uint64_t before;

	open_alone(layouts[_i] | BIT(MRG_RXBUF));
	net_packet(packet, 100, 1);
	for (int i = 0; i < 500; i++)
		net_host_sends(&r, 0, packet, 100);
	before = sleeps();
	/* Awake once more. */
	net_host_sends(&r, 0, packet, 100);
	until_it_sleeps(before);
	ck_assert_uint_eq(r.port[0].receives, 0);
	ck_assert_uint_le(net_stats(&r, 0).rx_stalls, 501);
	ck_assert_uint_ge(net_stats(&r, 0).rx_stalls, 1);
	/* One packet for each buffer then, one call for each at most. */
	for (uint32_t i = 0; i < 100; i++) {
		net_give(&r, 0, NET_FREE, 1600, NET_FREE);
		net_expect(&r, 0, packet, 100, 1);
	}
	ck_assert_uint_le(r.port[0].receives, 200);
	net_rig_close(&r);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_hostile");

	tcase_add_loop_test(tc, g66_headers_are_checked, 0, 2);
	tcase_add_loop_test(tc, g66_offloads_are_those_agreed_on, 0, 2);
	tcase_add_test(tc, g66_segments_are_not_too_many);
	tcase_add_loop_test(tc, g66_frames_have_a_length, 0, 2 * (int)(sizeof(lengths) / sizeof(lengths[0])));
	tcase_add_loop_test(tc, g66_chains_that_are_no_packets, 0, 2);
	tcase_add_loop_test(tc, g67_buffers_of_a_byte, 0, 4);
	tcase_add_loop_test(tc, g67_rings_that_are_too_small, 0, 8);
	tcase_add_test(tc, g67_pieces_that_are_too_many);
	tcase_add_loop_test(tc, g67_buffers_that_are_too_short, 0, 8);
	tcase_add_loop_test(tc, g67_hopeless_buffers_go_back, 0, 4);
	tcase_add_loop_test(tc, g67_buffers_to_be_read, 0, 4);
	tcase_add_loop_test(tc, g67_no_buffers_and_a_flood, 0, 2);
	return test_run("net_hostile", tc);
}
