/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* What a guest may not do, and that it hears so, and that nobody else does. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>

#include "io/lane.h"
#include "rig.h"
#include "run.h"

#define DISK (64u * 1024)
#define ROM 0x80000000u /* gpa of a read-only region */

static unsigned char disk[DISK], clean[DISK];
static struct vdb_backend *backend;
static struct rig rig;
static struct rig_guest guest, bystander;

static void add_rom(void)
{
	struct vdb_region_config rom = {
	        .size = sizeof(rom), .gpa = ROM, .len = 8192, .flags = VDB_REGION_READONLY};

	ck_assert_msg(vdb_mem_add(guest.ram.mem, &rom) == 0, "%s", vdb_errmsg());
}

static void setup(void)
{
	memset(disk, 0x11, DISK);
	memset(clean, 0x11, DISK);
	ck_assert_int_eq(vdb_backend_memory(disk, DISK, &backend), 0);
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	rig_join(&rig, &bystander, &(struct rig_guest_config){.backend = backend});
	add_rom();
}

/* Whatever the one did: its disk is as it was, and the other is served. */
static void teardown(void)
{
	ck_assert_mem_eq(disk, clean, DISK);
	ck_assert_int_eq(rig_do(&bystander, VDB_OP_READ, RIG_DATA, 512, 0), 512);
	ck_assert_uint_eq(rig_stats(&bystander).errors, 0);
	ck_assert_uint_eq(rig_stats(&bystander).broken, 0);
	rig_leave(&guest);
	rig_leave(&bystander);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}

struct bad {
	uint8_t op;
	vdb_gpa_t addr;
	uint32_t len;
	uint64_t offset;
	int result;
};

static const struct bad bad[] = {
        /* ops that nobody serves */
        {8, RIG_DATA, 512, 0, -EOPNOTSUPP},
        {127, RIG_DATA, 512, 0, -EOPNOTSUPP},
        {VDB_OP_USER, RIG_DATA, 512, 0, -EOPNOTSUPP},
        {255, RIG_DATA, 512, 0, -EOPNOTSUPP},
        /* the disk: blocks, end, wrap */
        {VDB_OP_READ, RIG_DATA, 511, 0, -EINVAL},
        {VDB_OP_READ, RIG_DATA, 512, 1, -EINVAL},
        {VDB_OP_WRITE, RIG_DATA, 513, 512, -EINVAL},
        {VDB_OP_DISCARD, 0, 100, 0, -EINVAL},
        {VDB_OP_WRITE_ZEROES, 0, 512, 256, -EINVAL},
        {VDB_OP_READ, RIG_DATA, 512, DISK, -ERANGE},
        {VDB_OP_WRITE, RIG_DATA, 1024, DISK - 512, -ERANGE},
        {VDB_OP_WRITE, RIG_DATA, 512, 1ull << 62, -ERANGE},
        {VDB_OP_WRITE, RIG_DATA, 1024, UINT64_MAX - 511, -EINVAL},
        {VDB_OP_DISCARD, 0, 0xfffffe00, 0, -ERANGE},
        {VDB_OP_DISCARD, 0, 0xfffffe00, UINT64_MAX - 511, -EINVAL},
        {VDB_OP_WRITE_ZEROES, 0, 512, DISK, -ERANGE},
        {VDB_OP_WRITE_ZEROES, 0, 0, DISK + 512, -ERANGE},
        /* memory: end, hole, wrap, read-only */
        {VDB_OP_READ, RIG_RAM, 512, 0, -EFAULT},
        {VDB_OP_READ, RIG_RAM - 511, 512, 0, -EFAULT},
        {VDB_OP_WRITE, RIG_RAM - 511, 512, 0, -EFAULT},
        {VDB_OP_READ, UINT64_MAX, 512, 0, -EFAULT},
        {VDB_OP_READ, UINT64_MAX - 511, 512, 0, -EFAULT},
        {VDB_OP_READ, ROM, 512, 0, -EFAULT},
        {VDB_OP_FILL, ROM, 1, 0, -EFAULT},
        {VDB_OP_FILL, RIG_RAM - 1, 2, 0, -EFAULT},
        {VDB_OP_FILL, RIG_DATA, UINT32_MAX, 0, -EFAULT},
        {VDB_OP_COPY, ROM, 1, RIG_DATA, -EFAULT},
        {VDB_OP_COPY, RIG_DATA, 2, RIG_RAM - 1, -EFAULT},
        {VDB_OP_COPY, RIG_DATA, 1, UINT64_MAX, -EFAULT},
};

START_TEST(bad_request_fails)
{
	const struct bad *b = &bad[_i];

	setup();
	ck_assert_int_eq(rig_do(&guest, b->op, b->addr, b->len, b->offset), b->result);
	/* And only that one. */
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0), 512);
	ck_assert_uint_eq(rig_stats(&guest).errors, 1);
	ck_assert_uint_eq(rig_stats(&guest).broken, 0);
	teardown();
}
END_TEST

