/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* A device tells the embedder what its guest asked for, who may stop the vCPU behind the access. */
#include <string.h>

#include "kvm_fixture.h"

#define PORT_WISH 0x30u
#define MMIO_WISH 0xe0000000u

static struct kvm_fixture f;
static uint32_t kind = VDB_EVENT_EXIT;
static const char *words;
static uint32_t handled;

static void on_access(void *ctx, struct vdb_bus_access *access)
{
	struct vdb_event event = {.size = sizeof(event), .kind = kind, .text = words};

	(void)ctx;
	handled++;
	memcpy(&event.data[0], access->data, access->len);
	event.data[1] = access->offset;
	vdb_vcpu_raise(access->vcpu, &event);
}

static void on_read(void *ctx, struct vdb_bus_access *access)
{
	on_access(ctx, access);
	memset(access->data, 0x5a, access->len);
}

static void setup(void)
{
	const struct vdb_bus_ops ops = {.size = sizeof(ops), .read = on_read, .write = on_access};

	kvm_fixture_make(&f, NULL, 1);
	must(vdb_bus_add(vdb_vm_pio(f.vm), "wish", PORT_WISH, 4, &ops, NULL));
	must(vdb_bus_add(vdb_vm_mmio(f.vm), "wish", MMIO_WISH, 0x2000, &ops, NULL));
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

GUEST(out, "mov $7, %eax\n 1: out %eax, $0x30\n mov $9, %eax\n out %eax, $0x10\n ud2");
GUEST(in, "in $0x30, %eax\n out %eax, $0x10\n ud2");
GUEST(store, "movl $8, (%rdi)\n mov $9, %eax\n out %eax, $0x10\n ud2");
GUEST(load, "mov (%rdi), %eax\n out %eax, $0x10\n ud2");
GUEST(string, "mov $0x30, %edx\n mov $4, %ecx\n mov %rdi, %rsi\n rep outsb\n mov $9, %eax\n"
              "out %eax, $0x10\n ud2");

/* The run ended behind the wish, `offset` bytes into the code; the next one goes on there and gives `report`.
 */
static void expect_stop_and_go(uint64_t data, uint32_t offset, uint32_t report)
{
	struct vdb_x86_regs regs;

	must(vdb_vcpu_run(f.vcpu[0]));
	must(vdb_x86_get_regs(f.vcpu[0], &regs));
	ck_assert_uint_eq(regs.rip, GUEST_CODE + offset);
	if (!data)
		ck_assert_uint_eq(regs.rax, report);
	ck_assert_uint_eq(f.event.kind, kind);
	ck_assert_uint_eq(f.event.data[0], data);
	ck_assert_uint_eq(f.event.vcpu, 0);
	ck_assert_uint_eq(f.event.size, sizeof(f.event));
	ck_assert_uint_eq(f.reports, 0);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.reports, 1);
	ck_assert_uint_eq(f.report[0], report);
	ck_assert_uint_eq(handled, 1);
}

START_TEST(it_stops_behind_an_out)
{
	LOAD(&f, 0, out, 0);
	expect_stop_and_go(7, 7, 9);
}
END_TEST

START_TEST(it_stops_behind_an_in_that_has_its_value)
{
	LOAD(&f, 0, in, 0);
	expect_stop_and_go(0, 2, 0x5a5a5a5a);
}
END_TEST

START_TEST(it_stops_behind_a_store)
{
	LOAD(&f, 0, store, MMIO_WISH);
	expect_stop_and_go(8, 6, 9);
}
END_TEST

START_TEST(it_stops_behind_a_load_that_has_its_value)
{
	LOAD(&f, 0, load, MMIO_WISH);
	expect_stop_and_go(0, 2, 0x5a5a5a5a);
}
END_TEST

/* KVM may bring a string instruction in one exit or in several; all of it is done. */
START_TEST(it_stops_in_or_behind_a_string)
{
	LOAD(&f, 0, string, GUEST_DATA);
	do
		must(vdb_vcpu_run(f.vcpu[0]));
	while (f.event.kind == VDB_EVENT_EXIT);
	ck_assert_uint_eq(f.event.kind, VDB_EVENT_SHUTDOWN);
	ck_assert_uint_eq(handled, 4);
	ck_assert_uint_eq(f.report[0], 9);
}
END_TEST

static int go_on(struct kvm_fixture *fixture, const struct vdb_event *event)
{
	(void)fixture;
	return event->kind == VDB_EVENT_SHUTDOWN ? VDB_EVENT_STOP : VDB_EVENT_CONTINUE;
}

START_TEST(it_goes_on_if_the_embedder_says_so)
{
	f.on_event = go_on;
	LOAD(&f, 0, out, 0);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.report[0], 9);
	ck_assert_uint_eq(f.events, 2);
}
END_TEST

START_TEST(each_wish_has_words)
{
	static const char *const said[] = {"reset", "powered off", "panicked", "ended"};

	for (uint32_t i = 0; i < 4; i++) {
		kind = VDB_EVENT_RESET + i;
		LOAD(&f, 0, out, 0);
		must(vdb_vcpu_run(f.vcpu[0]));
		ck_assert_uint_eq(f.event.kind, kind);
		ck_assert_msg(strstr(f.text, said[i]), "'%s' is not in: %s", said[i], f.text);
		ck_assert_uint_ge(f.event.rip, GUEST_CODE);
	}
	words = "the fan stands still";
	LOAD(&f, 0, out, 0);
	must(vdb_vcpu_run(f.vcpu[0]));
	ck_assert_str_eq(f.text, "vCPU 0: the fan stands still");
}
END_TEST

static int destroy_it(struct kvm_fixture *fixture, const struct vdb_event *event)
{
	(void)event;
	must(vdb_vm_stop(fixture->vm, NULL, NULL));
	return VDB_EVENT_CONTINUE;
}

START_TEST(the_event_function_may_stop_the_vm)
{
	f.on_event = destroy_it;
	LOAD(&f, 0, out, 0);
	must(vdb_vcpu_run(f.vcpu[0]));
	ck_assert_uint_eq(f.reports, 0);
}
END_TEST

START_TEST(a_hosts_access_raises_nothing)
{
	uint32_t value = 3;

	ck_assert_int_eq(vdb_bus_write(vdb_vm_pio(f.vm), NULL, PORT_WISH, &value, sizeof(value)), 1);
	ck_assert_uint_eq(handled, 1);
	ck_assert_uint_eq(f.events, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        it_stops_behind_an_out,
	        it_stops_behind_an_in_that_has_its_value,
	        it_stops_behind_a_store,
	        it_stops_behind_a_load_that_has_its_value,
	        it_stops_in_or_behind_a_string,
	        it_goes_on_if_the_embedder_says_so,
	        each_wish_has_words,
	        the_event_function_may_stop_the_vm,
	        a_hosts_access_raises_nothing,
	        NULL,
	};

	return kvm_tests_run("raise", setup, teardown, tests);
}
