/* SPDX-License-Identifier: Apache-2.0 */
/* The bus: who gets an access, and what removal waits for. */
/* LABELS: tsan */
/* WRAP: calloc realloc */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/thread.h"
#include "bus/bus.h"
#include "fail.h"
#include "suite.h"

/* Remembers the last access; reads as the offset. */
struct device {
	struct vdb_bus *bus;
	uint64_t offset;
	uint32_t len;
	uint64_t value;
	struct vdb_vcpu *vcpu;
	int reads, writes;
	int err;
};

static void device_read(void *ctx, struct vdb_bus_access *access)
{
	struct device *d = ctx;

	for (uint32_t i = 0; i < access->len; i++)
		ck_assert_uint_eq(access->data[i], 0);
	d->reads++;
	d->offset = access->offset;
	d->len = access->len;
	d->vcpu = access->vcpu;
	access->data[0] = (uint8_t)access->offset;
}

static void device_write(void *ctx, struct vdb_bus_access *access)
{
	struct device *d = ctx;

	d->writes++;
	d->offset = access->offset;
	d->len = access->len;
	d->value = 0;
	memcpy(&d->value, access->data, access->len);
}

static const struct vdb_bus_ops ops = {.size = sizeof(ops), .read = device_read, .write = device_write};

static struct vdb_bus *new_bus(void)
{
	struct vdb_bus *bus;

	ck_assert_int_eq(vdb_bus_create(&bus), 0);
	return bus;
}

static bool covered(struct vdb_bus *bus, uint64_t addr, uint64_t len)
{
	return vdb__bus_clear_of(bus, "test", addr, len) == -EEXIST;
}

START_TEST(each_range_gets_its_own)
{
	struct vdb_bus *bus = new_bus();
	struct device devices[20] = {{.reads = 0}};
	struct vdb_vcpu *vcpu = (void *)&devices[3];
	uint32_t value;

	/* Added out of order, apart and adjacent. */
	for (uint64_t i = 0; i < 20; i++)
		ck_assert_int_eq(vdb_bus_add(bus, "d", (i * 7 % 20) * 16, 8 + i * 7 % 2 * 8, &ops,
		                             &devices[i * 7 % 20]),
		                 0);
	for (uint64_t i = 0; i < 20; i++) {
		ck_assert_int_eq(vdb_bus_read(bus, vcpu, i * 16 + 4, &value, 4), 1);
		ck_assert_uint_eq(value, 4);
		ck_assert_int_eq(devices[i].reads, 1);
		ck_assert_ptr_eq(devices[i].vcpu, vcpu);
		ck_assert_uint_eq(devices[i].offset, 4);
		value = 0xabcd0000 + (uint32_t)i;
		ck_assert_int_eq(vdb_bus_write(bus, NULL, i * 16 + 2, &value, 2), 1);
		ck_assert_uint_eq(devices[i].value, i);
		ck_assert_uint_eq(devices[i].len, 2);
	}
	vdb_bus_destroy(bus);
	vdb_bus_destroy(NULL);
}
END_TEST

START_TEST(unclaimed_and_straddling_read_all_ones)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
	} nowhere[] = {{0xfff, 1},      {0x1010, 1},         {0x100f, 2}, {0xfff, 2},
	               {0x1009, 8},     {0x1000, 3},         {0x2000, 4}, {0, 8},
	               {UINT64_MAX, 1}, {UINT64_MAX - 1, 8}, {0x1000, 0}, {0x1000, 16}};
	struct vdb_bus *bus = new_bus();
	struct device d = {.reads = 0};
	uint8_t data[17], ones[17];

	memset(ones, 0xff, sizeof(ones));
	ck_assert_int_eq(vdb_bus_add(bus, "d", 0x1000, 16, &ops, &d), 0);
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		memset(data, 0x5a, sizeof(data));
		ck_assert_int_eq(vdb_bus_read(bus, NULL, nowhere[i].addr, data, nowhere[i].len), 0);
		ck_assert_mem_eq(data, ones, nowhere[i].len);
		ck_assert_uint_eq(data[nowhere[i].len], 0x5a);
		ck_assert_int_eq(vdb_bus_write(bus, NULL, nowhere[i].addr, data, nowhere[i].len), 0);
	}
	/* Two ranges side by side are not one. */
	ck_assert_int_eq(vdb_bus_add(bus, "e", 0x1010, 16, &ops, &d), 0);
	ck_assert_int_eq(vdb_bus_read(bus, NULL, 0x100e, data, 4), 0);
	ck_assert_int_eq(d.reads + d.writes, 0);
	vdb_bus_destroy(bus);
}
END_TEST

