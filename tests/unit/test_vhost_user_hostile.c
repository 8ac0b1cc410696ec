/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* TIMEOUT: 300 */
/* WRAP: poll */
/*
 * HOSTILE F20: a vhost-user back end that dies, stalls, sends garbage or fds that nobody asked for, at each
 * request that there is. The guest finds a device that needs a reset, no fd is left, no loop waits; and with
 * another back end the device works again.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "run.h"
#include "vu_rig.h"

#define PATIENCE 30000u /* ms */

static struct virtio_rig *rig = &vu_rig.rig;
static struct vu_backend *vu = &vu_rig.vu;

/* ---- Time ---- */

int __real_poll(struct pollfd *fds, nfds_t n, int ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int ms);

static uint32_t waited_out; /* of the times that it said nothing */

/* Of an answer that does not come, the front end's patience ends as soon as it is certain that it does not.
 */
int __wrap_poll(struct pollfd *fds, nfds_t n, int ms)
{
	uint32_t hangs;
	int rc = 0;

	if (ms < 1000)
		return __real_poll(fds, n, ms);
	for (int left = ms; !rc && left > 0; left -= 5) {
		rc = __real_poll(fds, n, 5);
		hangs = vdb__load_acquire(&vu->hangs);
		if (!rc && vdb__exchange(&waited_out, hangs) != hangs)
			break;
	}
	return rc;
}

/* ---- What is seen of it ---- */

