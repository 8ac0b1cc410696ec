/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a virtio device: what its files share.
 *
 * One lock for all control state. Under it nobody is called who might wait or come back
 * but the device's ops; lanes are closed, interrupts raised and the embedder is told
 * after it has been let go, by vdb__virtio_unlock(). Loop threads take it for a few
 * instructions; nothing on the way of a request takes it.
 *
 *     registers (vCPU)  -> run.c: a runner (a lane, or a remote) for each enabled queue of a driven device
 *     runner's end      -> reset.c: what waited for it: queue reset, reset, quiesce, destroy
 */
#ifndef VDB_VIRTIO_CORE_H
#define VDB_VIRTIO_CORE_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pthread.h>

#include "virtio/device.h"
#include "virtio/remote.h"

#define VDB__BIT(feature) (1ull << (feature))
#define VDB__FEATURE_RING_RESET 40 /* linux/virtio_config.h of older systems lacks it */

/* Under way: where it came from. place.c. */
struct vdb__vqueue_move {
	bool under_way;
	struct vdb_loop *loop;
	struct vdb_tenant *tenant; /* as in the queue */
	void (*done)(void *arg, int status);
	void *arg;
};

struct vdb__vqueue;
struct vdb__call;

/* What serves a queue while it runs: a lane (run_lane.c), or somebody elsewhere (run_remote.c). */
struct vdb__runner {
	/* Locked. It serves from here on; or -errno, and nothing has happened. */
	int (*start)(struct vdb__vqueue *q);
	/* Unlocked, once: it ends with vdb__vqueue_closed(), at once or later, on whatever thread. */
	void (*close)(struct vdb__vqueue *q);
	/* Unlocked: it has ended. Leaves the position, frees. */
	void (*drop)(struct vdb__vqueue *q);
	/* Locked, before that. */
	void (*stats)(const struct vdb__vqueue *q, struct vdb_lane_stats *now);
	/* Locked: as vdb_lane_move(). */
	int (*move)(struct vdb__vqueue *q, struct vdb_loop *loop, struct vdb_tenant *tenant,
	            void (*moved)(void *q, int status));
	/* Locked: it could, if it ran. 0, or -EOPNOTSUPP with a message. */
	int (*moves)(const struct vdb__vqueue *q);
};

struct vdb__vqueue {
	struct vdb_virtio *device;
	uint32_t index;
	/* Registers: the driver's until enabled. */
	uint16_t size;
	bool enabled;
	uint64_t addr[3];          /* enum vdb__queue_area */
	struct vdb_loop *loop;     /* serves it, in this life or the next */
	struct vdb_tenant *tenant; /* there, referenced; NULL: one of its own */
	struct vdb__vqueue_move move;
	/* Life. */
	const struct vdb__runner *runner; /* of all its lives */
	bool runs;
	struct vdb_lane *lane;    /* one of these, while it runs */
	struct vdb__call *call;   /* interrupts of a remote */
	struct vdb_gate *stopped; /* opens when the runner has ended; while it runs */
	bool stopping;            /* the runner is being closed */
	bool resetting;           /* then the registers go back to the beginning */
	bool resume;              /* it ran before: goes on at `position` */
	uint32_t position;
	struct vdb_lane_stats past; /* of runners that have ended */
};

/* What to do when the lock has been let go. */
struct vdb__due {
	uint64_t close; /* runners, a bit for each queue */
	bool interrupt; /* the configuration's */
	bool report;    /* config.broken */
	uint32_t queue, reason;
};

struct vdb_virtio {
	pthread_mutex_t lock;
	pthread_t owner; /* atomic; of the lock, 0 = nobody */
	struct vdb__due due;

	struct vdb_virtio_ops ops;
	void *ctx;
	const struct vdb__framing *framing;
	struct vdb__remote *remote; /* NULL: every queue has a lane */
	struct vdb_virtio_config config;

	const struct vdb__transport_ops *transport; /* NULL: none */
	void *transport_arg;
	uint32_t raising, telling; /* config interrupts, and calls of config.broken, on their way, unlocked */
	pthread_cond_t told;       /* one of these is 0 */

	uint64_t offered;
	uint64_t accepted; /* frozen by FEATURES_OK */
	uint32_t beyond;   /* accepted above bit 63, where nothing is offered */
	uint8_t status;
	bool resetting; /* status reads 0 when all runners have ended */
	uint32_t stopping;
	uint32_t
	        finish; /* atomic: lanes that are closed finish what they work on, as they will go on later */
	struct vdb_gate *reset_done; /* made before the first runner */
	uint64_t resets, broken;

