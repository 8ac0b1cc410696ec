/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Memory that is removed while a request uses it, and what the host wrote, as a harvester sees it. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>

#include "base/atomic.h"
#include "base/list.h"
#include "rig.h"
#include "run.h"

#define PLUG 0x20000000u /* gpa of the region that comes and goes */
#define PLUG_LEN (64u * 1024)

static struct rig rig;
static struct rig_guest guest;
static struct vdb_backend *backend;
static struct rig_hold hold;

static void plug(void)
{
	struct vdb_region_config region = {.size = sizeof(region), .gpa = PLUG, .len = PLUG_LEN};

	ck_assert_msg(vdb_mem_add(guest.ram.mem, &region) == 0, "%s", vdb_errmsg());
}

static void setup_with(struct vdb_backend *with)
{
	rig_open(&rig, NULL);
	backend = with;
	rig_join(&rig, &guest, &(struct rig_guest_config){.backend = backend});
	plug();
}

static void teardown(void)
{
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}

static void count(void *arg)
{
	(void)vdb__fetch_add((int *)arg, 1);
}

/* ---- A backend whose reads wait for a pipe ---- */

static int pipe_fds[2];

static void pipe_done(struct vdb_io *io, int64_t result)
{
	struct vdb_req *req = vdb__container(io, struct vdb_req, io);

	vdb_req_complete(req, (int32_t)result);
}

static int pipe_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	req->io = (struct vdb_io){
	        .op = VDB_IO_READV, .fd = pipe_fds[0], .iov = req->iov, .niov = req->niov, .done = pipe_done};
	vdb_io_submit(req->loop, &req->io);
	return VDB_REQ_PENDING;
}

static struct vdb_backend *pipe_backend(void)
{
	static const struct vdb_backend_ops ops = {.size = sizeof(ops), .start = pipe_start};
	static const struct vdb_backend_info info = {
	        .size = sizeof(info), .capacity = 1 << 20, .ops = 1u << VDB_OP_READ};
	struct vdb_backend *made;

	ck_assert_int_eq(pipe(pipe_fds), 0);
	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &made), 0);
	return made;
}

START_TEST(removal_waits_for_the_kernel)
{
	struct vdb_cqe cqe;
	char bytes[512];
	int removed = 0;

	setup_with(pipe_backend());
	memset(bytes, 0x3c, sizeof(bytes));
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, PLUG + 4096, 512, 0, 1));
	RIG_UNTIL(&rig, rig_stats(&guest).inflight == 1);
	ck_assert_int_eq(vdb_mem_remove(guest.ram.mem, PLUG, count, &removed), 0);
	rig_turns(&rig, 20);
	ck_assert_int_eq(removed, 0);
	ck_assert_int_eq(vdb_mem_reap(guest.ram.mem), 1);
	/* New requests do not get at it any more. */
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FILL, PLUG, 512, 0), -EFAULT);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, PLUG, 512, 0), -EFAULT);
	/* The kernel writes to the old pages, which are still there. */
	ck_assert_int_eq(write(pipe_fds[1], bytes, 512), 512);
	cqe = rig_reap(&guest);
	ck_assert_uint_eq(cqe.user_data, 1);
	ck_assert_int_eq(cqe.result, 512);
	ck_assert_int_eq(removed, 1);
	ck_assert_int_eq(vdb_mem_reap(guest.ram.mem), 0);
	/* The place is free for other memory. */
	plug();
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FILL, PLUG, PLUG_LEN, 1), 0);
	teardown();
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}
END_TEST

/* Nor do those that come later keep what was removed before them. */
START_TEST(removal_does_not_wait_for_requests_elsewhere)
{
	struct vdb_cqe cqe;
	char bytes[512] = "anything";
	int removed = 0;

	setup_with(pipe_backend());
	ck_assert(mock_submit(&guest.m, VDB_OP_READ, RIG_DATA, 512, 0, 1));
	RIG_UNTIL(&rig, rig_stats(&guest).inflight == 1);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(vdb_mem_remove(guest.ram.mem, PLUG, count, &removed), 0);
		RIG_UNTIL(&rig, removed == i + 1);
		ck_assert_int_eq(vdb_mem_reap(guest.ram.mem), 0);
		plug();
		rig_turns(&rig, 5);
	}
	ck_assert_uint_eq(rig_stats(&guest).inflight, 1);
	ck_assert_int_eq(write(pipe_fds[1], bytes, 512), 512);
	cqe = rig_reap(&guest);
	ck_assert_int_eq(cqe.result, 512);
	ck_assert_str_eq(rig_at(&guest, RIG_DATA), "anything");
	teardown();
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}
END_TEST

