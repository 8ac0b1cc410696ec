/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device of no use but for tests: writes what it reads, or what fits. At once,
 * late, or when the test says so.
 */
#ifndef VIRTIO_ECHO_H
#define VIRTIO_ECHO_H

#include <stdbool.h>
#include <vdb/virtio.h>

#define VIRTIO_ECHO 42u    /* its device id */
#define VIRTIO_ECHO_MAX 64 /* bytes of a request */

struct virtio_echo {
	bool hold;                 /* atomic: keep requests until virtio_echo_release() */
	uint32_t late_us;          /* else, if not 0: complete them that much later */
	uint32_t held;             /* atomic: how many it has of those that are kept */
	struct vdb_req *req[1024]; /* loop's thread */
	uint32_t started, served;  /* atomic */
	void (*on_start)(void);    /* for each request, first; NULL: nothing */
	struct vdb_tenant *tenant; /* of the devices; NULL: one of its own for each queue */
	struct vdb_backend *backend;
	uint32_t destroyed; /* atomic; devices */
};

/* The backend alone. */
void virtio_echo_open(struct virtio_echo *echo);
/* After its last lane. */
void virtio_echo_close(struct virtio_echo *echo);
/* Lets go of everything held, and holds no more. */
void virtio_echo_release(struct virtio_echo *echo, struct vdb_loop *loop);

/* A device with that backend behind `queues` queues. */
struct vdb_virtio *virtio_echo_device(struct virtio_echo *echo, struct vdb_mem *mem, struct vdb_loop *loop,
                                      uint32_t queues);

#endif
