/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: calloc */
/* What a virtqueue's config may be, where its areas may lie, and where it goes on. */
#include <errno.h>
#include <string.h>
#include <vdb/error.h>

#include "run.h"
#include "virtq_pair.h"

#define RAM (1u << 20)
#define ROM 0x10000000u

static struct mock_ram ram;
static unsigned fail_after; /* 0: never */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	if (fail_after && --fail_after == 0) {
		errno = ENOMEM;
		return NULL;
	}
	return __real_calloc(n, size);
}

static void setup(void)
{
	struct vdb_region_config rom = {.size = sizeof(rom),
	                                .flags = VDB_REGION_READONLY,
	                                .gpa = ROM,
	                                .len = 1 << 16,
	                                .backing = VDB_MEM_ANON};

	mock_ram_open(&ram, 0, RAM);
	ck_assert_int_eq(vdb_mem_add(ram.mem, &rom), 0);
}

static void teardown(void)
{
	mock_ram_close(&ram);
}

static struct vdb_virtq_config good(bool packed)
{
	return (struct vdb_virtq_config){.size = sizeof(struct vdb_virtq_config),
	                                 .flags = packed ? VDB_VIRTQ_PACKED : 0,
	                                 .entries = 16,
	                                 .desc = 0x1000,
	                                 .driver = 0x2000,
	                                 .device = 0x3000};
}

static int create(const struct vdb_virtq_config *c)
{
	struct vdb_queue *queue = NULL;
	int err = vdb_virtq_create(ram.mem, c, &queue);

	ck_assert((err == 0) == (queue != NULL));
	if (err)
		ck_assert_int_ne(vdb_errmsg()[0], 0);
	vdb_queue_destroy(queue);
	return err;
}

#define TRY(packed, err, ...)                                           \
	do {                                                            \
		struct vdb_virtq_config c = good(packed);               \
                                                                        \
		__VA_ARGS__;                                            \
		ck_assert_msg(create(&c) == (err), "%s", #__VA_ARGS__); \
	} while (0)

START_TEST(g1_sizes)
{
	TRY(_i, -EINVAL, c.entries = 0);
	TRY(_i, -EINVAL, c.entries = 32769);
	TRY(_i, -EINVAL, c.entries = UINT32_MAX);
	TRY(_i, _i ? 0 : -EINVAL, c.entries = 3);
	TRY(_i, _i ? 0 : -EINVAL, c.entries = 32767; c.driver = 0x90000; c.device = 0xb0000);
	TRY(_i, 0, c.entries = 1);
	TRY(_i, 0, c.entries = 32768; c.driver = 0x90000; c.device = 0xb0000);
}
END_TEST

START_TEST(limits_and_flags)
{
	TRY(_i, 0, c.max_segments = 1024);
	TRY(_i, -EINVAL, c.max_segments = 1025);
	TRY(_i, 0, c.max_len = 0x7ffff000);
	TRY(_i, -EINVAL, c.max_len = 0x7ffff001);
	TRY(_i, -EINVAL, c.flags |= 1u << 5);
	TRY(_i, 0, c.flags |= 30);
	TRY(_i, -EINVAL, c.size = 2);
}
END_TEST

START_TEST(g2_alignment)
{
	TRY(_i, -EINVAL, c.desc += 8);
	TRY(_i, -EINVAL, c.driver += 1);
	TRY(_i, _i ? -EINVAL : 0, c.driver += 2);
	TRY(_i, -EINVAL, c.device += 2);
	TRY(_i, 0, c.desc += 16; c.driver += 4; c.device += 4);
}
END_TEST

START_TEST(g3_outside_memory)
{
	TRY(_i, -EFAULT, c.desc = RAM);
	TRY(_i, -EFAULT, c.desc = RAM - 16 * 15);
	TRY(_i, 0, c.desc = RAM - 16 * 16);
	TRY(_i, -EFAULT, c.desc = ~15ull);
	TRY(_i, -EFAULT, c.driver = RAM);
	TRY(_i, -EFAULT, c.device = RAM);
	TRY(_i, -EFAULT, c.driver = RAM - (_i ? 0 : 36));
	TRY(_i, 0, c.driver = RAM - (_i ? 4 : 38));
	TRY(_i, -EFAULT, c.device = RAM - (_i ? 0 : 132));
	TRY(_i, 0, c.device = RAM - (_i ? 4 : 136));
	TRY(_i, -EFAULT, c.device = ~3ull);
}
END_TEST

/* An area in two regions, be they neighbours. */
START_TEST(g3_in_two_regions)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = RAM, .len = 4096, .backing = VDB_MEM_ANON};

	ck_assert_int_eq(vdb_mem_add(ram.mem, &region), 0);
	TRY(_i, -EFAULT, c.desc = RAM - 16);
	TRY(_i, 0, c.desc = RAM);
}
END_TEST

