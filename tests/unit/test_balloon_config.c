/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon's config space, features and state, and configs that cannot be. */
#include <errno.h>
#include <string.h>

#include "balloon_rig.h"
#include "run.h"

#define V1 VRIG_V1
#define ALL (VDB_BALLOON_REPORTING | VDB_BALLOON_DEFLATE_ON_OOM | VDB_BALLOON_MUST_TELL)
#define FEATURES(name) VRIG_BIT(VIRTIO_BALLOON_F_##name)

static struct balloon_rig b;

static void setup(void)
{
	balloon_rig_open(&b, &(struct vdb_balloon_config){.flags = ALL, .target = 1 << 20}, NULL);
}

static void teardown(void)
{
	balloon_rig_close(&b);
}

static uint32_t word(uint32_t offset)
{
	uint32_t value = 0;

	vdb__virtio_config_read(b.rig.device, offset, &value, sizeof(value));
	return value;
}

static void write_bytes(uint32_t offset, const void *from, uint32_t len)
{
	vdb__virtio_config_write(b.rig.device, offset, from, len);
}

enum { NUM_PAGES = 0, ACTUAL = 4, HINT = 8, POISON = 12 };

START_TEST(a_new_target_is_a_new_configuration)
{
	const uint64_t max = (uint64_t)UINT32_MAX * VDB_PAGE_SIZE;
	uint8_t generation;

	virtio_rig_up(&b.rig, V1 | FEATURES(MUST_TELL_HOST), 2);
	generation = vdb__virtio_generation(b.rig.device);
	ck_assert_uint_eq(word(NUM_PAGES), 256);
	ck_assert_int_eq(vdb_balloon_target(b.rig.device, UINT64_C(3) << 30), 0);
	virtio_rig_wait(&b.rig.config_interrupts, 1);
	ck_assert_uint_ne(vdb__virtio_generation(b.rig.device), generation);
	ck_assert_uint_eq(word(NUM_PAGES), 3 << 18);
	ck_assert_uint_eq(balloon_rig_info(&b).target, UINT64_C(3) << 30);
	ck_assert_int_eq(vdb_balloon_target(b.rig.device, max), 0);
	ck_assert_uint_eq(word(NUM_PAGES), UINT32_MAX);
	ck_assert_int_eq(vdb_balloon_target(b.rig.device, max + VDB_PAGE_SIZE), -EINVAL);
	ck_assert_int_eq(vdb_balloon_target(b.rig.device, 4095), -EINVAL);
	ck_assert_uint_eq(word(NUM_PAGES), UINT32_MAX);
}
END_TEST

START_TEST(actual_is_what_the_driver_writes)
{
	const uint32_t pages = 0x01020304, all[4] = {9, 77, 9, 0};

	virtio_rig_negotiate(&b.rig, V1 | FEATURES(MUST_TELL_HOST));
	write_bytes(ACTUAL, &pages, 4);
	ck_assert_uint_eq(balloon_rig_info(&b).actual, (uint64_t)pages * VDB_PAGE_SIZE);
	/* A byte at a time, and both halves of what it shares a word of 8 bytes with. */
	write_bytes(ACTUAL + 3, "\x0a", 1);
	ck_assert_uint_eq(word(ACTUAL), 0x0a020304);
	write_bytes(ACTUAL + 1, "\0", 2);
	ck_assert_uint_eq(word(ACTUAL), 0x0a000004);
	write_bytes(NUM_PAGES, all, 8);
	ck_assert_uint_eq(word(ACTUAL), 77);
	ck_assert_uint_eq(word(NUM_PAGES), 256);
	ck_assert_uint_eq(word(HINT), 0);
	ck_assert_uint_eq(word(POISON), 0);
	virtio_rig_reset(&b.rig);
	ck_assert_uint_eq(balloon_rig_info(&b).actual, 0);
	ck_assert_uint_eq(word(NUM_PAGES), 256);
}
END_TEST

START_TEST(who_must_tell_must_tell)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	virtio_rig_reset(&b.rig);
	virtio_rig_set(&b.rig, 3);
	virtio_rig_accept(&b.rig, V1);
	virtio_rig_set(&b.rig, 0xb);
	ck_assert_uint_eq(virtio_rig_status(&b.rig), 3);
	virtio_rig_negotiate(&b.rig, V1 | FEATURES(MUST_TELL_HOST) | FEATURES(DEFLATE_ON_OOM));
	ck_assert_int_eq(vdb_virtio_query(b.rig.device, &info), 0);
	ck_assert_uint_eq(info.device_id, 5);
	ck_assert_uint_eq(info.offered & 0xffffff, FEATURES(MUST_TELL_HOST) | FEATURES(STATS_VQ) |
	                                                   FEATURES(DEFLATE_ON_OOM) | FEATURES(PAGE_POISON) |
	                                                   FEATURES(REPORTING));
}
END_TEST

