/* SPDX-License-Identifier: Apache-2.0 */
#include "balloon_rig.h"

#include <string.h>
#include <sys/mman.h>

#define REGION_LEN (UINT64_C(4) << 20)

#define must(rc) ck_assert_msg((rc) >= 0, "%s: %s", #rc, vdb_errmsg())

static void add_region(struct balloon_rig *b, const struct vdb_region_config *given)
{
	struct vdb_region_config region = {0};
	struct iovec iov;

	if (given)
		region = *given;
	else
		region.flags = VDB_REGION_DISCARDABLE;
	region.size = sizeof(region);
	region.gpa = BALLOON_GPA;
	if (!region.len)
		region.len = REGION_LEN;
	must(vdb_mem_add(b->rig.ram.mem, &region));
	must(vdb_mem_pin(b->rig.ram.mem, BALLOON_GPA, region.len, 0, &iov, 1, &b->pin));
	b->host = iov.iov_base;
	b->len = region.len;
	if (!(region.flags & VDB_REGION_READONLY))
		memset(b->host, BALLOON_FILL, b->len);
}

static void drop_region(struct balloon_rig *b)
{
	vdb_mem_unpin(b->pin);
	must(vdb_mem_remove(b->rig.ram.mem, BALLOON_GPA, NULL, NULL));
}

void balloon_rig_region(struct balloon_rig *b, const struct vdb_region_config *region)
{
	drop_region(b);
	add_region(b, region);
}

void balloon_rig_open(struct balloon_rig *b, const struct vdb_balloon_config *given,
                      const struct vdb_region_config *region)
{
	struct vdb_virtio_config at = ready_rig_open(&b->rig);
	struct vdb_balloon_config config = {0};
	struct vdb_virtio *device = NULL;

	if (given)
		config = *given;
	config.size = sizeof(config);
	config.at = &at;
	if (given && given->at)
		at.tenant = given->at->tenant;
	must(vdb_balloon_create(&config, &device));
	add_region(b, region);
	ready_rig_adopt(&b->rig, device);
}

void balloon_rig_close(struct balloon_rig *b)
{
	if (b->rig.device)
		virtio_rig_unplug(&b->rig);
	drop_region(b);
	virtio_rig_close(&b->rig);
}

void balloon_rig_send(struct balloon_rig *b, uint32_t queue, const struct virtq_buf *bufs, uint32_t n)
{
	static uint64_t cookie;
	uint32_t len = 1;

	ck_assert(virtq_add(&b->rig.driver[queue], bufs, n, ++cookie));
	(void)virtq_publish(&b->rig.driver[queue]);
	ck_assert_uint_eq(ready_rig_reap(&b->rig, queue, &len), cookie);
	ck_assert_uint_eq(len, 0);
}

void balloon_rig_list(struct balloon_rig *b, uint32_t queue, const uint32_t *pages, uint32_t n)
{
	const struct virtq_buf buf = {ready_rig_data(queue, 0), n * 4, false};

	memcpy(mock_at(&b->rig.ram, buf.gpa), pages, n * sizeof(*pages));
	balloon_rig_send(b, queue, &buf, 1);
}

struct vdb_balloon_info balloon_rig_info(struct balloon_rig *b)
{
	struct vdb_balloon_info info = {.size = sizeof(info)};

	must(vdb_balloon_query(b->rig.device, &info));
	return info;
}

bool balloon_rig_all(const struct balloon_rig *b, uint64_t page, uint64_t n, uint8_t byte)
{
	const uint8_t *at = b->host + page * VDB_PAGE_SIZE;
	uint64_t len = n * VDB_PAGE_SIZE;

	return at[0] == byte && !memcmp(at, at + 1, len - 1);
}

uint64_t balloon_rig_resident(const struct balloon_rig *b, uint64_t page, uint64_t n)
{
	unsigned char in[64];
	uint64_t part, sum = 0;

	for (; n; page += part, n -= part) {
		part = n < sizeof(in) ? n : sizeof(in);
		ck_assert_int_eq(mincore(b->host + page * VDB_PAGE_SIZE, part * VDB_PAGE_SIZE, in), 0);
		for (uint64_t i = 0; i < part; i++)
			sum += in[i] & 1;
	}
	return sum;
}
