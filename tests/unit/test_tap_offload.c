/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* What a guest leaves to the tap, and takes from it: partial checksums, segments of 64 KiB. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run.h"
#include "tap_rig.h"

#define ETH 14u
#define PLAIN_HDR 10u /* of a packet socket's */
#define MSS 1448u
#define LARGE 60000u
/* Linux 6.2 */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define ALL (VDB_NET_CSUM | VDB_NET_TSO4 | VDB_NET_TSO6 | VDB_NET_ECN)

static struct tap_rig t;
static uint8_t in[PAIR_RIG_PACKET], out[PAIR_RIG_PACKET];

/* ---- Packets of IPv4 ---- */

static uint32_t sum(const void *data, size_t len, uint32_t with)
{
	const uint8_t *at = data;

	for (; len > 1; len -= 2, at += 2)
		with += (uint32_t)(at[0] << 8 | at[1]);
	return len ? with + (uint32_t)(at[0] << 8) : with;
}

static uint16_t fold(uint32_t with)
{
	while (with >> 16)
		with = (with & 0xffff) + (with >> 16);
	return (uint16_t)with;
}

static uint32_t pseudo(const struct iphdr *ip, uint32_t len)
{
	return sum(&ip->saddr, 8, ip->protocol + len);
}

static uint8_t byte_at(uint32_t i)
{
	return (uint8_t)(i * 13 + (i >> 8));
}

/* Headers, and `len` bytes of payload; the checksum of what follows IP is that of the pseudo header. Returns
 * the frame's length. */
static uint32_t make(uint8_t *frame, uint8_t protocol, const uint8_t *to, uint32_t len)
{
	uint32_t head = protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = protocol};
	struct tcphdr tcp = {.source = htons(7), .dest = htons(9), .seq = htonl(1000), .doff = 5, .ack = 1};
	struct udphdr udp = {.source = htons(7), .dest = htons(9), .len = htons((uint16_t)(head + len))};

	memcpy(frame, to, 6);
	memcpy(frame + 6, "\x02guest", 6);
	frame[12] = 8;
	frame[13] = 0;
	ip.tot_len = htons((uint16_t)(sizeof(ip) + head + len));
	ip.saddr = htonl(0xc0000202u);
	ip.daddr = htonl(0xc0000201u);
	ip.check = htons((uint16_t)~fold(sum(&ip, sizeof(ip), 0)));
	memcpy(frame + ETH, &ip, sizeof(ip));
	tcp.check = udp.check = htons(fold(pseudo(&ip, head + len)));
	memcpy(frame + ETH + sizeof(ip), protocol == IPPROTO_TCP ? (void *)&tcp : (void *)&udp, head);
	for (uint32_t i = 0; i < len; i++)
		frame[ETH + sizeof(ip) + head + i] = byte_at(i);
	return ETH + (uint32_t)sizeof(ip) + head + len;
}

static void make_header(uint8_t *packet, uint8_t protocol, uint8_t gso, uint16_t size)
{
	uint16_t head = protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
	struct virtio_net_hdr_v1 header = {
	        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	        .gso_type = gso,
	        .hdr_len = gso ? (uint16_t)(ETH + sizeof(struct iphdr) + head) : 0,
	        .gso_size = size,
	        .csum_start = ETH + sizeof(struct iphdr),
	        .csum_offset = protocol == IPPROTO_TCP ? 16 : 6,
	};

	memcpy(packet, &header, sizeof(header));
}

static void check_payload(const uint8_t *payload, uint32_t from, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (payload[i] != byte_at(from + i))
			ck_abort_msg("byte %u is wrong", from + i);
}

static void open_with(uint32_t offloads)
{
	tap_rig_open(&t, NULL, &(struct pair_rig_config){.mergeable = true, .offloads = offloads});
	close(t.socket);
	t.socket = netns_packets(t.name, true);
	pair_rig_post(&t.pairs, 0, PAIR_RIG_ENTRIES);
}

/* ---- To the guest ---- */

/* With a header of the shorter kind. */
static void send_large(void)
{
	uint32_t len = make(out + PLAIN_HDR, IPPROTO_TCP, (const uint8_t *)"\x02guest", LARGE);
	uint8_t header[VDB_NET_HDR];

	make_header(header, IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, MSS);
	memcpy(out, header, PLAIN_HDR);
	ck_assert_msg(send(t.socket, out, PLAIN_HDR + len, 0) == (ssize_t)(PLAIN_HDR + len), "%s",
	              strerror(errno));
}

