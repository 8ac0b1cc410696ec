/* SPDX-License-Identifier: Apache-2.0 */
#include "tap_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vdb/error.h>

#define HEAD 22u /* addresses, type, number, length */

void tap_rig_open(struct tap_rig *t, const struct vdb_tap_config *tap, const struct pair_rig_config *config)
{
	static unsigned names;
	struct vdb_tap_config own = {.size = sizeof(own)};
	int err;

	if (tap)
		own = *tap;
	own.size = sizeof(own);
	/* One of another test, or round, may be about to go. */
	(void)snprintf(t->name, sizeof(t->name), "t%d.%u", (int)getpid(), ++names);
	if (!own.fds)
		own.name = t->name;
	if (!own.pairs)
		own.pairs = config->pairs;
	own.flags |= VDB_TAP_UP;
	err = vdb_netdev_tap(&own, &t->netdev);
	ck_assert_msg(!err, "%s", vdb_errmsg());
	memcpy(t->name, tap_rig_info(t).name, sizeof(t->name));
	t->socket = netns_packets(t->name, false);
	pair_rig_open(&t->pairs, t->netdev, config);
}

void tap_rig_close(struct tap_rig *t)
{
	pair_rig_close(&t->pairs);
	close(t->socket);
}

struct vdb_tap_info tap_rig_info(const struct tap_rig *t)
{
	struct vdb_tap_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_netdev_tap_query(t->netdev, &info), 0);
	return info;
}

/* ---- Frames ---- */

void tap_rig_fill(uint8_t *frame, uint32_t seq, uint32_t len)
{
	static const uint8_t from[6] = {2, 't', 'a', 'p'};
	const uint16_t type = htons(TAP_RIG_TYPE);

	memset(frame, 0xff, 6);
	memcpy(frame + 6, from, sizeof(from));
	memcpy(frame + 12, &type, sizeof(type));
	memcpy(frame + 14, &seq, sizeof(seq));
	memcpy(frame + 18, &len, sizeof(len));
	for (uint32_t i = HEAD; i < len; i++)
		frame[i] = (uint8_t)(seq * 31 + i * 7 + (i >> 8));
}

void tap_rig_check(const uint8_t *frame, uint32_t seq, uint32_t len)
{
	static uint8_t own[PAIR_RIG_PACKET];
	uint32_t at = 0;

	tap_rig_fill(own, seq, len);
	if (!memcmp(frame, own, len))
		return;
	while (at < len && frame[at] == own[at])
		at++;
	ck_abort_msg("packet %u of %u: byte %u is %u, not %u", seq, len, at, frame[at], own[at]);
}

uint32_t tap_rig_len(uint32_t seq, uint32_t max)
{
	uint32_t mixed = (seq + 1) * 2654435761u;

	if (seq % 4 == 0)
		return TAP_RIG_MIN;
	return TAP_RIG_MIN + (mixed >> 8) % (max - TAP_RIG_MIN + 1);
}

/* ---- Their way ---- */

void tap_rig_rest(struct tap_rig *t)
{
	for (int i = 0, idle = 0; !idle; i++) {
		ck_assert_int_lt(i, 100000);
		rig_turns(&t->pairs.rig, 1);
		idle = vdb_loop_prepare(t->pairs.rig.loop);
		ck_assert_int_ge(idle, 0);
	}
}

bool tap_rig_send(struct tap_rig *t, uint32_t seq, uint32_t len)
{
	ssize_t sent;

	tap_rig_fill(t->packet, seq, len);
	sent = send(t->socket, t->packet, len, 0);
	ck_assert_msg(sent == (ssize_t)len || errno == ENOBUFS || errno == EAGAIN, "packet %u: %s", seq,
	              strerror(errno));
	return sent == (ssize_t)len;
}

void tap_rig_expect(struct tap_rig *t, uint32_t seq, uint32_t len)
{
	ck_assert_uint_eq(pair_rig_receive(&t->pairs, 0, t->packet), VDB_NET_HDR + len);
	tap_rig_check(t->packet + VDB_NET_HDR, seq, len);
}

void tap_rig_add(struct tap_rig *t, uint32_t seq, uint32_t len)
{
	memset(t->packet, 0, VDB_NET_HDR);
	tap_rig_fill(t->packet + VDB_NET_HDR, seq, len);
	pair_rig_add(&t->pairs, 0, t->packet, VDB_NET_HDR + len);
}

void tap_rig_expect_out(struct tap_rig *t, uint32_t seq, uint32_t len)
{
	ssize_t got;

	while ((got = recv(t->socket, t->packet, sizeof(t->packet), 0)) < 0) {
		ck_assert_int_eq(errno, EAGAIN);
		rig_wait(&t->pairs.rig);
	}
	ck_assert_int_eq(got, len);
	tap_rig_check(t->packet, seq, len);
}
