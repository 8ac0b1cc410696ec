/* SPDX-License-Identifier: Apache-2.0 */
/* Who hears of changes: in which order, what a refusal undoes, and when it ends. */
/* LABELS: tsan */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/list.h"
#include "mem/view.h"
#include "suite.h"

#define PAGE UINT64_C(4096)

/* Writes "name+gpa ", "name-gpa ", "name! " into the log, the gpa in pages. */
struct user {
	struct vdb__mem_user user;
	struct vdb_mem *mem;
	const char *name;
	char *log;
	vdb_gpa_t refuses;
};

static void note(struct user *u, char what, const struct vdb__region *region)
{
	size_t used = strlen(u->log);

	if (region)
		(void)snprintf(u->log + used, 200 - used, "%s%c%llu ", u->name, what,
		               (unsigned long long)(vdb__region_gpa(region) / PAGE));
	else
		(void)snprintf(u->log + used, 200 - used, "%s%c ", u->name, what);
}

static bool present(struct vdb_mem *mem, vdb_gpa_t gpa)
{
	uint32_t value;

	return vdb_mem_load32(mem, gpa, &value) == 0;
}

static int added(struct vdb__mem_user *user, const struct vdb__region *region)
{
	struct user *u = vdb__container(user, struct user, user);

	note(u, '+', region);
	if (vdb__region_gpa(region) == u->refuses)
		return vdb__fail(ENOSPC, "no slot");
	return 0;
}

/* Still in the map: what translates now finds it, what the guest does now does not. */
static void removed(struct vdb__mem_user *user, const struct vdb__region *region)
{
	struct user *u = vdb__container(user, struct user, user);

	if (vdb__region_gpa(region) != 3 * PAGE)
		ck_assert(present(u->mem, vdb__region_gpa(region)));
	note(u, '-', region);
}

static void changed(struct vdb__mem_user *user)
{
	struct user *u = vdb__container(user, struct user, user);

	note(u, '!', NULL);
}

static int add(struct vdb_mem *mem, uint64_t page)
{
	struct vdb_region_config c = {.size = sizeof(c), .gpa = page * PAGE, .len = PAGE};

	return vdb_mem_add(mem, &c);
}

static struct user make(struct vdb_mem *mem, const char *name, char *log)
{
	struct user u = {.user = {.added = added, .removed = removed, .changed = changed},
	                 .mem = mem,
	                 .name = name,
	                 .log = log,
	                 .refuses = VDB_GPA_ANY};

	return u;
}

START_TEST(in_order)
{
	char log[200] = "";
	struct vdb_mem *mem;
	struct user a, b;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	a = make(mem, "a", log);
	b = make(mem, "b", log);
	ck_assert_int_eq(add(mem, 2), 0);
	ck_assert_int_eq(add(mem, 1), 0);
	ck_assert_int_eq(vdb__mem_join(mem, &a.user), 0);
	ck_assert_str_eq(log, "a+1 a+2 ");
	ck_assert_int_eq(vdb__mem_join(mem, &b.user), 0);
	log[0] = '\0';
	ck_assert_int_eq(add(mem, 5), 0);
	ck_assert_str_eq(log, "a+5 b+5 a! b! ");
	log[0] = '\0';
	ck_assert_int_eq(vdb_mem_remove(mem, PAGE, NULL, NULL), 0);
	ck_assert_str_eq(log, "a-1 b-1 a! b! ");
	log[0] = '\0';
	ck_assert_int_eq(vdb_mem_destroy(mem), -EBUSY);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "wait for its done()"));
	vdb__mem_leave(mem, &a.user);
	vdb__mem_leave(mem, &a.user);
	ck_assert_int_eq(vdb_mem_remove(mem, 2 * PAGE, NULL, NULL), 0);
	ck_assert_str_eq(log, "b-2 b! ");
	vdb__mem_leave(mem, &b.user);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(a_refusal_leaves_nothing_behind)
{
	char log[200] = "";
	struct vdb_mem *mem;
	struct user a, b, c;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	a = make(mem, "a", log);
	b = make(mem, "b", log);
	c = make(mem, "c", log);
	b.refuses = 3 * PAGE;
	ck_assert_int_eq(vdb__mem_join(mem, &a.user), 0);
	ck_assert_int_eq(vdb__mem_join(mem, &b.user), 0);
	ck_assert_int_eq(vdb__mem_join(mem, &c.user), 0);
	/* b gets no removal of what it refused, c never hears of it. */
	ck_assert_int_eq(add(mem, 3), -ENOSPC);
	ck_assert_str_eq(vdb_errmsg(), "no slot");
	ck_assert_str_eq(log, "a+3 b+3 a-3 ");
	ck_assert(!present(mem, 3 * PAGE));
	ck_assert_int_eq(vdb_mem_reap(mem), 0);
	log[0] = '\0';
	ck_assert_int_eq(add(mem, 4), 0);
	ck_assert_str_eq(log, "a+4 b+4 c+4 a! b! c! ");
	vdb__mem_leave(mem, &a.user);
	vdb__mem_leave(mem, &b.user);
	vdb__mem_leave(mem, &c.user);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(a_refused_join_leaves_nothing_behind)
{
	char log[200] = "";
	struct vdb_mem *mem;
	struct user a;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	a = make(mem, "a", log);
	a.refuses = 4 * PAGE;
	for (uint64_t page = 1; page < 6; page++)
		ck_assert_int_eq(add(mem, page), 0);
	ck_assert_int_eq(vdb__mem_join(mem, &a.user), -ENOSPC);
	ck_assert_str_eq(log, "a+1 a+2 a+3 a+4 a-3 a-2 a-1 ");
	vdb__mem_leave(mem, &a.user);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(indifferent_users)
{
	struct vdb__mem_user none = {.next = NULL};
	struct vdb_mem *mem;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	vdb__mem_leave(mem, &none);
	ck_assert_int_eq(vdb__mem_join(mem, &none), 0);
	ck_assert_int_eq(add(mem, 1), 0);
	ck_assert_int_eq(vdb_mem_remove(mem, PAGE, NULL, NULL), 0);
	vdb__mem_leave(mem, &none);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

/* ---- Leaving while being called ---- */

struct brief {
	struct vdb__mem_user user;
	int *calls; /* freed after leaving */
};

static void count(struct vdb__mem_user *user)
{
	struct brief *b = vdb__container(user, struct brief, user);

	++*b->calls;
	sched_yield();
	++*b->calls;
}

static void *come_and_go(void *arg)
{
	for (int i = 0; i < 1000; i++) {
		int calls = 0;
		struct brief b = {.user = {.changed = count}, .calls = &calls};

		ck_assert_int_eq(vdb__mem_join(arg, &b.user), 0);
		if (i % 2)
			sched_yield();
		vdb__mem_leave(arg, &b.user);
		ck_assert_int_eq(calls % 2, 0);
		calls = -1;
	}
	return NULL;
}

START_TEST(no_call_after_leaving)
{
	struct vdb_mem *mem;
	pthread_t threads[2];

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, mem), 0);
	for (int i = 0; i < 300; i++) {
		ck_assert_int_eq(add(mem, 1), 0);
		ck_assert_int_eq(vdb_mem_remove(mem, PAGE, NULL, NULL), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

SUITE("mem_users", in_order, a_refusal_leaves_nothing_behind, a_refused_join_leaves_nothing_behind,
      indifferent_users, no_call_after_leaving)
