/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: malloc calloc aligned_alloc fcntl epoll_ctl */
/* Hosts that run short while a lane is made, attached or used. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <vdb/error.h>

#include "fail.h"
#include "leak.h"
#include "rig.h"
#include "run.h"

/* Only what a lane takes for a request in many pieces: libcheck allocates, too. */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	if (size > 16384 && fail_now("malloc"))
		return NULL;
	return __real_malloc(size);
}

/* Taking a watch away does not fail. */
int __real_epoll_ctl(int ep, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int ep, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int ep, int op, int fd, struct epoll_event *event)
{
	if (op != EPOLL_CTL_DEL && fail_now("epoll_ctl")) {
		errno = ENOSPC;
		return -1;
	}
	return __real_epoll_ctl(ep, op, fd, event);
}

static struct rig rig;
static struct rig_guest guest;
static struct vdb_backend *backend;

static void note(void *arg)
{
	++*(int *)arg;
}

static int make_lane(void *arg)
{
	struct vdb_lane_config config = {
	        .size = sizeof(config), .call_fd = guest.m.call, .kick_fd = guest.m.kick};
	struct vdb_ring_config ring = {
	        .size = sizeof(ring), .gpa = 0x20000, .sq_entries = 8, .max_segments = 16};
	struct vdb_queue *queue;
	struct vdb_lane *lane;
	int err, done = 0;

	(void)arg;
	err = vdb_ring_create(guest.ram.mem, &ring, &queue);
	if (err)
		return err;
	err = vdb_lane_create(rig.loop, queue, backend, &config, &lane);
	if (err) {
		vdb_queue_destroy(queue); /* not taken */
		return err;
	}
	vdb_lane_destroy(lane, note, &done);
	while (!done)
		rig_wait(&rig);
	return 0;
}

static void setup(void)
{
	rig_open(&rig, NULL);
	ck_assert_int_eq(vdb_backend_null(1 << 30, &backend), 0);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend, .max_segments = 1024});
}

static void teardown(void)
{
	ck_assert_int_eq(rig_do(&guest, VDB_OP_NOP, 0, 0, 0), 0);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}

/* Failing to attach, which no call can report any more, is a broken ring and a lane that can be destroyed. */
START_TEST(making_a_lane)
{
	setup();
	ck_assert_uint_ge(fail_sweep(make_lane, NULL), 7);
	teardown();
}
END_TEST

START_TEST(a_lane_that_cannot_attach_says_so)
{
	struct rig_guest other;
	const struct vdb_ring *ring;
	int done = 0;

	setup();
	rig_plug(&rig, &other, &(struct rig_guest_config){.backend = backend});
	fail_at(1);
	rig_turns(&rig, 3);
	ck_assert_ptr_nonnull(fail_what());
	fail_at(0);
	ck_assert_uint_eq(other.broken, VDB_REASON_HOST);
	ck_assert_uint_ge(other.triggers, 1);
	ring = rig_at(&other, RIG_RING);
	ck_assert_uint_eq(ring->device.state, VDB_RING_BROKEN);
	ck_assert_uint_eq(ring->device.reason, VDB_REASON_HOST);
	ck_assert_uint_eq(rig_stats(&other).state, VDB_RING_BROKEN);
	vdb_lane_kick(other.lane);
	rig_turns(&rig, 3);
	vdb_lane_destroy(other.lane, note, &done);
	ck_assert_int_eq(done, 1);
	mock_close(&other.m);
	mock_ram_close(&other.ram);
	teardown();
}
END_TEST

