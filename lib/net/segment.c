/* SPDX-License-Identifier: Apache-2.0 */
#include "net/segment.h"

#include <errno.h>
#include <string.h>

#define ETHER_TYPE 12u /* where it is */
#define ETHER_IP4 0x0800u
#define ETHER_IP6 0x86ddu
#define ETHER_VLAN 0x8100u
#define ETHER_QINQ 0x88a8u

#define PROTO_TCP 6u
#define PROTO_UDP 17u

#define IP4_HEADER 20u
#define IP6_HEADER 40u
#define TCP_HEADER 20u
#define UDP_HEADER 8u
#define TCP_CSUM 16u
#define UDP_CSUM 6u

#define TCP_FLAGS 13u
#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u

#define GSO_MIN 48u /* no TCP has smaller segments; and there must be an end to how many a packet is */

/* ---- Words in network order ---- */

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

/* ---- Sums: RFC 1071, in the host's order until they are folded ---- */

static uint64_t sum(uint64_t so_far, const uint8_t *at, uint32_t len)
{
	uint32_t word;

	for (; len >= sizeof(word); at += sizeof(word), len -= (uint32_t)sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		so_far += word;
	}
	if (len) {
		word = 0;
		memcpy(&word, at, len);
		so_far += word;
	}
	return so_far;
}

static void put_sum(uint8_t *at, uint64_t sum)
{
	uint16_t folded;

	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	folded = (uint16_t)~sum;
	memcpy(at, &folded, sizeof(folded));
}

/* UDP says "none" by 0. */
static void put_sum_udp(uint8_t *at, uint64_t sum)
{
	put_sum(at, sum);
	if (!at[0] && !at[1])
		at[0] = at[1] = 0xff;
}

/* ---- What there is ---- */

static uint8_t gso_of(const struct vdb__segment *s)
{
	return s->vnet.gso_type & (uint8_t)~VDB__VNET_GSO_ECN;
}

static bool is_udp(const struct vdb__segment *s)
{
	return gso_of(s) == VDB__VNET_GSO_UDP_L4;
}

/* The type of what is in the frame, and where it begins: up to two tags are stepped over. */
static uint16_t network_of(const struct vdb__segment *s, uint32_t *at)
{
	uint32_t type_at = ETHER_TYPE;
	uint16_t type = get16(s->frame + type_at);

	for (int i = 0; i < 2 && (type == ETHER_VLAN || type == ETHER_QINQ); i++) {
		type_at += 4;
		if (type_at + 2 > s->len)
			return 0;
		type = get16(s->frame + type_at);
	}
	*at = type_at + 2;
	return type;
}

static bool is_ip4(const struct vdb__segment *s, const uint8_t *ip, uint32_t len)
{
	return len >= IP4_HEADER && ip[0] >> 4 == 4 && (ip[0] & 0xfu) * 4 == len &&
	       !(get16(ip + 6) & 0x3fff) && ip[9] == (is_udp(s) ? PROTO_UDP : PROTO_TCP);
}

static bool is_ip6(const uint8_t *ip, uint32_t len)
{
	return len >= IP6_HEADER && ip[0] >> 4 == 6;
}

/* Between the start of the IP header and that of TCP or UDP. */
static bool check_network(struct vdb__segment *s)
{
	uint32_t at = 0, transport = s->vnet.csum_start;
	uint16_t type = network_of(s, &at);

	s->network = at;
	if (!at || at >= transport || transport > s->len)
		return false;
	if (type == ETHER_IP4 && gso_of(s) != VDB__VNET_GSO_TCP6)
		return is_ip4(s, s->frame + at, transport - at);
	return type == ETHER_IP6 && gso_of(s) != VDB__VNET_GSO_TCP4 && is_ip6(s->frame + at, transport - at);
}

static bool check_transport(struct vdb__segment *s)
{
	const uint32_t at = s->vnet.csum_start;

	if (is_udp(s)) {
		s->headers = at + UDP_HEADER;
		return s->vnet.csum_offset == UDP_CSUM;
	}
	if (at + TCP_HEADER > s->len || s->frame[at + 12] >> 4 < TCP_HEADER / 4)
		return false;
	s->headers = at + (s->frame[at + 12] >> 4) * 4u;
	return s->vnet.csum_offset == TCP_CSUM;
}

