/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* A back end that goes and comes back: with a table of what is in flight nobody notices, else the driver
 * does. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "run.h"
#include "vu_rig.h"

static struct virtio_rig *rig = &vu_rig.rig;
static struct vu_backend *vu = &vu_rig.vu;

static void open_rig(uint64_t without)
{
	vu->protocol = VU_ALL & ~without;
	vu_rig_open(&(struct vdb_vhost_user_config){.reconnect_ms = 10, .config_len = VU_CONFIG});
}

static void lose(void)
{
	uint32_t lost = vu_rig_info().lost;

	vu_drop(vu);
	for (int i = 0; i < 300000 && vu_rig_info().lost == lost; i++)
		usleep(100);
	ck_assert_uint_eq(vu_rig_info().lost, lost + 1);
}

START_TEST(f20_queues_go_on_and_the_driver_notices_nothing)
{
	open_rig(0);
	virtio_rig_up(rig, VRIG_BIT(VIRTIO_RING_F_EVENT_IDX), 2);
	for (uint32_t i = 1; i < 10; i++) {
		virtio_rig_echo(rig, 0);
		lose();
		virtio_rig_send(rig, 0, i + 500); /* perhaps before anybody is there */
		virtio_rig_receive(rig, 0, i + 500);
		virtio_rig_echo(rig, 1);
	}
	ck_assert_uint_eq(vdb__load(&rig->breaks), 0);
	ck_assert_uint_eq(virtio_rig_status(rig), 0xf);
	ck_assert_uint_eq(vdb__load(&vu->asked[VU_GET_INFLIGHT_FD]), 1);
	ck_assert_uint_eq(vdb__load(&vu->asked[VU_SET_INFLIGHT_FD]), 10);
	vu_rig_close();
}
END_TEST

START_TEST(f20_what_was_not_taken_waits_for_the_next)
{
	open_rig(0);
	__atomic_store_n(&vu->idle, true, __ATOMIC_RELEASE);
	virtio_rig_up(rig, 0, 1);
	for (uint64_t i = 0; i < 5; i++)
		virtio_rig_send(rig, 0, i);
	virtio_rig_wait(&vu->asked[VU_SET_VRING_ENABLE], 1);
	vu_rig_wait_connected(true);
	__atomic_store_n(&vu->idle, false, __ATOMIC_RELEASE);
	lose();
	for (uint64_t i = 0; i < 5; i++)
		virtio_rig_receive(rig, 0, i);
	ck_assert_uint_eq(vdb__load(&rig->breaks), 0);
	vu_rig_close();
}
END_TEST

