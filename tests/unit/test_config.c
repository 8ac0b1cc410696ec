/* SPDX-License-Identifier: Apache-2.0 */
/* Structs that carry their size: programs older and newer than the library. */
#include <check.h>
#include <string.h>

#include "base/config.h"
#include "base/error.h"
#include "suite.h"

/* What this library knows; programs may know less or more. */
struct known {
	uint32_t size, a;
	uint64_t b;
};
struct older {
	uint32_t size, a;
};
struct newer {
	uint32_t size, a;
	uint64_t b, c;
};

START_TEST(none_is_all_defaults)
{
	struct known own = {1, 2, 3};

	ck_assert_int_eq(vdb__config_take(&own, sizeof(own), NULL, "known"), 0);
	ck_assert_uint_eq(own.size, sizeof(own));
	ck_assert_uint_eq(own.a, 0);
	ck_assert_uint_eq(own.b, 0);
}
END_TEST

START_TEST(an_older_program_gets_defaults_for_the_rest)
{
	struct older config = {sizeof(config), 7};
	struct known own = {1, 2, 3};

	ck_assert_int_eq(vdb__config_take(&own, sizeof(own), &config, "known"), 0);
	ck_assert_uint_eq(own.size, sizeof(own));
	ck_assert_uint_eq(own.a, 7);
	ck_assert_uint_eq(own.b, 0);
}
END_TEST

START_TEST(a_newer_program_may_not_ask_for_the_unknown)
{
	struct newer config = {sizeof(config), 7, 8, 0};
	struct known own;

	ck_assert_int_eq(vdb__config_take(&own, sizeof(own), &config, "known"), 0);
	ck_assert_uint_eq(own.b, 8);
	config.c = UINT64_C(1) << 56;
	ck_assert_int_eq(vdb__config_take(&own, sizeof(own), &config, "known"), -E2BIG);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "byte 23"));
}
END_TEST

START_TEST(a_forgotten_size_is_told)
{
	struct known config = {0, 7, 8}, own;

	ck_assert_int_eq(vdb__config_take(&own, sizeof(own), &config, "known"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "sizeof"));
	ck_assert_int_eq(vdb__stats_give(&config, &own, sizeof(own), "known"), -EINVAL);
	ck_assert_uint_eq(config.a, 7);
}
END_TEST

START_TEST(filled_as_far_as_there_is_room)
{
	struct known own = {sizeof(own), 1, 2};
	struct {
		struct older it;
		uint64_t behind;
	} small = {{sizeof(small.it), 9}, 9};
	struct newer large = {sizeof(large), 9, 9, 9};

	ck_assert_int_eq(vdb__stats_give(&small, &own, sizeof(own), "known"), 0);
	ck_assert_uint_eq(small.it.size, sizeof(small.it));
	ck_assert_uint_eq(small.it.a, 1);
	ck_assert_uint_eq(small.behind, 9);
	ck_assert_int_eq(vdb__stats_give(&large, &own, sizeof(own), "known"), 0);
	ck_assert_uint_eq(large.size, sizeof(large));
	ck_assert_uint_eq(large.a, 1);
	ck_assert_uint_eq(large.b, 2);
	ck_assert_uint_eq(large.c, 0);
}
END_TEST

SUITE("config", none_is_all_defaults, an_older_program_gets_defaults_for_the_rest,
      a_newer_program_may_not_ask_for_the_unknown, a_forgotten_size_is_told, filled_as_far_as_there_is_room)
