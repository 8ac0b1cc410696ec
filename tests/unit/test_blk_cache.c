/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/*
 * The write cache of virtio-blk: when a write is complete, and what a driver may switch. And the config
 * space around it.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <vdb/error.h>

#include "blk_rig.h"
#include "run.h"

#define SIZE 65536u
#define OPS_ALL 0x3eu
#define F(name) (1ull << VIRTIO_BLK_F_##name)

static struct blk_rig rig;
static struct rig_hold hold;

static struct vdb_backend *backend_with(uint32_t ops, uint32_t flags, uint32_t block_size)
{
	struct vdb_backend_info info = {
	        .size = sizeof(info), .flags = flags, .capacity = SIZE, .block_size = block_size, .ops = ops};
	struct vdb_backend *backend = NULL;

	memset(&hold, 0, sizeof(hold));
	ck_assert_int_eq(vdb_backend_create(&rig_hold_ops, &hold, &info, &backend), 0);
	return backend;
}

static void open_with(uint64_t features, uint32_t write_through)
{
	struct vdb_backend *backend = backend_with(OPS_ALL, 0, 0);

	blk_rig_open(&rig, backend, 0, features, &(struct vdb_blk_config){.write_through = write_through});
	vdb_backend_destroy(backend);
}

static const uint32_t wce = offsetof(struct virtio_blk_config, wce);

static uint8_t cache(void)
{
	uint8_t value = 0xee;

	vdb__blk_ops.config_read(rig.blk, wce, &value, 1);
	return value;
}

static void set_cache(uint8_t value)
{
	vdb__blk_ops.config_write(rig.blk, wce, &value, 1);
}

static void submit(uint32_t type)
{
	const struct virtq_buf bufs[] = {
	        {BLK_HEADER, 16, false},
	        {type == VIRTIO_BLK_T_OUT ? BLK_DATA : BLK_RANGE,
	         type == VIRTIO_BLK_T_OUT ? 512 : sizeof(struct virtio_blk_discard_write_zeroes), false},
	        {BLK_STATUS, 1, true},
	};

	*(uint8_t *)vrig_at(&rig.v, BLK_STATUS) = 0xee;
	blk_header(&rig, type, 0);
	blk_range(&rig, 0, 8, 0);
	ck_assert(virtq_add(&rig.v.d, bufs, 3, 1));
	(void)virtq_publish(&rig.v.d);
	RIG_UNTIL(&rig.v.rig, hold.n);
}

/* The backend has this one now, and the guest nothing. */
static void expect_op(uint8_t op)
{
	uint64_t cookie;
	uint32_t len;

	rig_turns(&rig.v.rig, 3);
	ck_assert_uint_eq(hold.n, 1);
	ck_assert_uint_eq(hold.reqs[0]->op, op);
	if (op == VDB_OP_FLUSH)
		ck_assert_uint_eq(hold.reqs[0]->len, 0);
	ck_assert(!virtq_reap(&rig.v.d, &cookie, &len));
}

static void expect_status(uint8_t status)
{
	ck_assert_uint_eq(vrig_reap(&rig.v, NULL), 1);
	ck_assert_uint_eq(*(uint8_t *)vrig_at(&rig.v, BLK_STATUS), status);
	ck_assert_uint_eq(hold.n, 0);
}

static void end(int32_t result)
{
	rig_hold_end(&hold, result, 0);
}

static void write_is_cached(void)
{
	submit(VIRTIO_BLK_T_OUT);
	expect_op(VDB_OP_WRITE);
	end(512);
	expect_status(VIRTIO_BLK_S_OK);
}

static void write_is_flushed(void)
{
	submit(VIRTIO_BLK_T_OUT);
	expect_op(VDB_OP_WRITE);
	end(512);
	expect_op(VDB_OP_FLUSH);
	end(0);
	expect_status(VIRTIO_BLK_S_OK);
}

START_TEST(the_switch_decides)
{
	open_with(BLK_ALL, 0);
	ck_assert_uint_eq(cache(), 1);
	write_is_cached();
	set_cache(0);
	ck_assert_uint_eq(cache(), 0);
	write_is_flushed();
	set_cache(7);
	ck_assert_uint_eq(cache(), 1);
	write_is_cached();
	ck_assert_uint_eq(vrig_stats(&rig.v).bytes_written, 3 * 512);
	blk_rig_close(&rig);
}
END_TEST

