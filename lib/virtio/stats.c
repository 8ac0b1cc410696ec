/* SPDX-License-Identifier: Apache-2.0 */
/* A queue's counters, summed over the runners that it has had. */
#include "virtio/stats.h"

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "virtio/core.h"

void vdb__stats_add(struct vdb_lane_stats *sum, const struct vdb_lane_stats *more)
{
	sum->state = more->state;
	sum->requests += more->requests;
	sum->completions += more->completions;
	sum->errors += more->errors;
	sum->bytes_read += more->bytes_read;
	sum->bytes_written += more->bytes_written;
	sum->flushes += more->flushes;
	sum->discards += more->discards;
	sum->zeroes += more->zeroes;
	sum->kicks += more->kicks;
	sum->visits += more->visits;
	sum->poll_hits += more->poll_hits;
	sum->triggers += more->triggers;
	sum->suppressed += more->suppressed;
	sum->resets += more->resets;
	sum->broken += more->broken;
	sum->inflight = more->inflight;
	sum->moves += more->moves;
}

/* The runner stays while the lock is held. */
static void sum_up(const struct vdb__vqueue *q, struct vdb_lane_stats *sum)
{
	struct vdb_lane_stats now = {.size = sizeof(now)};

	*sum = q->past;
	if (!q->runs)
		return;
	q->runner->stats(q, &now);
	vdb__stats_add(sum, &now);
}

VDB_EXPORT int vdb_virtio_queue_stats(struct vdb_virtio *device, uint32_t queue, struct vdb_lane_stats *stats)
{
	struct vdb_lane_stats sum;

	if (queue >= device->config.queues)
		return vdb__fail(ENOENT, "virtio '%s': no queue %u; it has %u", device->ops.name, queue,
		                 device->config.queues);
	vdb__virtio_lock(device);
	sum_up(&device->queues[queue], &sum);
	vdb__virtio_unlock(device);
	return vdb__stats_give(stats, &sum, sizeof(sum), "virtio queue stats");
}
