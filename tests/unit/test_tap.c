/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Packets between a guest's queues and a tap: whole, in order, in few system calls, and at rest when there
 * are none, or no room. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <vdb/error.h>
#include <vdb/limit.h>

#include "arena.h"
#include "base/atomic.h"
#include "net/tap.h"
#include "run.h"
#include "tap_rig.h"

#define MANY 4000u
#define WINDOW 200u /* less than the tap's own queue holds */
#define FRAME 1514u

static struct tap_rig t;

static void open_with(const struct pair_rig_config *config)
{
	tap_rig_open(&t, NULL, config);
}

static const struct pair_rig_config kinds[] = {
        {.mergeable = true},
        {.mergeable = false},
        {.mergeable = true, .flags = VDB_VIRTQ_PACKED | VDB_VIRTQ_EVENT_IDX},
        {.mergeable = true, .buf_len = 256, .flags = VDB_VIRTQ_EVENT_IDX},
        {.mergeable = true, .offloads = VDB_NET_CSUM | VDB_NET_TSO4 | VDB_NET_TSO6},
};
#define KINDS ((int)(sizeof(kinds) / sizeof(kinds[0])))

static bool is_uring(void)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_loop_stats(t.pairs.rig.loop, &stats), 0);
	return stats.engine == VDB_ENGINE_URING;
}

static struct vdb_loop_stats loop_stats(void)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_loop_stats(t.pairs.rig.loop, &stats), 0);
	return stats;
}

START_TEST(packets_reach_the_guest_whole_and_in_order)
{
	uint32_t sent = 0;

	open_with(&kinds[_i]);
	pair_rig_post(&t.pairs, 0, PAIR_RIG_ENTRIES);
	for (uint32_t got = 0; got < MANY; got++) {
		while (sent < MANY && sent - got < WINDOW && tap_rig_send(&t, sent, tap_rig_len(sent, FRAME)))
			sent++;
		tap_rig_expect(&t, got, tap_rig_len(got, FRAME));
	}
	ck_assert_uint_eq(tap_rig_info(&t).missed, 0);
	ck_assert_uint_eq(tap_rig_info(&t).failed, 0);
	ck_assert_uint_eq(pair_rig_stats(&t.pairs, 0).rx_packets, MANY);
	tap_rig_close(&t);
}
END_TEST

START_TEST(packets_leave_the_guest_whole_and_in_order)
{
	open_with(&kinds[_i]);
	for (uint32_t sent = 0; sent < MANY;) {
		uint32_t first = sent, burst = 1 + sent % 31;

		for (; sent < MANY && sent - first < burst; sent++)
			tap_rig_add(&t, sent, tap_rig_len(sent, FRAME));
		pair_rig_ring(&t.pairs, 0);
		for (; first < sent; first++)
			tap_rig_expect_out(&t, first, tap_rig_len(first, FRAME));
	}
	RIG_UNTIL(&t.pairs.rig, !pair_rig_sending(&t.pairs, 0));
	ck_assert_uint_eq(pair_rig_stats(&t.pairs, 0).tx_packets, MANY);
	ck_assert_uint_eq(tap_rig_info(&t).failed, 0);
	tap_rig_close(&t);
}
END_TEST

START_TEST(both_ways_at_once)
{
	uint32_t in = 0, out = 0, got = 0;

	open_with(&kinds[_i]);
	pair_rig_post(&t.pairs, 0, PAIR_RIG_ENTRIES);
	while (got < MANY) {
		for (; in < MANY && in - got < WINDOW; in++)
			if (!tap_rig_send(&t, in, tap_rig_len(in, FRAME)))
				break;
		tap_rig_add(&t, out, tap_rig_len(out, FRAME));
		pair_rig_ring(&t.pairs, 0);
		tap_rig_expect_out(&t, out, tap_rig_len(out, FRAME));
		out++;
		for (int i = 0; i < 3 && got < in; i++, got++)
			tap_rig_expect(&t, got, tap_rig_len(got, FRAME));
	}
	tap_rig_close(&t);
}
END_TEST

/* ---- At what cost ---- */

static unsigned threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

/* What the kernel could not be asked for in common is a call each: old kernels, and the other engine. */
static uint64_t calls(void)
{
	return loop_stats().enters + loop_stats().nowaits;
}

