/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: calloc malloc realloc eventfd fcntl */
/* Devices that cannot be made, and hosts that run out of something while a driver starts one. */
#include <errno.h>
#include <string.h>

#include "fail.h"
#include "leak.h"
#include "run.h"
#include "virtio_rig.h"

static struct vdb_backend *no_backend(void *ctx, uint32_t index)
{
	(void)ctx;
	(void)index;
	return NULL;
}

static struct vdb_mem *mem;
static struct vdb_loop *loop;

static void setup(void)
{
	ck_assert_int_eq(vdb_mem_create(&mem), 0);
	ck_assert_int_eq(vdb_loop_create(NULL, &loop), 0);
}

static void teardown(void)
{
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
	ck_assert_int_eq(vdb_mem_destroy(mem), 0);
}

static struct vdb_virtio_ops good_ops(void)
{
	return (struct vdb_virtio_ops){
	        .size = sizeof(struct vdb_virtio_ops), .device_id = 1, .name = "x", .backend = no_backend};
}

static struct vdb_virtio_config good_config(void)
{
	return (struct vdb_virtio_config){
	        .size = sizeof(struct vdb_virtio_config), .mem = mem, .loop = loop, .queues = 1};
}

static int create(const struct vdb_virtio_ops *ops, const struct vdb_virtio_config *config)
{
	struct vdb_virtio *device = NULL;
	int rc = vdb_virtio_create(ops, NULL, config, &device);

	if (rc)
		ck_assert_ptr_null(device);
	vdb_virtio_destroy(device, NULL, NULL);
	return rc;
}

#define REFUSED(change)                                                 \
	do {                                                            \
		struct vdb_virtio_ops ops = good_ops();                 \
		struct vdb_virtio_config config = good_config();        \
                                                                        \
		ck_assert_int_eq(create(&ops, &config), 0);             \
		change;                                                 \
		ck_assert_int_eq(create(&ops, &config), -EINVAL);       \
		ck_assert_msg(strlen(vdb_errmsg()) > 10, "no message"); \
	} while (0)

START_TEST(bad_devices)
{
	REFUSED(ops.device_id = 0);
	REFUSED(ops.backend = NULL);
	REFUSED(ops.size = 0);
	REFUSED(config.size = 0);
	REFUSED(config.mem = NULL);
	REFUSED(config.loop = NULL);
	REFUSED(config.flags = 1u << 5);
	REFUSED(config.queues = 0);
	REFUSED(config.queues = 65);
	REFUSED(config.queue_size = 3);
	REFUSED(config.queue_size = 65536);
	REFUSED(config.max_segments = 1025);
	REFUSED(config.config_len = 3841);
	REFUSED(config.features = 1ull << 24);
	REFUSED(config.features = 1ull << 34);
	REFUSED(config.features = 1ull << 49);
}
END_TEST

START_TEST(the_largest_device)
{
	struct vdb_virtio_config config = good_config();
	struct vdb_virtio_ops ops = good_ops();

	config.queues = VDB_VIRTIO_MAX_QUEUES;
	config.queue_size = 32768;
	config.max_segments = 1024;
	config.config_len = 3840;
	config.features = 0xffffff | ~0ull << 50;
	ck_assert_int_eq(create(&ops, &config), 0);
}
END_TEST

static int make(void *arg)
{
	struct vdb_virtio_ops ops = good_ops();
	struct vdb_virtio_config config = good_config();

	(void)arg;
	return create(&ops, &config);
}

START_TEST(create_without_memory)
{
	fail_check(fail_sweep(make, NULL) >= 3);
}
END_TEST

START_TEST(questions)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};
	struct vdb_virtio_info info = {.size = 0};
	struct vdb_virtio_ops ops = good_ops();
	struct vdb_virtio *device;
	struct vdb_virtio_config config = good_config();
	int ctx;

	ck_assert_int_eq(vdb_virtio_create(&ops, &ctx, &config, &device), 0);
	ck_assert_ptr_eq(vdb__virtio_ctx(device, &ops), &ctx);
	ck_assert_str_eq(vdb__virtio_name(device), "x");
	ops.name = "y";
	ck_assert_ptr_null(vdb__virtio_ctx(device, &ops));
	ck_assert_int_eq(vdb_virtio_query(device, &info), -EINVAL);
	ck_assert_int_eq(vdb_virtio_queue_stats(device, 1, &stats), -ENOENT);
	ck_assert_int_eq(vdb_virtio_queue_stats(device, 0, &stats), 0);
	vdb_virtio_destroy(device, NULL, NULL);
}
END_TEST

/* A driver comes, and the n-th call of the host's fails: the device needs a reset, or goes on; after the
 * reset it works. */
START_TEST(a_host_that_runs_out)
{
	struct virtio_rig rig;
	uint32_t broken = 0, n = 0;
	bool failed;
	int fds;

	virtio_rig_open(&rig, NULL);
	virtio_rig_up(&rig, 0, 3);
	virtio_rig_echo(&rig, 0);
	virtio_rig_reset(&rig);
	fds = leak_fds();
	do {
		virtio_rig_negotiate(&rig, VRIG_V1);
		for (uint32_t i = 0; i < 3; i++)
			virtio_rig_queue(&rig, i, 16);
		fail_at(++n);
		virtio_rig_set(&rig, 0xf);
		failed = fail_what();
		if (virtio_rig_status(&rig) & VIRTIO_CONFIG_S_NEEDS_RESET) {
			virtio_rig_wait(&rig.breaks, ++broken);
			fail_check(rig.reason == VDB_REASON_HOST);
		}
		fail_at(0);
		virtio_rig_reset(&rig);
		fail_check(leak_fds() == fds);
	} while (failed);
	fail_check(broken >= 10);
	virtio_rig_up(&rig, 0, 3);
	virtio_rig_echo(&rig, 2);
	virtio_rig_close(&rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("refusals"), *rigged = tcase_create("host");
	Suite *suite = suite_create("virtio_refusals");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, bad_devices);
	tcase_add_test(tc, the_largest_device);
	tcase_add_test(tc, create_without_memory);
	tcase_add_test(tc, questions);
	tcase_add_test(rigged, a_host_that_runs_out);
	tcase_set_timeout(rigged, 60);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, rigged);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
