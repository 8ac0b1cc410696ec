/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: calloc malloc mmap ioctl pwritev2 */
/* F22: a tap that is deleted, goes down, takes nothing for ever; guest memory that the kernel cannot use. The
 * guest loses packets, and they are counted; nothing spins, and whatever else the loop serves goes on. */
#include <check.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"
#include "io/lane.h"
#include "leak.h"
#include "net/tap.h"
#include "run.h"
#include "tap_rig.h"

#define FRAME 1514u
#define SMALL 60u

static struct tap_rig t;
static const struct pair_rig_config plain = {.mergeable = true};

static bool is_down(void)
{
	return vdb__load(&t.netdev->down);
}

/* A queue that was opened by somebody else, and whose interface cannot be seen from here. */
static int given, home, away;

static void open_given(void)
{
	struct vdb_tap_config config = {.fds = &given};
	int err;

	given = netns_queue("given", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	netns_up("given", true);
	memcpy(t.name, "given", 6);
	t.socket = netns_packets("given", false);
	home = netns_here();
	ck_assert_int_eq(netns_enter(), 0); /* and it stays behind */
	away = netns_here();
	config.size = sizeof(config);
	err = vdb_netdev_tap(&config, &t.netdev);
	ck_assert_int_eq(err, 0);
	pair_rig_open(&t.pairs, t.netdev, &plain);
}

static void close_given(void)
{
	tap_rig_close(&t);
	close(given);
	close(home);
	close(away);
}

/* ---- A disk of the same VM ---- */

static struct rig_guest disk;
static struct vdb_backend *backend;
static uint8_t image[4096];

static void disk_open(void)
{
	ck_assert_int_eq(vdb_backend_memory(image, sizeof(image), &backend), 0);
	rig_join(&t.pairs.rig, &disk, &(struct rig_guest_config){.backend = backend});
}

static void disk_works(void)
{
	ck_assert_int_eq(rig_do(&disk, VDB_OP_WRITE, RIG_DATA, 512, 512), 512);
	ck_assert_int_eq(rig_do(&disk, VDB_OP_READ, RIG_DATA, 512, 512), 512);
}

static void disk_close(void)
{
	rig_leave(&disk);
	vdb_backend_destroy(backend);
}

/* Packets of the guest's that go nowhere come back all the same. */
static void send_in_vain(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		tap_rig_add(&t, i, TAP_RIG_MIN);
		pair_rig_ring(&t.pairs, 0);
	}
	RIG_UNTIL(&t.pairs.rig, !pair_rig_sending(&t.pairs, 0));
}

static void is_at_rest(void)
{
	struct vdb_tap_info info = tap_rig_info(&t);

	tap_rig_rest(&t);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(vdb_loop_step(t.pairs.rig.loop), 0);
	ck_assert_uint_eq(tap_rig_info(&t).reads, info.reads);
}

/* ---- Deleted ---- */

/* 0: with packets both ways; 1: idle; 2: while the guest has no buffers, so that nothing is polled. */
START_TEST(f22_a_deleted_tap_is_a_link_that_is_down)
{
	tap_rig_open(&t, NULL, &plain);
	disk_open();
	if (_i < 2)
		pair_rig_post(&t.pairs, 0, 64);
	for (uint32_t i = 0; i < 50 && _i != 1; i++) {
		ck_assert(tap_rig_send(&t, i, FRAME));
		tap_rig_add(&t, i, FRAME);
		pair_rig_ring(&t.pairs, 0);
		rig_turns(&t.pairs.rig, i % 3);
	}
	netns_delete(t.name);
	RIG_UNTIL(&t.pairs.rig, is_down());
	RIG_UNTIL(&t.pairs.rig, !pair_rig_sending(&t.pairs, 0));
	send_in_vain(100);
	ck_assert_uint_ge(pair_rig_stats(&t.pairs, 0).tx_dropped, 100);
	ck_assert_uint_eq(tap_rig_info(&t).flags, VDB_TAP_IS_GONE);
	is_at_rest();
	disk_works();
	disk_close();
	tap_rig_close(&t);
}
END_TEST

