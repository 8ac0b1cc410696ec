/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever serves queues in our place: another process (user.c), or the kernel (kernel.c). A peer only
 * talks; when to say what, and what to do when it does not answer, is control.c's.
 *
 * Every function is called by the control thread, one at a time, and may wait, but not for ever: what is
 * not done in the peer's own time is -ETIMEDOUT. After -errno (with a message) the peer counts as lost.
 */
#ifndef VDB_VHOST_PEER_H
#define VDB_VHOST_PEER_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <vdb/types.h>

#define VDB__VHOST_REGIONS 64u /* more than any peer takes */
#define VDB__PEER_FDS 2u

struct vdb__peer;

/* A region of guest memory, and where we have it: in rings a peer names memory by our addresses. */
struct vdb__peer_region {
	vdb_gpa_t gpa;
	uint64_t len;
	uint64_t host;
	int fd; /* -1: none */
	uint64_t offset;
};

struct vdb__peer_memory {
	uint32_t count;
	struct vdb__peer_region region[VDB__VHOST_REGIONS];
};

struct vdb__peer_queue {
	uint32_t index;
	uint32_t entries;
	uint64_t desc, driver, device; /* our addresses */
	uint32_t position;
	int kick_fd, call_fd, err_fd; /* err_fd: it cannot go on */
};

struct vdb__peer_ops {
	uint32_t regions; /* it takes at most so many */
	bool needs_fds;   /* for its memory */
	/* Comes back after it was lost: as it was at first, or -errno. */
	int (*connect)(struct vdb__peer *peer);
	/* Nothing is said any more. */
	void (*disconnect)(struct vdb__peer *peer);
	/* Before the first queue of a driver's life: what that has accepted. */
	int (*features)(struct vdb__peer *peer, uint64_t features);
	/* After that, and at each change while it serves. */
	int (*memory)(struct vdb__peer *peer, const struct vdb__peer_memory *memory);
	int (*start)(struct vdb__peer *peer, const struct vdb__peer_queue *queue);
	/* All that were to be started have been. NULL: it need not know. */
	int (*ready)(struct vdb__peer *peer);
	/* Stops; it will not touch guest memory for this queue any more. */
	int (*stop)(struct vdb__peer *peer, uint32_t index, uint32_t *position);
	/* The driver's life is over; no queue runs. */
	int (*reset)(struct vdb__peer *peer);
	/* Of a lost one that has come back: what was in flight is known, queues go on. NULL: never. */
	bool (*resumes)(const struct vdb__peer *peer);
	/* The driver's life is over, whether the peer can be told or not: what was in flight is nobody's.
	 * NULL: it never knew. */
	void (*forget)(struct vdb__peer *peer);
	/* What vdb__vhost_poke() was for. NULL: nothing. */
	int (*poked)(struct vdb__peer *peer);
	/* What is to be waited for meanwhile: fills up to VDB__PEER_FDS, says how many. NULL: nothing. */
	unsigned (*watch)(struct vdb__peer *peer, struct pollfd *fds);
	/* These have events. */
	int (*heard)(struct vdb__peer *peer, const struct pollfd *fds, unsigned count);
	void (*destroy)(struct vdb__peer *peer);
};

struct vdb__peer {
	const struct vdb__peer_ops *ops;
};

#endif
