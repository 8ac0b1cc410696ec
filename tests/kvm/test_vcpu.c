/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* A guest runs, its accesses reach the buses, and how it ends is told in words. */
#include <errno.h>
#include <string.h>

#include "kvm_fixture.h"

static struct kvm_fixture f;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 2);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

/* What a device saw. */
struct access {
	uint64_t offset;
	uint32_t len;
	bool write;
	uint64_t value;
};

static struct access seen[16];
static uint32_t seen_count;
static uint64_t answer;

static void see(struct vdb_bus_access *access, bool write)
{
	struct access *a = &seen[seen_count++ % 16];

	a->offset = access->offset;
	a->len = access->len;
	a->write = write;
	a->value = 0;
	if (!write)
		memcpy(access->data, &answer, access->len);
	memcpy(&a->value, access->data, access->len);
}

static void on_read(void *ctx, struct vdb_bus_access *access)
{
	ck_assert_ptr_eq(ctx, &f);
	ck_assert_ptr_eq(access->vcpu, f.vcpu[0]);
	see(access, false);
}

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	ck_assert_ptr_eq(ctx, &f);
	see(access, true);
}

static const struct vdb_bus_ops device = {.size = sizeof(device), .read = on_read, .write = on_write};

GUEST(hello, "mov $0x1234, %eax\n out %eax, $0x10\n inc %eax\n out %eax, $0x10\n ud2");

START_TEST(guest_reports_by_port)
{
	struct vdb_vcpu_stats stats;

	LOAD(&f, 0, hello, 0);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.reports, 2);
	ck_assert_uint_eq(f.report[0], 0x1234);
	ck_assert_uint_eq(f.report[1], 0x1235);
	stats = kvm_fixture_stats(&f, 0);
	ck_assert_uint_eq(stats.exits_pio, 2);
	ck_assert_uint_eq(stats.exits_other, 1);
	ck_assert_uint_eq(stats.runs, 3);
	ck_assert_uint_eq(stats.unclaimed, 0);
}
END_TEST

GUEST(mmio, "movb $0x11, (%rdi)\n movw $0x2222, 2(%rdi)\n movl $0x33333333, 4(%rdi)\n"
            "mov $0x4444444444444444, %rax\n mov %rax, 8(%rdi)\n"
            "mov 16(%rdi), %rax\n shr $32, %rax\n out %eax, $0x10\n movzbl 7(%rdi), %eax\n"
            "out %eax, $0x10\n ud2");

START_TEST(mmio_of_every_width_reaches_the_device)
{
	static const struct access expected[] = {
	        {0, 1, true, 0x11},
	        {2, 2, true, 0x2222},
	        {4, 4, true, 0x33333333},
	        {8, 8, true, 0x4444444444444444},
	        {16, 8, false, 0x1122334455667788},
	        {7, 1, false, 0x88},
	};

	answer = 0x1122334455667788;
	must(vdb_bus_add(vdb_vm_mmio(f.vm), "device", 0x10000000, 0x1000, &device, &f));
	LOAD(&f, 0, mmio, 0x10000000);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(seen_count, 6);
	for (unsigned i = 0; i < 6; i++) {
		ck_assert_uint_eq(seen[i].offset, expected[i].offset);
		ck_assert_uint_eq(seen[i].len, expected[i].len);
		ck_assert_uint_eq(seen[i].write, expected[i].write);
		ck_assert_uint_eq(seen[i].value, expected[i].value);
	}
	ck_assert_uint_eq(f.report[0], 0x11223344);
	ck_assert_uint_eq(f.report[1], 0x88);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).exits_mmio, 6);
}
END_TEST

/* Writes the five bytes at rdi to port 0x80, then reads three words of port 0x80 to rdi + 64. */
GUEST(string, "mov %rdi, %rsi\n mov $5, %ecx\n mov $0x80, %edx\n rep outsb\n"
              "add $64, %rdi\n mov $3, %ecx\n rep insl\n ud2");

