/* SPDX-License-Identifier: Apache-2.0 */
/* The host's dirty bitmap: exact pages, partial words, and no mark lost to a harvest. */
/* LABELS: tsan */
/* WRAP: syscall */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/error.h"
#include "mem/view.h"
#include "suite.h"

#define PAGE UINT64_C(4096)
#define GPA UINT64_C(0x100000)
#define PAGES 200u

static struct vdb_mem *make(void)
{
	struct vdb_region_config c = {.size = sizeof(c), .gpa = GPA, .len = PAGES * PAGE};
	struct vdb_mem *mem;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	ck_assert_int_eq(vdb_mem_add(mem, &c), 0);
	c.gpa += PAGES * PAGE;
	c.len = 2 * PAGE;
	ck_assert_int_eq(vdb_mem_add(mem, &c), 0);
	return mem;
}

static int64_t harvest(struct vdb_mem *mem, uint64_t page, uint64_t pages, uint64_t *bits)
{
	memset(bits, 0xff, (PAGES + 63) / 64 * 8);
	return vdb_mem_dirty_harvest(mem, GPA + page * PAGE, pages * PAGE, bits);
}

START_TEST(only_when_started)
{
	struct vdb_mem *mem = make();
	uint64_t bits[4];

	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), -EINVAL);
	ck_assert_int_eq(vdb_mem_store32(mem, GPA, 1), 0);
	ck_assert_int_eq(vdb_mem_dirty_start(mem), 0);
	ck_assert_int_eq(vdb_mem_dirty_start(mem), -EBUSY);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), 0);
	ck_assert_int_eq(vdb_mem_store32(mem, GPA, 1), 0);
	vdb_mem_dirty_stop(mem);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), -EINVAL);
	/* A new start is clean. */
	ck_assert_int_eq(vdb_mem_dirty_start(mem), 0);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(ranges_that_are_not)
{
	struct vdb_mem *mem = make();
	uint64_t bits[4];

	ck_assert_int_eq(vdb_mem_dirty_start(mem), 0);
	ck_assert_int_eq(vdb_mem_dirty_harvest(mem, GPA, 0, bits), -EINVAL);
	ck_assert_int_eq(vdb_mem_dirty_harvest(mem, GPA + 1, PAGE, bits), -EINVAL);
	ck_assert_int_eq(vdb_mem_dirty_harvest(mem, GPA, PAGE + 1, bits), -EINVAL);
	ck_assert_int_eq(vdb_mem_dirty_harvest(mem, GPA - PAGE, PAGE, bits), -ENOENT);
	ck_assert_int_eq(vdb_mem_dirty_harvest(mem, GPA, (PAGES + 1) * PAGE, bits), -ENOENT);
	ck_assert_int_eq(vdb_mem_dirty_harvest(mem, GPA, -PAGE, bits), -ENOENT);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

/* Every way in marks the pages of its bytes and no other. */
START_TEST(every_way_in_marks)
{
	struct vdb_mem *mem = make();
	unsigned char data[3 * 4096] = {0};
	struct vdb__view view;
	struct vdb__region *hold[2];
	struct vdb_mem_pin *pin;
	struct iovec iov[2];
	uint64_t bits[4], value;
	uint32_t n = 0;

	ck_assert_int_eq(vdb__view_init(&view, mem), 0);
	ck_assert_int_eq(vdb_mem_dirty_start(mem), 0);

	ck_assert_int_eq(vdb_mem_write(mem, GPA + 3 * PAGE - 1, data, PAGE + 2), 0);
	ck_assert_int_eq(harvest(mem, 0, 64, bits), 3);
	ck_assert_uint_eq(bits[0], 0x1c);
	ck_assert_int_eq(vdb_mem_write(mem, GPA + 3 * PAGE, data, PAGE), 0);
	ck_assert_int_eq(vdb_mem_store32(mem, GPA + 6 * PAGE - 4, 1), 0);
	ck_assert_int_eq(vdb_mem_store64(mem, GPA + 7 * PAGE, 1), 0);
	ck_assert_int_eq(harvest(mem, 0, 64, bits), 3);
	ck_assert_uint_eq(bits[0], 0xa8);

	/* Reads mark nothing; nor does a pin to read. */
	ck_assert_int_eq(vdb_mem_read(mem, GPA, data, sizeof(data)), 0);
	ck_assert_int_eq(vdb_mem_load64(mem, GPA, &value), 0);
	ck_assert_int_eq(vdb_mem_pin(mem, GPA, 2 * PAGE, 0, iov, 2, &pin), 1);
	vdb_mem_unpin(pin);
	ck_assert_int_eq(vdb_mem_pin(mem, GPA, 2 * PAGE, 1, iov, 2, &pin), 1);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), 0);
	vdb_mem_unpin(pin);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), 2);
	ck_assert_uint_eq(bits[0], 3);

	vdb__view_mark(&view, GPA + 4096 * 65 - 1, 2);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), 2);
	ck_assert_uint_eq(bits[1], 3);
	vdb__view_mark(&view, GPA, 0);
	vdb__view_mark(&view, 0, 8);

	/* The first `bytes` of iovecs, into the next region or not. */
	ck_assert_int_eq(vdb__view_iov(&view, GPA + 198 * PAGE, 4 * PAGE, VDB__WRITE, iov, hold, &n, 2), 0);
	vdb__region_mark(hold, iov, n, 0);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), 0);
	vdb__region_mark(hold, iov, n, 2 * PAGE);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), 2);
	ck_assert_int_eq(harvest(mem, PAGES, 2, bits), 0);
	vdb__region_mark(hold, iov, n, 2 * PAGE + 1);
	ck_assert_int_eq(harvest(mem, PAGES, 2, bits), 1);
	ck_assert_uint_eq(bits[0], 1);
	vdb__region_mark(hold, iov, n, UINT64_MAX);
	ck_assert_int_eq(harvest(mem, PAGES, 2, bits), 2);
	vdb__view_drop(&view);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

