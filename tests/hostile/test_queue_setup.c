/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Queues as no driver sets them up, and resets without end, on a loop with a neighbour: G4, G6, G12, G34. */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "base/atomic.h"
#include "run.h"
#include "virtio_rig.h"

#define AT 0x1000u

static struct virtio_rig rig;

static void setup(void)
{
	virtio_rig_open(&rig, NULL);
	arena_begin(rig.loop);
}

static void teardown(void)
{
	virtio_rig_release(&rig);
	virtio_rig_reset(&rig);
	arena_end();
	virtio_rig_close(&rig);
}

static void ring_queue(uint32_t queue)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(rig.kick[queue], &one, sizeof(one)), sizeof(one));
}

static uint64_t feature_of(int layout)
{
	return VRIG_V1 | (layout ? VRIG_BIT(VIRTIO_F_RING_PACKED) : 0);
}

/* What a guest may find in memory that is three things at once. */
static void scribble(uint64_t *x)
{
	uint64_t *words = mock_at(&rig.ram, AT);

	for (unsigned i = 0; i < 256; i++) {
		*x ^= *x << 13;
		*x ^= *x >> 7;
		*x ^= *x << 17;
		vdb__store(&words[i], i % 2 ? *x & 0x000300030000ffff : *x & 0xffff);
	}
}

/* Two queues whose areas are the same, or lie over each other: it is all the guest's own. */
START_TEST(g4_rings_over_each_other)
{
	static const struct vdb_virtq_config over[] = {
	        {.entries = 16, .desc = AT, .driver = AT, .device = AT},
	        {.entries = 16, .desc = AT, .driver = AT + 16, .device = AT + 32},
	        {.entries = 64, .desc = AT + 256, .driver = AT + 4, .device = AT + 128},
	};
	uint64_t x = 88172645463325252ull;

	for (unsigned i = 0; i < 12; i++) {
		virtio_rig_negotiate(&rig, feature_of(_i));
		for (uint32_t queue = 0; queue < 2; queue++) {
			virtio_rig_place(&rig, queue, &over[i % 3]);
			vdb__virtio_queue_enable(rig.device, queue);
			ck_assert(vdb__virtio_queue_enabled(rig.device, queue));
		}
		scribble(&x);
		virtio_rig_ok(&rig);
		for (unsigned round = 0; round < 20; round++) {
			scribble(&x);
			ring_queue(0);
			ring_queue(1);
			sched_yield();
		}
		virtio_rig_reset(&rig);
	}
	arena_goes_on();
}
END_TEST

START_TEST(g6_ready_without_addresses)
{
	for (uint32_t round = 0; round < 5; round++) {
		virtio_rig_negotiate(&rig, feature_of(_i));
		for (uint32_t queue = 0; queue < VRIG_QUEUES; queue++)
			vdb__virtio_queue_enable(rig.device, queue);
		virtio_rig_set(&rig, 0xf);
		for (uint32_t queue = 0; queue < VRIG_QUEUES; queue++)
			ring_queue(queue);
		arena_goes_on();
	}
	virtio_rig_up(&rig, 0, 1);
	virtio_rig_echo(&rig, 0);
}
END_TEST

/* ---- G12 ---- */

static uint32_t stop;

static void *kick_all(void *arg)
{
	uint64_t kicks = 0;

	(void)arg;
	for (; !vdb__load(&stop); kicks++) {
		ring_queue((uint32_t)(kicks % 2));
		if (kicks % 16 == 0)
			sched_yield();
	}
	return NULL;
}

/* Every life is reset while its requests are under way, and another vCPU never stops ringing. */
START_TEST(g12_resets_without_end_beside_kicks)
{
	static const uint64_t lives[] = {0, VRIG_BIT(VIRTIO_F_RING_PACKED),
	                                 VRIG_BIT(VIRTIO_RING_F_EVENT_IDX)};
	unsigned rounds = getenv("VDB_TEST_LONG") ? 10000 : 400;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, kick_all, NULL), 0);
	for (unsigned i = 0; i < rounds; i++) {
		virtio_rig_up(&rig, lives[i % 3], 2);
		for (uint64_t n = 0; n < i % 5; n++) {
			virtio_rig_send(&rig, 0, n);
			virtio_rig_send(&rig, 1, n);
		}
		virtio_rig_reset(&rig);
	}
	arena_goes_on();
	vdb__store(&stop, 1u);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(rig.breaks, 0);
	virtio_rig_up(&rig, 0, 2);
	virtio_rig_echo(&rig, 0);
	virtio_rig_echo(&rig, 1);
}
END_TEST

/* Head 0 of each: they have nothing to do with each other. */
START_TEST(g34_the_same_head_on_two_queues)
{
	virtio_rig_up(&rig, _i ? VRIG_BIT(VIRTIO_F_RING_PACKED) : 0, 2);
	__atomic_store_n(&rig.echo.hold, true, __ATOMIC_RELEASE);
	virtio_rig_send(&rig, 0, 1);
	virtio_rig_send(&rig, 1, 2);
	virtio_rig_wait(&rig.echo.held, 2);
	virtio_rig_release(&rig);
	virtio_rig_receive(&rig, 0, 1);
	virtio_rig_receive(&rig, 1, 2);
	ck_assert_uint_eq(rig.breaks, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("queue_setup");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g4_rings_over_each_other, 0, 2);
	tcase_add_loop_test(tc, g6_ready_without_addresses, 0, 2);
	tcase_add_test(tc, g12_resets_without_end_beside_kicks);
	tcase_add_loop_test(tc, g34_the_same_head_on_two_queues, 0, 2);
	return test_run("queue_setup", tc);
}
