/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: eventfd calloc */
/*
 * Queues that are served elsewhere: queue 2 has a lane, the others a remote, which is a loop of its own that
 * serves them. One that is late, breaks down, or says nothing for a while is tried, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine.h"
#include "fail.h"
#include "run.h"
#include "virtio/remote.h"
#include "virtio_rig.h"

#define LOCAL 2u

struct served {
	struct elsewhere *at;
	struct vdb_lane *lane;
	uint32_t from, position;
	int call_fd;
};

struct elsewhere {
	struct vdb__remote remote;
	struct served queue[VRIG_QUEUES];
	uint64_t features;
	bool idle; /* takes queues, serves nothing */
	bool mute; /* atomic: does not answer a stop before say_stopped() */
	uint32_t starts, stops, stopped, resets, ends; /* atomic */
};

static struct virtio_rig rig;
static struct elsewhere elsewhere, second;
static struct vdb_loop *loop; /* serves there */
static struct virtio_echo echo;

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL);
}

static void count_done(void *word)
{
	count(word);
}

static struct elsewhere *of(const struct vdb__remote *remote)
{
	return (struct elsewhere *)(uintptr_t)remote;
}

/* ---- The remote ---- */

static bool serves(const struct vdb__remote *remote, uint32_t index)
{
	(void)remote;
	return index != LOCAL;
}

static int open_lane(struct served *q, const struct vdb__remote_queue *queue)
{
	const struct vdb_virtq_config config = {
	        .size = sizeof(config),
	        .flags = VDB_VIRTQ_RESUME |
	                 (queue->features & VRIG_BIT(VIRTIO_F_RING_PACKED) ? VDB_VIRTQ_PACKED : 0) |
	                 (queue->features & VRIG_BIT(VIRTIO_RING_F_EVENT_IDX) ? VDB_VIRTQ_EVENT_IDX : 0),
	        .entries = queue->entries,
	        .position = queue->position,
	        .desc = queue->desc,
	        .driver = queue->driver,
	        .device = queue->device,
	        .left_at = &q->position,
	};
	const struct vdb_lane_config lane = {
	        .size = sizeof(lane), .kick_fd = queue->kick_fd, .call_fd = queue->call_fd};
	struct vdb_queue *virtq;
	int rc = vdb_virtq_create(rig.ram.mem, &config, &virtq);

	return rc ? rc : vdb_lane_create(loop, virtq, echo.backend, &lane, &q->lane);
}

static void start(struct vdb__remote *remote, const struct vdb__remote_queue *queue)
{
	struct elsewhere *e = of(remote);
	struct served *q = &e->queue[queue->index];

	e->features = queue->features;
	*q = (struct served){
	        .at = e, .from = queue->position, .position = queue->position, .call_fd = queue->call_fd};
	if (!e->idle && open_lane(q, queue))
		abort();
	count(&e->starts);
}

static void say_stopped(struct served *q)
{
	vdb__remote_stopped(&q->at->remote, (uint32_t)(q - q->at->queue), q->position);
}

static void lane_ended(void *queue)
{
	struct served *q = queue;
	bool mute = __atomic_load_n(&q->at->mute, __ATOMIC_ACQUIRE);

	count(&q->at->stopped);
	if (!mute)
		say_stopped(q);
}

static void stop(struct vdb__remote *remote, uint32_t index)
{
	struct elsewhere *e = of(remote);
	struct served *q = &e->queue[index];

	count(&e->stops);
	if (q->lane)
		vdb_lane_destroy(q->lane, lane_ended, q);
	else
		lane_ended(q);
}

static void reset(struct vdb__remote *remote)
{
	count(&of(remote)->resets);
}

static void end(struct vdb__remote *remote)
{
	count(&of(remote)->ends);
	vdb__remote_ended(remote->device);
}

static const struct vdb__remote_ops ops = {
        .serves = serves, .start = start, .stop = stop, .reset = reset, .end = end};

static void setup(void)
{
	struct vdb_loop_config config = test_loop_config();

	memset(&elsewhere, 0, sizeof(elsewhere));
	memset(&second, 0, sizeof(second));
	elsewhere.remote.ops = second.remote.ops = &ops;
	virtio_echo_open(&echo);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	virtio_rig_open_remote(&rig, &elsewhere.remote);
}

static void teardown(void)
{
	virtio_rig_unplug(&rig);
	ck_assert_uint_eq(elsewhere.ends, 1);
	ck_assert_uint_eq(elsewhere.starts, elsewhere.stops);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
	virtio_echo_close(&echo);
	virtio_rig_close(&rig);
}

static void quiesce(void)
{
	uint32_t done = 0;

	ck_assert_int_eq(vdb_virtio_quiesce(rig.device, count_done, &done), 0);
	virtio_rig_wait(&done, 1);
}

