/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* A backend that takes requests only as it has a use for them. */
#include <errno.h>
#include <string.h>
#include <vdb/error.h>

#include "run.h"
#include "virtq_rig.h"

#define BUFS 8u

/* Keeps what it takes until it is told to give it back. */
struct taker {
	struct vdb_backend *backend;
	uint32_t wants;
	uint32_t n;
	struct vdb_req *req[64];
	int opened, closed;
	struct vdb_loop *loop;
};

static struct vrig v;
static struct taker taker;

static int start(void *ctx, struct vdb_req *req)
{
	struct taker *t = ctx;

	ck_assert_uint_gt(t->wants, 0);
	t->wants--;
	t->req[t->n++] = req;
	return VDB_REQ_PENDING;
}

static uint32_t wants(void *ctx)
{
	return ((struct taker *)ctx)->wants;
}

static void opened(void *ctx, struct vdb_loop *loop)
{
	struct taker *t = ctx;

	ck_assert_int_eq(t->opened++, t->closed);
	t->loop = loop;
}

static void closed(void *ctx)
{
	struct taker *t = ctx;

	ck_assert_uint_eq(t->n, 0);
	ck_assert_int_eq(++t->closed, t->opened);
	t->loop = NULL;
}

static void give(struct taker *t, int32_t result)
{
	for (uint32_t i = 0; i < t->n; i++)
		vdb_req_complete(t->req[i], result);
	t->n = 0;
}

static void cancel(void *ctx, struct vdb_req *req)
{
	struct taker *t = ctx;

	for (uint32_t i = 0; i < t->n; i++)
		if (t->req[i] == req)
			t->req[i] = t->req[--t->n];
	vdb_req_complete(req, -ECANCELED);
}

static void taker_open(struct taker *t)
{
	static const struct vdb_backend_ops ops = {
	        .size = sizeof(ops),
	        .name = "taker",
	        .start = start,
	        .cancel = cancel,
	        .wants = wants,
	        .opened = opened,
	        .closed = closed,
	};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};

	*t = (struct taker){0};
	ck_assert_int_eq(vdb_backend_create(&ops, t, &info, &t->backend), 0);
}

static void setup_with(uint32_t flags)
{
	struct vrig_config config = {
	        .virtq = {.size = sizeof(config.virtq), .flags = flags, .entries = 16},
	};

	taker_open(&taker);
	config.backend = taker.backend;
	vrig_open(&v, &config);
}

static const uint32_t kinds[] = {0, VDB_VIRTQ_EVENT_IDX, VDB_VIRTQ_PACKED,
                                 VDB_VIRTQ_PACKED | VDB_VIRTQ_EVENT_IDX};

static void finish(void)
{
	vrig_close(&v);
	ck_assert_int_eq(taker.opened, 1);
	ck_assert_int_eq(taker.closed, 1);
	vdb_backend_destroy(taker.backend);
}

static void post(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct virtq_buf buf = {.gpa = VRIG_DATA + i * 64, .len = 64, .write = true};

		ck_assert(virtq_add(&v.d, &buf, 1, i));
		(void)virtq_publish(&v.d);
	}
}

static void wake(uint32_t n)
{
	taker.wants = n;
	vdb_backend_wake(taker.backend);
}

START_TEST(takes_what_it_wants)
{
	setup_with(kinds[_i]);
	RIG_UNTIL(&v.rig, taker.loop == v.rig.loop);
	post(BUFS);
	rig_turns(&v.rig, 4);
	ck_assert_uint_eq(taker.n, 0);
	wake(3);
	RIG_UNTIL(&v.rig, taker.n == 3);
	rig_turns(&v.rig, 4);
	ck_assert_uint_eq(taker.n, 3);
	give(&taker, 5);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(vrig_reap(&v, NULL), 5);
	rig_turns(&v.rig, 4);
	ck_assert_uint_eq(taker.n, 0);
	wake(BUFS);
	RIG_UNTIL(&v.rig, taker.n == BUFS - 3);
	ck_assert_uint_eq(taker.wants, 3);
	finish();
}
END_TEST

