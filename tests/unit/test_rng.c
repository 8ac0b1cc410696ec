/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: getrandom */
/* virtio-rng: every kind of chain, and a host that has nothing yet. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "ready_rig.h"
#include "run.h"

static struct virtio_rig rig;
static int fail_with; /* atomic */
static size_t largest;

ssize_t __real_getrandom(void *buf, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags);

ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags)
{
	int err = __atomic_load_n(&fail_with, __ATOMIC_ACQUIRE);

	ck_assert_uint_eq(flags, GRND_NONBLOCK); /* never waits */
	if (len > largest)
		largest = len;
	if (err == EINTR) /* once */
		__atomic_store_n(&fail_with, 0, __ATOMIC_RELEASE);
	if (err) {
		errno = err;
		return -1;
	}
	return __real_getrandom(buf, len > 300 ? len / 2 : len, flags); /* a signal came */
}

static void setup(void)
{
	struct vdb_virtio_config at = ready_rig_open(&rig);
	struct vdb_virtio *device = NULL;

	at.max_segments = 0;
	ck_assert_msg(vdb_rng_create(&at, &device) == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&rig, device);
	virtio_rig_up(&rig, VRIG_V1, 1);
}

static void teardown(void)
{
	virtio_rig_close(&rig);
}

static uint32_t ask(const struct virtq_buf *bufs, uint32_t n)
{
	uint32_t len = 0;

	ck_assert(virtq_add(&rig.driver[0], bufs, n, 9));
	(void)virtq_publish(&rig.driver[0]);
	ck_assert_uint_eq(ready_rig_reap(&rig, 0, &len), 9);
	return len;
}

static uint8_t *data(uint32_t at)
{
	return mock_at(&rig.ram, ready_rig_data(0, at));
}

START_TEST(buffers_are_filled)
{
	const struct virtq_buf bufs[] = {{ready_rig_data(0, 0), 64, false},
	                                 {ready_rig_data(0, 64), 1000, true},
	                                 {ready_rig_data(0, 2000), 24, true}};
	static const uint8_t zeroes[1000];
	unsigned same = 0;

	memset(data(0), 0, 4096);
	ck_assert_uint_eq(ask(bufs, 3), 1024);
	ck_assert(!memcmp(data(0), zeroes, 64));
	ck_assert(memcmp(data(64), zeroes, 1000));
	ck_assert(!memcmp(data(1064), zeroes, 900));
	ck_assert(memcmp(data(2000), zeroes, 24));
	for (unsigned i = 0; i < 500; i++)
		same += data(64)[i] == data(564)[i];
	ck_assert_uint_lt(same, 50);
}
END_TEST

/* Descriptors may name the same memory again and again: 128 times 32 KiB here. */
START_TEST(g73_more_than_there_is_memory)
{
	struct virtq_buf bufs[16];

	for (unsigned i = 0; i < 16; i++)
		bufs[i] = (struct virtq_buf){ready_rig_data(0, 0), 0x7000, true};
	ck_assert_uint_eq(ask(bufs, 16), 65536);
	ck_assert_uint_le(largest, 65536);
}
END_TEST

START_TEST(g73_nothing_to_fill_is_nothing)
{
	const struct virtq_buf bufs[] = {{ready_rig_data(0, 0), 64, false}};

	ck_assert_uint_eq(ask(bufs, 1), 0);
}
END_TEST

START_TEST(a_signal_is_no_failure)
{
	const struct virtq_buf bufs[] = {{ready_rig_data(0, 0), 64, true}};

	__atomic_store_n(&fail_with, EINTR, __ATOMIC_RELEASE);
	ck_assert_uint_eq(ask(bufs, 1), 64);
}
END_TEST

START_TEST(a_host_without_entropy_gives_none)
{
	const struct virtq_buf bufs[] = {{ready_rig_data(0, 0), 64, true}};

	__atomic_store_n(&fail_with, EAGAIN, __ATOMIC_RELEASE);
	ck_assert_uint_eq(ask(bufs, 1), 0);
	__atomic_store_n(&fail_with, 0, __ATOMIC_RELEASE);
	ck_assert_uint_eq(ask(bufs, 1), 64);
}
END_TEST

START_TEST(what_is_the_devices_own_is_refused)
{
	struct vdb_virtio_config at = {.size = sizeof(at), .mem = rig.ram.mem, .loop = rig.loop};
	struct vdb_virtio_config bad[4] = {at, at, at, at};
	struct vdb_virtio *device = NULL;

	bad[0].queues = 1;
	bad[1].features = 1;
	bad[2].config_len = 4;
	bad[3].loop = NULL;
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(vdb_rng_create(&bad[i], &device), -EINVAL);
	ck_assert_int_eq(vdb_rng_create(NULL, &device), -EINVAL);
	/* Of the two structs that the others take it is said which. */
	at.size = 0;
	ck_assert_int_eq(vdb_rng_create(&at, &device), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "rng: `at`: size is 0"));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("rng");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, buffers_are_filled);
	tcase_add_test(tc, g73_more_than_there_is_memory);
	tcase_add_test(tc, g73_nothing_to_fill_is_nothing);
	tcase_add_test(tc, a_signal_is_no_failure);
	tcase_add_test(tc, a_host_without_entropy_gives_none);
	tcase_add_test(tc, what_is_the_devices_own_is_refused);
	return test_run("rng", tc);
}
