/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* What the outside has for a guest that has not agreed to it (virtio 1.2, 5.1.6.4.1, 5.1.4.1, 5.1.6.5.5). */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "net_rig.h"
#include "run.h"

#define BIT(name) VRIG_BIT(VIRTIO_NET_F_##name)
#define CSUM BIT(GUEST_CSUM)
#define TSO4 (CSUM | BIT(GUEST_TSO4))
#define NEEDS VIRTIO_NET_HDR_F_NEEDS_CSUM
#define VALID VIRTIO_NET_HDR_F_DATA_VALID
#define USO 5u

static struct net_rig r;
static uint8_t packet[4096];

static void open_with(uint64_t features, uint32_t mtu, uint32_t pairs)
{
	net_rig_open(&r, &(struct net_rig_config){.offloads = 0x7f, .mtu = mtu, .pairs = pairs});
	net_rig_up_pairs(&r, features, pairs);
	for (uint32_t i = 0; i < 16; i++)
		net_give(&r, 0, NET_FREE + i * 4096, 4096, NET_FREE + i * 4096);
}

static void send(uint8_t flags, uint8_t type, uint32_t len)
{
	net_packet(packet, len, 1);
	packet[0] = flags;
	packet[1] = type;
	net_host_sends(&r, 0, packet, len);
}

/* ---- Checksums and segments ---- */

static const struct {
	uint64_t features;
	uint8_t flags, type;
	bool comes;
	uint8_t shown; /* of the flags */
} heads[] = {
        {0, 0, 0, true, 0},
        {0, VALID, 0, true, 0},
        {0, NEEDS, 0, false, 0},
        {0, NEEDS | VALID, 0, false, 0},
        {0, NEEDS, 1, false, 0},
        {0, VALID, 1, false, 0},
        {CSUM, 0, 0, true, 0},
        {CSUM, VALID, 0, true, VALID},
        {CSUM, NEEDS, 0, true, NEEDS},
        {CSUM, NEEDS, 1, false, 0},
        {TSO4, NEEDS, 1, true, NEEDS},
        {TSO4, NEEDS, 0x81, false, 0},
        {TSO4, NEEDS, 4, false, 0},
        {TSO4, NEEDS, 3, false, 0},
        {TSO4, NEEDS, USO, false, 0},
        {TSO4, NEEDS, 0x7e, false, 0},
        {TSO4 | BIT(GUEST_ECN), NEEDS, 0x81, true, NEEDS},
        {TSO4 | BIT(GUEST_ECN), NEEDS, 0x80, false, 0},
        {CSUM | BIT(GUEST_TSO6), NEEDS, 4, true, NEEDS},
        {CSUM | BIT(GUEST_UFO), NEEDS, 3, true, NEEDS},
        {CSUM | VRIG_BIT(VDB__NET_F_GUEST_USO6), NEEDS, USO, true, NEEDS},
};

START_TEST(headers_are_those_agreed_on)
{
	open_with(heads[_i].features | BIT(MRG_RXBUF), 0, 1);
	r.how = NET_ANY;
	send(heads[_i].flags, heads[_i].type, 300);
	packet[0] = heads[_i].shown;
	if (heads[_i].comes)
		net_expect(&r, 0, packet, 300, 1);
	net_host_idle(&r, 0);
	ck_assert_uint_eq(net_stats(&r, 0).rx_dropped, !heads[_i].comes);
	send(0, 0, 200);
	net_expect(&r, 0, packet, 200, 1);
	net_rig_close(&r);
}
END_TEST