START_TEST(string_port_io_is_so_many_accesses)
{
	uint32_t words[3];

	answer = 0xabcd0123;
	memcpy(f.ram + GUEST_DATA, "bells", 5);
	must(vdb_bus_add(vdb_vm_pio(f.vm), "device", 0x80, 4, &device, &f));
	LOAD(&f, 0, string, GUEST_DATA);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(seen_count, 8);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_uint_eq(seen[i].len, 1);
		ck_assert_uint_eq(seen[i].value, (uint64_t) "bells"[i]);
	}
	memcpy(words, f.ram + GUEST_DATA + 64, sizeof(words));
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(seen[5 + i].len, 4);
		ck_assert_uint_eq(words[i], 0xabcd0123);
	}
}
END_TEST

GUEST(nobody, "mov 0x20000000, %eax\n out %eax, $0x10\n mov %eax, 0x20000000\n"
              "in $0x90, %eax\n out %eax, $0x10\n ud2");

START_TEST(what_nobody_claims_reads_as_ones_and_is_counted)
{
	LOAD(&f, 0, nobody, 0);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.report[0], 0xffffffff);
	ck_assert_uint_eq(f.report[1], 0xffffffff);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).unclaimed, 3);
}
END_TEST

GUEST(fault, "nop\n ud2");

START_TEST(triple_fault_is_an_event_in_words)
{
	LOAD(&f, 1, fault, 0);
	must(vdb_vcpu_run(f.vcpu[1]));
	ck_assert_uint_eq(f.events, 1);
	ck_assert_uint_eq(f.event.kind, VDB_EVENT_SHUTDOWN);
	ck_assert_uint_eq(f.event.size, sizeof(f.event));
	ck_assert_uint_eq(f.event.vcpu, 1);
	ck_assert_ptr_nonnull(strstr(f.text, "vCPU 1"));
	ck_assert_ptr_nonnull(strstr(f.text, "triple fault"));
}
END_TEST

/* Code fetched from where no memory is: KVM has nothing to emulate. In CPL 3 some hosts raise #UD instead. */
GUEST(nowhere, "mov $0x30000000, %eax\n jmp *%rax");

START_TEST(what_kvm_cannot_emulate_is_an_event)
{
	struct vdb_x86_start start = {
	        .size = sizeof(start),
	        .flags = VDB_X86_KERNEL,
	        .entry = GUEST_CODE,
	        .tables = GUEST_TABLES,
	};

	LOAD(&f, 0, nowhere, 0);
	must(vdb_x86_start64(f.vcpu[0], &start));
	must(vdb_vcpu_run(f.vcpu[0]));
	ck_assert_uint_eq(f.events, 1);
	ck_assert_msg(f.event.kind == VDB_EVENT_INTERNAL_ERROR, "%s", f.text);
	ck_assert_uint_eq(f.event.rip, 0x30000000);
	ck_assert_ptr_nonnull(strstr(f.text, "KVM gave up"));
}
END_TEST

static int skip_fault(struct kvm_fixture *fixture, const struct vdb_event *event)
{
	(void)event;
	if (fixture->events > 3)
		return VDB_EVENT_STOP;
	/* The vCPU may have been reset by the fault. */
	LOAD(fixture, 0, hello, 0);
	return VDB_EVENT_CONTINUE;
}

START_TEST(event_handler_may_repair_and_continue)
{
	f.on_event = skip_fault;
	LOAD(&f, 0, fault, 0);
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.events, 4);
	ck_assert_uint_eq(f.reports, 6);
}
END_TEST

START_TEST(hlt_without_irqchip_is_an_event)
{
	struct vdb_vm_config config = {.size = sizeof(config), .irqchip = VDB_IRQCHIP_NONE};
	struct vdb_x86_start start = {
	        .size = sizeof(start), .flags = VDB_X86_KERNEL, .entry = GUEST_CODE, .tables = GUEST_TABLES};

	kvm_fixture_end(&f);
	kvm_fixture_make(&f, &config, 1);
	f.ram[GUEST_CODE] = 0xf4;
	must(vdb_x86_start64(f.vcpu[0], &start));
	must(vdb_vcpu_run(f.vcpu[0]));
	ck_assert_msg(f.event.kind == VDB_EVENT_HALT, "%s", f.text);
}
END_TEST

