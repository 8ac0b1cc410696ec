/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host wrote: one bit for each 4 KiB page, one bitmap a region.
 *
 * A writer stores its data, executes a full fence, then sets the bit if it is clear.
 * A harvester clears the bit, executes a full fence, then reads the page. If the
 * writer set the bit, the harvest that takes it acquires what the mark released. If
 * the writer found the bit set, it looked after its data was in memory: whichever
 * harvest takes that bit does so after the look, so reads the page with the data.
 * Without either fence the look could come first, and the data be on nobody's list.
 * Rings and hot buffers are marked all the time: most marks are a fence and a load.
 *
 * While nobody harvests a writer does not even fence. It stores its data and then looks whether somebody
 * does, in this order in its code; the processor may have it otherwise. Who starts a harvest says so and
 * then has membarrier() put a full fence into every thread of the process, somewhere. A writer that has
 * looked by then, and seen nobody, stored its data before the look, so before the fence: it is in
 * memory when all of memory is copied, which comes after the start. A writer that looks later sees
 * that it has to mark. Where the host has no membarrier() each writer fences before each look instead.
 */
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/export.h"
#include "mem/mem.h"

#define WORD_BITS 64u

static uint64_t low_bits(uint64_t n)
{
	return n >= WORD_BITS ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

static long barrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

/* Registering may wait for RCU, so that is left to vdb_mem_dirty_start(). */
uint32_t vdb__dirty_begin(void)
{
	const long needed = MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
	long known = barrier(MEMBARRIER_CMD_QUERY);

	return known >= 0 && (known & needed) == needed ? 0 : VDB__TRACKING_FENCED;
}

/*
 * The second look has the fence before it. If the flag is off then, whoever switches it on afterwards (with
 * a full fence of his own) finds the data when he copies all of memory. The same fence serves the look
 * at the bit.
 */
bool vdb__dirty_wanted(struct vdb_mem *mem)
{
	/* Pairs with the membarrier() in vdb_mem_dirty_start(). */
	vdb__fence_light();
	if (!vdb__load(&mem->tracking))
		return false;
	vdb__fence_full();
	return vdb__load_acquire(&mem->tracking) & VDB__TRACKING_ON;
}

void vdb__dirty_mark(struct vdb__region *region, const void *host, uint64_t len)
{
	uint64_t offset = (uint64_t)((const unsigned char *)host - region->host);
	uint64_t page = offset / VDB_PAGE_SIZE;
	uint64_t end = (offset + len - 1) / VDB_PAGE_SIZE + 1;
	uint64_t *word, bit, mask, n;

	for (; page < end; page += n) {
		bit = page % WORD_BITS;
		n = WORD_BITS - bit;
		if (n > end - page)
			n = end - page;
		word = &region->dirty[page / WORD_BITS];
		mask = low_bits(n) << bit;
		if ((vdb__load(word) & mask) != mask)
			(void)vdb__fetch_or(word, mask);
	}
}

void vdb__region_mark(struct vdb__region *const *hold, const struct iovec *iov, uint32_t n, uint64_t bytes)
{
	uint64_t part;

	if (!n || !bytes || !vdb__dirty_wanted(hold[0]->mem))
		return;
	for (uint32_t i = 0; i < n && bytes; i++, bytes -= part) {
		part = iov[i].iov_len < bytes ? iov[i].iov_len : bytes;
		if (part)
			vdb__dirty_mark(hold[i], iov[i].iov_base, part);
	}
}

static void clear(struct vdb__region *region)
{
	uint64_t words = (region->len / VDB_PAGE_SIZE + WORD_BITS - 1) / WORD_BITS;

	for (uint64_t i = 0; i < words; i++) {
		if (vdb__load(&region->dirty[i]))
			(void)vdb__exchange(&region->dirty[i], 0);
	}
}

/* A full fence in every thread that may be writing without one. */
static int fence_writers(void)
{
	if (barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) < 0 ||
	    barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) < 0)
		return vdb__fail_sys(errno,
		                     "dirty tracking: membarrier(), which this host had when the memory "
		                     "was created; allow it, or forbid it before that");
	return 0;
}

