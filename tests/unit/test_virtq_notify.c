/* SPDX-License-Identifier: Apache-2.0 */
/* Bells and interrupts of virtqueues: when asked for, only then, and never one too few. */
#include <string.h>

#include "base/atomic.h"
#include "run.h"
#include "virtq_pair.h"

static struct virtq_pair p;

enum { FLAGS, EVENT, PACKED, PACKED_EVENT, KINDS };

static const uint32_t kind_flags[KINDS] = {0, VDB_VIRTQ_EVENT_IDX, VDB_VIRTQ_PACKED,
                                           VDB_VIRTQ_PACKED | VDB_VIRTQ_EVENT_IDX};

static const struct virtq_buf buf = {PAIR_DATA, 64, true};

static void open_at(int kind, uint32_t entries, uint32_t position)
{
	virtq_pair_open(&p, &(struct vdb_virtq_config){.entries = entries,
	                                               .flags = kind_flags[kind] | VDB_VIRTQ_RESUME,
	                                               .position = position});
}

static void open_fresh(int kind)
{
	virtq_pair_open(&p, &(struct vdb_virtq_config){.entries = 8, .flags = kind_flags[kind]});
}

static bool add(void)
{
	ck_assert(virtq_add(&p.d, &buf, 1, 1));
	return virtq_publish(&p.d);
}

static void reap(uint32_t n)
{
	uint64_t cookie;
	uint32_t len;

	while (n--)
		ck_assert(virtq_reap(&p.d, &cookie, &len));
	ck_assert_uint_eq(p.d.outstanding, 0);
}

/* The device is awake while it works: no bells. It asks before it sleeps: one bell with EVENT_IDX, one for
 * each publish without. */
START_TEST(bells_only_for_a_sleeper)
{
	open_fresh(_i);
	for (int lap = 0; lap < 50; lap++) {
		ck_assert(!virtq_pair_arm(&p));
		ck_assert(add());
		ck_assert(add() == (_i == FLAGS || _i == PACKED));
		ck_assert_uint_eq(virtq_pair_serve(&p), 2);
		/* Awake now. */
		ck_assert(!add() && !add() && !add());
		ck_assert_uint_eq(virtq_pair_serve(&p), 3);
		reap(5);
	}
	virtq_pair_close(&p);
}
END_TEST

START_TEST(arm_finds_what_came_before_it)
{
	open_fresh(_i);
	ck_assert_uint_eq(virtq_pair_serve(&p), 0);
	/* Where to ring nobody has said yet: the word of EVENT_IDX has no "nowhere". */
	ck_assert(add() == (_i == EVENT));
	ck_assert(p.queue->ops->pending(p.queue));
	ck_assert(virtq_pair_arm(&p));
	ck_assert_uint_eq(virtq_pair_serve(&p), 1);
	ck_assert(!virtq_pair_arm(&p));
	ck_assert(!p.queue->ops->pending(p.queue));
	virtq_pair_close(&p);
}
END_TEST

START_TEST(interrupts_only_for_a_sleeper)
{
	open_fresh(_i);
	for (int lap = 0; lap < 50; lap++) {
		ck_assert(!virtq_arm(&p.d));
		(void)add();
		(void)add();
		ck_assert(virtq_pair_pop(&p));
		ck_assert(!virtq_pair_publish(&p)); /* nothing staged */
		virtq_pair_complete(&p, p.elem.cookie, 1);
		ck_assert(virtq_pair_publish(&p));
		ck_assert(virtq_pair_pop(&p));
		virtq_pair_complete(&p, p.elem.cookie, 1);
		ck_assert(virtq_pair_publish(&p) == (_i == FLAGS || _i == PACKED));
		ck_assert(virtq_arm(&p.d)); /* it would find them */
		reap(2);
		virtq_hush(&p.d);
		(void)add();
		ck_assert(virtq_pair_pop(&p));
		virtq_pair_complete(&p, p.elem.cookie, 1);
		ck_assert(!virtq_pair_publish(&p));
		reap(1);
	}
	virtq_pair_close(&p);
}
END_TEST

/* A batch has one interrupt, if the event is anywhere in it, and none if it is not. */
START_TEST(the_event_in_a_batch)
{
	for (uint32_t event = 0; event < 16; event++) {
		for (int wrap = 0; wrap < 2; wrap++) {
			uint32_t at = event % 8;

			open_fresh(_i);
			for (int i = 0; i < 3; i++)
				(void)add();
			ck_assert_uint_eq(virtq_pair_serve(&p), 3);
			reap(3);
			if (_i == EVENT)
				vdb__store(&virtq_avail(&p.d)->ring[8], (uint16_t)event);
			else
				vdb__store(virtq_driver_event(&p.d), at | (uint32_t)wrap << 15 | 2u << 16);
			for (int i = 0; i < 7; i++)
				(void)add();
			while (virtq_pair_pop(&p))
				virtq_pair_complete(&p, p.elem.cookie, 0);
			/* Uses 3 to 9 of a ring of 8. */
			ck_assert(virtq_pair_publish(&p) == (_i == EVENT ? event >= 3 && event < 10
			                                     : wrap      ? at >= 3
			                                                 : at < 2));
			reap(7);
			virtq_pair_close(&p);
		}
	}
}
END_TEST