/* Nothing is touched by a request that is refused half-way through its mapping. */
START_TEST(half_a_request_is_no_request)
{
	struct vdb_seg segs[] = {{RIG_DATA, 512, 0}, {RIG_DATA + 512, 512, 0}, {RIG_RAM, 512, 0}};
	struct vdb_seg many[20];

	setup();
	rig_submit_sg(&guest, VDB_OP_READ, RIG_DATA + 0x10000, segs, 3, 0, 1);
	ck_assert_int_eq(rig_reap(&guest).result, -EFAULT);
	for (unsigned i = 0; i < 20; i++)
		many[i] = (struct vdb_seg){RIG_DATA + i * 512, 512, 0};
	many[19].addr = RIG_RAM - 256;
	rig_submit_sg(&guest, VDB_OP_READ, RIG_DATA + 0x10000, many, 20, 0, 1);
	ck_assert_int_eq(rig_reap(&guest).result, -EFAULT);
	ck_assert_mem_eq(rig_at(&guest, RIG_DATA), rig_at(&guest, RIG_DATA + 4096), 4096);
	ck_assert_uint_eq(*(uint8_t *)rig_at(&guest, RIG_DATA), 0);
	teardown();
}
END_TEST

START_TEST(read_only_memory_may_be_written_to_disk)
{
	setup();
	memset(clean, 0, 512);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, ROM, 512, 0), 512);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_COPY, RIG_DATA, 8192, ROM), 0);
	teardown();
}
END_TEST

START_TEST(read_only_backend_is_not_written)
{
	static const struct vdb_backend_info info = {
	        .size = sizeof(info), .flags = VDB_BACKEND_READONLY, .capacity = DISK, .ops = 0x3e};
	struct vdb_backend *ro;
	struct rig_hold hold = {0};
	struct rig_guest reader;

	setup();
	ck_assert_int_eq(vdb_backend_create(&rig_hold_ops, &hold, &info, &ro), 0);
	rig_join(&rig, &reader, &(struct rig_guest_config){.backend = ro});
	ck_assert_int_eq(rig_do(&reader, VDB_OP_WRITE, RIG_DATA, 512, 0), -EROFS);
	ck_assert_int_eq(rig_do(&reader, VDB_OP_DISCARD, 0, 512, 0), -EROFS);
	ck_assert_int_eq(rig_do(&reader, VDB_OP_WRITE_ZEROES, 0, 512, 0), -EROFS);
	ck_assert_uint_eq(hold.n, 0);
	ck_assert(mock_submit(&reader.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&rig, hold.n == 1);
	rig_hold_end(&hold, 512, 3);
	ck_assert_int_eq(rig_reap(&reader).result, 512);
	ck_assert(mock_submit(&reader.m, VDB_OP_FLUSH, 0, 0, 0, 1));
	RIG_UNTIL(&rig, hold.n == 1);
	rig_hold_end(&hold, 0, 0);
	ck_assert_int_eq(rig_reap(&reader).result, 0);
	rig_leave(&reader);
	vdb_backend_destroy(ro);
	teardown();
}
END_TEST

START_TEST(too_many_pieces)
{
	struct vdb_seg *segs = calloc(1024, sizeof(*segs));
	struct rig_guest wide;

	setup();
	rig_join(&rig, &wide,
	         &(struct rig_guest_config){.backend = backend, .max_segments = 1024, .ram = 4 << 20});
	for (unsigned i = 0; i < 1024; i++)
		segs[i] = (struct vdb_seg){RIG_DATA + i * 32, 32, 0};
	rig_submit_sg(&wide, VDB_OP_READ, 2 << 20, segs, 1024, 0, 1);
	ck_assert_int_eq(rig_reap(&wide).result, 32768);
	ck_assert_mem_eq(rig_at(&wide, RIG_DATA), disk, 32768);
	/* COPY has its source besides. */
	rig_submit_sg(&wide, VDB_OP_COPY, 2 << 20, segs, 1024, 3 << 20, 1);
	ck_assert_int_eq(rig_reap(&wide).result, 0);
	ck_assert_mem_eq(rig_at(&wide, RIG_DATA), rig_at(&wide, 3 << 20), 32768);
	/* One more than the guest may have. */
	rig_submit_sg(&guest, VDB_OP_READ, RIG_DATA + 0x10000, segs, 129, 0, 1);
	ck_assert_int_eq(rig_reap(&guest).result, -E2BIG);
	rig_leave(&wide);
	free(segs);
	teardown();
}
END_TEST

/* ---- A driver that breaks the ring ---- */

START_TEST(index_jump_stops_the_ring_until_reset)
{
	struct vdb_ring *ring;
	uint64_t one = 1;

	setup();
	ring = rig_at(&guest, RIG_RING);
	__atomic_store_n(&ring->sq_tail.value, 1000, __ATOMIC_RELEASE);
	ck_assert_int_eq(write(guest.m.kick, &one, sizeof(one)), sizeof(one));
	RIG_UNTIL(&rig, guest.broken);
	ck_assert_uint_eq(guest.broken, VDB_REASON_SQ_INDEX);
	ck_assert_uint_eq(ring->device.state, VDB_RING_BROKEN);
	ck_assert_uint_eq(ring->device.reason, VDB_REASON_SQ_INDEX);
	ck_assert_uint_eq(rig_stats(&guest).broken, 1);
	ck_assert_uint_eq(rig_stats(&guest).state, VDB_RING_BROKEN);
	/* Ringing on does nothing. */
	ck_assert_int_eq(write(guest.m.kick, &one, sizeof(one)), sizeof(one));
	rig_turns(&rig, 5);
	ck_assert_uint_eq(rig_stats(&guest).requests, 0);
	rig_handshake(&guest);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0), 512);
	ck_assert_uint_eq(rig_stats(&guest).state, VDB_RING_READY);
	teardown();
}
END_TEST

