/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Statistics of the guest's memory: asked for by timer or by hand, and buffers that come and go as they like.
 */
#include <errno.h>
#include <string.h>

#include "balloon_rig.h"
#include "run.h"

#define V1 VRIG_V1
#define FEATURE(name) VRIG_BIT(VIRTIO_BALLOON_F_##name)
#define STAT 10u

static struct balloon_rig b;
static uint32_t told; /* atomic: calls of updated() */

static void updated(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_ACQ_REL);
}

static void setup(void)
{
	told = 0;
	balloon_rig_open(&b, &(struct vdb_balloon_config){.updated = updated, .arg = &told}, NULL);
}

static void teardown(void)
{
	balloon_rig_close(&b);
}

static void up(void)
{
	virtio_rig_up(&b.rig, V1 | FEATURE(STATS_VQ), 3);
}

static void put(uint32_t at, uint16_t tag, uint64_t value)
{
	uint8_t *to = mock_at(&b.rig.ram, ready_rig_data(BALLOON_STATS, at * STAT));

	memcpy(to, &tag, sizeof(tag));
	memcpy(to + sizeof(tag), &value, sizeof(value));
}

static void give_bufs(const struct virtq_buf *bufs, uint32_t n, uint64_t cookie)
{
	ck_assert(virtq_add(&b.rig.driver[BALLOON_STATS], bufs, n, cookie));
	(void)virtq_publish(&b.rig.driver[BALLOON_STATS]);
}

static void give(uint32_t stats, uint64_t cookie)
{
	const struct virtq_buf bufs[] = {{ready_rig_data(BALLOON_STATS, 0), stats * STAT, false}};

	give_bufs(bufs, 1, cookie);
}

static void expect_back(uint64_t cookie)
{
	uint32_t len = 1;

	ck_assert_uint_eq(ready_rig_reap(&b.rig, BALLOON_STATS, &len), cookie);
	ck_assert_uint_eq(len, 0);
}

static struct vdb_balloon_stats stats(void)
{
	struct vdb_balloon_stats own = {.size = sizeof(own)};

	ck_assert_int_eq(vdb_balloon_stats(b.rig.device, &own), 0);
	return own;
}

START_TEST(what_the_guest_says)
{
	struct vdb_balloon_stats got;

	up();
	ck_assert_uint_eq(stats().updates, 0);
	for (uint16_t tag = 0; tag < 16; tag++)
		put(tag, tag, UINT64_C(0x100000000) + tag);
	put(16, 0xffff, 1); /* nobody knows it */
	put(17, VIRTIO_BALLOON_S_MEMFREE, 4242);
	give(18, 1);
	virtio_rig_wait(&told, 1);
	got = stats();
	ck_assert_uint_eq(got.updates, 1);
	ck_assert_uint_eq(got.has, 0xffff);
	ck_assert_uint_eq(got.swapped_in, UINT64_C(0x100000000));
	ck_assert_uint_eq(got.free, 4242); /* the last word */
	ck_assert_uint_eq(got.total, UINT64_C(0x100000005));
	ck_assert_uint_eq(got.direct_reclaimed, UINT64_C(0x10000000f));
	virtio_rig_reset(&b.rig);
	ck_assert_uint_eq(stats().has, 0);
	ck_assert_uint_eq(stats().free, 0);
	ck_assert_uint_eq(stats().updates, 1);
}
END_TEST

START_TEST(asked_by_hand)
{
	ck_assert_int_eq(vdb_balloon_ask(b.rig.device), -EOPNOTSUPP);
	up();
	ck_assert_int_eq(vdb_balloon_ask(b.rig.device), 0); /* nothing to give back yet */
	for (uint32_t i = 1; i <= 20; i++) {
		put(0, VIRTIO_BALLOON_S_AVAIL, i);
		give(1, i);
		virtio_rig_wait(&told, i);
		ck_assert_uint_eq(stats().available, i);
		ck_assert_uint_eq(stats().has, 1u << VIRTIO_BALLOON_S_AVAIL);
		ck_assert_int_eq(vdb_balloon_ask(b.rig.device), 0);
		ck_assert_int_eq(vdb_balloon_ask(b.rig.device), 0);
		expect_back(i);
	}
}
END_TEST