/* The same of one that cannot be seen: 0, reading tells; 1, nothing is read, and writing tells. */
START_TEST(f22_a_tap_deleted_elsewhere_is_noticed)
{
	open_given();
	disk_open();
	if (!_i)
		pair_rig_post(&t.pairs, 0, 64);
	tap_rig_rest(&t);
	ck_assert(!is_down());
	netns_go(home);
	netns_delete("given");
	netns_go(away);
	if (_i)
		send_in_vain(3);
	RIG_UNTIL(&t.pairs.rig, is_down());
	send_in_vain(100);
	ck_assert_uint_eq(pair_rig_stats(&t.pairs, 0).tx_dropped, _i ? 103 : 100);
	is_at_rest();
	disk_works();
	disk_close();
	close_given();
}
END_TEST

/* ---- Down ---- */

START_TEST(f22_an_interface_that_is_down_is_a_link_that_is_down)
{
	tap_rig_open(&t, NULL, &plain);
	pair_rig_post(&t.pairs, 0, 64);
	for (uint32_t round = 0; round < 3; round++) {
		ck_assert(!is_down());
		ck_assert(tap_rig_send(&t, round, FRAME));
		tap_rig_expect(&t, round, FRAME);
		netns_up(t.name, false);
		RIG_UNTIL(&t.pairs.rig, is_down());
		send_in_vain(10);
		ck_assert_uint_eq(pair_rig_stats(&t.pairs, 0).tx_dropped, 10 * (round + 1));
		is_at_rest();
		netns_up(t.name, true);
		RIG_UNTIL(&t.pairs.rig, !is_down());
		tap_rig_add(&t, round, FRAME);
		pair_rig_ring(&t.pairs, 0);
		/* The socket heard that the interface went down. */
		(void)recv(t.socket, t.packet, 0, MSG_DONTWAIT);
		tap_rig_expect_out(&t, round, FRAME);
	}
	tap_rig_close(&t);
}
END_TEST

/* EIO, of one that cannot be seen. */
START_TEST(f22_what_a_tap_will_not_take_is_dropped_and_counted)
{
	open_given();
	pair_rig_post(&t.pairs, 0, 64);
	netns_go(home);
	netns_up("given", false);
	send_in_vain(10);
	ck_assert(!is_down());
	ck_assert_uint_eq(pair_rig_stats(&t.pairs, 0).tx_dropped, 10);
	ck_assert_uint_eq(tap_rig_info(&t).failed, 10);
	is_at_rest();
	netns_up("given", true);
	(void)recv(t.socket, t.packet, 0, MSG_DONTWAIT); /* it heard that the interface went down */
	ck_assert(tap_rig_send(&t, 1, FRAME));
	tap_rig_expect(&t, 1, FRAME);
	tap_rig_add(&t, 2, FRAME);
	pair_rig_ring(&t.pairs, 0);
	tap_rig_expect_out(&t, 2, FRAME);
	close_given();
}
END_TEST

/* ---- EAGAIN ---- */

/* No tap can be made to say it at will; the system calls of the engine that makes them can. */
static int refusals; /* writes that are refused yet; -1: all */
static bool cancels; /* the guest takes its packets back meanwhile */

ssize_t __real_pwritev2(int fd, const struct iovec *iov, int niov, off_t offset, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int niov, off_t offset, int flags);

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int niov, off_t offset, int flags)
{
	if (!refusals)
		return __real_pwritev2(fd, iov, niov, offset, flags);
	if (refusals > 0)
		refusals--;
	if (cancels)
		vdb__lane_cancel(t.pairs.tx[0].lane);
	errno = EAGAIN;
	return -1;
}

static bool can_be_refused(void)
{
	if (test_engine() == VDB_ENGINE_EPOLL)
		return true;
	test_skipped_part("a tap without room", "io_uring's writes cannot be made to fail");
	return false;
}