/* A lane that sleeps must let go of the old map, too. */
START_TEST(removal_does_not_wait_for_an_idle_lane)
{
	int removed = 0;

	setup_with(rig_hold_open(&hold));
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FILL, PLUG, PLUG_LEN, 1), 0);
	while (vdb_loop_prepare(rig.loop) != 1)
		rig_turns(&rig, 1);
	ck_assert_int_eq(vdb_mem_remove(guest.ram.mem, PLUG, count, &removed), 0);
	RIG_UNTIL(&rig, removed);
	ck_assert_int_eq(vdb_mem_reap(guest.ram.mem), 0);
	teardown();
}
END_TEST

START_TEST(removal_waits_for_inline_work)
{
	int removed = 0;

	setup_with(rig_hold_open(&hold));
	for (unsigned i = 0; i < 60; i++)
		ck_assert(mock_prepare(&guest.m, VDB_OP_FILL, PLUG, PLUG_LEN, i, i));
	(void)vdb_guest_submit(&guest.m.g);
	RIG_UNTIL(&rig, rig_stats(&guest).inflight > 0);
	ck_assert_int_eq(vdb_mem_remove(guest.ram.mem, PLUG, count, &removed), 0);
	RIG_UNTIL(&rig, removed);
	rig_turns(&rig, 20);
	ck_assert_uint_eq(rig_stats(&guest).completions, 60);
	ck_assert_uint_gt(rig_stats(&guest).errors, 0); /* those that came after */
	ck_assert_uint_lt(rig_stats(&guest).errors, 60);
	teardown();
}
END_TEST

START_TEST(a_ring_without_memory_is_broken)
{
	int removed = 0;

	setup_with(rig_hold_open(&hold));
	ck_assert_int_eq(vdb_mem_remove(guest.ram.mem, 0, count, &removed), 0);
	RIG_UNTIL(&rig, removed);
	ck_assert_uint_eq(guest.broken, VDB_REASON_MEMORY);
	ck_assert_uint_eq(rig_stats(&guest).state, VDB_RING_BROKEN);
	rig_leave(&guest);
	vdb_backend_destroy(backend);
	rig_close(&rig);
}
END_TEST

/* ---- Races: a control thread plugs and unplugs under a running loop ---- */

START_TEST(regions_come_and_go_under_load)
{
	struct vdb_cqe cqe;
	int removed = 0, bad = 0;

	rig_open(&rig, NULL);
	backend = rig_hold_open(&hold);
	rig_plug(&rig, &guest, &(struct rig_guest_config){.backend = backend, .by_fd = 1});
	plug();
	ck_assert_int_eq(vdb_loop_start(rig.loop, -1, NULL), 0);
	mock_wait_ready(&guest.m, VDB_F_EVENT_IDX | VDB_F_MEMOPS);
	for (int round = 0; round < 100; round++) {
		for (unsigned i = 0; i < 4; i++)
			ck_assert(mock_submit(&guest.m, VDB_OP_FILL, PLUG, PLUG_LEN, i, i));
		ck_assert_int_eq(vdb_mem_remove(guest.ram.mem, PLUG, count, &removed), 0);
		for (unsigned i = 0; i < 4; i++) {
			while (!vdb_guest_reap(&guest.m.g, &cqe))
				usleep(10);
			ck_assert(cqe.result == 0 || cqe.result == -EFAULT);
			bad += cqe.result != 0;
		}
		while (vdb__load(&removed) <= round)
			usleep(10);
		plug();
	}
	ck_assert_int_le(bad, 400);
	ck_assert_int_eq(vdb_loop_join(rig.loop), 0);
	teardown();
}
END_TEST

/* ---- Dirty pages ---- */

static uint64_t harvest(vdb_gpa_t gpa)
{
	uint64_t map[8] = {0};

	ck_assert_int_ge(vdb_mem_dirty_harvest(guest.ram.mem, 0, RIG_RAM, map), 0);
	return map[gpa / 4096 / 64] >> (gpa / 4096 % 64);
}

START_TEST(what_the_host_writes_is_dirty)
{
	unsigned char disk[8192] = {1};
	struct vdb_backend *memory;

	ck_assert_int_eq(vdb_backend_memory(disk, sizeof(disk), &memory), 0);
	setup_with(memory);
	ck_assert_int_eq(vdb_mem_dirty_start(guest.ram.mem), 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA + 4000, 8192, 0), 8192);
	ck_assert_uint_eq(harvest(RIG_DATA) & 0xff, 7);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_WRITE, RIG_DATA, 8192, 0), 8192);
	ck_assert_uint_eq(harvest(RIG_DATA) & 0xff, 0);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_FILL, RIG_DATA + 4096, 1, 0), 0);
	ck_assert_uint_eq(harvest(RIG_DATA) & 0xff, 2);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_COPY, RIG_DATA + 8191, 2, RIG_DATA + 0x8000), 0);
	ck_assert_uint_eq(harvest(RIG_DATA) & 0xfff, 6);
	ck_assert_int_eq(rig_do(&guest, VDB_OP_NOP, 0, 0, 0), 0);
	ck_assert_uint_ne(harvest(RIG_RING) & 1, 0); /* the completion itself */
	vdb_mem_dirty_stop(guest.ram.mem);
	teardown();
}
END_TEST