/* A driver whose reset and next mistake fall into one visit: it sees the generation, and is ready, while the
 * device still looks. */
static const struct vdb__queue_ops *ring_ops;

static bool ready_at_once(struct vdb_queue *q, uint32_t inflight)
{
	struct vdb_ring *ring = rig_at(&guest, RIG_RING);
	bool open = ring_ops->ready(q, inflight);

	if (q->state != VDB_RING_RESET)
		return open;
	ring->driver.version = ~0u;
	ring->driver.ready = ring->device.generation;
	return ring_ops->ready(q, inflight);
}

START_TEST(broken_twice_between_two_looks)
{
	struct vdb_queue *queue;
	struct vdb__queue_ops quick;
	struct vdb_ring *ring;

	setup();
	queue = guest.lane->queue;
	ring_ops = queue->ops;
	quick = *ring_ops;
	quick.ready = ready_at_once;
	queue->ops = &quick;
	ring = rig_at(&guest, RIG_RING);
	ring->sq_tail.value += 1000;
	vdb_guest_ring_bell(&guest.m.g);
	RIG_UNTIL(&rig, guest.broken);
	ck_assert_uint_eq(guest.broken, VDB_REASON_SQ_INDEX);
	guest.broken = 0;
	vdb_guest_reset(&guest.m.g, 0);
	rig_turns(&rig, 5);
	ck_assert_uint_eq(rig_stats(&guest).resets, 2);
	ck_assert_uint_eq(rig_stats(&guest).broken, 2);
	ck_assert_uint_eq(guest.broken, VDB_REASON_VERSION);
	queue->ops = ring_ops;
	teardown();
}
END_TEST

/* Broken with requests in flight: they end, nothing of them is published, a reset works. */
START_TEST(broken_with_requests_in_flight)
{
	struct rig_hold hold;
	struct vdb_backend *slow = rig_hold_open(&hold);
	struct rig_guest rude;
	struct vdb_ring *ring;
	uint64_t one = 1;

	setup();
	rig_join(&rig, &rude, &(struct rig_guest_config){.backend = slow});
	ring = rig_at(&rude, RIG_RING);
	ck_assert(mock_submit(&rude.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&rig, hold.n == 1);
	__atomic_store_n(&ring->sq_tail.value, 70000, __ATOMIC_RELEASE);
	ck_assert_int_eq(write(rude.m.kick, &one, sizeof(one)), sizeof(one));
	RIG_UNTIL(&rig, rude.broken);
	vdb_guest_reset(&rude.m.g, 0);
	rig_turns(&rig, 10);
	/* Not before the disk has let go of the guest's memory. */
	ck_assert_int_eq(vdb_guest_poll_ready(&rude.m.g), 0);
	ck_assert_uint_eq(ring->device.state, VDB_RING_BROKEN);
	rig_hold_end(&hold, 512, 7);
	RIG_UNTIL(&rig, vdb_guest_poll_ready(&rude.m.g) == 1);
	ck_assert_uint_eq(ring->cq_tail.value, 0);
	ck_assert_uint_eq(rig_stats(&rude).resets, 2);
	ck_assert(mock_submit(&rude.m, VDB_OP_READ, RIG_DATA, 512, 0, 2));
	RIG_UNTIL(&rig, hold.n == 1);
	rig_hold_end(&hold, 512, 8);
	ck_assert_int_eq(rig_reap(&rude).result, 512);
	rig_leave(&rude);
	vdb_backend_destroy(slow);
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("refusals");

	tcase_add_loop_test(tc, bad_request_fails, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(tc, half_a_request_is_no_request);
	tcase_add_test(tc, read_only_memory_may_be_written_to_disk);
	tcase_add_test(tc, read_only_backend_is_not_written);
	tcase_add_test(tc, too_many_pieces);
	tcase_add_test(tc, index_jump_stops_the_ring_until_reset);
	tcase_add_test(tc, broken_twice_between_two_looks);
	tcase_add_test(tc, broken_with_requests_in_flight);
	return test_run("lane_refusals", tc);
}
