/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Free page reporting: pages go, unless they have to keep a pattern, and by whichever number the queue has.
 */
#include <string.h>

#include "balloon_rig.h"
#include "run.h"

#define V1 VRIG_V1
#define FEATURE(name) VRIG_BIT(VIRTIO_BALLOON_F_##name)

static struct balloon_rig b;

static void setup(void)
{
	balloon_rig_open(
	        &b, &(struct vdb_balloon_config){.flags = VDB_BALLOON_REPORTING},
	        &(struct vdb_region_config){.flags = VDB_REGION_DISCARDABLE, .len = UINT64_C(10) << 20});
}

static void teardown(void)
{
	balloon_rig_close(&b);
}

static struct virtq_buf buf(uint64_t offset, uint32_t len, bool write)
{
	return (struct virtq_buf){BALLOON_GPA + offset, len, write};
}

static void expect(uint64_t discarded, uint64_t kept, uint64_t wrong)
{
	struct vdb_balloon_info info = balloon_rig_info(&b);

	ck_assert_uint_eq(info.discarded, discarded);
	ck_assert_uint_eq(info.kept, kept);
	ck_assert_uint_eq(info.reported, discarded + kept);
	ck_assert_uint_eq(info.wrong, wrong);
}

START_TEST(reported_pages_go)
{
	const struct virtq_buf bufs[] = {buf(0x1000, 0x4000, true), buf(0x200000, 0x400000, true),
	                                 buf(0x9ff000, 0x1000, true)};
	const uint64_t sum = 0x4000 + 0x400000 + 0x1000;

	virtio_rig_up(&b.rig, V1 | FEATURE(STATS_VQ) | FEATURE(REPORTING), 4);
	balloon_rig_send(&b, BALLOON_REPORT, bufs, 3);
	expect(sum, 0, 0);
	ck_assert_uint_eq(balloon_rig_resident(&b, 0, b.len / VDB_PAGE_SIZE), (b.len - sum) / VDB_PAGE_SIZE);
	ck_assert(balloon_rig_all(&b, 0, 1, BALLOON_FILL));
	ck_assert(balloon_rig_all(&b, 1, 4, 0));
	ck_assert(balloon_rig_all(&b, 5, 507, BALLOON_FILL));
	ck_assert(balloon_rig_all(&b, 512, 1024, 0));
	ck_assert(balloon_rig_all(&b, 1536, 1023, BALLOON_FILL));
	ck_assert(balloon_rig_all(&b, 2559, 1, 0));
}
END_TEST

/* Linux counts only the queues that it uses. */
START_TEST(without_statistics_the_queue_has_their_number)
{
	const struct virtq_buf bufs[] = {buf(0, 0x10000, true)};

	virtio_rig_up(&b.rig, V1 | FEATURE(REPORTING), 3);
	balloon_rig_send(&b, BALLOON_STATS, bufs, 1);
	expect(0x10000, 0, 0);
}
END_TEST

static void poison(uint32_t value, uint64_t features)
{
	virtio_rig_negotiate(&b.rig, V1 | FEATURE(STATS_VQ) | features);
	vdb__virtio_config_write(b.rig.device, 12, &value, sizeof(value));
	for (uint32_t i = 0; i < 4; i++)
		virtio_rig_queue(&b.rig, i, 16);
	virtio_rig_ok(&b.rig);
}

START_TEST(pages_with_a_pattern_keep_it)
{
	const struct virtq_buf bufs[] = {buf(0, 0x300000, true)};

	poison(0xa5a5a5a5, FEATURE(REPORTING) | FEATURE(PAGE_POISON));
	balloon_rig_send(&b, BALLOON_REPORT, bufs, 1);
	expect(0, 0x300000, 0);
	ck_assert(balloon_rig_all(&b, 0, b.len / VDB_PAGE_SIZE, BALLOON_FILL));
}
END_TEST

START_TEST(a_pattern_of_zeroes_is_what_comes_back)
{
	const struct virtq_buf bufs[] = {buf(0, 0x300000, true)};

	poison(0, FEATURE(REPORTING) | FEATURE(PAGE_POISON));
	balloon_rig_send(&b, BALLOON_REPORT, bufs, 1);
	expect(0x300000, 0, 0);
	ck_assert(balloon_rig_all(&b, 0, 768, 0));
}
END_TEST

START_TEST(a_pattern_that_was_not_agreed_on_is_none)
{
	const struct virtq_buf bufs[] = {buf(0, 0x1000, true)};

	poison(0xa5a5a5a5, FEATURE(REPORTING));
	balloon_rig_send(&b, BALLOON_REPORT, bufs, 1);
	expect(0x1000, 0, 0);
}
END_TEST

/* G74: what is not a whole page stays, what is no memory fails, and takes nothing with it. */
START_TEST(g74_reports_of_any_shape)
{
	struct virtq_buf odd[] = {buf(0x1800, 0x1000, true), buf(0x4001, 0xfff, true),
	                          buf(0x8fff, 0x2001, true)};
	struct virtq_buf wild[] = {buf(0, 0x1000, true), buf(UINT64_C(10) << 20, 0x1000, true)};
	struct virtq_buf read[] = {buf(0, 0x1000, false), buf(0x1000, 0x1000, true)};

	virtio_rig_up(&b.rig, V1 | FEATURE(STATS_VQ) | FEATURE(REPORTING), 4);
	balloon_rig_send(&b, BALLOON_REPORT, odd, 3);
	expect(0x2000, 0x1000 + 0xfff + 1, 0);
	ck_assert(balloon_rig_all(&b, 0, 9, BALLOON_FILL));
	ck_assert(balloon_rig_all(&b, 9, 2, 0));
	ck_assert(balloon_rig_all(&b, 11, 100, BALLOON_FILL));
	balloon_rig_send(&b, BALLOON_REPORT, wild, 2);
	balloon_rig_send(&b, BALLOON_REPORT, read, 2);
	balloon_rig_send(&b, BALLOON_REPORT, read, 1);
	ck_assert(balloon_rig_all(&b, 0, 9, BALLOON_FILL));
	expect(0x2000, 0x1000 + 0xfff + 1, 2);
}
END_TEST

START_TEST(reported_pages_are_dirty)
{
	static uint64_t bits[40];
	const struct virtq_buf bufs[] = {buf(0x1ff000, 0x202000, true)};

	virtio_rig_up(&b.rig, V1 | FEATURE(STATS_VQ) | FEATURE(REPORTING), 4);
	ck_assert_int_eq(vdb_mem_dirty_start(b.rig.ram.mem), 0);
	balloon_rig_send(&b, BALLOON_REPORT, bufs, 1);
	ck_assert_int_eq(vdb_mem_dirty_harvest(b.rig.ram.mem, BALLOON_GPA, b.len, bits), 0x202);
	ck_assert_uint_eq(bits[7], UINT64_C(1) << 63);
	ck_assert_uint_eq(bits[16], 1);
	vdb_mem_dirty_stop(b.rig.ram.mem);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("balloon_report");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, reported_pages_go);
	tcase_add_test(tc, without_statistics_the_queue_has_their_number);
	tcase_add_test(tc, pages_with_a_pattern_keep_it);
	tcase_add_test(tc, a_pattern_of_zeroes_is_what_comes_back);
	tcase_add_test(tc, a_pattern_that_was_not_agreed_on_is_none);
	tcase_add_test(tc, g74_reports_of_any_shape);
	tcase_add_test(tc, reported_pages_are_dirty);
	return test_run("balloon_report", tc);
}
