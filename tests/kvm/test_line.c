/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: calloc ioctl eventfd fcntl */
/* A level-triggered line interrupts until it is lowered, and not after. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "fail.h"
#include "irq_guest.h"
#include "leak.h"

#define GSI 11u
#define VECTOR 0x42u

static struct kvm_fixture f;
static struct vdb_loop *loop;

static void setup(void)
{
	const struct vdb_loop_config config = test_loop_config();

	kvm_fixture_make(&f, NULL, 1);
	must(vdb_loop_create(&config, &loop));
}

static void teardown(void)
{
	int rc = loop ? vdb_loop_join(loop) : 0;

	ck_assert_msg(!rc || rc == -EINVAL, "%s", vdb_errmsg()); /* -EINVAL: not started, or joined */
	must(vdb_loop_destroy(loop));
	kvm_fixture_end(&f);
}

static void start_all(void)
{
	static const struct irq_guest_pin pin = {GSI, VECTOR, true};

	must(vdb_loop_start(loop, -1, NULL));
	irq_guest_start(&f, 0, &pin, 1);
}

static struct vdb_line *make(void)
{
	struct vdb_line *line;

	must(vdb_line_create(f.vm, loop, GSI, &line));
	return line;
}

static uint32_t arrived(void)
{
	return __atomic_load_n(irq_guest_count(&f, 0, VECTOR), __ATOMIC_ACQUIRE);
}

static void expect_more(uint32_t n)
{
	wait_for32(irq_guest_count(&f, 0, VECTOR), arrived() + n);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* One or two may be on their way when a line is lowered; a line that is still up would bring
 * hundreds. */
static void expect_quiet(void)
{
	const struct timespec a_while = {.tv_nsec = 30000000};
	uint32_t before;

	must(vdb_loop_call(loop, nothing, NULL));
	before = arrived();
	nanosleep(&a_while, NULL);
	ck_assert_uint_le(arrived(), before + 2);
	before = arrived();
	nanosleep(&a_while, NULL);
	ck_assert_uint_eq(arrived(), before);
}

START_TEST(it_interrupts_until_it_is_lowered)
{
	struct vdb_line *line = make();

	start_all();
	ck_assert_uint_eq(arrived(), 0);
	for (unsigned i = 0; i < 3; i++) {
		vdb_line_set(line, 1);
		vdb_line_set(line, 1);
		expect_more(20); /* each acknowledged by the guest */
		vdb_line_set(line, 0);
		expect_quiet();
	}
	vdb_line_destroy(line);
}
END_TEST

START_TEST(a_short_pulse_is_not_lost)
{
	struct vdb_line *line = make();

	start_all();
	for (unsigned i = 0; i < 3; i++) {
		uint32_t before = arrived();

		vdb_line_set(line, 1);
		vdb_line_set(line, 0);
		wait_for32(irq_guest_count(&f, 0, VECTOR), before + 1);
		expect_quiet();
	}
	vdb_line_destroy(line);
}
END_TEST

START_TEST(several_lines_share_a_pin)
{
	struct vdb_line *a = make(), *b = make();

	start_all();
	vdb_line_set(a, 1);
	vdb_line_set(b, 1);
	expect_more(10);
	vdb_line_set(a, 0);
	expect_more(10);
	vdb_line_destroy(a);
	expect_more(10);
	vdb_line_set(b, 0);
	expect_quiet();
	vdb_line_destroy(b);
}
END_TEST

static void *flip(void *arg)
{
	for (unsigned i = 0; i < 2000; i++)
		vdb_line_set(arg, (int)(i & 1));
	return NULL;
}

START_TEST(threads_may_set_it_at_once)
{
	struct vdb_line *line = make();
	pthread_t thread[3];

	start_all();
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, flip, line), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	vdb_line_set(line, 1);
	expect_more(10);
	vdb_line_set(line, 0);
	expect_quiet();
	vdb_line_destroy(line);
}
END_TEST

START_TEST(it_goes_a_whileit_is_up_and_the_loop_runs)
{
	int fds;

	start_all();
	fds = leak_fds();
	for (unsigned i = 0; i < 20; i++) {
		struct vdb_line *line = make();

		vdb_line_set(line, 1);
		if (i % 2)
			expect_more(1);
		vdb_line_destroy(line);
		must(vdb_loop_call(loop, nothing, NULL));
	}
	expect_quiet();
	/* The last one's poll may end a turn later. */
	for (unsigned i = 0; i < 1000 && leak_fds() > fds; i++)
		must(vdb_loop_call(loop, nothing, NULL));
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

START_TEST(the_loop_may_end_before_it)
{
	struct vdb_line *before = make(), *after, *unseen;

	start_all();
	after = make();
	vdb_line_set(after, 1);
	expect_more(3);
	must(vdb_loop_join(loop));
	unseen = make();
	vdb_line_destroy(before);
	must(vdb_loop_destroy(loop));
	loop = NULL;
	vdb_line_set(unseen, 1);
	vdb_line_destroy(after);
	vdb_line_destroy(unseen);
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
	struct vdb_vm_config config = {.size = sizeof(config), .irqchip = VDB_IRQCHIP_SPLIT};
	struct vdb_line *line;

	ck_assert_int_eq(vdb_line_create(f.vm, loop, 24, &line), -EINVAL);
	vdb_line_destroy(NULL);
	kvm_fixture_end(&f);
	kvm_fixture_make(&f, &config, 0);
	ck_assert_int_eq(vdb_line_create(f.vm, loop, GSI, &line), -ENOTSUP);
}
END_TEST

static int make_and_undo(void *arg)
{
	struct vdb_line *line;
	int err = vdb_line_create(f.vm, loop, GSI, &line);

	(void)arg;
	if (!err) {
		vdb_line_destroy(line);
		for (unsigned i = 0; i < 4; i++)
			must(vdb_loop_step(loop));
	}
	return err;
}

START_TEST(a_failure_half_way_leaves_nothing)
{
	must(vdb_loop_step(loop));
	ck_assert_uint_ge(fail_sweep(make_and_undo, NULL), 6);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        it_interrupts_until_it_is_lowered,
	        a_short_pulse_is_not_lost,
	        several_lines_share_a_pin,
	        threads_may_set_it_at_once,
	        it_goes_a_whileit_is_up_and_the_loop_runs,
	        the_loop_may_end_before_it,
	        what_cannot_be_is_refused,
	        a_failure_half_way_leaves_nothing,
	        NULL,
	};

	return kvm_tests_run("line", setup, teardown, tests);
}