/* Any window, however it lies to the words: its own bits come out and are cleared, the others stay. */
START_TEST(a_window_takes_only_its_own)
{
	struct vdb_mem *mem = make();
	uint64_t bits[4], rest[4], window;
	struct vdb__view view;
	static const uint64_t lens[] = {1, 2, 63, 64, 65, 127, 128, 129};

	ck_assert_int_eq(vdb__view_init(&view, mem), 0);
	ck_assert_int_eq(vdb_mem_dirty_start(mem), 0);
	for (uint64_t first = 0; first < 130; first += 13) {
		for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
			window = first + lens[l] > PAGES ? PAGES - first : lens[l];
			vdb__view_mark(&view, GPA, PAGES * PAGE);
			ck_assert_int_eq(harvest(mem, first, window, bits), (int64_t)window);
			for (uint64_t i = 0; i < (window + 63) / 64 * 64; i++)
				ck_assert_int_eq(bits[i / 64] >> i % 64 & 1, i < window);
			ck_assert_int_eq(harvest(mem, 0, PAGES, rest), (int64_t)(PAGES - window));
			for (uint64_t i = 0; i < PAGES; i++)
				ck_assert_int_eq(rest[i / 64] >> i % 64 & 1,
				                 i < first || i >= first + window);
		}
	}
	vdb__view_drop(&view);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

/*
 * Two writers mark every second page each, side by side in the same bitmap words,
 * while somebody harvests: every page is in some harvest. Marks only: the memory
 * itself is never touched.
 */
#define WORDS 4000u

struct race {
	struct vdb_mem *mem;
	uint32_t at[2]; /* the word that each writer is at */
};

struct writer {
	struct race *race;
	uint32_t self;
};

static void *mark_all(void *arg)
{
	struct writer *w = arg;
	struct race *r = w->race;
	struct vdb__view view;

	ck_assert_int_eq(vdb__view_init(&view, r->mem), 0);
	for (uint32_t word = 0; word < WORDS; word++) {
		vdb__store_release(&r->at[w->self], word);
		for (uint32_t n = 1; vdb__load_acquire(&r->at[!w->self]) < word; n++) {
			if (n % 1024 == 0)
				sched_yield();
		}
		for (uint64_t page = w->self; page < 64; page += 2)
			vdb__view_mark(&view, (word * 64 + page) * PAGE, 8);
	}
	vdb__store_release(&r->at[w->self], WORDS);
	vdb__view_drop(&view);
	return NULL;
}

static uint32_t progress(struct race *r)
{
	uint32_t a = vdb__load_acquire(&r->at[0]), b = vdb__load_acquire(&r->at[1]);

	return a < b ? a : b;
}

START_TEST(no_mark_is_lost)
{
	struct vdb_region_config c = {.size = sizeof(c), .len = WORDS * 64 * PAGE};
	static uint64_t total[WORDS], bits[WORDS];
	struct race r = {.at = {0, 0}};
	struct writer writers[2] = {{&r, 0}, {&r, 1}};
	pthread_t threads[2];
	uint32_t word;

	ck_assert_int_eq(vdb_mem_create(&r.mem), 0);
	ck_assert_int_eq(vdb_mem_add(r.mem, &c), 0);
	ck_assert_int_eq(vdb_mem_dirty_start(r.mem), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, mark_all, &writers[i]), 0);
	/* Where they are just now, whole words and parts; then everything. */
	while ((word = progress(&r)) < WORDS) {
		ck_assert(vdb_mem_dirty_harvest(r.mem, word * 64 * PAGE, 64 * PAGE, bits) >= 0);
		total[word] |= bits[0];
		ck_assert(vdb_mem_dirty_harvest(r.mem, (word * 64 + 8) * PAGE, 32 * PAGE, bits) >= 0);
		total[word] |= bits[0] << 8;
		sched_yield();
	}
	ck_assert(vdb_mem_dirty_harvest(r.mem, 0, c.len, bits) >= 0);
	for (uint32_t i = 0; i < WORDS; i++)
		ck_assert_msg((total[i] | bits[i]) == UINT64_MAX, "word %u: %#llx", i,
		              (unsigned long long)(total[i] | bits[i]));
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(vdb_mem_destroy(r.mem), 0);
}
END_TEST