START_TEST(a_packet_to_the_guest_is_a_tenth_of_a_system_call)
{
	uint32_t sent = 0, got = 0;
	uint64_t before;
	unsigned had;

	open_with(&kinds[0]);
	pair_rig_post(&t.pairs, 0, PAIR_RIG_ENTRIES);
	had = threads();
	for (; sent < 400; sent++)
		ck_assert(tap_rig_send(&t, sent, TAP_RIG_MIN));
	before = calls();
	while (got < sent) {
		ck_assert_int_ge(vdb_loop_step(t.pairs.rig.loop), 0);
		while (pair_rig_poll(&t.pairs, 0, t.packet))
			tap_rig_check(t.packet + VDB_NET_HDR, got++, TAP_RIG_MIN);
	}
	if (is_uring() && !loop_stats().nowaits)
		ck_assert_uint_le(10 * (calls() - before), got);
	ck_assert_uint_eq(threads(), had);
	tap_rig_close(&t);
}
END_TEST

START_TEST(a_packet_from_the_guest_is_a_tenth_of_a_system_call)
{
	uint32_t done = 0, sent = 0;
	uint64_t before;
	unsigned had;

	open_with(&kinds[0]);
	had = threads();
	before = calls();
	for (; done < 640; done = sent) {
		while (sent - done < PAIR_RIG_SENDING)
			tap_rig_add(&t, sent++, TAP_RIG_MIN);
		pair_rig_ring(&t.pairs, 0);
		while (pair_rig_sending(&t.pairs, 0))
			ck_assert_int_ge(vdb_loop_step(t.pairs.rig.loop), 0);
	}
	if (is_uring() && !loop_stats().nowaits)
		ck_assert_uint_le(10 * (calls() - before), done);
	ck_assert_uint_eq(threads(), had);
	for (uint32_t i = 0; i < 200; i++)
		tap_rig_expect_out(&t, i, TAP_RIG_MIN);
	tap_rig_close(&t);
}
END_TEST

/* What a packet costs the loop is no part of what it weighs. */
START_TEST(limits_count_bytes_of_packets)
{
	struct vdb_limit_config config = {.size = sizeof(config), .bytes_per_s = 1u << 30};
	struct vdb_limit_stats stats = {.size = sizeof(stats)};
	struct pair_rig_config rig = {0};

	ck_assert_int_eq(vdb_limit_create(&config, &rig.limit), 0);
	open_with(&rig);
	for (uint32_t i = 0; i < 20; i++)
		tap_rig_add(&t, i, i % 2 ? FRAME : TAP_RIG_MIN);
	pair_rig_ring(&t.pairs, 0);
	for (uint32_t i = 0; i < 20; i++)
		tap_rig_expect_out(&t, i, i % 2 ? FRAME : TAP_RIG_MIN);
	tap_rig_rest(&t);
	ck_assert_int_eq(vdb_limit_stats(rig.limit, &stats), 0);
	ck_assert_uint_eq(stats.bytes, 20 * VDB_NET_HDR + 10 * (FRAME + TAP_RIG_MIN));
	vdb_limit_destroy(rig.limit);
	tap_rig_close(&t);
}
END_TEST

/* ---- At rest ---- */

START_TEST(nothing_happens_when_nothing_comes)
{
	struct vdb_tap_info before;
	uint64_t events;

	open_with(&kinds[0]);
	pair_rig_post(&t.pairs, 0, 16);
	ck_assert(tap_rig_send(&t, 7, 100));
	tap_rig_expect(&t, 7, 100);
	before = tap_rig_info(&t);
	tap_rig_rest(&t);
	events = loop_stats().events;
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(vdb_loop_step(t.pairs.rig.loop), 0);
	ck_assert_uint_eq(loop_stats().events, events);
	ck_assert_uint_eq(tap_rig_info(&t).reads, before.reads);
	ck_assert(tap_rig_send(&t, 8, 100));
	tap_rig_expect(&t, 8, 100);
	tap_rig_close(&t);
}
END_TEST

