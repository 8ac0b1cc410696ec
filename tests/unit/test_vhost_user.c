/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* A device whose queues another process serves: what it does when both sides are well. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "run.h"
#include "vu_rig.h"

static struct virtio_rig *rig = &vu_rig.rig;
static struct vu_backend *vu = &vu_rig.vu;

static uint32_t asked(uint32_t request)
{
	return __atomic_load_n(&vu->asked[request], __ATOMIC_ACQUIRE);
}

static const uint64_t layouts[] = {
        0,
        VRIG_BIT(VIRTIO_RING_F_EVENT_IDX) | VRIG_BIT(VIRTIO_RING_F_INDIRECT_DESC),
        VRIG_BIT(VIRTIO_F_RING_PACKED),
        VRIG_BIT(VIRTIO_F_RING_PACKED) | VRIG_BIT(VIRTIO_RING_F_EVENT_IDX),
};

START_TEST(requests_go_there_and_back)
{
	vu_rig_open(NULL);
	virtio_rig_up(rig, layouts[_i], VU_QUEUES);
	for (uint32_t i = 0; i < 200; i++)
		virtio_rig_echo(rig, i % VU_QUEUES);
	ck_assert_uint_eq(vdb__load(&vu->echo.served), 200);
	ck_assert_uint_eq(vdb__load(&vu->agreed) & ~VRIG_BIT(30), layouts[_i] | VRIG_V1);
	virtio_rig_wait(&rig->interrupts[0], 1);
	vu_rig_close();
}
END_TEST

/* Without any protocol features; with each one alone; with all. */
START_TEST(whatever_the_back_end_can_do)
{
	static const uint64_t protocols[] = {0,
	                                     1ull << VU_P_MQ,
	                                     1ull << VU_P_REPLY_ACK,
	                                     1ull << VU_P_RESET_DEVICE,
	                                     1ull << VU_P_STATUS,
	                                     VU_ALL};

	vu->protocol = protocols[_i];
	vu->features = VRIG_V1 | (_i ? VRIG_BIT(30) : 0);
	vu_rig_open(NULL);
	for (int i = 0; i < 3; i++) {
		virtio_rig_up(rig, 0, 2);
		virtio_rig_echo(rig, 0);
		virtio_rig_echo(rig, 1);
	}
	vu_rig_close();
}
END_TEST

START_TEST(only_what_both_sides_have_is_offered)
{
	const uint64_t mine = 1ull << 60 | 1 << 5;
	struct vdb_virtio_info info = {.size = sizeof(info)};

	vu->features = VRIG_V1 | VRIG_BIT(30) | VRIG_BIT(26) | 1ull << 60 | 1ull << 61 | 1 << 5 | 1 << 6;
	vu_rig_open(&(struct vdb_vhost_user_config){.features = mine | 1 << 7});
	ck_assert_int_eq(vdb_virtio_query(rig->device, &info), 0);
	ck_assert_uint_eq(info.offered, VRIG_V1 | mine);
	virtio_rig_up(rig, mine, 1);
	virtio_rig_echo(rig, 0);
	ck_assert_uint_eq(vdb__load(&vu->agreed), VRIG_V1 | mine | VRIG_BIT(30));
	vu_rig_close();
}
END_TEST

START_TEST(it_is_stopped_and_goes_on)
{
	vu_rig_open(NULL);
	virtio_rig_up(rig, layouts[_i], 1);
	for (uint32_t i = 1; i < 20; i++) {
		virtio_rig_echo(rig, 0);
		vu_rig_quiesce();
		virtio_rig_send(rig, 0, i + 1000);
		ck_assert_uint_eq(vdb__load(&vu->echo.served), 2 * i - 1);
		vu_rig_resume();
		virtio_rig_receive(rig, 0, i + 1000);
	}
	ck_assert_uint_eq(asked(VU_SET_FEATURES), 1);
	ck_assert_uint_eq(asked(VU_SET_MEM_TABLE), 1);
	ck_assert_uint_eq(asked(VU_GET_VRING_BASE), 19);
	vu_rig_close();
}
END_TEST

START_TEST(a_reset_begins_anew)
{
	vu_rig_open(NULL);
	for (uint32_t i = 1; i < 5; i++) {
		virtio_rig_up(rig, layouts[i % 4], VU_QUEUES);
		virtio_rig_echo(rig, 3);
		ck_assert_uint_eq(asked(VU_SET_FEATURES), i);
	}
	virtio_rig_reset(rig);
	virtio_rig_wait(&vu->asked[VU_SET_STATUS], 4 * 2); /* DRIVER_OK may come too late to be said */
	ck_assert_uint_eq(asked(VU_GET_VRING_BASE), 4 * VU_QUEUES);
	vu_rig_close();
}
END_TEST

