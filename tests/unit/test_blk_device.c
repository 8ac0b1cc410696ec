/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* virtio-blk as a device: several queues and lives, a disk that grows, and what is refused. */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "image.h"
#include "ready_rig.h"
#include "run.h"

#define SIZE (1u << 20)
#define F(name) (1ull << VIRTIO_BLK_F_##name)

static struct virtio_rig rig;
static struct vdb_backend *backend;
static char path[64];

static void setup(void)
{
	struct vdb_virtio_config at = ready_rig_open(&rig);
	struct vdb_file_config file = {.size = sizeof(file), .path = path};
	struct vdb_blk_config config = {.size = sizeof(config), .at = &at, .queues = 2};
	struct vdb_virtio *device = NULL;

	image_make(path, SIZE, 6);
	ck_assert_int_eq(vdb_backend_file(&file, &backend), 0);
	config.backend = backend;
	ck_assert_msg(vdb_blk_create(&config, &device) == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&rig, device);
}

static void teardown(void)
{
	vdb_backend_destroy(backend); /* the device has it too */
	virtio_rig_close(&rig);
	unlink(path);
}

static void submit(uint32_t queue, uint32_t type, uint64_t sector, uint32_t len)
{
	const struct virtio_blk_outhdr header = {.type = htole32(type), .sector = htole64(sector)};
	const struct virtq_buf bufs[] = {
	        {ready_rig_data(queue, 0), sizeof(header), false},
	        {ready_rig_data(queue, 512), len, type == VIRTIO_BLK_T_IN},
	        {ready_rig_data(queue, 64), 1, true},
	};

	*(uint8_t *)mock_at(&rig.ram, bufs[2].gpa) = 0xee;
	memcpy(mock_at(&rig.ram, bufs[0].gpa), &header, sizeof(header));
	ck_assert(virtq_add(&rig.driver[queue], bufs, 3, 4));
	(void)virtq_publish(&rig.driver[queue]);
}

static uint8_t outcome(uint32_t queue)
{
	uint32_t used;

	ck_assert_uint_eq(ready_rig_reap(&rig, queue, &used), 4);
	return *(uint8_t *)mock_at(&rig.ram, ready_rig_data(queue, 64));
}

/* `len` bytes at `sector` by way of a queue; its status. */
static uint8_t request(uint32_t queue, uint32_t type, uint64_t sector, uint32_t len)
{
	submit(queue, type, sector, len);
	return outcome(queue);
}

START_TEST(each_life_and_each_queue_serves)
{
	const uint64_t rings[] = {0, VRIG_BIT(VIRTIO_F_RING_PACKED),
	                          VRIG_BIT(VIRTIO_RING_F_EVENT_IDX) | VRIG_BIT(VIRTIO_F_RING_PACKED)};

	for (unsigned life = 0; life < 3; life++) {
		virtio_rig_up(&rig, VRIG_V1 | rings[life] | F(FLUSH) | F(MQ), 2);
		for (uint32_t queue = 0; queue < 2; queue++) {
			uint64_t sector = 16 * (2 * life + queue);
			void *data = mock_at(&rig.ram, ready_rig_data(queue, 512));

			image_pattern(data, 8192, life + 40);
			ck_assert_uint_eq(request(queue, VIRTIO_BLK_T_OUT, sector, 8192), VIRTIO_BLK_S_OK);
			image_check(path, sector * 512, data, 8192);
			memset(data, 0, 8192);
			ck_assert_uint_eq(request(!queue, VIRTIO_BLK_T_IN, sector, 8192), VIRTIO_BLK_S_OK);
			image_check(path, sector * 512, mock_at(&rig.ram, ready_rig_data(!queue, 512)), 8192);
		}
		virtio_rig_reset(&rig);
	}
}
END_TEST

static uint64_t capacity(void)
{
	uint64_t sectors = 0;

	vdb__virtio_config_read(rig.device, 0, &sectors, 8);
	return le64toh(sectors);
}

