/* SPDX-License-Identifier: Apache-2.0 */
/* The list: order, and removal that is harmless twice. */
#include <check.h>

#include "base/list.h"
#include "suite.h"

struct item {
	int number;
	struct vdb__list link;
};

static void fill(struct vdb__list *list, struct item *items, int n)
{
	vdb__list_init(list);
	for (int i = 0; i < n; i++) {
		items[i].number = i;
		vdb__list_append(list, &items[i].link);
	}
}

static int pop(struct vdb__list *list)
{
	struct vdb__list *l = vdb__list_pop(list);

	return l ? vdb__container(l, struct item, link)->number : -1;
}

START_TEST(first_in_first_out)
{
	struct vdb__list list;
	struct item items[3];

	fill(&list, items, 3);
	ck_assert(!vdb__list_empty(&list));
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pop(&list), i);
	ck_assert_int_eq(pop(&list), -1);
	ck_assert(vdb__list_empty(&list));
}
END_TEST

START_TEST(removal_from_the_middle_twice)
{
	struct vdb__list list;
	struct item items[3];

	fill(&list, items, 3);
	vdb__list_remove(&items[1].link);
	vdb__list_remove(&items[1].link);
	ck_assert(vdb__list_empty(&items[1].link));
	ck_assert_int_eq(pop(&list), 0);
	ck_assert_int_eq(pop(&list), 2);
	ck_assert_int_eq(pop(&list), -1);
}
END_TEST

START_TEST(splice_moves_all)
{
	struct vdb__list a, b;
	struct item first[2], second[2];

	fill(&a, first, 2);
	fill(&b, second, 2);
	vdb__list_splice(&a, &b);
	ck_assert(vdb__list_empty(&b));
	vdb__list_splice(&a, &b);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pop(&a), i % 2);
	ck_assert_int_eq(pop(&a), -1);
	/* Into an empty one. */
	fill(&b, second, 2);
	vdb__list_splice(&a, &b);
	ck_assert_int_eq(pop(&a), 0);
	ck_assert_int_eq(pop(&a), 1);
	ck_assert_int_eq(pop(&a), -1);
}
END_TEST

SUITE("list", first_in_first_out, removal_from_the_middle_twice, splice_moves_all)
