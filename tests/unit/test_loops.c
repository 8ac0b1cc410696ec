/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: calloc aligned_alloc eventfd timerfd_create epoll_create1 */
/* WRAP: pthread_create io_uring_queue_init_params */
/* A group of loops: made, started, ended together; where things are placed. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/loops.h>

#include "fail.h"
#include "leak.h"
#include "rig.h"
#include "run.h"

static struct vdb_loops *loops;

static struct vdb_loops *make(uint32_t count, uint32_t policy)
{
	struct vdb_loop_config loop = test_loop_config();
	struct vdb_loops_config config = {
	        .size = sizeof(config), .count = count, .policy = policy, .loop = &loop};
	struct vdb_loops *made;

	ck_assert_msg(vdb_loops_create(&config, &made) == 0, "%s", vdb_errmsg());
	return made;
}

static int place(uint32_t index)
{
	struct vdb_loop *loop = NULL;
	int rc = vdb_loops_place(loops, index, &loop);

	return rc ? rc : vdb_loops_index(loops, loop);
}

static struct vdb_loops_info info_of(uint32_t index)
{
	struct vdb_loops_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_loops_query(loops, index, &info), 0);
	return info;
}

static void end(void)
{
	ck_assert_msg(vdb_loops_destroy(loops) == 0, "%s", vdb_errmsg());
}

START_TEST(one_by_default)
{
	ck_assert_int_eq(vdb_loops_create(NULL, &loops), 0);
	ck_assert_uint_eq(vdb_loops_count(loops), 1);
	ck_assert_ptr_nonnull(vdb_loops_get(loops, 0));
	ck_assert_ptr_null(vdb_loops_get(loops, 1));
	ck_assert_int_eq(place(VDB_PLACE_ANY), 0);
	ck_assert_int_eq(place(VDB_PLACE_ANY), 0);
	ck_assert_uint_eq(info_of(0).placed, 2);
	ck_assert_int_eq(info_of(0).cpu, -1);
	end();
	ck_assert_int_eq(vdb_loops_destroy(NULL), 0);
}
END_TEST

START_TEST(bad_configs_are_refused)
{
	struct vdb_loop_config loop = {.size = sizeof(loop), .engine = 99};
	struct vdb_loops_config config = {.size = sizeof(config), .count = VDB_LOOPS_MAX + 1};

	loops = NULL;
	ck_assert_int_eq(vdb_loops_create(&config, &loops), -EINVAL);
	config.count = 2;
	config.policy = VDB_PLACE_PINNED + 1;
	ck_assert_int_eq(vdb_loops_create(&config, &loops), -EINVAL);
	config.policy = 0;
	config.reserved = 1;
	ck_assert_int_eq(vdb_loops_create(&config, &loops), -EINVAL);
	config.reserved = 0;
	config.loop = &loop;
	ck_assert_int_eq(vdb_loops_create(&config, &loops), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "99"));
	config.size = 3;
	ck_assert_int_eq(vdb_loops_create(&config, &loops), -EINVAL);
	ck_assert_ptr_null(loops);
}
END_TEST

START_TEST(round_robin)
{
	struct vdb_loop *other;

	loops = make(3, VDB_PLACE_ROUND_ROBIN);
	for (int i = 0; i < 7; i++)
		ck_assert_int_eq(place(VDB_PLACE_ANY), i % 3);
	/* One that somebody wants is counted, and leaves the order alone. */
	ck_assert_int_eq(place(2), 2);
	ck_assert_int_eq(place(VDB_PLACE_ANY), 1);
	ck_assert_int_eq(place(3), -ENOENT);
	ck_assert_uint_eq(info_of(0).placed, 3);
	ck_assert_uint_eq(info_of(1).placed, 3);
	ck_assert_uint_eq(info_of(2).placed, 3);
	vdb_loops_leave(loops, vdb_loops_get(loops, 1));
	ck_assert_uint_eq(info_of(1).placed, 2);
	ck_assert_int_eq(vdb_loop_create(NULL, &other), 0);
	ck_assert_int_eq(vdb_loops_index(loops, other), -ENOENT);
	vdb_loops_leave(loops, other);
	ck_assert_int_eq(vdb_loop_destroy(other), 0);
	end();
}
END_TEST

START_TEST(pinned)
{
	struct vdb_loops_info info = {.size = sizeof(info)};

	loops = make(2, VDB_PLACE_PINNED);
	ck_assert_int_eq(place(VDB_PLACE_ANY), -EINVAL);
	ck_assert_int_eq(place(1), 1);
	ck_assert_int_eq(place(1), 1);
	ck_assert_int_eq(place(2), -ENOENT);
	ck_assert_uint_eq(info_of(0).placed, 0);
	ck_assert_uint_eq(info_of(1).placed, 2);
	ck_assert_int_eq(vdb_loops_query(loops, 2, &info), -ENOENT);
	end();
}
END_TEST

START_TEST(least_loaded_by_what_is_placed)
{
	loops = make(3, VDB_PLACE_LEAST_LOADED);
	for (int i = 0; i < 6; i++)
		ck_assert_int_eq(place(VDB_PLACE_ANY), i % 3);
	vdb_loops_leave(loops, vdb_loops_get(loops, 1));
	ck_assert_int_eq(place(VDB_PLACE_ANY), 1);
	ck_assert_int_eq(place(0), 0);
	ck_assert_int_eq(place(VDB_PLACE_ANY), 1);
	ck_assert_int_eq(place(VDB_PLACE_ANY), 2);
	end();
}
END_TEST

