/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* A device whose queues run on several loops: placed, moved, reset, quiesced. */
#include <errno.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "run.h"
#include "virtio_rig.h"

#define LOOPS 3u

static struct vdb_loops *loops;
static struct virtio_rig rig;

static struct vdb_loop *loop_at(uint32_t index)
{
	return vdb_loops_get(loops, index);
}

static uint32_t placed(uint32_t index)
{
	struct vdb_loops_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_loops_query(loops, index, &info), 0);
	return info.placed;
}

static void make_loops(uint32_t policy)
{
	struct vdb_loop_config loop = test_loop_config();
	struct vdb_loops_config config = {
	        .size = sizeof(config), .count = LOOPS, .policy = policy, .loop = &loop};

	ck_assert_msg(vdb_loops_create(&config, &loops) == 0, "%s", vdb_errmsg());
	ck_assert_msg(vdb_loops_start(loops) == 0, "%s", vdb_errmsg());
}

static void setup(void)
{
	make_loops(VDB_PLACE_ROUND_ROBIN);
	virtio_rig_open(&rig, &(struct vdb_virtio_config){.loops = loops});
}

static void end_loops(void)
{
	for (uint32_t i = 0; i < LOOPS; i++)
		ck_assert_uint_eq(placed(i), 0);
	ck_assert_int_eq(vdb_loops_join(loops), 0);
	ck_assert_int_eq(vdb_loops_destroy(loops), 0);
}

static void teardown(void)
{
	virtio_rig_close(&rig);
	end_loops();
}

static int where(uint32_t queue)
{
	struct vdb_loop *loop = NULL;

	ck_assert_int_eq(vdb_virtio_queue_loop(rig.device, queue, &loop), 0);
	return vdb_loops_index(loops, loop);
}

static uint64_t served(uint32_t index)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_loop_stats(loop_at(index), &stats), 0);
	return stats.served;
}

static void echo_all(void)
{
	for (uint32_t i = 0; i < VRIG_QUEUES; i++)
		virtio_rig_echo(&rig, i);
}

START_TEST(queues_are_spread)
{
	struct vdb_loop *loop = NULL;

	setup();
	for (uint32_t i = 0; i < VRIG_QUEUES; i++)
		ck_assert_int_eq(where(i), i % LOOPS);
	ck_assert_int_eq(vdb_virtio_queue_loop(rig.device, VRIG_QUEUES, &loop), -ENOENT);
	ck_assert_uint_eq(placed(0), 2);
	ck_assert_uint_eq(placed(1), 1);
	ck_assert_uint_eq(placed(2), 1);
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	echo_all();
	for (uint32_t i = 0; i < LOOPS; i++)
		ck_assert_uint_gt(served(i), 0);
	teardown();
}
END_TEST

START_TEST(pinned_ones_follow_the_first)
{
	make_loops(VDB_PLACE_PINNED);
	virtio_rig_open(&rig, &(struct vdb_virtio_config){.loops = loops, .first_loop = 2});
	for (uint32_t i = 0; i < VRIG_QUEUES; i++)
		ck_assert_int_eq(where(i), (2 + i) % LOOPS);
	teardown();
}
END_TEST

START_TEST(those_that_belong_together_are)
{
	make_loops(_i ? VDB_PLACE_PINNED : VDB_PLACE_ROUND_ROBIN);
	virtio_rig_open(&rig,
	                &(struct vdb_virtio_config){.loops = loops, .first_loop = _i ? 1 : 0, .together = 2});
	for (uint32_t i = 0; i < VRIG_QUEUES; i++)
		ck_assert_int_eq(where(i), i / 2 + (_i ? 1 : 0));
	ck_assert_uint_eq(placed(1), 2);
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	echo_all();
	teardown();
}
END_TEST

