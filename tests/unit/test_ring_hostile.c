/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/*
 * A guest that lies: it gets an error or a broken ring, and a reset afterwards works. A
 * second thread that rewrites what is being read changes nothing about that.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "mock.h"
#include "run.h"

#define RING 0x1000
#define TABLE 0x4000
#define SQ 8u
#define CQ 16u
#define ALL (VDB_F_EVENT_IDX | VDB_F_SG | VDB_F_MEMOPS)

static struct mock_ram ram;
static struct mock m;
static struct vdb_ring *shared;
static struct vdb__seg segs[MOCK_MAX_SEGS];
static struct vdb__elem elem;

static void setup(void)
{
	mock_ram_open(&ram, 0, 1 << 16);
	mock_open(&m, &ram,
	          &(struct vdb_ring_config){
	                  .gpa = RING, .sq_entries = SQ, .cq_entries = CQ, .max_segments = 32});
	shared = mock_at(&ram, RING);
	mock_connect(&m, ALL);
}

static void teardown(void)
{
	mock_close(&m);
	mock_ram_close(&ram);
}

static void expect_broken(uint32_t reason)
{
	ck_assert(m.queue->ops->pending(m.queue));
	ck_assert_uint_eq(mock_serve(&m), 0);
	ck_assert_uint_eq(m.queue->state, VDB_RING_BROKEN);
	ck_assert_uint_eq(m.queue->reason, reason);
	ck_assert_uint_eq(shared->device.state, VDB_RING_BROKEN);
	ck_assert_uint_eq(shared->device.reason, reason);
	ck_assert(!m.queue->ops->pending(m.queue)); /* no work for the loop, whatever the guest does */
	ck_assert(!m.queue->ops->arm(m.queue));
	mock_reboot(&m);
	vdb_guest_reset(&m.g, ALL);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 0);
	mock_serve(&m);
	ck_assert_int_eq(vdb_guest_poll_ready(&m.g), 1);
}

/* ---- Indices ---- */

START_TEST(g27_native_tail_jumps)
{
	static const uint32_t by[] = {SQ + 1, 2 * SQ, 0x7fffffff, 0x80000000, UINT32_MAX};

	m.interrupts = 0;
	mock_jump(&m, UINT32_MAX - 2);
	vdb__store(&shared->sq_tail.value, UINT32_MAX - 2 + by[_i]);
	expect_broken(VDB_REASON_SQ_INDEX);
	ck_assert_uint_ge(m.interrupts, 1); /* it was told */
}
END_TEST

START_TEST(g51_native_head_garbage)
{
	/* Ahead of all completions, or behind what it was: 2 is known, 5 are published. */
	static const uint32_t heads[] = {6, 7, 100, UINT32_MAX, 0x80000000, 1};
	int i;

	for (i = 0; i < 4; i++)
		ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 0));
	ck_assert_uint_eq(mock_serve(&m), 4);
	for (i = 0; i < 2; i++)
		mock_expect(&m, 0, 0);
	ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, 0)); /* cq_head 2 is known */
	ck_assert_uint_eq(mock_serve(&m), 1);
	vdb__store(&shared->cq_head.value, heads[_i]);
	vdb__store(&shared->sq_tail.value, 6);
	expect_broken(VDB_REASON_CQ_INDEX);
}
END_TEST

/* More requests than completions have room for: those that fit are served, none is overwritten. */
START_TEST(g29_native_overcommitted)
{
	uint32_t tail;

	for (tail = SQ; tail <= CQ; tail += SQ) {
		vdb__store(&shared->sq_tail.value, tail);
		ck_assert_uint_eq(mock_serve(&m), SQ);
	}
	ck_assert_uint_eq(shared->cq_tail.value, CQ);
	vdb__store(&shared->sq_tail.value, CQ + 1);
	expect_broken(VDB_REASON_CQ_FULL);
}
END_TEST

/* Requests in flight count, too. */
START_TEST(g29_native_overcommitted_in_flight)
{
	struct vdb__elem all[CQ];
	unsigned i;

	for (i = 0; i < CQ; i++) {
		vdb__store(&shared->sq_tail.value, i + 1);
		ck_assert(mock_ready(&m));
		ck_assert(mock_take(&m, &all[i], segs));
	}
	vdb__store(&shared->sq_tail.value, CQ + 1);
	ck_assert(!mock_take(&m, &elem, segs));
	ck_assert_uint_eq(m.queue->reason, VDB_REASON_CQ_FULL);
	for (i = 0; i < CQ; i++)
		mock_done(&m, all[i].cookie, 0);
	ck_assert(mock_publish(&m));
	ck_assert_uint_eq(shared->cq_tail.value, 0);
}
END_TEST

