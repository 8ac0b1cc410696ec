/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/page.h"

#include <stdbool.h>
#include <string.h>

#include "base/error.h"

void vdb__page_build(void *page, vdb_gpa_t page_gpa, const struct vdb__bell *bell,
                     const struct vdb_doorbell_ring *rings, uint32_t count)
{
	struct vdb_page header = {
	        .magic = VDB_ABI_MAGIC,
	        .version = VDB_ABI_VERSION,
	        .ring_count = count,
	        .ring_offset = sizeof(struct vdb_page),
	        .ring_stride = sizeof(struct vdb_page_ring),
	        .page_gpa = page_gpa,
	};
	unsigned char *to = page;

	memset(page, 0, VDB_PAGE_SIZE);
	memcpy(to, &header, sizeof(header));
	for (uint32_t i = 0; i < count; i++) {
		struct vdb_page_ring ring = {
		        .ring_gpa = rings[i].ring_gpa,
		        .ring_bytes = VDB_RING_BYTES(rings[i].sq_entries, rings[i].cq_entries),
		        .features = rings[i].features,
		        .bell_addr = bell->addr,
		        .bell_kind = bell->kind,
		        .bell_value = rings[i].match,
		        .sq_entries = rings[i].sq_entries,
		        .cq_entries = rings[i].cq_entries,
		        .irq = rings[i].irq,
		        .ring_id = rings[i].ring_id,
		};

		memcpy(to + header.ring_offset + i * sizeof(ring), &ring, sizeof(ring));
	}
}

static int check_ring(const struct vdb_doorbell_ring *ring, uint32_t i)
{
	if (!VDB_RING_ENTRIES_OK(ring->sq_entries) || !VDB_RING_ENTRIES_OK(ring->cq_entries) ||
	    ring->cq_entries < ring->sq_entries)
		return vdb__fail(EINVAL,
		                 "doorbell: ring %u has %u and %u entries; powers of two up to %u, no fewer "
		                 "completions than submissions",
		                 i, ring->sq_entries, ring->cq_entries, VDB_RING_MAX_ENTRIES);
	if (ring->ring_gpa % VDB_RING_ALIGN ||
	    ring->ring_gpa > UINT64_MAX - VDB_RING_BYTES(ring->sq_entries, ring->cq_entries))
		return vdb__fail(EINVAL, "doorbell: ring %u at %#llx is not %u-byte aligned, or wraps", i,
		                 (unsigned long long)ring->ring_gpa, VDB_RING_ALIGN);
	return 0;
}

static bool rings_overlap(const struct vdb_doorbell_ring *a, const struct vdb_doorbell_ring *b)
{
	if (a->ring_gpa > b->ring_gpa)
		return rings_overlap(b, a);
	return b->ring_gpa - a->ring_gpa < VDB_RING_BYTES(a->sq_entries, a->cq_entries);
}

static int check_pair(const struct vdb_doorbell_ring *rings, uint32_t i, uint32_t j, int described)
{
	if (rings[i].match == rings[j].match)
		return vdb__fail(EINVAL, "doorbell: rings %u and %u have the same match %u", j, i,
		                 rings[i].match);
	if (described && rings_overlap(&rings[i], &rings[j]))
		return vdb__fail(EINVAL, "doorbell: rings %u and %u overlap in memory", j, i);
	return 0;
}

int vdb__rings_check(const struct vdb_doorbell_ring *rings, uint32_t count, int described)
{
	int err = 0;

	if (!rings || !count || count > VDB_DOORBELL_MAX_RINGS)
		return vdb__fail(EINVAL, "doorbell: %u rings; give 1 to %u", rings ? count : 0,
		                 VDB_DOORBELL_MAX_RINGS);
	for (uint32_t i = 0; i < count && !err; i++) {
		err = described ? check_ring(&rings[i], i) : 0;
		for (uint32_t j = 0; j < i && !err; j++)
			err = check_pair(rings, i, j, described);
	}
	return err;
}
