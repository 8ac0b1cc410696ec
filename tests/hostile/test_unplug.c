/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* G74: memory is unplugged under requests, and other memory comes in its place: what is in flight ends in the
 * old one, which stays for as long; what comes later finds what is there then. */
#include <string.h>
#include <sys/mman.h>
#include <vdb/error.h>

#include "arena.h"
#include "blk_rig.h"
#include "run.h"

#define SIZE 65536u
#define DIMM 0x100000000ull /* gpa */
#define BYTES 0x10000u

static struct blk_rig rig;
static struct rig_hold hold;
static uint8_t *host[2];

static void *pages(void)
{
	void *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	return at;
}

static void plug(int i)
{
	const struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = DIMM, .len = BYTES, .backing = VDB_MEM_HOST, .host = host[i]};

	memset(host[i], 0x11 * (i + 1), BYTES);
	ck_assert_msg(vdb_mem_add(rig.v.ram.mem, &region) == 0, "%s", vdb_errmsg());
}

static void setup(void)
{
	struct vdb_backend_info info = {.size = sizeof(info), .capacity = SIZE, .ops = 0x3e};
	struct vdb_backend *backend = NULL;

	memset(&hold, 0, sizeof(hold));
	ck_assert_int_eq(vdb_backend_create(&rig_hold_ops, &hold, &info, &backend), 0);
	blk_rig_open(&rig, backend, 0, BLK_ALL, NULL);
	vdb_backend_destroy(backend);
	for (int i = 0; i < 2; i++)
		host[i] = pages();
	plug(0);
	arena_begin(rig.v.rig.loop);
}

static void teardown(void)
{
	arena_end();
	blk_rig_close(&rig);
	for (int i = 0; i < 2; i++)
		munmap(host[i], BYTES);
}

static bool all(int i, uint8_t byte)
{
	return host[i][0] == byte && !memcmp(host[i], host[i] + 1, BYTES - 1);
}

static void gone(void *arg)
{
	++*(int *)arg;
}

static void submit(uint32_t type, vdb_gpa_t data, vdb_gpa_t status)
{
	const struct virtq_buf bufs[] = {
	        {BLK_HEADER, 16, false}, {data, 4096, type == VIRTIO_BLK_T_IN}, {status, 1, true}};

	blk_header(&rig, type, 0);
	ck_assert(virtq_add(&rig.v.d, bufs, 3, 1));
	(void)virtq_publish(&rig.v.d);
}

static uint8_t outcome(void)
{
	(void)vrig_reap(&rig.v, NULL);
	return *(uint8_t *)vrig_at(&rig.v, BLK_STATUS);
}

/* The read's bytes are in the old pages, which are not given back before; the new ones have none of them. */
START_TEST(g74_unplugged_under_a_read)
{
	int removed = 0;

	submit(VIRTIO_BLK_T_IN, DIMM + 4096, BLK_STATUS);
	RIG_UNTIL(&rig.v.rig, hold.n == 1);
	ck_assert_int_eq(vdb_mem_remove(rig.v.ram.mem, DIMM, gone, &removed), 0);
	rig_turns(&rig.v.rig, 10);
	ck_assert_int_eq(removed, 0);
	plug(1);
	arena_goes_on();
	ck_assert_int_eq(removed, 0);
	rig_hold_end(&hold, 4096, 0x77);
	ck_assert_uint_eq(outcome(), VIRTIO_BLK_S_OK);
	RIG_UNTIL(&rig.v.rig, removed == 1);
	ck_assert(all(1, 0x22));
	ck_assert_uint_eq(host[0][4096], 0x77);
	ck_assert_uint_eq(host[0][4095], 0x11);
	ck_assert_uint_eq(host[0][8192], 0x11);
}
END_TEST

/* So is its status, if it was to go there. */
START_TEST(g74_unplugged_under_a_status)
{
	int removed = 0;

	submit(VIRTIO_BLK_T_IN, BLK_DATA, DIMM + 100);
	RIG_UNTIL(&rig.v.rig, hold.n == 1);
	ck_assert_int_eq(vdb_mem_remove(rig.v.ram.mem, DIMM, gone, &removed), 0);
	plug(1);
	rig_hold_end(&hold, 4096, 0x77);
	(void)vrig_reap(&rig.v, NULL);
	RIG_UNTIL(&rig.v.rig, removed == 1);
	ck_assert(all(1, 0x22));
	ck_assert_uint_eq(rig.v.broken, 0);
}
END_TEST

/* What comes after is refused, and then served by what is there. */
START_TEST(g74_requests_to_where_memory_was)
{
	int removed = 0;

	ck_assert_int_eq(vdb_mem_remove(rig.v.ram.mem, DIMM, gone, &removed), 0);
	RIG_UNTIL(&rig.v.rig, removed == 1);
	for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
		submit(type, DIMM, BLK_STATUS);
		ck_assert_uint_eq(outcome(), VIRTIO_BLK_S_IOERR);
	}
	ck_assert_uint_eq(hold.n, 0);
	ck_assert(all(0, 0x11));
	plug(1);
	submit(VIRTIO_BLK_T_IN, DIMM, BLK_STATUS);
	RIG_UNTIL(&rig.v.rig, hold.n == 1);
	rig_hold_end(&hold, 4096, 0x66);
	ck_assert_uint_eq(outcome(), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(host[1][0], 0x66);
	ck_assert(all(0, 0x11));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("unplug");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, g74_unplugged_under_a_read);
	tcase_add_test(tc, g74_unplugged_under_a_status);
	tcase_add_test(tc, g74_requests_to_where_memory_was);
	return test_run("unplug", tc);
}
