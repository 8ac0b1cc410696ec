/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums and segments that a guest has left to the device, and another guest does not take: each segment
 * is taken apart again here, by a sum of another make.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/segment.h"
#include "suite.h"

#define IP4 0x0800u
#define IP6 0x86ddu

static struct vdb__segment s;

static void put16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

/* Of `len` bytes, as numbers in network order, one after the other. */
static uint32_t sum(uint32_t so_far, const uint8_t *at, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		so_far += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	while (so_far >> 16)
		so_far = (so_far & 0xffff) + (so_far >> 16);
	return so_far;
}

static uint32_t pseudo(const uint8_t *ip, uint32_t proto, uint32_t len)
{
	bool six = ip[0] >> 4 == 6;
	uint32_t all = six ? sum(0, ip + 8, 32) : sum(0, ip + 12, 8);

	return sum(all + proto + (len >> 16) + (len & 0xffff), NULL, 0);
}

struct shape {
	uint32_t type; /* of Ethernet */
	uint32_t tags; /* of VLANs */
	uint8_t proto;
	uint32_t options; /* bytes of TCP's */
	uint32_t payload;
	uint16_t size; /* of a segment; 0: it is not to be cut */
};

static uint32_t network_of(const struct shape *shape)
{
	return 14 + 4 * shape->tags;
}

static uint32_t transport_of(const struct shape *shape)
{
	return network_of(shape) + (shape->type == IP4 ? 20 : 40);
}

static uint32_t headers_of(const struct shape *shape)
{
	return transport_of(shape) + (shape->proto == 17 ? 8 : 20 + shape->options);
}

static void make_network(uint8_t *ip, const struct shape *shape, uint32_t len)
{
	for (uint32_t i = 0; i < 40; i++)
		ip[i] = (uint8_t)(i * 31);
	if (shape->type == IP4) {
		ip[0] = 0x45;
		put16(ip + 2, len);
		put16(ip + 4, 0xfffe);
		put16(ip + 6, 0x4000);
		ip[9] = shape->proto;
	} else {
		ip[0] = 0x60;
		put16(ip + 4, len - 40);
		ip[6] = shape->proto;
	}
}

static void make_transport(uint8_t *at, const struct shape *shape)
{
	if (shape->proto == 17)
		return;
	put16(at + 4, 0xffff);
	put16(at + 6, 0xff00);
	at[12] = (uint8_t)((20 + shape->options) / 4 << 4);
	at[13] = 0x80 | 0x18 | 0x01; /* CWR, ACK, PSH, FIN */
}

static uint8_t gso_of(const struct shape *shape)
{
	if (!shape->size)
		return VDB__VNET_GSO_NONE;
	if (shape->proto == 17)
		return VDB__VNET_GSO_UDP_L4;
	return (shape->type == IP4 ? VDB__VNET_GSO_TCP4 : VDB__VNET_GSO_TCP6) | VDB__VNET_GSO_ECN;
}

/* As Linux hands it over: the sum of the pseudo header stands where the checksum will. */
static void make(const struct shape *shape)
{
	uint32_t network = network_of(shape), transport = transport_of(shape), headers = headers_of(shape);
	uint32_t offset = shape->proto == 17 ? 6 : 16;

	memset(&s, 0, sizeof(s));
	s.len = headers + shape->payload;
	for (uint32_t i = 0; i < s.len; i++)
		s.frame[i] = (uint8_t)(i * 7 + i / 256);
	for (uint32_t i = 0; i < shape->tags; i++)
		put16(s.frame + 12 + 4 * i, i ? 0x8100 : 0x88a8);
	put16(s.frame + network - 2, shape->type);
	make_network(s.frame + network, shape, s.len - network);
	make_transport(s.frame + transport, shape);
	put16(s.frame + transport + offset, pseudo(s.frame + network, shape->proto, s.len - transport));
	s.vnet = (struct vdb__vnet){.flags = VDB__VNET_NEEDS_CSUM,
	                            .gso_type = gso_of(shape),
	                            .gso_size = shape->size,
	                            .csum_start = (uint16_t)transport,
	                            .csum_offset = (uint16_t)offset};
}

static void check_network(const uint8_t *ip, const struct shape *shape, uint32_t n, uint32_t len)
{
	if (shape->type == IP6) {
		ck_assert_uint_eq(get16(ip + 4), len - 40);
		return;
	}
	ck_assert_uint_eq(get16(ip + 2), len);
	ck_assert_uint_eq(get16(ip + 4), (0xfffe + n) & 0xffff);
	ck_assert_uint_eq(sum(0, ip, 20), 0xffff);
}

static void check_transport(const uint8_t *at, const struct shape *shape, uint32_t n, uint32_t len)
{
	if (shape->proto == 17) {
		ck_assert_uint_eq(get16(at + 4), len);
		ck_assert_uint_ne(get16(at + 6), 0);
		return;
	}
	ck_assert_uint_eq(get32(at + 4), 0xffffff00u + n * shape->size);
	ck_assert_uint_eq(at[13], 0x10 | (n ? 0 : 0x80) | (n + 1 == s.count ? 0x09 : 0));
}

