/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Quiesce, resume, save and restore of a device, and what is refused (HOSTILE G80). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static void count(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_ACQ_REL);
}

static void quiesce(void)
{
	uint32_t done = 0;

	ck_assert_int_eq(vdb_virtio_quiesce(rig.device, count, &done), 0);
	virtio_rig_wait(&done, 1);
}

static void resume(void)
{
	ck_assert_msg(!vdb_virtio_resume(rig.device), "%s", vdb_errmsg());
}

static const uint64_t layouts[] = {
        0,
        VRIG_BIT(VIRTIO_RING_F_EVENT_IDX),
        VRIG_BIT(VIRTIO_F_RING_PACKED),
        VRIG_BIT(VIRTIO_F_RING_PACKED) | VRIG_BIT(VIRTIO_RING_F_EVENT_IDX),
};

START_TEST(g80_nothing_is_taken_or_lost_while_quiesced)
{
	virtio_rig_up(&rig, layouts[_i], 2);
	for (uint64_t i = 1; i < 40; i++) {
		virtio_rig_echo(&rig, 0);
		quiesce();
		virtio_rig_send(&rig, 0, i + 1000);
		if (i == 7)
			usleep(2000);
		ck_assert_uint_eq(rig.echo.served, 2 * i - 1);
		resume();
		virtio_rig_receive(&rig, 0, i + 1000);
	}
	ck_assert_uint_eq(virtio_rig_status(&rig), 0xf);
	ck_assert_uint_eq(rig.resets, 1);
}
END_TEST

START_TEST(quiesce_waits_for_what_is_in_flight)
{
	uint32_t done = 0;

	virtio_rig_up(&rig, 0, 1);
	rig.echo.hold = true;
	virtio_rig_send(&rig, 0, 1);
	virtio_rig_wait(&rig.echo.held, 1);
	ck_assert_int_eq(vdb_virtio_quiesce(rig.device, count, &done), 0);
	ck_assert_int_eq(vdb_virtio_quiesce(rig.device, count, &done), -EALREADY);
	usleep(2000);
	ck_assert_uint_eq(__atomic_load_n(&done, __ATOMIC_ACQUIRE), 0);
	ck_assert_int_eq(vdb_virtio_resume(rig.device), -EBUSY);
	virtio_rig_release(&rig);
	virtio_rig_wait(&done, 1);
	virtio_rig_receive(&rig, 0, 1);
	resume();
	ck_assert_int_eq(vdb_virtio_resume(rig.device), -EINVAL);
	virtio_rig_echo(&rig, 0);
}
END_TEST

START_TEST(a_driver_may_reset_and_come_again_while_quiesced)
{
	virtio_rig_up(&rig, 0, 1);
	quiesce();
	virtio_rig_up(&rig, VRIG_BIT(VIRTIO_F_RING_PACKED), 2);
	virtio_rig_send(&rig, 1, 5);
	usleep(2000);
	ck_assert_uint_eq(rig.echo.served, 0);
	resume();
	virtio_rig_receive(&rig, 1, 5);
}
END_TEST

static size_t save(void **out)
{
	size_t len = 0, room;

	ck_assert_int_eq(vdb_virtio_save(rig.device, NULL, &len), 0);
	*out = malloc(len);
	room = len - 1;
	ck_assert_int_eq(vdb_virtio_save(rig.device, *out, &room), -ENOSPC);
	ck_assert_int_eq(vdb_virtio_save(rig.device, *out, &len), 0);
	return len;
}

/* Another device takes the place of the rig's, on the same memory. */
static struct vdb_virtio *replace(void *state, size_t len)
{
	struct vdb_virtio *old = rig.device;

	vdb__virtio_detach(old);
	virtio_rig_renew(&rig, NULL);
	ck_assert_msg(!vdb_virtio_restore(rig.device, state, len), "%s", vdb_errmsg());
	return old;
}