/* G67: the host floods a guest that gives no buffers: the tap's queue takes what it holds, and drops. */
START_TEST(g67_a_guest_without_buffers_is_flooded_in_vain)
{
	struct vdb_tap_info info;
	uint64_t reads;

	open_with(&kinds[_i]);
	for (uint32_t i = 0; i < 3000; i++) {
		(void)tap_rig_send(&t, i, TAP_RIG_MIN);
		if (i % 100 == 0)
			rig_turns(&t.pairs.rig, 2);
	}
	arena_spare("the loop is to find nothing to do");
	tap_rig_rest(&t);
	reads = tap_rig_info(&t).reads;
	ck_assert_uint_gt(tap_rig_info(&t).missed, 0);
	tap_rig_rest(&t); /* asking wakes it */
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(vdb_loop_step(t.pairs.rig.loop), 0);
	ck_assert_uint_eq(tap_rig_info(&t).reads, reads);
	/* The first ones are still there, and so is the order. */
	pair_rig_post(&t.pairs, 0, 64);
	for (uint32_t i = 0; i < 400; i++)
		tap_rig_expect(&t, i, TAP_RIG_MIN);
	info = tap_rig_info(&t);
	ck_assert_uint_eq(info.failed, 0);
	tap_rig_close(&t);
}
END_TEST

/* ---- Room ---- */

START_TEST(packets_longer_than_a_buffer_get_several)
{
	struct pair_rig_config config = {.mergeable = true, .buf_len = 128};

	open_with(&config);
	pair_rig_post(&t.pairs, 0, PAIR_RIG_ENTRIES);
	for (uint32_t i = 0; i < 300; i++) {
		ck_assert(tap_rig_send(&t, i, i % 3 ? FRAME : TAP_RIG_MIN));
		tap_rig_expect(&t, i, i % 3 ? FRAME : TAP_RIG_MIN);
	}
	ck_assert_uint_gt(tap_rig_info(&t).copied, 0);
	tap_rig_close(&t);
}
END_TEST

/* More than the guest has room for at a time waits, and comes in its turn. */
START_TEST(what_finds_no_room_is_not_lost)
{
	struct pair_rig_config config = {.mergeable = true, .buf_len = 128};
	uint32_t sent = 0;

	open_with(&config);
	pair_rig_post(&t.pairs, 0, 14); /* one long packet, or a few short ones */
	for (uint32_t got = 0; got < 1000; got++) {
		while (sent < 1000 && sent - got < 100 && tap_rig_send(&t, sent, tap_rig_len(sent, FRAME)))
			sent++;
		tap_rig_expect(&t, got, tap_rig_len(got, FRAME));
	}
	ck_assert_uint_gt(tap_rig_info(&t).spilled, 0);
	ck_assert_uint_eq(tap_rig_info(&t).missed, 0);
	tap_rig_close(&t);
}
END_TEST

/* The driver gives the pair up on another loop, between the netdev's being called for it and its asking. */
START_TEST(what_finds_no_room_ends_with_the_pair)
{
	struct pair_rig_config config = {.mergeable = true, .buf_len = 128};

	open_with(&config);
	pair_rig_post(&t.pairs, 0, 14);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert(tap_rig_send(&t, i, FRAME));
	RIG_UNTIL(&t.pairs.rig, tap_rig_info(&t).spilled);
	tap_rig_rest(&t);
	vdb__store(&t.pairs.net.in_use, 0u);
	t.netdev->ops.receive(t.netdev->ctx, 0);
	ck_assert(!t.pairs.pair[0]->open);
	pair_rig_use(&t.pairs, 1);
	pair_rig_post(&t.pairs, 0, PAIR_RIG_ENTRIES);
	ck_assert(tap_rig_send(&t, 7, FRAME));
	tap_rig_close(&t);
}
END_TEST

START_TEST(what_never_fits_is_dropped_and_counted)
{
	struct pair_rig_config config = {.mergeable = false, .buf_len = 256};

	open_with(&config);
	pair_rig_post(&t.pairs, 0, 64);
	for (uint32_t i = 0; i < 30; i++)
		ck_assert(tap_rig_send(&t, i, i % 3 ? FRAME : TAP_RIG_MIN));
	for (uint32_t i = 0; i < 30; i += 3)
		tap_rig_expect(&t, i, TAP_RIG_MIN);
	tap_rig_rest(&t);
	ck_assert_uint_eq(pair_rig_stats(&t.pairs, 0).rx_oversized, 20);
	tap_rig_close(&t);
}
END_TEST