/* What the device wrote is never taken back from memory. */
START_TEST(g51_native_device_words_scribbled)
{
	struct vdb_cqe cqe;
	uint32_t i;

	for (i = 0; i < 50; i++) {
		memset(&shared->sq_head, 0x5a, 2 * sizeof(shared->sq_head)); /* sq_event as well */
		memset(&shared->cq_tail, 0xa5, sizeof(shared->cq_tail));
		m.g.sq_head = m.g.sq_tail; /* the driver itself is not confused */
		ck_assert(mock_submit(&m, VDB_OP_NOP, 0, 0, 0, i));
		ck_assert_uint_eq(mock_serve(&m), 1);
		ck_assert_uint_eq(shared->sq_head.value, i + 1);
		ck_assert_uint_eq(shared->cq_tail.value, i + 1);
		m.g.cq_tail = i + 1;
		ck_assert_int_eq(vdb_guest_reap(&m.g, &cqe), 1);
		ck_assert_uint_eq(cqe.user_data, i);
	}
}
END_TEST

/* A scribbled generation is nothing to a driver that is served; where `ready` was taken back it is a
 * wiped memory: one reset, and no more. */
START_TEST(g51_native_generation_scribbled)
{
	uint64_t resets = m.queue->resets;

	shared->device.generation += 9;
	mock_serve(&m);
	ck_assert_uint_eq(m.queue->resets, resets);
	ck_assert_uint_eq(m.queue->state, VDB_RING_READY);
	shared->driver.ready = 0;
	mock_serve(&m);
	ck_assert_uint_eq(m.queue->resets, resets + 1);
	mock_serve(&m);
	mock_serve(&m);
	ck_assert_uint_eq(m.queue->resets, resets + 1);
}
END_TEST

START_TEST(g12_native_reset_storm)
{
	uint32_t i;

	for (i = 1; i < 2000; i++) {
		vdb__store(&shared->driver.reset, i * 2654435761u | 1);
		vdb__store(&shared->sq_tail.value, i);
		(void)mock_serve(&m); /* each visit serves at most one */
	}
	ck_assert_uint_le(m.queue->resets, 2000);
}
END_TEST

/* ---- Requests ---- */

