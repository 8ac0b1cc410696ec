/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a native ring (layout: vdb/abi.h). A ring is one kind of
 * queue; a lane takes any kind.
 */
#ifndef VDB_RING_H
#define VDB_RING_H

#include <vdb/abi.h>
#include <vdb/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_queue;

struct vdb_ring_config {
	uint32_t size;
	uint32_t sq_entries;   /* power of two, 1..32768 */
	uint32_t cq_entries;   /* power of two, sq_entries..32768; 0 = sq_entries */
	uint32_t max_segments; /* of one request; 0 = 128, at most 1024 */
	vdb_gpa_t gpa;         /* of struct vdb_ring, 64-byte aligned, in one writable region */
	uint64_t features;     /* offered; 0 = all that this library has */
	uint32_t max_len;      /* bytes of one request; 0 = 2^31 - 4096 */
	uint32_t reserved;
};

/* Checks everything, touches nothing in the guest before it is given to a lane.
 * -EINVAL, -EFAULT: outside memory. Any thread. */
VDB_MUST_CHECK int vdb_ring_create(struct vdb_mem *mem, const struct vdb_ring_config *config,
                                   struct vdb_queue **out);

/* A queue that no lane took (a lane destroys its own). NULL is fine. */
void vdb_queue_destroy(struct vdb_queue *queue);

#ifdef __cplusplus
}
#endif
#endif
