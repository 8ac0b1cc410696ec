/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* G72: a console that is flooded, on both sides, on a loop with a neighbour: what is kept is bounded, what is
 * not taken waits where it is, and nothing is lost of it. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "ready_rig.h"
#include "run.h"

enum { RX, TX };

#define FIFO 4096u
#define PIPE 65536u /* a pipe's capacity */
#define CHAIN 0x7000u

static struct virtio_rig rig;
static struct vdb_chardev *chardev;
static int out[2], in[2]; /* pipes: the host reads out[0] and writes in[1] */

static void setup(void)
{
	struct vdb_virtio_config at = ready_rig_open(&rig);
	struct vdb_chardev_config config = {.size = sizeof(config), .fifo = FIFO};
	struct vdb_virtio *device = NULL;

	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
	config.out_fd = out[1];
	config.in_fd = in[0];
	ck_assert_msg(vdb_chardev_create(rig.loop, &config, &chardev) == 0, "%s", vdb_errmsg());
	ck_assert_msg(vdb_console_create(&at, chardev, &device) == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&rig, device);
	virtio_rig_up(&rig, VRIG_V1 | VRIG_BIT(VIRTIO_CONSOLE_F_SIZE), 2);
	arena_begin(rig.loop);
}

static void gone(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_ACQ_REL);
}

static void teardown(void)
{
	uint32_t ended = 0;

	arena_end();
	virtio_rig_unplug(&rig);
	vdb_chardev_destroy(chardev, gone, &ended);
	virtio_rig_wait(&ended, 1);
	virtio_rig_close(&rig);
	for (int i = 0; i < 2; i++) {
		close(out[i]);
		close(in[i]);
	}
}

static char *data(uint32_t queue, uint32_t at)
{
	return mock_at(&rig.ram, ready_rig_data(queue, at));
}

static uint64_t taken(uint32_t queue)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_virtio_queue_stats(rig.device, queue, &stats), 0);
	return stats.requests;
}

/* ---- Output ---- */

static unsigned reap_output(unsigned used)
{
	uint64_t cookie;
	uint32_t len;

	while (virtq_reap(&rig.driver[TX], &cookie, &len))
		ck_assert_uint_eq(cookie, used++);
	return used;
}

/* Nobody reads: the ring is full, and of all that is in it the host has what pipe and FIFO hold. */
START_TEST(g72_a_flood_of_output_that_nobody_reads)
{
	const struct virtq_buf buf = {ready_rig_data(TX, 0), CHAIN, false};
	unsigned given = 0, used = 0;
	static char got[CHAIN];
	uint64_t left;
	uint32_t len;
	ssize_t n;

	memset(data(TX, 0), 'x', CHAIN);
	while (virtq_add(&rig.driver[TX], &buf, 1, given))
		given++;
	(void)virtq_publish(&rig.driver[TX]);
	for (int i = 0; i < 5; i++) {
		arena_goes_on();
		used = reap_output(used);
		ck_assert_uint_le(used * (uint64_t)CHAIN, PIPE + FIFO);
		/* It kicks on and on. */
		for (int k = 0; k < 50; k++)
			rig.driver[TX].bell(rig.driver[TX].bell_arg);
	}
	ck_assert_uint_le(taken(TX), given);
	for (left = given * (uint64_t)CHAIN; left; left -= (uint64_t)n) {
		n = read(out[0], got, sizeof(got));
		ck_assert_int_gt(n, 0);
		ck_assert(got[0] == 'x' && !memcmp(got, got + 1, (size_t)n - 1));
	}
	for (; used < given; used++)
		ck_assert_uint_eq(ready_rig_reap(&rig, TX, &len), used);
}
END_TEST

/* ---- Input ---- */

static char letter(uint64_t i)
{
	return (char)('a' + i % 23);
}

