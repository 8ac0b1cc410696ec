/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory as a peer is told of it: the regions that a device may write. */
#ifndef VDB_VHOST_MEMORY_H
#define VDB_VHOST_MEMORY_H

#include "mem/view.h"
#include "vhost/peer.h"

/* The peer can have it: 0, or -errno with a message. `count`: how many it has already. */
int vdb__vhost_memory_check(const struct vdb__peer_ops *ops, const char *name,
                            const struct vdb__region *region, uint32_t count);
void vdb__vhost_memory_table(const struct vdb__map *map, struct vdb__peer_memory *out);
/* Where we have gpa; 0: nowhere. */
uint64_t vdb__vhost_memory_at(const struct vdb__map *map, vdb_gpa_t gpa);

#endif
