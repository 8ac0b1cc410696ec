/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device, whatever its transport (virtio 1.2, 2 and 3): features,
 * config space, queues, life. vdb/virtio_mmio.h and vdb/virtio_pci.h put it where
 * a guest finds it; vdb/blk.h, console.h and rng.h make ready ones.
 *
 * An embedder's own device is one file that fills a `struct vdb_virtio_ops`. Each of
 * its queues is served by a backend; the guest's chains arrive there as VDB_OP_USER
 * requests, see vdb/virtq.h.
 *
 * Threads: what the guest does to registers comes on vCPU threads, one at a
 * time per device; each queue runs on one loop, several queues may run on several; a reset waits for
 * all of them.
 */
#ifndef VDB_VIRTIO_H
#define VDB_VIRTIO_H

#include <vdb/backend.h>
#include <vdb/lane.h>
#include <vdb/limit.h>
#include <vdb/loop.h>
#include <vdb/loops.h>
#include <vdb/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_virtio;

#define VDB_VIRTIO_MAX_QUEUES 64u

/* All are optional but `backend`. Called under the device's lock unless said otherwise: they must
 * not call the device's own functions, except vdb_virtio_config_changed(). */
struct vdb_virtio_ops {
	uint32_t size;
	uint32_t device_id; /* virtio 1.2, 5: 2 = block, 3 = console, 4 = entropy, ... */
	const char *name;   /* not copied */
	/* Config space: [offset, +len) is inside config_len, len 1, 2, 4 or 8. NULL read: zeroes.
	 * Little-endian bytes. */
	void (*config_read)(void *ctx, uint32_t offset, void *data, uint32_t len);
	void (*config_write)(void *ctx, uint32_t offset, const void *data, uint32_t len);
	/* The driver wants FEATURES_OK with these (a subset of what is offered): 0, or
	 * -errno if they do not fit together. */
	int (*negotiate)(void *ctx, uint64_t features);
	/* Who serves queue `index`. The reference stays the device's. Never NULL. */
	struct vdb_backend *(*backend)(void *ctx, uint32_t index);
	/* Every queue has stopped, nothing of the guest's is in use: back to the beginning. */
	void (*reset)(void *ctx);
	/* Beyond features, status and queues, which the library keeps. *len: room in, bytes out;
	 * buf NULL asks for the size. restore: -EINVAL changes nothing. */
	int (*save)(void *ctx, void *buf, size_t *len);
	int (*restore)(void *ctx, const void *buf, size_t len);
	/* After the last queue has let go; no lock is held. */
	void (*destroy)(void *ctx);
};

#define VDB_VIRTIO_NO_PACKED (1u << 0) /* do not offer VIRTIO_F_RING_PACKED */
#define VDB_VIRTIO_NO_EVENT_IDX (1u << 1)
#define VDB_VIRTIO_NO_INDIRECT (1u << 2)
#define VDB_VIRTIO_NO_RING_RESET (1u << 3)
#define VDB_VIRTIO_IN_ORDER (1u << 4) /* offer VIRTIO_F_IN_ORDER */

/* Where a device belongs, and how it runs. Also a part of the ready devices' configs. */
struct vdb_virtio_config {
	uint32_t size;
	uint32_t flags;            /* VDB_VIRTIO_* */
	struct vdb_mem *mem;       /* the guest's */
	struct vdb_loop *loop;     /* serves the queues; NULL: see loops */
	struct vdb_tenant *tenant; /* of loop; NULL: one of its own for each queue */
	uint64_t features;         /* offered besides the ring's: bits 0..23 and 50..63 are the device's */
	uint32_t queues;           /* 1..64 */
	uint32_t queue_size;       /* largest that the driver may choose, 2^n; 0 = 256, at most 32768 */
	uint32_t max_segments;     /* of one chain; 0 = 128, at most 1024 */
	uint32_t config_len;       /* bytes of config space, at most 3840 */
	/* The guest broke the rules, or the host failed: DEVICE_NEEDS_RESET has been set. Loop's
	 * thread or a vCPU's, perhaps within an access to config space: must not wait. VDB_REASON_*.
	 * Destroying the transport waits for it. NULL: the guest is told all the same. */
	void (*broken)(void *arg, uint32_t queue, uint32_t reason);
	void *broken_arg;
	/* Instead of loop: each queue is placed on one of these by the group's policy, when the device is
	 * made; they outlive it. PINNED: queue 0 on loop first_loop, the next one on the next, and round
	 * again; `together` counts as one. */
	struct vdb_loops *loops;
	struct vdb_tenant *const *tenants; /* one of each of them, in their order; NULL: as above */
	uint32_t first_loop;               /* 0 if loop is given */
	uint32_t together;                 /* so many queues in a row are on one loop; 0 = 1 */
	/* Of all its queues together; the tenant's applies besides. Holds a reference. NULL: none. */
	struct vdb_limit *limit;
};

