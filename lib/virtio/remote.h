/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues that are served elsewhere: by another process (vhost-user), or by the kernel (vhost). The device
 * keeps what it keeps of every queue (registers, enabling, reset, quiesce, position); whoever serves is told
 * where the rings are, gets the doorbell's eventfd and one to call back with, and starts and stops.
 *
 *     start(queue)  ->  it serves: takes kicks from kick_fd, writes to call_fd
 *     stop(index)   ->  it has stopped: vdb__remote_stopped(position), now or later
 *
 * What call_fd says goes through the queue's loop, which raises the interrupt: a transport has an ISR bit to
 * set, or a vector that may be masked.
 */
#ifndef VDB_VIRTIO_REMOTE_H
#define VDB_VIRTIO_REMOTE_H

#include <stdbool.h>
#include <vdb/virtio.h>

struct vdb__remote;

/* A queue that is to be served. The fds are not the remote's, and stay until it has stopped. */
struct vdb__remote_queue {
	uint32_t index;
	uint32_t entries;
	vdb_gpa_t desc, driver, device; /* each in one region, when it was enabled */
	uint32_t position;              /* where to begin: vdb_virtq_position() */
	int kick_fd, call_fd;
	uint64_t features; /* what the driver accepted */
};

/* start, stop and reset come on any thread, a vCPU's or a loop's: they must not wait. */
struct vdb__remote_ops {
	/* Queue `index` is: the same answer always. Others have lanes. */
	bool (*serves)(const struct vdb__remote *remote, uint32_t index);
	/* Under the device's lock. What cannot be is said later, by vdb__remote_broken(). */
	void (*start)(struct vdb__remote *remote, const struct vdb__remote_queue *queue);
	/* Once for each start. Nobody must write guest memory for this queue after vdb__remote_stopped(). */
	void (*stop)(struct vdb__remote *remote, uint32_t index);
	/* Under the lock. The device has been reset, its queues have stopped. */
	void (*reset)(struct vdb__remote *remote);
	/* The device's end: last comes vdb__remote_ended(), now or later. */
	void (*end)(struct vdb__remote *remote);
};

/* Begins whatever a remote is. It is the caller's until the device has been made with it. */
struct vdb__remote {
	const struct vdb__remote_ops *ops;
	struct vdb_virtio *device; /* set when that is made */
};

/* ---- What it says. Any thread, without locks that start, stop, reset or end take. ---- */

/* The answer to a stop: `position` is where it would have gone on. */
void vdb__remote_stopped(struct vdb__remote *remote, uint32_t index, uint32_t position);

/* It cannot go on with a queue that runs: the device needs a reset. Stops follow. VDB_REASON_*. */
void vdb__remote_broken(struct vdb__remote *remote, uint32_t index, uint32_t reason);

/* The answer to an end, from whichever thread: the device goes, and the remote may be freed before. */
void vdb__remote_ended(struct vdb_virtio *device);

#endif