START_TEST(write_through_from_the_start)
{
	open_with(BLK_ALL, 1);
	ck_assert_uint_eq(cache(), 0);
	write_is_flushed();
	set_cache(1);
	write_is_cached();
	blk_rig_close(&rig);
	/* A driver that cannot switch it gets what the embedder said. */
	open_with(F(FLUSH), 1);
	write_is_flushed();
	set_cache(1);
	write_is_flushed();
	blk_rig_close(&rig);
}
END_TEST

/* 5.2.6.2: nobody will ask for it later. */
START_TEST(f19_a_driver_without_flush_needs_none)
{
	open_with(BLK_ALL & ~F(FLUSH) & ~F(CONFIG_WCE), 0);
	write_is_flushed();
	blk_rig_close(&rig);
	/* 5.2.5.2: the switch starts at 0. */
	open_with(BLK_ALL & ~F(FLUSH), 0);
	ck_assert_uint_eq(cache(), 0);
	write_is_flushed();
	blk_rig_close(&rig);
	open_with(F(FLUSH), 0);
	write_is_cached();
	blk_rig_close(&rig);
}
END_TEST

START_TEST(zeroes_are_flushed_too)
{
	open_with(BLK_ALL, 1);
	submit(VIRTIO_BLK_T_WRITE_ZEROES);
	expect_op(VDB_OP_WRITE_ZEROES);
	end(0);
	expect_op(VDB_OP_FLUSH);
	end(0);
	expect_status(VIRTIO_BLK_S_OK);
	submit(VIRTIO_BLK_T_DISCARD);
	expect_op(VDB_OP_DISCARD);
	end(0);
	expect_status(VIRTIO_BLK_S_OK);
	blk_rig_close(&rig);
}
END_TEST

START_TEST(each_failure_is_the_writes)
{
	open_with(BLK_ALL, 1);
	submit(VIRTIO_BLK_T_OUT);
	expect_op(VDB_OP_WRITE);
	end(-EIO);
	expect_status(VIRTIO_BLK_S_IOERR);
	submit(VIRTIO_BLK_T_OUT);
	end(100); /* less than all */
	expect_status(VIRTIO_BLK_S_IOERR);
	submit(VIRTIO_BLK_T_OUT);
	end(512);
	expect_op(VDB_OP_FLUSH);
	end(-EIO);
	expect_status(VIRTIO_BLK_S_IOERR);
	write_is_flushed();
	ck_assert_uint_eq(vrig_stats(&rig.v).errors, 3);
	blk_rig_close(&rig);
}
END_TEST

START_TEST(what_a_backend_cannot_is_unsupported)
{
	open_with(BLK_ALL, 0);
	submit(VIRTIO_BLK_T_DISCARD);
	expect_op(VDB_OP_DISCARD);
	end(-EOPNOTSUPP);
	expect_status(VIRTIO_BLK_S_UNSUPP);
	blk_rig_close(&rig);
}
END_TEST

/* The lane goes while the FLUSH behind a write is under way: it is waited for. */
START_TEST(destroyed_between_write_and_flush)
{
	open_with(BLK_ALL, 1);
	submit(VIRTIO_BLK_T_OUT);
	end(512);
	expect_op(VDB_OP_FLUSH);
	vdb_lane_destroy(rig.v.lane, NULL, NULL);
	rig_turns(&rig.v.rig, 4);
	end(0);
	expect_status(VIRTIO_BLK_S_OK);
	rig_turns(&rig.v.rig, 4);
	rig.v.lane = NULL;
	rig.v.gone = 1;
	blk_rig_close(&rig);
}
END_TEST

static unsigned cancels;

static void cancel_flush(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	cancels++;
	if (req->op == VDB_OP_FLUSH)
		end(-ECANCELED);
}

/* A FLUSH that is begun when the lane is going already is asked to end as any other. */
START_TEST(a_flush_that_comes_late_is_cancelled)
{
	const struct vdb_backend_info info = {.size = sizeof(info), .capacity = SIZE, .ops = OPS_ALL};
	struct vdb_backend_ops ops = rig_hold_ops;
	struct vdb_backend *backend = NULL;

	memset(&hold, 0, sizeof(hold));
	ops.cancel = cancel_flush;
	ck_assert_int_eq(vdb_backend_create(&ops, &hold, &info, &backend), 0);
	blk_rig_open(&rig, backend, 0, BLK_ALL, &(struct vdb_blk_config){.write_through = 1});
	vdb_backend_destroy(backend);
	submit(VIRTIO_BLK_T_OUT);
	expect_op(VDB_OP_WRITE);
	vdb_lane_destroy(rig.v.lane, NULL, NULL);
	rig_turns(&rig.v.rig, 4);
	ck_assert_uint_eq(cancels, 1);
	end(512);
	ck_assert_uint_eq(cancels, 2);
	expect_status(VIRTIO_BLK_S_IOERR);
	rig_turns(&rig.v.rig, 4);
	rig.v.lane = NULL;
	rig.v.gone = 1;
	blk_rig_close(&rig);
}
END_TEST

