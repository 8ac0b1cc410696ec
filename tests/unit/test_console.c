/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* virtio-console both ways: what waits, what is held up, and who may go first. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "leak.h"
#include "ready_rig.h"
#include "run.h"

enum { RX, TX };

static struct virtio_rig rig;
static struct vdb_chardev *chardev;
static int out[2], in[2]; /* pipes: the host reads out[0] and writes in[1] */
static int fds;

static void make_device(void)
{
	struct vdb_virtio_config at = ready_rig_open(&rig);
	struct vdb_chardev_config config = {
	        .size = sizeof(config), .out_fd = out[1], .in_fd = in[0], .fifo = 4096};
	struct vdb_virtio *device = NULL;

	ck_assert_msg(vdb_chardev_create(rig.loop, &config, &chardev) == 0, "%s", vdb_errmsg());
	ck_assert_msg(vdb_console_create(&at, chardev, &device) == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&rig, device);
}

static void setup(void)
{
	fds = leak_fds();
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	make_device();
	virtio_rig_up(&rig, VRIG_V1 | VRIG_BIT(VIRTIO_CONSOLE_F_SIZE), 2);
}

static void gone(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_ACQ_REL);
}

static void teardown(void)
{
	uint32_t ended = 0;

	virtio_rig_unplug(&rig);
	vdb_chardev_destroy(chardev, gone, &ended);
	virtio_rig_wait(&ended, 1);
	virtio_rig_close(&rig);
	for (int i = 0; i < 2; i++) {
		close(out[i]);
		close(in[i]);
	}
	ck_assert_int_eq(leak_fds(), fds);
}

static char *data(uint32_t queue, uint32_t at)
{
	return mock_at(&rig.ram, ready_rig_data(queue, at));
}

static void give(uint32_t queue, const struct virtq_buf *bufs, uint32_t n, uint64_t cookie)
{
	ck_assert(virtq_add(&rig.driver[queue], bufs, n, cookie));
	(void)virtq_publish(&rig.driver[queue]);
}

static void give_input_buffer(uint32_t at, uint32_t len, uint64_t cookie)
{
	give(RX, &(struct virtq_buf){ready_rig_data(RX, at), len, true}, 1, cookie);
}

static void host_writes(const char *text)
{
	ck_assert_int_eq(write(in[1], text, strlen(text)), (ssize_t)strlen(text));
}

static void expect_input(uint64_t cookie, uint32_t at, const char *text)
{
	uint32_t len = 0;

	ck_assert_uint_eq(ready_rig_reap(&rig, RX, &len), cookie);
	ck_assert_uint_eq(len, strlen(text));
	ck_assert(!memcmp(data(RX, at), text, len));
}

static void host_reads(const char *text)
{
	char got[256] = "";
	size_t len = 0;
	ssize_t n;

	while (len < strlen(text)) {
		n = read(out[0], got + len, strlen(text) - len);
		ck_assert_int_gt(n, 0);
		len += (size_t)n;
	}
	ck_assert_str_eq(got, text);
}

START_TEST(output_goes_out)
{
	const struct virtq_buf bufs[] = {{ready_rig_data(TX, 0), 6, false},
	                                 {ready_rig_data(TX, 100), 6, false}};
	uint32_t len = 1;

	memcpy(data(TX, 0), "hello ", 6);
	memcpy(data(TX, 100), "world\n", 6);
	give(TX, bufs, 2, 5);
	ck_assert_uint_eq(ready_rig_reap(&rig, TX, &len), 5);
	ck_assert_uint_eq(len, 0);
	host_reads("hello world\n");
}
END_TEST

START_TEST(input_waits_for_the_host)
{
	give_input_buffer(0, 10, 1);
	give_input_buffer(100, 10, 2);
	host_writes("first");
	expect_input(1, 0, "first");
	host_writes("second");
	expect_input(2, 100, "second");
}
END_TEST

START_TEST(input_waits_for_the_guest)
{
	host_writes("more than one buffer holds");
	give_input_buffer(0, 10, 1);
	expect_input(1, 0, "more than ");
	give_input_buffer(100, 100, 2);
	expect_input(2, 100, "one buffer holds");
}
END_TEST

