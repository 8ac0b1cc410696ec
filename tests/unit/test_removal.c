/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a region: `done` comes once, after the last use, whatever kind of
 * use is the last; the pages go after that.
 */
/* LABELS: tsan */
#include <check.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "mem/view.h"
#include "suite.h"

#define PAGE UINT64_C(4096)
#define GPA UINT64_C(0x10000)

static const struct vdb_region_config config = {.size = sizeof(config), .gpa = GPA, .len = PAGE};

static struct vdb_mem *make(void)
{
	struct vdb_mem *mem;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	ck_assert_int_eq(vdb_mem_add(mem, &config), 0);
	return mem;
}

static void count(void *arg)
{
	++*(int *)arg;
}

static bool mapped(void *host)
{
	return msync(host, PAGE, MS_ASYNC) == 0;
}

/* A hold, as a request takes it that outlives its view's map. */
static struct vdb__region *take(struct vdb__view *view)
{
	struct iovec iov;
	struct vdb__region *hold;
	uint32_t n = 0;

	ck_assert_int_eq(vdb__view_iov(view, GPA, 1, VDB__WRITE, &iov, &hold, &n, 1), 0);
	vdb__region_hold(&hold, 1);
	return hold;
}

START_TEST(unused_it_is_done_at_once)
{
	struct vdb_mem *mem = make();
	int done = 0;

	ck_assert_int_eq(vdb_mem_remove(mem, GPA + 1, count, &done), -ENOENT);
	ck_assert_int_eq(vdb_mem_remove(mem, GPA + PAGE, count, &done), -ENOENT);
	ck_assert_int_eq(done, 0);
	ck_assert_int_eq(vdb_mem_remove(mem, GPA, count, &done), 0);
	ck_assert_int_eq(done, 1);
	ck_assert_int_eq(vdb_mem_remove(mem, GPA, count, &done), -ENOENT);
	ck_assert_int_eq(vdb_mem_reap(mem), 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	ck_assert_int_eq(done, 1);
}
END_TEST

/* The hold ends after the view has let go: as a request that outlives the lane's next turn. */
START_TEST(the_hold_is_the_last_use)
{
	struct vdb_mem *mem = make();
	struct vdb__view view;
	struct vdb__region *hold;
	void *host;
	int done = 0;

	ck_assert_int_eq(vdb__view_init(&view, mem), 0);
	host = vdb__view_ptr(&view, GPA, 1, VDB__READ);
	hold = take(&view);
	ck_assert_int_eq(vdb_mem_remove(mem, GPA, count, &done), 0);
	ck_assert_int_eq(done, 0);
	ck_assert_int_eq(vdb_mem_reap(mem), 1);
	ck_assert(vdb__view_refresh(&view));
	ck_assert_ptr_null(vdb__view_ptr(&view, GPA, 1, VDB__READ));
	ck_assert_int_eq(done, 0);
	ck_assert(mapped(host));
	memset(host, 1, PAGE);
	vdb__region_release(&hold, 1);
	ck_assert_int_eq(done, 1);
	/* A loop's thread does not unmap. */
	ck_assert(mapped(host));
	ck_assert_int_eq(vdb_mem_reap(mem), 0);
	ck_assert(!mapped(host));
	vdb__view_drop(&view);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	ck_assert_int_eq(done, 1);
}
END_TEST

START_TEST(the_old_map_is_the_last_use)
{
	struct vdb_mem *mem = make();
	struct vdb__view views[2];
	struct vdb__region *hold;
	int done = 0;

	ck_assert_int_eq(vdb__view_init(&views[0], mem), 0);
	ck_assert_int_eq(vdb__view_init(&views[1], mem), 0);
	hold = take(&views[0]);
	ck_assert_int_eq(vdb_mem_remove(mem, GPA, count, &done), 0);
	vdb__region_release(&hold, 1);
	ck_assert_int_eq(done, 0);
	ck_assert(vdb__view_refresh(&views[0]));
	ck_assert_int_eq(done, 0);
	/* By dropping instead of refreshing. */
	ck_assert_ptr_nonnull(vdb__view_ptr(&views[1], GPA, PAGE, VDB__WRITE));
	vdb__view_drop(&views[1]);
	ck_assert_int_eq(done, 1);
	ck_assert_int_eq(vdb_mem_reap(mem), 0);
	vdb__view_drop(&views[0]);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(the_pin_is_the_last_use)
{
	struct vdb_mem *mem = make();
	struct vdb_mem_pin *pin;
	struct iovec iov;
	int done = 0;

	ck_assert_int_eq(vdb_mem_pin(mem, GPA, PAGE, 1, &iov, 1, &pin), 1);
	ck_assert_int_eq(vdb_mem_remove(mem, GPA, count, &done), 0);
	memset(iov.iov_base, 1, PAGE);
	ck_assert_int_eq(done, 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), -EBUSY);
	vdb_mem_unpin(pin);
	ck_assert_int_eq(done, 1);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

/* What was mapped and is not held is there as long as the view keeps its map; before it does not any more
 * it says so, once. */
struct keeper {
	struct vdb__region *region;
	unsigned calls;
};

static void keep(void *arg)
{
	struct keeper *k = arg;

	k->calls++;
	vdb__region_hold(&k->region, 1);
}

START_TEST(the_view_says_when_to_hold)
{
	struct vdb_mem *mem = make();
	struct keeper k = {.calls = 0};
	struct vdb__view view;
	struct iovec iov;
	uint32_t n = 0;
	int done = 0;

	ck_assert_int_eq(vdb__view_init(&view, mem), 0);
	view.keep = keep;
	view.keep_arg = &k;
	ck_assert(!vdb__view_refresh(&view));
	ck_assert_int_eq(vdb__view_iov(&view, GPA, 1, VDB__WRITE, &iov, &k.region, &n, 1), 0);
	ck_assert_int_eq(vdb_mem_remove(mem, GPA, count, &done), 0);
	ck_assert_uint_eq(k.calls, 0);
	memset(iov.iov_base, 1, 1);
	ck_assert(vdb__view_refresh(&view));
	ck_assert_uint_eq(k.calls, 1);
	ck_assert(!vdb__view_refresh(&view));
	ck_assert_uint_eq(k.calls, 1);
	ck_assert_int_eq(done, 0);
	memset(iov.iov_base, 2, 1);
	vdb__region_release(&k.region, 1);
	ck_assert_int_eq(done, 1);
	vdb__view_drop(&view);
	ck_assert_uint_eq(k.calls, 1);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(a_new_region_takes_its_place)
{
	struct vdb_mem *mem = make();
	struct vdb__view view;
	struct vdb__region *old, *new;
	unsigned char *host;
	uint32_t value = 5;
	int done = 0;

	ck_assert_int_eq(vdb__view_init(&view, mem), 0);
	host = vdb__view_ptr(&view, GPA, 1, VDB__WRITE);
	old = take(&view);
	ck_assert_int_eq(vdb_mem_remove(mem, GPA, count, &done), 0);
	ck_assert_int_eq(vdb_mem_add(mem, &config), 0);
	memset(host, 0xff, PAGE);
	ck_assert_int_eq(vdb_mem_load32(mem, GPA, &value), 0);
	ck_assert_uint_eq(value, 0);
	ck_assert(vdb__view_refresh(&view));
	ck_assert_ptr_ne(vdb__view_ptr(&view, GPA, 1, VDB__WRITE), host);
	new = take(&view);
	ck_assert_ptr_ne(old, new);
	vdb__region_release(&old, 1);
	ck_assert_int_eq(done, 1);
	vdb__region_release(&new, 1);
	vdb__view_drop(&view);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
	ck_assert_int_eq(done, 1);
}
END_TEST

START_TEST(destroy_refuses_while_in_use)
{
	struct vdb_mem *mem = make();
	struct vdb__view view;
	struct vdb__region *hold;
	uint32_t value = 0;

	ck_assert_int_eq(vdb__view_init(&view, mem), 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), -EBUSY);
	hold = take(&view);
	vdb__view_drop(&view);
	ck_assert_int_eq(vdb_mem_destroy(mem), -EBUSY);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "0x10000"));
	/* Nothing was destroyed. */
	ck_assert_int_eq(vdb_mem_store32(mem, GPA, 3), 0);
	ck_assert_int_eq(vdb_mem_load32(mem, GPA, &value), 0);
	ck_assert_uint_eq(value, 3);
	vdb__region_release(&hold, 1);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

struct again {
	struct vdb_mem *mem;
	int err[3];
};

static void start_over(void *arg)
{
	struct again *a = arg;

	a->err[0] = vdb_mem_destroy(a->mem);
	a->err[1] = vdb_mem_reap(a->mem);
	a->err[2] = vdb_mem_add(a->mem, &config);
}

START_TEST(done_may_reap_and_add)
{
	struct again a = {.mem = make()};

	ck_assert_int_eq(vdb_mem_remove(a.mem, GPA, start_over, &a), 0);
	ck_assert_int_eq(a.err[0], -EBUSY);
	ck_assert_int_eq(a.err[1], 0);
	ck_assert_int_eq(a.err[2], 0);
	ck_assert_int_eq(vdb_mem_destroy(a.mem), 0);
}
END_TEST

/* ---- done on a loop's thread against destroy on the control thread ---- */

struct race {
	struct vdb_mem *mem;
	struct vdb__view view;
	struct vdb__region *hold;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool begun, ended;
};

static void slow_done(void *arg)
{
	struct race *r = arg;

	pthread_mutex_lock(&r->lock);
	r->begun = true;
	pthread_cond_signal(&r->cond);
	pthread_mutex_unlock(&r->lock);
	sched_yield();
	r->ended = true;
}

static void *let_go(void *arg)
{
	struct race *r = arg;

	vdb__region_release(&r->hold, 1);
	return NULL;
}

/* When destroy returns, `done` has returned: `ended` needs no lock of its own. */
START_TEST(destroy_waits_for_done)
{
	pthread_t thread;

	for (int i = 0; i < 200; i++) {
		struct race r = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

		r.mem = make();
		ck_assert_int_eq(vdb__view_init(&r.view, r.mem), 0);
		r.hold = take(&r.view);
		vdb__view_drop(&r.view);
		ck_assert_int_eq(vdb_mem_remove(r.mem, GPA, slow_done, &r), 0);
		ck_assert_int_eq(pthread_create(&thread, NULL, let_go, &r), 0);
		pthread_mutex_lock(&r.lock);
		while (!r.begun)
			pthread_cond_wait(&r.cond, &r.lock);
		pthread_mutex_unlock(&r.lock);
		ck_assert_int_eq(vdb_mem_destroy(r.mem), 0);
		ck_assert(r.ended);
		pthread_join(thread, NULL);
	}
}
END_TEST

SUITE("removal", unused_it_is_done_at_once, the_hold_is_the_last_use, the_old_map_is_the_last_use,
      the_pin_is_the_last_use, the_view_says_when_to_hold, a_new_region_takes_its_place,
      destroy_refuses_while_in_use, done_may_reap_and_add, destroy_waits_for_done)
