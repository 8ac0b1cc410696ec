/* SPDX-License-Identifier: Apache-2.0 */
/* G17: what a driver may not write of the configuration of any device stays, whatever is written, wherever it
 * begins and ends; and what it reads beyond is nothing. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arena.h"
#include "balloon_rig.h"
#include "net_rig.h"
#include "run.h"
#include "vsock_rig.h"

#define ROOM 0x1000u /* more than any configuration has */

static uint8_t before[ROOM], after[ROOM];

static uint8_t byte_of(struct vdb_virtio *device, uint64_t offset)
{
	uint8_t byte = 0xee;

	vdb__virtio_config_read(device, offset, &byte, 1);
	return byte;
}

static void look(struct vdb_virtio *device, uint8_t *to)
{
	for (uint32_t i = 0; i < ROOM; i++)
		to[i] = byte_of(device, i);
}

static const uint64_t far[] = {ROOM,           1ull << 31,     UINT32_MAX, 1ull << 32,
                               UINT64_MAX - 8, UINT64_MAX - 1, UINT64_MAX};

static void write_all(struct vdb_virtio *device, uint64_t value, uint32_t bytes)
{
	for (uint32_t len = 1; len <= 8; len++) {
		for (uint32_t offset = 0; offset < bytes + 16; offset++)
			vdb__virtio_config_write(device, offset, &value, len);
		for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
			vdb__virtio_config_write(device, far[i], &value, len);
	}
}

/* `bytes` of configuration, of which [from, to) are the driver's. */
static void check(struct vdb_virtio *device, uint32_t bytes, uint32_t from, uint32_t to)
{
	uint64_t value;

	look(device, before);
	write_all(device, UINT64_MAX, bytes);
	write_all(device, 0, bytes);
	look(device, after);
	memcpy(after + from, before + from, to - from);
	ck_assert(!memcmp(before, after, ROOM));
	for (uint32_t i = bytes; i < ROOM; i++)
		ck_assert_uint_eq(after[i], 0);
	/* Across the end, and nowhere near. */
	for (uint32_t len = 2; len <= 8; len *= 2) {
		value = UINT64_MAX;
		vdb__virtio_config_read(device, bytes - 1, &value, len);
		ck_assert_uint_eq(value << (64 - 8 * len), 0);
	}
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
		ck_assert_uint_eq(byte_of(device, far[i]), 0);
}

START_TEST(g17_the_configuration_of_a_network)
{
	struct net_rig r;

	net_rig_open(&r, &(struct net_rig_config){.offloads = 0x7f});
	net_rig_up(&r, VRIG_BIT(VIRTIO_NET_F_MAC) | VRIG_BIT(VIRTIO_NET_F_STATUS));
	arena_begin(r.v.loop);
	check(r.v.device, VDB__NET_CONFIG, 0, 0);
	arena_end();
	net_rig_close(&r);
}
END_TEST

START_TEST(g17_the_configuration_of_a_socket)
{
	struct vsock_rig v;

	vsock_rig_open(&v, NULL);
	arena_begin(v.rig.loop);
	check(v.rig.device, sizeof(struct virtio_vsock_config), 0, 0);
	arena_end();
	vsock_rig_close(&v);
}
END_TEST

/* `actual` and `poison_val` are the driver's. */
START_TEST(g17_the_configuration_of_a_balloon)
{
	struct balloon_rig b;

	balloon_rig_open(&b, NULL, NULL);
	virtio_rig_up(&b.rig, VRIG_V1, 2);
	arena_begin(b.rig.loop);
	ck_assert_int_eq(vdb_balloon_target(b.rig.device, 7 << 20), 0);
	check(b.rig.device, sizeof(struct virtio_balloon_config), 4, 16);
	arena_end();
	balloon_rig_close(&b);
}
END_TEST

START_TEST(g17_the_configuration_of_a_file_as_memory)
{
	struct vdb_region_config region = {.size = sizeof(region),
	                                   .gpa = UINT64_C(0x80000000),
	                                   .len = VDB_PMEM_ALIGN,
	                                   .backing = VDB_MEM_MEMFD};
	struct vdb_virtio *device = NULL;
	struct virtio_rig rig;
	struct vdb_virtio_config at = ready_rig_open(&rig);
	struct vdb_pmem_config config = {.size = sizeof(config), .at = &at, .gpa = region.gpa};

	ck_assert_int_eq(vdb_mem_add(rig.ram.mem, &region), 0);
	ck_assert_msg(vdb_pmem_create(&config, &device) == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&rig, device);
	virtio_rig_up(&rig, VRIG_V1, 1);
	arena_begin(rig.loop);
	check(device, 16, 0, 0);
	arena_end();
	virtio_rig_close(&rig);
}
END_TEST

START_TEST(g17_a_device_without_configuration)
{
	struct vdb_virtio *device = NULL;
	struct virtio_rig rig;
	struct vdb_virtio_config at = ready_rig_open(&rig);

	ck_assert_msg(vdb_rng_create(&at, &device) == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&rig, device);
	virtio_rig_up(&rig, VRIG_V1, 1);
	write_all(device, UINT64_MAX, 16);
	look(device, after);
	for (uint32_t i = 0; i < ROOM; i++)
		ck_assert_uint_eq(after[i], 0);
	virtio_rig_close(&rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("config_space");

	tcase_add_test(tc, g17_the_configuration_of_a_network);
	tcase_add_test(tc, g17_the_configuration_of_a_socket);
	tcase_add_test(tc, g17_the_configuration_of_a_balloon);
	tcase_add_test(tc, g17_the_configuration_of_a_file_as_memory);
	tcase_add_test(tc, g17_a_device_without_configuration);
	return test_run("config_space", tc);
}
