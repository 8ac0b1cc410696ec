/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/*
 * Lanes that are limited. The limits are so low that what has to wait would wait for hours: what comes
 * all the same did not wait.
 */
#include <errno.h>
#include <string.h>
#include <vdb/error.h>
#include <vdb/limit.h>

#include "rig.h"
#include "run.h"

#define MIB (1u << 20)

static struct rig rig;
static struct rig_guest guest;
static struct vdb_backend *backend;
static struct vdb_limit *limit;

static struct vdb_limit *make(uint64_t bytes, uint64_t bytes_burst, uint64_t ops, uint64_t ops_burst)
{
	struct vdb_limit_config config = {.size = sizeof(config),
	                                  .bytes_per_s = bytes,
	                                  .bytes_burst = bytes_burst,
	                                  .ops_per_s = ops,
	                                  .ops_burst = ops_burst};
	struct vdb_limit *made;

	ck_assert_msg(vdb_limit_create(&config, &made) == 0, "%s", vdb_errmsg());
	return made;
}

static struct vdb_limit_stats stats(void)
{
	struct vdb_limit_stats now = {.size = sizeof(now)};

	ck_assert_int_eq(vdb_limit_stats(limit, &now), 0);
	return now;
}

static void set(uint64_t bytes, uint64_t ops)
{
	struct vdb_limit_config config = {.size = sizeof(config), .bytes_per_s = bytes, .ops_per_s = ops};

	ck_assert_int_eq(vdb_limit_set(limit, &config), 0);
}

static void join(struct vdb_backend *with)
{
	struct rig_guest_config config = {.backend = with, .lane.limit = limit, .ram = 4 * MIB};

	rig_open(&rig, NULL);
	backend = with;
	rig_join(&rig, &guest, &config);
}

static struct vdb_backend *null_backend(void)
{
	struct vdb_backend *made;

	ck_assert_int_eq(vdb_backend_null(1 << 30, &made), 0);
	return made;
}

static void end(void)
{
	vdb_backend_destroy(backend);
	rig_close(&rig);
	vdb_limit_destroy(limit);
}

static void submit(uint8_t op, uint32_t len, uint64_t user_data)
{
	ck_assert(mock_submit(&guest.m, op, RIG_DATA, len, 0, user_data));
}

/* Until it is held back, and the loop has nothing to do. */
static void until_held(void)
{
	RIG_UNTIL(&rig, stats().waiting == 1);
	while (!vdb_loop_prepare(rig.loop))
		rig_turns(&rig, 1);
}

/* ---- What counts ---- */

START_TEST(ops_of_every_kind)
{
	limit = make(0, 0, 1, 4);
	join(null_backend());
	submit(VDB_OP_READ, 512, 0);
	submit(VDB_OP_FLUSH, 0, 1);
	submit(VDB_OP_NOP, 0, 2);
	submit(100, 512, 3); /* no such thing */
	submit(VDB_OP_READ, 512, 4);
	until_held();
	ck_assert_uint_eq(rig_stats(&guest).requests, 4);
	ck_assert_uint_eq(rig_stats(&guest).completions, 4);
	ck_assert_uint_eq(stats().ops, 4);
	ck_assert_uint_eq(stats().bytes, 512);
	rig_leave(&guest);
	end();
}
END_TEST

/* One request may overdraw, however large; the next waits for all of it. */
START_TEST(bytes_of_one_too_many)
{
	limit = make(1, 1, 0, 0);
	join(null_backend());
	submit(VDB_OP_WRITE, MIB, 0);
	submit(VDB_OP_READ, 1, 1);
	until_held();
	ck_assert_uint_eq(rig_stats(&guest).completions, 1);
	ck_assert_uint_eq(stats().bytes, MIB);
	rig_leave(&guest);
	end();
}
END_TEST

/* What the loop works on itself is limited bit by bit, not as a whole. */
START_TEST(inline_work_is_cut)
{
	limit = make(1, 100 * 1024, 0, 0);
	join(null_backend());
	submit(VDB_OP_FILL, MIB, 0);
	until_held();
	ck_assert_uint_eq(rig_stats(&guest).completions, 0);
	ck_assert_uint_eq(rig_stats(&guest).inflight, 1);
	ck_assert_uint_ge(stats().bytes, 100 * 1024);
	ck_assert_uint_le(stats().bytes, 128 * 1024); /* two slices */
	/* And goes on when it may. */
	set(0, 0);
	(void)rig_reap(&guest);
	ck_assert_uint_eq(stats().bytes, MIB);
	rig_leave(&guest);
	end();
}
END_TEST