/*
 * A migration copies what it harvests. Between submission and completion it may find
 * nothing, and copy old bytes; but once the completion is there the page must come up again.
 */
START_TEST(harvest_in_flight_loses_nothing)
{
	setup_with(rig_hold_open(&hold));
	ck_assert_int_eq(vdb_mem_dirty_start(guest.ram.mem), 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(mock_submit(&guest.m, i == 1 ? VDB_OP_USER : VDB_OP_READ, RIG_DATA, 8192, 0, 1));
		RIG_UNTIL(&rig, hold.n == 1);
		(void)harvest(RIG_DATA);
		/* The device writes, then there is another harvest, then it completes, well or badly. */
		memset(hold.reqs[0]->iov[0].iov_base, 0x66, 8192);
		(void)harvest(RIG_DATA);
		rig_hold_end(&hold, i == 2 ? -EIO : 8192, 0x66);
		ck_assert_int_eq(rig_reap(&guest).result, i == 2 ? -EIO : 8192);
		ck_assert_uint_eq(harvest(RIG_DATA) & 3, 3);
	}
	vdb_mem_dirty_stop(guest.ram.mem);
	teardown();
}
END_TEST

/* Against a thread that harvests all the time: whatever bytes a completion promised are in the copy
 * that is made of the pages harvested after it. */
struct copier {
	pthread_t thread;
	uint8_t *copy;
	uint32_t stop;
	uint64_t rounds; /* completed */
};

static void *copy_thread(void *arg)
{
	struct copier *c = arg;
	uint64_t map[8];

	while (!vdb__load_acquire(&c->stop)) {
		(void)!vdb_mem_dirty_harvest(guest.ram.mem, 0, RIG_RAM, map);
		for (unsigned page = RIG_DATA / 4096; page < RIG_DATA / 4096 + 4; page++) {
			for (unsigned i = 0; map[page / 64] >> page % 64 & 1 && i < 4096; i += 8)
				*(uint64_t *)(void *)(c->copy + page * 4096 + i) =
				        vdb__load((uint64_t *)(void *)(guest.ram.host + page * 4096 + i));
		}
		vdb__store_release(&c->rounds, c->rounds + 1);
	}
	return NULL;
}

static int word_start(void *ctx, struct vdb_req *req)
{
	/* One word at a time, as a device would beside a reader. */
	(void)ctx;
	for (uint64_t i = 0; i < req->len; i += 8)
		vdb__store((uint64_t *)(void *)((char *)req->iov[0].iov_base + i), req->offset / 512);
	return VDB_REQ_DONE;
}

START_TEST(a_copier_ends_with_the_last_bytes)
{
	const struct vdb_backend_ops ops = {.size = sizeof(ops), .start = word_start};
	const struct vdb_backend_info info = {
	        .size = sizeof(info), .capacity = 1 << 30, .ops = 1u << VDB_OP_READ};
	struct copier c = {.copy = calloc(1, RIG_RAM)};
	struct vdb_backend *words;
	uint64_t seen;

	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &words), 0);
	setup_with(words);
	ck_assert_int_eq(vdb_mem_dirty_start(guest.ram.mem), 0);
	ck_assert_int_eq(pthread_create(&c.thread, NULL, copy_thread, &c), 0);
	for (uint64_t n = 1; n <= 300; n++) {
		ck_assert_int_eq(rig_do(&guest, VDB_OP_READ, RIG_DATA, 16384, n * 512), 16384);
		/* One whole harvest after the completion. */
		seen = vdb__load_acquire(&c.rounds);
		while (vdb__load_acquire(&c.rounds) < seen + 2)
			;
		for (unsigned i = 0; i < 16384; i += 512)
			ck_assert_uint_eq(vdb__load((uint64_t *)(void *)(c.copy + RIG_DATA + i)), n);
	}
	vdb__store_release(&c.stop, 1u);
	pthread_join(c.thread, NULL);
	vdb_mem_dirty_stop(guest.ram.mem);
	teardown();
	free(c.copy);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("hostplug");

	tcase_add_test(tc, removal_waits_for_the_kernel);
	tcase_add_test(tc, removal_does_not_wait_for_requests_elsewhere);
	tcase_add_test(tc, removal_does_not_wait_for_an_idle_lane);
	tcase_add_test(tc, removal_waits_for_inline_work);
	tcase_add_test(tc, a_ring_without_memory_is_broken);
	tcase_add_test(tc, regions_come_and_go_under_load);
	tcase_add_test(tc, what_the_host_writes_is_dirty);
	tcase_add_test(tc, harvest_in_flight_loses_nothing);
	tcase_add_test(tc, a_copier_ends_with_the_last_bytes);
	return test_run("hostplug", tc);
}
