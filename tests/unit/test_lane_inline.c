/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* Work that the loop does itself: in slices, so that nobody waits longer than a quantum. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/error.h>

#include "rig.h"
#include "run.h"

#define QUANTUM (256ull * 1024)
#define GIB (1ull << 30)

static struct rig rig;
static struct rig_guest guest, bystander;
static struct vdb_backend *backend;

static void setup_with(struct vdb_backend *with)
{
	rig_open(&rig, NULL);
	backend = with;
	rig_join(&rig, &guest,
	         &(struct rig_guest_config){.backend = backend, .max_segments = 1024, .ram = 8 << 20});
	rig_join(&rig, &bystander, &(struct rig_guest_config){.backend = backend});
}

static struct vdb_backend *null_backend(void)
{
	struct vdb_backend *made;

	ck_assert_int_eq(vdb_backend_null(1 << 30, &made), 0);
	return made;
}

static void teardown(void)
{
	rig_leave(&guest);
	rig_leave(&bystander);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}

/* 1024 segments that name the same 4 MiB: 4 GiB to fill. */
static void submit_huge_fill(uint64_t byte)
{
	struct vdb_seg *segs = calloc(1024, sizeof(*segs));

	for (unsigned i = 0; i < 1024; i++)
		segs[i] = (struct vdb_seg){4 << 20, 4 << 20, 0};
	rig_submit_sg(&guest, VDB_OP_FILL, RIG_DATA, segs, 1024, byte, 1);
	free(segs);
}

START_TEST(huge_fill_beside_a_bystander)
{
	struct vdb_loop_stats before = {.size = sizeof(before)}, after = before;
	struct vdb_cqe cqe;
	unsigned answers = 0;

	setup_with(null_backend());
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &before), 0);
	submit_huge_fill(0x42);
	/* Found in one turn, answered in the next; and no turn does more than a quantum of the other's. */
	while (!vdb_guest_reap(&guest.m.g, &cqe)) {
		ck_assert(mock_submit(&bystander.m, VDB_OP_READ, RIG_DATA, 512, 0, answers));
		rig_turns(&rig, 2);
		mock_expect(&bystander.m, answers++, 512);
	}
	ck_assert_int_eq(cqe.result, 0);
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &after), 0);
	ck_assert_uint_ge(after.turns - before.turns, 4 * GIB / QUANTUM);
	ck_assert_uint_ge(answers, 4 * GIB / QUANTUM / 2 - 1);
	ck_assert_uint_eq(*(uint8_t *)rig_at(&guest, 4 << 20), 0x42);
	ck_assert_uint_eq(*(uint8_t *)rig_at(&guest, (8 << 20) - 1), 0x42);
	teardown();
}
END_TEST

/* ---- Nobody waits for it ---- */

static void submit_lots_of_work(void)
{
	for (unsigned i = 0; i < 32; i++)
		submit_huge_fill(i);
	RIG_UNTIL(&rig, rig_stats(&guest).inflight == 32); /* a thousand segments are a turn's work */
}

START_TEST(a_reset_ends_inline_work)
{
	setup_with(null_backend());
	submit_lots_of_work();
	vdb_guest_reset(&guest.m.g, 0);
	for (unsigned i = 0; i < 8 && !vdb_guest_poll_ready(&guest.m.g); i++)
		rig_turns(&rig, 1);
	ck_assert_int_eq(vdb_guest_poll_ready(&guest.m.g), 1);
	ck_assert_uint_eq(rig_stats(&guest).inflight, 0);
	ck_assert_uint_eq(rig_stats(&guest).errors, 32);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0), 512);
	teardown();
}
END_TEST

static void note(void *arg)
{
	++*(int *)arg;
}

static void close_guests(void)
{
	for (unsigned i = 0; i < 32; i++)
		mock_expect(&guest.m, 1, -ECANCELED);
	mock_close(&guest.m);
	mock_ram_close(&guest.ram);
	mock_close(&bystander.m);
	mock_ram_close(&bystander.ram);
	vdb_backend_destroy(backend);
}

START_TEST(destroying_the_lane_ends_inline_work)
{
	int done = 0;

	setup_with(null_backend());
	submit_lots_of_work();
	vdb_lane_destroy(guest.lane, note, &done);
	vdb_lane_destroy(bystander.lane, note, &done);
	rig_turns(&rig, 8);
	ck_assert_int_eq(done, 2);
	close_guests();
	rig_close(&rig);
}
END_TEST

