/* SPDX-License-Identifier: Apache-2.0 */
/* What a self-describing doorbell page says: a pure function, so that a restored VM finds the same bytes. */
#ifndef VDB_KVM_PAGE_H
#define VDB_KVM_PAGE_H

#include <vdb/doorbell.h>

struct vdb__bell {
	uint32_t kind; /* VDB_BELL_* */
	uint64_t addr;
};

/* Fills `page` (VDB_PAGE_SIZE bytes). */
void vdb__page_build(void *page, vdb_gpa_t page_gpa, const struct vdb__bell *bell,
                     const struct vdb_doorbell_ring *rings, uint32_t count);

/* What vdb__page_build() may be given. `described`: a page tells the guest of these
 * rings, so they must be rings; else only what rings them matters. */
int vdb__rings_check(const struct vdb_doorbell_ring *rings, uint32_t count, int described);

#endif
