/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: ioctl */
/* Exits that no guest of ours can cause at will: KVM_RUN's answers are made up here. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/vm.h"
#include "kvm_fixture.h"

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static struct kvm_fixture f;

/* One answer after the other, then a triple fault. */
struct answer {
	int err;
	uint32_t reason;
	uint64_t a, b;
};

static struct answer answers[4];
static unsigned next;

static void make_up(struct kvm_run *run, const struct answer *answer)
{
	run->exit_reason = answer->reason;
	switch (answer->reason) {
	case KVM_EXIT_SYSTEM_EVENT:
		run->system_event.type = (uint32_t)answer->a;
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		run->internal.suberror = (uint32_t)answer->a;
		run->internal.ndata = (uint32_t)answer->b;
		for (unsigned i = 0; i < 16; i++)
			run->internal.data[i] = 100 + i;
		break;
	case KVM_EXIT_FAIL_ENTRY:
		run->fail_entry.hardware_entry_failure_reason = answer->a;
		break;
	case KVM_EXIT_MMIO:
		run->mmio.phys_addr = answer->a;
		run->mmio.len = (uint32_t)answer->b;
		run->mmio.is_write = 0;
		memset(run->mmio.data, 0, sizeof(run->mmio.data));
		break;
	default:
		break;
	}
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	unsigned long arg;
	const struct answer *answer;

	va_start(args, request);
	arg = va_arg(args, unsigned long);
	va_end(args);
	if (request != KVM_RUN)
		return __real_ioctl(fd, request, arg);
	answer = &answers[next++];
	if (answer->err) {
		errno = answer->err;
		return -1;
	}
	make_up(f.vcpu[0]->run, answer->reason ? answer : &(struct answer){.reason = KVM_EXIT_SHUTDOWN});
	return 0;
}

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 1);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

static void expect_event(struct answer answer, uint32_t kind, uint64_t data, const char *word)
{
	answers[0] = answer;
	next = 0;
	must(vdb_vcpu_run(f.vcpu[0]));
	ck_assert_uint_eq(f.event.kind, kind);
	ck_assert_uint_eq(f.event.data[0], data);
	ck_assert_msg(strstr(f.text, word), "'%s' is not in: %s", word, f.text);
	ck_assert_msg(strstr(f.text, "vCPU 0"), "%s", f.text);
}

START_TEST(every_end_is_described)
{
	expect_event((struct answer){.reason = KVM_EXIT_SYSTEM_EVENT, .a = 2}, VDB_EVENT_SYSTEM, 2,
	             "system event 2");
	expect_event((struct answer){.reason = KVM_EXIT_FAIL_ENTRY, .a = 0x80000021}, VDB_EVENT_FAIL_ENTRY,
	             0x80000021, "0x80000021");
	expect_event((struct answer){.reason = KVM_EXIT_HLT}, VDB_EVENT_HALT, 0, "HLT");
	expect_event((struct answer){.reason = 4711}, VDB_EVENT_UNKNOWN_EXIT, 4711, "4711");
	expect_event((struct answer){.err = EFAULT}, VDB_EVENT_RUN_FAILED, EFAULT, "Bad address");
	expect_event((struct answer){.reason = KVM_EXIT_INTERNAL_ERROR, .a = 3}, VDB_EVENT_INTERNAL_ERROR, 3,
	             "delivery");
}
END_TEST

START_TEST(internal_errors_bring_their_words_and_no_more)
{
	expect_event((struct answer){.reason = KVM_EXIT_INTERNAL_ERROR, .a = 1, .b = 16},
	             VDB_EVENT_INTERNAL_ERROR, 1, "emulate");
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(f.event.data[1 + i], 100 + i);
	expect_event((struct answer){.reason = KVM_EXIT_INTERNAL_ERROR, .a = 1, .b = 1},
	             VDB_EVENT_INTERNAL_ERROR, 1, "emulate");
	ck_assert_uint_eq(f.event.data[1], 100);
	ck_assert_uint_eq(f.event.data[2], 0);
}
END_TEST

START_TEST(what_means_nothing_to_us_is_passed_over)
{
	answers[0] = (struct answer){.err = EAGAIN};
	answers[1] = (struct answer){.reason = KVM_EXIT_IRQ_WINDOW_OPEN};
	answers[2] = (struct answer){.err = EINTR};
	next = 0;
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(next, 4);
	ck_assert_uint_eq(f.events, 1);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).runs, 4);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).exits_intr, 1);
}
END_TEST

/* KVM splits an access that crosses a page: the rest may have any length. */
START_TEST(an_access_of_three_bytes_has_nobody)
{
	const struct vdb_bus_ops ops = {.size = sizeof(ops)};

	must(vdb_bus_add(vdb_vm_mmio(f.vm), "device", 0x10000000, 0x1000, &ops, NULL));
	answers[0] = (struct answer){.reason = KVM_EXIT_MMIO, .a = 0x10000000, .b = 3};
	next = 0;
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.vcpu[0]->run->mmio.data[2], 0xff);
	ck_assert_uint_eq(f.vcpu[0]->run->mmio.data[3], 0);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).unclaimed, 1);
}
END_TEST

static int go_on(struct kvm_fixture *fixture, const struct vdb_event *event)
{
	(void)fixture;
	return event->kind == VDB_EVENT_SHUTDOWN ? VDB_EVENT_STOP : VDB_EVENT_CONTINUE;
}

START_TEST(a_failed_run_may_be_tried_again)
{
	f.on_event = go_on;
	answers[0] = answers[1] = (struct answer){.err = EIO};
	answers[2] = (struct answer){.reason = 4711};
	next = 0;
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.events, 4);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        every_end_is_described,
	        internal_errors_bring_their_words_and_no_more,
	        what_means_nothing_to_us_is_passed_over,
	        an_access_of_three_bytes_has_nobody,
	        a_failed_run_may_be_tried_again,
	        NULL,
	};

	return kvm_tests_run("exits", setup, teardown, tests);
}
