/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: vdb_io_submit */
/* One file behind lanes of several loops: their FLUSHes wait for one another, and fail together. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <vdb/error.h>

#include "base/atomic.h"
#include "base/list.h"
#include "image.h"
#include "rig.h"
#include "run.h"

#define LOOPS 3

static char path[64];
static struct vdb_backend *backend;
static struct rig rigs[LOOPS];
static struct rig_guest guests[LOOPS];
static uint32_t syncs, at_once, fail_after;

/* No two at once. */
static void (*real_done[LOOPS])(struct vdb_io *io, int64_t result);

static int loop_index(const struct vdb_loop *loop)
{
	for (int i = 0; i < LOOPS; i++) {
		if (rigs[i].loop == loop)
			return i;
	}
	ck_abort_msg("a loop of somebody else's");
}

static void sync_done(struct vdb_io *io, int64_t result)
{
	struct vdb_req *req = vdb__container(io, struct vdb_req, io);
	uint32_t limit = vdb__load(&fail_after);

	ck_assert_int_eq(vdb_loop_here(req->loop), 1);
	(void)vdb__fetch_add(&at_once, -1u);
	if (limit && vdb__load(&syncs) >= limit)
		result = -EIO;
	real_done[loop_index(req->loop)](io, result);
}

void __real_vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io);
void __wrap_vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io);
void __wrap_vdb_io_submit(struct vdb_loop *loop, struct vdb_io *io)
{
	ck_assert_int_eq(vdb_loop_here(loop), 1);
	if (io->op == VDB_IO_FDATASYNC) {
		ck_assert_uint_eq(vdb__fetch_add(&at_once, 1), 0);
		(void)vdb__fetch_add(&syncs, 1);
		real_done[loop_index(loop)] = io->done;
		io->done = sync_done;
	}
	__real_vdb_io_submit(loop, io);
}

static void setup(void)
{
	struct vdb_file_config config = {.size = sizeof(config)};

	image_make(path, 65536, 1);
	config.path = path;
	ck_assert_int_eq(vdb_backend_file(&config, &backend), 0);
	for (int i = 0; i < LOOPS; i++) {
		rig_open(&rigs[i], NULL);
		rig_plug(&rigs[i], &guests[i], &(struct rig_guest_config){.backend = backend, .by_fd = 1});
		ck_assert_int_eq(vdb_loop_start(rigs[i].loop, -1, NULL), 0);
		mock_wait_ready(&guests[i].m, VDB_F_EVENT_IDX);
	}
}

static void teardown(void)
{
	for (int i = 0; i < LOOPS; i++) {
		ck_assert_int_eq(vdb_loop_join(rigs[i].loop), 0);
		rig_leave(&guests[i]);
		rig_close(&rigs[i]);
	}
	vdb_backend_destroy(backend);
	unlink(path);
}

/* All guests flush; what they are told. */
static int flush_all(unsigned each)
{
	struct vdb_cqe cqe;
	int failed = 0;

	for (unsigned n = 0; n < each; n++) {
		for (int i = 0; i < LOOPS; i++)
			ck_assert(mock_submit(&guests[i].m, VDB_OP_FLUSH, 0, 0, 0, n));
	}
	for (unsigned n = 0; n < each; n++) {
		for (int i = 0; i < LOOPS; i++) {
			while (!vdb_guest_reap(&guests[i].m.g, &cqe))
				usleep(10);
			ck_assert(cqe.result == 0 || cqe.result == -EIO);
			failed += cqe.result < 0;
		}
	}
	return failed;
}

START_TEST(flushes_of_several_loops)
{
	setup();
	for (int round = 0; round < 40; round++)
		ck_assert_int_eq(flush_all(4), 0);
	ck_assert_uint_ge(vdb__load(&syncs), 40);
	teardown();
}
END_TEST

START_TEST(failures_are_everybodys)
{
	setup();
	ck_assert_int_eq(flush_all(4), 0);
	vdb__store(&fail_after, 1u);
	ck_assert_int_gt(flush_all(4), 0);
	vdb__store(&fail_after, 0u);
	for (int round = 0; round < 3; round++)
		ck_assert_int_eq(flush_all(2), 2 * LOOPS);
	teardown();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("flush_loops");

	tcase_add_test(tc, flushes_of_several_loops);
	tcase_add_test(tc, failures_are_everybodys);
	return test_run("flush_loops", tc);
}
