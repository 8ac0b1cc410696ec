/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* virtio-pmem's one request in every shape, on every kind of region, and regions that cannot be one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ready_rig.h"
#include "run.h"

#define V1 VRIG_V1
#define GPA UINT64_C(0x80000000)
#define LEN ((uint64_t)VDB_PMEM_ALIGN)
#define OK 0u
#define FAILED 0xffffffffu

static struct virtio_rig rig;
static struct vdb_virtio_config at;

static void add(const struct vdb_region_config *like, int fd)
{
	struct vdb_region_config region = *like;

	region.size = sizeof(region);
	region.gpa = region.gpa ? region.gpa : GPA;
	region.len = region.len ? region.len : LEN;
	region.fd = fd;
	ck_assert_msg(vdb_mem_add(rig.ram.mem, &region) == 0, "%s", vdb_errmsg());
}

static int make(vdb_gpa_t gpa, struct vdb_virtio **device)
{
	return vdb_pmem_create(
	        &(struct vdb_pmem_config){.size = sizeof(struct vdb_pmem_config), .at = &at, .gpa = gpa},
	        device);
}

/* An image; all that is known of it is its fd. */
static int image(void)
{
	char path[] = "pmem-image-XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)LEN), 0);
	return fd;
}

static void open_on(const struct vdb_region_config *region, int fd)
{
	struct vdb_virtio *device = NULL;

	at = ready_rig_open(&rig);
	add(region, fd);
	if (fd >= 0)
		close(fd); /* the region has its own */
	ck_assert_msg(make(GPA, &device) == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&rig, device);
}

static void *data(uint32_t offset)
{
	return mock_at(&rig.ram, ready_rig_data(0, offset));
}

/* Type at 0, answer at 64, each as it is cut here. Returns the answer. */
static uint32_t ask(uint32_t type, const struct virtq_buf *bufs, uint32_t n, uint32_t expect_len)
{
	uint32_t answer = 0x12345678, len = 0;

	memcpy(data(0), &type, sizeof(type));
	memcpy(data(64), &answer, sizeof(answer));
	ck_assert(virtq_add(&rig.driver[0], bufs, n, 7));
	(void)virtq_publish(&rig.driver[0]);
	ck_assert_uint_eq(ready_rig_reap(&rig, 0, &len), 7);
	ck_assert_uint_eq(len, expect_len);
	memcpy(&answer, data(64), sizeof(answer));
	return answer;
}

static struct virtq_buf out(uint32_t offset, uint32_t len)
{
	return (struct virtq_buf){ready_rig_data(0, offset), len, false};
}

static struct virtq_buf in(uint32_t offset, uint32_t len)
{
	return (struct virtq_buf){ready_rig_data(0, offset), len, true};
}

static void flush(void)
{
	const struct virtq_buf bufs[] = {out(0, 4), in(64, 4)};

	ck_assert_uint_eq(ask(0, bufs, 2, 4), OK);
}

START_TEST(every_kind_of_region)
{
	static const struct vdb_region_config kinds[] = {
	        {.backing = VDB_MEM_FD},
	        {.backing = VDB_MEM_FD, .flags = VDB_REGION_PRIVATE},
	        {.backing = VDB_MEM_FD, .flags = VDB_REGION_READONLY},
	        {.backing = VDB_MEM_MEMFD},
	        {.backing = VDB_MEM_ANON},
	};
	const struct vdb_region_config *kind = &kinds[_i / 2];
	struct vdb_loop_stats before = {.size = sizeof(before)}, after = before;
	uint64_t word = 0;

	open_on(kind, kind->backing == VDB_MEM_FD ? image() : -1);
	vdb__virtio_config_read(rig.device, 0, &word, 8);
	ck_assert_uint_eq(word, GPA);
	vdb__virtio_config_read(rig.device, 8, &word, 8);
	ck_assert_uint_eq(word, LEN);
	virtio_rig_up(&rig, V1 | (_i % 2 ? VRIG_BIT(VIRTIO_F_RING_PACKED) : 0), 1);
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &before), 0);
	flush();
	ck_assert_int_eq(vdb_loop_stats(rig.loop, &after), 0);
	/* Where something outlives the VM, the host was asked to keep it. */
	ck_assert_uint_eq(after.ios - before.ios, kind->backing != VDB_MEM_ANON && !kind->flags);
	virtio_rig_close(&rig);
}
END_TEST

