/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a bare-metal guest and the host at the other end put on the wire to try a network: whole Ethernet
 * frames.
 */
#ifndef EXAMPLES_GUEST_NET_FRAMES_H
#define EXAMPLES_GUEST_NET_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define NET_HEADER 14u       /* of Ethernet */
#define NET_STAMPED 22u      /* and the number of the frame, 8 bytes in the machine's order */
#define NET_FRAME_MAX 65549u /* an IPv4 packet of 65535 */

#define NET_TYPE_DATA 0x88b5u  /* nobody's: the host drops it */
#define NET_TYPE_ORDER 0x88b6u /* the guest orders as many frames as its number says */

/* The last byte of a MAC; those before are 02:56:44:42:00. */
#define NET_MAC_0 0x56, 0x44, 0x42, 0
enum {
	NET_GUEST_0 = 1, /* its first device, its second */
	NET_GUEST_1 = 2,
	NET_HOST = 0x10,   /* the tap's own: the host's IP stack listens */
	NET_NOBODY = 0x20, /* of whom the host knows nothing */
};

/* IPv4 addresses, in the machine's order: 10.77.0.x */
#define NET_IP_GUEST 0x0a4d0002u
#define NET_IP_HOST 0x0a4d0001u

static inline void net_mac(uint8_t *at, uint8_t last)
{
	const uint8_t first[] = {2, NET_MAC_0};

	for (unsigned i = 0; i < sizeof(first); i++)
		at[i] = first[i];
	at[sizeof(first)] = last;
}

static inline void net_put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void net_put32(uint8_t *at, uint32_t value)
{
	net_put16(at, (uint16_t)(value >> 16));
	net_put16(at + 2, (uint16_t)value);
}

static inline void net_header(uint8_t *frame, uint8_t to, uint8_t from, uint16_t type)
{
	net_mac(frame, to);
	net_mac(frame + 6, from);
	net_put16(frame + 12, type);
}

static inline uint64_t net_number(const uint8_t *frame)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t)frame[NET_HEADER + i] << 8 * i;
	return value;
}

static inline void net_stamp(uint8_t *frame, uint64_t number)
{
	for (unsigned i = 0; i < 8; i++)
		frame[NET_HEADER + i] = (uint8_t)(number >> 8 * i);
}

/* ---- Frames that can be checked: every byte behind the number follows from it ---- */

/* The host sends them back with `turned` 0xff. */
static inline uint8_t net_byte(uint64_t number, uint32_t at, uint8_t turned)
{
	return (uint8_t)((number * 131 + at * 7 + (at >> 8)) ^ turned);
}

static inline void net_fill(uint8_t *frame, uint32_t len, uint64_t number, uint8_t turned)
{
	net_stamp(frame, number);
	for (uint32_t i = NET_STAMPED; i < len; i++)
		frame[i] = net_byte(number, i, turned);
}

static inline int net_good(const uint8_t *frame, uint32_t len, uint8_t turned)
{
	uint64_t number = net_number(frame);

	for (uint32_t i = NET_STAMPED; i < len; i++)
		if (frame[i] != net_byte(number, i, turned))
			return 0;
	return 1;
}

/* Lengths of frames that differ from one to the next, NET_STAMPED to most. */
static inline uint32_t net_some_len(uint64_t number, uint32_t most)
{
	uint32_t span = most - NET_STAMPED + 1;

	return NET_STAMPED + (uint32_t)(number * 2654435761u >> 7) % span;
}

/* ---- IP ---- */

/* Of `len` bytes, RFC 1071; what it is to be stored as, in the order of the wire. */
static inline uint16_t net_sum(const uint8_t *at, uint32_t len)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

#define NET_IP 20u
#define NET_ICMP 8u
#define NET_TCP 20u
#define NET_IPPROTO_ICMP 1u
#define NET_IPPROTO_TCP 6u

static inline void net_ip(uint8_t *frame, uint32_t len, uint8_t protocol, uint32_t to, uint32_t from)
{
	uint8_t *ip = frame + NET_HEADER;

	for (unsigned i = 0; i < NET_IP; i++)
		ip[i] = 0;
	ip[0] = 0x45;
	net_put16(ip + 2, (uint16_t)(len - NET_HEADER));
	ip[8] = 64;
	ip[9] = protocol;
	net_put32(ip + 12, from);
	net_put32(ip + 16, to);
	net_put16(ip + 10, net_sum(ip, NET_IP));
}

/* An echo request; the rest of the frame is zero. */
static inline void net_ping(uint8_t *frame, uint32_t len)
{
	uint8_t *icmp = frame + NET_HEADER + NET_IP;

	net_header(frame, NET_HOST, NET_GUEST_0, 0x0800);
	net_ip(frame, len, NET_IPPROTO_ICMP, NET_IP_HOST, NET_IP_GUEST);
	for (uint32_t i = NET_HEADER + NET_IP; i < len; i++)
		frame[i] = 0;
	icmp[0] = 8;
	net_put16(icmp + 2, net_sum(icmp, len - NET_HEADER - NET_IP));
}

static inline int net_is_pong(const uint8_t *frame, uint32_t len)
{
	return len > NET_HEADER + NET_IP && frame[12] == 8 && !frame[13] && frame[NET_HEADER + NET_IP] == 0;
}

/* TCP data for whoever segments it. */
static inline void net_segments(uint8_t *frame, uint32_t len, uint8_t to, uint8_t from)
{
	uint8_t *tcp = frame + NET_HEADER + NET_IP;

	net_header(frame, to, from, 0x0800);
	net_ip(frame, len, NET_IPPROTO_TCP, NET_IP_GUEST, NET_IP_HOST);
	for (unsigned i = 0; i < NET_TCP; i++)
		tcp[i] = 0;
	net_put16(tcp, 5001);
	net_put16(tcp + 2, 5001);
	tcp[12] = NET_TCP / 4 << 4;
	tcp[13] = 0x10; /* ACK */
	net_put16(tcp + 14, 0xffff);
}

#endif
