/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_machine.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kvm/guest/blk_abi.h"
#include "arena.h"
#include "engine.h"
#include "image.h"

#define SEED 4
#define ROUNDS 20u
#define BIT(feature) (1ull << (feature))
#define BLK_FEATURES                                                                               \
	(BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_WRITE_ZEROES) | \
	 BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_SIZE_MAX))

const uint64_t blk_machine_rings[BLK_RINGS_TRIED] = {
        0,
        BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
        BIT(VIRTIO_F_IN_ORDER) | BIT(VIRTIO_RING_F_EVENT_IDX),
        BIT(VIRTIO_F_RING_PACKED),
        BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER) | BIT(VIRTIO_RING_F_EVENT_IDX),
        BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
};

static struct blk_params *params_of(const struct blk_machine *m)
{
	return (struct blk_params *)(void *)(m->f.ram + BLK_PARAMS);
}

void blk_machine_open(struct blk_machine *m)
{
	struct vdb_loop_config config = test_loop_config();

	memset(m, 0, sizeof(*m));
	image_make(m->path, BLK_DISK, SEED);
	kvm_fixture_make(&m->f, NULL, 1);
	must(vdb_loop_create(&config, &m->loop));
	must(vdb_loop_start(m->loop, -1, NULL));
	arena_begin_case(m->loop);
}

void blk_machine_close(struct blk_machine *m)
{
	uint32_t gone = 0;

	vdb_virtio_destroy(m->device, count_done, &gone);
	wait_for32(&gone, 1);
	arena_end_case(m->loop);
	must(vdb_loop_join(m->loop));
	must(vdb_loop_destroy(m->loop));
	kvm_fixture_end(&m->f);
	unlink(m->path);
}

void blk_machine_plug(struct blk_machine *m, uint32_t flags)
{
	const struct vdb_file_config file = {
	        .size = sizeof(file), .path = m->path, .flags = flags | VDB_FILE_LOCK};
	const struct vdb_virtio_config at = {
	        .size = sizeof(at), .flags = VDB_VIRTIO_IN_ORDER, .mem = m->f.mem, .loop = m->loop};
	struct vdb_blk_config blk = {.size = sizeof(blk), .at = &at, .serial = "bare metal"};

	must(vdb_backend_file(&file, &blk.backend));
	must(vdb_blk_create(&blk, &m->device));
	vdb_backend_destroy(blk.backend);
}

void blk_machine_ask(struct blk_machine *m, uint64_t features, bool irq, uint32_t gsi)
{
	struct blk_params *params = params_of(m);

	m->features = features | BLK_FEATURES;
	m->irq = irq;
	*params = (struct blk_params){
	        .features = m->features, .irq = irq, .gsi = gsi, .rounds = ROUNDS, .size = 64};
	if (m->open_end)
		params->rounds = UINT32_MAX;
}

void blk_machine_stop(struct blk_machine *m)
{
	__atomic_store_n(&params_of(m)->rounds, 1u, __ATOMIC_RELEASE);
}

/* Of an open end: as many as the requests that came back, but for the last three, speak of. */
static uint32_t rounds_of(const struct blk_machine *m)
{
	return m->open_end ? (uint32_t)((params_of(m)->done - 3) / BLK_SLOTS + 1) / 2 : ROUNDS;
}

/* As the guest goes about it: blk_place(). */
static void expect_written(const struct blk_machine *m)
{
	const uint64_t pieces = BLK_DISK / BLK_PIECE;
	uint8_t *want = malloc(BLK_DISK);

	ck_assert_ptr_nonnull(want);
	image_pattern(want, BLK_DISK, SEED);
	for (uint32_t i = 0; i < rounds_of(m) * BLK_SLOTS; i++) {
		uint64_t piece = (i / BLK_SLOTS + i % BLK_SLOTS * (pieces / BLK_SLOTS)) % pieces;

		for (uint32_t w = 0; w < BLK_PIECE / 8; w++) {
			uint64_t word = blk_word(piece * (BLK_PIECE / 512), w);

			memcpy(want + piece * BLK_PIECE + w * 8, &word, 8);
		}
	}
	memset(want + BLK_DISK - BLK_PIECE, 0, BLK_PIECE);
	image_check(m->path, 0, want, BLK_DISK);
	free(want);
}

void blk_machine_run(struct blk_machine *m)
{
	const struct blk_params *params = params_of(m);
	struct vdb_virtio_info info = {.size = sizeof(info)};

	kvm_fixture_run(&m->f, 0);
	ck_assert_uint_eq(m->f.reports, 1);
	ck_assert_msg(m->f.report[0] == BLK_OK, "the guest reports %#x after %llu requests, with %#x",
	              m->f.report[0], (unsigned long long)params->done, params->wrong);
	ck_assert_uint_eq(params->negotiated, m->features | BIT(VIRTIO_F_VERSION_1));
	ck_assert_uint_eq(params->capacity, BLK_DISK / 512);
	ck_assert_uint_eq(params->done, (2ull * rounds_of(m) - 1) * BLK_SLOTS + 3);
	ck_assert_str_eq(params->id, "bare metal");
	ck_assert_uint_eq(params->irqs > 0, m->irq);
	must(vdb_virtio_query(m->device, &info));
	ck_assert_uint_eq(info.status, 0);
	ck_assert_uint_eq(info.broken, 0);
	expect_written(m);
}
