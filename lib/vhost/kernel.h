/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer that is the kernel: one of its /dev/vhost-* devices, driven by ioctls. What differs from device to
 * device is a name and two functions. An ioctl may wait for the kernel's worker, or for RCU: the
 * control thread does them all.
 */
#ifndef VDB_VHOST_KERNEL_H
#define VDB_VHOST_KERNEL_H

#include <stdbool.h>

#include "vhost/peer.h"

struct vdb__kernel;

struct vdb__kernel_ops {
	const char *path;   /* /dev/vhost-... */
	const char *module; /* that brings it */
	/* It has been opened and is ours. NULL: nothing is left to do. */
	int (*set_up)(struct vdb__kernel *kernel);
	/* All queues that have been started are served, or none is. */
	int (*run)(struct vdb__kernel *kernel, bool on);
	/* The end, with vdb__kernel_close() in it. */
	void (*destroy)(struct vdb__kernel *kernel);
};

struct vdb__kernel {
	struct vdb__peer peer; /* first */
	const struct vdb__kernel_ops *ops;
	const char *name; /* in messages; not copied */
	int fd;
	bool runs;
	uint32_t queues;   /* it serves all of these, a bit for each, or none */
	uint32_t started;  /* of these */
	uint64_t features; /* that it has */
};

/* Zeroed by the caller, but for ops, name and queues. Opens it. -ENOENT: no such device; -EACCES; what the
 * kernel says. On failure it is as before. */
int vdb__kernel_open(struct vdb__kernel *kernel);

/* All but what is served: closes. */
void vdb__kernel_close(struct vdb__kernel *kernel);

/* It runs when it is to, and all of its queues have been started. */
int vdb__kernel_run(struct vdb__kernel *kernel, bool on);

/* Of a device in front of it (VDB_VIRTIO_*), besides those that it is to have. */
uint32_t vdb__kernel_flags(const struct vdb__kernel *kernel, uint32_t flags);

/* Says what has failed: -errno. */
int vdb__kernel_fail(const struct vdb__kernel *kernel, const char *what);

extern const struct vdb__peer_ops vdb__kernel_peer_ops;

#endif