START_TEST(missing_handlers_read_zero_and_ignore)
{
	static const struct vdb_bus_ops none = {.size = sizeof(none)};
	struct vdb_bus *bus = new_bus();
	uint64_t value = 5;

	ck_assert_int_eq(vdb_bus_add(bus, NULL, 0, 8, &none, NULL), 0);
	ck_assert_int_eq(vdb_bus_read(bus, NULL, 0, &value, 8), 1);
	ck_assert_uint_eq(value, 0);
	ck_assert_int_eq(vdb_bus_write(bus, NULL, 0, &value, 8), 1);
	vdb_bus_destroy(bus);
}
END_TEST

START_TEST(an_overlap_names_the_other)
{
	static const uint64_t bad[][2] = {{0x1000, 16}, {0xfff, 2},  {0x100f, 1},
	                                  {0x1008, 1},  {0, 0x2000}, {0x1004, UINT64_MAX - 0x1004}};
	struct vdb_bus *bus = new_bus();

	ck_assert_int_eq(vdb_bus_add(bus, "serial", 0x1000, 16, &ops, NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(vdb_bus_add(bus, "clock", bad[i][0], bad[i][1], &ops, NULL), -EEXIST);
		ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "serial"));
		ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "clock"));
	}
	ck_assert_int_eq(vdb_bus_add(bus, "before", 0xfff, 1, &ops, NULL), 0);
	ck_assert_int_eq(vdb_bus_add(bus, "behind", 0x1010, 1, &ops, NULL), 0);
	vdb_bus_destroy(bus);
}
END_TEST

START_TEST(the_top_of_the_space)
{
	struct vdb_bus_ops newer = ops;
	struct vdb_bus *bus = new_bus();
	struct device d = {.reads = 0};
	uint64_t value;

	ck_assert_int_eq(vdb_bus_add(bus, "empty", 5, 0, &ops, &d), -EINVAL);
	ck_assert_int_eq(vdb_bus_add(bus, "wraps", UINT64_MAX - 6, 8, &ops, &d), -EINVAL);
	newer.size = 0;
	ck_assert_int_eq(vdb_bus_add(bus, "no size", 0, 8, &newer, &d), -EINVAL);
	ck_assert_int_eq(vdb_bus_add(bus, "top", UINT64_MAX - 7, 8, &ops, &d), 0);
	ck_assert_int_eq(vdb_bus_read(bus, NULL, UINT64_MAX - 7, &value, 8), 1);
	ck_assert_int_eq(vdb_bus_read(bus, NULL, UINT64_MAX, &value, 1), 1);
	ck_assert_uint_eq(d.offset, 7);
	ck_assert_int_eq(vdb_bus_read(bus, NULL, UINT64_MAX - 3, &value, 8), 0);
	ck_assert(covered(bus, UINT64_MAX - 100, UINT64_MAX));
	ck_assert(!covered(bus, UINT64_MAX - 100, 93));
	ck_assert(covered(bus, UINT64_MAX - 100, 94));
	vdb_bus_destroy(bus);
}
END_TEST

START_TEST(overlaps_is_exact)
{
	struct vdb_bus *bus = new_bus();

	ck_assert(!covered(bus, 0, UINT64_MAX));
	ck_assert_int_eq(vdb_bus_add(bus, "d", 0x1000, 16, &ops, NULL), 0);
	ck_assert(!covered(bus, 0xf00, 0x100));
	ck_assert(covered(bus, 0xf00, 0x101));
	ck_assert(covered(bus, 0x100f, 1));
	ck_assert(covered(bus, 0x1004, 1));
	ck_assert(!covered(bus, 0x1010, 1));
	vdb_bus_destroy(bus);
}
END_TEST