	uint32_t generation;
	uint8_t *shown, *scratch; /* config space when the driver last asked for the generation; room */

	bool held; /* by the transport */
	bool quiesced;
	vdb_done_fn quiesce_done;
	void *quiesce_arg;
	bool doomed;
	vdb_done_fn destroy_done;
	void *destroy_arg;

	struct vdb__vqueue queues[];
};

/* ---- lock.c ---- */

void vdb__virtio_lock(struct vdb_virtio *device);
/* Does what is due. The device may be gone afterwards only if the caller's runner was its last. */
void vdb__virtio_unlock(struct vdb_virtio *device);
/* Locked, lets go of it meanwhile: until `raising` or `telling` has become 0. */
void vdb__virtio_wait(struct vdb_virtio *device);

/* ---- features.c (locked) ---- */

uint64_t vdb__virtio_offer(const struct vdb_virtio_config *config);
/* 0, or -errno: the device cannot be driven with these. */
int vdb__virtio_features_fit(struct vdb_virtio *device, uint64_t features);

/* ---- status.c (locked) ---- */

/* Queues are served, or would be but for a quiesce. */
bool vdb__virtio_driven(const struct vdb_virtio *device);
/* DEVICE_NEEDS_RESET; every queue stops. */
void vdb__virtio_break(struct vdb_virtio *device, uint32_t queue, uint32_t reason);

/* ---- config.c (locked) ---- */

/* A config-change interrupt, if the driver is to have one (2.1.2, 4.2.3.4). */
void vdb__virtio_notice(struct vdb_virtio *device);

/* ---- queue.c (locked) ---- */

/* NULL: no such queue. */
struct vdb__vqueue *vdb__virtio_queue(struct vdb_virtio *device, uint32_t queue);
void vdb__vqueue_clear(struct vdb__vqueue *q);
/* Its virtqueue, checked; it leaves its position there when it goes. -errno as vdb_virtq_create(). */
int vdb__vqueue_make(struct vdb__vqueue *q, uint32_t *left_at, struct vdb_queue **out);
/* True if what the driver set up can be. */
bool vdb__vqueue_fits(struct vdb__vqueue *q);

/* ---- place.c ---- */

/* 0, or -EINVAL: loops and tenants do not fit together. */
int vdb__virtio_check_place(const char *name, const struct vdb_virtio_config *config);
/* By the config. */
void vdb__vqueue_place(struct vdb__vqueue *q);
void vdb__vqueue_displace(struct vdb__vqueue *q);

/* ---- run.c (locked) ---- */

/* A runner for each enabled queue that does not run, if the device is driven. */
void vdb__virtio_start(struct vdb_virtio *device);
void vdb__vqueue_start(struct vdb__vqueue *q);
/* Harmless if it does not run, or is being stopped. */
void vdb__vqueue_stop(struct vdb__vqueue *q);
void vdb__virtio_stop(struct vdb_virtio *device);
/* Unlocked; a runner has let go of everything. */
void vdb__vqueue_closed(void *queue);
/* Unlocked, by a runner: the transport stays while there are any. */
void vdb__vqueue_interrupt(void *queue);
/* The same: it cannot go on. VDB_REASON_*. */
void vdb__vqueue_broke(void *queue, uint32_t reason);

/* ---- run_lane.c, run_remote.c ---- */

extern const struct vdb__runner vdb__run_lane;
extern const struct vdb__runner vdb__run_remote;

/* ---- reset.c ---- */

/* Who has waited for the last runner. */
struct vdb__settled {
	struct vdb_gate *gate;
	vdb_done_fn quiesced;
	void *quiesced_arg;
	bool doomed;
};

/* Locked; does what waited for `stopping` to be 0, if it is (a reset: for `raising`, too). */
struct vdb__settled vdb__virtio_settle(struct vdb_virtio *device);
/* Unlocked: tells them. The device may be gone then. */
void vdb__virtio_tell(struct vdb_virtio *device, const struct vdb__settled *settled);
/* Locked: starts a reset, or joins one. */
void vdb__virtio_reset(struct vdb_virtio *device);

/* ---- device.c ---- */

/* Nothing runs any more: first a remote's end, if there is one, then the device's. */
void vdb__virtio_free(struct vdb_virtio *device);
void vdb__virtio_ended(struct vdb_virtio *device);

#endif
