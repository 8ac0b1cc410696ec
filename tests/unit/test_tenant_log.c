/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: vdb__now */
/* Lines that a guest causes: so many in a while, and what becomes of the rest; by a clock of the test's. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include <vdb/caps.h>

#include "run.h"
#include "turn.h"

uint64_t __wrap_vdb__now(void);

#define SECOND 1000000000ull

static uint64_t fake_now = 1000 * SECOND;
static struct vdb_loop *loop;
static struct vdb_tenant *tenant;
static unsigned lines;
static char last[VDB_LOG_LINE];

uint64_t __wrap_vdb__now(void)
{
	return __atomic_load_n(&fake_now, __ATOMIC_RELAXED);
}

static int take(void *arg, const char *line)
{
	ck_assert_ptr_eq(arg, &lines);
	ck_assert_uint_lt(strlen(line), VDB_LOG_LINE);
	strcpy(last, line);
	lines++;
	return 0;
}

static struct vdb_tenant_stats stats(void)
{
	struct vdb_tenant_stats now = {.size = sizeof(now)};

	ck_assert_int_eq(vdb_tenant_stats(tenant, &now), 0);
	return now;
}

static void open_log(const struct vdb_caps *given)
{
	struct vdb_caps caps = *given;

	caps.size = sizeof(caps);
	lines = 0;
	loop = test_loop_new();
	ck_assert_int_eq(vdb_tenant_create(loop, &tenant), 0);
	ck_assert_int_eq(vdb_tenant_caps(tenant, &caps), 0);
}

static void close_log(void)
{
	vdb_tenant_destroy(tenant);
	test_loop_end(loop);
}

static void say(uint32_t place, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		vdb_tenant_log(tenant, place, "queue %u: broken", i);
}

START_TEST(ten_in_five_seconds_by_default)
{
	open_log(&(struct vdb_caps){.log = take, .log_arg = &lines});
	say(0, 1000);
	ck_assert_uint_eq(lines, 10);
	ck_assert_str_eq(last, "queue 9: broken");
	fake_now += 5 * SECOND - 1000000;
	say(0, 1);
	ck_assert_uint_eq(lines, 10);
	ck_assert_uint_eq(stats().log_lines, 10);
	ck_assert_uint_eq(stats().log_dropped, 991);
	/* And on: with word of those that nobody has seen, once. */
	fake_now += 1000000;
	say(0, 1);
	ck_assert_uint_eq(lines, 11);
	ck_assert_str_eq(last, "queue 0: broken (991 more lines of this kind were dropped)");
	say(0, 1);
	ck_assert_str_eq(last, "queue 0: broken");
	close_log();
}
END_TEST

START_TEST(each_place_has_its_own)
{
	open_log(&(struct vdb_caps){.log = take, .log_arg = &lines, .log_lines = 2, .log_ms = 100});
	say(0, 1000);
	say(1, 1000);
	say(VDB_LOG_PLACES - 1, 1000);
	ck_assert_uint_eq(lines, 6);
	say(VDB_LOG_PLACES, 1000); /* that is the last one, too */
	say(UINT32_MAX, 1000);
	ck_assert_uint_eq(lines, 6);
	fake_now += SECOND / 10;
	say(1, 1000);
	ck_assert_uint_eq(lines, 8);
	close_log();
}
END_TEST

START_TEST(a_long_line_is_cut)
{
	char text[2 * VDB_LOG_LINE];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	open_log(&(struct vdb_caps){.log = take, .log_arg = &lines});
	vdb_tenant_log(tenant, 0, "%s", text);
	ck_assert_uint_eq(strlen(last), VDB_LOG_LINE - 1);
	close_log();
}
END_TEST

START_TEST(nobody_listens)
{
	open_log(&(struct vdb_caps){.log = NULL});
	say(3, 100);
	ck_assert_uint_eq(stats().log_lines, 0);
	ck_assert_uint_eq(stats().log_dropped, 100);
	close_log();
}
END_TEST

/* HOSTILE F29: a pipe that nobody reads loses lines, and keeps nobody waiting. */
START_TEST(f29_a_log_that_nobody_reads)
{
	char line[64] = "", buffer[4096];
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	open_log(&(struct vdb_caps){
	        .log = vdb_log_fd, .log_arg = (void *)(intptr_t)fds[1], .log_lines = 1u << 20});
	say(0, 20000); /* more than a pipe holds; the fd is a blocking one */
	ck_assert_uint_gt(stats().log_dropped, 0);
	ck_assert_uint_eq(stats().log_lines + stats().log_dropped, 20000);
	ck_assert_int_eq(read(fds[0], line, 16), 16);
	ck_assert_str_eq(line, "queue 0: broken\n");
	while (read(fds[0], buffer, sizeof(buffer)) == (ssize_t)sizeof(buffer))
		;
	fake_now += 5 * SECOND;
	vdb_tenant_log(tenant, 1, "again");
	ck_assert_int_eq(read(fds[0], line, 6), 6);
	ck_assert_int_eq(memcmp(line, "again\n", 6), 0);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_lt(vdb_log_fd((void *)(intptr_t)fds[1], "nowhere"), 0);
	close_log();
}
END_TEST

enum { THREADS = 4, EACH = 20000 };

static int count_line(void *arg, const char *line)
{
	(void)line;
	(void)__atomic_fetch_add((unsigned *)arg, 1, __ATOMIC_RELAXED);
	return 0;
}

static void *many(void *arg)
{
	for (unsigned i = 0; i < EACH; i++) {
		vdb_tenant_log(tenant, i % 3, "from %p", arg);
		if (i % 100 == 0)
			(void)__atomic_fetch_add(&fake_now, 1000000, __ATOMIC_RELAXED);
	}
	return NULL;
}

START_TEST(from_many_threads)
{
	pthread_t threads[THREADS];
	uint64_t began = fake_now / 1000000, windows;

	open_log(&(struct vdb_caps){.log = count_line, .log_arg = &lines, .log_ms = 10});
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, many, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	windows = (fake_now / 1000000 - began) / 10 + 1;
	ck_assert_uint_eq(stats().log_lines, lines);
	ck_assert_uint_eq(stats().log_lines + stats().log_dropped, THREADS * EACH);
	ck_assert_uint_ge(lines, 3 * 10);
	ck_assert_uint_le(lines, 3 * 10 * windows);
	close_log();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("tenant_log");

	tcase_add_test(tc, ten_in_five_seconds_by_default);
	tcase_add_test(tc, each_place_has_its_own);
	tcase_add_test(tc, a_long_line_is_cut);
	tcase_add_test(tc, nobody_listens);
	tcase_add_test(tc, f29_a_log_that_nobody_reads);
	tcase_add_test(tc, from_many_threads);
	return test_run("tenant_log", tc);
}