static void resume(void)
{
	ck_assert_msg(!vdb_virtio_resume(rig.device), "%s", vdb_errmsg());
}

static const uint64_t layouts[] = {
        0,
        VRIG_BIT(VIRTIO_RING_F_EVENT_IDX),
        VRIG_BIT(VIRTIO_F_RING_PACKED),
        VRIG_BIT(VIRTIO_F_RING_PACKED) | VRIG_BIT(VIRTIO_RING_F_EVENT_IDX),
};

/* ---- Tests ---- */

START_TEST(queues_are_served_there_and_here)
{
	virtio_rig_up(&rig, layouts[_i], VRIG_QUEUES);
	ck_assert_uint_eq(elsewhere.features, rig.negotiated);
	for (uint32_t i = 0; i < 100; i++)
		virtio_rig_echo(&rig, i % VRIG_QUEUES);
	ck_assert_uint_eq(echo.served, 75);
	ck_assert_uint_eq(rig.echo.served, 25);
	ck_assert_uint_eq(elsewhere.starts, 3);
}
END_TEST

START_TEST(its_calls_become_interrupts)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	virtio_rig_up(&rig, 0, 2);
	virtio_rig_send(&rig, 0, 1);
	virtio_rig_wait(&rig.interrupts[0], 1);
	virtio_rig_receive(&rig, 0, 1);
	virtio_rig_send(&rig, 0, 2);
	virtio_rig_wait(&rig.interrupts[0], 2);
	ck_assert_uint_eq(rig.interrupts[1], 0);
	ck_assert_int_eq(vdb_virtio_queue_stats(rig.device, 0, &stats), 0);
	ck_assert_uint_ge(stats.triggers, 1);
}
END_TEST

START_TEST(a_call_before_its_loop_knows_of_it_is_not_lost)
{
	const uint64_t one = 1;

	elsewhere.idle = true;
	for (uint32_t i = 1; i < 30; i++) {
		virtio_rig_up(&rig, 0, 1);
		ck_assert_int_eq(write(elsewhere.queue[0].call_fd, &one, sizeof(one)), sizeof(one));
		virtio_rig_wait(&rig.interrupts[0], i);
		__atomic_store_n(&rig.interrupts[0], i, __ATOMIC_RELEASE);
	}
}
END_TEST

START_TEST(a_quiesce_leaves_positions_and_loses_nothing)
{
	virtio_rig_up(&rig, layouts[_i], 1);
	for (uint32_t i = 1; i < 40; i++) {
		virtio_rig_echo(&rig, 0);
		quiesce();
		virtio_rig_send(&rig, 0, i + 1000);
		ck_assert_uint_eq(echo.served, 2 * i - 1);
		resume();
		ck_assert_uint_eq(elsewhere.starts, i + 1);
		virtio_rig_receive(&rig, 0, i + 1000);
	}
	ck_assert_uint_eq(rig.resets, 1);
}
END_TEST

START_TEST(another_device_goes_on_where_it_was)
{
	uint32_t gone = 0;
	uint8_t state[4096];
	size_t len = sizeof(state);
	struct vdb_virtio *old = rig.device;

	virtio_rig_up(&rig, layouts[_i], 1);
	for (int i = 0; i < 21; i++)
		virtio_rig_echo(&rig, 0);
	quiesce();
	virtio_rig_send(&rig, 0, 5);
	ck_assert_int_eq(vdb_virtio_save(old, state, &len), 0);
	vdb__virtio_detach(old);
	rig.remote = &second.remote;
	virtio_rig_renew(&rig, NULL);
	ck_assert_msg(!vdb_virtio_restore(rig.device, state, len), "%s", vdb_errmsg());
	vdb_virtio_destroy(old, count_done, &gone);
	virtio_rig_wait(&gone, 1);
	virtio_rig_attach(&rig);
	resume();
	virtio_rig_receive(&rig, 0, 5);
	rig.destroyed = 0;
}
END_TEST

START_TEST(a_reset_waits_for_the_remote)
{
	struct vdb_gate *gate;
	int64_t result;

	virtio_rig_up(&rig, 0, 3);
	virtio_rig_reset(&rig);
	ck_assert_uint_eq(elsewhere.resets, 2);
	virtio_rig_up(&rig, 0, 1);
	elsewhere.mute = true;
	vdb__virtio_set_status(rig.device, 0, &gate);
	virtio_rig_wait(&elsewhere.stopped, 3);
	ck_assert_ptr_nonnull(gate);
	ck_assert_int_eq(vdb_gate_peek(gate, &result), 0);
	ck_assert_uint_ne(virtio_rig_status(&rig), 0);
	__atomic_store_n(&elsewhere.mute, false, __ATOMIC_RELEASE);
	say_stopped(&elsewhere.queue[0]);
	ck_assert_int_eq(vdb_gate_wait(gate, 20000000000, &result), 0);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0);
	vdb_gate_unref(gate);
	virtio_rig_up(&rig, 0, 3);
	virtio_rig_echo(&rig, 0);
}
END_TEST