/* ops is copied; ctx is the device's until ops->destroy. -EINVAL, -E2BIG, -ENOMEM. Any thread. */
VDB_MUST_CHECK int vdb_virtio_create(const struct vdb_virtio_ops *ops, void *ctx,
                                     const struct vdb_virtio_config *config, struct vdb_virtio **out);

/* Frees device and ctx, then done(arg) (may be NULL), here or on the thread of a loop: of that whose queue
 * was the last to stop; of a device that is served elsewhere (vdb/vhost_user.h) on its own. It has its memory
 * until then: wait for done() before vdb_mem_destroy(). Its transport must have been destroyed before, and by
 * that its queues. NULL is fine, and done() does not come then. Any thread. */
void vdb_virtio_destroy(struct vdb_virtio *device, vdb_done_fn done, void *arg);

/* The config space has changed: new generation, config-change interrupt. Any thread, but
 * not from config_read. */
void vdb_virtio_config_changed(struct vdb_virtio *device);

/* What this device is like now. Any thread. */
struct vdb_virtio_info {
	uint32_t size;
	uint32_t device_id;
	uint32_t status; /* VIRTIO_CONFIG_S_* */
	uint32_t queues;
	uint64_t offered;
	uint64_t accepted; /* 0 before FEATURES_OK */
	uint64_t resets;   /* completed */
	uint64_t broken;   /* times it became DEVICE_NEEDS_RESET */
};
VDB_MUST_CHECK int vdb_virtio_query(struct vdb_virtio *device, struct vdb_virtio_info *info);

/* Of one queue, summed over its lives. -ENOENT: no such queue. Any thread. */
VDB_MUST_CHECK int vdb_virtio_queue_stats(struct vdb_virtio *device, uint32_t queue,
                                          struct vdb_lane_stats *stats);

/* Which loop serves the queue, or will, when it runs. -ENOENT. Any thread. */
VDB_MUST_CHECK int vdb_virtio_queue_loop(struct vdb_virtio *device, uint32_t queue, struct vdb_loop **out);

/*
 * Another loop serves the queue from now on, through all resets to come. One that runs is moved as by
 * vdb_lane_move(), and done(arg, status) as there, but that a queue which stops on the way has arrived: 0.
 * One that does not run has moved at once: done() comes before this returns. tenant: of `loop`, and the
 * device holds a reference; NULL: one of its own. -ENOENT, -EINVAL; -EBUSY: it is moving; -EOPNOTSUPP: its
 * backend is VDB_BACKEND_FIXED; -ENOMEM. Any thread. Among config.loops what is placed is counted anew.
 */
VDB_MUST_CHECK int vdb_virtio_queue_move(struct vdb_virtio *device, uint32_t queue, struct vdb_loop *loop,
                                         struct vdb_tenant *tenant, void (*done)(void *arg, int status),
                                         void *arg);

/*
 * The device's whole state but the transport's: status, features, queue registers, ring positions,
 * and what ops->save adds. Stop it first: vdb_virtio_quiesce() takes no more requests, waits for
 * those in flight, then done(arg) here or on the thread of the loop whose queue was last; vdb_virtio_resume()
 * goes on. Kicks meanwhile are not lost. What the guest does to registers meanwhile is done, but no queue
 * runs. save: -EBUSY unless quiesced; *len as in ops->save, -ENOSPC if too small. restore: into a fresh
 * device of the same config, which is quiesced then: give it its transport and resume it. Fields are checked
 * as if the guest had written them: -EINVAL changes nothing. -EALREADY: quiesced; resume: -EINVAL when
 * not quiesced, or without the transport that a driven device needs; -EBUSY before `done`. Control thread.
 */
VDB_MUST_CHECK int vdb_virtio_quiesce(struct vdb_virtio *device, vdb_done_fn done, void *arg);
VDB_MUST_CHECK int vdb_virtio_resume(struct vdb_virtio *device);
VDB_MUST_CHECK int vdb_virtio_save(struct vdb_virtio *device, void *buf, size_t *len);
VDB_MUST_CHECK int vdb_virtio_restore(struct vdb_virtio *device, const void *buf, size_t len);

#ifdef __cplusplus
}
#endif
#endif
