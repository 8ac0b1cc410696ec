/* SPDX-License-Identifier: Apache-2.0 */
/* Configs of doorbells for tests: of any kind, with one to three rings. */
#ifndef VDB_TESTS_BELLS_H
#define VDB_TESTS_BELLS_H

#include <vdb/vdb.h>

static const struct vdb_doorbell_ring some_rings[] = {
        {.ring_gpa = 0x10000, .sq_entries = 8, .cq_entries = 16, .irq = 5, .ring_id = 100, .match = 5},
        {.ring_gpa = 0x20000, .sq_entries = 8, .cq_entries = 8, .ring_id = 101, .match = 7},
        {.ring_gpa = 0x30000, .sq_entries = 1, .cq_entries = 1, .ring_id = 102, .match = 0xffffffff},
};

static inline struct vdb_doorbell_config some(uint32_t kind, uint32_t rings)
{
	return (struct vdb_doorbell_config){
	        .size = sizeof(struct vdb_doorbell_config),
	        .kind = kind,
	        .addr = VDB_GPA_ANY,
	        .rings = some_rings,
	        .ring_count = rings,
	};
}

#endif