static bool needs_reset(void)
{
	return virtio_rig_status(rig) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* The loop of the device is at work, whatever the back end does: its posts are run. */
static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void loop_works(void)
{
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(vdb_loop_call(rig->loop, nothing, NULL), 0);
}

static void wait_broken(void)
{
	for (int i = 0; i < 300000 && !needs_reset(); i++) {
		if (i % 1000 == 0)
			loop_works();
		usleep(100);
	}
	ck_assert(needs_reset());
}

/* Everything that the first connection had is closed: as many fds as when the second was fresh. */
static void works_again(void)
{
	vu_rig_wait_connected(true);
	virtio_rig_up(rig, 0, 2);
	virtio_rig_echo(rig, 0);
	virtio_rig_echo(rig, 1);
}

/* It may be broken as soon as it is up. */
static void start(void)
{
	virtio_rig_negotiate(rig, VRIG_V1);
	virtio_rig_queue(rig, 0, 16);
	virtio_rig_queue(rig, 1, 16);
	virtio_rig_set(rig, 0xf);
}

/* The back end has heard of it. */
static void reset_and_said(void)
{
	virtio_rig_reset(rig);
	vu_rig_wait_connected(true);
	for (int i = 0; i < 300000 && __atomic_load_n(&vu->status, __ATOMIC_ACQUIRE); i++)
		usleep(100);
	ck_assert_uint_eq(vdb__load(&vu->status), 0);
}

static const uint32_t at_start[] = {
        VU_SET_FEATURES,   VU_SET_STATUS,     VU_GET_STATUS,    VU_SET_VRING_NUM,  VU_SET_VRING_BASE,
        VU_SET_VRING_ADDR, VU_SET_VRING_CALL, VU_SET_VRING_ERR, VU_SET_VRING_KICK, VU_SET_VRING_ENABLE};
static const uint32_t at_connect[] = {VU_GET_FEATURES,  VU_GET_PROTOCOL_FEATURES, VU_SET_PROTOCOL_FEATURES,
                                      VU_GET_QUEUE_NUM, VU_SET_CHANNEL,           VU_SET_OWNER,
                                      VU_GET_CONFIG};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static void open_rig(void)
{
	vu->protocol = VU_ALL & ~(1ull << VU_P_INFLIGHT);
	vu_rig_open(&(struct vdb_vhost_user_config){
	        .config_len = VU_CONFIG, .timeout_ms = PATIENCE, .reconnect_ms = 20});
}

static uint32_t fds_of_a_life(void)
{
	works_again();
	vu_rig_quiesce(); /* nothing is on its way then */
	vu_rig_resume();
	virtio_rig_echo(rig, 0);
	virtio_rig_echo(rig, 1);
	return vu_rig_fds();
}

/* What the back end has, in the same process, it closes when it comes to it. */
static void lives_with_fds(uint32_t fds)
{
	(void)fds_of_a_life();
	for (int i = 0; i < 100000 && vu_rig_fds() != fds; i++)
		usleep(100);
	ck_assert_uint_eq(vu_rig_fds(), fds);
}

/* One fault at each request of a start. */
static void spoil_starts(enum vu_fault fault)
{
	uint32_t fds;

	open_rig();
	fds = fds_of_a_life();
	for (uint32_t i = 0; i < COUNT(at_start); i++) {
		reset_and_said();
		vu_spoil(vu, at_start[i], fault);
		start();
		virtio_rig_wait(&vu->faults, i + 1);
		if (fault == VU_GIVES && at_start[i] != VU_GET_STATUS) {
			virtio_rig_echo(rig, 0); /* an answer all the same */
			continue;
		}
		wait_broken();
		virtio_rig_wait(&rig->breaks, 1);
		ck_assert_uint_eq(vdb__load(&rig->reason), VDB_REASON_HOST);
		works_again();
	}
	vu_rig_wait_connected(true);
	works_again();
	lives_with_fds(fds);
	vu_rig_close();
}

START_TEST(f20_it_is_bad_at_the_start_of_queues)
{
	static const enum vu_fault faults[] = {VU_DIES, VU_BABBLES, VU_MISTAKES, VU_SHORT,
	                                       VU_HUGE, VU_GIVES,   VU_FLOODS,   VU_REFUSES};

	spoil_starts(faults[_i]);
}
END_TEST

START_TEST(f20_it_says_nothing_at_the_start_of_queues)
{
	open_rig();
	for (uint32_t i = 0; i < COUNT(at_start); i++) {
		works_again();
		reset_and_said();
		vu_spoil(vu, at_start[i], VU_HANGS);
		start();
		wait_broken();
	}
	works_again();
	vu_rig_close();
}
END_TEST

/* A reset is over all the same, after a while, and the loop has done its work meanwhile. */
START_TEST(f20_it_is_bad_when_queues_stop)
{
	struct vdb_gate *gate;
	int64_t result;

	open_rig();
	works_again();
	vu_spoil(vu, VU_GET_VRING_BASE, (enum vu_fault)_i);
	vdb__virtio_set_status(rig->device, 0, &gate);
	loop_works();
	if (gate)
		ck_assert_int_eq(vdb_gate_wait(gate, 30000000000, &result), 0);
	vdb_gate_unref(gate);
	ck_assert_uint_eq(virtio_rig_status(rig), 0);
	ck_assert_uint_eq(vdb__load(&rig->breaks), 0);
	works_again();
	vu_rig_close();
}
END_TEST

START_TEST(f20_a_quiesce_without_an_answer_ends_where_the_driver_can_tell)
{
	open_rig();
	works_again();
	vu_spoil(vu, VU_GET_VRING_BASE, VU_DIES);
	vu_rig_quiesce();
	vu_rig_wait_connected(true);
	virtio_rig_send(rig, 0, 4711);
	vu_rig_resume();
	virtio_rig_receive(rig, 0, 4711);
	vu_rig_close();
}
END_TEST

START_TEST(f20_it_is_bad_at_a_reset)
{
	open_rig();
	works_again();
	virtio_rig_reset(rig);
	works_again();
	vu_spoil(vu, VU_SET_STATUS, (enum vu_fault)_i); /* which is what a reset says */
	virtio_rig_reset(rig);
	if (_i != VU_GIVES)
		virtio_rig_wait(&vu->connections, 2);
	works_again();
	vu_rig_close();
}
END_TEST

START_TEST(f20_it_is_bad_when_memory_comes)
{
	const struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = 1 << 20, .len = 1 << 16, .backing = VDB_MEM_MEMFD};

	open_rig();
	works_again();
	vu_spoil(vu, VU_SET_MEM_TABLE, (enum vu_fault)_i);
	ck_assert_int_eq(vdb_mem_add(rig->ram.mem, &region), 0);
	if (_i != VU_GIVES)
		wait_broken();
	works_again();
	vu_rig_close();
}
END_TEST

