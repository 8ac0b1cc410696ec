/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a virtqueue, split or packed (virtio 1.2, 2.7 and 2.8).
 * A virtqueue is one kind of queue; a lane takes any kind.
 *
 * Every descriptor chain becomes one request of op VDB_OP_USER: its iov is the
 * chain's device-readable buffers (`readable` bytes of them, see struct vdb_req),
 * then the device-writable ones; its result is the number of bytes that the
 * backend wrote. The devices of vdb/blk.h and its neighbours read their chains in
 * their own way, through the same code.
 */
#ifndef VDB_VIRTQ_H
#define VDB_VIRTQ_H

#include <vdb/mem.h>
#include <vdb/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VDB_VIRTQ_PACKED (1u << 0)
#define VDB_VIRTQ_EVENT_IDX (1u << 1)
#define VDB_VIRTQ_INDIRECT (1u << 2)
/* Buffers are used in the order in which they were made available (VIRTIO_F_IN_ORDER):
 * a completion waits for those before it. */
#define VDB_VIRTQ_IN_ORDER (1u << 3)
/* `position` counts. Without it the queue starts at its beginning, as after a reset. */
#define VDB_VIRTQ_RESUME (1u << 4)

#define VDB_VIRTQ_MAX_SIZE 32768u

struct vdb_virtq_config {
	uint32_t size;
	uint32_t flags;        /* VDB_VIRTQ_*: what was negotiated */
	uint32_t entries;      /* 1..32768; split: a power of two */
	uint32_t max_segments; /* of one chain; 0 = 128, at most 1024 */
	uint32_t max_len;      /* bytes of one chain; 0 = 2^31 - 4096 */
	/* With RESUME: where to go on, for a queue that was saved: see vdb_virtq_position(). */
	uint32_t position;
	vdb_gpa_t desc;   /* descriptor table, or descriptor ring; 16-byte aligned */
	vdb_gpa_t driver; /* avail ring (2), or driver event suppression (4) */
	vdb_gpa_t device; /* used ring (4), or device event suppression (4) */
	/* Gets the position when the queue is destroyed, before its lane says that it is done. NULL: not
	 * asked for. */
	uint32_t *left_at;
};

/* Checks everything, touches nothing in the guest before it is given to a lane. Each
 * area must lie in one region; `device` (packed: `desc` too) in a writable one.
 * -EINVAL, -EFAULT: outside memory. Any thread. */
VDB_MUST_CHECK int vdb_virtq_create(struct vdb_mem *mem, const struct vdb_virtq_config *config,
                                    struct vdb_queue **out);

/*
 * Where it stands when nothing is in flight: for split the next avail index; packed: next
 * avail offset and its wrap counter (bit 15), and the same of used in the upper half. What
 * vhost-user calls the base. Before the queue is given to a lane, or on its loop's thread; a lane
 * destroys its queue: see left_at.
 */
uint32_t vdb_virtq_position(const struct vdb_queue *queue);

#ifdef __cplusplus
}
#endif
#endif
