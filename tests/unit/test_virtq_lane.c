/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Virtqueues of every kind as lanes: chains come as requests, and go back used. */
#include <errno.h>
#include <string.h>

#include "run.h"
#include "virtq_rig.h"

#define OUT VRIG_DATA
#define IN (VRIG_DATA + 0x10000u)
#define TABLE (VRIG_DATA + 0x20000u)

/* Each test runs for each of these. */
static const struct vdb_virtq_config kinds[] = {
        {.entries = 8},
        {.entries = 8, .flags = VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_INDIRECT},
        {.entries = 8, .flags = VDB_VIRTQ_IN_ORDER | VDB_VIRTQ_INDIRECT},
        {.entries = 8, .flags = VDB_VIRTQ_PACKED},
        {.entries = 7, .flags = VDB_VIRTQ_PACKED | VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_INDIRECT},
        {.entries = 5, .flags = VDB_VIRTQ_PACKED | VDB_VIRTQ_IN_ORDER | VDB_VIRTQ_INDIRECT},
};
#define KINDS ((int)(sizeof(kinds) / sizeof(kinds[0])))

static struct vrig v;
static struct vdb_backend *backend;

static void setup(int kind)
{
	backend = vrig_echo();
	vrig_open(&v, &(struct vrig_config){.virtq = kinds[kind], .backend = backend});
}

static void teardown(void)
{
	vrig_close(&v);
	vdb_backend_destroy(backend);
}

START_TEST(a_chain_is_read_and_written)
{
	const struct virtq_buf bufs[] = {
	        {OUT, 5, false}, {OUT + 100, 11, false}, {IN, 7, true}, {IN + 100, 20, true}};

	setup(_i);
	memcpy(vrig_at(&v, OUT), "hello", 5);
	memcpy(vrig_at(&v, OUT + 100), " virtqueue!", 11);
	for (int i = 0; i < 40; i++) {
		memset(vrig_at(&v, IN), 0, 200);
		ck_assert_uint_eq(vrig_do(&v, bufs, 4), 16);
		ck_assert_mem_eq(vrig_at(&v, IN), "hello v", 8);
		ck_assert_mem_eq(vrig_at(&v, IN + 100), "irtqueue!", 10);
	}
	ck_assert_uint_eq(vrig_stats(&v).completions, 40);
	ck_assert_uint_eq(vrig_stats(&v).errors, 0);
	teardown();
}
END_TEST

/* ---- What a backend need not say: DONE and INLINE have written all that may be ---- */

static int answer;

static int answer_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	for (uint32_t i = 0; answer == VDB_REQ_DONE && i < req->niov; i++)
		memset(req->iov[i].iov_base, 7, req->iov[i].iov_len);
	return answer;
}

static int64_t answer_step(void *ctx, struct vdb_req *req, uint64_t max)
{
	(void)ctx;
	(void)req;
	return max > 3 ? 3 : (int64_t)max;
}

START_TEST(done_and_inline_have_written_all)
{
	static const struct vdb_backend_ops ops = {
	        .size = sizeof(ops), .start = answer_start, .step = answer_step};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};
	const struct virtq_buf bufs[] = {{OUT, 5, false}, {IN, 7, true}, {IN + 100, 20, true}};

	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), 0);
	vrig_open(&v, &(struct vrig_config){.virtq = kinds[_i], .backend = backend});
	for (int i = 0; i < 2; i++) {
		answer = i ? VDB_REQ_INLINE : VDB_REQ_DONE;
		ck_assert_uint_eq(vrig_do(&v, bufs, 3), 27);
		ck_assert_uint_eq(vrig_do(&v, bufs, 1), 0);
		ck_assert_uint_eq(vrig_do(&v, bufs + 2, 1), 20);
	}
	answer = -EIO;
	ck_assert_uint_eq(vrig_do(&v, bufs, 3), 0);
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("virtq_lane");

	tcase_add_loop_test(tc, a_chain_is_read_and_written, 0, KINDS);
	tcase_add_loop_test(tc, done_and_inline_have_written_all, 0, KINDS);
	return test_run("virtq_lane", tc);
}
