/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Config space: bounds, generation, who is told (virtio 1.2, 2.5; HOSTILE G17, G19). */
#include <pthread.h>
#include <string.h>

#include "run.h"
#include "virtio_rig.h"

static struct virtio_rig rig;

static void setup(void)
{
	virtio_rig_open(&rig, NULL);
}

static void teardown(void)
{
	virtio_rig_close(&rig);
}

static uint64_t read_config(uint64_t offset, uint32_t len)
{
	uint64_t value = UINT64_MAX;

	vdb__virtio_config_read(rig.device, offset, &value, len);
	return len < 8 ? value & ((1ull << 8 * len) - 1) : value;
}

START_TEST(every_width_inside)
{
	for (uint32_t i = 0; i < VRIG_CONFIG; i++)
		rig.config[i] = (uint8_t)(i + 1);
	ck_assert_uint_eq(read_config(0, 1), 1);
	ck_assert_uint_eq(read_config(1, 2), 0x0302);
	ck_assert_uint_eq(read_config(4, 4), 0x08070605);
	ck_assert_uint_eq(read_config(12, 8), 0x14131211100f0e0d);
	ck_assert_uint_eq(read_config(19, 1), 20);
}
END_TEST

START_TEST(g17_outside_of_the_configuration_is_nothing)
{
	static const uint64_t offsets[] = {13, 17, 20, 0xfff, UINT32_MAX, UINT64_MAX, UINT64_MAX - 7};
	uint8_t before[VRIG_CONFIG];
	const uint64_t ones = UINT64_MAX;

	memset(rig.config, 0x77, sizeof(rig.config));
	memcpy(before, rig.config, sizeof(before));
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		ck_assert_uint_eq(read_config(offsets[i], 8), 0);
		vdb__virtio_config_write(rig.device, offsets[i], &ones, 8);
	}
	ck_assert_uint_eq(read_config(0, 3), 0);
	vdb__virtio_config_write(rig.device, 0, &ones, 3);
	ck_assert_mem_eq(rig.config, before, sizeof(before));
}
END_TEST

START_TEST(changes_are_told_to_a_driver)
{
	uint8_t generation = vdb__virtio_generation(rig.device);

	vdb_virtio_config_changed(rig.device);
	ck_assert_uint_eq(vdb__virtio_generation(rig.device), (uint8_t)(generation + 1));
	ck_assert_uint_eq(rig.config_interrupts, 0);
	virtio_rig_up(&rig, 0, 0);
	vdb_virtio_config_changed(rig.device);
	ck_assert_uint_eq(rig.config_interrupts, 1);
	virtio_rig_reset(&rig);
	vdb_virtio_config_changed(rig.device);
	ck_assert_uint_eq(rig.config_interrupts, 1);
}
END_TEST

/* config_write() of the rig's device calls vdb_virtio_config_changed(). */
START_TEST(a_write_may_change_it)
{
	const uint32_t value = 7;
	uint8_t generation;

	virtio_rig_up(&rig, 0, 0);
	generation = vdb__virtio_generation(rig.device);
	vdb__virtio_config_write(rig.device, 0, &value, 4);
	ck_assert_uint_eq(rig.config_interrupts, 1);
	ck_assert_uint_ne(vdb__virtio_generation(rig.device), generation);
	ck_assert_uint_eq(read_config(0, 4), 7);
}
END_TEST

START_TEST(a_change_that_was_not_told_is_seen)
{
	uint8_t generation = vdb__virtio_generation(rig.device);

	ck_assert_uint_eq(vdb__virtio_generation(rig.device), generation);
	rig.config[VRIG_CONFIG - 1]++;
	ck_assert_uint_ne(vdb__virtio_generation(rig.device), generation);
}
END_TEST

static uint32_t done;

/* Two words that are always the same, but not at the same moment. */
static void *change(void *arg)
{
	(void)arg;
	for (uint32_t i = 1; i <= 20000; i++) {
		for (uint32_t b = 0; b < 4; b++)
			__atomic_store_n(&rig.config[b], (uint8_t)(i >> 8 * b), __ATOMIC_RELEASE);
		for (uint32_t b = 0; b < 4; b++)
			__atomic_store_n(&rig.config[b + 16], (uint8_t)(i >> 8 * b), __ATOMIC_RELEASE);
		vdb_virtio_config_changed(rig.device);
	}
	__atomic_store_n(&done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* As a driver reads it. */
START_TEST(g19_two_reads_of_one_generation_belong_together)
{
	uint64_t before, after;
	uint8_t generation;
	pthread_t thread;

	virtio_rig_up(&rig, 0, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, change, NULL), 0);
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		generation = vdb__virtio_generation(rig.device);
		before = read_config(0, 8);
		after = read_config(0, 8);
		if (vdb__virtio_generation(rig.device) == generation)
			ck_assert_uint_eq(before, after);
	}
	pthread_join(thread, NULL);
	ck_assert_uint_eq(rig.config_interrupts, 20000);
	ck_assert_uint_eq(read_config(0, 4), 20000);
	ck_assert_uint_eq(read_config(16, 4), 20000);
}
END_TEST

/* The interrupt that is on its way when the transport goes is waited for. */
START_TEST(changes_race_with_the_transports_end)
{
	pthread_t thread;

	virtio_rig_up(&rig, 0, 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, change, NULL), 0);
	for (int i = 0; i < 100; i++) {
		vdb__virtio_detach(rig.device);
		virtio_rig_attach(&rig);
		virtio_rig_up(&rig, 0, 1);
	}
	pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("config");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, every_width_inside);
	tcase_add_test(tc, g17_outside_of_the_configuration_is_nothing);
	tcase_add_test(tc, changes_are_told_to_a_driver);
	tcase_add_test(tc, a_write_may_change_it);
	tcase_add_test(tc, a_change_that_was_not_told_is_seen);
	tcase_add_test(tc, g19_two_reads_of_one_generation_belong_together);
	tcase_add_test(tc, changes_race_with_the_transports_end);
	return test_run("virtio_config", tc);
}