START_TEST(destroying_the_loop_ends_inline_work)
{
	setup_with(null_backend());
	submit_lots_of_work();
	rig_close(&rig);
	vdb_lane_destroy(guest.lane, NULL, NULL);
	vdb_lane_destroy(bystander.lane, NULL, NULL);
	close_guests();
}
END_TEST

/* The guest's own other requests overtake it. */
START_TEST(huge_fill_does_not_block_its_own_ring)
{
	setup_with(null_backend());
	submit_huge_fill(1);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_NOP, 0, 0, 0), 0);
	ck_assert_uint_eq(rig_stats(&guest).inflight, 1);
	ck_assert_uint_eq(rig_reap(&guest).user_data, 1);
	teardown();
}
END_TEST

START_TEST(inline_requests_end_in_order)
{
	setup_with(null_backend());
	for (uint64_t i = 0; i < 8; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_FILL, (4 << 20) - i, 1 << 20, i, i));
	(void)vdb_guest_submit(&guest.m.g);
	for (uint64_t i = 0; i < 8; i++)
		ck_assert_uint_eq(rig_reap(&guest).user_data, i);
	teardown();
}
END_TEST

/* Source and destination in regions of their own, with borders at odd places. */
START_TEST(memory_may_lie_in_several_regions)
{
	struct vdb_region_config region = {.size = sizeof(region), .len = 8192};
	unsigned char buffer[3 * 8192];
	struct vdb_mem *mem;

	setup_with(null_backend());
	mem = guest.ram.mem;
	for (unsigned i = 0; i < 12; i++) {
		region.gpa = 0x10000000 + i * 8192;
		ck_assert_int_eq(vdb_mem_add(mem, &region), 0);
	}
	for (unsigned i = 0; i < sizeof(buffer); i++)
		buffer[i] = (unsigned char)(i * 3 + (i >> 8));
	ck_assert_int_eq(vdb_mem_write(mem, 0x10000000 + 100, buffer, sizeof(buffer)), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_COPY, 0x10000000 + 40000, sizeof(buffer), 0x10000000 + 100),
	                 0);
	memset(buffer, 0, sizeof(buffer));
	ck_assert_int_eq(vdb_mem_read(mem, 0x10000000 + 40000, buffer, sizeof(buffer)), 0);
	for (unsigned i = 0; i < sizeof(buffer); i++)
		ck_assert_uint_eq(buffer[i], (unsigned char)(i * 3 + (i >> 8)));
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FILL, 0x10000000 + 1, 12 * 8192 - 2, 9), 0);
	ck_assert_int_eq(vdb_mem_read(mem, 0x10000000, buffer, 8192), 0);
	ck_assert_uint_eq(buffer[0], 0);
	ck_assert_uint_eq(buffer[1], 9);
	teardown();
}
END_TEST

START_TEST(overlapping_copy_harms_nobody_else)
{
	setup_with(null_backend());
	ck_assert_int_eq(rig_do(&guest, VDB_OP_COPY, RIG_DATA + 1, 100000, RIG_DATA), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_COPY, RIG_DATA, 100000, RIG_DATA), 0);
	teardown();
}
END_TEST

/* A thousand pieces of a byte are no cheap request. */
START_TEST(pieces_are_paid_for)
{
	struct vdb_seg *segs = calloc(1024, sizeof(*segs));
	unsigned turns = 0;

	setup_with(null_backend());
	for (unsigned i = 0; i < 1024; i++)
		segs[i] = (struct vdb_seg){(4 << 20) + i * 2, 1, 0};
	for (unsigned i = 0; i < 8; i++)
		rig_submit_sg(&guest, VDB_OP_FILL, RIG_DATA, segs, 1024, i, i);
	for (uint64_t done = 0; rig_stats(&guest).completions < 8; turns++) {
		rig_turns(&rig, 1);
		ck_assert_uint_le(rig_stats(&guest).completions - done, 2);
		done = rig_stats(&guest).completions;
	}
	ck_assert_uint_ge(turns, 7);
	free(segs);
	teardown();
}
END_TEST

/* ---- An embedder's step() ---- */

static int64_t answer;
static uint64_t largest, steps;

