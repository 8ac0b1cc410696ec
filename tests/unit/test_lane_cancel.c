/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Requests that wait for the outside, when nobody wants them any more; and a backend that grows. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <vdb/error.h>

#include "base/atomic.h"
#include "run.h"
#include "virtq_rig.h"

/* ---- A backend whose requests end when somebody says so ---- */

static struct {
	struct vdb_req *reqs[64];
	unsigned n;
	unsigned cancels;
	bool at_once; /* cancel() completes, instead of the test later */
} waits;

static int wait_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	waits.reqs[waits.n++] = req;
	return VDB_REQ_PENDING;
}

static void wait_cancel(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	waits.cancels++;
	for (unsigned i = 0; waits.at_once && i < waits.n; i++) {
		if (waits.reqs[i] != req)
			continue;
		waits.reqs[i] = waits.reqs[--waits.n];
		vdb_req_complete(req, -ECANCELED);
		return;
	}
}

static void end_all(void)
{
	while (waits.n)
		vdb_req_complete(waits.reqs[--waits.n], -ECANCELED);
}

static struct vdb_backend *open_waiting(bool at_once)
{
	static const struct vdb_backend_ops ops = {
	        .size = sizeof(ops), .name = "waiting", .start = wait_start, .cancel = wait_cancel};
	static const struct vdb_backend_info info = {
	        .size = sizeof(info), .capacity = 1 << 20, .ops = 0x80000002};
	struct vdb_backend *backend = NULL;

	memset(&waits, 0, sizeof(waits));
	waits.at_once = at_once;
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), 0);
	return backend;
}

/* ---- Native rings ---- */

static struct rig rig;
static struct rig_guest guest;

static void wait_reset(uint32_t features)
{
	vdb_guest_reset(&guest.m.g, features);
	while (!vdb_guest_poll_ready(&guest.m.g))
		rig_wait(&rig);
}

START_TEST(a_reset_cancels)
{
	struct vdb_backend *backend = open_waiting(_i);

	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	for (int life = 1; life < 5; life++) {
		for (unsigned i = 0; i < 10; i++)
			ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, i));
		RIG_UNTIL(&rig, waits.n == 10);
		if (!_i) {
			vdb_guest_reset(&guest.m.g, 0);
			rig_turns(&rig, 16);
			ck_assert_uint_eq(waits.n, 10);
			ck_assert_uint_eq(waits.cancels, 10 * (unsigned)life); /* once each */
			ck_assert_int_eq(vdb_guest_poll_ready(&guest.m.g), 0);
			end_all();
			while (!vdb_guest_poll_ready(&guest.m.g))
				rig_wait(&rig);
		} else {
			wait_reset(0);
		}
		ck_assert_uint_eq(waits.n, 0);
		ck_assert_uint_eq(waits.cancels, 10 * (unsigned)life);
	}
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

/* First by the reset, then the lane goes: still once. */
START_TEST(a_closing_lane_cancels)
{
	struct vdb_backend *backend = open_waiting(false);
	int both = _i;

	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	for (unsigned i = 0; i < 3; i++)
		ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, i));
	RIG_UNTIL(&rig, waits.n == 3);
	if (both) {
		vdb_guest_reset(&guest.m.g, 0);
		RIG_UNTIL(&rig, waits.cancels == 3);
	}
	vdb_lane_destroy(guest.lane, NULL, NULL);
	rig_turns(&rig, 16);
	ck_assert_uint_eq(waits.cancels, 3);
	ck_assert_uint_eq(waits.n, 3);
	end_all();
	rig_turns(&rig, 16);
	mock_close(&guest.m);
	mock_ram_close(&guest.ram);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

/* For its backend it has ended: to name it again would be to name it twice. */
START_TEST(what_was_posted_is_not_cancelled)
{
	struct vdb_backend *backend = open_waiting(true);

	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	for (unsigned i = 0; i < 2; i++)
		ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, i));
	RIG_UNTIL(&rig, waits.n == 2);
	vdb_lane_destroy(guest.lane, NULL, NULL);
	vdb_req_complete_post(waits.reqs[0], 512); /* comes after the lane's end has begun */
	rig_turns(&rig, 16);
	ck_assert_uint_eq(waits.cancels, 1);
	mock_close(&guest.m);
	mock_ram_close(&guest.ram);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

START_TEST(a_loop_that_ends_cancels)
{
	struct vdb_backend *backend = open_waiting(true);

	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&rig, waits.n == 1);
	rig_close(&rig);
	ck_assert_uint_eq(waits.cancels, 1);
	vdb_lane_destroy(guest.lane, NULL, NULL);
	mock_close(&guest.m);
	mock_ram_close(&guest.ram);
	vdb_backend_destroy(backend);
}
END_TEST

