/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: open ioctl calloc malloc eventfd fcntl pthread_create */
/*
 * Queues that the kernel serves, where it has no vhost: open() and ioctl() are this test's, so it is about
 * what is said in which order, and what happens when the kernel says no. tests/lab has the real one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "run.h"
#include "virtio_rig.h"

#define FEATURES (VRIG_V1 | VRIG_BIT(VIRTIO_RING_F_EVENT_IDX) | VRIG_BIT(1) | VRIG_BIT(26) | VRIG_BIT(33))

static struct virtio_rig rig;

/* The kernel. */
static bool absent;                               /* atomic */
static unsigned long refused;                     /* atomic: this ioctl, once */
static uint32_t running, stopped, owners, tables; /* atomic */
static uint32_t base[2], kicks[2];                /* atomic */
static uint64_t agreed, cid;                      /* atomic */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL);
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list list;
	mode_t mode;

	va_start(list, flags);
	mode = va_arg(list, mode_t);
	va_end(list);
	if (strcmp(path, "/dev/vhost-vsock") != 0)
		return __real_open(path, flags, mode);
	if (__atomic_load_n(&absent, __ATOMIC_ACQUIRE)) {
		errno = ENOENT;
		return -1;
	}
	if (fail_now("open")) {
		errno = EIO;
		return -1;
	}
	return __real_open("/dev/null", flags, mode);
}

static int set_vring(unsigned long request, void *arg)
{
	struct vhost_vring_state *state = arg;
	const struct vhost_vring_file *file = arg;

	switch (request) {
	case VHOST_SET_VRING_BASE:
		__atomic_store_n(&base[state->index], state->num, __ATOMIC_RELEASE);
		return 0;
	case VHOST_GET_VRING_BASE:
		state->num = __atomic_load_n(&base[state->index], __ATOMIC_ACQUIRE);
		return 0;
	case VHOST_SET_VRING_KICK:
		if (file->fd >= 0)
			count(&kicks[file->index]);
		return 0;
	default:
		return 0;
	}
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	unsigned long expected = request;
	va_list list;
	void *arg;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	if (_IOC_TYPE(request) != VHOST_VIRTIO)
		return __real_ioctl(fd, request, arg);
	if (__atomic_compare_exchange_n(&refused, &expected, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		errno = EFAULT;
		return -1;
	}
	if (fail_now("ioctl")) {
		errno = EIO;
		return -1;
	}
	switch (request) {
	case VHOST_SET_OWNER:
		count(&owners);
		return 0;
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = FEATURES;
		return 0;
	case VHOST_SET_FEATURES:
		__atomic_store_n(&agreed, *(uint64_t *)arg, __ATOMIC_RELEASE);
		return 0;
	case VHOST_SET_MEM_TABLE:
		count(&tables);
		return 0;
	case VHOST_VSOCK_SET_GUEST_CID:
		__atomic_store_n(&cid, *(uint64_t *)arg, __ATOMIC_RELEASE);
		return 0;
	case VHOST_VSOCK_SET_RUNNING:
		count(*(int *)arg ? &running : &stopped);
		return 0;
	default:
		return set_vring(request, arg);
	}
}

static struct vdb_virtio *maker(const struct vdb_virtio_config *at, void *arg)
{
	struct vdb_virtio *device;

	(void)arg;
	ck_assert_msg(!vdb_vhost_vsock_create(at, 55, &device), "%s", vdb_errmsg());
	return device;
}

static void setup(void)
{
	virtio_rig_open_foreign(&rig, maker, NULL);
}

static void teardown(void)
{
	virtio_rig_close(&rig);
}

static void up(uint64_t features)
{
	virtio_rig_negotiate(&rig, features | VRIG_V1);
	for (uint32_t i = 0; i < 3; i++)
		virtio_rig_queue(&rig, i, 16);
	virtio_rig_set(&rig, 0xf);
}

static void count_done(void *word)
{
	count(word);
}

START_TEST(it_runs_when_both_queues_are_there)
{
	uint64_t told;

	vdb__virtio_config_read(rig.device, 0, &told, sizeof(told));
	ck_assert_uint_eq(told, 55);
	ck_assert_uint_eq(cid, 55);
	up(VRIG_BIT(1));
	virtio_rig_wait(&running, 1);
	ck_assert_uint_eq(agreed, VRIG_V1 | VRIG_BIT(1));
	ck_assert_uint_eq(kicks[0], 1);
	ck_assert_uint_eq(kicks[1], 1);
	ck_assert_uint_eq(tables, 1);
	virtio_rig_reset(&rig);
	virtio_rig_wait(&stopped, 1);
	up(0);
	virtio_rig_wait(&running, 2);
}
END_TEST

START_TEST(only_what_the_kernel_has_is_offered)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_virtio_query(rig.device, &info), 0);
	ck_assert_uint_eq(info.offered, VRIG_V1 | VRIG_BIT(VIRTIO_RING_F_EVENT_IDX) | VRIG_BIT(1));
}
END_TEST