static int guard(void *arg, const char *name, uint64_t base, uint64_t len)
{
	(void)arg;
	return base < 0x2000 && base + len > 0x1000 ? vdb__fail(EEXIST, "'%s' is guarded", name) : 0;
}

START_TEST(a_guard_may_refuse_a_range)
{
	struct vdb_bus *bus = new_bus();

	vdb__bus_guard(bus, guard, NULL);
	ck_assert_int_eq(vdb_bus_add(bus, "d", 0xff0, 17, &ops, NULL), -EEXIST);
	ck_assert_str_eq(vdb_errmsg(), "'d' is guarded");
	ck_assert(!covered(bus, 0, 0x2000));
	ck_assert_int_eq(vdb_bus_add(bus, "d", 0xff0, 16, &ops, NULL), 0);
	ck_assert_int_eq(vdb__bus_clear_of(bus, "memory", 0, 0x1000), -EEXIST);
	ck_assert_str_eq(vdb_errmsg(),
	                 "memory [0, 0xfff] covers bus range 'd' [0xff0, 0xfff]; move one of them");
	vdb_bus_destroy(bus);
}
END_TEST

static void change_others(void *ctx, struct vdb_bus_access *access)
{
	struct device *d = ctx;

	(void)access;
	d->err = vdb_bus_remove(d->bus, 0);
	ck_assert_int_eq(d->err, -EDEADLK);
	ck_assert_int_eq(vdb_bus_remove(d->bus, 0x100), 0);
	ck_assert_int_eq(vdb_bus_add(d->bus, "new", 0x200, 16, &ops, d), 0);
	d->writes++;
}

START_TEST(a_handler_may_change_other_ranges)
{
	static const struct vdb_bus_ops changing = {.size = sizeof(changing), .write = change_others};
	struct vdb_bus *bus = new_bus();
	struct device d = {.bus = bus};
	uint32_t value = 0;

	ck_assert_int_eq(vdb_bus_add(bus, "changing", 0, 16, &changing, &d), 0);
	ck_assert_int_eq(vdb_bus_add(bus, "other", 0x100, 16, &ops, &d), 0);
	ck_assert_int_eq(vdb_bus_write(bus, NULL, 0, &value, 4), 1);
	ck_assert_int_eq(d.writes, 1);
	ck_assert_int_eq(vdb_bus_read(bus, NULL, 0x100, &value, 4), 0);
	ck_assert_int_eq(vdb_bus_read(bus, NULL, 0x200, &value, 4), 1);
	vdb__thread_loop = bus;
	ck_assert_int_eq(vdb_bus_remove(bus, 0), -EDEADLK);
	vdb__thread_loop = NULL;
	ck_assert_int_eq(vdb_bus_remove(bus, 0), 0);
	ck_assert_int_eq(vdb_bus_remove(bus, 0), -ENOENT);
	ck_assert_int_eq(vdb_bus_remove(bus, 0x201), -ENOENT);
	vdb_bus_destroy(bus);
}
END_TEST

/* A handler that waits until it is let go. */
struct slow {
	struct vdb_bus *bus;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool inside, go, removed;
};

static void slow_write(void *ctx, struct vdb_bus_access *access)
{
	struct slow *s = ctx;

	(void)access;
	pthread_mutex_lock(&s->lock);
	s->inside = true;
	pthread_cond_broadcast(&s->cond);
	while (!s->go)
		pthread_cond_wait(&s->cond, &s->lock);
	ck_assert(!s->removed);
	pthread_mutex_unlock(&s->lock);
}

static const struct vdb_bus_ops slow_ops = {.size = sizeof(slow_ops), .write = slow_write};

static void *write_slowly(void *arg)
{
	struct slow *s = arg;
	uint8_t value = 0;

	ck_assert_int_eq(vdb_bus_write(s->bus, NULL, 0, &value, 1), 1);
	return NULL;
}