START_TEST(one_queue_is_reset_alone)
{
	struct vdb_gate *gate;
	int64_t result;

	vu_rig_open(NULL);
	virtio_rig_up(rig, VRIG_BIT(VRIG_RING_RESET), 2);
	virtio_rig_echo(rig, 0);
	vdb__virtio_queue_reset(rig->device, 0, &gate);
	if (gate)
		ck_assert_int_eq(vdb_gate_wait(gate, 20000000000, &result), 0);
	vdb_gate_unref(gate);
	virtio_rig_echo(rig, 1);
	virtio_rig_queue(rig, 0, 8);
	virtio_rig_echo(rig, 0);
	ck_assert_uint_eq(asked(VU_GET_VRING_BASE), 1);
	vu_rig_close();
}
END_TEST

/* ---- Memory ---- */

static void count_done(void *word)
{
	__atomic_fetch_add((uint32_t *)word, 1, __ATOMIC_ACQ_REL);
}

static int add_region(uint32_t backing, uint32_t flags, vdb_gpa_t gpa)
{
	const struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = gpa, .len = 1 << 16, .backing = backing, .flags = flags};

	return vdb_mem_add(rig->ram.mem, &region);
}

START_TEST(memory_comes_and_goes_while_it_runs)
{
	uint32_t gone = 0;

	vu->protocol = _i ? VU_ALL & ~(1ull << VU_P_REPLY_ACK) : VU_ALL;
	vu_rig_open(NULL);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	for (uint32_t i = 1; i < 8; i++) {
		ck_assert_int_eq(add_region(VDB_MEM_MEMFD, 0, i << 20), 0);
		virtio_rig_wait(&vu->regions_now, i + 1);
		virtio_rig_echo(rig, 0);
	}
	ck_assert_int_eq(add_region(VDB_MEM_MEMFD, 0, 8 << 20), -ENOSPC);
	for (uint32_t i = 1; i < 8; i++) {
		ck_assert_int_eq(vdb_mem_remove(rig->ram.mem, i << 20, count_done, &gone), 0);
		virtio_rig_wait(&gone, i); /* the back end has let go of it */
		ck_assert_uint_eq(__atomic_load_n(&vu->regions_now, __ATOMIC_ACQUIRE), 8 - i);
		virtio_rig_echo(rig, 0);
	}
	vu_rig_close();
}
END_TEST

START_TEST(memory_that_cannot_be_shared_is_refused)
{
	vu_rig_open(NULL);
	ck_assert_int_eq(add_region(VDB_MEM_ANON, 0, 1 << 20), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "0x100000"));
	ck_assert_int_eq(add_region(VDB_MEM_MEMFD, VDB_REGION_PRIVATE, 1 << 20), -EOPNOTSUPP);
	ck_assert_int_eq(add_region(VDB_MEM_ANON, VDB_REGION_READONLY, 1 << 20), 0);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	ck_assert_uint_eq(vdb__load(&vu->regions_now), 1);
	vu_rig_close();
}
END_TEST

/* ---- Config space ---- */

static uint8_t read_config(uint32_t offset)
{
	uint8_t byte;

	vdb__virtio_config_read(rig->device, offset, &byte, 1);
	return byte;
}

static void wait_config(uint32_t offset, uint8_t value)
{
	for (int i = 0; i < 200000 && read_config(offset) != value; i++)
		usleep(100);
	ck_assert_uint_eq(read_config(offset), value);
}

START_TEST(the_config_space_is_the_back_ends)
{
	const uint8_t seven = 7;

	vu->config[3] = 33;
	vu_rig_open(&(struct vdb_vhost_user_config){.config_len = VU_CONFIG});
	ck_assert_uint_eq(read_config(3), 33);
	virtio_rig_up(rig, 0, 1);
	vdb__virtio_config_write(rig->device, VU_CONFIG - 1, &seven, 1);
	wait_config(VU_CONFIG - 1, 7);
	ck_assert_uint_eq(vu->config[VU_CONFIG - 1], 7);
	vdb__virtio_config_write(rig->device, 3, &seven, 1); /* which it does not take */
	virtio_rig_wait(&vu->asked[VU_SET_CONFIG], 2);
	wait_config(3, 33);
	vu_renew(vu, 4, 44);
	wait_config(4, 44);
	virtio_rig_wait(&rig->config_interrupts, 1);
	virtio_rig_echo(rig, 0);
	vu_rig_close();
}
END_TEST