/* The device reads these, and writes those. */
START_TEST(g5_read_only)
{
	TRY(_i, _i ? -EFAULT : 0, c.desc = ROM);
	TRY(_i, 0, c.driver = ROM);
	TRY(_i, -EFAULT, c.device = ROM);
}
END_TEST

START_TEST(positions)
{
	TRY(_i, -EINVAL, c.position = 1); /* without RESUME */
	TRY(0, 0, c.flags |= VDB_VIRTQ_RESUME; c.position = 0xffff);
	TRY(0, -EINVAL, c.flags |= VDB_VIRTQ_RESUME; c.position = 0x10000);
	TRY(1, 0, c.flags |= VDB_VIRTQ_RESUME; c.position = 0);
	TRY(1, 0, c.flags |= VDB_VIRTQ_RESUME; c.position = 0x800f800f);
	TRY(1, -EINVAL, c.flags |= VDB_VIRTQ_RESUME; c.position = 0x80108010);
	TRY(1, -EINVAL, c.flags |= VDB_VIRTQ_RESUME; c.position = 0x000f800f);
	TRY(1, -EINVAL, c.flags |= VDB_VIRTQ_RESUME; c.position = 0x8001800f);
}
END_TEST

/* A queue is destroyed and made anew after every few requests; the driver does not notice. */
START_TEST(goes_on_where_it_was)
{
	static const uint32_t flags[] = {0, VDB_VIRTQ_PACKED, VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_IN_ORDER,
	                                 VDB_VIRTQ_PACKED | VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_IN_ORDER};
	static struct virtq_pair p;
	const struct virtq_buf bufs[] = {{PAIR_DATA, 64, false}, {PAIR_DATA, 64, true}};
	uint32_t left_at = 0, len;
	uint64_t cookie;

	virtq_pair_open(&p, &(struct vdb_virtq_config){.entries = 4, .flags = flags[_i]});
	ck_assert_uint_eq(vdb_virtq_position(p.queue), flags[_i] & VDB_VIRTQ_PACKED ? 0x80008000 : 0);
	for (uint32_t life = 0; life < 200; life++) {
		for (uint32_t i = 0; i < life % 4; i++) {
			ck_assert(virtq_add(&p.d, bufs, 1 + (i & 1), i));
			(void)virtq_publish(&p.d);
			ck_assert_uint_eq(virtq_pair_serve(&p), 1);
			ck_assert(virtq_reap(&p.d, &cookie, &len));
		}
		p.d.config.position = vdb_virtq_position(p.queue);
		p.d.config.flags |= VDB_VIRTQ_RESUME;
		p.d.config.left_at = &left_at;
		vdb_queue_destroy(p.queue);
		if (life)
			ck_assert_uint_eq(left_at, p.d.config.position);
		ck_assert_int_eq(vdb_virtq_create(p.ram.mem, &p.d.config, &p.queue), 0);
		p.queue->ops->attach(p.queue, &(struct vdb__queue_identity){0});
	}
	p.d.config.left_at = NULL;
	virtq_pair_close(&p);
}
END_TEST

START_TEST(without_memory)
{
	struct vdb_virtq_config c = good(_i);
	uint32_t left_at = 77;
	unsigned n;

	c.flags |= VDB_VIRTQ_IN_ORDER;
	c.left_at = &left_at;
	for (n = 1; n < 10; n++) {
		fail_after = n;
		if (create(&c) == 0)
			break;
		fail_after = 0;
		ck_assert_uint_eq(left_at, 77);
	}
	fail_after = 0;
	ck_assert_uint_eq(n, 4);
	ck_assert_uint_ne(left_at, 77);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("virtq_create");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g1_sizes, 0, 2);
	tcase_add_loop_test(tc, limits_and_flags, 0, 2);
	tcase_add_loop_test(tc, g2_alignment, 0, 2);
	tcase_add_loop_test(tc, g3_outside_memory, 0, 2);
	tcase_add_loop_test(tc, g3_in_two_regions, 0, 2);
	tcase_add_loop_test(tc, g5_read_only, 0, 2);
	tcase_add_loop_test(tc, positions, 0, 2);
	tcase_add_loop_test(tc, goes_on_where_it_was, 0, 4);
	tcase_add_loop_test(tc, without_memory, 0, 2);
	return test_run("virtq_create", tc);
}