START_TEST(one_queue_is_reset_alone)
{
	struct vdb_gate *gate;
	int64_t result;

	virtio_rig_up(&rig, VRIG_BIT(VRIG_RING_RESET), 2);
	virtio_rig_echo(&rig, 0);
	vdb__virtio_queue_reset(rig.device, 0, &gate);
	if (gate)
		ck_assert_int_eq(vdb_gate_wait(gate, 20000000000, &result), 0);
	vdb_gate_unref(gate);
	virtio_rig_echo(&rig, 1);
	virtio_rig_queue(&rig, 0, 8);
	ck_assert_uint_eq(elsewhere.queue[0].from, 0);
	virtio_rig_echo(&rig, 0);
	ck_assert_uint_eq(elsewhere.stops, 1);
}
END_TEST

START_TEST(a_remote_that_fails_needs_a_reset)
{
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	vdb__remote_broken(&elsewhere.remote, 1, VDB_REASON_HOST);
	virtio_rig_wait(&rig.breaks, 1);
	ck_assert_uint_eq(rig.reason, VDB_REASON_HOST);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0xf | VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_rig_wait(&elsewhere.stopped, 3);
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	virtio_rig_echo(&rig, 1);
	virtio_rig_echo(&rig, LOCAL);
}
END_TEST

START_TEST(a_failure_that_is_told_late_harms_no_later_life)
{
	virtio_rig_up(&rig, 0, 1);
	virtio_rig_reset(&rig);
	vdb__remote_broken(&elsewhere.remote, 0, VDB_REASON_HOST);
	virtio_rig_up(&rig, 0, 1);
	virtio_rig_echo(&rig, 0);
	ck_assert_uint_eq(rig.breaks, 0);
}
END_TEST

START_TEST(a_remote_outlives_the_loop_of_its_calls)
{
	virtio_rig_up(&rig, 0, 2);
	virtio_rig_echo(&rig, 0);
	virtio_rig_end_loop(&rig);
	virtio_rig_send(&rig, 0, 77);
	virtio_rig_receive(&rig, 0, 77);
	virtio_rig_reset(&rig);
	ck_assert_uint_eq(elsewhere.stopped, 2);
}
END_TEST

START_TEST(such_a_queue_stays_where_it_is)
{
	virtio_rig_up(&rig, 0, VRIG_QUEUES);
	ck_assert_int_eq(vdb_virtio_queue_move(rig.device, 0, loop, NULL, NULL, NULL), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "elsewhere"));
	virtio_rig_echo(&rig, 0);
}
END_TEST

/* Starting may fail at each step: the driver is told, and comes again. */
START_TEST(no_memory_or_no_eventfd_to_start_with)
{
	uint32_t told = 0;

	for (uint32_t i = 1; i < 30; i++) {
		virtio_rig_negotiate(&rig, VRIG_V1);
		virtio_rig_queue(&rig, 0, 16);
		elsewhere.idle = true;
		fail_at(i);
		virtio_rig_set(&rig, 0xf);
		fail_at(0);
		elsewhere.idle = false;
		if (!(virtio_rig_status(&rig) & VIRTIO_CONFIG_S_NEEDS_RESET))
			break;
		told++;
	}
	ck_assert_uint_ge(told, 1);
	ck_assert_uint_lt(told, 29);
	virtio_rig_up(&rig, 0, 1);
	virtio_rig_echo(&rig, 0);
}
END_TEST

int main(void)
{
	const int n = sizeof(layouts) / sizeof(layouts[0]);
	TCase *tc = tcase_create("remote");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, queues_are_served_there_and_here, 0, n);
	tcase_add_test(tc, its_calls_become_interrupts);
	tcase_add_test(tc, a_call_before_its_loop_knows_of_it_is_not_lost);
	tcase_add_loop_test(tc, a_quiesce_leaves_positions_and_loses_nothing, 0, n);
	tcase_add_loop_test(tc, another_device_goes_on_where_it_was, 0, n);
	tcase_add_test(tc, a_reset_waits_for_the_remote);
	tcase_add_test(tc, one_queue_is_reset_alone);
	tcase_add_test(tc, a_remote_that_fails_needs_a_reset);
	tcase_add_test(tc, a_failure_that_is_told_late_harms_no_later_life);
	tcase_add_test(tc, a_remote_outlives_the_loop_of_its_calls);
	tcase_add_test(tc, such_a_queue_stays_where_it_is);
	tcase_add_test(tc, no_memory_or_no_eventfd_to_start_with);
	return test_run("virtio_remote", tc);
}