START_TEST(tenants_of_each_loop)
{
	struct vdb_tenant *tenants[LOOPS];
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};

	make_loops(VDB_PLACE_ROUND_ROBIN);
	for (uint32_t i = 0; i < LOOPS; i++)
		ck_assert_int_eq(vdb_tenant_create(loop_at(i), &tenants[i]), 0);
	virtio_rig_open(&rig, &(struct vdb_virtio_config){.loops = loops, .tenants = tenants});
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	echo_all();
	for (uint32_t i = 0; i < LOOPS; i++) {
		while (!stats.requests || stats.requests < (i ? 1 : 2))
			ck_assert_int_eq(vdb_tenant_stats(tenants[i], &stats), 0);
		ck_assert_uint_eq(stats.requests, i ? 1 : 2);
		stats.requests = 0;
		vdb_tenant_destroy(tenants[i]);
	}
	echo_all();
	teardown();
}
END_TEST

static int try(struct vdb_virtio_config config)
{
	static const struct vdb_virtio_ops ops = {
	        .size = sizeof(ops), .device_id = 42, .backend = (void *)try};
	struct vdb_virtio *device = NULL;

	config.size = sizeof(config);
	config.mem = rig.ram.mem;
	config.queues = 1;
	return vdb_virtio_create(&ops, NULL, &config, &device);
}

START_TEST(what_does_not_fit_is_refused)
{
	struct vdb_tenant *tenant, *tenants[LOOPS] = {0};

	setup();
	ck_assert_int_eq(vdb_tenant_create(loop_at(0), &tenant), 0);
	tenants[0] = tenants[1] = tenant;
	ck_assert_int_eq(try((struct vdb_virtio_config){0}), -EINVAL);
	ck_assert_int_eq(try((struct vdb_virtio_config){.loop = rig.loop, .loops = loops}), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "not both"));
	ck_assert_int_eq(try((struct vdb_virtio_config){.loops = loops, .tenant = tenant}), -EINVAL);
	ck_assert_int_eq(try((struct vdb_virtio_config){.loops = loops, .tenants = tenants}), -EINVAL);
	ck_assert_int_eq(try((struct vdb_virtio_config){.loops = loops, .first_loop = LOOPS}), -EINVAL);
	ck_assert_int_eq(try((struct vdb_virtio_config){.loops = loops, .together = 65}), -EINVAL);
	ck_assert_int_eq(try((struct vdb_virtio_config){.loop = rig.loop, .tenants = tenants}), -EINVAL);
	ck_assert_int_eq(try((struct vdb_virtio_config){.loop = rig.loop, .first_loop = 1}), -EINVAL);
	vdb_tenant_destroy(tenant);
	teardown();
}
END_TEST

/* ---- Ends that wait for all loops ---- */

START_TEST(resets_wait_for_every_loop)
{
	setup();
	for (unsigned round = 0; round < 60; round++) {
		rig.echo.late_us = round % 3 * 200;
		virtio_rig_up(&rig, round % 2 ? VRIG_BIT(VIRTIO_F_RING_PACKED) : 0, VRIG_QUEUES);
		for (uint32_t i = 0; i < VRIG_QUEUES; i++)
			virtio_rig_send(&rig, i, round);
		if (round % 4 == 0)
			usleep(300);
		virtio_rig_reset(&rig);
		ck_assert_uint_eq(__atomic_load_n(&rig.echo.started, __ATOMIC_ACQUIRE),
		                  __atomic_load_n(&rig.echo.served, __ATOMIC_ACQUIRE));
	}
	ck_assert_uint_eq(rig.resets, rig.forgotten);
	teardown();
}
END_TEST

static void counted(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_ACQ_REL);
}

START_TEST(quiesces_wait_for_every_loop)
{
	uint32_t done = 0;

	setup();
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	for (uint32_t round = 0; round < 40; round++) {
		for (uint32_t i = 0; i < VRIG_QUEUES; i++)
			virtio_rig_send(&rig, i, round);
		ck_assert_int_eq(vdb_virtio_quiesce(rig.device, counted, &done), 0);
		virtio_rig_wait(&done, round + 1);
		ck_assert_int_eq(vdb_virtio_resume(rig.device), 0);
		for (uint32_t i = 0; i < VRIG_QUEUES; i++)
			virtio_rig_receive(&rig, i, round);
	}
	ck_assert_uint_eq(done, 40);
	teardown();
}
END_TEST

/* ---- Moves ---- */