START_TEST(asked_by_the_clock)
{
	up();
	give(0, 1);
	virtio_rig_wait(&told, 1);
	ck_assert_int_eq(vdb_balloon_poll(b.rig.device, 1), 0);
	for (uint32_t i = 1; i < 10; i++) {
		expect_back(i);
		give(0, i + 1);
		virtio_rig_wait(&told, i + 1);
	}
	ck_assert_uint_ge(stats().updates, 10);
}
END_TEST

/* Changed while a buffer waits, to what never comes and back. */
START_TEST(the_interval_changes)
{
	up();
	ck_assert_int_eq(vdb_balloon_poll(b.rig.device, UINT32_MAX), 0);
	give(0, 1);
	virtio_rig_wait(&told, 1);
	ck_assert_int_eq(vdb_balloon_poll(b.rig.device, 0), 0);
	ck_assert_int_eq(vdb_balloon_poll(b.rig.device, 1), 0);
	expect_back(1);
	ck_assert_int_eq(vdb_balloon_poll(b.rig.device, 0), 0);
	give(0, 2);
	virtio_rig_wait(&told, 2);
	ck_assert_int_eq(vdb_balloon_ask(b.rig.device), 0);
	expect_back(2);
}
END_TEST

/* Nobody is woken for a guest that has no buffer with us. */
START_TEST(without_a_buffer_nothing_ticks)
{
	struct vdb_loop_stats before = {.size = sizeof(before)}, after = before;

	up();
	ck_assert_int_eq(vdb_balloon_poll(b.rig.device, 1), 0);
	give(0, 1);
	expect_back(1);
	ck_assert_int_eq(vdb_loop_stats(b.rig.loop, &before), 0);
	/* Many times the interval, by the loop's own clock: requests of another queue. */
	for (unsigned i = 0; i < 200; i++)
		balloon_rig_list(&b, BALLOON_DEFLATE, (const uint32_t[]){1}, 1);
	ck_assert_int_eq(vdb_loop_stats(b.rig.loop, &after), 0);
	ck_assert_uint_eq(before.timers, after.timers);
}
END_TEST

/* The rules allow one. */
START_TEST(a_second_buffer_sends_the_first_back)
{
	up();
	give(0, 1);
	give(0, 2);
	expect_back(1);
	give(0, 3);
	expect_back(2);
	virtio_rig_wait(&told, 3);
	ck_assert_int_eq(vdb_balloon_ask(b.rig.device), 0);
	expect_back(3);
}
END_TEST

START_TEST(buffers_of_any_shape)
{
	const struct virtq_buf cut[] = {{ready_rig_data(BALLOON_STATS, 0), 1, false},
	                                {ready_rig_data(BALLOON_STATS, 1), 8, false},
	                                {ready_rig_data(BALLOON_STATS, 9), 10, false}};
	const struct virtq_buf written[] = {{ready_rig_data(BALLOON_STATS, 0), 10, false},
	                                    {ready_rig_data(BALLOON_STATS, 64), 10, true}};
	const struct virtq_buf large[] = {{ready_rig_data(BALLOON_STATS, 0), 0x7000, false}};

	up();
	put(0, VIRTIO_BALLOON_S_MEMTOT, 1234);
	put(1, VIRTIO_BALLOON_S_MEMFREE, 55); /* of which a byte is missing */
	give_bufs(cut, 3, 1);
	virtio_rig_wait(&told, 1);
	ck_assert_uint_eq(stats().total, 1234);
	ck_assert_uint_eq(stats().has, 1u << VIRTIO_BALLOON_S_MEMTOT);
	give_bufs(written, 2, 2);
	expect_back(2);
	ck_assert_uint_eq(balloon_rig_info(&b).wrong, 1);
	give_bufs(large, 1, 3);
	expect_back(1);
	virtio_rig_wait(&told, 2);
	ck_assert_uint_eq(stats().total, 1234);
}
END_TEST