/* ---- Features and config space ---- */

static uint64_t offered(uint32_t ops, uint32_t flags, uint32_t queues)
{
	static const struct vdb_virtio_config at = {.size = sizeof(at)};
	struct vdb_backend *backend = backend_with(ops, flags, 0);
	struct vdb_blk_config config = {
	        .size = sizeof(config), .at = &at, .backend = backend, .queues = queues};
	struct vdb__blk *blk = NULL;
	uint64_t features;

	ck_assert_int_eq(vdb__blk_make(&config, &blk), 0);
	vdb_backend_destroy(backend);
	features = blk->offered;
	vdb__blk_free(blk);
	ck_assert_int_eq(hold.destroyed, 1);
	return features;
}

START_TEST(f19_the_backend_decides_what_is_offered)
{
	const uint64_t always = F(SIZE_MAX) | F(SEG_MAX) | F(BLK_SIZE) | F(TOPOLOGY);

	ck_assert_uint_eq(offered(OPS_ALL, 0, 0),
	                  always | F(FLUSH) | F(CONFIG_WCE) | F(DISCARD) | F(WRITE_ZEROES));
	ck_assert_uint_eq(offered(1u << VDB_OP_READ | 1u << VDB_OP_WRITE, 0, 4), always | F(MQ));
	ck_assert_uint_eq(offered(OPS_ALL, VDB_BACKEND_READONLY, 0), always | F(RO) | F(FLUSH));
	ck_assert_uint_eq(offered(1u << VDB_OP_READ, 0, 0), always | F(RO));
}
END_TEST

START_TEST(the_config_space_tells_the_disk)
{
	struct vdb_backend *backend = backend_with(OPS_ALL, 0, 4096);
	struct virtio_blk_config c;

	blk_rig_open(&rig, backend, 0, BLK_ALL,
	             &(struct vdb_blk_config){.queues = 4, .max_segments = 30, .physical_log2 = 3});
	memset(&c, 0xee, sizeof(c));
	vdb__blk_ops.config_read(rig.blk, 0, &c, VDB__BLK_CONFIG);
	ck_assert_uint_eq(le64toh(c.capacity), SIZE / 512);
	ck_assert_uint_eq(le32toh(c.seg_max), 30);
	ck_assert_uint_eq(le32toh(c.size_max), 16u << 20);
	ck_assert_uint_eq(le32toh(c.blk_size), 4096);
	ck_assert_uint_eq(c.geometry.cylinders | c.geometry.heads | c.geometry.sectors, 0);
	ck_assert_uint_eq(c.physical_block_exp, 3);
	ck_assert_uint_eq(le16toh(c.min_io_size), 8);
	ck_assert_uint_eq(c.wce, 1);
	ck_assert_uint_eq(le16toh(c.num_queues), 4);
	ck_assert_uint_eq(le32toh(c.max_discard_sectors), VDB__BLK_MAX_DISCARD);
	ck_assert_uint_eq(le32toh(c.max_discard_seg), 1);
	ck_assert_uint_eq(le32toh(c.discard_sector_alignment), 8);
	ck_assert_uint_eq(le32toh(c.max_write_zeroes_sectors), VDB__BLK_MAX_ZEROES);
	ck_assert_uint_eq(le32toh(c.max_write_zeroes_seg), 1);
	ck_assert_uint_eq(c.write_zeroes_may_unmap, 1);
	ck_assert_int_eq(vdb_backend_resize(backend, 2 * SIZE), 0);
	vdb__blk_ops.config_read(rig.blk, 0, &c, 8);
	ck_assert_uint_eq(le64toh(c.capacity), 2 * SIZE / 512);
	vdb_backend_destroy(backend);
	blk_rig_close(&rig);
}
END_TEST