struct told {
	uint32_t count; /* atomic */
	int status;
};

static void moved(void *arg, int status)
{
	struct told *told = arg;

	told->status = status;
	counted(&told->count);
}

static void move(uint32_t queue, uint32_t to, struct told *told)
{
	uint32_t before = __atomic_load_n(&told->count, __ATOMIC_ACQUIRE);

	ck_assert_msg(vdb_virtio_queue_move(rig.device, queue, loop_at(to), NULL, moved, told) == 0, "%s",
	              vdb_errmsg());
	virtio_rig_wait(&told->count, before + 1);
	ck_assert_int_eq(told->status, 0);
	ck_assert_int_eq(where(queue), to);
}

START_TEST(a_move_outlives_resets)
{
	struct told told = {0};
	uint64_t before;

	setup();
	move(0, 1, &told); /* before there is a lane */
	ck_assert_uint_eq(placed(0), 1);
	ck_assert_uint_eq(placed(1), 2);
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	before = served(1);
	virtio_rig_echo(&rig, 0);
	virtio_rig_reset(&rig);
	ck_assert_uint_gt(served(1), before);
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	move(0, 2, &told); /* with one */
	ck_assert_uint_eq(placed(1), 1);
	ck_assert_uint_eq(placed(2), 2);
	echo_all();
	virtio_rig_reset(&rig);
	ck_assert_int_eq(where(0), 2);
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	before = served(2);
	virtio_rig_echo(&rig, 0);
	virtio_rig_reset(&rig);
	ck_assert_uint_gt(served(2), before);
	teardown();
}
END_TEST

START_TEST(a_move_to_no_loop_of_the_group)
{
	struct told told = {0};

	setup();
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	ck_assert_int_eq(vdb_virtio_queue_move(rig.device, 0, rig.loop, NULL, moved, &told), 0);
	virtio_rig_wait(&told.count, 1);
	ck_assert_uint_eq(placed(0), 1);
	ck_assert_int_eq(where(0), -ENOENT);
	echo_all();
	move(0, 0, &told);
	ck_assert_uint_eq(placed(0), 2);
	echo_all();
	teardown();
}
END_TEST

START_TEST(moves_that_cannot_be)
{
	struct vdb_tenant *tenant;
	struct told told = {0};

	setup();
	ck_assert_int_eq(vdb_tenant_create(loop_at(0), &tenant), 0);
	ck_assert_int_eq(vdb_virtio_queue_move(rig.device, 9, loop_at(0), NULL, NULL, NULL), -ENOENT);
	ck_assert_int_eq(vdb_virtio_queue_move(rig.device, 0, NULL, NULL, NULL, NULL), -EINVAL);
	ck_assert_int_eq(vdb_virtio_queue_move(rig.device, 0, loop_at(1), tenant, NULL, NULL), -EINVAL);
	ck_assert_int_eq(vdb_virtio_queue_move(rig.device, 1, loop_at(0), tenant, moved, &told), 0);
	ck_assert_uint_eq(told.count, 1);
	vdb_tenant_destroy(tenant);
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	echo_all();
	/* With a request under way that ends late it cannot have moved yet. */
	rig.echo.late_us = 20000;
	virtio_rig_send(&rig, 0, 1);
	virtio_rig_wait(&rig.echo.started, VRIG_QUEUES + 1);
	ck_assert_int_eq(vdb_virtio_queue_move(rig.device, 0, loop_at(1), NULL, moved, &told), 0);
	ck_assert_int_eq(vdb_virtio_queue_move(rig.device, 0, loop_at(2), NULL, moved, &told), -EBUSY);
	virtio_rig_receive(&rig, 0, 1);
	virtio_rig_wait(&told.count, 2);
	ck_assert_int_eq(told.status, 0);
	teardown();
}
END_TEST

