/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* How lanes come and go: with requests in flight, under a loop that ends, from other threads. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/gate.h>

#include "io/lane.h"
#include "leak.h"
#include "rig.h"
#include "run.h"

static struct rig rig;
static struct rig_guest guest;
static struct rig_hold hold;
static struct vdb_backend *backend;

static void setup_slow(void)
{
	rig_open(&rig, NULL);
	backend = rig_hold_open(&hold);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
}

static void gone(void *arg)
{
	++*(int *)arg;
}

static void close_guest(void)
{
	mock_close(&guest.m);
	mock_ram_close(&guest.ram);
}

START_TEST(destroy_waits_for_what_is_in_flight)
{
	int done = 0;

	setup_slow();
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&rig, hold.n == 1);
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 2));
	vdb_lane_destroy(guest.lane, gone, &done);
	vdb_backend_destroy(backend);
	rig_turns(&rig, 10);
	ck_assert_int_eq(done, 0);
	ck_assert_int_eq(hold.destroyed, 0);
	ck_assert_int_eq(vdb_mem_destroy(guest.ram.mem), -EBUSY);
	rig_hold_end(&hold, 512, 5);
	RIG_UNTIL(&rig, done);
	/* The one in flight was published, the one behind it was not taken. */
	ck_assert_uint_eq(hold.n, 0);
	ck_assert_int_eq(hold.destroyed, 1);
	mock_expect(&guest.m, 1, 512);
	ck_assert_uint_eq(*(uint8_t *)rig_at(&guest, RIG_DATA), 5);
	close_guest();
	rig_close(&rig);
}
END_TEST

START_TEST(destroy_before_the_loop_ever_ran)
{
	int done = 0;

	rig_open(&rig, NULL);
	backend = rig_hold_open(&hold);
	rig_plug(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	vdb_lane_destroy(guest.lane, gone, &done);
	RIG_UNTIL(&rig, done);
	close_guest();
	vdb_backend_destroy(backend);
	rig_close(&rig);
	vdb_lane_destroy(NULL, gone, &done);
	ck_assert_int_eq(done, 1);
}
END_TEST

/* What was filled is marked, what was not is neither. */
static unsigned check_marks(uint8_t byte)
{
	uint64_t dirty[4] = {0};
	unsigned filled = 0;

	ck_assert_int_ge(vdb_mem_dirty_harvest(guest.ram.mem, RIG_DATA, 256 * 4096, dirty), 0);
	for (unsigned page = 0; page < 256; page++) {
		uint8_t first = *(uint8_t *)rig_at(&guest, RIG_DATA + page * 4096);

		ck_assert_uint_eq(dirty[page / 64] >> page % 64 & 1, first == byte);
		filled += first == byte;
	}
	return filled;
}

START_TEST(destroy_cancels_inline_work)
{
	unsigned filled;
	int done = 0;

	rig_open(&rig, NULL);
	ck_assert_int_eq(vdb_backend_null(4096, &backend), 0);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	ck_assert_int_eq(vdb_mem_dirty_start(guest.ram.mem), 0);
	ck_assert(mock_submit(&guest.m, VDB_OP_FILL, RIG_DATA, 1 << 20, 6, 1));
	ck_assert(mock_submit(&guest.m, VDB_OP_FILL, RIG_DATA, 1 << 20, 7, 2));
	rig_turns(&rig, 2);
	vdb_lane_destroy(guest.lane, gone, &done);
	RIG_UNTIL(&rig, done);
	mock_expect(&guest.m, 1, -ECANCELED);
	mock_expect(&guest.m, 2, -ECANCELED);
	filled = check_marks(6);
	ck_assert_uint_gt(filled, 0);
	ck_assert_uint_lt(filled, 256);
	vdb_mem_dirty_stop(guest.ram.mem);
	close_guest();
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

/* ---- A loop that ends first ---- */

START_TEST(loop_ends_with_an_idle_lane)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};
	int done = 0;

	setup_slow();
	rig_close(&rig);
	vdb_backend_destroy(backend);
	ck_assert_int_eq(hold.destroyed, 1); /* the lane has let go */
	vdb_lane_kick(guest.lane);
	ck_assert_int_eq(vdb_lane_stats(guest.lane, &stats), 0);
	ck_assert_uint_eq(stats.state, VDB_RING_READY);
	vdb_lane_destroy(guest.lane, gone, &done);
	ck_assert_int_eq(done, 1);
	close_guest();
}
END_TEST

