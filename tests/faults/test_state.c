/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/*
 * F26: saved states that are cut off anywhere, have a bit turned, are of another version or another device,
 * or are garbage: each ready device refuses them with nothing changed, or has a state that a driver could
 * have brought about; and works when it is reset. (Files of whole VMs wait for snapshots.)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vdb/vdb.h>

#include "leak.h"
#include "null_netdev.h"
#include "run.h"
#include "virtio_rig.h"

static struct virtio_rig rig;
static uint64_t disk[4096 / 8];
static struct vdb_chardev *chardev;
static struct vdb_backend *backend;

static struct vdb_virtio *make_blk(const struct vdb_virtio_config *at, void *arg)
{
	struct vdb_blk_config config = {.size = sizeof(config), .at = at, .queues = 2};
	struct vdb_virtio *device = NULL;

	(void)arg;
	ck_assert_int_eq(vdb_backend_memory(disk, sizeof(disk), &backend), 0);
	config.backend = backend;
	ck_assert_msg(!vdb_blk_create(&config, &device), "%s", vdb_errmsg());
	vdb_backend_destroy(backend);
	return device;
}

static struct vdb_virtio *make_console(const struct vdb_virtio_config *at, void *arg)
{
	const struct vdb_chardev_config config = {.size = sizeof(config)};
	struct vdb_virtio *device = NULL;

	(void)arg;
	ck_assert_int_eq(vdb_chardev_create(at->loop, &config, &chardev), 0);
	ck_assert_msg(!vdb_console_create(at, chardev, &device), "%s", vdb_errmsg());
	return device;
}

static struct vdb_virtio *make_rng(const struct vdb_virtio_config *at, void *arg)
{
	struct vdb_virtio *device = NULL;

	(void)arg;
	ck_assert_msg(!vdb_rng_create(at, &device), "%s", vdb_errmsg());
	return device;
}

static struct vdb_virtio *make_balloon(const struct vdb_virtio_config *at, void *arg)
{
	const struct vdb_balloon_config config = {.size = sizeof(config), .at = at, .target = 8192};
	struct vdb_virtio *device = NULL;

	(void)arg;
	ck_assert_msg(!vdb_balloon_create(&config, &device), "%s", vdb_errmsg());
	return device;
}

static int refuse_all(void *arg, uint32_t port)
{
	(void)arg, (void)port;
	return -ECONNREFUSED;
}

static struct vdb_virtio *make_vsock(const struct vdb_virtio_config *at, void *arg)
{
	const struct vdb_vsock_config config = {.size = sizeof(config), .cid = 5, .connect = refuse_all};
	struct vdb_virtio *device = NULL;

	(void)arg;
	ck_assert_msg(!vdb_vsock_create(at, &config, &device), "%s", vdb_errmsg());
	return device;
}

static struct vdb_virtio *make_net(const struct vdb_virtio_config *at, void *arg)
{
	struct vdb_net_config config = {.size = sizeof(config), .pairs = 2};
	struct vdb_virtio *device = NULL;

	(void)arg;
	ck_assert_int_eq(null_netdev_create(2, &config.netdev), 0);
	ck_assert_msg(!vdb_net_create(at, &config, &device), "%s", vdb_errmsg());
	vdb_netdev_destroy(config.netdev);
	return device;
}

static virtio_rig_maker *const makers[] = {make_blk,     make_console, make_rng,
                                           make_balloon, make_vsock,   make_net};
#define MAKERS (int)(sizeof(makers) / sizeof(makers[0]))

static void count(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_ACQ_REL);
}

static uint32_t queues(void)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_virtio_query(rig.device, &info), 0);
	return info.queues;
}

/* The state of a device that is driven, and the device fresh again. */
static unsigned char *save(size_t *len)
{
	unsigned char *state;
	uint32_t done = 0;

	virtio_rig_up(&rig, VRIG_BIT(VIRTIO_F_RING_PACKED), queues());
	ck_assert_int_eq(vdb_virtio_quiesce(rig.device, count, &done), 0);
	virtio_rig_wait(&done, 1);
	*len = 0;
	ck_assert_int_eq(vdb_virtio_save(rig.device, NULL, len), 0);
	state = malloc(*len);
	ck_assert_int_eq(vdb_virtio_save(rig.device, state, len), 0);
	ck_assert_int_eq(vdb_virtio_resume(rig.device), 0);
	virtio_rig_reset(&rig);
	return state;
}

