/* SPDX-License-Identifier: Apache-2.0 */
/* vdb/guest.h by itself: finding a ring on a page, hosts of other versions, ringing. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/guest.h>

#define PAGE 4096

static union {
	struct vdb_page head;
	uint8_t bytes[PAGE];
} page;
static struct vdb_page_ring desc;
static struct vdb_guest guest;
static uint32_t bell;
static _Alignas(64) uint8_t memory[VDB_RING_BYTES(8, 16)];

static struct vdb_page_ring *ring_at(uint32_t offset)
{
	return (struct vdb_page_ring *)(void *)(page.bytes + offset);
}

static void setup(void)
{
	memset(&page, 0, sizeof(page));
	memset(memory, 0, sizeof(memory));
	page.head.magic = VDB_ABI_MAGIC;
	page.head.version = VDB_ABI_VERSION;
	page.head.ring_count = 63;
	page.head.ring_offset = 64;
	page.head.ring_stride = 64;
	for (uint32_t i = 0; i < 63; i++)
		*ring_at(64 + 64 * i) = (struct vdb_page_ring){.ring_gpa = 0x1000 * i,
		                                               .ring_bytes = sizeof(memory),
		                                               .bell_value = 5,
		                                               .sq_entries = 8,
		                                               .cq_entries = 16,
		                                               .ring_id = i};
	bell = 0;
}

START_TEST(finds_every_ring)
{
	uint32_t i;

	for (i = 0; i < 63; i++) {
		ck_assert_int_eq(vdb_guest_find(&page, i, &desc), 0);
		ck_assert_int_eq(memcmp(&desc, ring_at(64 + 64 * i), sizeof(desc)), 0);
	}
	ck_assert_int_eq(vdb_guest_find(&page, 63, &desc), VDB_GUEST_ENORING);
	ck_assert_int_eq(vdb_guest_find(&page, UINT32_MAX, &desc), VDB_GUEST_ENORING);
}
END_TEST

START_TEST(other_pages)
{
	memset(&desc, 0x5a, sizeof(desc));
	page.head.magic ^= 1;
	ck_assert_int_eq(vdb_guest_find(&page, 0, &desc), VDB_GUEST_EMAGIC);
	page.head.magic ^= 1;
	page.head.version += 1u << 16;
	ck_assert_int_eq(vdb_guest_find(&page, 0, &desc), VDB_GUEST_EVERSION);
	page.head.version = 0;
	ck_assert_int_eq(vdb_guest_find(&page, 0, &desc), VDB_GUEST_EVERSION);
	ck_assert_uint_eq(desc.ring_id, 0x5a5a5a5a); /* untouched */
}
END_TEST

/* A newer host: another minor version, more words in the page's head and for each ring. */
START_TEST(newer_host)
{
	page.head.version++;
	page.head.ring_count = 20;
	page.head.ring_offset = 128;
	page.head.ring_stride = 192;
	memset(page.bytes + 64, 0xff, sizeof(page) - 64);
	*ring_at(128 + 192 * 19) = (struct vdb_page_ring){.ring_id = 77};
	ck_assert_int_eq(vdb_guest_find(&page, 19, &desc), 0);
	ck_assert_uint_eq(desc.ring_id, 77);
}
END_TEST

START_TEST(layouts_that_cannot_be)
{
	static const uint32_t bad[][2] = {/* offset, stride */ {64, 0},
	                                  {64, 56},
	                                  {64, 68},
	                                  {68, 64},
	                                  {4040, 64},
	                                  {64, 4096},
	                                  {UINT32_MAX - 7, 64},
	                                  {64, UINT32_MAX - 7}};

	page.head.ring_count = UINT32_MAX;
	page.head.ring_offset = bad[_i][0];
	page.head.ring_stride = bad[_i][1];
	ck_assert_int_eq(vdb_guest_find(&page, 1, &desc), VDB_GUEST_ELAYOUT);
	ck_assert_int_eq(vdb_guest_find(&page, UINT32_MAX - 1, &desc), VDB_GUEST_ELAYOUT);
}
END_TEST

