/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* G73: a guest that wants gigabytes of entropy, in every slot of its ring, on a loop with a neighbour. */
#include "arena.h"
#include "ready_rig.h"
#include "run.h"

#define MOST 65536u /* of one request */
#define PIECES 16u
#define ENTRIES 256u
#define ALL (VRIG_MAX_QUEUES * VRIG_STRIDE - VRIG_DATA)

static struct virtio_rig rig;

static void setup(void)
{
	struct vdb_virtio_config at = ready_rig_open(&rig);
	struct vdb_virtio *device = NULL;

	ck_assert_msg(vdb_rng_create(&at, &device) == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&rig, device);
	virtio_rig_negotiate(&rig, VRIG_V1);
	virtio_rig_queue(&rig, 0, ENTRIES);
	virtio_rig_ok(&rig);
	arena_begin(rig.loop);
	arena_largest(PIECES * (uint64_t)ALL); /* it pays for what it asks for, not for what it gets */
}

static void teardown(void)
{
	arena_end();
	virtio_rig_close(&rig);
}

/* Each descriptor names all of memory behind the rings. */
static void ask(uint32_t cookie, uint32_t len)
{
	struct virtq_buf bufs[PIECES];

	for (uint32_t i = 0; i < PIECES; i++)
		bufs[i] = (struct virtq_buf){ready_rig_data(0, 0), len, true};
	ck_assert(virtq_add(&rig.driver[0], bufs, PIECES, cookie));
}

/* As many as the ring has room for, again and again. */
static void flood(uint32_t len, uint32_t most)
{
	uint32_t used;

	for (uint32_t round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < ENTRIES / PIECES; i++)
			ask(i, len);
		(void)virtq_publish(&rig.driver[0]);
		for (uint32_t i = 0; i < ENTRIES / PIECES; i++) {
			ck_assert_uint_eq(ready_rig_reap(&rig, 0, &used), i);
			ck_assert_uint_eq(used, most);
		}
		if (round % 5 == 0)
			arena_goes_on();
	}
}

START_TEST(g73_all_of_memory_in_every_slot)
{
	flood(ALL, MOST);
}
END_TEST

/* 16 times 4 GiB, which nobody has. */
START_TEST(g73_sixty_four_gigabytes_in_every_slot)
{
	flood(UINT32_MAX, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("rng");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, g73_all_of_memory_in_every_slot);
	tcase_add_test(tc, g73_sixty_four_gigabytes_in_every_slot);
	return test_run("rng", tc);
}