/* It may say so from the moment on when it has its channel: nobody but its creator is there to hear it yet.
 */
START_TEST(the_config_space_changes_while_it_connects)
{
	vu_spoil(vu, VU_GET_CONFIG, VU_HURRIES);
	vu_rig_open(&(struct vdb_vhost_user_config){.config_len = VU_CONFIG});
	virtio_rig_wait(&vu->asked[VU_GET_CONFIG], 2);
	wait_config(5, 55);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	vu_rig_close();
}
END_TEST

START_TEST(a_config_space_that_is_given_needs_no_asking)
{
	static const uint8_t bytes[] = {1, 2, 3, 4};
	const uint8_t nine = 9;

	vu_rig_open(&(struct vdb_vhost_user_config){.config = bytes, .config_len = sizeof(bytes)});
	ck_assert_uint_eq(read_config(3), 4);
	vdb__virtio_config_write(rig->device, 3, &nine, 1);
	ck_assert_uint_eq(read_config(3), 4);
	ck_assert_uint_eq(asked(VU_GET_CONFIG), 0);
	vu_rig_close();
}
END_TEST

/* ---- What else there is ---- */

START_TEST(it_has_as_many_queues_as_the_back_end)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	vu->queues = 3;
	vu_rig_open(&(struct vdb_vhost_user_config){.queues = 2});
	ck_assert_int_eq(vdb_virtio_query(rig->device, &info), 0);
	ck_assert_uint_eq(info.queues, 2);
	virtio_rig_up(rig, 0, 2);
	virtio_rig_echo(rig, 1);
	vu_rig_close();
}
END_TEST

START_TEST(a_socket_may_be_given)
{
	vu_rig.by_fd = true;
	vu_rig_open(NULL);
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	vu_rig_close();
}
END_TEST

START_TEST(the_channel_takes_nothing_that_is_not_known)
{
	uint32_t fds;

	vu_rig_open(&(struct vdb_vhost_user_config){.config_len = VU_CONFIG});
	virtio_rig_up(rig, 0, 1);
	virtio_rig_echo(rig, 0);
	fds = vu_rig_fds();
	ck_assert_uint_ne(vu_babble(vu), 0);
	ck_assert_uint_ne(vu_babble(vu), 0);
	ck_assert_uint_eq(vu_rig_fds(), fds);
	virtio_rig_echo(rig, 0);
	vu_rig_close();
}
END_TEST

START_TEST(a_ring_that_the_back_end_cannot_read_needs_a_reset)
{
	vu_rig_open(NULL);
	virtio_rig_up(rig, 0, 2);
	virtio_rig_echo(rig, 1);
	vu_give_up(vu, 1);
	virtio_rig_wait(&rig->breaks, 1);
	virtio_rig_wait_status(rig, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_rig_up(rig, 0, 2);
	virtio_rig_echo(rig, 1);
	vu_rig_close();
}
END_TEST

int main(void)
{
	const int n = sizeof(layouts) / sizeof(layouts[0]);
	TCase *tc = tcase_create("vhost_user");

	tcase_add_loop_test(tc, requests_go_there_and_back, 0, n);
	tcase_add_loop_test(tc, whatever_the_back_end_can_do, 0, 6);
	tcase_add_test(tc, only_what_both_sides_have_is_offered);
	tcase_add_loop_test(tc, it_is_stopped_and_goes_on, 0, n);
	tcase_add_test(tc, a_reset_begins_anew);
	tcase_add_test(tc, one_queue_is_reset_alone);
	tcase_add_loop_test(tc, memory_comes_and_goes_while_it_runs, 0, 2);
	tcase_add_test(tc, memory_that_cannot_be_shared_is_refused);
	tcase_add_test(tc, the_config_space_is_the_back_ends);
	tcase_add_test(tc, the_config_space_changes_while_it_connects);
	tcase_add_test(tc, a_config_space_that_is_given_needs_no_asking);
	tcase_add_test(tc, it_has_as_many_queues_as_the_back_end);
	tcase_add_test(tc, a_socket_may_be_given);
	tcase_add_test(tc, the_channel_takes_nothing_that_is_not_known);
	tcase_add_test(tc, a_ring_that_the_back_end_cannot_read_needs_a_reset);
	return test_run("vhost_user", tc);
}
