/* SPDX-License-Identifier: Apache-2.0 */
/* The memory map that guests are told. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "boot/e820.h"
#include "suite.h"

static struct vdb__e820 map;

static void put(vdb_gpa_t gpa, uint64_t len, uint32_t type)
{
	ck_assert_int_eq(vdb__e820_put(&map, gpa, len, type), 0);
}

static void check_entry(uint32_t i, vdb_gpa_t gpa, uint64_t len, uint32_t type)
{
	ck_assert_uint_lt(i, map.count);
	ck_assert_uint_eq(map.entries[i].gpa, gpa);
	ck_assert_uint_eq(map.entries[i].len, len);
	ck_assert_uint_eq(map.entries[i].type, type);
}

START_TEST(neighbours_of_a_type_are_one)
{
	put(0x2000, 0x1000, VDB_E820_RAM);
	put(0x1000, 0x1000, VDB_E820_RAM);
	put(0x3000, 0x1000, VDB_E820_RESERVED);
	ck_assert_uint_eq(map.count, 2);
	check_entry(0, 0x1000, 0x2000, VDB_E820_RAM);
	check_entry(1, 0x3000, 0x1000, VDB_E820_RESERVED);
}
END_TEST

START_TEST(the_later_one_wins)
{
	put(0x1000, 0x9000, VDB_E820_RAM);
	put(0x4000, 0x1000, VDB_E820_ACPI);
	ck_assert_uint_eq(map.count, 3);
	check_entry(0, 0x1000, 0x3000, VDB_E820_RAM);
	check_entry(1, 0x4000, 0x1000, VDB_E820_ACPI);
	check_entry(2, 0x5000, 0x5000, VDB_E820_RAM);
	put(0x2000, 0x6000, VDB_E820_RESERVED);
	ck_assert_uint_eq(map.count, 3);
	check_entry(1, 0x2000, 0x6000, VDB_E820_RESERVED);
	put(0, 0x10000, VDB_E820_RAM);
	ck_assert_uint_eq(map.count, 1);
}
END_TEST

START_TEST(what_is_no_range_is_refused)
{
	ck_assert_int_eq(vdb__e820_put(&map, 0x1000, 0, VDB_E820_RAM), -EINVAL);
	ck_assert_int_eq(vdb__e820_put(&map, UINT64_MAX - 5, 10, VDB_E820_RAM), -EINVAL);
	ck_assert_uint_eq(map.count, 0);
}
END_TEST

START_TEST(a_full_map_stays_as_it_is)
{
	for (uint32_t i = 0; i < VDB__E820_MAX; i++)
		put(i * 0x2000u, 0x1000, VDB_E820_RAM);
	ck_assert_int_eq(vdb__e820_put(&map, 0x10000000, 0x1000, VDB_E820_RAM), -ENOSPC);
	ck_assert_int_eq(vdb__e820_put(&map, 0x800, 0x100, VDB_E820_NVS), -ENOSPC);
	ck_assert_uint_eq(map.count, VDB__E820_MAX);
	check_entry(0, 0, 0x1000, VDB_E820_RAM);
	put(0x1000, 0x1000, VDB_E820_RAM); /* closes a gap */
	ck_assert_uint_eq(map.count, VDB__E820_MAX - 1);
}
END_TEST

/* Against a map of one byte a page. */
START_TEST(at_random_as_by_page)
{
	unsigned char pages[64] = {0};
	unsigned seed = 1;

	for (unsigned round = 0; round < 2000; round++) {
		unsigned from = (unsigned)rand_r(&seed) % 60, len = 1 + (unsigned)rand_r(&seed) % (64 - from);
		unsigned type = 1 + (unsigned)rand_r(&seed) % 4;

		put(from, len, type);
		for (unsigned i = from; i < from + len; i++)
			pages[i] = (unsigned char)type;
		for (unsigned i = 0, k = 0; i < 64; i++) {
			if (k < map.count && i == map.entries[k].gpa + map.entries[k].len)
				k++;
			if (!pages[i])
				ck_assert(k == map.count || i < map.entries[k].gpa);
			else
				ck_assert(k < map.count && i >= map.entries[k].gpa &&
				          map.entries[k].type == pages[i]);
		}
	}
}
END_TEST

