/* SPDX-License-Identifier: Apache-2.0 */
/* A queue that is served here: a virtqueue and a lane, for as long as it runs. */
#include "base/error.h"
#include "io/lane.h"
#include "virtio/core.h"

static int make_lane(struct vdb__vqueue *q, struct vdb_queue *queue)
{
	struct vdb_virtio *device = q->device;
	struct vdb_backend *backend = device->ops.backend(device->ctx, q->index);
	const struct vdb_lane_config config = {
	        .size = sizeof(config),
	        .max_inflight = backend->ops.wants ? q->size : 0, /* it chooses */
	        .kick_fd = device->transport->kick_fd(device->transport_arg, q->index),
	        .trigger = vdb__vqueue_interrupt,
	        .trigger_arg = q,
	        .tenant = q->tenant,
	        .broken = vdb__vqueue_broke,
	        .broken_arg = q,
	        .limit = device->config.limit,
	};

	return vdb_lane_create(q->loop, queue, backend, &config, &q->lane);
}

static int start(struct vdb__vqueue *q)
{
	struct vdb_queue *queue = NULL;
	int rc = vdb__vqueue_make(q, &q->position, &queue);

	if (!rc)
		rc = make_lane(q, queue);
	if (rc)
		vdb_queue_destroy(queue);
	return rc;
}

static void close_lane(struct vdb__vqueue *q)
{
	vdb__lane_close(q->lane, &q->device->finish, vdb__vqueue_closed, q);
}

/* Frees the virtqueue, too, which leaves its position. */
static void drop(struct vdb__vqueue *q)
{
	vdb_lane_destroy(q->lane, NULL, NULL);
	q->lane = NULL;
}

static void stats(const struct vdb__vqueue *q, struct vdb_lane_stats *now)
{
	(void)!vdb_lane_stats(q->lane, now);
}

static int move(struct vdb__vqueue *q, struct vdb_loop *loop, struct vdb_tenant *tenant,
                void (*moved)(void *q, int status))
{
	return vdb_lane_move(q->lane, loop, tenant, moved, q);
}

static int moves(const struct vdb__vqueue *q)
{
	const struct vdb_virtio *device = q->device;

	if (device->ops.backend(device->ctx, q->index)->info.flags & VDB_BACKEND_FIXED)
		return vdb__fail(EOPNOTSUPP, "virtio '%s': queue %u belongs to one loop (VDB_BACKEND_FIXED)",
		                 device->ops.name, q->index);
	return 0;
}

const struct vdb__runner vdb__run_lane = {
        .start = start,
        .close = close_lane,
        .drop = drop,
        .stats = stats,
        .move = move,
        .moves = moves,
};
