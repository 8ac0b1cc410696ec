/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* A backend that finishes a request and answers for it as well, where assertions are off: start.c,
 * compiled without them, takes the place of the library's. Only the first word counts. */
#ifndef NDEBUG
#define NDEBUG
#endif
#include "io/start.c"

#include "blk_rig.h"
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

/* ---- The same, with a FLUSH behind it ---- */

static struct vdb_req *flush;

static int write_twice(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	if (req->op == VDB_OP_WRITE) {
		vdb_req_complete(req, (int32_t)req->len);
		return VDB_REQ_DONE;
	}
	flush = req;
	return VDB_REQ_PENDING;
}

START_TEST(the_flush_behind_a_write_counts)
{
	const struct vdb_backend_ops ops = {.size = sizeof(ops), .start = write_twice};
	const struct vdb_backend_info info = {.size = sizeof(info), .capacity = 4096, .ops = 0xe};
	const struct virtq_buf bufs[] = {
	        {BLK_HEADER, 16, false}, {BLK_DATA, 512, false}, {BLK_STATUS, 1, true}};
	struct vdb_backend *backend;
	struct blk_rig blk;
	uint64_t cookie;
	uint32_t len;

	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), 0);
	blk_rig_open(&blk, backend, 0, BLK_ALL, &(struct vdb_blk_config){.write_through = 1});
	blk_header(&blk, VIRTIO_BLK_T_OUT, 0);
	ck_assert(virtq_add(&blk.v.d, bufs, 3, 1));
	(void)virtq_publish(&blk.v.d);
	RIG_UNTIL(&blk.v.rig, flush);
	rig_turns(&blk.v.rig, 4);
	ck_assert(!virtq_reap(&blk.v.d, &cookie, &len));
	vdb_req_complete(flush, -EIO);
	ck_assert_uint_eq(vrig_reap(&blk.v, NULL), 1);
	ck_assert_uint_eq(*(uint8_t *)vrig_at(&blk.v, BLK_STATUS), VIRTIO_BLK_S_IOERR);
	blk_rig_close(&blk);
	vdb_backend_destroy(backend);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("careless");

	tcase_add_loop_test(tc, only_the_first_end_counts, 0, 4);
	tcase_add_test(tc, the_flush_behind_a_write_counts);
	return test_run("lane_careless", tc);
}