/* One VM's worth of work on the first loop, none on the second. */
START_TEST(least_loaded_by_what_is_served)
{
	struct vdb_backend *backend;
	struct rig_guest guest;
	struct vdb_loop_stats stats = {.size = sizeof(stats)};
	struct rig rig;

	loops = make(2, VDB_PLACE_LEAST_LOADED);
	rig.loop = vdb_loops_get(loops, 0);
	ck_assert_int_ge(vdb_loop_fd(rig.loop), 0);
	ck_assert_int_eq(vdb_backend_null(1 << 20, &backend), 0);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 4096, 0), 4096);
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &stats), 0);
	ck_assert_uint_eq(stats.served, 50 * (4096 + 4096));
	ck_assert_int_eq(place(0), 0);
	usleep(20000);
	/* The second has all that is to be had of neither. */
	ck_assert_int_eq(place(VDB_PLACE_ANY), 1);
	ck_assert_uint_eq(info_of(0).load, 1500);
	ck_assert_uint_eq(info_of(1).load, 500);
	ck_assert_int_eq(place(VDB_PLACE_ANY), 1);
	ck_assert_int_eq(place(VDB_PLACE_ANY), 1);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	end();
}
END_TEST

static int count(void *arg)
{
	return ++*(int *)arg;
}

START_TEST(all_start_and_end_together)
{
	struct vdb_loop_config loop = test_loop_config();
	int32_t cpus[] = {-1, sched_getcpu(), -1};
	struct vdb_loops_config config = {.size = sizeof(config),
	                                  .count = 3,
	                                  .cpus = cpus,
	                                  .loop = &loop,
	                                  .name = "a name that is long"};
	int calls = 0;

	ck_assert_int_eq(vdb_loops_create(&config, &loops), 0);
	ck_assert_int_eq(info_of(1).cpu, cpus[1]);
	for (int round = 0; round < 3; round++) {
		ck_assert_int_eq(vdb_loops_join(loops), -EINVAL);
		ck_assert_msg(vdb_loops_start(loops) == 0, "%s", vdb_errmsg());
		ck_assert_int_eq(vdb_loops_start(loops), -EBUSY);
		ck_assert_int_eq(vdb_loops_destroy(loops), -EBUSY);
		for (uint32_t i = 0; i < 3; i++)
			ck_assert_int_gt(vdb_loop_call(vdb_loops_get(loops, i), count, &calls), 0);
		ck_assert_int_eq(vdb_loops_join(loops), 0);
	}
	ck_assert_int_eq(calls, 9);
	end();
}
END_TEST

static int join_here(void *arg)
{
	return vdb_loops_join(arg);
}

START_TEST(none_joins_itself)
{
	loops = make(2, 0);
	ck_assert_int_eq(vdb_loops_start(loops), 0);
	ck_assert_int_eq(vdb_loop_call(vdb_loops_get(loops, 1), join_here, loops), -EDEADLK);
	ck_assert_int_eq(vdb_loops_join(loops), 0);
	end();
}
END_TEST

START_TEST(a_cpu_that_does_not_exist)
{
	int32_t cpus[] = {-1, 65000};
	struct vdb_loops_config config = {.size = sizeof(config), .count = 2, .cpus = cpus};

	ck_assert_int_eq(vdb_loops_create(&config, &loops), 0);
	ck_assert_int_eq(vdb_loops_start(loops), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "65000"));
	/* The first had started, and has ended. */
	ck_assert_int_eq(vdb_loops_join(loops), -EINVAL);
	end();
}
END_TEST

static int whole_life(void *arg)
{
	struct vdb_loop_config loop = test_loop_config();
	struct vdb_loops_config config = {.size = sizeof(config), .count = 2, .loop = &loop};
	struct vdb_loops *made;
	int err = vdb_loops_create(&config, &made);

	(void)arg;
	if (err)
		return err;
	err = vdb_loops_start(made);
	if (!err)
		fail_check(!vdb_loops_join(made));
	/* Another thread ran them: destroying takes an io_uring of our own. What did not end is there still.
	 */
	if (vdb_loops_destroy(made))
		fail_check(!vdb_loops_destroy(made));
	return err;
}

START_TEST(hosts_that_run_short)
{
	ck_assert_uint_ge(fail_sweep(whole_life, NULL), 10);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("loops");

	tcase_add_test(tc, one_by_default);
	tcase_add_test(tc, bad_configs_are_refused);
	tcase_add_test(tc, round_robin);
	tcase_add_test(tc, pinned);
	tcase_add_test(tc, least_loaded_by_what_is_placed);
	tcase_add_test(tc, least_loaded_by_what_is_served);
	tcase_add_test(tc, all_start_and_end_together);
	tcase_add_test(tc, none_joins_itself);
	tcase_add_test(tc, a_cpu_that_does_not_exist);
	tcase_add_test(tc, hosts_that_run_short);
	return test_run("loops", tc);
}
