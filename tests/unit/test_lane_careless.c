/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* A backend that finishes a request and answers for it as well, where assertions are off: start.c,
 * compiled without them, takes the place of the library's. Only the first word counts. */
#ifndef NDEBUG
#define NDEBUG
#endif
#include "io/start.c"

#include "rig.h"
#include "run.h"

static int answer;

static int start_twice(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	vdb_req_complete(req, (int32_t)req->len);
	return answer;
}

START_TEST(only_the_first_end_counts)
{
	static const int answers[] = {VDB_REQ_DONE, VDB_REQ_INLINE, 99, -ENOSPC};
	const struct vdb_backend_ops ops = {.size = sizeof(ops), .start = start_twice};
	const struct vdb_backend_info info = {
	        .size = sizeof(info), .capacity = 4096, .ops = 1u << VDB_OP_READ};
	struct vdb_backend *backend;
	struct rig_guest guest;
	struct rig rig;

	answer = answers[_i];
	rig_open(&rig, NULL);
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), 0);
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend, .lane.max_inflight = 3});
	for (uint64_t i = 0; i < 16; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, i));
	(void)vdb_guest_submit(&guest.m.g);
	rig_turns(&rig, 8);
	for (uint64_t i = 0; i < 16; i++)
		mock_expect(&guest.m, i, 512);
	ck_assert_uint_eq(rig_stats(&guest).completions, 16);
	ck_assert_uint_eq(rig_stats(&guest).inflight, 0);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("careless");

	tcase_add_loop_test(tc, only_the_first_end_counts, 0, 4);
	return test_run("lane_careless", tc);
}
