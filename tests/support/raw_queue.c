/* SPDX-License-Identifier: Apache-2.0 */
#include "raw_queue.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/error.h>

#include "base/atomic.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)

void raw_open(struct raw_queue *q, uint32_t flags, struct vdb_backend *backend)
{
	memset(q, 0, sizeof(*q));
	q->packed = flags & VDB_VIRTQ_PACKED;
	q->wrap = true;
	q->backend = backend ? backend : vrig_echo();
	vrig_open(&q->v, &(struct vrig_config){.virtq = {.entries = RAW_ENTRIES, .flags = flags},
	                                       .backend = q->backend});
}

void raw_close(struct raw_queue *q)
{
	vrig_close(&q->v);
	vdb_backend_destroy(q->backend);
}

/* ---- Memory ---- */

void raw_region(struct raw_queue *q, vdb_gpa_t gpa, uint64_t len, uint32_t vdb_region_flags)
{
	struct vdb_region_config region = {.size = sizeof(region),
	                                   .gpa = gpa,
	                                   .len = len,
	                                   .backing = VDB_MEM_HOST,
	                                   .flags = vdb_region_flags};
	uint8_t *all =
	        mmap(NULL, len + 2 * (uint64_t)MOCK_GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_uint_lt(q->nregions, RAW_REGIONS);
	ck_assert(all != MAP_FAILED && mprotect(all + MOCK_GUARD, len, PROT_READ | PROT_WRITE) == 0);
	region.host = all + MOCK_GUARD;
	ck_assert_msg(vdb_mem_add(q->v.ram.mem, &region) == 0, "%s", vdb_errmsg());
	q->regions[q->nregions].gpa = gpa;
	q->regions[q->nregions++].host = region.host;
}

/* They stay mapped until the process ends. */
uint8_t *raw_host(const struct raw_queue *q, vdb_gpa_t gpa)
{
	for (unsigned i = 0; i < q->nregions; i++) {
		if (q->regions[i].gpa == gpa)
			return q->regions[i].host;
	}
	ck_abort_msg("no region at %llx", (unsigned long long)gpa);
}

/* ---- The driver ---- */

void raw_ring(struct raw_queue *q)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(q->v.kick, &one, sizeof(one)), sizeof(one));
}

static void put_split(struct raw_queue *q, const struct raw_piece *pieces, uint32_t n)
{
	struct vring_avail *avail = virtq_avail(&q->v.d);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t here = (q->at + i) % RAW_ENTRIES, more = i + 1 < n ? VRING_DESC_F_NEXT : 0;

		*virtq_desc(&q->v.d, here) =
		        (struct vring_desc){.addr = pieces[i].addr,
		                            .len = pieces[i].len,
		                            .flags = (uint16_t)(pieces[i].flags | more),
		                            .next = (uint16_t)((here + 1) % RAW_ENTRIES)};
	}
	avail->ring[q->shown % RAW_ENTRIES] = (uint16_t)q->at;
	vdb__store_release(&avail->idx, ++q->shown);
	q->at = (q->at + n) % RAW_ENTRIES;
}

/* The first becomes good last. */
static void put_packed(struct raw_queue *q, const struct raw_piece *pieces, uint32_t n)
{
	for (uint32_t i = n; i-- > 0;) {
		uint32_t here = (q->at + i) % RAW_ENTRIES, more = i + 1 < n ? VRING_DESC_F_NEXT : 0;
		bool wrap = q->at + i < RAW_ENTRIES ? q->wrap : !q->wrap;
		struct vring_packed_desc *desc = virtq_packed_desc(&q->v.d, here);

		desc->addr = pieces[i].addr;
		desc->len = pieces[i].len;
		desc->id = (uint16_t)q->at;
		vdb__store_release(&desc->flags, (uint16_t)(pieces[i].flags | more | (wrap ? AVAIL : USED)));
	}
	if (q->at + n >= RAW_ENTRIES)
		q->wrap = !q->wrap;
	q->at = (q->at + n) % RAW_ENTRIES;
}

void raw_put(struct raw_queue *q, const struct raw_piece *pieces, uint32_t n)
{
	q->last = q->at;
	q->last_wrap = q->wrap;
	q->chains++;
	if (q->packed)
		put_packed(q, pieces, n);
	else
		put_split(q, pieces, n);
	raw_ring(q);
}

void raw_entry(struct raw_queue *q, vdb_gpa_t table, uint32_t i, vdb_gpa_t addr, uint32_t len, uint32_t flags,
               uint32_t next)
{
	struct vring_desc split = {
	        .addr = addr, .len = len, .flags = (uint16_t)flags, .next = (uint16_t)next};
	struct vring_packed_desc packed = {
	        .addr = addr, .len = len, .flags = (uint16_t)(flags & ~(uint32_t)VRING_DESC_F_NEXT)};

	memcpy(mock_at(&q->v.ram, table + 16 * (uint64_t)i), q->packed ? (const void *)&packed : &split, 16);
}

/* ---- What became of it ---- */

static bool is_used(const struct raw_queue *q)
{
	uint16_t flags;

	if (!q->packed)
		return vdb__load_acquire(&virtq_used(&q->v.d)->idx) == (uint16_t)q->chains;
	flags = vdb__load_acquire(&virtq_packed_desc(&q->v.d, q->last)->flags);
	return (flags & (AVAIL | USED)) == (q->last_wrap ? AVAIL | USED : 0);
}

static uint32_t used_len(const struct raw_queue *q)
{
	if (q->packed)
		return virtq_packed_desc(&q->v.d, q->last)->len;
	return virtq_used(&q->v.d)->ring[(q->chains - 1) % RAW_ENTRIES].len;
}

uint32_t raw_used(struct raw_queue *q)
{
	RIG_UNTIL(&q->v.rig, is_used(q) || q->v.broken);
	ck_assert_msg(!q->v.broken, "the queue broke: reason %u", q->v.broken);
	return used_len(q);
}

void raw_breaks(struct raw_queue *q, uint32_t reason)
{
	const uint8_t *all = mock_at(&q->v.ram, q->v.d.config.desc);
	uint64_t len = virtq_driver_bytes(&q->v.d.config);
	uint8_t before[1024];

	RIG_UNTIL(&q->v.rig, q->v.broken || is_used(q));
	ck_assert_uint_eq(q->v.broken, reason);
	ck_assert_uint_le(len, sizeof(before));
	memcpy(before, all, len);
	for (int i = 0; i < 3; i++) {
		raw_ring(q);
		rig_turns(&q->v.rig, 3);
	}
	ck_assert_mem_eq(before, all, len);
}

void raw_fails(struct raw_queue *q)
{
	RIG_UNTIL(&q->v.rig, q->v.broken || is_used(q));
	if (!q->v.broken)
		ck_assert_uint_eq(used_len(q), 0);
}

void raw_goes_on(struct raw_queue *q)
{
	static const struct raw_piece good[] = {{VRIG_DATA + 0x1000, 64, 0},
	                                        {VRIG_DATA + 0x2000, 64, VRING_DESC_F_WRITE}};
	uint8_t *from = mock_at(&q->v.ram, good[0].addr), *to = mock_at(&q->v.ram, good[1].addr);

	memset(from, (int)(q->chains & 0xff), 64);
	memset(to, 0xee, 65);
	raw_put(q, good, 2);
	ck_assert_uint_eq(raw_used(q), 64);
	ck_assert_mem_eq(from, to, 64);
	ck_assert_uint_eq(to[64], 0xee);
}