START_TEST(no_memory_for_many_pieces)
{
	struct vdb_seg *segs = calloc(600, sizeof(*segs));

	setup();
	for (unsigned i = 0; i < 600; i++)
		segs[i] = (struct vdb_seg){RIG_DATA + i * 512, 512, 0};
	fail_at(1);
	rig_submit_sg(&guest, VDB_OP_READ, 0x20000, segs, 600, 0, 1);
	ck_assert_int_eq(rig_reap(&guest).result, -ENOMEM);
	fail_at(0);
	rig_submit_sg(&guest, VDB_OP_READ, 0x20000, segs, 600, 0, 1);
	ck_assert_int_eq(rig_reap(&guest).result, 600 * 512);
	/* Kept: the next one allocates nothing. */
	fail_at(1);
	rig_submit_sg(&guest, VDB_OP_READ, 0x20000, segs, 600, 0, 1);
	ck_assert_int_eq(rig_reap(&guest).result, 600 * 512);
	ck_assert_uint_eq(fail_calls(), 0);
	fail_at(0);
	free(segs);
	teardown();
}
END_TEST

/* ---- Moving ---- */

static void moved(void *arg, int status)
{
	*(int *)arg = status;
}

START_TEST(a_loop_that_cannot_take_it)
{
	struct rig other;
	int status = 1;

	setup();
	rig_open(&other, NULL);
	ck_assert_int_eq(vdb_lane_move(guest.lane, other.loop, NULL, moved, &status), 0);
	rig_turns(&rig, 10);
	fail_at(1);
	rig_turns(&other, 1);
	ck_assert_ptr_nonnull(fail_what());
	fail_at(0);
	RIG_UNTIL(&rig, status != 1);
	ck_assert_int_lt(status, 0);
	ck_assert_int_ne(status, -ESHUTDOWN);
	ck_assert_int_ne(status, -ECANCELED);
	ck_assert_uint_eq(guest.broken, 0);
	ck_assert_uint_eq(rig_stats(&guest).moves, 0);
	rig_close(&other);
	teardown();
}
END_TEST

START_TEST(and_there_is_no_way_back)
{
	struct rig other;
	int status = 1, done = 0;

	setup();
	rig_open(&other, NULL);
	ck_assert_int_eq(vdb_lane_move(guest.lane, other.loop, NULL, moved, &status), 0);
	rig_turns(&rig, 10);
	rig_close(&rig);
	fail_at(1);
	rig_turns(&other, 1);
	ck_assert_ptr_nonnull(fail_what());
	rig_turns(&other, 3);
	fail_at(0);
	ck_assert_int_eq(status, -ECANCELED);
	ck_assert_uint_eq(guest.broken, VDB_REASON_HOST);
	vdb_lane_destroy(guest.lane, note, &done);
	ck_assert_int_eq(done, 1);
	mock_close(&guest.m);
	mock_ram_close(&guest.ram);
	vdb_backend_destroy(backend);
	rig_close(&other);
}
END_TEST

START_TEST(no_memory_to_move)
{
	struct vdb_tenant *shared;
	int status = 1, done = 0;
	struct rig_guest other;

	setup();
	ck_assert_int_eq(vdb_tenant_create(rig.loop, &shared), 0);
	rig_join(&rig, &other, &(struct rig_guest_config){.backend = backend, .lane.tenant = shared});
	vdb_tenant_destroy(shared);
	fail_at(1);
	ck_assert_int_eq(vdb_lane_move(other.lane, rig.loop, NULL, moved, &status), -ENOMEM);
	fail_at(0);
	rig_turns(&rig, 3);
	ck_assert_int_eq(status, 1);
	/* A tenant of its own, on the same loop. */
	ck_assert_int_eq(vdb_lane_move(other.lane, rig.loop, NULL, moved, &status), 0);
	RIG_UNTIL(&rig, status != 1);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(rig_do(&other, VDB_OP_NOP, 0, 0, 0), 0);
	vdb_lane_destroy(other.lane, note, &done);
	RIG_UNTIL(&rig, done);
	mock_close(&other.m);
	mock_ram_close(&other.ram);
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("lane_fail");

	tcase_add_test(tc, making_a_lane);
	tcase_add_test(tc, a_lane_that_cannot_attach_says_so);
	tcase_add_test(tc, no_memory_for_many_pieces);
	tcase_add_test(tc, a_loop_that_cannot_take_it);
	tcase_add_test(tc, and_there_is_no_way_back);
	tcase_add_test(tc, no_memory_to_move);
	return test_run("lane_fail", tc);
}