/* Locked. */
static int start(struct vdb_mem *mem)
{
	const struct vdb__map *map = mem->current;
	uint32_t before = mem->tracking;
	int err;

	if (before & VDB__TRACKING_ON)
		return vdb__fail(EBUSY, "dirty tracking: started already; one harvester at a time");
	/* Bits of an earlier time. Those of marks that come late only say too much. */
	for (uint32_t i = 0; i < map->count; i++)
		clear(map->entries[i].region);
	vdb__store_release(&mem->tracking, before | VDB__TRACKING_ON);
	err = before & VDB__TRACKING_FENCED ? 0 : fence_writers();
	if (err)
		vdb__store_release(&mem->tracking, before);
	return err;
}

VDB_EXPORT int vdb_mem_dirty_start(struct vdb_mem *mem)
{
	int err;

	pthread_mutex_lock(&mem->lock);
	err = start(mem);
	pthread_mutex_unlock(&mem->lock);
	/* Pairs with the fence in vdb__dirty_wanted(). */
	vdb__fence_full();
	return err;
}

VDB_EXPORT void vdb_mem_dirty_stop(struct vdb_mem *mem)
{
	pthread_mutex_lock(&mem->lock);
	vdb__store_release(&mem->tracking, mem->tracking & ~VDB__TRACKING_ON);
	pthread_mutex_unlock(&mem->lock);
}

/* Takes n <= 64 bits from `page` on, all within one word. Only they are cleared. */
static uint64_t take_within(uint64_t *bitmap, uint64_t page, uint64_t n)
{
	uint64_t *word = &bitmap[page / WORD_BITS], bit = page % WORD_BITS;
	uint64_t mask = low_bits(n) << bit;

	if (!(vdb__load(word) & mask))
		return 0;
	if (mask == UINT64_MAX)
		return vdb__exchange(word, 0);
	return (__atomic_fetch_and(word, ~mask, __ATOMIC_ACQ_REL) & mask) >> bit;
}

/* Takes n <= 64 bits that may lie in two words. */
static uint64_t take(uint64_t *bitmap, uint64_t page, uint64_t n)
{
	uint64_t first = WORD_BITS - page % WORD_BITS;

	if (n <= first)
		return take_within(bitmap, page, n);
	return take_within(bitmap, page, first) | take_within(bitmap, page + first, n - first) << first;
}

static int64_t harvest(struct vdb__region *region, uint64_t page, uint64_t pages, uint64_t *bitmap)
{
	int64_t count = 0;
	uint64_t n;

	for (uint64_t i = 0; i < pages; i += n) {
		n = pages - i < WORD_BITS ? pages - i : WORD_BITS;
		bitmap[i / WORD_BITS] = take(region->dirty, page + i, n);
		count += __builtin_popcountll(bitmap[i / WORD_BITS]);
	}
	/* Before the caller reads the pages: pairs with the fence in vdb__dirty_wanted(). */
	vdb__fence_full();
	return count;
}

VDB_EXPORT int64_t vdb_mem_dirty_harvest(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t len, uint64_t *bitmap)
{
	const struct vdb__map_entry *entry;
	struct vdb__map *map;
	int64_t count;

	if (!len || (gpa | len) % VDB_PAGE_SIZE)
		return vdb__fail(EINVAL, "dirty harvest of [%#llx, +%#llx): must be whole pages",
		                 (unsigned long long)gpa, (unsigned long long)len);
	if (!(vdb__load(&mem->tracking) & VDB__TRACKING_ON))
		return vdb__fail(EINVAL, "dirty harvest: call vdb_mem_dirty_start() first");
	map = vdb__mem_map(mem);
	entry = vdb__map_at(map, gpa);
	if (entry && len <= vdb__entry_room(entry, gpa))
		count = harvest(entry->region, (gpa - entry->gpa) / VDB_PAGE_SIZE, len / VDB_PAGE_SIZE,
		                bitmap);
	else
		count = vdb__fail(ENOENT, "dirty harvest of [%#llx, +%#llx): not inside one region",
		                  (unsigned long long)gpa, (unsigned long long)len);
	vdb__map_put(map);
	return count;
}