static void check_segment(const struct shape *shape, uint32_t n)
{
	static uint8_t whole[sizeof(s.frame)];
	uint32_t network = network_of(shape), transport = transport_of(shape), headers = headers_of(shape);
	struct iovec iov[2];
	uint32_t len = vdb__segment_get(&s, n, iov);

	ck_assert_uint_eq(iov[0].iov_len + iov[1].iov_len, len);
	memcpy(whole, iov[0].iov_base, iov[0].iov_len);
	memcpy(whole + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
	ck_assert_uint_eq(len - headers, n + 1 < s.count ? shape->size : shape->payload - n * shape->size);
	ck_assert_mem_eq(whole, s.frame, network);
	ck_assert_mem_eq(whole + headers, s.frame + headers + n * shape->size, len - headers);
	check_network(whole + network, shape, n, len - network);
	check_transport(whole + transport, shape, n, len - transport);
	ck_assert_uint_eq(sum(pseudo(whole + network, shape->proto, len - transport), whole + transport,
	                      len - transport),
	                  0xffff);
}

START_TEST(segments)
{
	static const struct shape shapes[] = {
	        {IP4, 0, 6, 0, 60000, 1460}, {IP4, 1, 6, 12, 10001, 1448}, {IP6, 0, 6, 12, 65000, 1428},
	        {IP6, 2, 6, 40, 5000, 999},  {IP4, 0, 17, 0, 60001, 1472}, {IP6, 1, 17, 0, 3000, 1000},
	        {IP4, 0, 6, 0, 100, 1460},   {IP4, 0, 6, 0, 1460, 1460},   {IP4, 0, 17, 0, 48, 48},
	};

	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		make(&shapes[i]);
		ck_assert_int_eq(vdb__segment_begin(&s), 0);
		ck_assert_uint_eq(s.count, (shapes[i].payload + shapes[i].size - 1) / shapes[i].size);
		for (uint32_t n = 0; n < s.count; n++)
			check_segment(&shapes[i], n);
	}
}
END_TEST

START_TEST(checksums)
{
	static const struct shape shapes[] = {{IP4, 0, 6, 0, 1000, 0},
	                                      {IP6, 0, 6, 20, 1001, 0},
	                                      {IP4, 2, 17, 0, 7, 0},
	                                      {IP6, 0, 17, 0, 0, 0}};

	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const struct shape *shape = &shapes[i];
		uint32_t network = network_of(shape), transport = transport_of(shape);
		struct iovec iov[2];

		make(shape);
		ck_assert_int_eq(vdb__segment_begin(&s), 0);
		ck_assert_uint_eq(s.count, 1);
		ck_assert_uint_eq(vdb__segment_get(&s, 0, iov), s.len);
		ck_assert_ptr_eq(iov[0].iov_base, s.frame);
		ck_assert_uint_eq(sum(pseudo(s.frame + network, shape->proto, s.len - transport),
		                      s.frame + transport, s.len - transport),
		                  0xffff);
	}
}
END_TEST

/* UDP says "no checksum" by 0, so a sum that is 0 is written as its other form. */
START_TEST(the_sum_that_udp_has_no_word_for)
{
	make(&(struct shape){IP4, 0, 17, 0, 2, 0});
	/* The last word makes the whole 0xffff. */
	memset(s.frame + s.len - 2, 0, 2);
	put16(s.frame + s.len - 2, 0xffff - sum(0, s.frame + s.vnet.csum_start, s.len - s.vnet.csum_start));
	ck_assert_int_eq(vdb__segment_begin(&s), 0);
	ck_assert_uint_eq(get16(s.frame + s.vnet.csum_start + 6), 0xffff);
}
END_TEST

/* ---- What cannot be (G66) ---- */

static const struct shape good = {IP4, 0, 6, 0, 5000, 1000};

static void spoil(uint32_t at, uint8_t value)
{
	make(&good);
	s.frame[at] = value;
	ck_assert_int_eq(vdb__segment_begin(&s), -EPROTO);
}

START_TEST(g66_headers_that_lie)
{
	spoil(12, 0x99);      /* not IP */
	spoil(14, 0x46);      /* options that TCP's header is in */
	spoil(14, 0x65);      /* IPv6 */
	spoil(20, 0x20);      /* a fragment */
	spoil(23, 17);        /* not TCP */
	spoil(34 + 12, 0x40); /* a TCP header of 16 bytes */
	make(&good);
	s.vnet.csum_start = 35;
	ck_assert_int_eq(vdb__segment_begin(&s), -EPROTO);
	make(&good);
	s.vnet.csum_offset = 6;
	ck_assert_int_eq(vdb__segment_begin(&s), -EPROTO);
	make(&good);
	s.vnet.gso_type = VDB__VNET_GSO_TCP6;
	ck_assert_int_eq(vdb__segment_begin(&s), -EPROTO);
	make(&good);
	s.len = headers_of(&good); /* nothing to be cut */
	ck_assert_int_eq(vdb__segment_begin(&s), -EPROTO);
	make(&good);
	s.vnet.gso_size = 1; /* work without end */
	ck_assert_int_eq(vdb__segment_begin(&s), -EPROTO);
}
END_TEST

/* Whatever it is, nothing is read or written outside: the sanitizers watch. */
START_TEST(g66_segments_of_anything)
{
	unsigned seed = 1;

	for (int i = 0; i < 20000; i++) {
		struct iovec iov[2];

		make(&good);
		s.len = 14 + (uint32_t)rand_r(&seed) % 200;
		s.vnet.gso_type = (uint8_t)(rand_r(&seed) % 6);
		s.vnet.csum_start = (uint16_t)((uint32_t)rand_r(&seed) % s.len);
		s.vnet.csum_offset = (uint16_t)((uint32_t)rand_r(&seed) % (s.len - s.vnet.csum_start));
		for (int n = 0; n < 4; n++)
			s.frame[12 + rand_r(&seed) % 60] = (uint8_t)rand_r(&seed);
		if (s.vnet.csum_start + s.vnet.csum_offset + 2u > s.len || vdb__segment_begin(&s))
			continue;
		for (uint32_t n = 0; n < s.count; n++)
			ck_assert_uint_le(vdb__segment_get(&s, n, iov), s.len);
	}
}
END_TEST

SUITE("net_segment", segments, checksums, the_sum_that_udp_has_no_word_for, g66_headers_that_lie,
      g66_segments_of_anything)