/* The doorbell is asked for only while it would be answered. */
START_TEST(is_rung_for_only_if_it_wants)
{
	uint64_t bells;

	setup_with(kinds[_i]);
	RIG_UNTIL(&v.rig, taker.loop == v.rig.loop);
	post(1); /* of the first one a fresh queue may ring */
	RIG_UNTIL(&v.rig, vdb_loop_prepare(v.rig.loop) == 1);
	bells = v.d.bells;
	post(1);
	ck_assert_uint_eq(v.d.bells, bells);
	/* What is there is found without one, and then there is none: it waits for the guest. */
	wake(4);
	RIG_UNTIL(&v.rig, taker.n == 2);
	RIG_UNTIL(&v.rig, vdb_loop_prepare(v.rig.loop) == 1);
	bells = v.d.bells;
	post(1);
	ck_assert_uint_eq(v.d.bells, bells + 1);
	RIG_UNTIL(&v.rig, taker.n == 3);
	wake(0);
	RIG_UNTIL(&v.rig, vdb_loop_prepare(v.rig.loop) == 1);
	bells = v.d.bells;
	post(1);
	ck_assert_uint_eq(v.d.bells, bells);
	finish();
}
END_TEST

/* As many as the queue has entries may wait, not 128; and nobody spins for what nobody wants. */
START_TEST(leaves_the_loop_asleep)
{
	struct vdb_loop_stats before = {.size = sizeof(before)}, after = before;

	setup_with(kinds[_i]);
	post(BUFS);
	RIG_UNTIL(&v.rig, vdb_loop_prepare(v.rig.loop) == 1);
	ck_assert_int_eq(vdb_loop_stats(v.rig.loop, &before), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(vdb_loop_prepare(v.rig.loop), 1);
	ck_assert_int_eq(vdb_loop_stats(v.rig.loop, &after), 0);
	ck_assert_uint_eq(after.turns, before.turns);
	finish();
}
END_TEST

START_TEST(serves_one_queue)
{
	struct rig rig;
	struct mock_ram ram;
	struct vdb_queue *queue = NULL;
	struct vdb_lane *lane = NULL;
	struct vdb_lane_config config = {.size = sizeof(config)};
	struct vdb_virtq_config virtq = {.size = sizeof(virtq), .entries = 16, .desc = 0x1000};
	struct vdb_ring_config ring = {.size = sizeof(ring), .gpa = 0x8000, .sq_entries = 16};

	setup_with(0);
	rig = v.rig;
	mock_ram_open(&ram, 0, VRIG_RAM);
	virtq.driver = 0x2000;
	virtq.device = 0x3000;
	ck_assert_int_eq(vdb_virtq_create(ram.mem, &virtq, &queue), 0);
	ck_assert_int_eq(vdb_lane_create(rig.loop, queue, taker.backend, &config, &lane), -EBUSY);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "taker serves another queue"));
	vdb_queue_destroy(queue);
	ck_assert_int_eq(vdb_ring_create(ram.mem, &ring, &queue), 0);
	ck_assert_int_eq(vdb_lane_create(rig.loop, queue, taker.backend, &config, &lane), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "give it a virtqueue"));
	vdb_queue_destroy(queue);
	mock_ram_close(&ram);
	finish();
}
END_TEST

/* Nothing waits for what it holds: it is asked for it, and hears of the end after that. */
START_TEST(gives_back_at_the_end)
{
	setup_with(kinds[_i]);
	post(BUFS);
	wake(BUFS);
	RIG_UNTIL(&v.rig, taker.n == BUFS);
	finish();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("lane_wants");
	int n = sizeof(kinds) / sizeof(kinds[0]);

	tcase_add_loop_test(tc, takes_what_it_wants, 0, n);
	tcase_add_loop_test(tc, is_rung_for_only_if_it_wants, 0, n);
	tcase_add_loop_test(tc, leaves_the_loop_asleep, 0, n);
	tcase_add_test(tc, serves_one_queue);
	tcase_add_loop_test(tc, gives_back_at_the_end, 0, n);
	return test_run("lane_wants", tc);
}
