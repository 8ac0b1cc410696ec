/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: calloc aligned_alloc realloc */
/* What a limit is not made of, and hosts that run short. */
#include <errno.h>
#include <string.h>
#include <vdb/error.h>
#include <vdb/limit.h>

#include "fail.h"
#include "run.h"
#include "source.h"
#include "turn.h"

static void refused(const struct vdb_limit_config *config, int err, const char *word)
{
	struct vdb_limit *limit = (void *)1, *good;
	struct vdb_limit_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_limit_create(config, &limit), err);
	ck_assert_ptr_eq(limit, (void *)1);
	ck_assert_msg(strstr(vdb_errmsg(), word) != NULL, "%s", vdb_errmsg());
	ck_assert_int_eq(vdb_limit_create(NULL, &good), 0);
	ck_assert_int_eq(vdb_limit_set(good, config), err);
	ck_assert_int_eq(vdb_limit_stats(good, &stats), 0);
	vdb_limit_destroy(good);
}

START_TEST(refusals)
{
	struct vdb_limit_config config = {.size = sizeof(config)};

	config.bytes_per_s = VDB_LIMIT_MAX + 1;
	refused(&config, -EINVAL, "bytes");
	config.bytes_per_s = UINT64_MAX;
	refused(&config, -EINVAL, "bytes");
	config = (struct vdb_limit_config){.size = sizeof(config), .ops_per_s = 1, .ops_burst = UINT64_MAX};
	refused(&config, -EINVAL, "operations");
	config = (struct vdb_limit_config){.size = sizeof(config), .bytes_burst = 1};
	refused(&config, -EINVAL, "without a rate");
	config = (struct vdb_limit_config){.size = sizeof(config), .reserved = 1};
	refused(&config, -EINVAL, "reserved");
	config = (struct vdb_limit_config){.size = 3};
	refused(&config, -EINVAL, "size");
	vdb_limit_destroy(NULL);
}
END_TEST

START_TEST(all_that_is_allowed)
{
	struct vdb_limit_config config = {.size = sizeof(config),
	                                  .bytes_per_s = VDB_LIMIT_MAX,
	                                  .bytes_burst = VDB_LIMIT_MAX,
	                                  .ops_per_s = VDB_LIMIT_MAX,
	                                  .ops_burst = VDB_LIMIT_MAX};
	struct vdb_limit_stats stats = {.size = sizeof(stats)};
	struct vdb_limit *limit;

	ck_assert_int_eq(vdb_limit_create(&config, &limit), 0);
	ck_assert_int_eq(vdb_limit_set(limit, NULL), 0);
	ck_assert_int_eq(vdb_limit_set(limit, &config), 0);
	ck_assert_int_eq(vdb_limit_stats(limit, &stats), 0);
	ck_assert_uint_eq(stats.ops + stats.bytes + stats.throttled + stats.waited_ns + stats.waiting, 0);
	stats.size = 0;
	ck_assert_int_eq(vdb_limit_stats(limit, &stats), -EINVAL);
	vdb_limit_destroy(limit);
}
END_TEST

static int make_all(void *arg)
{
	struct vdb_loop *loop = arg;
	struct vdb_limit *limit;
	struct vdb_tenant *tenant;
	struct fake fake = {.work = 10, .bytes = 1};
	int rc = vdb_limit_create(NULL, &limit);

	if (rc)
		return rc;
	rc = vdb_tenant_create(loop, &tenant);
	if (!rc) {
		fail_check(vdb_tenant_limit(tenant, limit) == 0);
		fake.kick_fd = -1;
		fake.source.limit = limit;
		rc = fake_try(loop, &fake, tenant, -1);
		if (!rc) {
			fail_check(fake.source.throttle);
			fake_remove(&fake);
			while (!fake.gone)
				fail_check(vdb_loop_step(loop) >= 0);
		}
		vdb_tenant_destroy(tenant);
	}
	vdb_limit_destroy(limit);
	return rc;
}

START_TEST(short_of_memory)
{
	struct vdb_loop *loop = test_loop_new();

	test_settle(loop);
	ck_assert_uint_ge(fail_sweep(make_all, loop), 4);
	test_loop_end(loop);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("limit_config");

	tcase_add_test(tc, refusals);
	tcase_add_test(tc, all_that_is_allowed);
	tcase_add_test(tc, short_of_memory);
	return test_run("limit_config", tc);
}