/*
 * The page is dirty already; its writer and the harvester start together. Either
 * the harvest's copy has the data, or a second one finds the page dirty again.
 */
#define ROUNDS 20000u

struct duel {
	struct vdb_mem *mem;
	struct vdb__view view; /* the writer's */
	uint64_t *word;
	uint32_t go, gone;
};

static void *write_and_mark(void *arg)
{
	struct duel *d = arg;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		for (uint32_t n = 1; vdb__load_acquire(&d->go) < i; n++) {
			if (n % 1024 == 0)
				sched_yield();
		}
		vdb__store(d->word, i);
		vdb__view_mark(&d->view, GPA, 8);
		vdb__store_release(&d->gone, i);
	}
	return NULL;
}

static void copy_if_dirty(struct duel *d, uint64_t *copy)
{
	uint64_t bits;

	ck_assert(vdb_mem_dirty_harvest(d->mem, GPA, PAGE, &bits) >= 0);
	if (bits)
		*copy = vdb__load(d->word);
}

START_TEST(no_data_is_lost)
{
	struct duel d = {.mem = make()};
	uint64_t copy = 0;
	pthread_t thread;

	ck_assert_int_eq(vdb__view_init(&d.view, d.mem), 0);
	d.word = vdb__view_ptr(&d.view, GPA, 8, VDB__WRITE);
	ck_assert_int_eq(vdb_mem_dirty_start(d.mem), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_and_mark, &d), 0);
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		ck_assert_int_eq(vdb_mem_store32(d.mem, GPA + 8, i), 0);
		vdb__store_release(&d.go, i);
		for (volatile uint32_t spin = i % 100; spin;)
			spin = spin - 1;
		copy_if_dirty(&d, &copy);
		while (vdb__load_acquire(&d.gone) < i)
			sched_yield();
		copy_if_dirty(&d, &copy);
		ck_assert_uint_eq(copy, i);
	}
	pthread_join(thread, NULL);
	vdb__view_drop(&d.view);
	ck_assert_int_eq(vdb_mem_destroy(d.mem), 0);
}
END_TEST

/*
 * Nobody harvests, so the writer does not fence; while it writes somebody starts to. Either all of memory,
 * copied after the start, has the data, or the page is dirty.
 */
START_TEST(a_start_finds_what_was_written)
{
	struct duel d = {.mem = make()};
	uint64_t copy;
	pthread_t thread;

	ck_assert_int_eq(vdb__view_init(&d.view, d.mem), 0);
	d.word = vdb__view_ptr(&d.view, GPA, 8, VDB__WRITE);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_and_mark, &d), 0);
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		vdb__store_release(&d.go, i);
		for (volatile uint32_t spin = i % 701; spin;)
			spin = spin - 1;
		ck_assert_int_eq(vdb_mem_dirty_start(d.mem), 0);
		copy = vdb__load(d.word);
		while (vdb__load_acquire(&d.gone) < i)
			sched_yield();
		copy_if_dirty(&d, &copy);
		ck_assert_uint_eq(copy, i);
		vdb_mem_dirty_stop(d.mem);
	}
	pthread_join(thread, NULL);
	vdb__view_drop(&d.view);
	ck_assert_int_eq(vdb_mem_destroy(d.mem), 0);
}
END_TEST

/* ---- Hosts without membarrier() ---- */

static bool no_membarrier;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	va_list args;
	long word[3];

	va_start(args, number);
	for (int i = 0; i < 3; i++)
		word[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_membarrier && no_membarrier) {
		errno = EPERM;
		return -1;
	}
	return __real_syscall(number, word[0], word[1], word[2]);
}

START_TEST(without_membarrier_writers_fence)
{
	struct vdb_mem *mem;
	uint64_t bits[4];

	no_membarrier = true;
	mem = make();
	ck_assert_int_eq(vdb_mem_store32(mem, GPA, 1), 0);
	ck_assert_int_eq(vdb_mem_dirty_start(mem), 0);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), 0);
	ck_assert_int_eq(vdb_mem_store32(mem, GPA, 1), 0);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), 1);
	vdb_mem_dirty_stop(mem);
	ck_assert_int_eq(vdb_mem_store32(mem, GPA, 1), 0);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), -EINVAL);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(membarrier_forbidden_later)
{
	struct vdb_mem *mem = make();
	uint64_t bits[4];

	no_membarrier = true;
	ck_assert_int_eq(vdb_mem_dirty_start(mem), -EPERM);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "membarrier"));
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), -EINVAL);
	no_membarrier = false;
	ck_assert_int_eq(vdb_mem_dirty_start(mem), 0);
	ck_assert_int_eq(harvest(mem, 0, PAGES, bits), 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

SUITE("dirty", only_when_started, ranges_that_are_not, every_way_in_marks, a_window_takes_only_its_own,
      no_mark_is_lost, no_data_is_lost, a_start_finds_what_was_written, without_membarrier_writers_fence,
      membarrier_forbidden_later)