/* A chain of several, the first one not for writing. */
START_TEST(input_goes_round_what_is_only_read)
{
	const struct virtq_buf bufs[] = {{ready_rig_data(RX, 0), 8, false},
	                                 {ready_rig_data(RX, 8), 3, true},
	                                 {ready_rig_data(RX, 100), 50, true}};
	uint32_t len = 0;

	memset(data(RX, 0), '.', 200);
	give(RX, bufs, 3, 7);
	host_writes("abcdef");
	ck_assert_uint_eq(ready_rig_reap(&rig, RX, &len), 7);
	ck_assert_uint_eq(len, 6);
	ck_assert(!memcmp(data(RX, 0), "........abc.", 12));
	ck_assert(!memcmp(data(RX, 100), "def.", 4));
}
END_TEST

static void nap(void)
{
	const struct timespec ns = {.tv_nsec = 1000000};

	nanosleep(&ns, NULL);
}

/* Until the loop has nothing to do any more: it sleeps. */
static void until_quiet(void)
{
	struct vdb_loop_stats before, after = {.size = sizeof(after)};

	arena_rest(rig.loop);
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &after), 0);
	do {
		before = after;
		for (int i = 0; i < 20; i++)
			nap();
		ck_assert_int_eq(vdb_loop_stats(rig.loop, &after), 0);
	} while (after.turns != before.turns);
	arena_resume(rig.loop);
}

/* The host reads nothing: pipe, FIFO and ring fill up, and the loop sleeps. */
START_TEST(g72_output_that_nobody_reads)
{
	const struct virtq_buf buf = {ready_rig_data(TX, 0), 0x7000, false};
	char got[4096];
	unsigned given = 0, used = 0;
	uint64_t left, cookie;
	uint32_t len;
	ssize_t n;

	memset(data(TX, 0), 'x', 0x7000);
	while (virtq_add(&rig.driver[TX], &buf, 1, given))
		given++;
	(void)virtq_publish(&rig.driver[TX]);
	until_quiet();
	while (virtq_reap(&rig.driver[TX], &cookie, &len))
		ck_assert_uint_eq(cookie, used++);
	ck_assert_uint_lt(used, given);
	for (left = given * 0x7000ull; left; left -= (uint64_t)n) {
		n = read(out[0], got, sizeof(got));
		ck_assert_int_gt(n, 0);
		for (ssize_t i = 0; i < n; i++)
			ck_assert_int_eq(got[i], 'x');
	}
	for (; used < given; used++)
		ck_assert_uint_eq(ready_rig_reap(&rig, TX, &len), used);
}
END_TEST

/* With nobody at the other end output is lost, as it is on a line that is not connected, at most so much
 * a turn. */
START_TEST(g72_a_large_chain_to_nobody_goes_in_turns)
{
	struct vdb_loop_stats before = {.size = sizeof(before)}, after = before;
	struct virtq_buf bufs[15];
	uint32_t len;

	close(out[0]);
	out[0] = dup(in[1]);
	for (unsigned i = 0; i < 15; i++)
		bufs[i] = (struct virtq_buf){ready_rig_data(TX, 0), 0x7000, false};
	give(TX, bufs, 15, 1); /* finds out */
	ck_assert_uint_eq(ready_rig_reap(&rig, TX, &len), 1);
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &before), 0);
	give(TX, bufs, 15, 2);
	ck_assert_uint_eq(ready_rig_reap(&rig, TX, &len), 2);
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &after), 0);
	ck_assert_uint_ge(after.posts - before.posts, 15 * 0x7000 / 65536);
}
END_TEST

START_TEST(g72_chains_without_bytes_come_back)
{
	const struct virtq_buf wrong_tx = {ready_rig_data(TX, 0), 8, true};
	const struct virtq_buf wrong_rx = {ready_rig_data(RX, 0), 8, false};
	uint32_t len = 1;

	give(TX, &wrong_tx, 1, 3);
	ck_assert_uint_eq(ready_rig_reap(&rig, TX, &len), 3);
	ck_assert_uint_eq(len, 0);
	give(RX, &wrong_rx, 1, 4);
	ck_assert_uint_eq(ready_rig_reap(&rig, RX, &len), 4);
	ck_assert_uint_eq(len, 0);
}
END_TEST

