/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/virtio/balloon_pages.c lib/mem/map.c lib/mem/view.c */
/* EVA: -eva-equality-through-calls none */
/* BROKEN: no_hole lib/virtio/balloon_pages.c s/if (!entry)/if (0)/ */
/* BROKEN: no_end lib/virtio/balloon_pages.c s/if (part > end - gpa)/if (0)/ */
/* BROKEN: no_odd lib/virtio/balloon_pages.c s/i + PFN_BYTES <= n/i < n/ */
/* BROKEN: no_next lib/virtio/balloon_pages.c s/else if (page != run->first + run->n)/else if (0)/ */
/*
 * The balloon's page numbers: a list in two pieces, the second of which begins within a number. What is given
 * back is pages of the guest's memory, those that it named, and no others.
 */
#include <errno.h>

#define SPACE_LEN VDB_PAGE_SIZE
#include "space.h"

#include "io/lane.h"
#include "stubs.h"
#include "virtio/balloon.h"

#define PAGES 2u
#define TAIL 3u /* bytes of a number that is cut off */
#define READABLE_MAX (PAGES * sizeof(uint32_t) + TAIL)
#include "request.h"

static struct vdb_queue queue;
static struct vdb_lane lane = {.queue = &queue};
static struct vdb__balloon balloon;
static uint32_t named[PAGES];

/* ---- What it calls ---- */

static bool is_named(uint64_t page)
{
	for (uint32_t i = 0; i < PAGES; i++) {
		if (named[i] == page)
			return true;
	}
	return false;
}

int64_t vdb__region_discard(struct vdb__region *region, const void *host, uint64_t len)
{
	const struct vdb__map_entry *entry = &space_map()->entries[region - space_region];
	const unsigned char *bytes = host;
	uint64_t offset = (uint64_t)(bytes - entry->host);

	CLAIM(len > 0 && len % VDB_PAGE_SIZE == 0);
	CLAIM(bytes[0] + bytes[len - 1] >= 0);
	for (uint64_t at = 0; at < len; at += VDB_PAGE_SIZE)
		CLAIM(is_named((entry->gpa + offset + at) / VDB_PAGE_SIZE));
	REACHED(discard);
	return any & 1 ? -EPERM : (int64_t)len;
}

uint64_t vdb__region_page(const struct vdb__region *region)
{
	(void)region;
	return VDB_PAGE_SIZE;
}

void *vdb__region_host(const struct vdb__region *region)
{
	return space_map()->entries[region - space_region].host;
}

void vdb_req_charge(struct vdb_req *req, uint64_t cost)
{
	CLAIM(req == &request.pub && cost > 0);
}

/* ---- Lists ---- */

/* In each region, before and behind them, and the last one that there is. */
static uint32_t any_page(void)
{
	static const uint32_t pages[] = {0, 1, 2, 3, UINT32_MAX};
	uint32_t i = Frama_C_unsigned_int_interval(0, sizeof(pages) / sizeof(pages[0]) - 1);

	/*@ split i; */
	return pages[i];
}

static void put_page(uint64_t at, uint32_t page)
{
	for (unsigned i = 0; i < sizeof(page); i++) {
		if (at + i < request.pub.readable)
			*request_byte(at + i) = (unsigned char)(page >> 8 * i);
	}
}

int main(void)
{
	uint64_t readable = any & 1 ? READABLE_MAX : READABLE_MAX - TAIL;
	struct vdb_req *req;

	/*@ split readable; */
	req = any_request(readable, sizeof(uint32_t) + 1, false);
	queue.view = space_view();
	request.lane = &lane;
	for (uint32_t i = 0; i < PAGES; i++) {
		named[i] = any_page();
		put_page(i * sizeof(named[0]), named[i]);
	}
	CLAIM(vdb__balloon_inflate_ops.start(&balloon, req) == VDB_REQ_INLINE);
	CLAIM(vdb__balloon_inflate_ops.step(&balloon, req, UINT64_MAX) == (int64_t)readable);
	CLAIM(balloon.discarded + balloon.kept <= PAGES * VDB_PAGE_SIZE);
	REACHED(done);
	return 0;
}