/* Nobody knows which requests of these were served. */
START_TEST(f20_without_a_table_or_of_a_packed_ring_it_needs_a_reset)
{
	open_rig(_i ? 0 : 1ull << VU_P_INFLIGHT);
	virtio_rig_up(rig, _i ? VRIG_BIT(VIRTIO_F_RING_PACKED) : 0, 1);
	virtio_rig_echo(rig, 0);
	lose();
	virtio_rig_wait_status(rig, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_rig_up(rig, 0, 1); /* which waits until somebody is there */
	virtio_rig_echo(rig, 0);
	vu_rig_close();
}
END_TEST

START_TEST(a_reset_forgets_what_was_in_flight)
{
	open_rig(0);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	ck_assert_uint_eq(vdb__load(&vu->asked[VU_GET_INFLIGHT_FD]), 2);
	vu_rig_close();
}
END_TEST

/* What the last driver had in flight is not the next one's, also when the back end is not there to hear of
 * the reset. */
START_TEST(f20_a_reset_while_it_is_away_forgets_what_was_in_flight)
{
	open_rig(0);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	vu_leave(vu);
	vu_rig_wait_connected(false);
	virtio_rig_reset(rig);
	vu_return(vu);
	vu_rig_wait_connected(true);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	ck_assert_uint_eq(vdb__load(&vu->asked[VU_GET_INFLIGHT_FD]), 2);
	vu_rig_close();
}
END_TEST

static bool is_readable(int fd)
{
	struct pollfd look = {.fd = fd, .events = POLLIN};

	return poll(&look, 1, 0) == 1;
}

static void drain(int fd)
{
	uint64_t count;

	if (is_readable(fd))
		ck_assert_int_eq(read(fd, &count, sizeof(count)), sizeof(count));
}

/* It has taken the kick, and goes before it has looked. Whoever comes need not look before he hears one. */
START_TEST(f20_the_next_hears_a_kick)
{
	open_rig(0);
	__atomic_store_n(&vu->idle, true, __ATOMIC_RELEASE);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_wait(&vu->asked[VU_SET_VRING_ENABLE], 1);
	virtio_rig_send(rig, 0, 1);
	drain(vu->ring[0].kick);
	lose();
	virtio_rig_wait(&vu->asked[VU_SET_VRING_ENABLE], 2);
	vu_rig_wait_connected(true);
	ck_assert(is_readable(vu->ring[0].kick));
	__atomic_store_n(&vu->idle, false, __ATOMIC_RELEASE);
	lose();
	virtio_rig_receive(rig, 0, 1);
	vu_rig_close();
}
END_TEST

/* It has served, and goes before it has called. */
START_TEST(f20_the_driver_is_called_for_one_that_has_gone)
{
	uint32_t before;

	open_rig(0);
	__atomic_store_n(&vu->idle, true, __ATOMIC_RELEASE);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_wait(&vu->asked[VU_SET_VRING_ENABLE], 1);
	before = __atomic_load_n(&rig->interrupts[0], __ATOMIC_ACQUIRE);
	lose();
	virtio_rig_wait(&rig->interrupts[0], before + 1);
	vu_rig_close();
}
END_TEST

START_TEST(it_is_waited_for_as_long_as_it_takes)
{
	open_rig(0);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	vu_leave(vu);
	vu_rig_wait_connected(false);
	virtio_rig_send(rig, 0, 9);
	vu_rig_quiesce();
	vu_rig_resume();
	virtio_rig_send(rig, 0, 10);
	vu_return(vu);
	virtio_rig_receive(rig, 0, 9);
	virtio_rig_receive(rig, 0, 10);
	ck_assert_uint_eq(vdb__load(&rig->breaks), 0);
	vu_rig_close();
}
END_TEST

/* Its guest has been offered what the first one had. */
START_TEST(f20_one_that_can_do_less_is_not_taken)
{
	open_rig(0);
	virtio_rig_up(rig, 0, 1);
	vu_leave(vu);
	vu->features &= ~VRIG_BIT(5);
	vu_return(vu);
	for (int i = 0; i < 300000 && !strstr(vu_rig_info().why, "lacks"); i++)
		usleep(100);
	ck_assert_msg(strstr(vu_rig_info().why, "lacks") != NULL, "%s", vu_rig_info().why);
	ck_assert_uint_eq(vu_rig_info().connected, 0);
	virtio_rig_reset(rig);
	vu_rig_close();
}
END_TEST

/* A driver that comes when there is nobody, and will never be. */
START_TEST(f20_without_reconnecting_it_is_gone_for_good)
{
	vu_rig_open(NULL);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	lose();
	virtio_rig_wait_status(rig, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_rig_negotiate(rig, VRIG_V1);
	virtio_rig_queue(rig, 0, 16);
	virtio_rig_set(rig, 0xf);
	virtio_rig_wait_status(rig, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_rig_reset(rig);
	vu_rig_close();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vhost_user_reconnect");

	tcase_add_test(tc, f20_queues_go_on_and_the_driver_notices_nothing);
	tcase_add_test(tc, f20_what_was_not_taken_waits_for_the_next);
	tcase_add_loop_test(tc, f20_without_a_table_or_of_a_packed_ring_it_needs_a_reset, 0, 2);
	tcase_add_test(tc, a_reset_forgets_what_was_in_flight);
	tcase_add_test(tc, f20_a_reset_while_it_is_away_forgets_what_was_in_flight);
	tcase_add_test(tc, f20_the_next_hears_a_kick);
	tcase_add_test(tc, f20_the_driver_is_called_for_one_that_has_gone);
	tcase_add_test(tc, it_is_waited_for_as_long_as_it_takes);
	tcase_add_test(tc, f20_one_that_can_do_less_is_not_taken);
	tcase_add_test(tc, f20_without_reconnecting_it_is_gone_for_good);
	return test_run("vhost_user_reconnect", tc);
}
