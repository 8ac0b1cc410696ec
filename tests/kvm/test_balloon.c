/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: balloon */
/*
 * A bare-metal guest gives pages of its memory back, and reports others free: the host has them again, and
 * the guest finds zeroes where it takes some back. Memory that a loop has registered keeps its pages.
 */
#include <linux/virtio_balloon.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/mman.h>

#include "../kvm/guest/balloon_abi.h"
#include "engine.h"
#include "guest_image.h"
#include "run.h"

#define BASE 0xe0000000u
#define GSI 5u
#define GPA 0x1000000u
#define PAGES 4096u
#define TARGET 1000u /* pages; not a multiple of what a list takes */
#define BIT(feature) (1ull << (feature))
#define ALL \
	(BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_REPORTING) | BIT(VIRTIO_BALLOON_F_PAGE_POISON))

GUEST_IMAGE(balloon);

static struct kvm_fixture f;
static struct vdb_loop *loop;
static struct vdb_virtio *device;
static struct vdb_virtio_mmio *mmio;
static struct vdb_mem_pin *pin;
static struct iovec memory;

static void open_all(uint32_t loop_flags, const struct vdb_region_config *like)
{
	const struct vdb_virtio_mmio_config config = {.size = sizeof(config), .gsi = GSI, .base = BASE};
	struct vdb_loop_config loop_config = test_loop_config();
	struct vdb_region_config region = *like;
	struct vdb_virtio_config at = {.size = sizeof(at)};
	const struct vdb_balloon_config balloon = {.size = sizeof(balloon),
	                                           .at = &at,
	                                           .flags = VDB_BALLOON_REPORTING,
	                                           .target = TARGET * VDB_PAGE_SIZE,
	                                           .stats_ms = 1};

	kvm_fixture_make(&f, NULL, 1);
	region.size = sizeof(region);
	region.gpa = GPA;
	region.len = PAGES * VDB_PAGE_SIZE;
	must(vdb_mem_add(f.mem, &region));
	must(vdb_mem_pin(f.mem, GPA, region.len, 0, &memory, 1, &pin));
	/* Or a look at one page would bring many. */
	must(madvise(memory.iov_base, memory.iov_len, MADV_NOHUGEPAGE));
	loop_config.flags |= loop_flags;
	must(vdb_loop_create(&loop_config, &loop));
	must(vdb_loop_start(loop, -1, NULL));
	at.mem = f.mem;
	at.loop = loop;
	must(vdb_balloon_create(&balloon, &device));
	must(vdb_virtio_mmio_create(f.vm, device, &config, &mmio));
}

static void close_all(void)
{
	uint32_t gone = 0;

	vdb_virtio_mmio_destroy(mmio);
	vdb_virtio_destroy(device, count_done, &gone);
	wait_for32(&gone, 1);
	must(vdb_loop_join(loop));
	must(vdb_loop_destroy(loop));
	vdb_mem_unpin(pin);
	kvm_fixture_end(&f);
}

static const struct balloon_params *params(void)
{
	return (const struct balloon_params *)(const void *)(f.ram + BALLOON_PARAMS);
}

/* What the guest ends with. */
static uint32_t drive(uint64_t features)
{
	*(struct balloon_params *)(void *)(f.ram + BALLOON_PARAMS) = (struct balloon_params){
	        .features = features | ALL, .page = GPA / VDB_PAGE_SIZE, .pages = PAGES};
	LOAD_IMAGE(&f, balloon, false, BASE);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.reports, 1);
	ck_assert_uint_eq(params()->target, TARGET);
	return f.report[0];
}

static uint64_t resident(uint64_t page, uint64_t n)
{
	static unsigned char in[PAGES];
	uint64_t sum = 0;

	must(mincore((char *)memory.iov_base + page * VDB_PAGE_SIZE, n * VDB_PAGE_SIZE, in));
	for (uint64_t i = 0; i < n; i++)
		sum += in[i] & 1;
	return sum;
}

static struct vdb_balloon_info info(void)
{
	struct vdb_balloon_info own = {.size = sizeof(own)};

	must(vdb_balloon_query(device, &own));
	return own;
}

static void check_said(void)
{
	struct vdb_balloon_stats stats = {.size = sizeof(stats)};

	must(vdb_balloon_stats(device, &stats));
	ck_assert_uint_eq(stats.updates, BALLOON_ROUNDS);
	ck_assert_uint_eq(stats.has, 0); /* the guest has reset the device */
}

static const uint64_t rings[] = {0, BIT(VIRTIO_RING_F_EVENT_IDX), BIT(VIRTIO_F_RING_PACKED)};

START_TEST(memory_goes_back_to_the_host)
{
	const uint64_t back = TARGET / 4, reported = PAGES / 2 - 1;

	open_all(0,
	         &(struct vdb_region_config){.backing = (uint32_t)_i % 2, .flags = VDB_REGION_DISCARDABLE});
	ck_assert_uint_eq(drive(rings[_i / 2]), BALLOON_OK);
	ck_assert_uint_eq(info().inflated, TARGET * VDB_PAGE_SIZE);
	ck_assert_uint_eq(info().deflated, back * VDB_PAGE_SIZE);
	ck_assert_uint_eq(info().reported, reported * VDB_PAGE_SIZE);
	ck_assert_uint_eq(info().discarded, (TARGET + reported) * VDB_PAGE_SIZE);
	ck_assert_uint_eq(info().kept + info().failed + info().wrong, 0);
	check_said();
	/* What the guest has given and not touched since, is not there. */
	ck_assert_uint_eq(resident(0, TARGET - back), 0);
	ck_assert_uint_eq(resident(TARGET, PAGES / 2 - TARGET), PAGES / 2 - TARGET);
	ck_assert_uint_eq(resident(PAGES / 2 + 16, PAGES / 4 - 16), 0);
	ck_assert_uint_eq(resident(PAGES / 4 * 3 + 1, PAGES / 4 - 1), 0);
	close_all();
}
END_TEST

/* An io_uring would go on with the old pages: the guest is served, and keeps them. */
START_TEST(registered_memory_keeps_its_pages)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	open_all(VDB_LOOP_REGISTER_MEMORY, &(struct vdb_region_config){.flags = 0});
	ck_assert_uint_eq(drive(0), BALLOON_NOT_ZERO); /* as it was before */
	ck_assert_uint_eq(params()->wrong, TARGET - TARGET / 4);
	ck_assert_uint_eq(info().discarded, 0);
	ck_assert_uint_eq(info().kept, TARGET * VDB_PAGE_SIZE);
	ck_assert_uint_eq(resident(0, PAGES), PAGES);
	must(vdb_loop_stats(loop, &stats));
	if (stats.features & VDB_LOOP_HAS_MEMORY)
		ck_assert_uint_ge(stats.memory + stats.memory_refused, PAGES * VDB_PAGE_SIZE);
	close_all();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("balloon");

	kvm_fixture_need();
	tcase_add_loop_test(tc, memory_goes_back_to_the_host, 0, 2 * sizeof(rings) / sizeof(rings[0]));
	tcase_add_test(tc, registered_memory_keeps_its_pages);
	return test_run_within("balloon", tc, 100);
}