/* It speaks out of turn: what it says, and fds that it gives, are got rid of, and so is it. */
START_TEST(f20_it_babbles_when_it_was_not_asked)
{
	uint32_t fds;

	open_rig();
	fds = fds_of_a_life();
	vu_spoil(vu, VU_SET_CONFIG, VU_FLOODS);
	vdb__virtio_config_write(rig->device, 20, "x", 1);
	wait_broken();
	lives_with_fds(fds);
	vu_rig_close();
}
END_TEST

START_TEST(f20_it_dies_while_nothing_happens)
{
	open_rig();
	works_again();
	vu_drop(vu);
	wait_broken();
	works_again();
	virtio_rig_reset(rig);
	vu_drop(vu);
	virtio_rig_wait(&vu->connections, 3);
	works_again();
	vu_rig_close();
}
END_TEST

/* ---- When the device is made ---- */

static int make(uint32_t timeout_ms, struct vdb_virtio **device)
{
	const struct vdb_virtio_config at = {
	        .size = sizeof(at), .mem = rig->ram.mem, .loop = rig->loop, .broken_arg = rig};
	const struct vdb_vhost_user_config config = {.size = sizeof(config),
	                                             .at = &at,
	                                             .device_id = VIRTIO_ECHO,
	                                             .path = vu->path,
	                                             .config_len = VU_CONFIG,
	                                             .timeout_ms = timeout_ms};

	return vdb_vhost_user_create(&config, device);
}

START_TEST(f20_it_is_bad_from_the_beginning)
{
	struct vdb_virtio *device = NULL;
	uint32_t fds;

	open_rig();
	works_again();
	virtio_rig_unplug(rig);
	vu_settle(vu);
	fds = vu_rig_fds();
	for (uint32_t i = 0; i < COUNT(at_connect); i++) {
		vu_spoil(vu, at_connect[i], (enum vu_fault)_i);
		if (make(PATIENCE, &device) == 0) {
			ck_assert_int_eq(_i, VU_GIVES); /* fds beside an answer that it would have given */
			rig->device = device;
			virtio_rig_attach(rig);
			works_again();
			virtio_rig_unplug(rig);
		} else {
			ck_assert_str_ne(vdb_errmsg(), "");
		}
		vu_settle(vu);
		ck_assert_msg(vu_rig_fds() == fds, "request %u: %u fds, not %u", at_connect[i], vu_rig_fds(),
		              fds);
	}
	vu_rig_close();
}
END_TEST

/* It has all the time to speak, and none to answer. */
START_TEST(f20_chatter_is_no_answer)
{
	struct vdb_virtio *device = NULL;
	uint32_t fds;

	open_rig();
	works_again();
	virtio_rig_unplug(rig);
	vu_settle(vu);
	fds = vu_rig_fds();
	vu_spoil(vu, VU_SET_OWNER, VU_CHATTERS);
	ck_assert_int_eq(make(500, &device), -ETIMEDOUT);
	vu_settle(vu);
	ck_assert_uint_eq(vu_rig_fds(), fds);
	vu_rig_close();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vhost_user_hostile");

	tcase_add_loop_test(tc, f20_it_is_bad_at_the_start_of_queues, 0, 8);
	tcase_add_test(tc, f20_it_says_nothing_at_the_start_of_queues);
	tcase_add_loop_test(tc, f20_it_is_bad_when_queues_stop, VU_DIES, VU_FAULTS);
	tcase_add_test(tc, f20_a_quiesce_without_an_answer_ends_where_the_driver_can_tell);
	tcase_add_loop_test(tc, f20_it_is_bad_at_a_reset, VU_DIES, VU_FAULTS);
	tcase_add_loop_test(tc, f20_it_is_bad_when_memory_comes, VU_DIES, VU_FAULTS);
	tcase_add_test(tc, f20_it_babbles_when_it_was_not_asked);
	tcase_add_test(tc, f20_it_dies_while_nothing_happens);
	tcase_add_loop_test(tc, f20_it_is_bad_from_the_beginning, VU_DIES, VU_FAULTS);
	tcase_add_test(tc, f20_chatter_is_no_answer);
	return test_run_within("vhost_user_hostile", tc, 120);
}