/* Its reset ends a move: the queue's next life is where it was going. */
START_TEST(reset_on_the_way)
{
	struct told told = {0};

	setup();
	for (uint32_t round = 0; round < 40; round++) {
		virtio_rig_up(&rig, 0, VRIG_QUEUES);
		virtio_rig_send(&rig, 0, round);
		ck_assert_int_eq(vdb_virtio_queue_move(rig.device, 0, loop_at((round + 1) % LOOPS), NULL,
		                                       moved, &told),
		                 0);
		if (round % 2)
			usleep(round * 3);
		virtio_rig_reset(&rig);
		ck_assert_uint_eq(__atomic_load_n(&told.count, __ATOMIC_ACQUIRE), round + 1);
		ck_assert_int_eq(told.status, 0);
		ck_assert_int_eq(where(0), (round + 1) % LOOPS);
	}
	teardown();
}
END_TEST

START_TEST(to_a_loop_that_ends)
{
	struct vdb_loop *other;
	struct told told = {0};

	setup();
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	rig.echo.late_us = 20000;
	virtio_rig_send(&rig, 0, 1);
	virtio_rig_wait(&rig.echo.started, 1);
	ck_assert_int_eq(vdb_loop_create(NULL, &other), 0);
	ck_assert_int_eq(vdb_virtio_queue_move(rig.device, 0, other, NULL, moved, &told), 0);
	ck_assert_int_eq(vdb_loop_destroy(other), 0);
	virtio_rig_receive(&rig, 0, 1);
	virtio_rig_wait(&told.count, 1);
	ck_assert_int_eq(told.status, -ESHUTDOWN);
	ck_assert_int_eq(where(0), 0);
	ck_assert_uint_eq(placed(0), 2);
	rig.echo.late_us = 0;
	echo_all();
	teardown();
}
END_TEST

static uint32_t stop; /* atomic */

#define CROSSINGS 200

static void *cross(void *arg)
{
	struct told told[2] = {{0}};

	for (uint32_t i = 0; i < CROSSINGS; i++) {
		move(0, (i + 1) % LOOPS, &told[0]);
		move(1, i % LOOPS, &told[1]);
	}
	counted(&stop);
	return arg;
}

static void check_stats(uint32_t queue, uint64_t sent, uint64_t moves)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_virtio_queue_stats(rig.device, queue, &stats), 0);
	ck_assert_uint_eq(stats.requests, sent);
	ck_assert_uint_eq(stats.completions, sent);
	ck_assert_uint_le(stats.moves, moves);
	ck_assert_uint_ge(stats.moves, moves - 2);
	ck_assert_uint_eq(stats.broken, 0);
}

START_TEST(io_goes_on)
{
	pthread_t thread;
	uint64_t sent = 0;

	setup();
	virtio_rig_up(&rig, VRIG_BIT(VIRTIO_RING_F_EVENT_IDX), VRIG_QUEUES);
	ck_assert_int_eq(pthread_create(&thread, NULL, cross, NULL), 0);
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		for (uint32_t i = 0; i < VRIG_QUEUES; i++)
			virtio_rig_send(&rig, i, sent);
		for (uint32_t i = 0; i < VRIG_QUEUES; i++)
			virtio_rig_receive(&rig, i, sent);
		sent++;
	}
	pthread_join(thread, NULL);
	virtio_rig_reset(&rig); /* all counted */
	check_stats(0, sent, CROSSINGS);
	check_stats(1, sent, CROSSINGS);
	check_stats(3, sent, 0 + 2);
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("virtio_loops");

	tcase_add_test(tc, queues_are_spread);
	tcase_add_test(tc, pinned_ones_follow_the_first);
	tcase_add_loop_test(tc, those_that_belong_together_are, 0, 2);
	tcase_add_test(tc, tenants_of_each_loop);
	tcase_add_test(tc, what_does_not_fit_is_refused);
	tcase_add_test(tc, resets_wait_for_every_loop);
	tcase_add_test(tc, quiesces_wait_for_every_loop);
	tcase_add_test(tc, a_move_outlives_resets);
	tcase_add_test(tc, a_move_to_no_loop_of_the_group);
	tcase_add_test(tc, moves_that_cannot_be);
	tcase_add_test(tc, reset_on_the_way);
	tcase_add_test(tc, to_a_loop_that_ends);
	tcase_add_test(tc, io_goes_on);
	return test_run("virtio_loops", tc);
}