static int start_inline(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	(void)req;
	return VDB_REQ_INLINE;
}

static int64_t step(void *ctx, struct vdb_req *req, uint64_t max)
{
	(void)ctx;
	(void)req;
	steps++;
	if (max > largest)
		largest = max;
	return answer == 1 ? (int64_t)max : answer;
}

static struct vdb_backend *inline_backend(int64_t (*fn)(void *, struct vdb_req *, uint64_t))
{
	const struct vdb_backend_ops ops = {.size = sizeof(ops), .start = start_inline, .step = fn};
	const struct vdb_backend_info info = {.size = sizeof(info), .capacity = 1 << 30, .ops = 0x8000003eu};
	struct vdb_backend *made;

	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &made), 0);
	return made;
}

START_TEST(steps_are_never_longer_than_a_quantum)
{
	setup_with(inline_backend(step));
	answer = 1;
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 4 << 20, 0), 4 << 20);
	ck_assert_uint_le(largest, QUANTUM);
	ck_assert_uint_ge(steps, 16);
	ck_assert_uint_eq(rig_stats(&guest).bytes_written, 4 << 20);
	/* FLUSH has no bytes: there is no step. */
	steps = 0;
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FLUSH, 0, 0, 0), 0);
	ck_assert_uint_eq(steps, 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_USER, RIG_DATA, 100, 0), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE_ZEROES, 0, 1 << 20, 0), 0);
	teardown();
}
END_TEST

/* Four bytes of a request may stand for a lot of work. */
static int64_t dear_step(void *ctx, struct vdb_req *req, uint64_t max)
{
	(void)ctx;
	(void)max;
	steps++;
	vdb_req_charge(req, QUANTUM / 4);
	return 4;
}

/* What a step charges counts in the same visit, and once. */
START_TEST(what_a_step_charges_ends_the_visit)
{
	struct vdb_loop_stats before = {.size = sizeof(before)}, after = before;
	uint64_t turns, most = 0;

	setup_with(inline_backend(dear_step));
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &before), 0);
	ck_assert(mock_submit(&guest.m, VDB_OP_WRITE, RIG_DATA, 512, 0, 1));
	for (turns = 0; rig_stats(&guest).completions < 1; turns++) {
		steps = 0;
		rig_turns(&rig, 1);
		if (steps > most)
			most = steps;
	}
	mock_expect(&guest.m, 1, 512);
	ck_assert_uint_le(most, 4);
	ck_assert_uint_ge(turns, 128 / 4);
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &after), 0);
	ck_assert_uint_ge(after.served - before.served, 128 * QUANTUM / 4);
	ck_assert_uint_le(after.served - before.served, 129 * QUANTUM / 4 + 128 * 256);
	teardown();
}
END_TEST

START_TEST(a_failing_step_fails_the_request)
{
	static const int64_t answers[][2] = {{-ENXIO, -ENXIO}, {0, -EIO}};

	setup_with(inline_backend(step));
	for (unsigned i = 0; i < 2; i++) {
		answer = answers[i][0];
		ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0), (int)answers[i][1]);
	}
	/* More than there was: what it did is its own business, the guest is not told nonsense. */
	answer = 1 << 30;
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0), 512);
	teardown();
}
END_TEST

START_TEST(inline_without_a_step_fails)
{
	setup_with(inline_backend(NULL));
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0), -EIO);
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("inline");

	tcase_add_test(tc, huge_fill_beside_a_bystander);
	tcase_add_test(tc, a_reset_ends_inline_work);
	tcase_add_test(tc, destroying_the_lane_ends_inline_work);
	tcase_add_test(tc, destroying_the_loop_ends_inline_work);
	tcase_add_test(tc, huge_fill_does_not_block_its_own_ring);
	tcase_add_test(tc, inline_requests_end_in_order);
	tcase_add_test(tc, memory_may_lie_in_several_regions);
	tcase_add_test(tc, overlapping_copy_harms_nobody_else);
	tcase_add_test(tc, pieces_are_paid_for);
	tcase_add_test(tc, steps_are_never_longer_than_a_quantum);
	tcase_add_test(tc, what_a_step_charges_ends_the_visit);
	tcase_add_test(tc, a_failing_step_fails_the_request);
	tcase_add_test(tc, inline_without_a_step_fails);
	return test_run_within("lane_inline", tc, 100);
}