/* Whatever is written, and wherever: only the switch moves. */
START_TEST(g17_config_writes)
{
	uint8_t before[VDB__BLK_CONFIG], after[VDB__BLK_CONFIG], junk[8];

	open_with(BLK_ALL, 0);
	vdb__blk_ops.config_read(rig.blk, 0, before, sizeof(before));
	memset(junk, 0xff, sizeof(junk));
	for (uint32_t len = 1; len <= 8; len *= 2) {
		for (uint32_t at = 0; at + len <= VDB__BLK_CONFIG; at++)
			vdb__blk_ops.config_write(rig.blk, at, junk, len);
	}
	vdb__blk_ops.config_read(rig.blk, 0, after, sizeof(after));
	ck_assert(!memcmp(before, after, sizeof(after)));
	blk_rig_close(&rig);
	open_with(BLK_ALL & ~F(CONFIG_WCE), 0);
	set_cache(0);
	write_is_cached();
	blk_rig_close(&rig);
}
END_TEST

START_TEST(the_switch_is_saved)
{
	uint8_t state = 7, bad = 2;
	size_t len = 0;

	open_with(BLK_ALL, 0);
	set_cache(0);
	ck_assert_int_eq(vdb__blk_ops.save(rig.blk, NULL, &len), 0);
	ck_assert_uint_eq(len, 1);
	ck_assert_int_eq(vdb__blk_ops.save(rig.blk, &state, &len), 0);
	vdb__blk_ops.reset(rig.blk);
	ck_assert_uint_eq(cache(), 1);
	ck_assert_int_eq(vdb__blk_ops.negotiate(rig.blk, rig.blk->offered), 0);
	ck_assert_int_eq(vdb__blk_ops.restore(rig.blk, &bad, 1), -EINVAL);
	ck_assert_int_eq(vdb__blk_ops.restore(rig.blk, &state, 2), -EINVAL);
	ck_assert_uint_eq(cache(), 1);
	ck_assert_int_eq(vdb__blk_ops.restore(rig.blk, &state, 1), 0);
	write_is_flushed();
	blk_rig_close(&rig);
}
END_TEST

START_TEST(configs_that_cannot_be_are_refused)
{
	static const struct vdb_virtio_config at = {.size = sizeof(at)};
	struct vdb_backend *backend = backend_with(OPS_ALL, 0, 0);
	const struct {
		struct vdb_blk_config config;
		const char *words;
	} bad[] = {
	        {{.at = &at}, "backend"},
	        {{.backend = backend}, "at"},
	        {{.at = &at, .backend = backend, .serial = "123456789012345678901"}, "20 bytes"},
	        {{.at = &at, .backend = backend, .max_segments = 1023}, "1022"},
	        {{.at = &at, .backend = backend, .physical_log2 = 16}, "physical_log2"},
	        {{.at = &at, .backend = backend, .write_through = 2}, "write_through"},
	        {{.at = &at, .backend = backend, .reserved = 1}, "reserved"},
	};
	struct vdb__blk *blk = NULL;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(vdb__blk_make(&bad[i].config, &blk), -EINVAL);
		ck_assert_msg(strstr(vdb_errmsg(), bad[i].words), "%s", vdb_errmsg());
	}
	vdb_backend_destroy(backend);
	backend = backend_with(1u << VDB_OP_WRITE, 0, 0);
	ck_assert_int_eq(vdb__blk_make(&(struct vdb_blk_config){.at = &at, .backend = backend}, &blk),
	                 -EINVAL);
	vdb_backend_destroy(backend);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk_cache");

	tcase_add_test(tc, the_switch_decides);
	tcase_add_test(tc, write_through_from_the_start);
	tcase_add_test(tc, f19_a_driver_without_flush_needs_none);
	tcase_add_test(tc, zeroes_are_flushed_too);
	tcase_add_test(tc, each_failure_is_the_writes);
	tcase_add_test(tc, what_a_backend_cannot_is_unsupported);
	tcase_add_test(tc, destroyed_between_write_and_flush);
	tcase_add_test(tc, a_flush_that_comes_late_is_cancelled);
	tcase_add_test(tc, f19_the_backend_decides_what_is_offered);
	tcase_add_test(tc, the_config_space_tells_the_disk);
	tcase_add_test(tc, g17_config_writes);
	tcase_add_test(tc, the_switch_is_saved);
	tcase_add_test(tc, configs_that_cannot_be_are_refused);
	return test_run("blk_cache", tc);
}