START_TEST(a_reset_ends_what_waits)
{
	const struct virtq_buf buf = {ready_rig_data(TX, 0), 0x7000, false};
	static char sink[1 << 20];

	for (int life = 0; life < 5; life++) {
		for (uint32_t i = 0; i < 8; i++)
			give_input_buffer(i * 100, 100, i);
		for (unsigned i = 0; i < 10; i++)
			give(TX, &buf, 1, i);
		until_quiet();
		virtio_rig_reset(&rig);
		memset(data(RX, 0), 0, 1000);
		host_writes("late");
		until_quiet();
		for (unsigned i = 0; i < 1000; i++)
			ck_assert_int_eq(data(RX, i)[0], 0);
		virtio_rig_up(&rig, VRIG_V1, 2);
		give_input_buffer(0, 10, 1);
		expect_input(1, 0, "late"); /* the host's input was not the old driver's alone */
		ck_assert_int_gt(read(out[0], sink, sizeof(sink)), 0);
	}
}
END_TEST

static void resized(uint16_t columns, uint16_t rows)
{
	struct virtio_console_config config;

	vdb__virtio_config_read(rig.device, 0, &config, 4);
	ck_assert_uint_eq(le16toh(config.cols), columns);
	ck_assert_uint_eq(le16toh(config.rows), rows);
}

START_TEST(a_resize_is_told)
{
	uint8_t generation = vdb__virtio_generation(rig.device);

	resized(0, 0);
	ck_assert_int_eq(vdb_console_resize(rig.device, 132, 43), 0);
	ck_assert_uint_eq(rig.config_interrupts, 1);
	ck_assert_uint_ne(vdb__virtio_generation(rig.device), generation);
	resized(132, 43);
}
END_TEST

START_TEST(an_emergency_needs_no_queue)
{
	const uint32_t bang = htole32('!'), mark = htole32('?');
	const uint8_t wide[8] = {0};

	virtio_rig_reset(&rig);
	vdb__virtio_config_write(rig.device, offsetof(struct virtio_console_config, emerg_wr), &bang, 4);
	vdb__virtio_config_write(rig.device, offsetof(struct virtio_console_config, emerg_wr), &mark, 1);
	/* Beside it nothing is written. */
	vdb__virtio_config_write(rig.device, 0, wide, 8);
	vdb__virtio_config_write(rig.device, offsetof(struct virtio_console_config, emerg_wr) + 1, wide, 2);
	host_reads("!?");
}
END_TEST

/* Its chardev is of one loop. */
START_TEST(its_queues_stay_where_they_are)
{
	struct vdb_loop *other;

	ck_assert_int_eq(vdb_loop_create(NULL, &other), 0);
	for (uint32_t i = 0; i < 2; i++)
		ck_assert_int_eq(vdb_virtio_queue_move(rig.device, i, other, NULL, NULL, NULL), -EOPNOTSUPP);
	ck_assert_int_eq(vdb_loop_destroy(other), 0);
	virtio_rig_reset(&rig);
}
END_TEST

START_TEST(a_chardev_has_one_device)
{
	struct vdb_virtio_config at = {.size = sizeof(at), .mem = rig.ram.mem, .loop = rig.loop};
	struct vdb_loop_config config = {.size = sizeof(config)};
	struct vdb_virtio *device = NULL;
	struct vdb_loop *other;

	ck_assert_int_eq(vdb_console_create(&at, chardev, &device), -EBUSY);
	ck_assert_int_eq(vdb_console_create(&at, NULL, &device), -EINVAL);
	at.queues = 2;
	ck_assert_int_eq(vdb_console_create(&at, chardev, &device), -EINVAL);
	at.queues = 0;
	ck_assert_int_eq(vdb_loop_create(&config, &other), 0);
	at.loop = other;
	ck_assert_int_eq(vdb_console_create(&at, chardev, &device), -EINVAL);
	ck_assert_int_eq(vdb_loop_destroy(other), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("console");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, output_goes_out);
	tcase_add_test(tc, input_waits_for_the_host);
	tcase_add_test(tc, input_waits_for_the_guest);
	tcase_add_test(tc, input_goes_round_what_is_only_read);
	tcase_add_test(tc, g72_output_that_nobody_reads);
	tcase_add_test(tc, g72_a_large_chain_to_nobody_goes_in_turns);
	tcase_add_test(tc, g72_chains_without_bytes_come_back);
	tcase_add_test(tc, a_reset_ends_what_waits);
	tcase_add_test(tc, a_resize_is_told);
	tcase_add_test(tc, an_emergency_needs_no_queue);
	tcase_add_test(tc, its_queues_stay_where_they_are);
	tcase_add_test(tc, a_chardev_has_one_device);
	return test_run("console", tc);
}
