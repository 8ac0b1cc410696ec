/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: blk_mmio */
/* TIMEOUT: 300 */
/*
 * A bare-metal guest writes and reads a disk image through virtio-blk over mmio, polling and by interrupt;
 * the image has what the guest says that it wrote.
 */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "guest/blk_abi.h"
#include "guest_image.h"
#include "image.h"
#include "run.h"

#define BASE 0xe0000000u
#define GSI 5u
#define DISK (1u << 20)
#define ROUNDS 20u
#define BIT(feature) (1ull << (feature))
#define BLK_FEATURES                                                                               \
	(BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_WRITE_ZEROES) | \
	 BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_SIZE_MAX))

GUEST_IMAGE(blk_mmio);

static struct kvm_fixture f;
static struct vdb_loop *loop;
static struct vdb_virtio *device;
static struct vdb_virtio_mmio *mmio;
static char path[64];
static uint8_t want[DISK];

static void make_disk(uint32_t flags)
{
	const struct vdb_file_config file = {
	        .size = sizeof(file), .path = path, .flags = flags | VDB_FILE_LOCK};
	const struct vdb_virtio_config at = {.size = sizeof(at), .mem = f.mem, .loop = loop};
	const struct vdb_virtio_mmio_config config = {.size = sizeof(config), .gsi = GSI, .base = BASE};
	struct vdb_blk_config blk = {.size = sizeof(blk), .at = &at, .serial = "bare metal"};

	must(vdb_backend_file(&file, &blk.backend));
	must(vdb_blk_create(&blk, &device));
	vdb_backend_destroy(blk.backend);
	must(vdb_virtio_mmio_create(f.vm, device, &config, &mmio));
}

static void setup(void)
{
	struct vdb_loop_config config = test_loop_config();

	image_make(path, DISK, 4);
	image_pattern(want, DISK, 4);
	kvm_fixture_make(&f, NULL, 1);
	must(vdb_loop_create(&config, &loop));
	must(vdb_loop_start(loop, -1, NULL));
}

static void teardown(void)
{
	uint32_t gone = 0;

	vdb_virtio_mmio_destroy(mmio);
	vdb_virtio_destroy(device, count_done, &gone);
	wait_for32(&gone, 1);
	must(vdb_loop_join(loop));
	must(vdb_loop_destroy(loop));
	kvm_fixture_end(&f);
	unlink(path);
}

/* As the guest goes about it: blk_place(). */
static void expect_written(uint32_t rounds)
{
	const uint64_t pieces = DISK / BLK_PIECE;

	for (uint32_t round = 0; round < rounds; round++) {
		for (uint32_t i = 0; i < BLK_SLOTS; i++) {
			uint64_t piece = (round + i * (pieces / BLK_SLOTS)) % pieces;

			for (uint32_t w = 0; w < BLK_PIECE / 8; w++) {
				uint64_t word = blk_word(piece * (BLK_PIECE / 512), w);

				memcpy(want + piece * BLK_PIECE + w * 8, &word, 8);
			}
		}
	}
	memset(want + DISK - BLK_PIECE, 0, BLK_PIECE);
	image_check(path, 0, want, DISK);
}

static void drive(uint64_t features, int irq)
{
	struct blk_params *params = (struct blk_params *)(void *)(f.ram + BLK_PARAMS);
	struct vdb_virtio_info info = {.size = sizeof(info)};

	params->features = features | BLK_FEATURES;
	params->irq = (uint32_t)irq;
	params->gsi = GSI;
	params->rounds = ROUNDS;
	params->size = 64;
	LOAD_IMAGE(&f, blk_mmio, irq, BASE);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.reports, 1);
	ck_assert_msg(f.report[0] == BLK_OK, "the guest reports %#x after %llu requests, with %#x",
	              f.report[0], (unsigned long long)params->done, params->wrong);
	ck_assert_uint_eq(params->negotiated, features | BLK_FEATURES | BIT(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(params->capacity, DISK / 512);
	ck_assert_uint_eq(params->done, (2 * params->rounds - 1) * BLK_SLOTS + 3);
	ck_assert_str_eq(params->id, "bare metal");
	ck_assert_int_eq(params->irqs > 0, irq);
	must(vdb_virtio_query(device, &info));
	ck_assert_uint_eq(info.status, 0);
	ck_assert_uint_eq(info.broken, 0);
	expect_written(params->rounds);
}

static const uint64_t rings[] = {
        0,
        BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
        BIT(VIRTIO_F_RING_PACKED),
        BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
};
#define RINGS ((int)(sizeof(rings) / sizeof(rings[0])))

START_TEST(polling)
{
	make_disk(0);
	drive(rings[_i], 0);
}
END_TEST

START_TEST(by_interrupt)
{
	make_disk(0);
	drive(rings[_i], 1);
}
END_TEST

START_TEST(without_the_page_cache)
{
	make_disk(VDB_FILE_DIRECT);
	drive(rings[RINGS - 1], 1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk_mmio");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, polling, 0, RINGS);
	tcase_add_loop_test(tc, by_interrupt, 0, RINGS);
	tcase_add_test(tc, without_the_page_cache);
	return test_run_within("blk_mmio", tc, 120);
}