START_TEST(g80_another_device_goes_on)
{
	uint32_t gone = 0;
	struct vdb_virtio *old;
	void *state;
	size_t len;

	rig.config[3] = 99;
	virtio_rig_up(&rig, layouts[_i] | VRIG_BIT(VRIG_FEATURE), 3);
	for (int i = 0; i < 21; i++)
		virtio_rig_echo(&rig, 0);
	virtio_rig_echo(&rig, 2);
	quiesce();
	virtio_rig_send(&rig, 2, 777);
	len = save(&state);
	rig.config[3] = 0;
	old = replace(state, len);
	vdb_virtio_destroy(old, count, &gone);
	virtio_rig_wait(&gone, 1);
	ck_assert_uint_eq(rig.config[3], 99);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0xf);
	ck_assert_uint_eq(rig.negotiated, VRIG_V1 | VRIG_BIT(VRIG_FEATURE) | layouts[_i]);
	ck_assert_int_eq(vdb_virtio_resume(rig.device), -EINVAL); /* no transport */
	virtio_rig_attach(&rig);
	resume();
	virtio_rig_receive(&rig, 2, 777);
	for (int i = 0; i < 21; i++)
		virtio_rig_echo(&rig, 0);
	virtio_rig_echo(&rig, 1);
	virtio_rig_up(&rig, 0, 1);
	virtio_rig_echo(&rig, 0);
	rig.destroyed--;
	free(state);
}
END_TEST

START_TEST(only_when_quiesced_and_fresh)
{
	size_t len = 4096;
	void *state;

	virtio_rig_up(&rig, 0, 1);
	ck_assert_int_eq(vdb_virtio_save(rig.device, NULL, &len), -EBUSY);
	quiesce();
	len = save(&state);
	ck_assert_int_eq(vdb_virtio_restore(rig.device, state, len), -EBUSY);
	resume();
	virtio_rig_reset(&rig);
	ck_assert_int_eq(vdb_virtio_restore(rig.device, state, len), 0);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0xf);
	free(state);
}
END_TEST

/* Every byte of a state, changed to something else: refused with nothing changed, or a state that a driver
 * could have made; every length but the right one is refused. */
START_TEST(g80_crafted_states_do_no_harm)
{
	unsigned char *state, old;
	uint32_t refused = 0;
	void *saved;
	size_t len;

	virtio_rig_up(&rig, VRIG_BIT(VIRTIO_F_RING_PACKED), 2);
	virtio_rig_echo(&rig, 1);
	quiesce();
	len = save(&saved);
	state = saved;
	resume();
	virtio_rig_reset(&rig);
	for (size_t cut = 0; cut < len; cut++)
		ck_assert_int_eq(vdb_virtio_restore(rig.device, state, cut), -EINVAL);
	for (size_t i = 0; i < len * 4; i++) {
		static const unsigned char flips[] = {0x01, 0x80, 0xff, 0x40};

		old = state[i / 4];
		state[i / 4] = (unsigned char)(old ^ flips[i % 4]);
		if (vdb_virtio_restore(rig.device, state, len)) {
			refused++;
			ck_assert_uint_eq(virtio_rig_status(&rig), 0);
			ck_assert(!vdb__virtio_queue_enabled(rig.device, 1));
		} else {
			resume();
			virtio_rig_reset(&rig);
		}
		state[i / 4] = old;
	}
	ck_assert_uint_gt(refused, 100);
	virtio_rig_up(&rig, 0, 1);
	virtio_rig_echo(&rig, 0);
	free(state);
}
END_TEST

int main(void)
{
	const int n = sizeof(layouts) / sizeof(layouts[0]);
	TCase *tc = tcase_create("state");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g80_nothing_is_taken_or_lost_while_quiesced, 0, n);
	tcase_add_test(tc, quiesce_waits_for_what_is_in_flight);
	tcase_add_test(tc, a_driver_may_reset_and_come_again_while_quiesced);
	tcase_add_loop_test(tc, g80_another_device_goes_on, 0, n);
	tcase_add_test(tc, only_when_quiesced_and_fresh);
	tcase_add_test(tc, g80_crafted_states_do_no_harm);
	return test_run("virtio_state", tc);
}
