/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of several lanes of one queue. */
#ifndef VDB_VIRTIO_STATS_H
#define VDB_VIRTIO_STATS_H

#include <vdb/lane.h>

/* Adds the counters up; what is a state is the later one's. */
void vdb__stats_add(struct vdb_lane_stats *sum, const struct vdb_lane_stats *more);

#endif
