/* SPDX-License-Identifier: Apache-2.0 */
/* Credit of vsock connections: counters that run over, and a guest that says what it likes (HOSTILE G70). */
#include "suite.h"
#include "virtio/vsock_credit.h"

START_TEST(g70_counters_run_over)
{
	struct vdb__vsock_credit c = {.sent = UINT32_MAX - 9, .peer_taken = UINT32_MAX - 9};

	ck_assert(vdb__vsock_peer_says(&c, 100, UINT32_MAX - 9));
	ck_assert_uint_eq(vdb__vsock_room(&c), 100);
	c.sent += 60; /* over the end */
	ck_assert_uint_eq(vdb__vsock_room(&c), 40);
	ck_assert(vdb__vsock_peer_says(&c, 100, 20));
	ck_assert_uint_eq(vdb__vsock_room(&c), 70);
	ck_assert(!vdb__vsock_peer_says(&c, 100, 51));
	ck_assert_uint_eq(vdb__vsock_room(&c), 70);
	ck_assert(vdb__vsock_peer_says(&c, 100, 50));
	ck_assert_uint_eq(vdb__vsock_room(&c), 100);
}
END_TEST

START_TEST(g70_late_counts_change_nothing)
{
	struct vdb__vsock_credit c = {.sent = 1000, .peer_taken = 900};

	ck_assert(vdb__vsock_peer_says(&c, 200, 899));
	ck_assert(vdb__vsock_peer_says(&c, 200, 0));
	ck_assert_uint_eq(c.peer_taken, 900);
	ck_assert_uint_eq(vdb__vsock_room(&c), 100);
}
END_TEST

/* However much it offers, what is under way stays known from what is late. */
START_TEST(g70_more_than_can_be)
{
	struct vdb__vsock_credit c = {0};

	ck_assert(vdb__vsock_peer_says(&c, UINT32_MAX, 0));
	ck_assert_uint_eq(vdb__vsock_room(&c), VDB__VSOCK_MOST);
	c.sent = VDB__VSOCK_MOST;
	ck_assert_uint_eq(vdb__vsock_room(&c), 0);
	ck_assert(vdb__vsock_peer_says(&c, UINT32_MAX, VDB__VSOCK_MOST));
	ck_assert_uint_eq(vdb__vsock_room(&c), VDB__VSOCK_MOST);
}
END_TEST

START_TEST(g70_offers_shrink)
{
	struct vdb__vsock_credit c = {.sent = 50};

	for (uint32_t alloc = 0; alloc <= 50; alloc++) {
		ck_assert(vdb__vsock_peer_says(&c, alloc, 0));
		ck_assert_uint_eq(vdb__vsock_room(&c), 0);
	}
	ck_assert(vdb__vsock_peer_says(&c, 51, 0));
	ck_assert_uint_eq(vdb__vsock_room(&c), 1);
}
END_TEST

START_TEST(our_own_window)
{
	struct vdb__vsock_credit c = {
	        .window = 100, .got = UINT32_MAX, .forwarded = UINT32_MAX, .told = UINT32_MAX};

	ck_assert_uint_eq(vdb__vsock_window(&c), 100);
	c.got += 100;
	ck_assert_uint_eq(vdb__vsock_window(&c), 0);
	c.forwarded += 49;
	ck_assert_uint_eq(vdb__vsock_window(&c), 49);
	ck_assert(!vdb__vsock_must_tell(&c));
	c.forwarded++;
	ck_assert(vdb__vsock_must_tell(&c));
}
END_TEST

SUITE("vsock credit", g70_counters_run_over, g70_late_counts_change_nothing, g70_more_than_can_be,
      g70_offers_shrink, our_own_window)