START_TEST(a_disk_that_grows_is_told)
{
	uint8_t generation;

	virtio_rig_up(&rig, VRIG_V1, 1);
	generation = vdb__virtio_generation(rig.device);
	ck_assert_uint_eq(capacity(), SIZE / 512);
	ck_assert_uint_eq(request(0, VIRTIO_BLK_T_IN, SIZE / 512, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(truncate(path, 2 * SIZE), 0);
	ck_assert_int_eq(vdb_backend_file_resize(backend), 2 * SIZE);
	ck_assert_int_eq(vdb_blk_resized(rig.device), 0);
	virtio_rig_wait(&rig.config_interrupts, 1);
	ck_assert_uint_ne(vdb__virtio_generation(rig.device), generation);
	ck_assert_uint_eq(capacity(), 2 * SIZE / 512);
	ck_assert_uint_eq(request(0, VIRTIO_BLK_T_IN, SIZE / 512, 512), VIRTIO_BLK_S_OK);
}
END_TEST

/* G19: no reader has the halves of two sizes, however late the device tells. */
START_TEST(g19_a_size_is_never_torn)
{
	const uint64_t small = 0x00000000fffffe00ull, large = 0x0000ab00ffff0000ull;
	uint32_t low, high;
	uint8_t before;

	virtio_rig_up(&rig, VRIG_V1, 1);
	for (int i = 0; i < 100; i++) {
		before = vdb__virtio_generation(rig.device);
		vdb__virtio_config_read(rig.device, 0, &low, 4);
		ck_assert_int_eq(vdb_backend_resize(backend, i & 1 ? small : large), 0);
		vdb__virtio_config_read(rig.device, 4, &high, 4);
		if (vdb__virtio_generation(rig.device) == before)
			ck_assert(((uint64_t)high << 32 | low) * 512 == small ||
			          ((uint64_t)high << 32 | low) * 512 == large);
	}
}
END_TEST

START_TEST(g50_a_guest_without_a_status_breaks_its_device_only)
{
	const struct virtq_buf buf = {ready_rig_data(0, 0), 16, false};

	virtio_rig_up(&rig, VRIG_V1, 2);
	ck_assert(virtq_add(&rig.driver[0], &buf, 1, 1));
	(void)virtq_publish(&rig.driver[0]);
	virtio_rig_wait_status(&rig, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_rig_reset(&rig);
	virtio_rig_up(&rig, VRIG_V1, 2);
	ck_assert_uint_eq(request(1, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}
END_TEST

/* 2.7.5.3.1: no chain is longer than the queue, and two of its descriptors are header and status. */
START_TEST(no_more_segments_than_the_queue_has_room_for)
{
	static const uint32_t sizes[][3] = {/* queue_size, max_segments, seg_max */
	                                    {0, 0, 126},  {0, 1022, 254}, {1024, 1022, 1022}, {64, 0, 62},
	                                    {64, 20, 20}, {4, 0, 2},      {2, 0, 1},          {1, 5, 1}};
	struct vdb_virtio_config at = {.size = sizeof(at), .mem = rig.ram.mem, .loop = rig.loop};
	struct vdb_blk_config config = {.size = sizeof(config), .at = &at, .backend = backend};
	struct vdb_virtio *device = NULL;
	uint32_t size_max, seg_max;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		at.queue_size = sizes[i][0];
		config.max_segments = sizes[i][1];
		ck_assert_msg(vdb_blk_create(&config, &device) == 0, "%s", vdb_errmsg());
		vdb__virtio_config_read(device, offsetof(struct virtio_blk_config, seg_max), &seg_max, 4);
		vdb__virtio_config_read(device, offsetof(struct virtio_blk_config, size_max), &size_max, 4);
		ck_assert_uint_eq(le32toh(seg_max), sizes[i][2]);
		ck_assert_uint_ge(le32toh(size_max), 1 << 20);
		vdb_virtio_destroy(device, NULL, NULL);
	}
}
END_TEST

/* ---- A disk of memory: INLINE work, when the device stops ---- */

static uint32_t stepping, go; /* atomic */

static int slow_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	(void)req;
	return VDB_REQ_INLINE;
}

static int64_t slow_step(void *ctx, struct vdb_req *req, uint64_t max)
{
	(void)ctx;
	(void)req;
	(void)max;
	vdb__store(&stepping, 1u);
	while (!vdb__load_acquire(&go))
		sched_yield();
	return 1;
}

static void quiesced(void *arg)
{
	__atomic_store_n((uint32_t *)arg, 1u, __ATOMIC_RELEASE);
}

static void open_slow(void)
{
	static const struct vdb_backend_ops ops = {
	        .size = sizeof(ops), .start = slow_start, .step = slow_step};
	static const struct vdb_backend_info info = {.size = sizeof(info), .capacity = SIZE, .ops = 2};
	struct vdb_virtio_config at = {.size = sizeof(at), .mem = rig.ram.mem, .loop = rig.loop};
	struct vdb_blk_config config = {.size = sizeof(config), .at = &at};
	struct vdb_virtio *device = NULL;
	struct vdb_backend *slow = NULL;

	virtio_rig_unplug(&rig);
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &slow), 0);
	config.backend = slow;
	ck_assert_int_eq(vdb_blk_create(&config, &device), 0);
	vdb_backend_destroy(slow);
	ready_rig_adopt(&rig, device);
	virtio_rig_up(&rig, VRIG_V1, 1);
	submit(0, VIRTIO_BLK_T_IN, 0, 16384);
	while (!vdb__load_acquire(&stepping))
		sched_yield();
}

/* A guest that is paused, or moved, must not see its disk fail. */
START_TEST(what_is_inline_is_finished_by_a_quiesce)
{
	uint32_t done = 0;

	open_slow();
	if (_i)
		vdb__virtio_hold(rig.device, true);
	else
		ck_assert_int_eq(vdb_virtio_quiesce(rig.device, quiesced, &done), 0);
	vdb__store(&go, 1u);
	ck_assert_uint_eq(outcome(0), VIRTIO_BLK_S_OK);
	if (!_i)
		virtio_rig_wait(&done, 1);
}
END_TEST

START_TEST(a_reset_waits_for_nothing_inline)
{
	uint32_t done = 0;

	open_slow();
	if (_i)
		ck_assert_int_eq(vdb_virtio_quiesce(rig.device, quiesced, &done), 0);
	vdb__virtio_set_status(rig.device, 0, NULL);
	vdb__store(&go, 1u);
	ck_assert_uint_eq(outcome(0), VIRTIO_BLK_S_IOERR);
	virtio_rig_reset(&rig);
	if (_i)
		virtio_rig_wait(&done, 1);
}
END_TEST

START_TEST(what_is_the_devices_own_is_refused)
{
	struct vdb_virtio_config at = {.size = sizeof(at), .mem = rig.ram.mem, .loop = rig.loop, .queues = 1};
	struct vdb_blk_config config = {.size = sizeof(config), .at = &at, .backend = backend};
	struct vdb_virtio *device = NULL;

	ck_assert_int_eq(vdb_blk_create(&config, &device), -EINVAL);
	at.queues = 0;
	config.queues = VDB_VIRTIO_MAX_QUEUES + 1;
	ck_assert_int_eq(vdb_blk_create(&config, &device), -EINVAL);
	config.queues = 0;
	config.at = NULL;
	ck_assert_int_eq(vdb_blk_create(&config, &device), -EINVAL);
	ck_assert_int_eq(vdb_blk_create(NULL, &device), -EINVAL);
	ck_assert_int_eq(vdb_console_resize(rig.device, 1, 1), -EINVAL);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk_device");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_life_and_each_queue_serves);
	tcase_add_test(tc, a_disk_that_grows_is_told);
	tcase_add_test(tc, g19_a_size_is_never_torn);
	tcase_add_test(tc, g50_a_guest_without_a_status_breaks_its_device_only);
	tcase_add_test(tc, no_more_segments_than_the_queue_has_room_for);
	tcase_add_loop_test(tc, a_reset_waits_for_nothing_inline, 0, 2);
	tcase_add_loop_test(tc, what_is_inline_is_finished_by_a_quiesce, 0, 2);
	tcase_add_test(tc, what_is_the_devices_own_is_refused);
	return test_run("blk_device", tc);
}