/* Whatever ends the queue does not wait for the host to ask; nor does a question that crosses it. */
START_TEST(queues_that_end_with_a_buffer)
{
	for (uint32_t i = 1; i <= 50; i++) {
		up();
		ck_assert_int_eq(vdb_balloon_poll(b.rig.device, i % 3), 0);
		give(0, 1);
		if (i % 2)
			virtio_rig_wait(&told, 1);
		ck_assert_int_eq(vdb_balloon_ask(b.rig.device), 0);
		virtio_rig_reset(&b.rig);
	}
}
END_TEST

static void done(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_ACQ_REL);
}

/* The guest gets its buffer back, and has it read anew when the device goes on. */
START_TEST(a_quiesce_with_a_buffer)
{
	uint32_t quiet = 0;

	up();
	ck_assert_int_eq(vdb_balloon_poll(b.rig.device, UINT32_MAX), 0);
	give(0, 1);
	virtio_rig_wait(&told, 1);
	ck_assert_int_eq(vdb_virtio_quiesce(b.rig.device, done, &quiet), 0);
	virtio_rig_wait(&quiet, 1);
	expect_back(1);
	give(0, 2);
	ck_assert_int_eq(vdb_virtio_resume(b.rig.device), 0);
	virtio_rig_wait(&told, 2);
	ck_assert_int_eq(vdb_balloon_ask(b.rig.device), 0);
	expect_back(2);
}
END_TEST

static void moved(void *arg, int status)
{
	ck_assert_int_eq(status, 0);
	done(arg);
}

/* A buffer is of the loop that has the queue; questions find their way. */
START_TEST(the_queue_moves_to_another_loop)
{
	const struct vdb_loop_config config = {.size = sizeof(config)};
	struct vdb_loop *loops[2] = {b.rig.loop, NULL};
	uint32_t moves = 0;

	ck_assert_int_eq(vdb_loop_create(&config, &loops[1]), 0);
	ck_assert_int_eq(vdb_loop_start(loops[1], -1, NULL), 0);
	up();
	give(0, 1);
	for (uint32_t i = 1; i <= 20; i++) {
		virtio_rig_wait(&told, i);
		if (i % 3)
			ck_assert_int_eq(vdb_balloon_ask(b.rig.device), 0);
		ck_assert_int_eq(
		        vdb_virtio_queue_move(b.rig.device, BALLOON_STATS, loops[i % 2], NULL, moved, &moves),
		        0);
		virtio_rig_wait(&moves, i);
		expect_back(i);
		give(0, i + 1);
	}
	virtio_rig_unplug(&b.rig);
	ck_assert_int_eq(vdb_loop_join(loops[1]), 0);
	ck_assert_int_eq(vdb_loop_destroy(loops[1]), 0);
}
END_TEST

/* The post may still be on its way when the device goes. */
START_TEST(destroyed_just_after_a_question)
{
	up();
	give(0, 1);
	virtio_rig_wait(&told, 1);
	ck_assert_int_eq(vdb_balloon_ask(b.rig.device), 0);
	virtio_rig_unplug(&b.rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("balloon_stats");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_the_guest_says);
	tcase_add_test(tc, asked_by_hand);
	tcase_add_test(tc, asked_by_the_clock);
	tcase_add_test(tc, the_interval_changes);
	tcase_add_test(tc, without_a_buffer_nothing_ticks);
	tcase_add_test(tc, a_second_buffer_sends_the_first_back);
	tcase_add_test(tc, buffers_of_any_shape);
	tcase_add_test(tc, queues_that_end_with_a_buffer);
	tcase_add_test(tc, a_quiesce_with_a_buffer);
	tcase_add_test(tc, the_queue_moves_to_another_loop);
	tcase_add_loop_test(tc, destroyed_just_after_a_question, 0, 20);
	return test_run("balloon_stats", tc);
}