/* They are read into the room alone as long as the MTU says that they fit. It may have grown just now. */
START_TEST(what_is_longer_than_the_mtu_was_comes_whole_or_is_counted)
{
	struct pair_rig_config config = {.mergeable = true, .buf_len = 256};
	struct vdb__tap *tap;
	uint32_t got = 0, seq;

	open_with(&config);
	tap = vdb__tap_of(t.netdev);
	ck_assert_uint_eq(vdb__load(&tap->segments), 0);
	ck_assert_uint_gt(vdb__load(&tap->longest), FRAME);
	vdb__store(&tap->longest, 100u);
	pair_rig_post(&t.pairs, 0, PAIR_RIG_ENTRIES);
	for (uint32_t i = 0; i < 40; i++)
		ck_assert(tap_rig_send(&t, i, i < 2 ? TAP_RIG_MIN : FRAME));
	tap_rig_expect(&t, got++, TAP_RIG_MIN);
	tap_rig_expect(&t, got++, TAP_RIG_MIN);
	for (uint32_t last = 1; last < 39; last = seq, got++) {
		ck_assert_uint_eq(pair_rig_receive(&t.pairs, 0, t.packet), VDB_NET_HDR + FRAME);
		memcpy(&seq, t.packet + VDB_NET_HDR + 14, sizeof(seq));
		ck_assert_uint_gt(seq, last);
		tap_rig_check(t.packet + VDB_NET_HDR, seq, FRAME);
	}
	ck_assert_uint_gt(pair_rig_stats(&t.pairs, 0).rx_oversized, 0);
	ck_assert_uint_eq(got + pair_rig_stats(&t.pairs, 0).rx_oversized, 40);
	tap_rig_close(&t);
}
END_TEST

START_TEST(jumbo_frames_go_both_ways)
{
	struct vdb_tap_config tap = {.mtu = 9000};
	struct pair_rig_config config = {.mergeable = true};

	tap_rig_open(&t, &tap, &config);
	t.pairs.net.longest = t.pairs.net.usual = VDB_NET_HDR + 18 + 9000;
	pair_rig_post(&t.pairs, 0, PAIR_RIG_ENTRIES);
	for (uint32_t i = 0; i < 200; i++) {
		ck_assert(tap_rig_send(&t, i, 9014 - i));
		tap_rig_expect(&t, i, 9014 - i);
		tap_rig_add(&t, i, 9014 - i);
		pair_rig_ring(&t.pairs, 0);
		tap_rig_expect_out(&t, i, 9014 - i);
	}
	tap_rig_close(&t);
}
END_TEST

/* ---- The guest comes and goes ---- */

START_TEST(a_reset_in_the_middle_loses_no_more_than_packets)
{
	for (uint32_t round = 0; round < 30; round++) {
		open_with(&kinds[_i]);
		pair_rig_post(&t.pairs, 0, PAIR_RIG_ENTRIES);
		for (uint32_t i = 0; i < 40; i++) {
			ck_assert(tap_rig_send(&t, i, FRAME));
			if (i < PAIR_RIG_SENDING)
				tap_rig_add(&t, i, FRAME);
		}
		pair_rig_ring(&t.pairs, 0);
		rig_turns(&t.pairs.rig, round % 7);
		tap_rig_close(&t);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("traffic");
	int skip = netns_enter();

	if (skip)
		return skip;
	tcase_add_loop_test(tc, packets_reach_the_guest_whole_and_in_order, 0, KINDS);
	tcase_add_loop_test(tc, packets_leave_the_guest_whole_and_in_order, 0, KINDS);
	tcase_add_loop_test(tc, both_ways_at_once, 0, KINDS);
	tcase_add_test(tc, a_packet_to_the_guest_is_a_tenth_of_a_system_call);
	tcase_add_test(tc, a_packet_from_the_guest_is_a_tenth_of_a_system_call);
	tcase_add_test(tc, limits_count_bytes_of_packets);
	tcase_add_test(tc, nothing_happens_when_nothing_comes);
	tcase_add_loop_test(tc, g67_a_guest_without_buffers_is_flooded_in_vain, 0, KINDS);
	tcase_add_test(tc, packets_longer_than_a_buffer_get_several);
	tcase_add_test(tc, what_finds_no_room_is_not_lost);
	tcase_add_test(tc, what_finds_no_room_ends_with_the_pair);
	tcase_add_test(tc, what_never_fits_is_dropped_and_counted);
	tcase_add_test(tc, what_is_longer_than_the_mtu_was_comes_whole_or_is_counted);
	tcase_add_test(tc, jumbo_frames_go_both_ways);
	tcase_add_loop_test(tc, a_reset_in_the_middle_loses_no_more_than_packets, 0, KINDS);
	return test_run("tap", tc);
}