/* A copy of just that size: what is read behind it is found. */
static int restore(const unsigned char *state, size_t len)
{
	unsigned char *copy = malloc(len ? len : 1);
	int rc;

	memcpy(copy, state, len);
	rc = vdb_virtio_restore(rig.device, copy, len);
	free(copy);
	return rc;
}

static void nothing_has_changed(void)
{
	ck_assert_uint_eq(virtio_rig_status(&rig), 0);
	for (uint32_t i = 0; i < queues(); i++)
		ck_assert(!vdb__virtio_queue_enabled(rig.device, i));
}

/* Refused, or as good as what a driver does; fresh in the end. */
static bool try(const unsigned char *state, size_t len)
{
	int rc = restore(state, len);

	if (rc) {
		ck_assert_int_eq(rc, -EINVAL);
		ck_assert_str_ne(vdb_errmsg(), "");
		nothing_has_changed();
		return false;
	}
	ck_assert_int_eq(vdb_virtio_resume(rig.device), 0);
	virtio_rig_reset(&rig);
	return true;
}

static void end(unsigned char *state, int fds)
{
	virtio_rig_up(&rig, 0, queues());
	virtio_rig_unplug(&rig);
	if (chardev)
		vdb_chardev_destroy(chardev, NULL, NULL);
	/* What the loop's thread has yet to close. */
	for (int i = 0; i < 20000 && leak_fds() > fds; i++)
		usleep(1000);
	ck_assert_int_le(leak_fds(), fds);
	virtio_rig_close(&rig);
	free(state);
}

START_TEST(f26_a_state_cut_off_at_any_byte_is_refused)
{
	unsigned char *state;
	size_t len;
	int fds;

	virtio_rig_open_foreign(&rig, makers[_i], NULL);
	fds = leak_fds();
	state = save(&len);
	for (size_t cut = 0; cut < len; cut++)
		ck_assert(!try(state, cut));
	state = realloc(state, len + 8);
	memset(state + len, 0, 8);
	for (size_t more = 1; more <= 8; more++)
		ck_assert(!try(state, len + more));
	ck_assert(try(state, len));
	end(state, fds);
}
END_TEST

START_TEST(f26_a_turned_bit_does_no_harm)
{
	unsigned char *state;
	size_t len;
	int fds;

	virtio_rig_open_foreign(&rig, makers[_i], NULL);
	fds = leak_fds();
	state = save(&len);
	for (size_t i = 0; i < len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			state[i] ^= (unsigned char)(1u << bit);
			/* Magic, version, device and number of queues. */
			ck_assert(!try(state, len) || i >= 16);
			state[i] ^= (unsigned char)(1u << bit);
		}
	}
	ck_assert(try(state, len));
	end(state, fds);
}
END_TEST

/* Bytes of all kinds behind a header that is right. */
START_TEST(f26_garbage_does_no_harm_to_a_device)
{
	unsigned char *state, *bad;
	uint32_t seed = 12345;
	size_t len;
	int fds;

	virtio_rig_open_foreign(&rig, makers[_i], NULL);
	fds = leak_fds();
	state = save(&len);
	bad = malloc(len);
	for (int round = 0; round < 300; round++) {
		size_t from = round % 3 ? 48 : 16;

		memcpy(bad, state, len);
		for (size_t i = from; i < len; i++) {
			seed = seed * 1664525u + 1013904223u;
			if (round % 2 || seed >> 28 == 0)
				bad[i] = (unsigned char)(seed >> 16);
		}
		(void)try(bad, len);
	}
	ck_assert(try(state, len));
	free(bad);
	end(state, fds);
}
END_TEST

/* Each device's state at each other device. */
START_TEST(f26_a_state_of_another_device_is_refused)
{
	unsigned char *state;
	size_t len;

	virtio_rig_open_foreign(&rig, makers[_i], NULL);
	state = save(&len);
	end(NULL, leak_fds());
	chardev = NULL;
	for (int other = 0; other < MAKERS; other++) {
		if (other == _i)
			continue;
		virtio_rig_open_foreign(&rig, makers[other], NULL);
		ck_assert(!try(state, len));
		end(NULL, leak_fds());
		chardev = NULL;
	}
	free(state);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("state");

	tcase_add_loop_test(tc, f26_a_state_cut_off_at_any_byte_is_refused, 0, MAKERS);
	tcase_add_loop_test(tc, f26_a_turned_bit_does_no_harm, 0, MAKERS);
	tcase_add_loop_test(tc, f26_garbage_does_no_harm_to_a_device, 0, MAKERS);
	tcase_add_loop_test(tc, f26_a_state_of_another_device_is_refused, 0, MAKERS);
	return test_run("faults_state", tc);
}