START_TEST(g50_pmem_requests_of_any_shape)
{
	const struct virtq_buf cut[] = {out(0, 1), out(1, 3), in(64, 3), in(67, 1)};
	const struct virtq_buf large[] = {out(0, 60), in(64, 100)};
	const struct virtq_buf second[] = {out(0, 4), in(64, 1), in(65, 9)};
	const struct virtq_buf brief[] = {out(0, 3), in(64, 4)};
	const struct virtq_buf none[] = {in(64, 4)};

	open_on(&(struct vdb_region_config){.backing = VDB_MEM_FD}, image());
	virtio_rig_up(&rig, V1, 1);
	ck_assert_uint_eq(ask(0, cut, 4, 4), OK);
	ck_assert_uint_eq(ask(0, large, 2, 4), OK);
	ck_assert_uint_eq(ask(0, second, 3, 4), OK);
	ck_assert_uint_eq(ask(0, brief, 2, 4), FAILED);
	ck_assert_uint_eq(ask(0, none, 1, 4), FAILED);
	ck_assert_uint_eq(ask(1, large, 2, 4), FAILED);
	ck_assert_uint_eq(ask(UINT32_MAX, large, 2, 4), FAILED);
	flush();
	virtio_rig_close(&rig);
}
END_TEST

/* An answer that lies nowhere is not given; the device goes on. */
START_TEST(g43_pmem_an_answer_to_no_memory)
{
	const struct virtq_buf wild[] = {out(0, 4), {UINT64_C(0xdead0000), 4, true}};
	const struct virtq_buf half[] = {out(0, 4), in(64, 2), {UINT64_C(0xdead0000), 2, true}};

	open_on(&(struct vdb_region_config){.backing = VDB_MEM_ANON}, -1);
	virtio_rig_up(&rig, V1, 1);
	(void)ask(0, wild, 2, 0);
	(void)ask(0, half, 3, 2);
	flush();
	virtio_rig_close(&rig);
}
END_TEST

/* Nobody can be told: the queue is broken, and well again after a reset. */
START_TEST(g50_pmem_a_request_without_room_for_an_answer)
{
	const struct virtq_buf bad[][2] = {{out(0, 4), out(4, 4)}, {out(0, 4), in(64, 3)}};

	open_on(&(struct vdb_region_config){.backing = VDB_MEM_ANON}, -1);
	for (unsigned i = 0; i < 2; i++) {
		virtio_rig_up(&rig, V1, 1);
		ck_assert(virtq_add(&rig.driver[0], bad[i], 2, 7));
		(void)virtq_publish(&rig.driver[0]);
		virtio_rig_wait_status(&rig, VIRTIO_CONFIG_S_NEEDS_RESET);
	}
	virtio_rig_up(&rig, V1, 1);
	flush();
	virtio_rig_close(&rig);
}
END_TEST

START_TEST(regions_that_cannot_be_one)
{
	const struct vdb_region_config small = {.gpa = GPA, .len = VDB_PAGE_SIZE};
	const struct vdb_region_config crooked = {.gpa = GPA + LEN + VDB_PAGE_SIZE, .len = LEN};
	struct vdb_pmem_config config = {.size = sizeof(config), .at = &at, .gpa = GPA, .reserved = 1};
	struct vdb_virtio *device = NULL;

	at = ready_rig_open(&rig);
	ck_assert_int_eq(make(GPA, &device), -ENOENT);
	add(&small, -1);
	add(&crooked, -1);
	ck_assert_int_eq(make(GPA, &device), -EINVAL);
	ck_assert_int_eq(make(GPA + LEN + VDB_PAGE_SIZE, &device), -EINVAL);
	ck_assert_int_eq(make(GPA + LEN + 2 * VDB_PAGE_SIZE, &device), -ENOENT);
	ck_assert_int_eq(vdb_pmem_create(&config, &device), -EINVAL);
	config.reserved = 0;
	config.at = NULL;
	ck_assert_int_eq(vdb_pmem_create(&config, &device), -EINVAL);
	at.mem = NULL;
	ck_assert_int_eq(make(GPA, &device), -EINVAL);
	ck_assert_ptr_null(device);
	virtio_rig_close(&rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("pmem");

	tcase_add_loop_test(tc, every_kind_of_region, 0, 10);
	tcase_add_test(tc, g50_pmem_requests_of_any_shape);
	tcase_add_test(tc, g43_pmem_an_answer_to_no_memory);
	tcase_add_test(tc, g50_pmem_a_request_without_room_for_an_answer);
	tcase_add_test(tc, regions_that_cannot_be_one);
	return test_run("pmem", tc);
}
