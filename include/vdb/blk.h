/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk (virtio 1.2, 5.2) in front of any backend: several queues, FLUSH, switchable write
 * cache, DISCARD, WRITE_ZEROES, GET_ID, read-only, topology, resize.
 */
#ifndef VDB_BLK_H
#define VDB_BLK_H

#include <vdb/backend.h>
#include <vdb/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_blk_config {
	uint32_t size;
	uint32_t queues; /* 0 = 1 */
	const struct vdb_virtio_config
	        *at; /* mem, loop or loops, tenants, limit, flags, queue_size, broken; the rest 0 */
	/* Holds a reference. Its ops and READONLY flag decide which features are offered. */
	struct vdb_backend *backend;
	const char *serial;     /* up to 20 bytes, what GET_ID tells; NULL = "" */
	uint32_t max_segments;  /* of data, in one request; 0 = 126; seg_max is this, or queue_size - 2 */
	uint32_t physical_log2; /* topology: physical block = logical << this */
	uint32_t write_through; /* 1: starts with the write cache off: each write is flushed before its end */
	uint32_t reserved;
};

/* config is copied. -EINVAL: the backend cannot read, or a field cannot be; -ENOMEM. Any thread. */
VDB_MUST_CHECK int vdb_blk_create(const struct vdb_blk_config *config, struct vdb_virtio **out);

/* The backend's capacity has changed (vdb_backend_resize()): tells the guest. Any thread. */
VDB_MUST_CHECK int vdb_blk_resized(struct vdb_virtio *blk);

#ifdef __cplusplus
}
#endif
#endif