static struct vdb_virtio *another(const struct vdb_balloon_config *like)
{
	const struct vdb_virtio_config at = {.size = sizeof(at), .mem = b.rig.ram.mem, .loop = b.rig.loop};
	struct vdb_balloon_config config = *like;
	struct vdb_virtio *device = NULL;

	config.size = sizeof(config);
	config.at = &at;
	ck_assert_msg(vdb_balloon_create(&config, &device) == 0, "%s", vdb_errmsg());
	return device;
}

START_TEST(what_is_not_wanted_is_not_offered)
{
	struct vdb_virtio *plain = another(&(struct vdb_balloon_config){.flags = 0});
	struct vdb_virtio_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_virtio_query(plain, &info), 0);
	ck_assert_uint_eq(info.offered & 0xffffff, FEATURES(STATS_VQ));
	vdb_virtio_destroy(plain, NULL, NULL);
}
END_TEST

START_TEST(its_state_goes_with_it)
{
	const struct vdb_balloon_config like = {.flags = ALL};
	const uint32_t written[] = {0x123, 0, 0xaaaaaaaa};
	struct vdb_balloon_info info = {.size = sizeof(info)};
	struct vdb_virtio *second = another(&like);
	uint8_t state[1024];
	size_t len = sizeof(state);
	uint32_t quiet = 0;

	virtio_rig_up(&b.rig, V1 | FEATURES(MUST_TELL_HOST) | FEATURES(PAGE_POISON), 2);
	write_bytes(ACTUAL, &written[0], 4);
	write_bytes(POISON, &written[2], 4);
	ck_assert_int_eq(vdb_virtio_quiesce(b.rig.device, NULL, NULL), 0);
	while ((quiet = (uint32_t)vdb_virtio_save(b.rig.device, state, &len)) == (uint32_t)-EBUSY)
		;
	ck_assert_uint_eq(quiet, 0);
	ck_assert_int_eq(vdb_virtio_restore(second, state, len - 1), -EINVAL);
	ck_assert_int_eq(vdb_virtio_restore(second, state, len), 0);
	ck_assert_int_eq(vdb_balloon_query(second, &info), 0);
	ck_assert_uint_eq(info.actual, 0x123 * VDB_PAGE_SIZE);
	ck_assert_uint_eq(info.target, 1 << 20);
	vdb_virtio_destroy(second, NULL, NULL);
	ck_assert_int_eq(vdb_virtio_resume(b.rig.device), 0);
}
END_TEST

START_TEST(configs_that_cannot_be)
{
	struct vdb_virtio_config at = {
	        .size = sizeof(at), .mem = b.rig.ram.mem, .loop = b.rig.loop, .queue_size = 16};
	const struct vdb_balloon_config bad[] = {
	        {.size = sizeof(bad[0])},
	        {.size = sizeof(bad[0]), .at = &at, .flags = 1u << 31},
	        {.size = sizeof(bad[0]), .at = &at, .reserved = 1},
	        {.size = sizeof(bad[0]), .at = &at, .target = 1},
	        {.size = sizeof(bad[0]), .at = &at, .target = UINT64_C(1) << 44},
	        {.size = sizeof(bad[0]), .at = &at, .flags = VDB_BALLOON_REPORTING},
	        {.at = &at},
	};
	struct vdb_virtio *device = NULL;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(vdb_balloon_create(&bad[i], &device), -EINVAL);
	at.features = 1;
	ck_assert_int_eq(
	        vdb_balloon_create(&(struct vdb_balloon_config){.size = sizeof(bad[0]), .at = &at}, &device),
	        -EINVAL);
	ck_assert_ptr_null(device);
}
END_TEST

START_TEST(another_device_is_not_a_balloon)
{
	const struct vdb_virtio_config at = {.size = sizeof(at), .mem = b.rig.ram.mem, .loop = b.rig.loop};
	struct vdb_balloon_stats stats = {.size = sizeof(stats)};
	struct vdb_balloon_info info = {.size = sizeof(info)};
	struct vdb_virtio *rng = NULL;

	ck_assert_int_eq(vdb_rng_create(&at, &rng), 0);
	ck_assert_int_eq(vdb_balloon_target(rng, 0), -EINVAL);
	ck_assert_int_eq(vdb_balloon_poll(rng, 0), -EINVAL);
	ck_assert_int_eq(vdb_balloon_ask(rng), -EINVAL);
	ck_assert_int_eq(vdb_balloon_query(rng, &info), -EINVAL);
	ck_assert_int_eq(vdb_balloon_stats(rng, &stats), -EINVAL);
	vdb_virtio_destroy(rng, NULL, NULL);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("balloon_config");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_new_target_is_a_new_configuration);
	tcase_add_test(tc, actual_is_what_the_driver_writes);
	tcase_add_test(tc, who_must_tell_must_tell);
	tcase_add_test(tc, what_is_not_wanted_is_not_offered);
	tcase_add_test(tc, its_state_goes_with_it);
	tcase_add_test(tc, configs_that_cannot_be);
	tcase_add_test(tc, another_device_is_not_a_balloon);
	return test_run("balloon_config", tc);
}
