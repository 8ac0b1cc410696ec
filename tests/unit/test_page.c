/* SPDX-License-Identifier: Apache-2.0 */
/* What a doorbell page says depends on its configuration alone. */
#include <check.h>
#include <string.h>

#include "kvm/page.h"
#include "suite.h"

static const struct vdb__bell bell = {.kind = VDB_BELL_PIO, .addr = 0x6004};

START_TEST(the_page_describes_each_ring)
{
	const struct vdb_doorbell_ring rings[2] = {
	        {.ring_gpa = 0x10000,
	         .sq_entries = 64,
	         .cq_entries = 128,
	         .features = VDB_F_SG,
	         .irq = 5,
	         .ring_id = 77,
	         .match = 1},
	        {.ring_gpa = 0x20000, .sq_entries = 1, .cq_entries = 1, .match = 0xffffffff},
	};
	unsigned char page[VDB_PAGE_SIZE];
	struct vdb_page header;
	struct vdb_page_ring ring;

	vdb__page_build(page, 0xd0000000, &bell, rings, 2);
	memcpy(&header, page, sizeof(header));
	ck_assert_uint_eq(header.magic, VDB_ABI_MAGIC);
	ck_assert_uint_eq(header.version, VDB_ABI_VERSION);
	ck_assert_uint_eq(header.ring_count, 2);
	ck_assert_uint_eq(header.page_gpa, 0xd0000000);
	ck_assert_uint_ge(header.ring_stride, sizeof(ring));
	memcpy(&ring, page + header.ring_offset, sizeof(ring));
	ck_assert_uint_eq(ring.ring_gpa, 0x10000);
	ck_assert_uint_eq(ring.ring_bytes, VDB_RING_BYTES(64, 128));
	ck_assert_uint_eq(ring.features, VDB_F_SG);
	ck_assert_uint_eq(ring.bell_addr, 0x6004);
	ck_assert_uint_eq(ring.bell_kind, VDB_BELL_PIO);
	ck_assert_uint_eq(ring.bell_value, 1);
	ck_assert_uint_eq(ring.sq_entries, 64);
	ck_assert_uint_eq(ring.cq_entries, 128);
	ck_assert_uint_eq(ring.irq, 5);
	ck_assert_uint_eq(ring.ring_id, 77);
	memcpy(&ring, page + header.ring_offset + header.ring_stride, sizeof(ring));
	ck_assert_uint_eq(ring.ring_gpa, 0x20000);
	ck_assert_uint_eq(ring.bell_value, 0xffffffff);
}
END_TEST

START_TEST(the_same_configuration_gives_the_same_bytes)
{
	struct vdb_doorbell_ring ring = {.ring_gpa = 0x10000, .sq_entries = 8, .cq_entries = 8};
	unsigned char a[VDB_PAGE_SIZE], b[VDB_PAGE_SIZE];

	memset(a, 0x11, sizeof(a));
	memset(b, 0x22, sizeof(b));
	vdb__page_build(a, 0x1000, &bell, &ring, 1);
	vdb__page_build(b, 0x1000, &bell, &ring, 1);
	ck_assert_mem_eq(a, b, sizeof(a));
	ring.reserved = 7; /* says nothing to the guest */
	vdb__page_build(b, 0x1000, &bell, &ring, 1);
	ck_assert_mem_eq(a, b, sizeof(a));
}
END_TEST

START_TEST(the_most_rings_fill_the_page_and_no_more)
{
	struct vdb_doorbell_ring rings[VDB_DOORBELL_MAX_RINGS];
	unsigned char page[VDB_PAGE_SIZE + 64];
	struct vdb_page_ring last;

	for (uint32_t i = 0; i < VDB_DOORBELL_MAX_RINGS; i++)
		rings[i] = (struct vdb_doorbell_ring){
		        .ring_gpa = i * 0x10000, .sq_entries = 8, .cq_entries = 8, .ring_id = i, .match = i};
	ck_assert_int_eq(vdb__rings_check(rings, VDB_DOORBELL_MAX_RINGS, 1), 0);
	memset(page, 0xee, sizeof(page));
	vdb__page_build(page, 0, &bell, rings, VDB_DOORBELL_MAX_RINGS);
	memcpy(&last, page + VDB_PAGE_SIZE - sizeof(last), sizeof(last));
	ck_assert_uint_eq(last.ring_id, VDB_DOORBELL_MAX_RINGS - 1);
	ck_assert_uint_eq(page[VDB_PAGE_SIZE], 0xee);
}
END_TEST

SUITE("page", the_page_describes_each_ring, the_same_configuration_gives_the_same_bytes,
      the_most_rings_fill_the_page_and_no_more)
