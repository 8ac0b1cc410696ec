/* SPDX-License-Identifier: Apache-2.0 */
/* Uses in the order of completion, or, with IN_ORDER, in the order in which buffers were made available. */
#include "run.h"
#include "virtq_pair.h"

#define N 5u

static struct virtq_pair p;

static void open_with(uint32_t flags, uint32_t n)
{
	const struct virtq_buf bufs[] = {{PAIR_DATA, 8, false}, {PAIR_DATA + 64, 64, true}};

	virtq_pair_open(&p, &(struct vdb_virtq_config){.entries = 16, .flags = flags});
	for (uint32_t i = 0; i < n; i++)
		ck_assert(virtq_add(&p.d, bufs, 2, i));
	(void)virtq_publish(&p.d);
}

/* The device has them: which one is which request. */
static void pop_all(uint64_t *cookies, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		ck_assert(virtq_pair_pop(&p));
		cookies[i] = p.elem.cookie;
	}
	ck_assert(!virtq_pair_pop(&p));
}

/* The next uses are those of requests from..to-1, each with 10 more than its number written. */
static void expect(uint32_t from, uint32_t to)
{
	uint64_t cookie = 0;
	uint32_t len = 0;

	(void)virtq_pair_publish(&p);
	for (; from < to; from++) {
		ck_assert(virtq_reap(&p.d, &cookie, &len));
		ck_assert_uint_eq(cookie, from);
		ck_assert_uint_eq(len, 10 + from);
	}
	ck_assert(!virtq_reap(&p.d, &cookie, &len));
}

static void complete(const uint64_t *cookies, uint32_t i)
{
	virtq_pair_complete(&p, cookies[i], 10 + i);
}

START_TEST(a_completion_waits_for_those_before_it)
{
	uint64_t cookies[N];

	open_with(VDB_VIRTQ_IN_ORDER | (_i ? VDB_VIRTQ_PACKED : 0), N);
	pop_all(cookies, N);
	complete(cookies, 2);
	expect(0, 0);
	complete(cookies, 1);
	complete(cookies, 4);
	expect(0, 0);
	complete(cookies, 0);
	expect(0, 3);
	complete(cookies, 3);
	expect(3, 5);
	virtq_pair_close(&p);
}
END_TEST

START_TEST(without_it_none_waits)
{
	uint64_t cookies[N];

	open_with(_i ? VDB_VIRTQ_PACKED : 0, N);
	pop_all(cookies, N);
	for (uint32_t i = N; i-- > 0;) {
		complete(cookies, i);
		expect(i, i + 1);
	}
	virtq_pair_close(&p);
}
END_TEST

/* Those that wait are still in flight: their heads may not come again. */
START_TEST(what_waits_is_in_flight)
{
	uint64_t cookies[2];

	open_with(VDB_VIRTQ_IN_ORDER | (_i ? VDB_VIRTQ_PACKED : 0), 2);
	pop_all(cookies, 2);
	complete(cookies, 1);
	if (_i) {
		virtq_pair_packed(&p, 4, PAIR_DATA, 8, (uint32_t)cookies[1], 0, true);
	} else {
		p.shown = 2;
		virtq_pair_offer(&p, (uint32_t)cookies[1]);
	}
	virtq_pair_breaks(&p, VDB_REASON_CHAIN);
	virtq_pair_close(&p);
}
END_TEST

/* No use longer than what may be written, whatever the backend says. */
START_TEST(lengths_are_cut)
{
	uint64_t cookie, cookies[1];
	uint32_t len;

	open_with(_i ? VDB_VIRTQ_PACKED : 0, 1);
	pop_all(cookies, 1);
	p.queue->ops->complete(p.queue, cookies[0], 1000, 1000);
	(void)virtq_pair_publish(&p);
	ck_assert(virtq_reap(&p.d, &cookie, &len));
	ck_assert_uint_eq(len, 64);
	virtq_pair_close(&p);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("virtq_order");

	tcase_add_loop_test(tc, a_completion_waits_for_those_before_it, 0, 2);
	tcase_add_loop_test(tc, without_it_none_waits, 0, 2);
	tcase_add_loop_test(tc, what_waits_is_in_flight, 0, 2);
	tcase_add_loop_test(tc, lengths_are_cut, 0, 2);
	return test_run("virtq_order", tc);
}
