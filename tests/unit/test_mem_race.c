/* SPDX-License-Identifier: Apache-2.0 */
/* Regions come and go while others translate, hold, read and pin. */
/* LABELS: tsan */
#include <check.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/error.h"
#include "mem/view.h"
#include "suite.h"

#define PAGE UINT64_C(4096)
#define FIXED UINT64_C(0x100000)
#define COMES UINT64_C(0x200000)
#define GOES 2
#define ROUNDS 400
#define MAGIC UINT64_C(0x6d61676963)

struct shared {
	struct vdb_mem *mem;
	int fd; /* every region's file: each starts with MAGIC */
	bool stop;
	uint32_t done;
	uint64_t hits;
};

static void count(void *arg)
{
	struct shared *s = arg;

	vdb__fetch_add(&s->done, 1);
}

static int add(struct shared *s, vdb_gpa_t gpa)
{
	struct vdb_region_config c = {
	        .size = sizeof(c), .gpa = gpa, .len = PAGE, .backing = VDB_MEM_FD, .fd = s->fd};

	return vdb_mem_add(s->mem, &c);
}

/* As a lane: refresh at the turn, translate, hold over several turns. */
static void turn(struct shared *s, struct vdb__view *view, struct vdb__region **hold, uint32_t *held,
                 uint32_t i)
{
	vdb_gpa_t gpa = COMES + i % GOES * PAGE;
	struct iovec iov[GOES];
	uint64_t *word;
	uint32_t had = *held;

	(void)vdb__view_refresh(view);
	word = vdb__view_ptr(view, FIXED, 8, VDB__READ);
	ck_assert(word && vdb__load(word) == MAGIC);
	word = vdb__view_ptr(view, gpa, 8, VDB__READ);
	ck_assert(!word || vdb__load(word) == MAGIC);
	vdb__view_mark(view, gpa, 8);
	if (!vdb__view_iov(view, COMES, GOES * PAGE, VDB__WRITE, iov, hold, held, GOES)) {
		ck_assert_uint_eq(*held, had + GOES);
		vdb__region_hold(hold + had, GOES);
		ck_assert(vdb__load((uint64_t *)iov[0].iov_base) == MAGIC);
		vdb__region_mark(hold, iov, GOES, UINT64_MAX);
		vdb__fetch_add(&s->hits, 1);
	}
	if (i % 3 == 0) {
		vdb__region_release(hold, *held);
		*held = 0;
	}
}

static void *be_a_lane(void *arg)
{
	struct shared *s = arg;
	struct vdb__view view;
	struct vdb__region *hold[GOES];
	uint32_t held = 0;

	ck_assert_int_eq(vdb__view_init(&view, s->mem), 0);
	for (uint32_t i = 0; !vdb__load_acquire(&s->stop); i++)
		turn(s, &view, hold, &held, i);
	vdb__region_release(hold, held);
	vdb__view_drop(&view);
	return NULL;
}

static void *be_an_embedder(void *arg)
{
	struct shared *s = arg;
	struct vdb_mem_pin *pin;
	struct iovec iov[GOES];
	uint64_t value, bits;

	while (!vdb__load_acquire(&s->stop)) {
		ck_assert_int_eq(vdb_mem_load64(s->mem, FIXED, &value), 0);
		ck_assert_uint_eq(value, MAGIC);
		if (!vdb_mem_load64(s->mem, COMES, &value))
			ck_assert_uint_eq(value, MAGIC);
		if (vdb_mem_pin(s->mem, COMES, GOES * PAGE, 1, iov, GOES, &pin) == GOES) {
			ck_assert(vdb__load((uint64_t *)iov[1].iov_base) == MAGIC);
			vdb_mem_unpin(pin);
		}
		ck_assert(vdb_mem_dirty_harvest(s->mem, COMES, PAGE, &bits) <= 1);
		(void)vdb__mem_overlaps(s->mem, COMES, PAGE);
	}
	return NULL;
}

START_TEST(changes_against_everybody)
{
	struct shared s = {.fd = memfd_create("race", MFD_CLOEXEC)};
	uint64_t magic = MAGIC;
	pthread_t threads[3];

	ck_assert_int_eq(vdb_mem_create(&s.mem), 0);
	ck_assert_int_eq(ftruncate(s.fd, (off_t)PAGE), 0);
	ck_assert_int_eq(pwrite(s.fd, &magic, 8, 0), 8);
	ck_assert_int_eq(add(&s, FIXED), 0);
	ck_assert_int_eq(vdb_mem_dirty_start(s.mem), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, i ? be_a_lane : be_an_embedder, &s), 0);
	for (int i = 0; i < ROUNDS; i++) {
		for (uint64_t j = 0; j < GOES; j++)
			ck_assert_int_eq(add(&s, COMES + j * PAGE), 0);
		if (i % 4 == 0)
			usleep(100);
		for (uint64_t j = 0; j < GOES; j++)
			ck_assert_int_eq(vdb_mem_remove(s.mem, COMES + j * PAGE, count, &s), 0);
		ck_assert_int_ge(vdb_mem_reap(s.mem), 0);
	}
	vdb__store_release(&s.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	/* Every removal came to its end, once. */
	ck_assert_uint_eq(s.done, ROUNDS * GOES);
	ck_assert_uint_gt(s.hits, 0);
	ck_assert_int_eq(vdb_mem_reap(s.mem), 0);
	ck_assert_int_eq(vdb_mem_destroy(s.mem), 0);
	close(s.fd);
}
END_TEST

SUITE("mem_race", changes_against_everybody)