static void fill_in(struct vdb__segment *s)
{
	uint8_t *at = s->frame + s->vnet.csum_start + s->vnet.csum_offset;
	uint64_t all = sum(0, s->frame + s->vnet.csum_start, s->len - s->vnet.csum_start);

	if (s->vnet.csum_offset == UDP_CSUM)
		put_sum_udp(at, all);
	else
		put_sum(at, all);
}

int vdb__segment_begin(struct vdb__segment *s)
{
	s->headers = 0;
	s->count = 1;
	if (s->vnet.gso_type == VDB__VNET_GSO_NONE) {
		if (s->vnet.flags & VDB__VNET_NEEDS_CSUM)
			fill_in(s);
		return 0;
	}
	if (!check_network(s) || !check_transport(s) || s->headers >= s->len ||
	    s->headers > VDB__SEGMENT_HEADERS || s->vnet.gso_size < GSO_MIN)
		return -EPROTO;
	s->count = (s->len - s->headers + s->vnet.gso_size - 1) / s->vnet.gso_size;
	return 0;
}

/* ---- A segment ---- */

static void fix_network(struct vdb__segment *s, uint32_t n, uint32_t len)
{
	uint8_t *ip = s->out + s->network;
	uint32_t header = s->vnet.csum_start - s->network;

	if (ip[0] >> 4 == 6) {
		put16(ip + 4, len - s->network - IP6_HEADER);
		return;
	}
	put16(ip + 2, len - s->network);
	put16(ip + 4, get16(ip + 4) + n);
	put16(ip + 10, 0);
	put_sum(ip + 10, sum(0, ip, header));
}

static void fix_transport(struct vdb__segment *s, uint32_t n, uint32_t len)
{
	uint8_t *at = s->out + s->vnet.csum_start;

	if (is_udp(s)) {
		put16(at + 4, len - s->vnet.csum_start);
		return;
	}
	put32(at + 4, get32(at + 4) + n * s->vnet.gso_size);
	if (n)
		at[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	if (n + 1 < s->count)
		at[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
}

static uint64_t pseudo_header(const struct vdb__segment *s, uint32_t len)
{
	const uint8_t *ip = s->out + s->network;
	uint8_t tail[4] = {0};
	uint64_t addresses = ip[0] >> 4 == 6 ? sum(0, ip + 8, 32) : sum(0, ip + 12, 8);

	tail[1] = is_udp(s) ? PROTO_UDP : PROTO_TCP;
	put16(tail + 2, len);
	return sum(addresses, tail, sizeof(tail));
}

static void fix_sum(struct vdb__segment *s, const struct iovec *payload)
{
	uint32_t at = s->vnet.csum_start, header = s->headers - at;
	uint8_t *field = s->out + at + s->vnet.csum_offset;
	uint64_t all = pseudo_header(s, header + (uint32_t)payload->iov_len);

	put16(field, 0);
	all = sum(all, s->out + at, header);
	all = sum(all, payload->iov_base, (uint32_t)payload->iov_len);
	if (is_udp(s))
		put_sum_udp(field, all);
	else
		put_sum(field, all);
}

uint32_t vdb__segment_get(struct vdb__segment *s, uint32_t n, struct iovec iov[2])
{
	uint32_t size = s->vnet.gso_size, at = s->headers + n * size, len;

	if (!s->headers) {
		iov[0] = (struct iovec){s->frame, VDB__SEGMENT_FIRST};
		iov[1] = (struct iovec){s->frame + VDB__SEGMENT_FIRST, s->len - VDB__SEGMENT_FIRST};
		return s->len;
	}
	memcpy(s->out, s->frame, s->headers);
	len = s->len - at < size ? s->len - at : size;
	iov[0] = (struct iovec){s->out, s->headers};
	iov[1] = (struct iovec){s->frame + at, len};
	len += s->headers;
	fix_network(s, n, len);
	fix_transport(s, n, len);
	fix_sum(s, &iov[1]);
	return len;
}