static uint64_t random_word(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Whatever comes out is within the limits: the lane may rely on it. */
static bool elem_ok(void)
{
	uint64_t total = 0;
	uint32_t i;

	if (elem.nseg > 32)
		return false;
	for (i = 0; i < elem.nseg; i++) {
		if (segs[i].len == 0 || segs[i].len > UINT32_MAX)
			return false;
		total += segs[i].len;
	}
	if (elem.nseg && total != elem.len)
		return false;
	if ((elem.op == VDB_OP_READ || elem.op == VDB_OP_WRITE || elem.op >= VDB_OP_USER) &&
	    elem.len > 0x7ffff000)
		return false;
	switch (elem.error) {
	case 0:
		return true;
	case -EINVAL:
	case -E2BIG:
	case -EFAULT:
	case -EOPNOTSUPP:
		return elem.nseg == 0 && elem.len == 0;
	default:
		return false;
	}
}

/* Random requests; half of them with plausible tables, so that the depths are reached. */
START_TEST(g42_g45_native_garbage_requests)
{
	struct vdb_seg *table = mock_at(&ram, TABLE);
	uint64_t seed = 88172645463325252u + (unsigned)_i;
	uint64_t words[4];
	unsigned round, i, good = 0;
	struct vdb_sqe *sqe;

	for (round = 0; round < 10000; round++) {
		for (i = 0; i < 4; i++)
			words[i] = random_word(&seed);
		sqe = vdb_guest_sqe(&m.g);
		memcpy(sqe, words, sizeof(*sqe));
		if (round & 1) {
			sqe->op &= 7;
			sqe->flags &= 1;
			sqe->segments &= 63;
			sqe->addr = TABLE;
			if (round & 2)
				sqe->len = 0;
			for (i = 0; i < 32; i++)
				table[i] = (struct vdb_seg){.addr = random_word(&seed),
				                            .len = (uint32_t)random_word(&seed)};
		}
		vdb_guest_submit(&m.g);
		ck_assert(mock_ready(&m) && mock_take(&m, &elem, segs) && elem_ok());
		good += elem.nseg > 1;
		mock_done(&m, elem.cookie, elem.error);
		mock_publish(&m);
		mock_expect(&m, elem.cookie, elem.error);
	}
	ck_assert_uint_gt(good, 100);
}
END_TEST

/* A ring whose requests describe the ring itself: only the guest's own words suffer. */
START_TEST(g46_native_table_in_the_ring)
{
	struct vdb_sqe *sqe = vdb_guest_sqe(&m.g);

	sqe->op = VDB_OP_WRITE;
	sqe->flags = VDB_SQE_SG;
	sqe->segments = 2;
	sqe->addr = RING + sizeof(struct vdb_ring); /* these very words */
	vdb_guest_submit(&m.g);
	ck_assert(mock_ready(&m) && mock_take(&m, &elem, segs));
	ck_assert(elem_ok());
	mock_done(&m, elem.cookie, 0);
}
END_TEST

/* Two rings over each other: their guest's trouble. */
START_TEST(g4_native_overlapping_rings)
{
	struct mock other;
	int i;

	mock_open(&other, &ram, &(struct vdb_ring_config){.gpa = RING + 64, .sq_entries = SQ});
	mock_attach(&other);
	for (i = 0; i < 100; i++) {
		vdb__store(&shared->sq_tail.value, (uint32_t)i);
		(void)mock_serve(&m);
		(void)mock_serve(&other);
		(void)m.queue->ops->arm(m.queue);
		(void)other.queue->ops->arm(other.queue);
	}
	mock_close(&other);
}
END_TEST

/* ---- While it is being read ---- */

static uint32_t stop;

static void *flip_requests(void *arg)
{
	uint64_t *words = arg, seed = 1;
	unsigned i;

	while (!vdb__load(&stop)) {
		for (i = 0; i < SQ * 4; i += 4) {
			/* op 0..7 or 128.., flag SG or not, up to 63 segments */
			vdb__store(&words[i], random_word(&seed) & 0xffffffff003f0187u);
			vdb__store(&words[i + 1], TABLE + (random_word(&seed) & 8));
			vdb__store(&words[i + 2], random_word(&seed));
			vdb__store(&words[i + 3], random_word(&seed));
		}
	}
	return NULL;
}

static void *flip_table(void *arg)
{
	uint64_t *words = arg, seed = 7;
	unsigned i;

	while (!vdb__load(&stop)) {
		for (i = 0; i < 64; i++)
			vdb__store(&words[i], random_word(&seed) & (i & 1 ? 0xfffff : UINT64_MAX));
	}
	return NULL;
}

static void *flip_indices(void *arg)
{
	uint64_t seed = 11, word;

	(void)arg;
	while (!vdb__load(&stop)) {
		word = random_word(&seed);
		switch (word >> 60) {
		case 0:
			vdb__store(&shared->cq_head.value, (uint32_t)word & 15);
			break;
		case 1:
			vdb__store(&shared->driver.reset, (uint32_t)word);
			break;
		case 2:
			vdb__store(&shared->driver.ready, vdb__load(&shared->device.generation));
			break;
		case 3:
			vdb__store(&shared->driver.features, word & 7);
			break;
		case 4:
			vdb__store(&shared->driver.version, VDB_ABI_VERSION + ((uint32_t)word & 1));
			break;
		default:
			vdb__store(&shared->sq_tail.value, (uint32_t)word & 7);
			break;
		}
	}
	return NULL;
}

static void flip(void *(*fn)(void *), void *arg, unsigned rounds)
{
	pthread_t thread;
	uint32_t tail = 0;

	vdb__store(&stop, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, fn, arg), 0);
	for (uint64_t round = 0; test_goes_on(round, rounds); round++) {
		/* The guest's indices are good, unless the thread is at them. */
		if (fn != flip_indices) {
			vdb__store(&shared->cq_head.value, tail);
			vdb__store_release(&shared->sq_tail.value, ++tail);
		}
		if (!mock_ready(&m))
			continue;
		while (mock_take(&m, &elem, segs)) {
			if (!elem_ok())
				abort();
			mock_done(&m, elem.cookie, elem.error);
		}
		mock_publish(&m);
	}
	vdb__store(&stop, 1);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

START_TEST(g49_native_requests_change_while_popped)
{
	flip(flip_requests, m.g.sq, 20000);
	ck_assert_uint_eq(m.queue->state, VDB_RING_READY);
}
END_TEST

START_TEST(g49_native_tables_change_while_popped)
{
	unsigned i;

	for (i = 0; i < SQ; i++)
		m.g.sq[i] = (struct vdb_sqe){
		        .op = VDB_OP_WRITE, .flags = VDB_SQE_SG, .segments = 32, .addr = TABLE};
	flip(flip_table, mock_at(&ram, TABLE), 20000);
	ck_assert_uint_eq(m.queue->state, VDB_RING_READY);
}
END_TEST

START_TEST(g49_native_indices_change_while_served)
{
	flip(flip_indices, NULL, 50000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring_hostile");
	TCase *tc = tcase_create("hostile");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g27_native_tail_jumps, 0, 5);
	tcase_add_loop_test(tc, g51_native_head_garbage, 0, 6);
	tcase_add_test(tc, g29_native_overcommitted);
	tcase_add_test(tc, g29_native_overcommitted_in_flight);
	tcase_add_test(tc, g51_native_device_words_scribbled);
	tcase_add_test(tc, g51_native_generation_scribbled);
	tcase_add_test(tc, g12_native_reset_storm);
	tcase_add_loop_test(tc, g42_g45_native_garbage_requests, 0, 2);
	tcase_add_test(tc, g46_native_table_in_the_ring);
	tcase_add_test(tc, g4_native_overlapping_rings);
	tcase_add_test(tc, g49_native_requests_change_while_popped);
	tcase_add_test(tc, g49_native_tables_change_while_popped);
	tcase_add_test(tc, g49_native_indices_change_while_served);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