START_TEST(loop_ends_before_it_ever_ran)
{
	int done = 0;

	rig_open(&rig, NULL);
	backend = rig_hold_open(&hold);
	rig_plug(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	vdb_lane_kick(guest.lane);
	rig_close(&rig);
	vdb_backend_destroy(backend);
	ck_assert_int_eq(hold.destroyed, 1);
	vdb_lane_destroy(guest.lane, gone, &done);
	ck_assert_int_eq(done, 1);
	close_guest();
}
END_TEST

START_TEST(loop_ends_while_a_lane_is_destroyed)
{
	int done = 0;

	setup_slow();
	vdb_lane_destroy(guest.lane, gone, &done);
	rig_close(&rig);
	ck_assert_int_eq(done, 1);
	vdb_backend_destroy(backend);
	close_guest();
}
END_TEST

static void *complete_late(void *arg)
{
	usleep(20000);
	for (unsigned i = 0; i < hold.n; i++)
		vdb_req_complete_post(hold.reqs[i], 512);
	return arg;
}

START_TEST(loop_end_waits_for_what_is_in_flight)
{
	pthread_t thread;
	int done = 0;

	setup_slow();
	for (unsigned i = 0; i < 3; i++)
		ck_assert(mock_submit(&guest.m, VDB_OP_WRITE, RIG_DATA, 512, 0, i));
	RIG_UNTIL(&rig, hold.n == 3);
	ck_assert_int_eq(pthread_create(&thread, NULL, complete_late, NULL), 0);
	rig_close(&rig);
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < 3; i++)
		mock_expect(&guest.m, i, 512);
	vdb_lane_destroy(guest.lane, gone, &done);
	ck_assert_int_eq(done, 1);
	vdb_backend_destroy(backend);
	close_guest();
}
END_TEST

/* A backend's mistake: said at once where assertions are on, harmless where they are not. */
START_TEST(completing_twice_is_an_error)
{
	struct vdb_req *req;

	setup_slow();
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&rig, hold.n == 1);
	req = hold.reqs[0];
	rig_hold_end(&hold, 512, 0);
	vdb_req_complete(req, 512);
#ifdef NDEBUG
	ck_assert_uint_eq(rig_stats(&guest).inflight, 0);
	abort();
#endif
}
END_TEST

/* The other way to do so: finished by start(), and by its answer once more. */
static int finish_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	vdb_req_complete(req, (int32_t)req->len);
	return VDB_REQ_DONE;
}

START_TEST(completing_and_answering_is_an_error)
{
	const struct vdb_backend_ops ops = {.size = sizeof(ops), .start = finish_start};
	const struct vdb_backend_info info = {
	        .size = sizeof(info), .capacity = 4096, .ops = 1u << VDB_OP_READ};

	rig_open(&rig, NULL);
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), 0);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0), 512);
#ifdef NDEBUG /* test_lane_careless shows the rest */
	abort();
#endif
}
END_TEST

/* ---- Threads ---- */

static int echo_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	vdb_req_complete(req, req->op == VDB_OP_USER + 1 ? -ENOTTY : 0x1234);
	return VDB_REQ_PENDING;
}

START_TEST(complete_from_within_start)
{
	const struct vdb_backend_ops ops = {.size = sizeof(ops), .start = echo_start};
	const struct vdb_backend_info info = {.size = sizeof(info), .capacity = 4096, .ops = 1u << 31};

	rig_open(&rig, NULL);
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), 0);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	ck_assert_int_eq(rig_do(&guest, VDB_OP_USER, RIG_DATA, 100, 77), 0x1234);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_USER + 1, 0, 0, 77), -ENOTTY);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

/* A backend whose work is done by a thread of its own. */
struct far {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct vdb_req *queue[256];
	unsigned n;
	int stop;
};

static int far_start(void *ctx, struct vdb_req *req)
{
	struct far *far = ctx;

	pthread_mutex_lock(&far->lock);
	far->queue[far->n++] = req;
	pthread_cond_signal(&far->more);
	pthread_mutex_unlock(&far->lock);
	return VDB_REQ_PENDING;
}

static void *far_thread(void *arg)
{
	struct far *far = arg;

	pthread_mutex_lock(&far->lock);
	while (!far->stop || far->n) {
		if (!far->n) {
			pthread_cond_wait(&far->more, &far->lock);
			continue;
		}
		struct vdb_req *req = far->queue[--far->n];
		pthread_mutex_unlock(&far->lock);
		memset(req->iov[0].iov_base, (int)req->offset >> 9, req->iov[0].iov_len);
		vdb_req_complete_post(req, (int32_t)req->len);
		pthread_mutex_lock(&far->lock);
	}
	pthread_mutex_unlock(&far->lock);
	return NULL;
}

