/* SPDX-License-Identifier: Apache-2.0 */
/* What CPUID tells a guest, as the embedder wants it. */
#include <errno.h>
#include <string.h>

#include "kvm_fixture.h"

/* Of the range for hypervisors, where nobody insists on anything. */
#define LEAF 0x40000100u

static struct kvm_fixture f;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 0);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

GUEST(ask, "mov %edi, %eax\n mov %esi, %ecx\n cpuid\n out %eax, $0x10\n mov %ebx, %eax\n"
           "out %eax, $0x10\n mov %ecx, %eax\n out %eax, $0x10\n mov %edx, %eax\n out %eax, $0x10\n ud2");

/* In CPL 0: not every host traps the instruction in CPL 3. */
static const uint32_t *ask(uint32_t vcpu, uint32_t leaf, uint32_t subleaf)
{
	const struct vdb_x86_start start = {
	        .size = sizeof(start), .flags = VDB_X86_KERNEL, .entry = GUEST_CODE, .arg = {leaf, subleaf}};

	memcpy(f.ram + GUEST_CODE, guest_ask, (size_t)(guest_ask_end - guest_ask));
	f.reports = 0;
	must(vdb_x86_start64(f.vcpu[vcpu], &start));
	kvm_fixture_run(&f, vcpu);
	ck_assert_uint_eq(f.reports, 4);
	return f.report;
}

static void make_vcpus(uint32_t count)
{
	for (; f.vcpus < count; f.vcpus++)
		must(vdb_vcpu_create(f.vm, f.vcpus, &f.vcpu[f.vcpus]));
}

START_TEST(an_override_is_what_the_guest_sees)
{
	const struct vdb_cpuid_override overrides[] = {
	        {.leaf = LEAF, .subleaf = VDB_CPUID_ANY_SUBLEAF, .or_mask = {0x11, 0x22, 0x33, 0x44}},
	        {.leaf = LEAF,
	         .subleaf = VDB_CPUID_ANY_SUBLEAF,
	         .and_mask = {~0u, ~0u, ~0u, 0},
	         .or_mask = {0x100}},
	};
	uint32_t regs[4];

	ck_assert_int_eq(vdb_cpuid_get(f.vm, LEAF, 0, regs), -ENOENT);
	must(vdb_cpuid_set(f.vm, overrides, 2));
	must(vdb_cpuid_get(f.vm, LEAF, 0, regs));
	ck_assert_uint_eq(regs[0], 0x111);
	make_vcpus(1);
	ck_assert_mem_eq(ask(0, LEAF, 0), ((const uint32_t[]){0x111, 0x22, 0x33, 0}), 16);
	must(vdb_cpuid_get(f.vm, LEAF, 0, regs));
	ck_assert_mem_eq(regs, f.report, sizeof(regs));
}
END_TEST

START_TEST(subleaves_are_told_apart)
{
	const struct vdb_cpuid_override overrides[] = {
	        {.leaf = LEAF, .subleaf = 0, .or_mask = {0xa0}},
	        {.leaf = LEAF, .subleaf = 1, .or_mask = {0xa1}},
	        {.leaf = LEAF, .subleaf = VDB_CPUID_ANY_SUBLEAF, .and_mask = {~0u}, .or_mask = {0, 0xb}},
	};

	must(vdb_cpuid_set(f.vm, overrides, 3));
	make_vcpus(1);
	ck_assert_mem_eq(ask(0, LEAF, 0), ((const uint32_t[]){0xa0, 0xb, 0, 0}), 16);
	ck_assert_mem_eq(ask(0, LEAF, 1), ((const uint32_t[]){0xa1, 0xb, 0, 0}), 16);
}
END_TEST

START_TEST(each_vcpu_has_its_apic_id_and_knows_it_is_a_guest)
{
	make_vcpus(3);
	for (uint32_t i = 0; i < 3; i++) {
		const uint32_t *regs = ask(i, 1, 0);

		ck_assert_uint_eq(regs[1] >> 24, i);
		ck_assert_uint_eq(regs[2] >> 31, 1);
	}
}
END_TEST