START_TEST(a_guest_that_takes_segments_gets_64_kib_at_once)
{
	const uint32_t head = ETH + sizeof(struct iphdr) + sizeof(struct tcphdr);
	struct virtio_net_hdr_v1 header;

	open_with(ALL);
	for (int round = 0; round < 20; round++) {
		send_large();
		ck_assert_uint_eq(pair_rig_receive(&t.pairs, 0, in), VDB_NET_HDR + head + LARGE);
		memcpy(&header, in, sizeof(header));
		ck_assert_uint_eq(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		ck_assert_uint_eq(header.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
		ck_assert_uint_eq(header.gso_size, MSS);
		ck_assert_uint_eq(header.csum_start, ETH + sizeof(struct iphdr));
		ck_assert_uint_eq(header.csum_offset, 16);
		check_payload(in + VDB_NET_HDR + head, 0, LARGE);
	}
	tap_rig_close(&t);
}
END_TEST

/* The kernel does the work, all of it. */
static void check_segment(const uint8_t *packet, uint32_t from, uint32_t len)
{
	const uint32_t head = ETH + sizeof(struct iphdr) + sizeof(struct tcphdr);
	struct virtio_net_hdr_v1 header;
	struct tcphdr tcp;
	struct iphdr ip;

	memcpy(&header, packet, sizeof(header));
	ck_assert_uint_eq(header.gso_type, 0);
	ck_assert_uint_eq(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
	packet += VDB_NET_HDR;
	memcpy(&ip, packet + ETH, sizeof(ip));
	memcpy(&tcp, packet + ETH + sizeof(ip), sizeof(tcp));
	ck_assert_uint_eq(ntohl(tcp.seq), 1000 + from);
	ck_assert_uint_eq(fold(sum(&ip, sizeof(ip), 0)), 0xffff);
	ck_assert_uint_eq(fold(sum(packet + ETH + sizeof(ip), sizeof(tcp) + len,
	                           pseudo(&ip, (uint32_t)sizeof(tcp) + len))),
	                  0xffff);
	check_payload(packet + head, from, len);
}

START_TEST(a_guest_that_takes_nothing_gets_segments_with_checksums)
{
	const uint32_t head = VDB_NET_HDR + ETH + sizeof(struct iphdr) + sizeof(struct tcphdr);
	uint32_t got = 0, len;

	open_with(0);
	send_large();
	while (got < LARGE) {
		len = pair_rig_receive(&t.pairs, 0, in);
		ck_assert_uint_gt(len, head);
		ck_assert_uint_le(len, head + MSS);
		check_segment(in, got, len - head);
		got += len - head;
	}
	ck_assert_uint_eq(got, LARGE);
	tap_rig_close(&t);
}
END_TEST

/* As the device does it. */
static void agree(uint32_t offloads)
{
	ck_assert_int_eq(t.netdev->ops.offload(t.netdev->ctx, offloads), 0);
	vdb__store(&t.pairs.net.sends, offloads);
}

/* It changes its mind (5.1.6.5.6): what comes after is as it wants it. */
START_TEST(offloads_change_while_packets_flow)
{
	open_with(ALL);
	for (int round = 0; round < 6; round++) {
		uint32_t got = 0;

		agree(round % 2 ? ALL : 0);
		send_large();
		for (; got < LARGE; got += pair_rig_receive(&t.pairs, 0, in) - VDB_NET_HDR - 54)
			;
		ck_assert_uint_eq(got, LARGE);
		ck_assert_uint_eq(in[1], round % 2 ? VIRTIO_NET_HDR_GSO_TCPV4 : 0);
	}
	/* Nobody's, or one half of what goes in twos only. */
	ck_assert_int_eq(t.netdev->ops.offload(t.netdev->ctx, VDB_NET_CSUM | VDB_NET_USO4), 0);
	tap_rig_close(&t);
}
END_TEST

/* One packet that has no checksum yet. */
static void send_partial(void)
{
	uint32_t len = make(out + PLAIN_HDR, IPPROTO_TCP, (const uint8_t *)"\x02guest", 100);
	uint8_t header[VDB_NET_HDR];

	make_header(header, IPPROTO_TCP, 0, 0);
	memcpy(out, header, PLAIN_HDR);
	ck_assert_int_eq(send(t.socket, out, PLAIN_HDR + len, 0), PLAIN_HDR + len);
}

static uint64_t lost(void)
{
	struct vdb_net_stats stats = pair_rig_stats(&t.pairs, 0);

	return stats.rx_dropped + stats.rx_oversized;
}

/* What the tap had by then it does not get. */
START_TEST(offloads_change_with_packets_in_the_tap)
{
	open_with(ALL);
	for (uint64_t round = 1; round <= 3; round++) {
		tap_rig_rest(&t);
		agree(ALL);
		if (_i)
			send_large();
		else
			send_partial();
		agree(0);
		RIG_UNTIL(&t.pairs.rig, lost() == round);
	}
	ck_assert_uint_eq(pair_rig_poll(&t.pairs, 0, in), 0);
	tap_rig_close(&t);
}
END_TEST

/* ---- From the guest ---- */

START_TEST(segments_of_64_kib_leave_at_once)
{
	const uint32_t head = ETH + sizeof(struct iphdr) + sizeof(struct tcphdr);
	struct virtio_net_hdr header;
	ssize_t got;
	uint32_t len;

	open_with(ALL);
	make_header(out, IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, MSS);
	len = make(out + VDB_NET_HDR, IPPROTO_TCP, (const uint8_t *)"\x02other", LARGE);
	for (int round = 0; round < 20; round++) {
		pair_rig_add(&t.pairs, 0, out, VDB_NET_HDR + len);
		pair_rig_ring(&t.pairs, 0);
		while ((got = recv(t.socket, in, sizeof(in), 0)) < 0)
			rig_wait(&t.pairs.rig);
		ck_assert_int_eq(got, PLAIN_HDR + head + LARGE);
		memcpy(&header, in, sizeof(header));
		ck_assert_uint_eq(header.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
		ck_assert_uint_eq(header.gso_size, MSS);
		ck_assert_uint_eq(header.csum_start, ETH + sizeof(struct iphdr));
		check_payload(in + PLAIN_HDR + head, 0, LARGE);
	}
	ck_assert_uint_eq(tap_rig_info(&t).failed, 0);
	tap_rig_close(&t);
}
END_TEST

static int udp_socket(void)
{
	struct sockaddr_in at = {
	        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xc0000201u)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), bytes = 1 << 20;

	ck_assert_int_ge(fd, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	ck_assert_msg(!bind(fd, (struct sockaddr *)&at, sizeof(at)), "%s", strerror(errno));
	return fd;
}

static uint32_t udp_receive(int fd)
{
	ssize_t got;

	while ((got = recv(fd, in, sizeof(in), 0)) < 0)
		rig_wait(&t.pairs.rig);
	return (uint32_t)got;
}

/* The host's own stack is the receiver: it drops what has a checksum that is wrong. */
START_TEST(partial_checksums_are_made_good_or_trusted)
{
	uint8_t mac[6];
	uint32_t len;
	int fd;

	open_with(ALL);
	netns_address(t.name, "192.0.2.1");
	netns_mac(t.name, mac);
	fd = udp_socket();
	for (uint32_t size = 20; size < 1400; size += 97) {
		make_header(out, IPPROTO_UDP, 0, 0);
		len = make(out + VDB_NET_HDR, IPPROTO_UDP, mac, size);
		pair_rig_add(&t.pairs, 0, out, VDB_NET_HDR + len);
		pair_rig_ring(&t.pairs, 0);
		ck_assert_uint_eq(udp_receive(fd), size);
		check_payload(in, 0, size);
	}
	close(fd);
	tap_rig_close(&t);
}
END_TEST

START_TEST(datagrams_of_64_kib_arrive_as_segments)
{
	struct vdb_netdev_info info = {.size = sizeof(info)};
	uint32_t len, got = 0;
	uint8_t mac[6];
	int fd;

	open_with(ALL);
	ck_assert_int_eq(vdb_netdev_query(t.netdev, &info), 0);
	if (!(info.offloads & VDB_NET_USO4)) {
		test_skipped_part("UDP segments", "this kernel's taps do not know them (Linux 6.2)");
		tap_rig_close(&t);
		return;
	}
	t.pairs.net.offloads |= VDB_NET_USO4 | VDB_NET_USO6;
	netns_address(t.name, "192.0.2.1");
	netns_mac(t.name, mac);
	fd = udp_socket();
	make_header(out, IPPROTO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4, 1400);
	len = make(out + VDB_NET_HDR, IPPROTO_UDP, mac, 40 * 1400);
	pair_rig_add(&t.pairs, 0, out, VDB_NET_HDR + len);
	pair_rig_ring(&t.pairs, 0);
	for (uint32_t i = 0; i < 40; i++, got += 1400) {
		ck_assert_uint_eq(udp_receive(fd), 1400);
		check_payload(in, got, 1400);
	}
	close(fd);
	tap_rig_close(&t);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("offload");
	int skip = netns_enter();

	if (skip)
		return skip;
	tcase_add_test(tc, a_guest_that_takes_segments_gets_64_kib_at_once);
	tcase_add_test(tc, a_guest_that_takes_nothing_gets_segments_with_checksums);
	tcase_add_test(tc, offloads_change_while_packets_flow);
	tcase_add_loop_test(tc, offloads_change_with_packets_in_the_tap, 0, 2);
	tcase_add_test(tc, segments_of_64_kib_leave_at_once);
	tcase_add_test(tc, partial_checksums_are_made_good_or_trusted);
	tcase_add_test(tc, datagrams_of_64_kib_arrive_as_segments);
	return test_run("tap offloads", tc);
}