START_TEST(it_goes_on_where_it_was)
{
	uint32_t done = 0;

	up(0);
	virtio_rig_wait(&running, 1);
	__atomic_store_n(&base[1], 7, __ATOMIC_RELEASE);
	ck_assert_int_eq(vdb_virtio_quiesce(rig.device, count_done, &done), 0);
	virtio_rig_wait(&done, 1);
	__atomic_store_n(&base[1], 0, __ATOMIC_RELEASE);
	ck_assert_int_eq(vdb_virtio_resume(rig.device), 0);
	virtio_rig_wait(&running, 2);
	ck_assert_uint_eq(base[0], 0);
	ck_assert_uint_eq(base[1], 7);
	ck_assert_uint_eq(tables, 1);
}
END_TEST

/* Each ioctl of a start: the driver finds NEEDS_RESET, and after its reset a kernel that is asked anew. */
START_TEST(the_kernel_says_no)
{
	static const unsigned long requests[] = {
	        VHOST_SET_FEATURES,   VHOST_SET_MEM_TABLE,  VHOST_SET_VRING_NUM,
	        VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_CALL,
	        VHOST_SET_VRING_ERR,  VHOST_SET_VRING_KICK, VHOST_VSOCK_SET_RUNNING};

	__atomic_store_n(&refused, requests[_i], __ATOMIC_RELEASE);
	up(0);
	virtio_rig_wait_status(&rig, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_rig_wait(&rig.breaks, 1);
	ck_assert_uint_eq(rig.reason, VDB_REASON_HOST);
	up(0);
	virtio_rig_wait(&running, 1);
	ck_assert_uint_eq(owners, 2);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0xf);
}
END_TEST

START_TEST(the_kernel_does_not_say_where_it_stopped)
{
	up(0);
	virtio_rig_wait(&running, 1);
	__atomic_store_n(&refused, VHOST_GET_VRING_BASE, __ATOMIC_RELEASE);
	virtio_rig_reset(&rig);
	up(0);
	virtio_rig_wait(&running, 2);
}
END_TEST

/* ---- Refusals ---- */

static int make(uint64_t number)
{
	const struct vdb_virtio_config at = {.size = sizeof(at), .mem = rig.ram.mem, .loop = rig.loop};
	struct vdb_virtio *device;
	uint32_t gone = 0;
	int rc = vdb_vhost_vsock_create(&at, number, &device);

	if (rc)
		return rc;
	vdb_virtio_destroy(device, count_done, &gone);
	while (!__atomic_load_n(&gone, __ATOMIC_ACQUIRE))
		usleep(100);
	return 0;
}

START_TEST(what_cannot_be)
{
	ck_assert_int_eq(make(2), -EINVAL);
	ck_assert_int_eq(make(UINT32_MAX), -EINVAL);
	ck_assert_int_eq(make(1ull << 32), -EINVAL);
	__atomic_store_n(&absent, true, __ATOMIC_RELEASE);
	ck_assert_int_eq(make(3), -ENOENT);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "modprobe vhost_vsock"));
	__atomic_store_n(&absent, false, __ATOMIC_RELEASE);
	ck_assert_int_eq(make(3), 0);
}
END_TEST

static int there_and_back(void *arg)
{
	(void)arg;
	return make(77);
}

START_TEST(each_call_fails_once)
{
	ck_assert_uint_ge(fail_sweep(there_and_back, NULL), 8);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vhost_kernel");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, it_runs_when_both_queues_are_there);
	tcase_add_test(tc, only_what_the_kernel_has_is_offered);
	tcase_add_test(tc, it_goes_on_where_it_was);
	tcase_add_loop_test(tc, the_kernel_says_no, 0, 9);
	tcase_add_test(tc, the_kernel_does_not_say_where_it_stopped);
	tcase_add_test(tc, what_cannot_be);
	tcase_add_test(tc, each_call_fails_once);
	return test_run("vhost_kernel", tc);
}