START_TEST(init)
{
	ck_assert_int_eq(vdb_guest_find(&page, 3, &desc), 0);
	ck_assert_int_eq(vdb_guest_init(&guest, &desc, memory, &bell), 0);
	ck_assert_ptr_eq(guest.sq, memory + 512);
	ck_assert_ptr_eq(guest.cq, memory + 512 + 8 * 32);
	ck_assert_uint_eq(memory[0], 0);
	ck_assert_int_eq(vdb_guest_poll_ready(&guest), 0);
	ck_assert_ptr_null(vdb_guest_sqe(&guest));
	ck_assert_uint_eq(vdb_guest_outstanding(&guest), 0);
	desc.bell_kind = VDB_BELL_PIO;
	desc.bell_addr = 0x510;
	ck_assert_int_eq(vdb_guest_init(&guest, &desc, memory, NULL), 0);
}
END_TEST

START_TEST(init_refuses)
{
	ck_assert_int_eq(vdb_guest_find(&page, 3, &desc), 0);
	switch (_i) {
	case 0:
		desc.sq_entries = 0;
		break;
	case 1:
		desc.sq_entries = 7;
		break;
	case 2:
		desc.cq_entries = 4;
		break;
	case 3:
		desc.cq_entries = 2 * VDB_RING_MAX_ENTRIES;
		break;
	case 4:
		desc.ring_bytes--;
		break;
	case 5:
		desc.bell_kind = VDB_BELL_PIO;
		desc.bell_addr = 0x10000;
		break;
	default:
		desc.bell_kind = 2;
		break;
	}
	ck_assert_int_eq(vdb_guest_init(&guest, &desc, memory, &bell), VDB_GUEST_ELAYOUT);
}
END_TEST

START_TEST(bell_must_be_mapped)
{
	ck_assert_int_eq(vdb_guest_find(&page, 3, &desc), 0);
	ck_assert_int_eq(vdb_guest_init(&guest, &desc, memory, NULL), VDB_GUEST_ELAYOUT);
}
END_TEST

/* The bell itself: one 32-bit store of the value that the page names. */
START_TEST(rings)
{
	struct vdb_ring *ring = (struct vdb_ring *)(void *)memory;

	ck_assert_int_eq(vdb_guest_find(&page, 3, &desc), 0);
	ck_assert_int_eq(vdb_guest_init(&guest, &desc, memory, &bell), 0);
	vdb_guest_reset(&guest, VDB_F_SG);
	ck_assert_uint_eq(bell, 5);
	ck_assert_uint_eq(guest.rung, 1);
	ck_assert_uint_eq(ring->driver.reset, 1);
	ck_assert_uint_eq(ring->driver.ready, 0);
	bell = 0;
	vdb_guest_ring_bell(&guest);
	ck_assert_uint_eq(bell, 5);
}
END_TEST

START_TEST(state_and_reason)
{
	struct vdb_ring *ring = (struct vdb_ring *)(void *)memory;

	ck_assert_int_eq(vdb_guest_find(&page, 0, &desc), 0);
	ck_assert_int_eq(vdb_guest_init(&guest, &desc, memory, &bell), 0);
	vdb_guest_reset(&guest, 0);
	ring->device.generation = ring->driver.reset;
	ring->device.state = VDB_RING_BROKEN;
	ring->device.reason = VDB_REASON_CQ_FULL;
	ck_assert_uint_eq(vdb_guest_state(&guest), VDB_RING_BROKEN);
	ck_assert_uint_eq(vdb_guest_reason(&guest), VDB_REASON_CQ_FULL);
	ck_assert_int_eq(vdb_guest_poll_ready(&guest), -(int)VDB_REASON_CQ_FULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guest");
	TCase *tc = tcase_create("guest");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, finds_every_ring);
	tcase_add_test(tc, other_pages);
	tcase_add_test(tc, newer_host);
	tcase_add_loop_test(tc, layouts_that_cannot_be, 0, 8);
	tcase_add_test(tc, init);
	tcase_add_loop_test(tc, init_refuses, 0, 7);
	tcase_add_test(tc, bell_must_be_mapped);
	tcase_add_test(tc, rings);
	tcase_add_test(tc, state_and_reason);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