/* As above where the 16-bit indices wrap. */
START_TEST(the_event_at_the_end_of_indices)
{
	for (uint32_t event = 65530; event < 65546; event++) {
		open_at(EVENT, 8, 65533);
		vdb__store(&virtq_avail(&p.d)->ring[8], (uint16_t)event);
		for (int i = 0; i < 7; i++)
			(void)add();
		while (virtq_pair_pop(&p))
			virtq_pair_complete(&p, p.elem.cookie, 0);
		ck_assert(virtq_pair_publish(&p) == (event >= 65533 && event < 65540));
		reap(7);
		virtq_pair_close(&p);
	}
}
END_TEST

/* Chains of several descriptors: the event is about descriptors, and any of a chain's will do. */
START_TEST(the_event_inside_a_chain)
{
	const struct virtq_buf chain[3] = {buf, buf, buf};

	open_fresh(PACKED_EVENT);
	for (uint32_t event = 0; event < 8; event++) {
		uint32_t start = p.d.reaped & 0x7fff, end = start + 3;

		vdb__store(virtq_driver_event(&p.d), event | (p.d.reaped & 0x8000u) | 2u << 16);
		ck_assert(virtq_add(&p.d, chain, 3, 1));
		(void)virtq_publish(&p.d);
		ck_assert(virtq_pair_pop(&p));
		virtq_pair_complete(&p, p.elem.cookie, 0);
		ck_assert(virtq_pair_publish(&p) == (event >= start && event < end));
		reap(1);
	}
	virtq_pair_close(&p);
}
END_TEST

START_TEST(g51_garbage_never_loses_for_good)
{
	open_fresh(EVENT);
	for (int i = 0; i < 200; i++) {
		vdb__store(&virtq_avail(&p.d)->ring[8], (uint16_t)(i * 40503));
		vdb__store(&virtq_avail(&p.d)->flags, (uint16_t)i); /* does not count with EVENT_IDX */
		memset(&virtq_used(&p.d)->flags, 0x5a, 2);
		(void)add();
		ck_assert_uint_eq(virtq_pair_serve(&p), 1);
		ck_assert(!virtq_pair_arm(&p));
		reap(1);
		/* Asked properly, it comes. */
		ck_assert(!virtq_arm(&p.d));
		ck_assert(add());
		ck_assert(virtq_pair_pop(&p));
		virtq_pair_complete(&p, p.elem.cookie, 0);
		ck_assert(virtq_pair_publish(&p));
		reap(1);
	}
	virtq_pair_close(&p);
}
END_TEST

/* Both sides sleep after each request, over more than the indices hold. */
START_TEST(no_sleeper_is_forgotten)
{
	open_at(_i, 4, _i >= PACKED ? 0x80008000 : 65000);
	for (int i = 0; i < 70000; i++) {
		ck_assert(!virtq_pair_arm(&p));
		ck_assert(!virtq_arm(&p.d));
		ck_assert(add());
		ck_assert(virtq_pair_pop(&p));
		virtq_pair_complete(&p, p.elem.cookie, 1);
		ck_assert(virtq_pair_publish(&p));
		reap(1);
	}
	ck_assert_uint_eq(p.d.bells, 70000);
	virtq_pair_close(&p);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("virtq_notify");

	tcase_add_loop_test(tc, bells_only_for_a_sleeper, 0, KINDS);
	tcase_add_loop_test(tc, arm_finds_what_came_before_it, 0, KINDS);
	tcase_add_loop_test(tc, interrupts_only_for_a_sleeper, 0, KINDS);
	tcase_add_loop_test(tc, the_event_in_a_batch, EVENT, EVENT + 1);
	tcase_add_loop_test(tc, the_event_in_a_batch, PACKED_EVENT, PACKED_EVENT + 1);
	tcase_add_test(tc, the_event_at_the_end_of_indices);
	tcase_add_test(tc, the_event_inside_a_chain);
	tcase_add_test(tc, g51_garbage_never_loses_for_good);
	tcase_add_loop_test(tc, no_sleeper_is_forgotten, 0, KINDS);
	return test_run("virtq_notify", tc);
}