/* Regions as of a guest with more than 3 GiB: the hole, and ROM, are no RAM. */
START_TEST(regions_are_ram_around_the_holes)
{
	const struct {
		vdb_gpa_t gpa;
		uint64_t len;
		uint32_t flags;
	} regions[] = {
	        {0, 0x200000, 0},
	        {0xbff00000, 0x100000, 0},
	        {0xffff0000, 0x10000, VDB_REGION_READONLY},
	        {0x100000000, 0x100000, 0},
	};
	struct vdb_mem *mem;

	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	for (unsigned i = 0; i < 4; i++) {
		const struct vdb_region_config region = {.size = sizeof(region),
		                                         .gpa = regions[i].gpa,
		                                         .len = regions[i].len,
		                                         .flags = regions[i].flags};

		ck_assert_int_eq(vdb_mem_add(mem, &region), 0);
	}
	ck_assert_int_eq(vdb__e820_init(&map, mem), 0);
	ck_assert_uint_eq(map.count, 5);
	check_entry(0, 0, 0x9fc00, VDB_E820_RAM);
	check_entry(1, 0x9fc00, 0x100000 - 0x9fc00, VDB_E820_RESERVED);
	check_entry(2, 0x100000, 0x100000, VDB_E820_RAM);
	check_entry(3, 0xbff00000, 0x100000, VDB_E820_RAM);
	check_entry(4, 0x100000000, 0x100000, VDB_E820_RAM);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}
END_TEST

START_TEST(places_are_found_from_both_ends)
{
	const struct vdb__span all = {0, UINT64_MAX}, none = {0, 0}, used = {0x4000, 0x6000};
	vdb_gpa_t gpa = 1;

	put(0x1000, 0x8000, VDB_E820_RAM);
	put(0x20000, 0x1000, VDB_E820_RAM);
	put(0x40000, 0x10000, VDB_E820_RESERVED);
	ck_assert(vdb__e820_lowest(&map, all, 0x1000, 1, &gpa));
	ck_assert_uint_eq(gpa, 0x1000);
	ck_assert(vdb__e820_lowest(&map, all, 0x1000, 0x8000, &gpa));
	ck_assert_uint_eq(gpa, 0x8000);
	ck_assert(!vdb__e820_lowest(&map, all, 0x8001, 1, &gpa));
	ck_assert(!vdb__e820_lowest(&map, (struct vdb__span){0x21000, UINT64_MAX}, 1, 1, &gpa));
	ck_assert(vdb__e820_highest(&map, all, none, 0x1000, 0x1000, &gpa));
	ck_assert_uint_eq(gpa, 0x20000);
	ck_assert(vdb__e820_highest(&map, all, used, 0x3000, 0x1000, &gpa));
	ck_assert_uint_eq(gpa, 0x6000);
	ck_assert(vdb__e820_highest(&map, (struct vdb__span){0, 0x8000}, used, 0x3000, 0x1000, &gpa));
	ck_assert_uint_eq(gpa, 0x1000);
	ck_assert(!vdb__e820_highest(&map, all, used, 0x3001, 0x1000, &gpa));
	ck_assert(!vdb__e820_highest(&map, all, all, 1, 1, &gpa));
	ck_assert_uint_eq(vdb__e820_ram(&map, (struct vdb__span){0x2000, 0x20800}), 0x7800);
	ck_assert(vdb__e820_is_ram(&map, 0x1000, 0x8000));
	ck_assert(!vdb__e820_is_ram(&map, 0x1000, 0x8001));
	ck_assert(!vdb__e820_is_ram(&map, 0x40000, 1));
	ck_assert(!vdb__e820_is_ram(&map, 0x2000, UINT64_MAX));
}
END_TEST

SUITE("boot_e820", neighbours_of_a_type_are_one, the_later_one_wins, what_is_no_range_is_refused,
      a_full_map_stays_as_it_is, at_random_as_by_page, regions_are_ram_around_the_holes,
      places_are_found_from_both_ends)