static void send_refused(int times, uint32_t count, uint32_t len)
{
	tap_rig_open(&t, NULL, &plain);
	refusals = times;
	for (uint32_t i = 0; i < count; i++)
		tap_rig_add(&t, i, len);
	pair_rig_ring(&t.pairs, 0);
}

START_TEST(f22_a_tap_that_takes_nothing_is_not_waited_for_for_ever)
{
	if (!can_be_refused())
		return;
	send_refused(-1, 20, FRAME);
	disk_open();
	RIG_UNTIL(&t.pairs.rig, tap_rig_info(&t).stalls == 20);
	disk_works();
	ck_assert_uint_eq(pair_rig_sending(&t.pairs, 0), 20);
	RIG_UNTIL(&t.pairs.rig, !pair_rig_sending(&t.pairs, 0));
	ck_assert_uint_eq(pair_rig_stats(&t.pairs, 0).tx_dropped, 20);
	ck_assert_uint_eq(tap_rig_info(&t).failed, 20);
	refusals = 0;
	tap_rig_add(&t, 7, FRAME);
	pair_rig_ring(&t.pairs, 0);
	tap_rig_expect_out(&t, 7, FRAME);
	disk_close();
	tap_rig_close(&t);
}
END_TEST

START_TEST(packets_that_waited_go_in_order)
{
	const int times[] = {20, 40, 100};

	if (!can_be_refused())
		return;
	send_refused(times[_i], 20, FRAME);
	for (uint32_t i = 0; i < 10; i++)
		tap_rig_expect_out(&t, i, FRAME);
	for (uint32_t i = 20; i < 30; i++)
		tap_rig_add(&t, i, FRAME);
	pair_rig_ring(&t.pairs, 0);
	for (uint32_t i = 10; i < 30; i++)
		tap_rig_expect_out(&t, i, FRAME);
	ck_assert_uint_eq(tap_rig_info(&t).failed, 0);
	ck_assert_uint_ge(tap_rig_info(&t).stalls, 1);
	tap_rig_close(&t);
}
END_TEST

/* They are copied, and each copy's place is there again. */
START_TEST(small_packets_wait_as_others_do)
{
	struct vdb__tap_queue *queue;

	if (!can_be_refused())
		return;
	send_refused(-1, 20, SMALL);
	queue = &vdb__tap_of(t.netdev)->queues[0];
	RIG_UNTIL(&t.pairs.rig, tap_rig_info(&t).stalls == 20);
	ck_assert_uint_eq(queue->copies, 20);
	refusals = 0;
	for (uint32_t i = 0; i < 20; i++)
		tap_rig_expect_out(&t, i, SMALL);
	RIG_UNTIL(&t.pairs.rig, !pair_rig_sending(&t.pairs, 0));
	ck_assert_uint_eq(queue->copies, 0);
	refusals = -1;
	tap_rig_add(&t, 20, SMALL);
	pair_rig_ring(&t.pairs, 0);
	RIG_UNTIL(&t.pairs.rig, pair_rig_stats(&t.pairs, 0).tx_dropped == 1);
	ck_assert_uint_eq(queue->copies, 0);
	refusals = 0;
	tap_rig_close(&t);
}
END_TEST

START_TEST(f22_a_reset_does_not_wait_for_the_tap)
{
	if (!can_be_refused())
		return;
	send_refused(-1, 20, FRAME);
	RIG_UNTIL(&t.pairs.rig, tap_rig_info(&t).stalls == 20);
	tap_rig_close(&t);
}
END_TEST

/* The kernel had it when the guest took it back, and gives it back only now. */
START_TEST(f22_what_was_taken_back_does_not_wait_for_the_tap)
{
	if (!can_be_refused())
		return;
	cancels = true;
	send_refused(-1, 1, FRAME);
	RIG_UNTIL(&t.pairs.rig, !pair_rig_sending(&t.pairs, 0));
	ck_assert_uint_eq(tap_rig_info(&t).stalls, 0);
	ck_assert_uint_eq(pair_rig_stats(&t.pairs, 0).tx_dropped, 1);
	tap_rig_close(&t);
}
END_TEST