/* All that goes in; what was written. */
static uint64_t flood_input(uint64_t from)
{
	char bytes[512];
	ssize_t n;

	for (;;) {
		for (uint64_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = letter(from + i);
		n = write(in[1], bytes, sizeof(bytes));
		if (n < 0) {
			ck_assert_int_eq(errno, EAGAIN);
			return from;
		}
		from += (uint64_t)n;
	}
}

START_TEST(g72_a_flood_of_input_without_buffers)
{
	uint64_t written = 0, got = 0;
	uint32_t len;

	for (int i = 0; i < 5; i++) {
		written = flood_input(written);
		arena_goes_on();
		ck_assert_uint_le(written, PIPE + 2 * FIFO); /* the pipe counts in pages */
	}
	while (got < written) {
		const struct virtq_buf buf = {ready_rig_data(RX, 0), 1000, true};

		ck_assert(virtq_add(&rig.driver[RX], &buf, 1, got));
		(void)virtq_publish(&rig.driver[RX]);
		ck_assert_uint_eq(ready_rig_reap(&rig, RX, &len), got);
		for (uint32_t k = 0; k < len; k++)
			ck_assert_int_eq(data(RX, 0)[k], letter(got + k));
		got += len;
	}
	ck_assert_uint_eq(got, written);
}
END_TEST

/* Buffers of nothing, of a byte, and of a byte in many pieces. */
START_TEST(g72_input_into_next_to_nothing)
{
	struct virtq_buf bufs[8];
	uint32_t len, got = 0;

	(void)flood_input(0);
	for (uint32_t i = 0; i < 8; i++)
		bufs[i] = (struct virtq_buf){ready_rig_data(RX, i), i % 2, true};
	for (uint32_t round = 0; round < 200; round++) {
		ck_assert(virtq_add(&rig.driver[RX], bufs, 1 + round % 8, round));
		(void)virtq_publish(&rig.driver[RX]);
		ck_assert_uint_eq(ready_rig_reap(&rig, RX, &len), round);
		ck_assert_uint_eq(len, (1 + round % 8) / 2);
		for (uint32_t k = 0; k < len; k++)
			ck_assert_int_eq(data(RX, 2 * k + 1)[0], letter(got++));
	}
}
END_TEST

/* ---- Size ---- */

static uint32_t over; /* atomic */

static void *resize(void *arg)
{
	for (uint32_t i = 1; i <= 20000; i++)
		ck_assert_int_eq(vdb_console_resize(rig.device, (uint16_t)i, (uint16_t)i), 0);
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	return arg;
}

START_TEST(g72_a_storm_of_sizes)
{
	uint16_t columns, rows;
	uint8_t generation;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, resize, NULL), 0);
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		generation = vdb__virtio_generation(rig.device);
		vdb__virtio_config_read(rig.device, 0, &columns, 2);
		vdb__virtio_config_read(rig.device, 2, &rows, 2);
		if (vdb__virtio_generation(rig.device) == generation)
			ck_assert_uint_eq(columns, rows);
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	vdb__virtio_config_read(rig.device, 0, &columns, 2);
	ck_assert_uint_eq(le16toh(columns), 20000);
}
END_TEST

/* ---- Ports ---- */

/* There is one port, and no queue to speak of others. */
START_TEST(g72_no_other_port)
{
	virtio_rig_reset(&rig);
	virtio_rig_set(&rig, 1);
	virtio_rig_set(&rig, 3);
	virtio_rig_accept(&rig, VRIG_V1 | VRIG_BIT(VIRTIO_CONSOLE_F_MULTIPORT));
	virtio_rig_set(&rig, 0xb);
	ck_assert_uint_eq(virtio_rig_status(&rig), 3);
	for (uint32_t queue = 2; queue < 70; queue++) {
		ck_assert_uint_eq(vdb__virtio_queue_max(rig.device, queue), 0);
		vdb__virtio_queue_enable(rig.device, queue);
		ck_assert(!vdb__virtio_queue_enabled(rig.device, queue));
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("console");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, g72_a_flood_of_output_that_nobody_reads);
	tcase_add_test(tc, g72_a_flood_of_input_without_buffers);
	tcase_add_test(tc, g72_input_into_next_to_nothing);
	tcase_add_test(tc, g72_a_storm_of_sizes);
	tcase_add_test(tc, g72_no_other_port);
	return test_run("console", tc);
}