static void *remove_slow(void *arg)
{
	struct slow *s = arg;

	ck_assert_int_eq(vdb_bus_remove(s->bus, 0), 0);
	pthread_mutex_lock(&s->lock);
	s->removed = true;
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

START_TEST(removal_waits_for_that_ranges_handlers)
{
	struct slow s = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct device d = {.reads = 0};
	pthread_t writer, remover;
	uint8_t value = 0;

	s.bus = new_bus();
	ck_assert_int_eq(vdb_bus_add(s.bus, "slow", 0, 16, &slow_ops, &s), 0);
	ck_assert_int_eq(vdb_bus_add(s.bus, "fast", 16, 16, &ops, &d), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_slowly, &s), 0);
	pthread_mutex_lock(&s.lock);
	while (!s.inside)
		pthread_cond_wait(&s.cond, &s.lock);
	pthread_mutex_unlock(&s.lock);

	/* Others go on meanwhile. */
	ck_assert_int_eq(vdb_bus_write(s.bus, NULL, 16, &value, 1), 1);
	ck_assert_int_eq(vdb_bus_remove(s.bus, 16), 0);
	ck_assert_int_eq(pthread_create(&remover, NULL, remove_slow, &s), 0);
	/* Out of reach as soon as removal has begun, though it still waits. */
	while (covered(s.bus, 0, 16))
		sched_yield();
	ck_assert_int_eq(vdb_bus_write(s.bus, NULL, 0, &value, 1), 0);
	pthread_mutex_lock(&s.lock);
	ck_assert(!s.removed);
	s.go = true;
	pthread_cond_broadcast(&s.cond);
	pthread_mutex_unlock(&s.lock);
	pthread_join(writer, NULL);
	pthread_join(remover, NULL);
	ck_assert(s.removed);
	vdb_bus_destroy(s.bus);
}
END_TEST

/* What a handler uses goes away right after its range's removal. */
struct churn {
	struct vdb_bus *bus;
	bool stop;
};

static void churn_read(void *ctx, struct vdb_bus_access *access)
{
	access->data[0] = (uint8_t)++ * (int *)ctx;
}

static void *keep_reading(void *arg)
{
	struct churn *c = arg;
	uint8_t value;

	while (!__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE))
		(void)vdb_bus_read(c->bus, NULL, 0x100, &value, 1);
	return NULL;
}

START_TEST(nothing_runs_in_a_removed_range)
{
	static const struct vdb_bus_ops churn_ops = {.size = sizeof(churn_ops), .read = churn_read};
	struct churn c = {.bus = new_bus()};
	pthread_t reader;
	int *counter;

	ck_assert_int_eq(pthread_create(&reader, NULL, keep_reading, &c), 0);
	for (int i = 0; i < 3000; i++) {
		counter = calloc(1, sizeof(*counter));
		ck_assert_int_eq(vdb_bus_add(c.bus, "churn", 0x100, 4, &churn_ops, counter), 0);
		if (i % 16 == 0)
			sched_yield();
		ck_assert_int_eq(vdb_bus_remove(c.bus, 0x100), 0);
		++*counter;
		free(counter);
	}
	__atomic_store_n(&c.stop, true, __ATOMIC_RELEASE);
	pthread_join(reader, NULL);
	vdb_bus_destroy(c.bus);
}
END_TEST

static int make(void *arg)
{
	struct vdb_bus *bus;
	int err = vdb_bus_create(&bus);

	(void)arg;
	if (err)
		return err;
	/* The ninth needs a larger array; what is there stays whole when that fails. */
	for (uint64_t i = 0; i < 9 && !err; i++) {
		err = vdb_bus_add(bus, "d", i * 16, 16, &ops, NULL);
		fail_check(covered(bus, i * 16, 16) == !err);
		fail_check(!i || covered(bus, i * 16 - 16, 16));
	}
	vdb_bus_destroy(bus);
	return err;
}

START_TEST(no_memory)
{
	ck_assert_uint_eq(fail_sweep(make, NULL), 1 + 9 + 2);
}
END_TEST

SUITE("bus", each_range_gets_its_own, unclaimed_and_straddling_read_all_ones,
      missing_handlers_read_zero_and_ignore, an_overlap_names_the_other, the_top_of_the_space,
      overlaps_is_exact, a_guard_may_refuse_a_range, a_handler_may_change_other_ranges,
      removal_waits_for_that_ranges_handlers, nothing_runs_in_a_removed_range, no_memory)