/* ---- Memory ---- */

START_TEST(memory_that_cannot_be_written_costs_the_packet)
{
	void *bad;

	tap_rig_open(&t, NULL, &plain);
	pair_rig_post(&t.pairs, 0, 1); /* the last one of all */
	bad = mock_at(&t.pairs.ram, t.pairs.rx[0].data + (PAIR_RIG_ENTRIES - 1) * 4096);
	ck_assert_int_eq(mprotect(bad, 4096, PROT_NONE), 0);
	ck_assert(tap_rig_send(&t, 0, FRAME));
	RIG_UNTIL(&t.pairs.rig, pair_rig_stats(&t.pairs, 0).rx_dropped == 1);
	ck_assert_uint_eq(tap_rig_info(&t).failed, 1);
	ck_assert_int_eq(mprotect(bad, 4096, PROT_READ | PROT_WRITE), 0);
	ck_assert(tap_rig_send(&t, 1, FRAME));
	tap_rig_expect(&t, 1, FRAME);
	tap_rig_close(&t);
}
END_TEST

static int open_again(void *arg)
{
	const struct vdb_netdev_ops *ops = &t.netdev->ops;
	int err = ops->open(t.netdev->ctx, 0, t.pairs.pair[0], t.pairs.rig.loop);

	(void)arg;
	if (!err)
		ops->close(t.netdev->ctx, 0);
	for (int i = 0; i < 4; i++)
		fail_check(vdb_loop_step(t.pairs.rig.loop) >= 0);
	return err;
}

START_TEST(every_failure_to_open_is_undone)
{
	tap_rig_open(&t, NULL, &plain);
	pair_rig_use(&t.pairs, 0);
	RIG_UNTIL(&t.pairs.rig, !t.pairs.pair[0]->open);
	tap_rig_rest(&t);
	ck_assert_uint_gt(fail_sweep(open_again, NULL), 4);
	tap_rig_rest(&t);
	tap_rig_close(&t);
}
END_TEST

static void live(void)
{
	tap_rig_open(&t, NULL, &plain);
	pair_rig_post(&t.pairs, 0, 64);
	for (uint32_t i = 0; i < 20; i++) {
		ck_assert(tap_rig_send(&t, i, FRAME));
		tap_rig_add(&t, i, FRAME);
	}
	pair_rig_ring(&t.pairs, 0);
	rig_turns(&t.pairs.rig, 3);
	tap_rig_close(&t);
}

START_TEST(nothing_is_left)
{
	int before;

	live();
	before = leak_fds();
	for (int i = 0; i < 10; i++)
		live();
	ck_assert_int_eq(leak_fds(), before);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("faults");
	int skip = netns_enter();

	if (skip)
		return skip;
	tcase_add_loop_test(tc, f22_a_deleted_tap_is_a_link_that_is_down, 0, 3);
	tcase_add_loop_test(tc, f22_a_tap_deleted_elsewhere_is_noticed, 0, 2);
	tcase_add_test(tc, f22_an_interface_that_is_down_is_a_link_that_is_down);
	tcase_add_test(tc, f22_what_a_tap_will_not_take_is_dropped_and_counted);
	tcase_add_test(tc, f22_a_tap_that_takes_nothing_is_not_waited_for_for_ever);
	tcase_add_loop_test(tc, packets_that_waited_go_in_order, 0, 3);
	tcase_add_test(tc, small_packets_wait_as_others_do);
	tcase_add_test(tc, f22_a_reset_does_not_wait_for_the_tap);
	tcase_add_test(tc, f22_what_was_taken_back_does_not_wait_for_the_tap);
	tcase_add_test(tc, memory_that_cannot_be_written_costs_the_packet);
	tcase_add_test(tc, every_failure_to_open_is_undone);
	tcase_add_test(tc, nothing_is_left);
	return test_run("tap faults", tc);
}
