/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID's words for a package of cores, on processors of both makers, as a kernel reads them. */
#include <check.h>
#include <string.h>

#include "kvm/cpuid.h"
#include "suite.h"

#define ROOM 64u

static uint64_t space[(sizeof(struct kvm_cpuid2) + ROOM * sizeof(struct kvm_cpuid_entry2)) / 8];
static struct kvm_cpuid2 *const table = (struct kvm_cpuid2 *)space;

static void put(uint32_t leaf, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
	table->entries[table->nent++] = (struct kvm_cpuid_entry2){
	        .function = leaf, .index = index, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx};
}

static const struct kvm_cpuid_entry2 *get(uint32_t leaf, uint32_t index)
{
	const struct kvm_cpuid_entry2 *found = NULL;

	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function != leaf || table->entries[i].index != index)
			continue;
		ck_assert_ptr_null(found); /* once */
		found = &table->entries[i];
	}
	ck_assert_ptr_nonnull(found);
	return found;
}

/* A host of 2 sockets, 64 cores with two threads, and what is not topology. */
static void intel(void)
{
	memset(space, 0, sizeof(space));
	put(0, 0, 0x20, 0x756e6547, 0x6c65746e, 0x49656e69);
	put(1, 0, 0x50657, 0xff800800, 0xfffffff, 0xffffffff);
	put(4, 0, 0xfc004121, 1, 2, 3); /* L1 of two threads */
	put(4, 3, 0xfdffc163, 4, 5, 6); /* L3 of all */
	put(4, 4, 0, 0, 0, 0);
	put(0xb, 0, 1, 2, 0x100, 0x77);
	put(0x1f, 0, 1, 2, 0x100, 0x77);
	put(0x80000001, 0, 0, 0, 0x121, 0);
	put(0x80000008, 0, 0x302e, 0, 0, 0);
}

static void amd(uint32_t leaves)
{
	memset(space, 0, sizeof(space));
	put(0, 0, leaves, 0x68747541, 0x444d4163, 0x69746e65);
	put(1, 0, 0x800f12, 0xff800800, 0xfffffff, 0xefffffff);
	put(0x80000001, 0, 0, 0, 0x121, 0);
	put(0x80000008, 0, 0x3030, 0, 0x707f, 0);
	put(0x8000001d, 0, 0x4121, 0, 0, 0);
	put(0x8000001d, 3, 0x3c163, 0, 0, 0);
	put(0x8000001d, 4, 0, 0, 0, 0);
	put(0x8000001e, 0, 9, 0x105, 0x301, 0);
}

static void check_levels(uint32_t leaf, uint32_t width, uint32_t cores, uint32_t id)
{
	ck_assert_uint_eq(get(leaf, 0)->eax, 0);
	ck_assert_uint_eq(get(leaf, 0)->ebx, 1);
	ck_assert_uint_eq(get(leaf, 0)->ecx, 0x100);
	ck_assert_uint_eq(get(leaf, 0)->edx, id);
	ck_assert_uint_eq(get(leaf, 1)->eax, width);
	ck_assert_uint_eq(get(leaf, 1)->ebx, cores);
	ck_assert_uint_eq(get(leaf, 1)->ecx, 0x201);
	ck_assert_uint_eq(get(leaf, 1)->edx, id);
	ck_assert_uint_eq(get(leaf, 2)->ebx, 0);
	ck_assert_uint_eq(get(leaf, 2)->ecx, 2);
}

START_TEST(on_intel)
{
	intel();
	vdb__topology_set(table, ROOM, 6, 5);
	ck_assert_uint_eq(get(1, 0)->ebx, 0xff060800);
	ck_assert_uint_eq(get(1, 0)->edx >> 28 & 1, 1);
	ck_assert_uint_eq(get(4, 0)->eax >> 26, 7);
	ck_assert_uint_eq(get(4, 0)->eax >> 14 & 0xfff, 0);
	ck_assert_uint_eq(get(4, 0)->eax & 0x3fff, 0x121);
	ck_assert_uint_eq(get(4, 3)->eax >> 14 & 0xfff, 7);
	ck_assert_uint_eq(get(4, 4)->eax, 0);
	ck_assert_uint_eq(get(0x80000001, 0)->ecx, 0x121);
	ck_assert_uint_eq(get(0x80000008, 0)->ecx, 0);
	check_levels(0xb, 3, 6, 5);
	check_levels(0x1f, 3, 6, 5);
}
END_TEST

START_TEST(on_amd)
{
	amd(0x10);
	vdb__topology_set(table, ROOM, 4, 3);
	ck_assert_uint_eq(get(1, 0)->ebx, 0xff040800);
	ck_assert_uint_eq(get(1, 0)->edx >> 28 & 1, 1);
	ck_assert_uint_eq(get(0x80000001, 0)->ecx, 0x123);
	ck_assert_uint_eq(get(0x80000008, 0)->ecx, 0x2003);
	ck_assert_uint_eq(get(0x8000001d, 0)->eax, 0x121);
	ck_assert_uint_eq(get(0x8000001d, 3)->eax, 0xc163);
	ck_assert_uint_eq(get(0x8000001d, 4)->eax, 0);
	ck_assert_uint_eq(get(0x8000001e, 0)->ebx, 3);
	ck_assert_uint_eq(get(0x8000001e, 0)->ecx, 0);
	check_levels(0xb, 2, 4, 3);
}
END_TEST

START_TEST(one_processor_is_alone)
{
	amd(0x10);
	vdb__topology_set(table, ROOM, 1, 0);
	ck_assert_uint_eq(get(1, 0)->edx >> 28 & 1, 0);
	ck_assert_uint_eq(get(0x80000001, 0)->ecx, 0x121);
	ck_assert_uint_eq(get(0x80000008, 0)->ecx, 0);
	check_levels(0xb, 0, 1, 0);
}
END_TEST

START_TEST(leaves_beyond_the_last_are_not_made)
{
	amd(7);
	put(0xb, 0, 1, 2, 0x100, 0x77);
	vdb__topology_set(table, ROOM, 2, 0);
	for (uint32_t i = 0; i < table->nent; i++)
		ck_assert_uint_ne(table->entries[i].function, 0xb);
}
END_TEST

START_TEST(a_full_table_stays_as_long_as_it_is)
{
	amd(0x20);
	vdb__topology_set(table, table->nent + 2, 2, 0);
	ck_assert_uint_eq(table->nent, 8);
}
END_TEST

START_TEST(numbers_too_large_for_a_field_are_cut_to_it)
{
	intel();
	vdb__topology_set(table, ROOM, 4096, 4095);
	ck_assert_uint_eq(get(1, 0)->ebx, 0xffff0800);
	ck_assert_uint_eq(get(4, 3)->eax >> 26, 0x3f);
	ck_assert_uint_eq(get(4, 3)->eax >> 14 & 0xfff, 0xfff);
	check_levels(0xb, 12, 4096, 4095);
}
END_TEST

SUITE("topology", on_intel, on_amd, one_processor_is_alone, leaves_beyond_the_last_are_not_made,
      a_full_table_stays_as_long_as_it_is, numbers_too_large_for_a_field_are_cut_to_it)