START_TEST(event_without_handler_stops_the_vcpu)
{
	struct vdb_vcpu *vcpu;
	struct vdb_vm *vm;
	struct vdb_x86_start start = {.size = sizeof(start), .entry = GUEST_CODE};

	must(vdb_vm_create(f.kvm, f.mem, NULL, &vm));
	must(vdb_vcpu_create(vm, 0, &vcpu));
	memcpy(f.ram + GUEST_CODE, "\x0f\x0b", 2);
	must(vdb_x86_start64(vcpu, &start));
	must(vdb_vcpu_run(vcpu));
	must(vdb_vm_destroy(vm, NULL, NULL));
}
END_TEST

GUEST(smp, "mov %edi, %eax\n lock xaddl %eax, 0x300000\n 1: cmpl $2, 0x300000\n jne 1b\n"
           "mov %edi, %eax\n out %eax, $0x10\n jmp .");

START_TEST(two_vcpus_run_at_once)
{
	LOAD(&f, 0, smp, 1);
	LOAD(&f, 1, smp, 1);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	must(vdb_vcpu_start(f.vcpu[1], -1, "second"));
	wait_for32(&f.reports, 2);
}
END_TEST

START_TEST(start64_refuses_what_cannot_be)
{
	struct vdb_x86_start start = {.size = sizeof(start), .entry = GUEST_CODE, .tables = 0x1234};

	ck_assert_int_eq(vdb_x86_start64(f.vcpu[0], &start), -EINVAL);
	start.tables = GUEST_MEM - 0x1000;
	ck_assert_int_eq(vdb_x86_start64(f.vcpu[0], &start), -EFAULT);
	start.tables = 0;
	start.flags = 1u << 31;
	ck_assert_int_eq(vdb_x86_start64(f.vcpu[0], &start), -EINVAL);
	must(vdb_x86_start64(f.vcpu[0], NULL)); /* as with all structs: nothing but defaults */
}
END_TEST

START_TEST(registers_are_set_and_read)
{
	struct vdb_x86_regs regs, back;

	LOAD(&f, 0, hello, 0);
	must(vdb_x86_get_regs(f.vcpu[0], &regs));
	ck_assert_uint_eq(regs.rip, GUEST_CODE);
	regs.rip += 5; /* past the mov */
	regs.rax = 0x77;
	regs.r15 = 0x1515151515151515;
	must(vdb_x86_set_regs(f.vcpu[0], &regs));
	must(vdb_x86_get_regs(f.vcpu[0], &back));
	ck_assert_mem_eq(&regs, &back, sizeof(regs));
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(f.report[0], 0x77);
}
END_TEST

START_TEST(indices_are_checked)
{
	struct vdb_vcpu *vcpu;
	struct vdb_kvm_info info = {.size = sizeof(info)};

	must(vdb_kvm_query(f.kvm, &info));
	ck_assert_int_eq(vdb_vcpu_create(f.vm, 1, &vcpu), -EEXIST);
	ck_assert_int_eq(vdb_vcpu_create(f.vm, info.max_vcpus, &vcpu), -EINVAL);
	ck_assert_uint_eq(vdb_vcpu_index(f.vcpu[1]), 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        guest_reports_by_port,
	        mmio_of_every_width_reaches_the_device,
	        string_port_io_is_so_many_accesses,
	        what_nobody_claims_reads_as_ones_and_is_counted,
	        triple_fault_is_an_event_in_words,
	        what_kvm_cannot_emulate_is_an_event,
	        event_handler_may_repair_and_continue,
	        hlt_without_irqchip_is_an_event,
	        event_without_handler_stops_the_vcpu,
	        two_vcpus_run_at_once,
	        start64_refuses_what_cannot_be,
	        registers_are_set_and_read,
	        indices_are_checked,
	        NULL,
	};

	return kvm_tests_run("vcpu", setup, teardown, tests);
}