/* Only where the local APIC is KVM's. */
START_TEST(the_deadline_timer_comes_with_the_apic)
{
	const struct vdb_vm_config config = {.size = sizeof(config), .irqchip = VDB_IRQCHIP_NONE};
	uint32_t regs[4];

	must(vdb_cpuid_get(f.vm, 1, 0, regs));
	ck_assert_uint_eq(regs[2] >> 24 & 1, 1);
	kvm_fixture_end(&f);
	kvm_fixture_make(&f, &config, 0);
	must(vdb_cpuid_get(f.vm, 1, 0, regs));
	ck_assert_uint_eq(regs[2] >> 24 & 1, 0);
}
END_TEST

START_TEST(a_later_policy_replaces_the_earlier_one)
{
	const struct vdb_cpuid_override override = {.leaf = LEAF, .or_mask = {1}};
	uint32_t regs[4];

	must(vdb_cpuid_set(f.vm, &override, 1));
	must(vdb_cpuid_set(f.vm, NULL, 0));
	ck_assert_int_eq(vdb_cpuid_get(f.vm, LEAF, 0, regs), -ENOENT);
	must(vdb_cpuid_get(f.vm, 0, 0, regs));
	ck_assert_uint_gt(regs[0], 0);
}
END_TEST

START_TEST(too_many_entries_are_refused)
{
	static struct vdb_cpuid_override overrides[257];
	struct vdb_vcpu *vcpu;

	for (uint32_t i = 0; i < 257; i++)
		overrides[i] = (struct vdb_cpuid_override){.leaf = LEAF + i};
	ck_assert_int_eq(vdb_cpuid_set(f.vm, overrides, 257), -EINVAL);
	ck_assert_int_eq(vdb_cpuid_set(f.vm, NULL, 1), -EINVAL);
	must(vdb_cpuid_set(f.vm, overrides, 256));
	ck_assert_int_eq(vdb_vcpu_create(f.vm, 0, &vcpu), -EINVAL);
	must(vdb_cpuid_set(f.vm, NULL, 0));
	make_vcpus(1);
	ck_assert_int_eq(vdb_cpuid_set(f.vm, NULL, 0), -EBUSY);
}
END_TEST

/* One package: processor n knows that it is one of five, and which. */
START_TEST(the_topology_is_one_package)
{
	uint32_t regs[4];

	ck_assert_int_eq(vdb_cpuid_topology(f.vm, 5000), -EINVAL);
	must(vdb_cpuid_topology(f.vm, 5));
	make_vcpus(4);
	must(vdb_cpuid_get(f.vm, 1, 0, regs));
	ck_assert_uint_eq(regs[1] >> 16 & 0xff, 5);
	must(vdb_cpuid_get(f.vm, 0, 0, regs));
	if (regs[0] >= 0xb) {
		must(vdb_cpuid_get(f.vm, 0xb, 1, regs));
		ck_assert_uint_eq(regs[0], 3);
		ck_assert_uint_eq(regs[1], 5);
		ck_assert_uint_eq(ask(3, 0xb, 1)[3], 3);
	}
	ck_assert_uint_eq(ask(3, 1, 0)[1] >> 24, 3);
	ck_assert_int_eq(vdb_cpuid_topology(f.vm, 0), -EBUSY);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        an_override_is_what_the_guest_sees,
	        subleaves_are_told_apart,
	        each_vcpu_has_its_apic_id_and_knows_it_is_a_guest,
	        a_later_policy_replaces_the_earlier_one,
	        too_many_entries_are_refused,
	        the_topology_is_one_package,
	        the_deadline_timer_comes_with_the_apic,
	        NULL,
	};

	return kvm_tests_run("cpuid", setup, teardown, tests);
}