/* It changes its mind (5.1.6.5.6), and what was on its way is what it does not take any more. */
START_TEST(what_was_agreed_on_may_change)
{
	uint8_t off[10] = {VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET};
	uint8_t on[10] = {VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
	                  1u << VIRTIO_NET_F_GUEST_CSUM | 1u << VIRTIO_NET_F_GUEST_TSO4};

	open_with(TSO4 | BIT(CTRL_VQ) | BIT(CTRL_GUEST_OFFLOADS), 0, 1);
	for (uint64_t round = 1; round <= 3; round++) {
		send(NEEDS, 1, 300);
		net_expect(&r, 0, packet, 300, 1);
		ck_assert_uint_eq(net_command(&r, off, sizeof(off)), VIRTIO_NET_OK);
		send(NEEDS, 1, 300);
		net_host_idle(&r, 0);
		ck_assert_uint_eq(net_stats(&r, 0).rx_dropped, round);
		ck_assert_uint_eq(net_command(&r, on, sizeof(on)), VIRTIO_NET_OK);
	}
	/* What could not be switched is as it was. */
	r.offload_fails = -EIO;
	ck_assert_uint_eq(net_command(&r, off, sizeof(off)), VIRTIO_NET_ERR);
	send(NEEDS, 1, 300);
	net_expect(&r, 0, packet, 300, 1);
	net_rig_close(&r);
}
END_TEST

/* ---- The MTU ---- */

#define MTU 1000u
#define LONGEST (VDB_NET_HDR + 14 + 8 + MTU) /* two tags */

START_TEST(nothing_is_longer_than_the_mtu)
{
	open_with(TSO4 | BIT(MTU) | (_i ? BIT(MRG_RXBUF) : 0), MTU, 1);
	send(0, 0, LONGEST);
	net_expect(&r, 0, packet, LONGEST, 1);
	send(NEEDS, 0, LONGEST + 1);
	net_host_idle(&r, 0);
	ck_assert_uint_eq(net_stats(&r, 0).rx_oversized, 1);
	send(NEEDS, 1, 3 * MTU); /* segments are another thing */
	net_expect(&r, 0, packet, 3 * MTU, 1);
	net_rig_close(&r);
}
END_TEST

/* Nobody has told it. */
START_TEST(an_mtu_that_the_driver_does_not_know)
{
	open_with(BIT(MRG_RXBUF), MTU, 1);
	send(0, 0, LONGEST + 500);
	net_expect(&r, 0, packet, LONGEST + 500, 1);
	ck_assert_uint_eq(net_stats(&r, 0).rx_oversized, 0);
	net_rig_close(&r);
}
END_TEST

/* ---- Pairs ---- */

/* As the command has it, which another loop may be about to answer; this one has not heard of it yet. */
static int deliver_to_one_in_use_no_more(void *port)
{
	struct vdb_net_pair *pair = ((struct net_port *)port)->pair;
	struct vdb__net *net = pair->net;
	struct vdb_net_room *room;
	int rc = vdb_net_take(pair, 100, &room);

	if (rc)
		return rc;
	vdb__store(&net->in_use, 1u);
	vdb_net_deliver(room, 100);
	vdb__store(&net->in_use, 2u);
	return 0;
}

static int ask(void *port)
{
	vdb_net_wake(((struct net_port *)port)->pair, 1);
	return 0;
}

START_TEST(a_pair_that_is_given_up_gets_nothing)
{
	const uint8_t two[] = {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, 0};

	open_with(BIT(CTRL_VQ) | BIT(MQ), 0, 2);
	ck_assert_uint_eq(net_command(&r, two, sizeof(two)), VIRTIO_NET_OK);
	virtio_rig_wait(&r.port[1].opens, 1);
	net_give(&r, 1, NET_FREE, 1600, NET_FREE);
	(void)net_host_call(&r, 1, ask);
	virtio_rig_wait(&r.port[1].receives, 1);
	ck_assert_int_eq(net_host_call(&r, 1, deliver_to_one_in_use_no_more), 0);
	ck_assert_uint_eq(net_stats(&r, 1).rx_dropped, 1);
	ck_assert_uint_eq(net_stats(&r, 1).rx_packets, 0);
	net_rig_close(&r);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_agreed");

	tcase_add_loop_test(tc, headers_are_those_agreed_on, 0, (int)(sizeof(heads) / sizeof(heads[0])));
	tcase_add_test(tc, what_was_agreed_on_may_change);
	tcase_add_loop_test(tc, nothing_is_longer_than_the_mtu, 0, 2);
	tcase_add_test(tc, an_mtu_that_the_driver_does_not_know);
	tcase_add_test(tc, a_pair_that_is_given_up_gets_nothing);
	return test_run("net_agreed", tc);
}
