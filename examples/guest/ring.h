/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's first ring, where all memory is mapped one to one. */
#ifndef EXAMPLES_GUEST_RING_H
#define EXAMPLES_GUEST_RING_H

#include <vdb/guest.h>

/* Finds the ring by its doorbell page and makes `ring` its driver: 0, or VDB_GUEST_E*. */
static inline int guest_find_ring(struct vdb_guest *ring, const void *page)
{
	struct vdb_page_ring desc;
	int r = vdb_guest_find(page, 0, &desc);

	if (r)
		return r;
	return vdb_guest_init(ring, &desc, (void *)(uintptr_t)desc.ring_gpa,
	                      (volatile void *)(uintptr_t)desc.bell_addr);
}

#endif