/* ---- Virtqueues: a device's reset destroys their lane ---- */

START_TEST(a_virtqueue_that_goes_cancels)
{
	static struct vrig v;
	const struct virtq_buf buf = {VRIG_DATA, 512, true};
	struct vdb_backend *backend = open_waiting(true);
	uint64_t cookie;
	uint32_t len;

	vrig_open(&v, &(struct vrig_config){.virtq = {.entries = 8, .flags = _i ? VDB_VIRTQ_PACKED : 0},
	                                    .backend = backend});
	for (uint64_t i = 0; i < 5; i++)
		ck_assert(virtq_add(&v.d, &buf, 1, i));
	(void)virtq_publish(&v.d);
	RIG_UNTIL(&v.rig, waits.n == 5);
	vrig_stop(&v);
	ck_assert_uint_eq(waits.cancels, 5);
	/* Each was given back before the lane was gone. */
	for (int i = 0; i < 5; i++) {
		ck_assert(virtq_reap(&v.d, &cookie, &len));
		ck_assert_uint_eq(len, 0);
	}
	ck_assert_uint_eq(v.left_at, _i ? 0x80058005 : 5);
	vrig_close(&v);
	vdb_backend_destroy(backend);
}
END_TEST

/* ---- Resize ---- */

START_TEST(capacity_changes_between_requests)
{
	struct vdb_backend *backend = NULL;
	struct vdb_backend_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_backend_null(4096, &backend), 0);
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 4096), -ERANGE);
	ck_assert_int_eq(vdb_backend_resize(backend, 8192), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 4096), 512);
	ck_assert_int_eq(vdb_backend_resize(backend, 0), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0), -ERANGE);
	ck_assert_int_eq(vdb_backend_resize(backend, 511), -EINVAL);
	ck_assert_int_eq(vdb_backend_query(backend, &info), 0);
	ck_assert_uint_eq(info.capacity, 0);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

/* What the device's line says is of the generation: it does not change under a driver that runs. */
START_TEST(a_ring_tells_the_new_capacity_after_a_reset)
{
	struct vdb_backend *backend = NULL;

	ck_assert_int_eq(vdb_backend_null(4096, &backend), 0);
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	ck_assert_uint_eq(guest.m.g.ring->device.capacity, 4096);
	ck_assert_int_eq(vdb_backend_resize(backend, 1 << 20), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 4096), 512);
	ck_assert_uint_eq(guest.m.g.ring->device.capacity, 4096);
	wait_reset(0);
	ck_assert_uint_eq(guest.m.g.ring->device.capacity, 1 << 20);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

static uint32_t stop;

static void *resize(void *arg)
{
	for (uint64_t i = 0; !vdb__load(&stop); i++)
		if (vdb_backend_resize(arg, i % 2 ? 4096 : 1ull << 40))
			return arg;
	return NULL;
}

START_TEST(capacity_changes_under_a_running_loop)
{
	struct vdb_backend *backend = NULL;
	struct vdb_backend_info info = {.size = sizeof(info)};
	pthread_t thread;
	void *failed = NULL;

	ck_assert_int_eq(vdb_backend_null(4096, &backend), 0);
	rig_open(&rig, NULL);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	ck_assert_int_eq(pthread_create(&thread, NULL, resize, backend), 0);
	for (int i = 0; i < 5000; i++) {
		int32_t result = rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 1 << 20);

		ck_assert(result == 512 || result == -ERANGE);
		ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0), 512);
		ck_assert_int_eq(vdb_backend_query(backend, &info), 0);
		ck_assert(info.capacity == 4096 || info.capacity == 1ull << 40);
	}
	vdb__store(&stop, 1u);
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("lane_cancel");

	tcase_add_loop_test(tc, a_reset_cancels, 0, 2);
	tcase_add_loop_test(tc, a_closing_lane_cancels, 0, 2);
	tcase_add_test(tc, a_loop_that_ends_cancels);
	tcase_add_loop_test(tc, a_virtqueue_that_goes_cancels, 0, 2);
	tcase_add_test(tc, what_was_posted_is_not_cancelled);
	tcase_add_test(tc, a_ring_tells_the_new_capacity_after_a_reset);
	tcase_add_test(tc, capacity_changes_between_requests);
	tcase_add_test(tc, capacity_changes_under_a_running_loop);
	return test_run("lane_cancel", tc);
}