/* A driver that waits is not asked to ring; the loop sleeps. */
START_TEST(nobody_is_asked_to_ring)
{
	uint64_t kicks, visits;

	limit = make(0, 0, 1, 1);
	join(null_backend());
	submit(VDB_OP_READ, 512, 0);
	submit(VDB_OP_READ, 512, 1);
	until_held();
	kicks = rig_stats(&guest).kicks;
	visits = rig_stats(&guest).visits;
	for (uint64_t i = 2; i < 20; i++)
		submit(VDB_OP_READ, 512, i);
	rig_turns(&rig, 10);
	ck_assert_uint_eq(rig_stats(&guest).kicks, kicks);
	ck_assert_uint_eq(rig_stats(&guest).visits, visits);
	ck_assert_int_eq(vdb_loop_prepare(rig.loop), 1);
	rig_leave(&guest);
	end();
}
END_TEST

/* ---- What does not wait ---- */

START_TEST(destroyed_while_held)
{
	limit = make(1, 1, 1, 1);
	join(null_backend());
	submit(VDB_OP_READ, 4096, 0);
	submit(VDB_OP_READ, 4096, 1);
	until_held();
	rig_leave(&guest);
	ck_assert_uint_eq(stats().waiting, 0);
	end();
}
END_TEST

START_TEST(destroyed_in_the_middle_of_a_fill)
{
	limit = make(1, 100 * 1024, 0, 0);
	join(null_backend());
	submit(VDB_OP_FILL, MIB, 0);
	until_held();
	rig_leave(&guest); /* it is cancelled */
	ck_assert_uint_le(stats().bytes, 256 * 1024);
	end();
}
END_TEST

START_TEST(loop_destroyed_while_held)
{
	limit = make(1, 100 * 1024, 1, 2);
	join(null_backend());
	submit(VDB_OP_FILL, MIB, 0);
	submit(VDB_OP_READ, 512, 0);
	submit(VDB_OP_READ, 512, 0);
	until_held();
	vdb_backend_destroy(backend);
	rig_close(&rig);
	ck_assert_uint_eq(stats().waiting, 0);
	vdb_lane_destroy(guest.lane, NULL, NULL);
	set(0, 1);
	mock_close(&guest.m);
	mock_ram_close(&guest.ram);
	vdb_limit_destroy(limit);
}
END_TEST

/* The guest starts afresh: at once, but with the debt that it had. */
START_TEST(reset_while_held)
{
	limit = make(0, 0, 1, 1);
	join(null_backend());
	for (int round = 0; round < 5; round++) {
		submit(VDB_OP_READ, 512, 0);
		submit(VDB_OP_READ, 512, 1);
		until_held();
		rig_handshake(&guest);
	}
	ck_assert_uint_eq(rig_stats(&guest).resets, 6);
	ck_assert_uint_le(stats().ops, 2); /* a second may have passed */
	rig_leave(&guest);
	end();
}
END_TEST

START_TEST(reset_in_the_middle_of_a_fill)
{
	limit = make(1, 100 * 1024, 0, 0);
	join(null_backend());
	submit(VDB_OP_FILL, MIB, 0);
	until_held();
	rig_handshake(&guest);
	ck_assert_uint_le(stats().bytes, 256 * 1024);
	/* Its reset has bought it nothing. */
	submit(VDB_OP_READ, 512, 0);
	until_held();
	ck_assert_uint_eq(rig_stats(&guest).inflight, 0);
	ck_assert_uint_le(stats().bytes, 256 * 1024);
	rig_leave(&guest);
	end();
}
END_TEST

/* A guest that does nothing but reset gets no more than one that keeps quiet. */
START_TEST(resets_are_no_way_round)
{
	limit = make(1, 1, 0, 0);
	join(null_backend());
	for (int round = 0; round < 50; round++) {
		for (uint64_t i = 0; i < 8; i++)
			submit(VDB_OP_READ, 4096, i);
		rig_turns(&rig, 4);
		rig_handshake(&guest);
	}
	ck_assert_uint_eq(stats().bytes, 4096);
	rig_leave(&guest);
	end();
}
END_TEST