START_TEST(complete_from_another_thread)
{
	const struct vdb_backend_ops ops = {.size = sizeof(ops), .start = far_start};
	const struct vdb_backend_info info = {
	        .size = sizeof(info), .capacity = 1 << 20, .ops = 1u << VDB_OP_READ};
	struct far far = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
	struct vdb_cqe cqe;

	ck_assert_int_eq(pthread_create(&far.thread, NULL, far_thread, &far), 0);
	rig_open(&rig, NULL);
	ck_assert_int_eq(vdb_backend_create(&ops, &far, &info, &backend), 0);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 32; i++)
			ck_assert(mock_prepare(&guest.m, VDB_OP_READ, RIG_DATA + i * 512, 512, i * 512, i));
		(void)vdb_guest_submit(&guest.m.g);
		for (unsigned i = 0; i < 32; i++) {
			cqe = rig_reap(&guest);
			ck_assert_int_eq(cqe.result, 512);
			ck_assert_uint_eq(*(uint8_t *)rig_at(&guest, RIG_DATA + cqe.user_data * 512),
			                  cqe.user_data);
		}
	}
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
	pthread_mutex_lock(&far.lock);
	far.stop = 1;
	pthread_cond_signal(&far.more);
	pthread_mutex_unlock(&far.lock);
	pthread_join(far.thread, NULL);
}
END_TEST

static void open_gate(void *arg)
{
	vdb_gate_open(arg, 0);
}

/* Lanes of a running loop are made, used, watched and destroyed by the control thread. */
START_TEST(lanes_come_and_go_while_the_loop_runs)
{
	struct rig_guest guests[4];
	struct vdb_gate *gate;
	int64_t result;

	rig_open(&rig, NULL);
	ck_assert_int_eq(vdb_backend_null(1 << 20, &backend), 0);
	ck_assert_int_eq(vdb_loop_start(rig.loop, -1, NULL), 0);
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < 4; i++) {
			rig_plug(&rig, &guests[i],
			         &(struct rig_guest_config){.backend = backend, .by_fd = 1});
			mock_wait_ready(&guests[i].m, VDB_F_EVENT_IDX);
		}
		for (unsigned n = 0; n < 50; n++) {
			struct rig_guest *g = &guests[n % 4];
			struct vdb_cqe cqe;

			ck_assert(mock_submit(&g->m, VDB_OP_READ, RIG_DATA, 512, 0, n));
			if (n % 7 == 0)
				vdb_lane_kick(g->lane);
			while (!vdb_guest_reap(&g->m.g, &cqe))
				(void)rig_stats(g);
			ck_assert_uint_eq(cqe.user_data, n);
		}
		for (unsigned i = 0; i < 4; i++) {
			ck_assert_int_eq(vdb_gate_create(&gate), 0);
			vdb_lane_destroy(guests[i].lane, open_gate, gate);
			ck_assert_int_eq(vdb_gate_wait(gate, -1, &result), 0);
			vdb_gate_unref(gate);
			mock_close(&guests[i].m);
			mock_ram_close(&guests[i].ram);
		}
	}
	ck_assert_int_eq(vdb_loop_join(rig.loop), 0);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

/* ---- A tenant may be let go of by its owner before the lane has got to the loop ---- */

START_TEST(lane_keeps_its_tenant_and_backend)
{
	struct vdb_tenant *tenant;

	rig_open(&rig, NULL);
	ck_assert_int_eq(vdb_tenant_create(rig.loop, &tenant), 0);
	backend = rig_hold_open(&hold);
	rig_plug(&rig, &guest, &(struct rig_guest_config){.backend = backend, .lane.tenant = tenant});
	vdb_tenant_destroy(tenant);
	vdb_backend_destroy(backend);
	rig_handshake(&guest);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_NOP, 0, 0, 0), 0);
	ck_assert_int_eq(hold.destroyed, 0);
	rig_leave(&guest);
	ck_assert_int_eq(hold.destroyed, 1);
	rig_close(&rig);
}
END_TEST

static void whole_life(void *arg)
{
	(void)arg;
	ck_assert_int_eq(vdb_backend_null(1 << 20, &backend), 0);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 512, 0), 512);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
}

START_TEST(lanes_leave_nothing_behind)
{
	rig_open(&rig, NULL);
	leak_check(whole_life, NULL, 1 << 20);
	rig_close(&rig);
}
END_TEST

START_TEST(bad_configs_are_refused)
{
	struct vdb_lane_config config = {.size = sizeof(config)};
	struct vdb_lane *lane = NULL;
	int fds = leak_fds();

	setup_slow();
	fds = leak_fds();
	ck_assert_int_eq(vdb_lane_create(NULL, guest.m.queue, backend, &config, &lane), -EINVAL);
	ck_assert_int_eq(vdb_lane_create(rig.loop, NULL, backend, &config, &lane), -EINVAL);
	mock_open(&guest.m, &guest.ram, &(struct vdb_ring_config){.gpa = 0x8000, .sq_entries = 8});
	ck_assert_int_eq(vdb_lane_create(rig.loop, guest.m.queue, NULL, &config, &lane), -EINVAL);
	config.max_inflight = 65537;
	ck_assert_int_eq(vdb_lane_create(rig.loop, guest.m.queue, backend, &config, &lane), -EINVAL);
	config.max_inflight = 0;
	config.kick_fd = 12345;
	ck_assert_int_eq(vdb_lane_create(rig.loop, guest.m.queue, backend, &config, &lane), -EBADF);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "12345"));
	config.kick_fd = guest.m.kick;
	config.call_fd = 12346;
	ck_assert_int_eq(vdb_lane_create(rig.loop, guest.m.queue, backend, &config, &lane), -EBADF);
	config.call_fd = guest.m.call;
	config.trigger = open_gate;
	ck_assert_int_eq(vdb_lane_create(rig.loop, guest.m.queue, backend, &config, &lane), -EINVAL);
	config.size = 0;
	ck_assert_int_eq(vdb_lane_create(rig.loop, guest.m.queue, backend, &config, &lane), -EINVAL);
	ck_assert_ptr_null(lane);
	ck_assert_int_eq(leak_fds(), fds + 2);
	rig_close(&rig);
	vdb_lane_destroy(guest.lane, NULL, NULL);
	vdb_backend_destroy(backend);
	mock_close(&guest.m);
	/* The kick and call of the first mock_open() go with the process. */
	mock_ram_close(&guest.ram);
}
END_TEST

START_TEST(close_keeps_counters_and_queue)
{
	int done = 0, freed = 0;

	setup_slow();
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&rig, hold.n == 1);
	vdb__lane_close(guest.lane, NULL, gone, &done);
	rig_turns(&rig, 10);
	ck_assert_int_eq(done, 0);
	rig_hold_end(&hold, 512, 5);
	RIG_UNTIL(&rig, done);
	ck_assert_uint_eq(rig_stats(&guest).completions, 1);
	ck_assert_ptr_nonnull(guest.lane->queue);
	ck_assert_int_eq(vdb_mem_destroy(guest.ram.mem), -EBUSY);
	vdb_lane_kick(guest.lane);
	vdb_lane_destroy(guest.lane, gone, &freed);
	ck_assert_int_eq(freed, 1);
	vdb_backend_destroy(backend);
	rig_close(&rig);
	close_guest();
}
END_TEST

START_TEST(close_when_the_loop_is_gone)
{
	int done = 0;

	setup_slow();
	rig_close(&rig);
	vdb__lane_close(guest.lane, NULL, gone, &done);
	ck_assert_int_eq(done, 1);
	ck_assert_ptr_null(guest.lane->queue);
	vdb_lane_destroy(guest.lane, NULL, NULL);
	vdb_backend_destroy(backend);
	close_guest();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("life");

	tcase_add_test(tc, destroy_waits_for_what_is_in_flight);
	tcase_add_test(tc, destroy_before_the_loop_ever_ran);
	tcase_add_test(tc, destroy_cancels_inline_work);
	tcase_add_test(tc, loop_ends_with_an_idle_lane);
	tcase_add_test(tc, loop_ends_before_it_ever_ran);
	tcase_add_test(tc, loop_ends_while_a_lane_is_destroyed);
	tcase_add_test(tc, loop_end_waits_for_what_is_in_flight);
	tcase_add_test_raise_signal(tc, completing_twice_is_an_error, SIGABRT);
	tcase_add_test_raise_signal(tc, completing_and_answering_is_an_error, SIGABRT);
	tcase_add_test(tc, complete_from_within_start);
	tcase_add_test(tc, complete_from_another_thread);
	tcase_add_test(tc, lanes_come_and_go_while_the_loop_runs);
	tcase_add_test(tc, lane_keeps_its_tenant_and_backend);
	tcase_add_test(tc, lanes_leave_nothing_behind);
	tcase_add_test(tc, close_keeps_counters_and_queue);
	tcase_add_test(tc, close_when_the_loop_is_gone);
	tcase_add_test(tc, bad_configs_are_refused);
	return test_run("lane_life", tc);
}