START_TEST(completions_come_while_held)
{
	struct rig_hold hold;
	struct vdb_cqe cqe;

	limit = make(0, 0, 1, 2);
	join(rig_hold_open(&hold));
	for (uint64_t i = 0; i < 4; i++)
		submit(VDB_OP_READ, 512, i);
	until_held();
	ck_assert_uint_eq(hold.n, 2);
	rig_hold_end(&hold, 512, 1);
	cqe = rig_reap(&guest);
	ck_assert_uint_eq(cqe.user_data, 0);
	rig_hold_end(&hold, 512, 1);
	cqe = rig_reap(&guest);
	ck_assert_uint_eq(cqe.user_data, 1);
	ck_assert_uint_le(rig_stats(&guest).requests, 3);
	while (hold.n) /* what time has let through */
		rig_hold_end(&hold, 512, 1);
	rig_leave(&guest);
	end();
}
END_TEST

/* ---- Changes ---- */

START_TEST(raised_and_removed)
{
	limit = make(0, 0, 1, 1);
	join(null_backend());
	for (uint64_t i = 0; i < 40; i++)
		submit(VDB_OP_READ, 512, i);
	until_held();
	set(0, 1000000);
	for (int i = 0; i < 40; i++)
		(void)rig_reap(&guest);
	set(0, 1);
	for (uint64_t i = 0; i < 10; i++)
		submit(VDB_OP_READ, 512, i);
	until_held();
	set(0, 0);
	RIG_UNTIL(&rig, rig_stats(&guest).completions == 50);
	ck_assert_uint_eq(stats().waiting, 0);
	rig_leave(&guest);
	end();
}
END_TEST

/* Its last user has gone with the caller's reference long before. */
START_TEST(lanes_keep_it)
{
	limit = make(0, 0, 1, 1);
	join(null_backend());
	vdb_limit_destroy(limit);
	limit = NULL;
	submit(VDB_OP_READ, 512, 0);
	submit(VDB_OP_READ, 512, 1);
	rig_turns(&rig, 4);
	rig_leave(&guest);
	end();
}
END_TEST

/* ---- Moving ---- */

static int moved;

static void note(void *arg, int status)
{
	(void)arg;
	ck_assert_int_eq(status, 0);
	moved++;
}

/* To another loop while it is held: it is held there, its VM's limit has come along. */
static void move_and_check(struct vdb_loop *to)
{
	struct rig other = {.loop = to};

	ck_assert_int_ge(vdb_loop_fd(to), 0);
	ck_assert_msg(vdb_lane_move(guest.lane, to, NULL, note, NULL) == 0, "%s", vdb_errmsg());
	while (!moved) {
		rig_turns(&rig, 1);
		rig_turns(&other, 1);
	}
	guest.rig = &other;
	RIG_UNTIL(&other, stats().waiting == 1);
	ck_assert_uint_le(rig_stats(&guest).requests, 2); /* a second may have passed */
	set(0, 0);
	RIG_UNTIL(&other, rig_stats(&guest).completions == 10);
	rig_leave(&guest);
	rig_close(&other);
}

START_TEST(moved_while_held)
{
	struct vdb_loop_config config = test_loop_config();
	struct vdb_tenant *tenant = NULL;
	struct vdb_loop *to;

	ck_assert_int_eq(vdb_loop_create(&config, &to), 0);
	rig_open(&rig, NULL);
	limit = make(0, 0, 1, 1);
	backend = null_backend();
	if (_i) {
		ck_assert_int_eq(vdb_tenant_create(rig.loop, &tenant), 0);
		ck_assert_int_eq(vdb_tenant_limit(tenant, limit), 0);
	}
	rig_join(&rig, &guest,
	         &(struct rig_guest_config){
	                 .backend = backend, .lane.tenant = tenant, .lane.limit = tenant ? NULL : limit});
	for (uint64_t i = 0; i < 10; i++)
		submit(VDB_OP_READ, 512, i);
	until_held();
	move_and_check(to);
	vdb_tenant_destroy(tenant);
	end();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("limit_lane");

	tcase_add_test(tc, ops_of_every_kind);
	tcase_add_test(tc, bytes_of_one_too_many);
	tcase_add_test(tc, inline_work_is_cut);
	tcase_add_test(tc, nobody_is_asked_to_ring);
	tcase_add_test(tc, destroyed_while_held);
	tcase_add_test(tc, destroyed_in_the_middle_of_a_fill);
	tcase_add_test(tc, loop_destroyed_while_held);
	tcase_add_test(tc, reset_while_held);
	tcase_add_test(tc, reset_in_the_middle_of_a_fill);
	tcase_add_test(tc, resets_are_no_way_round);
	tcase_add_test(tc, completions_come_while_held);
	tcase_add_test(tc, raised_and_removed);
	tcase_add_test(tc, lanes_keep_it);
	tcase_add_loop_test(tc, moved_while_held, 0, 2);
	return test_run("limit_lane", tc);
}
